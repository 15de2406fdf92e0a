"""Frames with their motion-compensated predictions, for the inter stage.

Sources are the training clips, and photographs that are panned and zoomed. References are
what the intra networks make of the frame before, at a random level; the predictions are
those of the codec itself (`cargo build --release -p gstneural-codec --example predict`).
In a *closed* set they are what `gst-neural` really decodes of the frame before, a predicted frame
most of the time, with the networks of the round before: so the networks learn on what they will
see (`train.py --closed`, after `export.py` and `seal_model`).
"""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from checkpoints import load_average
from frames import CLIPS, clip_frames, packed, photos, split_i420, yuv420
from nets import LEVELS, UNIT, step_of
from roundtrip import decoded, program

PANNED = 3
"""Pairs from a photograph."""
SIZE = (512, 320)


def lambda_of(level):
    """What a bit of a vector is worth in absolute differences, as the encoder sets it."""
    return max(1, int(0.4 * step_of(level)))


def panned(data, split, random):
    """Pairs (frame, frame before) cut from moving boxes over photographs."""
    found = []
    for path in photos(data, split):
        with Image.open(path) as image:
            image = image.convert("RGB")
            for _ in range(PANNED):
                scale = random.uniform(1.3, 3.5)
                width, height = (side * scale for side in SIZE)
                zoom = 1 + random.normal() * 0.004
                move = random.normal(size=2) * 3 * scale
                room = np.array(image.size) - (width * 1.02, height * 1.02) - np.abs(move)
                if (room < 1).any():
                    continue
                x, y = random.random(2) * room + np.maximum(0, -move)
                both = []
                for dx, dy, z in ((0, 0, 1.0), (*move, zoom)):
                    box = (x + dx, y + dy, x + dx + width * z, y + dy + height * z)
                    box = (max(0, box[0]), max(0, box[1]), min(image.width, box[2]), min(image.height, box[3]))
                    both.append(yuv420(np.asarray(image.resize(SIZE, Image.Resampling.BICUBIC, box=box))))
                found.append(tuple(both))
    return found


def filmed(data, random, split):
    """Pairs (frame, an earlier frame) of the training clips; validation is their last tenth."""
    found = []
    for name, size, start, seconds in CLIPS:
        frames = clip_frames(data, name, size, start, seconds)
        cut = int(len(frames) * 0.9)
        where = range(4, cut, 5) if split == "train" else range(cut + 4, len(frames), 24)
        for n in where:
            gap = int(random.choice((1, 1, 1, 2, 3)))
            found.append((frames[n], frames[n - gap]))
    return found


@torch.no_grad()
def coded(net, planes, level):
    """What the intra networks make of a picture: planes of the same size."""
    height, width = planes[0].shape
    pad = [(0, -height % 64), (0, -width % 64)]
    half = [(0, pad[0][1] // 2), (0, pad[1][1] // 2)]
    y, u, v = (np.pad(p, h, "edge")[None] for p, h in zip(planes, (pad, half, half)))
    device = net.gain.rows.device
    x = (torch.from_numpy(packed(y, u, v)).to(device).float() * 8 - 1024) / UNIT
    _, rows, columns, _ = x.shape
    out, *_ = net(x.reshape(-1, 8, columns, 96), None, torch.full((rows // 8,), level, device=device), hard=True)
    out = out.cpu().reshape(rows, columns, 96)
    samples = ((out.numpy() * UNIT + 1024) / 8).round().clip(0, 255).astype(np.uint8)

    def plane(part, side):
        part = part.reshape(rows, columns, side, side).transpose(0, 2, 1, 3)
        return part.reshape(rows * side, columns * side)

    y, u, v = plane(samples[..., :64], 8), plane(samples[..., 64:80], 4), plane(samples[..., 80:], 4)
    return y[:height, :width], u[: height // 2, : width // 2], v[: height // 2, : width // 2]


def searched(sources, references, levels):
    """The codec's predictions of `sources` from `references`, all of one size, and its vectors.

    Vectors are those of each 8x8 luma block, `[ceil16(height) / 8, ceil16(width) / 8, 2]`, x and
    y in quarter samples; `GREY` where a block is not predicted.
    """
    run = program("examples/predict", "cargo build --release -p gstneural-codec --example predict")
    height, width = sources[0][0].shape
    out, fields = [None] * len(sources), [None] * len(sources)
    for level in sorted(set(levels)):
        which = [i for i, l in enumerate(levels) if l == level]
        with tempfile.TemporaryDirectory() as folder:
            names = ("source", "reference", "out", "vectors")
            paths = [Path(folder) / name for name in names]
            for path, frames in zip(paths, (sources, references)):
                path.write_bytes(b"".join(p.tobytes() for i in which for p in frames[i]))
            command = [run, str(width), str(height), *paths[:3], str(lambda_of(level)), paths[3]]
            subprocess.run(command, check=True)
            raw = np.frombuffer(paths[2].read_bytes(), np.uint8)
            for i, planes in zip(which, split_i420(raw, width, height)):
                out[i] = planes
            vectors = np.frombuffer(paths[3].read_bytes(), "<i2")
            blocks = (2 * -(-height // 16), 2 * -(-width // 16), 2)
            for i, field in zip(which, vectors.reshape(-1, *blocks)):
                fields[i] = field
    return out, fields


def make_closed(data, work, split, tier):
    """Sources, predictions and levels of one split, with references that the codec decoded."""
    random = np.random.default_rng(17 if split == "train" else 18)
    model = Path(work) / f"{tier}.gnm"
    sources, predictions, levels = [], [], []
    for name, size, start, seconds in CLIPS:
        frames = clip_frames(data, name, size, start, seconds)
        cut = int(len(frames) * 0.9)
        frames = frames[:cut] if split == "train" else frames[cut:]
        # Parts of up to two seconds, each at a level of its own, with every fourth frame taken.
        for begin in range(0, len(frames) - 8, 48 if split == "train" else 24):
            part = frames[begin : begin + 24]
            level = int(random.integers(0, LEVELS))
            known = decoded(part, level, model)
            which = range(2 + begin % 3, len(part), 4)
            chosen = [part[n] for n in which]
            sources += chosen
            predictions += searched(chosen, [known[n - 1] for n in which], [level] * len(chosen))[0]
            levels += [level] * len(chosen)
    return sources, predictions, levels


def make(data, work, split, tier):
    """Sources, predictions and levels of one split."""
    random = np.random.default_rng(7 if split == "train" else 8)
    torch.manual_seed(7)
    net = load_average(Path(work) / f"codec-{tier}-intra.pt")
    both = filmed(data, random, split) + panned(data, split, random)
    sizes = sorted({s[0].shape for s, _ in both})
    sources, predictions, levels = [], [], []
    for size in sizes:
        some = [pair for pair in both if pair[0][0].shape == size]
        at = [int(level) for level in random.integers(0, LEVELS, len(some))]
        references = [coded(net, before, level) for (_, before), level in zip(some, at)]
        sources += [s for s, _ in some]
        predictions += searched([s for s, _ in some], references, at)[0]
        levels += at
    return sources, predictions, levels


def write_pairs(cache, sources, predictions, levels):
    """Keeps pairs as `pairs` reads them."""
    part = cache.with_suffix(".tmp.npz")
    arrays = {"levels": np.array(levels)}
    for name, pictures in (("s", sources), ("p", predictions)):
        arrays |= {f"{name}{i}{c}": p for i, planes in enumerate(pictures) for c, p in zip("yuv", planes)}
    np.savez(part, **arrays)
    part.rename(cache)


def pairs(data, work, split, tier="small", closed=False):
    """(sources, predictions) and the level of each, cached in `work`."""
    cache = Path(work) / f"codec-{tier}-pairs-{split}{'-closed' if closed else ''}.npz"
    if not cache.exists():
        maker = make_closed if closed else make
        write_pairs(cache, *maker(data, work, split, tier))
    with np.load(cache) as arrays:
        levels = arrays["levels"]
        return [
            [tuple(arrays[f"{name}{i}{c}"] for c in "yuv") for i in range(len(levels))] for name in "sp"
        ], levels
