"""Pictures that the codec learns from: photographs and three clips, as 8-bit 4:2:0 planes.

Photographs are those of `../data.py` (CC0 / Unsplash / Pexels), shrunk. The clips are
Big Buck Bunny and Tears of Steel (CC BY, Blender Foundation) and a hand-held walk (GoPro,
Apache-2.0 or MIT), halved or so, which hides what their first encoding did. No other clip
is ever read here: those that results are stated on stay unseen.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.append(str(Path(__file__).resolve().parent.parent))
from data import photos  # noqa: E402

SHRINKS = (1.6, 2.4, 3.6, 5.2, 7.5)
CLIPS = (
    # file, size after scaling, first second, seconds
    ("bbb_1080p60_anim.mp4", (640, 352), 0, 10),
    ("bbb_1080p60_anim.mp4", (960, 528), 4, 4),
    ("tears_of_steel_800x332.webm", (576, 240), 0, 60),
    ("gopro_max_480p.mp4", (512, 288), 0, 10),
)


def yuv420(rgb):
    """8-bit BT.709 limited-range planes (Y, U, V) of RGB `[H, W, 3]` with even sides."""
    rgb = rgb.astype(np.float32)
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    u, v = (b - y) / 1.8556, (r - y) / 1.5748
    half = [p.reshape(p.shape[0] // 2, 2, p.shape[1] // 2, 2).mean((1, 3)) for p in (u, v)]
    y = 16 + y * (219 / 255)
    u, v = (128 + p * (224 / 255) for p in half)
    return tuple(np.clip(np.rint(p), 0, 255).astype(np.uint8) for p in (y, u, v))


def photographs(data, split):
    """Planes of the photographs of one split."""
    found = []
    for path in photos(data, split):
        with Image.open(path) as image:
            image = image.convert("RGB")
            for shrink in SHRINKS if split == "train" else (2.4,):
                size = [2 * round(side / shrink / 2) for side in image.size]
                small = image.resize(size, Image.Resampling.BICUBIC)
                found.append(yuv420(np.asarray(small)))
    return found


def clip_frames(data, name, size, start, seconds, every=1):
    """Frames of a clip, scaled: a list of (Y, U, V)."""
    width, height = size
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-ss", str(start), "-t", str(seconds)]
    command += ["-i", str(Path(data) / "video" / name), "-an", "-threads", "1"]
    chosen = f"select='not(mod(n,{every}))'," if every > 1 else ""
    command += ["-vf", f"{chosen}scale={width}:{height}:flags=bicubic", "-vsync", "0"]
    command += ["-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return split_i420(np.frombuffer(raw, np.uint8), width, height)


def split_i420(raw, width, height):
    """Frames of raw I420 bytes."""
    luma, chroma = width * height, width * height // 4
    found = []
    for frame in raw.reshape(-1, luma + 2 * chroma):
        y = frame[:luma].reshape(height, width)
        u = frame[luma : luma + chroma].reshape(height // 2, width // 2)
        v = frame[luma + chroma :].reshape(height // 2, width // 2)
        found.append((y, u, v))
    return found


def write_stills(cache, pictures):
    """Keeps pictures as `stills` reads them."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    part = cache.with_suffix(".tmp.npz")
    np.savez(part, **{f"{i}{c}": p for i, planes in enumerate(pictures) for c, p in zip("yuv", planes)})
    part.rename(cache)


def stills(data, work):
    """All pictures for the intra stage, cached in `work`."""
    cache = Path(work) / "codec-stills.npz"
    if not cache.exists():
        pictures = photographs(data, "train")
        for name, size, start, seconds in CLIPS:
            pictures += clip_frames(data, name, size, start, seconds, every=30)
        write_stills(cache, pictures)
    with np.load(cache) as arrays:
        return [tuple(arrays[f"{i}{c}"] for c in "yuv") for i in range(len(arrays.files) // 3)]


def packed(y, u, v):
    """Planes `[N, H, W]`, chroma halved, to `[N, H/8, W/8, 96]`: 64 luma, 16 U, 16 V."""
    n, height, width = y.shape
    rows, columns = height // 8, width // 8

    def blocks(plane, side):
        plane = plane.reshape(n, rows, side, columns, side).transpose(0, 1, 3, 2, 4)
        return plane.reshape(n, rows, columns, side * side)

    return np.concatenate([blocks(y, 8), blocks(u, 4), blocks(v, 4)], -1)
