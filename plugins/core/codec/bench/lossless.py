#!/usr/bin/env python3
"""Sizes and speed of the lossless profile beside FFV1 and x264 on clips.

    plugins/core/codec/bench/lossless.py DATA_DIR [NAME...]
    plugins/core/codec/bench/lossless.py DATA_DIR --layer

The second prints what a layer on lossy pictures takes, on the parts of the clips in DATA_DIR/video
that the networks were not trained on.

DATA_DIR holds the clips named below. ffmpeg decodes them to y4m files in a temporary folder; the
example `lossless_size` (release build) codes these, decodes them and compares every frame. Prints
the table of docs/results/codec.md.
"""

import os
import re
import resource
import subprocess
import sys
import tempfile
import time

CLIPS = [
    ("carphone_qcif.mp4", 96),
    ("city_rooftop_360p.mp4", 48),
    ("stream_of_water_360p.mp4", 48),
    ("tears_of_steel_800x332.webm", 48),
    ("park_joy_480x270_10f.y4m", 10),
    ("gopro_max_480p.mp4", 48),
    ("flower_540p.mp4", 48),
    ("highway_540p.mp4", 48),
    ("bbb_1080p60_anim.mp4", 24),
    ("graffiti_1080p60.mp4", 24),
    ("rooftop_1080p_hlg10.mp4", 12),
]
FFV1 = "-c:v ffv1 -level 3 -context 1 -coder 1 -slices 4 -g 64 -threads 1 -f data -map 0:v".split()
X264 = "-c:v libx264 -qp 0 -preset medium -threads 1 -f h264".split()


def ffmpeg(*args):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *args], check=True)


# The last tenth of each is held out from training, at the size that was trained on.
HELD_OUT = [
    ("bbb_1080p60_anim.mp4", 9, "640:352"),
    ("tears_of_steel_800x332.webm", 54, "576:240"),
    ("gopro_max_480p.mp4", 9, "512:288"),
]


def child_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed_size(y4m, args, out):
    before = child_seconds()
    ffmpeg("-threads", "1", "-i", y4m, *args, out)
    return os.path.getsize(out), child_seconds() - before


def layers(data, root, example):
    """The table of the layer: bytes of 24 frames."""
    model = os.path.join(root, "models/neural/small.gnm")
    print("| clip | FFV1 | lossless alone | quality | lossy alone | with its layer | of lossless alone "
          "| of FFV1 | layers that do not refer |")
    print("|---" + "|---:" * 8 + "|")
    with tempfile.TemporaryDirectory() as tmp:
        for name, start, size in HELD_OUT:
            y4m = os.path.join(tmp, "clip.y4m")
            ffmpeg("-ss", str(start), "-i", os.path.join(data, "video", name), "-vf",
                   f"scale={size}:flags=bicubic", "-frames:v", "24", "-pix_fmt", "yuv420p",
                   "-f", "yuv4mpegpipe", y4m)
            ffv1, _ = timed_size(y4m, FFV1, os.path.join(tmp, "a"))

            def coded(*args):
                line = subprocess.run([example, *args, y4m], check=True, capture_output=True, text=True)
                found = re.search(r"coded (\d+) .*without layer (\d+)", line.stdout)
                return [int(n) for n in found.groups()]

            alone, _ = coded()
            for quality in (12, 20, 28):
                lossy = ["--model", model, "--quality", str(quality)]
                both, base = coded(*lossy)
                bare, _ = coded(*lossy, "--alone")
                print(f"| {name.rsplit('.', 1)[0]} | {ffv1} | {alone} | {quality} | {base} | **{both}** "
                      f"| {100 * both / alone:.1f} % | {100 * both / ffv1:.1f} % | {bare} |", flush=True)


def main():
    data, wanted = sys.argv[1], sys.argv[2:]
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../..")
    example = os.path.join(root, "target/release/examples/lossless_size")
    if "--layer" in wanted:
        return layers(data, root, example)
    print(f"load average {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}\n")
    print("| clip | frames | raw, bytes | FFV1 | x264 | this | of FFV1 | of x264 | encode, fps "
          "| decode, fps | decode, MB/s | FFV1 encodes, fps | x264 encodes, fps |")
    print("|---" + "|---:" * 12 + "|")
    with tempfile.TemporaryDirectory() as tmp:
        for name, frames in CLIPS:
            if wanted and not any(w in name for w in wanted):
                continue
            y4m = os.path.join(tmp, "clip.y4m")
            ffmpeg("-i", os.path.join(data, name), "-frames:v", str(frames),
                   "-f", "yuv4mpegpipe", "-strict", "-1", y4m)
            ffv1, ffv1_s = timed_size(y4m, FFV1, os.path.join(tmp, "a"))
            x264, x264_s = timed_size(y4m, X264, os.path.join(tmp, "b"))
            line = subprocess.run([example, y4m], check=True, capture_output=True, text=True).stdout
            n, raw, ours = map(int, re.search(r"(\d+) frames raw (\d+) coded (\d+)", line).groups())
            enc, dec, speed = re.search(r"encode (\S+) fps .* decode (\S+) fps (\S+) MB", line).groups()
            print(f"| {name.rsplit('.', 1)[0]} | {n} | {raw} | {ffv1} | {x264} | **{ours}** "
                  f"| {100 * ours / ffv1:.1f} % | {100 * ours / x264:.1f} % | {enc} | {dec} | {speed} "
                  f"| {n / ffv1_s:.1f} | {n / x264_s:.1f} |", flush=True)


if __name__ == "__main__":
    main()
