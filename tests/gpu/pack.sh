#!/usr/bin/env bash
# Packs what tests/gpu/run.sh needs on a bare machine with a GPU, in pieces that can be carried one
# by one:
#
#   tests/gpu/pack.sh [--arch 90] [--piece-mib 36] [--stand-in]      writes .gpu/1, .gpu/2, ...
#
# Needs packaging/setup.sh to have run, and 2 GB of disk for a while. ONNX Runtime's CUDA provider
# comes from PyPI's wheel (onnxruntime-gpu, the version of packaging/setup.sh), with the code of one
# GPU architecture. --stand-in packs the stand-in for the driver instead: to try run.sh without a GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

arch=90 piece=36 stand_in=no
while (($#)); do
    case $1 in
        --arch) arch=$2; shift 2 ;;
        --piece-mib) piece=$2; shift 2 ;;
        --stand-in) stand_in=yes; shift ;;
        *) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done

readonly root=$PWD/.gpu target=${CARGO_TARGET_DIR:-$PWD/target}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$root"
mkdir -p "$root" "$work/g/"{bin,lib,plugins}

say() { printf 'pack: %s\n' "$*" >&2; }

# The programs: tests of the kernels, of the upscaler and of the element, and the benchmark.
say "building the tests and the benchmark"
tests() { # tests CRATE NAME ARGUMENTS...: the program of one test target, stripped
    local crate=$1 name=$2
    shift 2
    local program
    program=$(cargo test --locked --no-run -p "$crate" "$@" --message-format=json 2>/dev/null |
        python3 -c 'import json, sys
for line in sys.stdin:
    found = json.loads(line)
    if found.get("executable") and found.get("profile", {}).get("test"):
        print(found["executable"])' | tail -n 1)
    [[ -n $program ]] || { say "no program of $crate $*"; exit 1; }
    strip -o "$work/g/bin/$name" "$program"
}
tests gstneural-cuda test-cuda --test device
tests gstneural-inference test-inference --lib
tests gst-plugin-nnupscale test-nnupscale --test cuda
tests gst-plugin-neuralcodec test-codec --test cuda
cargo build --release --locked -p gst-plugin-nnupscale -p gstneural-inference -p gst-plugin-neuralcodec --examples --lib
strip -o "$work/g/bin/bench_gpu" "$target/release/examples/bench_gpu"
strip -o "$work/g/bin/decode_speed" "$target/release/examples/decode_speed"
strip -o "$work/g/plugins/libgstnnupscale.so" "$target/release/libgstnnupscale.so"

# GStreamer: tools, plugins and every library that they need but the C and C++ libraries' own, which
# the other machine has, as new as these or newer: what it has itself may need its newer ones.
say "collecting GStreamer"
system=$(pkg-config --variable=pluginsdir gstreamer-1.0)
for plugin in coreelements app videotestsrc videoconvertscale videoparsersbad isomp4 nvcodec; do
    cp "$system/libgst$plugin.so" "$work/g/plugins/"
done
cp "$(command -v gst-launch-1.0)" "$(command -v gst-inspect-1.0)" "$work/g/bin/"
cp "$(pkg-config --variable=pluginscannerdir gstreamer-1.0)/gst-plugin-scanner" "$work/g/bin/"
libgstcuda=$(ldconfig -p | sed -nE 's/.*libgstcuda-1.0.so.0 .*=> //p' | head -n 1)
cp "$libgstcuda" "$work/g/lib/"
needed() { # needed FOLDER FILES...: puts there what the files are linked with
    local folder=$1
    shift
    ldd "$@" 2>/dev/null | sed -nE 's/^\s*\S+ => (\/\S+) .*/\1/p' | sort -u |
        grep -vE '/(libc|libm|libdl|librt|libpthread|ld-linux[^/]*|libresolv|libstdc\+\+|libgcc_s)\.so' |
        while read -r library; do cp -L "$library" "$folder/"; done
}
needed "$work/g/lib" "$work"/g/bin/* "$work"/g/plugins/*.so "$libgstcuda"

# ONNX Runtime with its CUDA provider.
if [[ $stand_in = yes ]]; then
    plugins/core/cuda/fake/build.sh "$work/g/lib"
    cp .deps/onnxruntime/lib/libonnxruntime.so.* "$work/g/lib/"
else
    version=$(basename .deps/onnxruntime/lib/libonnxruntime.so.*)
    version=${version#libonnxruntime.so.}
    say "onnxruntime-gpu $version"
    .deps/venv/bin/python -m pip download -q --no-deps -d "$work" "onnxruntime-gpu==$version"
    python3 -m zipfile -e "$work"/onnxruntime_gpu-*.whl "$work/wheel"
    capi=$work/wheel/onnxruntime/capi
    cp "$capi/libonnxruntime.so.$version" "$capi/libonnxruntime_providers_shared.so" "$work/g/lib/"
    python3 tests/gpu/slim.py "$capi/libonnxruntime_providers_cuda.so" \
        "$work/g/lib/libonnxruntime_providers_cuda.so" --arch "$arch"
    # Where the driver brings no decoder, this one makes GStreamer register cudaupload.
    plugins/core/cuda/fake/build.sh "$work/fake"
    mkdir -p "$work/g/cuvid" && cp "$work/fake/libnvcuvid.so.1" "$work/g/cuvid/"
fi

say "compressing"
tar -C "$work" -c g | zstd -q -T0 -15 | split -b "${piece}M" -d -a 2 - "$work/part."
count=0
for part in "$work"/part.*; do
    count=$((count + 1))
    mkdir -p "$root/$count"
    mv "$part" "$root/$count/${part##*/}"
done
echo "$count" >"$root/1/pieces"
# What takes it apart again, which the other machine may lack.
mkdir "$root/1/zstd"
cp "$(command -v zstd)" "$root/1/zstd/"
needed "$root/1/zstd" "$root/1/zstd/zstd"
du -sh "$root"/* >&2
say "carry .gpu/1 ... .gpu/$count, one or more a call: tests/gpu/run.sh unpack; then tests/gpu/run.sh"
