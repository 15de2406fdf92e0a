"""Frames in a row, for training on what the codec makes of its own pictures.

A sequence has `1 + FRAMES` frames. Each of the later ones has the vectors that the codec finds in
what the intra networks make of the frame before at the sequence's level. Training decodes the
frames one after the other, each predicted with its vectors from the one decoded last. What lies
around a crop, where vectors reach out of it, comes from those intra pictures.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from checkpoints import load_average
from crops import flat_planes, packed_crops
from frames import CLIPS, clip_frames, photos, yuv420
from nets import LEVELS, UNIT
from pairs import SIZE, coded, searched
from warp import chroma, luma, planes_of

FRAMES = 5
MARGIN = 32
"""Luma samples around a crop."""
COUNTS = {"train": (24, 2), "validation": (4, 1)}
"""Sequences of a clip, and of a photograph."""


def panned(path, random):
    """A sequence from a box that moves over a photograph."""
    with Image.open(path) as image:
        image = image.convert("RGB")
        scale = random.uniform(1.3, 3.0)
        width, height = (side * scale for side in SIZE)
        move, zoom = random.normal(size=2) * 2 * scale, 1 + random.normal() * 0.003
        room = np.array(image.size) - (width * 1.05, height * 1.05) - FRAMES * np.abs(move)
        if (room < 1).any():
            return None
        start = random.random(2) * room + FRAMES * np.maximum(0, -move)
        found = []
        for n in range(FRAMES + 1):
            x, y = start + n * move
            box = (max(0, x), max(0, y), x + width * zoom**n, y + height * zoom**n)
            box = (*box[:2], min(image.width, box[2]), min(image.height, box[3]))
            found.append(yuv420(np.asarray(image.resize(SIZE, Image.Resampling.BICUBIC, box=box))))
        return found


def sources(data, split, random):
    """Sequences of frames of one split."""
    of_clip, of_photo = COUNTS[split]
    found = []
    for name, size, start, seconds in CLIPS:
        frames = clip_frames(data, name, size, start, seconds)
        cut = int(len(frames) * 0.9)
        frames = frames[:cut] if split == "train" else frames[cut:]
        for begin in np.linspace(0, len(frames) - FRAMES - 1, of_clip).astype(int):
            found.append(frames[begin : begin + FRAMES + 1])
    for path in photos(data, split):
        found += [sequence for _ in range(of_photo) if (sequence := panned(path, random))]
    return found


def make(data, work, split, tier):
    """Frames, intra pictures, vectors and levels of the sequences of one split."""
    random = np.random.default_rng(27 if split == "train" else 28)
    torch.manual_seed(27)
    net = load_average(Path(work) / f"codec-{tier}-intra.pt")
    out = []
    for frames in sources(data, split, random):
        level = int(random.integers(0, LEVELS))
        known = [coded(net, planes, level) for planes in frames[:-1]]
        _, fields = searched(frames[1:], known, [level] * FRAMES)
        out.append((frames, known, fields, level))
    return out


def write_sequences(cache, made):
    """Keeps frames, intra pictures, vectors and level of each sequence as `sequences` reads them."""
    arrays = {}
    for i, (frames, known, fields, _) in enumerate(made):
        for name, pictures in (("s", frames), ("r", known)):
            for n, planes in enumerate(pictures):
                arrays |= {f"{name}{i}.{n}{c}": p for c, p in zip("yuv", planes)}
        arrays[f"v{i}"] = np.stack(fields)
    part = cache.with_suffix(".tmp.npz")
    np.savez(part, levels=np.array([level for *_, level in made]), **arrays)
    part.rename(cache)


def sequences(data, work, split, tier):
    """What `make` makes, cached in `work`."""
    cache = Path(work) / f"codec-{tier}-sequences-{split}.npz"
    if not cache.exists():
        write_sequences(cache, make(data, work, split, tier))
    with np.load(cache) as arrays:
        levels = arrays["levels"]

        def pictures(name, i, count):
            return [tuple(arrays[f"{name}{i}.{n}{c}"] for c in "yuv") for n in range(count)]

        each = range(len(levels))
        return (
            [pictures("s", i, FRAMES + 1) for i in each],
            [pictures("r", i, FRAMES) for i in each],
            [arrays[f"v{i}"] for i in each],
            levels,
        )


class Clips:
    """A sampler of crops of sequences, in the memory of the device."""

    def __init__(self, made, device="cpu"):
        frames, known, fields, levels = made
        self.device = device
        self.levels = torch.from_numpy(np.asarray(levels)).to(device)
        self.sources = flat_planes([p for frames in frames for p in frames], device)
        self.known = flat_planes([p for frames in known for p in frames], device)
        begins = np.concatenate([[0], np.cumsum([f.size // 2 for f in fields])[:-1]])
        self.vectors = torch.from_numpy(np.concatenate([f.reshape(-1, 2) for f in fields])).to(device)
        self.field_begins = torch.tensor(begins, device=device)
        self.field_sizes = torch.tensor([f.shape[1:3] for f in fields], device=device)
        self.sizes = torch.tensor([f[0][0].shape for f in frames], device=device)

    def __len__(self):
        return len(self.levels)

    def _crop(self, planes, which, corner, side, margin):
        """Samples of pictures `which` around `corner`; beyond a picture its nearest sample."""
        out = []
        for plane, (samples, begins, widths) in enumerate(planes):
            shift = int(plane > 0)
            line = torch.arange(-margin >> shift, (side + margin) >> shift, device=self.device)
            size = self.current >> shift
            y = (corner[:, :1] // (1 + shift) + line).clamp(min=0).minimum(size[:, :1] - 1)
            x = (corner[:, 1:] // (1 + shift) + line).clamp(min=0).minimum(size[:, 1:] - 1)
            at = begins[which][:, None, None] + y[:, :, None] * widths[which][:, None, None] + x[:, None]
            out.append(samples[at].float())
        return out

    def sample(self, generator, batch, patch):
        """`FRAMES + 1` packed crops, the planes around the crop in `FRAMES` intra pictures, the
        vectors of `FRAMES` frames and the levels."""
        picked = torch.randint(len(self), (batch,), generator=generator, device=self.device)
        self.current = self.sizes[picked]
        room = (self.current - patch) // 16 + 1
        drawn = torch.rand((batch, 2), generator=generator, device=self.device)
        corner = (drawn * room).long().minimum(room - 1) * 16
        frames = [
            packed_crops(self._crop(self.sources, picked * (FRAMES + 1) + n, corner, patch, 0))
            for n in range(FRAMES + 1)
        ]
        around = [
            self._crop(self.known, picked * FRAMES + n, corner, patch, MARGIN) for n in range(FRAMES)
        ]
        rows, columns = self.field_sizes[picked].split(1, 1)
        line = torch.arange(patch // 8, device=self.device)
        y, x = corner[:, :1] // 8 + line, corner[:, 1:] // 8 + line
        at = self.field_begins[picked][:, None, None] + y[:, :, None] * columns[:, :, None] + x[:, None]
        each = (rows * columns)[:, :, None]
        fields = [self.vectors[at + n * each].long() for n in range(FRAMES)]
        return frames, around, fields, self.levels[picked]


def predicted(picture, around, field):
    """The prediction of a frame, in packed units, from the crop that was decoded before it.

    `picture` is that crop in packed units, None for the first: then the intra picture is taken.
    """
    planes, (height, width) = [], (8 * field.shape[1], 8 * field.shape[2])
    inner = [None] * 3 if picture is None else planes_of((picture * UNIT + 1024) / 8)
    for n, (plane, crop) in enumerate(zip(around, inner)):
        shift = int(n > 0)
        margin = MARGIN >> shift
        if crop is not None:
            middle = slice(margin, -margin)
            plane = plane.clone()
            plane[:, middle, middle] = crop
        compensate = chroma if shift else luma
        planes.append(compensate(plane, field, margin, height >> shift, width >> shift))
    return (packed_crops(planes) * 8 - 1024) / UNIT
