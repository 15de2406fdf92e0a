"""Clean training pairs from permissively licensed photographs.

The photographs (`DIR/train/{budgie,elementary,popos}`, CC0 / Unsplash / Pexels)
are 8 to 20 megapixel JPEGs. Shrunk two to four times they are sharp and free of
noise and of JPEG blocks; those shrunk images are the high-resolution side, and
MATLAB's bicubic of them the low-resolution side, as 8-bit luma or RGB.

Folders of other licences (BSDS500, Set5, ...) are never read here.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from bicubic import crop_to_multiple, resize_u8, rgb_to_y

WORK = Path(__file__).resolve().parent / "work"
FOLDERS = ("budgie", "elementary", "popos")
VALIDATION = ("casa-mila.jpg", "perched-osprey.jpg", "Viktor_Forgacs.jpg")
"""Held out: architecture, an animal, a landscape. Never trained on."""

SHRINKS = (2.0, 2.7, 3.6, 4.8)

def photos(data, split):
    """The paths of the photographs of one split, `train` or `validation`, sorted."""
    found = sorted(p for f in FOLDERS for p in (Path(data) / "train" / f).glob("*.jpg"))
    if not found:
        raise SystemExit(f"no photographs under {data}/train/{{{','.join(FOLDERS)}}}")
    held_out = split == "validation"
    return [p for p in found if (p.name in VALIDATION) == held_out]


def load_rgb(path):
    """An image file as 8-bit RGB `[H, W, 3]`."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def shrunk(image, scale):
    """A plane or an RGB image, smaller by `scale` with MATLAB's bicubic."""
    if image.ndim == 2:
        return resize_u8(image, 1 / scale)
    return np.stack([resize_u8(image[..., c], 1 / scale) for c in range(3)], -1)


def high_resolution(data, split, shrinks=SHRINKS, planes=1):
    """Luma (or RGB: 3 planes) of the photographs, shrunk; sides are multiples of 16."""
    found = []
    for path in photos(data, split):
        with Image.open(path) as image:
            image = image.convert("RGB")
            for shrink in shrinks:
                size = (round(image.width / shrink), round(image.height / shrink))
                small = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
                found.append(crop_to_multiple(rgb_to_y(small) if planes == 1 else small, 16))
    return found


def clean_pairs(data, split, scale, work=WORK, planes=1, device="cpu"):
    """Clean bicubic pairs of one split, cached in `work` as one `.npz`."""
    from patches import Pairs

    key = hashlib.sha256(repr((split, scale, SHRINKS, VALIDATION)).encode()).hexdigest()[:12]
    colour = "" if planes == 1 else "-rgb"
    cache = Path(work) / f"clean{colour}-x{scale}-{split}-{key}.npz"
    if not cache.exists():
        shrinks = SHRINKS if split == "train" else (3.0,)
        hr = high_resolution(data, split, shrinks, planes)
        lr = [shrunk(plane, scale) for plane in hr]
        cache.parent.mkdir(parents=True, exist_ok=True)
        part = cache.with_suffix(".tmp.npz")
        arrays = {f"hr{i}": p for i, p in enumerate(hr)} | {f"lr{i}": p for i, p in enumerate(lr)}
        np.savez(part, **arrays)
        part.rename(cache)
    with np.load(cache) as arrays:
        indices = range(len(arrays.files) // 2)
        lr, hr = [arrays[f"lr{i}"] for i in indices], [arrays[f"hr{i}"] for i in indices]
        return Pairs(lr, hr, scale, device)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Prepares the clean training pairs.")
    parser.add_argument("--data", required=True, help="folder that holds train/")
    parser.add_argument("--scale", type=int, nargs="+", default=[2, 4])
    args = parser.parse_args()
    for factor in args.scale:
        for part in ("train", "validation"):
            pairs = clean_pairs(args.data, part, factor)
            pixels = sum(p.size for p in pairs.hr) / 1e6
            print(f"x{factor} {part}: {len(pairs.hr)} planes, {pixels:.1f} megapixels")
