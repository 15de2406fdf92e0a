#!/usr/bin/env bash
# A file to a file: video upscaled, sound copied as it is.
set -euo pipefail
# shellcheck source=examples/common.sh
source "$(dirname "$0")/common.sh"

gst-launch-1.0 -q -e filesrc location="$CLIP" ! qtdemux name=demux \
    demux.video_0 ! queue ! decodebin ! nnupscale model=luma-x2 \
    ! x264enc speed-preset=veryfast pass=quant quantizer=20 ! h264parse ! queue ! mux. \
    demux.audio_0 ! queue ! aacparse ! mux. \
    matroskamux name=mux ! filesink location="$OUT/file-to-file.mkv"
echo "$OUT/file-to-file.mkv"
