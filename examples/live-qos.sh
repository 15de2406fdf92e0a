#!/usr/bin/env bash
# A live source that must not fall behind: where the network is too slow for this
# machine, frames take the classical upscale instead of being late.
# DEVICE=/dev/video0 takes a camera in place of the test picture.
set -euo pipefail
# shellcheck source=examples/common.sh
source "$(dirname "$0")/common.sh"

source=(videotestsrc is-live=true pattern=ball num-buffers="$FRAMES")
if [[ -n ${DEVICE:-} ]]; then
    source=(v4l2src device="$DEVICE" num-buffers="$FRAMES" ! videoconvert ! videoscale ! videorate)
fi
gst-launch-1.0 -m "${source[@]}" ! video/x-raw,format=I420,width=640,height=360,framerate=30/1 \
    ! nnupscale model=luma-x2-fast qos-mode=fallback ! fakesink sync=true \
    | grep --line-buffered -oE 'nnupscale-(fallback|stats),.*'
