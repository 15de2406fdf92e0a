#!/usr/bin/env bash
# Copies what was built to where GStreamer and the shell look for it, and takes
# exactly that away again.
#
#   packaging/install.sh install   [PREFIX]     (default ~/.local)
#   packaging/install.sh uninstall [PREFIX]
#
# DESTDIR is put before every path, as packagers expect.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly action=${1:-install}
prefix=${2:-$HOME/.local}
[[ $prefix = /* ]] || prefix=$PWD/$prefix
readonly prefix=${prefix%/}
readonly destdir=${DESTDIR:-}
readonly manifest=$destdir$prefix/share/gst-neural/installed-files

die() { printf 'install: %s\n' "$*" >&2; exit 1; }

# Under ~/.local that is the folder of the user's own plugins, under GStreamer's
# own prefix its plugin folder; GStreamer looks into both by itself.
plugin_folder() {
    if [[ $prefix = "$HOME/.local" ]]; then
        echo "${XDG_DATA_HOME:-$HOME/.local/share}/gstreamer-1.0/plugins"
    elif [[ $prefix = "$(pkg-config --variable=prefix gstreamer-1.0 2>/dev/null)" ]]; then
        pkg-config --variable=pluginsdir gstreamer-1.0
    else
        echo "$prefix/lib/gstreamer-1.0"
    fi
}

# put MODE SOURCE TARGET
put() {
    install -D -m "$1" "$2" "$destdir$3"
    echo "$3" >>"$manifest.new"
}

install_all() {
    local plugins file library
    plugins=$(plugin_folder)
    for file in libgstnnupscale.so libgstneuralcodec.so libgstquality.so libgsts3.so libgstfmp4.so; do
        [[ -e target/release/$file ]] || die "$file is not built yet: run 'make build'"
    done
    library=$(echo .deps/onnxruntime/lib/libonnxruntime.so.*)
    [[ -e $library ]] || die "no ONNX Runtime in .deps: run 'make setup'"

    mkdir -p "$(dirname "$manifest")"
    : >"$manifest.new"
    put 755 target/release/libgstnnupscale.so "$plugins/libgstnnupscale.so"
    put 755 target/release/libgstneuralcodec.so "$plugins/libgstneuralcodec.so"
    put 755 target/release/libgstquality.so "$plugins/libgstquality.so"
    put 755 target/release/libgsts3.so "$plugins/libgsts3.so"
    put 755 target/release/libgstfmp4.so "$plugins/libgstfmp4.so"
    # Only under its versioned name: GStreamer takes every *.so here for a plugin.
    put 755 "$library" "$plugins/$(basename "$library")"
    put 755 target/release/gst-neural "$prefix/bin/gst-neural"
    for file in models/*.onnx models/*.modelinfo models/*.ini; do
        put 644 "$file" "$prefix/share/gst-neural/models/$(basename "$file")"
    done
    for file in LICENSE-MIT LICENSE-APACHE; do
        put 644 "$file" "$prefix/share/doc/gst-neural/$file"
    done
    put 644 plugins/core/metrics/LICENSE-libvmaf "$prefix/share/doc/gst-neural/libvmaf/LICENSE"
    put 644 .deps/onnxruntime/LICENSE "$prefix/share/doc/gst-neural/onnxruntime/LICENSE"
    put 644 .deps/onnxruntime/ThirdPartyNotices.txt "$prefix/share/doc/gst-neural/onnxruntime/ThirdPartyNotices.txt"
    # What an older version installed and this one no longer has goes away.
    if [[ -e $manifest ]]; then
        comm -23 <(sort "$manifest") <(sort "$manifest.new") | remove_listed
    fi
    mv "$manifest.new" "$manifest"

    echo "install: plugin and ONNX Runtime in $plugins"
    echo "install: models in $prefix/share/gst-neural/models"
    echo "install: program in $prefix/bin"
    if [[ $plugins = "$prefix/lib/gstreamer-1.0" ]]; then
        echo "install: GStreamer does not look there by itself; say"
        echo "  export GST_PLUGIN_PATH=$plugins"
    fi
    if [[ :$PATH: != *:"$prefix/bin":* ]]; then
        echo "install: $prefix/bin is not in your PATH"
    fi
}

# Removes the files named on stdin, and the folders that are empty then.
remove_listed() {
    local file folder
    while IFS= read -r file; do
        rm -f "$destdir$file"
        folder=$(dirname "$destdir$file")
        while [[ $folder != "$destdir$prefix" && $folder = "$destdir"/* ]] \
            && rmdir "$folder" 2>/dev/null; do
            folder=$(dirname "$folder")
        done
    done
}

uninstall_all() {
    [[ -e $manifest ]] || die "nothing is installed under $prefix (no $manifest)"
    local list
    list=$(<"$manifest")
    rm -f "$manifest"
    remove_listed <<<"$list"
    rmdir "$(dirname "$manifest")" 2>/dev/null || true
    echo "uninstall: removed $(wc -l <<<"$list") files under $prefix"
}

case $action in
    install) install_all ;;
    uninstall) uninstall_all ;;
    *) die "unknown action $action (install or uninstall)" ;;
esac
