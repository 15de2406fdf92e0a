"""Clips through the codec itself: what `gst-neural` decodes of what it encoded.

The programs are those of `target/release` of the project, or of the folder that
`GST_NEURAL_BUILD` names.
"""

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from frames import split_i420

ROOT = Path(__file__).resolve().parents[3]
FINEST_QUALITY = 31


def program(name, how):
    """The path of a built program; `how` builds it."""
    path = Path(os.environ.get("GST_NEURAL_BUILD", ROOT / "target" / "release")) / name
    if not path.exists():
        raise SystemExit(f"{path} is missing: build it first ({how}), or set GST_NEURAL_BUILD")
    return path


def write_y4m(path, frames, rate=25):
    """8-bit 4:2:0 frames as a file."""
    height, width = frames[0][0].shape
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420\n".encode())
        for planes in frames:
            file.write(b"FRAME\n" + b"".join(p.tobytes() for p in planes))


def decoded(frames, level, model):
    """What the codec makes of a part of a clip at a level (0 is the finest)."""
    run = program("gst-neural", "cargo build --release")
    height, width = frames[0][0].shape
    with tempfile.TemporaryDirectory() as folder:
        source, coded, back = (Path(folder) / name for name in ("source.y4m", "coded.mkv", "back.mkv"))
        write_y4m(source, frames)
        quality = ["--quality", str(FINEST_QUALITY - level), "--model", str(model), "--threads", "1"]
        subprocess.run([run, "encode", "--quiet", *quality, source, coded], check=True)
        folders = {**os.environ, "GST_NEURAL_CODEC_MODELS": str(Path(model).parent)}
        subprocess.run([run, "decode", "--quiet", "--threads", "1", coded, back], check=True, env=folders)
        command = ["ffmpeg", "-v", "error", "-i", back, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
        raw = subprocess.run(command, check=True, capture_output=True).stdout
    found = split_i420(np.frombuffer(raw, np.uint8), width, height)
    if len(found) != len(frames):
        raise SystemExit(f"{len(found)} frames came back of {len(frames)}")
    return found
