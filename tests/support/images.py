"""Test images: pieces of the clips that come with the project, and noise."""

import functools
import pathlib

import av
import numpy as np

from .paths import ROOFTOP


@functools.cache
def first_frame(path: pathlib.Path = ROOFTOP) -> np.ndarray:
    """The first frame of a clip as RGB."""
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def photo(width: int, height: int, x: int = 240, y: int = 100) -> np.ndarray:
    """A piece of a photograph with roofs, a crane and sky in it; mirrored where it is too small."""
    frame = first_frame()
    rows, columns = max(0, y + height - frame.shape[0]), max(0, x + width - frame.shape[1])
    whole = np.pad(frame, ((0, rows), (0, columns), (0, 0)), mode="reflect")
    return np.ascontiguousarray(whole[y : y + height, x : x + width])


def noise(width: int, height: int, seed: int = 1) -> np.ndarray:
    """Random RGB, the hardest input: every value up to the limits, no two pixels alike."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def luma(image: np.ndarray) -> np.ndarray:
    """One channel of an RGB image; which weights it is made with does not matter here."""
    return np.rint(image @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
