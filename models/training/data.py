"""Clean training pairs from permissively licensed photographs.

The photographs (`DIR/train/{budgie,elementary,popos}`, CC0 / Unsplash / Pexels)
are 8 to 20 megapixel JPEGs. Shrunk two to four times they are sharp and free of
noise and of JPEG blocks; those shrunk images are the high-resolution side, and
MATLAB's bicubic of them the low-resolution side. All of it fits in memory as
8-bit luma, so a batch is a few array slices.

Folders of other licences (BSDS500, Set5, ...) are never read here.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from bicubic import crop_to_multiple, resize, resize_u8, rgb_to_y

WORK = Path(__file__).resolve().parent / "work"
FOLDERS = ("budgie", "elementary", "popos")
VALIDATION = ("casa-mila.jpg", "perched-osprey.jpg", "Viktor_Forgacs.jpg")
"""Held out: architecture, an animal, a landscape. Never trained on."""

SHRINKS = (2.0, 2.7, 3.6, 4.8)
BLOCK = 16
"""Granularity, in low-resolution pixels, of the map that says where detail is."""


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


def high_resolution(data, split, shrinks=SHRINKS):
    """Luma planes of the photographs, shrunk; sides are multiples of 16."""
    planes = []
    for path in photos(data, split):
        with Image.open(path) as image:
            image = image.convert("RGB")
            for shrink in shrinks:
                size = (round(image.width / shrink), round(image.height / shrink))
                small = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
                planes.append(crop_to_multiple(rgb_to_y(small), 16))
    return planes


class Pairs:
    """Aligned 8-bit luma planes, `lr[i]` and `hr[i]`, and a sampler of random patches."""

    def __init__(self, lr, hr, scale):
        self.lr, self.hr, self.scale = lr, hr, scale
        self.blocks, weights = [], []
        for index, (low, high) in enumerate(zip(lr, hr)):
            detail = np.abs(high - resize(low, scale)).astype(np.float32)
            side = BLOCK * scale
            rows, columns = low.shape[0] // BLOCK, low.shape[1] // BLOCK
            detail = detail[: rows * side, : columns * side]
            detail = detail.reshape(rows, side, columns, side).mean(axis=(1, 3))
            for row in range(rows):
                for column in range(columns):
                    self.blocks.append((index, row * BLOCK, column * BLOCK))
            weights.append(detail.ravel())
        weights = np.concatenate(weights)
        # Skies and blurred backgrounds teach nothing, but must not be forgotten either.
        weights = np.clip(weights, 0.25, 8.0) ** 0.75
        self.cumulative = np.cumsum(weights / weights.sum())

    def sample(self, random, batch, patch):
        """A batch of random, randomly flipped and turned patches, `[N, 1, H, W]` in 0..1."""
        scale = self.scale
        lows = np.empty((batch, 1, patch, patch), np.uint8)
        highs = np.empty((batch, 1, patch * scale, patch * scale), np.uint8)
        picks = np.searchsorted(self.cumulative, random.random(batch))
        for n, pick in enumerate(np.minimum(picks, len(self.blocks) - 1)):
            index, y, x = self.blocks[pick]
            low, high = self.lr[index], self.hr[index]
            y = int(np.clip(y - random.integers(0, patch - BLOCK + 1), 0, low.shape[0] - patch))
            x = int(np.clip(x - random.integers(0, patch - BLOCK + 1), 0, low.shape[1] - patch))
            a = low[y : y + patch, x : x + patch]
            b = high[y * scale : (y + patch) * scale, x * scale : (x + patch) * scale]
            turn = int(random.integers(0, 8))
            if turn & 4:
                a, b = a.T, b.T
            lows[n, 0] = np.rot90(a, turn & 3)
            highs[n, 0] = np.rot90(b, turn & 3)
        return lows.astype(np.float32) / 255, highs.astype(np.float32) / 255


def clean_pairs(data, split, scale, work=WORK):
    """Clean bicubic pairs of one split, cached in `work` as one `.npz`."""
    key = hashlib.sha256(repr((split, scale, SHRINKS, VALIDATION)).encode()).hexdigest()[:12]
    cache = Path(work) / f"clean-x{scale}-{split}-{key}.npz"
    if not cache.exists():
        shrinks = SHRINKS if split == "train" else (3.0,)
        hr = high_resolution(data, split, shrinks)
        lr = [resize_u8(plane, 1 / scale) for plane in hr]
        cache.parent.mkdir(parents=True, exist_ok=True)
        part = cache.with_suffix(".tmp.npz")
        arrays = {f"hr{i}": p for i, p in enumerate(hr)} | {f"lr{i}": p for i, p in enumerate(lr)}
        np.savez(part, **arrays)
        part.rename(cache)
    with np.load(cache) as arrays:
        count = len(arrays.files) // 2
        return Pairs(
            [arrays[f"lr{i}"] for i in range(count)], [arrays[f"hr{i}"] for i in range(count)], scale
        )


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
