#!/usr/bin/env bash
# Ten bits in, ten bits out: nothing is narrowed to eight on the way.
set -euo pipefail
# shellcheck source=examples/common.sh
source "$(dirname "$0")/common.sh"

gst-launch-1.0 -q videotestsrc pattern=gradient num-buffers="$((FRAMES / 5))" \
    ! video/x-raw,format=I420_10LE,width=320,height=180,framerate=25/1 \
    ! nnupscale model=luma-x2 ! video/x-raw,format=I420_10LE \
    ! x264enc speed-preset=veryfast ! h264parse ! matroskamux ! filesink location="$OUT/ten-bit.mkv"
echo "$OUT/ten-bit.mkv"
