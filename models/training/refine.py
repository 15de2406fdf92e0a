"""Pairs for `refine-x1`: luma that the codec decoded, and the luma that it was.

    python refine.py --data DIR                          # done on demand by train.py, too
    python refine.py --data DIR --measure refine-x1.onnx  # on the held-out parts

The clips are those that the codec's networks are trained on (`codec/frames.py`); validation
is their last tenth. Each part of a clip is coded at a level of its own, so the network sees
all of them and is not told which.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np

from data import WORK

CODEC = Path(__file__).resolve().parent / "codec"
# At the end: names that both folders have (nets, train, export) stay those of this one.
sys.path.append(str(CODEC))
from frames import CLIPS, clip_frames  # noqa: E402
from roundtrip import decoded  # noqa: E402

MODEL = Path(__file__).resolve().parents[1] / "neural" / "small.gnm"
PART = 16
"""Frames of a part of a clip that is coded by itself."""
KEPT = (0, 3, 7, 11, 15)
"""Frames of it that are kept: the keyframe and predicted ones."""
EVERY = {"train": 40, "validation": 16}
LEVELS = {"train": tuple(range(2, 31, 2)), "validation": (8, 16, 24)}
"""In validation each part is coded at all of these."""


def made(data, split, model):
    """Decoded and source planes and the level of each."""
    random = np.random.default_rng(3)
    low, high, levels = [], [], []
    for name, size, start, seconds in CLIPS:
        frames = clip_frames(data, name, size, start, seconds)
        cut = int(len(frames) * 0.9)
        frames = frames[:cut] if split == "train" else frames[cut:]
        for begin in range(0, len(frames) - PART + 1, EVERY[split]):
            part = frames[begin : begin + PART]
            some = LEVELS[split]
            for level in [int(random.choice(some))] if split == "train" else some:
                back = decoded(part, level, model)
                low += [back[k][0] for k in KEPT]
                high += [part[k][0] for k in KEPT]
                levels += [level] * len(KEPT)
    return low, high, levels


def decoded_pairs(data, split, work=WORK, model=MODEL, device="cpu"):
    """Pairs of one split, cached in `work` as one `.npz`; `levels` beside them."""
    from patches import Pairs

    model = Path(model)
    key = repr((split, PART, KEPT, EVERY, LEVELS)).encode() + model.read_bytes()
    cache = Path(work) / f"decoded-{split}-{hashlib.sha256(key).hexdigest()[:12]}.npz"
    if not cache.exists():
        low, high, levels = made(data, split, model)
        cache.parent.mkdir(parents=True, exist_ok=True)
        part = cache.with_suffix(".tmp.npz")
        arrays = {"levels": np.array(levels)}
        arrays |= {f"lr{i}": p for i, p in enumerate(low)} | {f"hr{i}": p for i, p in enumerate(high)}
        np.savez(part, **arrays)
        part.rename(cache)
    with np.load(cache) as arrays:
        levels = arrays["levels"]
        indices = range(len(levels))
        lr, hr = ([arrays[f"{side}{i}"] for i in indices] for side in ("lr", "hr"))
        pairs = Pairs(lr, hr, 1, device)
        pairs.levels = levels
        return pairs


def measure(path, pairs):
    """Mean PSNR of the frames of each level in dB, decoded and refined: `{level: (before, after)}`."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = {}
    for low, high, level in zip(pairs.lr, pairs.hr, pairs.levels):
        y = session.run(None, {"input": low[None, None].astype(np.float32) / 255})[0][0, 0]
        refined = np.clip(np.rint(y * 255), 0, 255)
        both = [np.square(x.astype(np.float64) - high).mean() for x in (low, refined)]
        found.setdefault(int(level), []).append([10 * np.log10(255**2 / max(e, 1e-3)) for e in both])
    return {level: tuple(np.mean(values, axis=0)) for level, values in sorted(found.items())}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder that holds video/")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--model", type=Path, default=MODEL, help="the codec's networks")
    parser.add_argument("--measure", type=Path, metavar="ONNX", help="say what a network gains")
    args = parser.parse_args()
    if args.measure:
        for level, (before, after) in measure(
            args.measure, decoded_pairs(args.data, "validation", args.work, args.model)
        ).items():
            print(f"level {level}: {before:.2f} dB decoded, {after:.2f} dB refined ({after - before:+.3f})")
        raise SystemExit
    for split in ("validation", "train"):
        pairs = decoded_pairs(args.data, split, args.work, args.model)
        print(f"{split}: {len(pairs.hr)} frames")
