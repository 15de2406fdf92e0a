"""Packs what a training reads into one small file, for a machine that has nothing else.

    python pack.py codec small --data DIR --work work --out codec.tar
    python pack.py sr rgb-x2 --data DIR --work work --out sr.tar

`gpu.py` unpacks it there and trains. A pack holds this folder's programs, checkpoints to go on
from, photographs as JPEG of quality 95, and frames of clips: as JPEG of quality 90 (upscalers: 95)
where they are what is to be reproduced, without loss where they are what a coder left. Vectors of the codec's
motion search and pictures that x264 and x265 decoded are in it, so no other program is needed
there. Only training data of licences that allow passing on is read (`data.py`, `codec/frames.py`),
and `NOTICE` in the pack names it.
"""

import argparse
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data import WORK, photos

HERE = Path(__file__).resolve().parent
QUALITY, FRAMES_QUALITY = 95, 90
LARGEST = 60 * 2**20
END = 20480
"""What a tar file ends with, at most."""
LONG_SIDE = 2000
"""Photographs are shrunk to this."""
NOTICE = """\
Photographs: budgie-backgrounds (CC0-1.0); elementary OS wallpapers (CC0, Unsplash or Pexels licence);
Pop!_OS wallpapers (Unsplash, public domain by its README). Shrunk and encoded again.
Frames: Big Buck Bunny and Tears of Steel, (c) copyright Blender Foundation, CC BY 3.0,
www.bigbuckbunny.org, mango.blender.org; a walk by GoPro (Apache-2.0 or MIT). Scaled and encoded again.
"""


class Pack:
    """A tar file that grows until it would be too large."""

    def __init__(self, path, most=LARGEST):
        self.tar, self.most, self.size, self.left_out = tarfile.open(path, "w"), most, 0, 0

    def has_room(self, files):
        """Whether these go in, with their headers and the end of the file."""
        return self.size + sum(512 + -(-len(data) // 512) * 512 for data in files) <= self.most - END

    def add(self, name, data):
        """Adds a file, which has to go in."""
        if not self.has_room([data]):
            raise SystemExit(f"{name} does not fit into {self.most} bytes: raise --mib, or pack less")
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        self.tar.addfile(entry, io.BytesIO(data))
        self.size += 512 + -(-len(data) // 512) * 512

    def close(self):
        """Ends the file."""
        self.tar.close()


def jpeg(image, quality=QUALITY):
    """A picture (8 bits, grey or RGB) as JPEG, colours at full size."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=quality, subsampling=0, optimize=True)
    return out.getvalue()


def lossless(image):
    """A picture as WebP without loss."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, "WEBP", lossless=True, quality=60, method=4, exact=True)
    return out.getvalue()


def unpacked(data):
    """The picture in a file, as an array."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def sheet(planes):
    """Y above U and V side by side: one grey picture."""
    y, u, v = planes
    return np.vstack([y, np.hstack([u, v])])


def planes_of(sheet):
    """Y, U and V of a sheet."""
    height, half = sheet.shape[0] * 2 // 3, sheet.shape[1] // 2
    return sheet[:height], sheet[height:, :half], sheet[height:, half:]


def array(values):
    """An array as a compressed file."""
    out = io.BytesIO()
    np.savez_compressed(out, values=values)
    return out.getvalue()


def slim(path):
    """A checkpoint whose average has half precision and whose optimiser bf16."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    saved["average"] = {k: v.half() for k, v in saved["average"].items()}
    for entry in saved.get("optimiser", {}).get("state", {}).values():
        for key in ("exp_avg", "exp_avg_sq"):
            entry[key] = entry[key].bfloat16()
    out = io.BytesIO()
    torch.save(saved, out)
    return out.getvalue()


def add_photographs(pack, data):
    """All photographs, the held-out ones too."""
    for split in ("train", "validation"):
        for path in photos(data, split):
            with Image.open(path) as image:
                image = image.convert("RGB")
                scale = min(1.0, LONG_SIDE / max(image.size))
                size = [2 * round(side * scale / 2) for side in image.size]
                small = np.asarray(image.resize(size, Image.Resampling.LANCZOS))
            pack.add(f"data/train/{path.parent.name}/{path.name}", jpeg(small))


def add_codec(pack, data, work, tier):
    """Sequences with their vectors, in turn from all clips until the pack is full."""
    # In front: its `nets` is meant.
    sys.path.insert(0, str(HERE / "codec"))
    from sequences import sequences

    for split in ("validation", "train"):
        frames, _, fields, levels = sequences(data, work, split, tier)
        # An order in which every beginning of it has something of everything.
        order = np.random.default_rng(1).permutation(len(levels))
        for n in order if split == "train" else range(0, len(levels), 2):
            pictures = [jpeg(sheet(planes), FRAMES_QUALITY) for planes in frames[n]]
            vectors = array(fields[n])
            if split == "train" and not pack.has_room([*pictures, vectors]):
                pack.left_out += 1
                continue
            name = f"sequences/{split}/{n:04}.{int(levels[n]):02}"
            for i, content in enumerate(pictures):
                pack.add(f"{name}.{i}.jpg", content)
            pack.add(f"{name}.vectors.npz", vectors)


def add_pairs(pack, data, work, recipe):
    """Compressed pairs: what a coder left, without loss, and what it was."""
    from degrade import compressed_pairs

    scale, planes = recipe.shape.scale, recipe.shape.planes
    for split in ("validation", "train"):
        pairs = compressed_pairs(data, split, scale, work, 1, planes)
        for n in np.random.default_rng(1).permutation(len(pairs.lr)):
            low, high = lossless(pairs.lr[n]), jpeg(pairs.hr[n])
            if not pack.has_room([low, high]):
                pack.left_out += 1
                continue
            pack.add(f"pairs/{split}/{n:05}.low.webp", low)
            pack.add(f"pairs/{split}/{n:05}.high.jpg", high)


def main():
    """Writes a pack."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("codec", "sr"))
    parser.add_argument("name", help="tier or model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=WORK, help="caches and checkpoints")
    parser.add_argument("--tier", default="small", help="codec: whose sequences are taken")
    parser.add_argument("--mib", type=float, default=LARGEST / 2**20, help="largest size")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    pack = Pack(args.out, int(args.mib * 2**20))
    pack.add("NOTICE", NOTICE.encode())
    pack.add("pack.json", json.dumps({"what": args.what, "name": args.name, "tier": args.tier}).encode())
    for path in sorted([*HERE.glob("*.py"), *HERE.glob("codec/*.py")]):
        pack.add(f"training/{path.relative_to(HERE)}", path.read_bytes())
    if args.what == "codec":
        names = {f"codec-{tier}-{kind}" for tier in (args.name, args.tier) for kind in ("intra", "inter")}
    else:
        names = {args.name}
    for name in sorted(names):
        if (args.work / f"{name}.pt").exists():
            pack.add(f"work/{name}.pt", slim(args.work / f"{name}.pt"))
    if args.what == "codec":
        add_photographs(pack, args.data)
        add_codec(pack, args.data, args.work, args.tier)
    else:
        from recipes import RECIPES

        recipe = RECIPES[args.name]
        if recipe.variant == "compressed":
            add_pairs(pack, args.data, args.work, recipe)
        else:
            add_photographs(pack, args.data)
    pack.close()
    print(f"{args.out}: {args.out.stat().st_size / 2**20:.1f} MiB, {pack.left_out} parts left out for want of room")


if __name__ == "__main__":
    main()
