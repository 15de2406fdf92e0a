"""Makes the tables that vectors and copies are coded with in compact streams (`tables/motion.bin`).

    python codec/motion_tables.py --data DIR --model MODEL.gnm --write ../../plugins/core/codec/tables/motion.bin

The training clips are coded with the tables that there are, and symbols counted; the encoder's
choices depend on the tables, so two or three rounds (build `motion_counts` again after each) find
what fits. What has rarely been seen takes its frequencies from what is like it. Components are as
likely to be negative as positive: which way the cameras of three clips went is nobody's business.

Numbers of tables, contexts and symbols are those of `plugins/core/codec/src/motion/coding.rs`.
"""

import argparse
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from checkpoints import WORK
from frames import CLIPS, clip_frames
from roundtrip import program, write_y4m

TOTAL = 1 << 14
LEVELS = (2, 6, 10, 14, 18, 22, 26, 30)
FRAMES = 40
GROUPS, CLASSES, MODE_SYMBOLS = 4, 5, 16
KINDS, SPREADS, SIZES, COMPONENT_SYMBOLS = 3, 8, 5, 64
WEIGHT = 40
"""What is known from the like counts as so many symbols."""


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds video/")
    parser.add_argument("--model", type=Path, default=WORK / "small.gnm")
    parser.add_argument("--write", type=Path, required=True, help="the file of tables")
    return parser.parse_args()


def counted(data, model):
    """Occurrences of each symbol in each table, over the training clips: `[tables, 64]`."""
    run = program("examples/motion_counts", "cargo build --release -p gstneural-codec --examples")
    tables = GROUPS * CLASSES**2 + KINDS * SPREADS * (1 + SIZES)
    counts = np.zeros((tables, COMPONENT_SYMBOLS))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.y4m"
        for name, size, start, seconds in CLIPS:
            frames = clip_frames(data, name, size, start, seconds)
            # The last tenth is for validation.
            frames = frames[: int(len(frames) * 0.9)]
            for begin in np.linspace(0, len(frames) - FRAMES, 3).astype(int):
                write_y4m(path, frames[begin : begin + FRAMES])
                command = [run, model, "--levels", ",".join(map(str, LEVELS)), "--frames", str(FRAMES), path]
                lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
                found = np.array([line.split() for line in lines], int)
                np.add.at(counts, (found[:, 0], found[:, 1]), found[:, 2])
    return counts


def blended(counts, like):
    """Probabilities of counts, with those of the like where little was counted."""
    return (counts + WEIGHT * like) / (counts.sum(-1, keepdims=True) + WEIGHT)


def mirrored(counts):
    """Symbol 0 is the escape, 1 is zero, then -1, 1, -2, 2 ...; the last has no other."""
    out = counts.copy()
    pairs = counts[..., 2:].reshape(*counts.shape[:-1], -1, 2)
    out[..., 2:] = pairs.mean(-1, keepdims=True).repeat(2, -1).reshape(out[..., 2:].shape)
    return out


def frequencies(p):
    """Whole numbers of at least 1 that add up to 2^14."""
    found = np.maximum(1, np.round(p * TOTAL)).astype(int)
    # The largest bears it best.
    found[found.argmax()] += TOTAL - found.sum()
    return found


def modes(counts):
    """Probabilities `[groups, left, above, symbols]`."""
    counts = counts[..., :MODE_SYMBOLS].reshape(GROUPS, CLASSES, CLASSES, MODE_SYMBOLS)
    even = np.full(MODE_SYMBOLS, 1 / MODE_SYMBOLS)
    everywhere = blended(counts.sum((0, 1, 2)), even)
    of_group = blended(counts.sum((1, 2)), everywhere)[:, None, None]
    around = blended(counts.sum(0), everywhere)[None]
    return blended(counts, (of_group + around) / 2)


def components(across, down):
    """Probabilities of horizontal components `[kind, spread]` and vertical ones `[.., size]`."""
    across, down = mirrored(across), mirrored(down)
    far = 1 / (1.0 + np.arange(COMPONENT_SYMBOLS) // 2) ** 2
    far[0] = far[-1]
    everywhere = blended((across.sum((0, 1)) + down.sum((0, 1, 2))), mirrored(far / far.sum()))
    of_spread = blended(across.sum(0), everywhere)[None]
    of_size = blended(down.sum((0, 1)), everywhere)[None, None]
    beside = (blended(down.sum(0), everywhere)[None] + of_size) / 2
    return blended(across, of_spread), blended(down, beside)


def tables_of(counts):
    """The frequencies of all tables from how often each symbol was seen, `[tables, 64]`."""
    first = GROUPS * CLASSES**2
    across = counts[first : first + KINDS * SPREADS].reshape(KINDS, SPREADS, -1)
    down = counts[first + KINDS * SPREADS :].reshape(KINDS, SPREADS, SIZES, -1)
    found = [*modes(counts[:first]).reshape(-1, MODE_SYMBOLS)]
    found += [row for p in components(across, down) for row in p.reshape(-1, COMPONENT_SYMBOLS)]
    return [frequencies(p) for p in found]


def file_of(tables):
    """The bytes of the file."""
    out = b"GNT1" + struct.pack("<H", len(tables))
    for table in tables:
        out += struct.pack(f"<H{len(table)}H", len(table), *table)
    return out


def main():
    """Counts and writes."""
    args = arguments()
    counts = counted(args.data, args.model)
    tables = tables_of(counts)
    part = args.write.with_suffix(".part")
    part.write_bytes(file_of(tables))
    part.rename(args.write)
    bits = -sum((row[: len(t)] * np.log2(t / TOTAL)).sum() for row, t in zip(counts, tables))
    print(f"{counts.sum():.0f} symbols, {bits / 8:.0f} bytes by these tables")


if __name__ == "__main__":
    main()
