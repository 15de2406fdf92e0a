#!/usr/bin/env bash
# Upscales a clip with the program, sound and all, and puts one frame of it
# beside the same frame scaled by bicubic.
#
#   packaging/demo.sh CLIP MODEL
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly clip=$1 model=$2
readonly out=build/demo
name=$(basename "$clip")
readonly name=${name%.*}
readonly video=$out/$name-$model.mkv picture=$out/$name-$model.png
export GST_PLUGIN_PATH=$PWD/target/release
# A registry of our own: the user's stays as it is.
export GST_REGISTRY=$PWD/build/registry.bin

say() { printf 'demo: %s\n' "$*"; }

mkdir -p "$out"
say "upscaling $clip with $model"
started=$(date +%s.%N)
target/release/gst-neural upscale "$clip" "$video" --model "$model" --force
say "took $(awk -v a="$started" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f s", b - a }')"

.deps/venv/bin/python packaging/side_by_side.py "$clip" "$video" "$picture" --label "$model"
say "video, with the clip's sound:      $video"
say "bicubic (left), $model (right):  $picture"
