"""Compressed training pairs: moving crops, really encoded with x264 and x265.

A still photograph becomes a short clip by a pan and a zoom over it, so that the
encoder predicts between frames as it does in real video. The clip is halved (or
quartered) with MATLAB's bicubic, encoded at a random CRF, preset and codec,
decoded again, and paired with the original frames.
"""

import argparse
import hashlib
import os
import subprocess
import time
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from bicubic import rgb_to_y, to_u8
from data import WORK, photos, shrunk

FRAMES = 10
KEPT = (0, 4, 9)
"""Frames of each clip that are kept: the I-frame and two predicted ones."""
SIZE = (768, 432)
"""High-resolution clip size: small enough to encode thousands, large enough to predict in."""
SHRINK = (1.05, 4.0)
"""From the softness of a camera's own pixels to the sharpness of a downscaled master."""
BLURRED_SHARE = 0.3
GRAINY_SHARE = 0.3
CRF = (18, 36)
CLEAN_SHARE = 0.12
CLIPS = {"train": 700, "validation": 24}


def moving_crop(image, random, planes=1):
    """`FRAMES` frames of `SIZE`, luma or RGB (3 planes), a slow pan and zoom over an RGB image."""
    width, height = SIZE
    shrink = float(np.exp(random.uniform(np.log(SHRINK[0]), np.log(SHRINK[1]))))
    limit = 0.9 * min(image.width / width, image.height / height)
    shrink = min(shrink, limit)
    zoom = 1 + random.uniform(-0.004, 0.004) * (random.random() < 0.4)
    speed = random.exponential(2.0, 2) * random.choice((-1, 1), 2) * (random.random() > 0.15)
    speed = np.clip(speed, -8, 8) * shrink
    largest = shrink * max(1, zoom**FRAMES)
    room = np.array([image.width - width * largest, image.height - height * largest])
    travel = speed * (FRAMES - 1)
    low, high = np.maximum(0, -travel), np.minimum(room, room - travel)
    origin = np.where(high > low, low + random.random(2) * (high - low), np.clip(low, 0, room))
    blur = random.uniform(0.4, 1.2) if random.random() < BLURRED_SHARE else 0
    grain = random.uniform(0.5, 3.5) if random.random() < GRAINY_SHARE else 0
    frames = []
    for index in range(FRAMES):
        scale = shrink * zoom**index
        x, y = np.clip(origin + speed * index, 0, room)
        box = (x, y, x + width * scale, y + height * scale)
        frame = image.resize(SIZE, Image.Resampling.BICUBIC, box=box)
        if blur:
            frame = frame.filter(ImageFilter.GaussianBlur(blur))
        picture = rgb_to_y(np.asarray(frame)) if planes == 1 else np.asarray(frame)
        if grain:
            noise = random.standard_normal(picture.shape[:2], np.float32) * grain
            picture = to_u8(picture + (noise if planes == 1 else noise[..., None]))
        frames.append(picture)
    return frames


def encode(planes, codec, crf, preset, work, fps=25):
    """Encodes 8-bit luma planes (grey chroma), or RGB frames as BT.709 4:2:0, with libx264 or
    libx265 and decodes them again."""
    height, width = planes[0].shape[:2]
    colour = planes[0].ndim == 3
    stem = Path(work) / f"encode-{os.getpid()}.mkv"
    grey = np.full(2 * ((height + 1) // 2) * ((width + 1) // 2), 128, np.uint8).tobytes()
    raw = b"".join(plane.tobytes() + (b"" if colour else grey) for plane in planes)
    exact = ":flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
    to, back = (
        (["-vf", f"scale=out_color_matrix=bt709{exact}"], ["-vf", f"scale=in_color_matrix=bt709{exact}"])
        if colour
        else ([], [])
    )
    format = "rgb24" if colour else "yuv420p"
    source = ["-f", "rawvideo", "-pix_fmt", format, "-s", f"{width}x{height}", "-r", str(fps)]
    quiet = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-threads", "1", "-y"]
    coder = [*to, "-pix_fmt", "yuv420p", "-c:v", codec, "-preset", preset, "-crf", str(crf), "-threads", "1"]
    if codec == "libx265":
        coder += ["-x265-params", "log-level=error:pools=1:frame-threads=1"]
    try:
        command = [*quiet, *source, "-i", "-", *coder, str(stem)]
        command.remove("-nostdin")
        subprocess.run(command, input=raw, check=True)
        command = [*quiet, "-i", str(stem), *back, "-f", "rawvideo", "-pix_fmt", format, "-"]
        decoded = subprocess.run(command, check=True, capture_output=True).stdout
    finally:
        stem.unlink(missing_ok=True)
    frames = np.frombuffer(decoded, np.uint8).reshape(len(planes), -1)
    if colour:
        return [frame.reshape(height, width, 3).copy() for frame in frames]
    return [frame[: width * height].reshape(height, width).copy() for frame in frames]


def make_clips(job):
    """The kept `(low, high)` frames of `count` clips over one photograph."""
    path, count, scale, seed, work, colours = job
    random = np.random.default_rng(seed)
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    lows, highs = [], []
    for _ in range(count):
        planes = moving_crop(image, random, colours)
        small = [shrunk(plane, scale) for plane in planes]
        if random.random() >= CLEAN_SHARE:
            h264 = random.random() < 0.75
            presets = ("superfast", "veryfast", "medium") if h264 else ("ultrafast", "fast")
            crf = int(random.integers(CRF[0], CRF[1] + 1))
            codec = "libx264" if h264 else "libx265"
            small = encode(small, codec, crf, str(random.choice(presets)), work)
        lows += [small[k] for k in KEPT]
        highs += [planes[k] for k in KEPT]
    return lows, highs


def cache_of(split, scale, work, planes=1):
    """Where the encoded pairs of one split are kept."""
    settings = (split, scale, FRAMES, KEPT, SIZE, SHRINK, BLURRED_SHARE, GRAINY_SHARE)
    settings += (CRF, CLEAN_SHARE, CLIPS)
    key = hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
    colour = "" if planes == 1 else "-rgb"
    return Path(work) / f"compressed{colour}-x{scale}-{split}-{key}.npz"


def compressed_pairs(data, split, scale, work=WORK, jobs=1, planes=1, device="cpu"):
    """Encoded pairs of one split, luma or RGB (3 planes), cached in `work` as one `.npz`."""
    from patches import Pairs

    cache = cache_of(split, scale, work, planes)
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        paths = photos(data, split)
        each = -(-CLIPS[split] // len(paths))
        work_list = [(path, each, scale, [scale, n], str(work), planes) for n, path in enumerate(paths)]
        if jobs > 1:
            with Pool(jobs) as pool:
                made = pool.map(make_clips, work_list, chunksize=1)
        else:
            made = [make_clips(job) for job in work_list]
        part = cache.with_suffix(".tmp.npz")
        np.savez(
            part,
            lr=np.stack([frame for lows, _ in made for frame in lows]),
            hr=np.stack([frame for _, highs in made for frame in highs]),
        )
        part.rename(cache)
    with np.load(cache) as arrays:
        return Pairs(list(arrays["lr"]), list(arrays["hr"]), scale, device)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Encodes the compressed training pairs.")
    parser.add_argument("--data", required=True, help="folder that holds train/")
    parser.add_argument("--scale", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--planes", type=int, default=1, choices=(1, 3), help="3: RGB")
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    for factor in args.scale:
        for part in ("validation", "train"):
            began = time.monotonic()
            pairs = compressed_pairs(args.data, part, factor, jobs=args.jobs, planes=args.planes)
            print(f"x{factor} {part}: {len(pairs.hr)} frames, {time.monotonic() - began:.0f} s")
