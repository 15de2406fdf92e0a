"""`psnrsink`'s networks of two images against the same sums in plain NumPy.

The backbones here have random weights: what comes out is no LPIPS and is never called so. That
the file which models/training/lpips.py writes equals torchvision's networks is tested there.
"""

import importlib.util
import json
import pathlib

import numpy as np
import onnx
import pytest
from onnx import helper

from support.launch import environment, run
from support.paths import ROOT

WIDTH, HEIGHT, FRAMES = 80, 60, 2


def exporter():
    spec = importlib.util.spec_from_file_location("lpips_export", ROOT / "models" / "training" / "lpips.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lpips = exporter()


class Weights(dict):
    """A state dict shaped as torchvision's, with weights made up when they are asked for."""

    SHAPES = {
        "alex": {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)},
        "squeeze": {0: (64, 3, 3)},
    }
    FIRES = {3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128), 9: (256, 48, 192),
             10: (384, 48, 192), 11: (384, 64, 256), 12: (512, 64, 256)}

    def __init__(self, name: str) -> None:
        random = np.random.default_rng(7)
        shapes = {f"features.{i}": shape for i, shape in self.SHAPES[name].items()}
        if name == "squeeze":
            for i, (inputs, squeezed, expanded) in self.FIRES.items():
                shapes[f"features.{i}.squeeze"] = (squeezed, inputs, 1)
                shapes[f"features.{i}.expand1x1"] = (expanded, squeezed, 1)
                shapes[f"features.{i}.expand3x3"] = (expanded, squeezed, 3)
        for key, (outputs, inputs, size) in shapes.items():
            spread = (2 / (inputs * size * size)) ** 0.5
            self[f"{key}.weight"] = random.normal(0, spread, (outputs, inputs, size, size)).astype(np.float32)
            self[f"{key}.bias"] = random.normal(0, 0.05, outputs).astype(np.float32)


def heads(name: str) -> dict[str, np.ndarray]:
    random = np.random.default_rng(8)
    channels = lpips.BACKBONES[name].channels
    return {f"lin{i}.model.1.weight": random.random((1, n, 1, 1), np.float32) for i, n in enumerate(channels)}


def windows(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    found = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    return found[:, ::stride, ::stride]


def conv_relu(x: np.ndarray, state: Weights, key: str, stride: int = 1, pad: int = 0) -> np.ndarray:
    weight, bias = state[f"{key}.weight"].astype(np.float64), state[f"{key}.bias"].astype(np.float64)
    seen = windows(np.pad(x, ((0, 0), (pad, pad), (pad, pad))), weight.shape[-1], stride)
    return np.maximum(np.einsum("chwij,ocij->ohw", seen, weight, optimize=True) + bias[:, None, None], 0)


def pool(x: np.ndarray, ceil: bool) -> np.ndarray:
    if ceil:
        extra = [(0, 0)] + [(0, (3 - n) % 2 if n > 3 else 0) for n in x.shape[1:]]
        x = np.pad(x, extra, constant_values=-np.inf)
    return windows(x, 3, 2).max(axis=(3, 4))


def fire(x: np.ndarray, state: Weights, key: str) -> np.ndarray:
    small = conv_relu(x, state, f"{key}.squeeze")
    return np.concatenate([
        conv_relu(small, state, f"{key}.expand1x1"),
        conv_relu(small, state, f"{key}.expand3x3", pad=1),
    ])


def taps(name: str, state: Weights, x: np.ndarray) -> list[np.ndarray]:
    """What is compared, by hand: nothing of the exporter's tables is used."""
    mean, deviation = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    x = (x - mean[:, None, None]) / deviation[:, None, None]
    found = []
    if name == "alex":
        for i, stride, pad, pooled in ((0, 4, 2, False), (3, 1, 2, True), (6, 1, 1, True), (8, 1, 1, False),
                                       (10, 1, 1, False)):
            x = conv_relu(pool(x, False) if pooled else x, state, f"features.{i}", stride, pad)
            found.append(x)
    else:
        x = conv_relu(x, state, "features.0", 2)
        found.append(x)
        for group in ((3, 4), (6, 7), (9,), (10,), (11,), (12,)):
            x = pool(x, True) if group[0] in (3, 6, 9) else x
            for i in group:
                x = fire(x, state, f"features.{i}")
            found.append(x)
    return found


def distance(name: str, state: Weights, head: dict[str, np.ndarray], a: np.ndarray, b: np.ndarray) -> float:
    total = 0.0
    for i, (p, q) in enumerate(zip(taps(name, state, a), taps(name, state, b))):
        p, q = (v / (np.sqrt((v * v).sum(0)) + 1e-10) for v in (p, q))
        weight = head[f"lin{i}.model.1.weight"].reshape(-1, 1, 1).astype(np.float64)
        total += float(((p - q) ** 2 * weight).sum(0).mean())
    return total


def to_rgb(y: np.ndarray, u: np.ndarray, v: np.ndarray, kr: float, kb: float, depth: int, full: bool) -> np.ndarray:
    """H.273, to -1..1."""
    up = 1 << (depth - 8)
    black, luma, chroma = (0, 256 * up - 1, 256 * up - 1) if full else (16 * up, 219 * up, 224 * up)
    y, u, v = (y - black) / luma, (u - 128 * up) / chroma, (v - 128 * up) / chroma
    r, b = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    g = (y - kr * r - kb * b) / (1 - kr - kb)
    return np.clip(np.stack([r, g, b]), 0, 1) * 2 - 1


# format, colorimetry, depth, Kr, Kb, full range
CASES = {
    "Y444": ("bt709", 8, 0.2126, 0.0722, False),
    "Y444_10LE": ("2:3:5:1", 10, 0.2126, 0.0722, False),
    "I420": ("1:4:0:0", 8, 0.299, 0.114, True),
    "GRAY8": ("bt709", 8, 0.2126, 0.0722, False),
}


def picture(case: str, seed: int, noise: int) -> tuple[bytes, list[np.ndarray]]:
    """Frames as raw video and as RGB. In I420 chroma is flat: how it is enlarged is tested elsewhere."""
    colorimetry, depth, kr, kb, full = CASES[case]
    random, top = np.random.default_rng(seed), (1 << depth) - 1
    raw, images = b"", []
    for n in range(FRAMES):
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        planes = []
        for c in range(1 if case == "GRAY8" else 3):
            wave = 0.5 + 0.2 * np.sin(x * 0.2 + n + c) + 0.2 * np.cos(y * 0.13 * (c + 1))
            wave = np.rint(wave * top) + random.integers(-noise, noise + 1, x.shape)
            planes.append(np.clip(wave, 0, top))
        if case == "I420":
            planes[1][:], planes[2][:] = 100 + 40 * n, 170
        width = np.uint16 if depth > 8 else np.uint8
        step = 2 if case == "I420" else 1
        stored = [planes[0]] + [p[::step, ::step] for p in planes[1:]]
        raw += b"".join(p.astype(width).tobytes() for p in stored)
        neutral = np.full(x.shape, 1 << (depth - 1))
        images.append(to_rgb(*(planes if len(planes) == 3 else [planes[0], neutral, neutral]), kr, kb, depth, full))
    return raw, images


@pytest.fixture(scope="module", params=["alex", "squeeze"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    name = request.param
    state, head = Weights(name), heads(name)
    path = tmp_path_factory.mktemp(name) / f"random-{name}.onnx"
    onnx.save(lpips.build(name, state, head, "other"), path)
    return name, state, head, path


def measured(case: str, model: pathlib.Path, reference: bytes, distorted: bytes, folder: pathlib.Path,
             metric: str = "net-distance", more: str = "") -> tuple[object, list[dict[str, object]]]:
    for name, raw in (("reference", reference), ("distorted", distorted)):
        (folder / f"{name}.raw").write_bytes(raw)
    colorimetry = CASES[case][0]
    file = (
        "filesrc location={0}/{1}.raw ! rawvideoparse format={2} width={3} height={4} framerate=25/1 "
        "colorimetry={5} ! queue ! q.{1}"
    )
    given = f"lpips-model={model}" if model else ""
    line = ["gst-launch-1.0", "-q", "psnrsink", "name=q", f"metrics={metric}", *given.split(), *more.split(),
            f"log={folder}/log", "log-format=ndjson"]
    for name in ("reference", "distorted"):
        line += file.format(folder, name, case.lower().replace("_", "-"), WIDTH, HEIGHT, colorimetry).split()
    done = run(line, env=environment())
    log = folder / "log"
    return done, [json.loads(text) for text in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.parametrize("case", list(CASES))
def test_equal_to_numpy(case: str, network, tmp_path: pathlib.Path) -> None:
    name, state, head, path = network
    (raw_a, images_a), (raw_b, images_b) = picture(case, 1, 0), picture(case, 2, 9 << (CASES[case][1] - 8))
    done, frames = measured(case, path, raw_a, raw_b, tmp_path)
    done.succeeded()
    expected = [distance(name, state, head, a, b) for a, b in zip(images_a, images_b)]
    found = [frame["net-distance"] for frame in frames]
    assert len(found) == FRAMES
    assert min(expected) > 1e-3, "a pair that does not differ tests nothing"
    np.testing.assert_allclose(found, expected, rtol=2e-4)


def test_the_same_picture_is_at_no_distance(network, tmp_path: pathlib.Path) -> None:
    raw, _ = picture("Y444", 3, 5)
    done, frames = measured("Y444", network[3], raw, raw, tmp_path, more="fail-over=net-distance=0")
    done.succeeded()
    assert [frame["net-distance"] for frame in frames] == [0.0] * FRAMES


def test_random_weights_are_refused_as_lpips(network, tmp_path: pathlib.Path) -> None:
    raw, _ = picture("Y444", 3, 5)
    done, frames = measured("Y444", network[3], raw, raw, tmp_path, metric="lpips")
    assert "is no LPIPS" in done.failed().output
    assert frames == []


def test_without_a_file_it_says_where_to_get_one(tmp_path: pathlib.Path) -> None:
    raw, _ = picture("Y444", 3, 5)
    done, _ = measured("Y444", None, raw, raw, tmp_path, metric="lpips")
    for part in ("lpips-model", "models/training/lpips.py", "docs/quality.md"):
        assert part in done.failed().output


def test_a_file_that_does_not_state_its_range_is_refused(network, tmp_path: pathlib.Path) -> None:
    model = onnx.load(network[3])
    helper.set_model_props(model, {})
    bare = tmp_path / "bare.onnx"
    onnx.save(model, bare)
    raw, _ = picture("Y444", 3, 5)
    done, _ = measured("Y444", bare, raw, raw, tmp_path)
    assert "lpips.range is missing" in done.failed().output
