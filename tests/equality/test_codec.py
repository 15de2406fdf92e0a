"""The codec's networks in ONNX Runtime give the integers of our own kernels, however they are run.

A model file holds the SHA-256 of what its networks give for pseudo-random input, computed by our
kernels when it was made, and compared by them whenever it is loaded. Here the same networks are
built once more, from the specification, as ONNX graphs in single precision.
"""

import hashlib

import numpy as np
import onnxruntime
import pytest

from support.codec_model import HYPER, Networks, read
from support.paths import ROOT

MODEL = ROOT / "models" / "neural" / "small.gnm"
WIDTH, HEIGHT = 91, 75
ALL = onnxruntime.GraphOptimizationLevel
RUNS = [
    (ALL.ORT_DISABLE_ALL, 1),
    (ALL.ORT_ENABLE_BASIC, 2),
    (ALL.ORT_ENABLE_EXTENDED, 3),
    (ALL.ORT_ENABLE_ALL, 1),
    (ALL.ORT_ENABLE_ALL, 7),
]


class Xorshift:
    """Marsaglia's xorshift64 (13, 7, 17)."""

    def __init__(self):
        self.state = 88172645463325252

    def below(self, n: int) -> int:
        s, mask = self.state, 2**64 - 1
        s ^= s << 13 & mask
        s ^= s >> 7
        self.state = s = s ^ (s << 17 & mask)
        return (s >> 11) % n

    def around(self, most: int, shape) -> np.ndarray:
        values = [self.below(2 * most + 1) - most for _ in range(int(np.prod(shape)))]
        return np.array(values, np.int64).reshape(shape)


def packed(planes: list[np.ndarray]) -> np.ndarray:
    """Planes, continued by their last rows and columns, as activations `[1, rows, columns, 96]`."""
    parts = []
    for plane, side in zip(planes, (8, 4, 4)):
        rows, columns = (-(-n // (2 * side)) * 2 * side for n in plane.shape)
        plane = np.pad(plane, ((0, rows - plane.shape[0]), (0, columns - plane.shape[1])), "edge")
        blocks = plane.reshape(rows // side, side, columns // side, side).transpose(0, 2, 1, 3)
        parts.append(blocks.reshape(rows // side, columns // side, side * side))
    return np.concatenate(parts, -1)[None] * 8 - 1024


def unpacked(x: np.ndarray) -> bytes:
    """The samples of a picture of WIDTH x HEIGHT."""
    out = b""
    for begin, side, width, height in ((0, 8, WIDTH, HEIGHT), (64, 4, 46, 38), (80, 4, 46, 38)):
        _, rows, columns, _ = x.shape
        part = x[0, ..., begin : begin + side * side].reshape(rows, columns, side, side).transpose(0, 2, 1, 3)
        out += part.reshape(rows * side, columns * side)[:height, :width].astype(np.uint8).tobytes()
    return out


def conformance(tensors, kind: str, options) -> str:
    """As plugins/core/codec/src/nets/conformance.rs says."""
    random, found = Xorshift(), hashlib.sha256()
    rows, columns = -(-HEIGHT // 16), -(-WIDTH // 16)
    for level in (0, 16, 31):
        nets = Networks(tensors, kind, level, options)
        for top in range(0, rows, 4):
            height = min(4, rows - top)
            z = random.around(40, (1, 1, -(-columns // 4), HYPER))
            f = nets.begin(z, height, columns)
            for group, size in enumerate(nets.groups):
                index, mean = nets.spread(group, f)
                found.update(index.astype(np.uint8).tobytes() + mean.astype("<i2").tobytes())
                f = nets.learn(group, f, random.around(4, (1, height, columns, size)))
        q = random.around(4, (1, rows, columns, sum(nets.groups)))
        p = None
        if kind == "inter":
            shapes = ((HEIGHT, WIDTH), (38, 46), (38, 46))
            p = packed([np.array([random.below(256) for _ in range(h * w)]).reshape(h, w) for h, w in shapes])
        found.update(unpacked(nets.synthesis(q, p)))
    return found.hexdigest()


@pytest.mark.parametrize("kind", ["intra", "inter"])
def test_onnx_runtime_gives_the_same_integers(kind: str) -> None:
    tensors, _ = read(MODEL.read_bytes())
    stated = bytes(tensors[f"check.{kind}"].astype(np.uint8)).hex()
    for level, threads in RUNS:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        options.intra_op_num_threads = threads
        assert conformance(tensors, kind, options) == stated, (level, threads)


def test_the_stream_names_the_decoders_section() -> None:
    """Encoders can be improved without another decoder."""
    data = MODEL.read_bytes()
    tensors, decoder = read(data)
    assert {name.split(".")[1] for name in tensors if name.startswith("intra.ga")} == {"ga"}
    assert b"intra.gs.lin.w" in decoder and b"intra.ga.lin.w" not in decoder
    assert hashlib.sha256(decoder).hexdigest() != hashlib.sha256(data).hexdigest()
