#!/usr/bin/env bash
# Bicubic on the left, the network on the right, in one picture.
set -euo pipefail
# shellcheck source=examples/common.sh
source "$(dirname "$0")/common.sh"

gst-launch-1.0 -q filesrc location="$CLIP" ! decodebin \
    ! nnupscale model=luma-x2 compare=split split-pos=0.5 \
    ! videoconvert ! pngenc snapshot=true ! filesink location="$OUT/split-compare.png"
echo "$OUT/split-compare.png"
