# shellcheck shell=bash
# What the examples share: which plugin, where results go. Sourced, not run.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# The plugin of this checkout, unless one was named or is installed.
if [[ -z ${GST_PLUGIN_PATH:-} && -e $root/target/release/libgstnnupscale.so ]]; then
    export GST_PLUGIN_PATH=$root/target/release
fi
# CLIP is what is upscaled, OUT the folder for results, FRAMES where a live example stops.
export CLIP=${CLIP:-$root/examples/media/rooftop_360p.mp4}
export OUT=${OUT:-$root/build/examples}
export FRAMES=${FRAMES:-90}
mkdir -p "$OUT"
