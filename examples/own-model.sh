#!/usr/bin/env bash
# A network of one's own: any ONNX file. This one is SPAN x4, an RGB network.
set -euo pipefail
# shellcheck source=examples/common.sh
source "$(dirname "$0")/common.sh"
model=${MODEL:-$root/tests/models/span_x4.onnx}

gst-launch-1.0 -q filesrc location="$CLIP" ! decodebin ! videoconvert ! videoscale \
    ! video/x-raw,width=160,height=90 ! nnupscale model="$model" \
    ! videoconvert ! pngenc snapshot=true ! filesink location="$OUT/own-model.png"
echo "$OUT/own-model.png"
