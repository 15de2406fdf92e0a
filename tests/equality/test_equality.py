"""The result of nnupscale equals that of a plain ONNX Runtime run in Python.

Every pixel within 1/255, for every network here, with and without tiles: the run in Python
sees the whole image at once. Networks that look further than a tile (`feather`) are held
against it without tiles.
"""

import pathlib
import shutil
from dataclasses import dataclass

import numpy as np
import pytest

from support import images
from support.frames import through
from support.paths import DATA, MODELS, ROOT
from support.reference import Reference, SubpixelReference

TEST_MODELS = ROOT / "tests" / "models"


@dataclass
class Case:
    """A network and how it is tried."""

    path: pathlib.Path
    grey: bool
    multiple: int = 1
    tiles: tuple[int, ...] = (0, 56, 80, -1)
    size: tuple[int, int] = (120, 86)

    @property
    def name(self) -> str:
        return self.path.stem[:28]


def shipped() -> list[Case]:
    return [
        Case(path, grey="luma" in path.stem, size=(200, 120), tiles=(0, 48, 100, -1))
        for path in sorted(MODELS.glob("*.onnx"))
    ]


def published() -> list[Case]:
    return [
        Case(TEST_MODELS / "span_x4.onnx", grey=False, tiles=(0, 20, 56, -1)),
        Case(TEST_MODELS / "realesr-animevideov3_x4.onnx", grey=False, tiles=(0, 48, -1), size=(96, 64)),
        Case(TEST_MODELS / "rlfn_x4.onnx", grey=False, tiles=(0,)),
        Case(TEST_MODELS / "rt4ksr_x2.onnx", grey=False, multiple=2),
    ]


def third_party() -> list[Case]:
    folder = (DATA or pathlib.Path("absent")) / "models"
    janai = "2x_AnimeJaNai_"
    return [
        Case(folder / f"{janai}SD_V1beta34_Compact_1x3xHxW_dyn-HW_strong_fp16_op23_dynamo.onnx", grey=False),
        Case(folder / f"{janai}HD_V3.1_Performance_SPANF3_b5f48_unshuffle_fp16.onnx", grey=False, multiple=2),
        Case(folder / f"{janai}HD_V3.1_Balanced_SPANF3_b8f64_unshuffle_fp16.onnx", grey=False, multiple=2),
        Case(folder / "subpixel_cnn_x3_224.onnx", grey=True, tiles=(0, -1, 224), size=(300, 260)),
        Case(folder / "subpixel_cnn_x3_224.onnx", grey=True, tiles=(0,), size=(224, 224)),
    ]


def parameters() -> list[object]:
    absent = pytest.mark.skipif(DATA is None, reason="no third-party data here (set GST_NEURAL_DATA)")
    found = []
    for case in [*shipped(), *published(), *third_party()]:
        marks = [absent] if case in third_party() else []
        width, height = case.size
        for tile in case.tiles:
            found.append(
                pytest.param(case, tile, id=f"{case.name}-{width}x{height}-tile{tile}", marks=marks)
            )
    return found


def reference(case: Case) -> Reference | SubpixelReference:
    if "224" in case.path.stem:
        return SubpixelReference(case.path)
    return Reference(case.path, case.multiple)


def assert_equal(came: np.ndarray, wanted: np.ndarray, *, half: bool = False) -> None:
    """Within one step of 255 everywhere, and exactly the same nearly everywhere.

    Half-precision networks are run in single precision on the CPU, which leaves out the rounding
    of the plain run (0.2/255): more pixels fall on the other side of a rounding there.
    """
    off = np.abs(came.astype(np.int16) - wanted.astype(np.int16))
    where = np.unravel_index(off.argmax(), off.shape)
    assert off.max() <= 1, f"off by {off.max()} at {where}, {np.mean(off > 1):.2%} of the pixels by more than 1"
    limit = 0.05 if half else 0.01
    assert np.mean(off > 0) < limit, f"{np.mean(off > 0):.2%} of the pixels are off by 1"


@pytest.mark.parametrize(("case", "tile"), parameters())
def test_equals_a_plain_run(case: Case, tile: int) -> None:
    width, height = case.size
    pictures = [images.photo(width, height), images.noise(width, height)]
    if case.grey:
        pictures = [images.luma(picture) for picture in pictures]
    plain = reference(case)
    wanted = np.stack([plain(picture) for picture in pictures])
    came = through(
        f'nnupscale name=nn model="{case.path}" tile={tile}',
        np.stack(pictures), format="GRAY8" if case.grey else "RGB", width=width, height=height,
    )
    assert came.error is None, came.error
    assert came.frames is not None and len(came.frames) == 2
    assert_equal(came.frames.reshape(wanted.shape), wanted, half="fp16" in case.path.stem)


def test_a_hidden_stride_is_seen() -> None:
    """An unshuffle written as Reshape and Transpose; tiles must keep to its stride all the same."""
    case = next((c for c in third_party() if "b5f48" in c.name or "Perfor" in c.name))
    if not case.path.exists():
        pytest.skip("no third-party data here (set GST_NEURAL_DATA)")
    width, height = case.size
    picture = images.noise(width, height)
    came = through(
        f'nnupscale name=nn model="{case.path}" tile=24', picture[None], format="RGB", width=width, height=height
    )
    assert came.error is None and came.frames is not None, came.error
    assert came.stats["tiles"] > 1
    wanted = Reference(case.path, 2)(picture)
    assert_equal(came.frames[0].reshape(wanted.shape), wanted, half=True)


@pytest.mark.parametrize("model", ["luma-x2-compressed", "luma-x2-fast-clean", "luma-x4"])
@pytest.mark.parametrize("format", ["I420", "NV12", "Y444"])
def test_luma_of_colour_video_is_that_of_the_network(model: str, format: str) -> None:
    width, height = 96, 72
    picture = images.luma(images.photo(width, height))
    wanted = Reference(MODELS / f"{model}.onnx")(picture)
    chroma = {"I420": 2, "NV12": 2, "Y444": 8}[format] * width * height // 4
    frame = np.concatenate([picture.reshape(-1), np.full(chroma, 90, np.uint8)])
    came = through(f"nnupscale model={model}", frame[None], format=format, width=width, height=height)
    assert came.error is None and came.frames is not None, came.error
    out = came.frames[0][: wanted.size].reshape(wanted.shape)
    assert_equal(out, wanted)
    # Constant chroma stays what it is.
    assert np.all(came.frames[0][wanted.size :] == 90)


def test_ten_bit_luma_keeps_its_precision() -> None:
    width, height = 96, 72
    fine = np.random.default_rng(3).integers(64, 941, (height, width)).astype(np.uint16)
    plain = Reference(MODELS / "luma-x2-compressed.onnx")
    name = plain.session.get_inputs()[0].name
    (out,) = plain.session.run(None, {name: (fine / np.float32(1023)).astype(np.float32)[None, None]})
    wanted = np.rint(np.clip(out[0, 0], 0, 1) * 1023).astype(np.int32)
    frame = np.concatenate([fine.reshape(-1), np.full(width * height // 2, 512, np.uint16)])
    came = through(
        "nnupscale model=luma-x2", frame[None], format="I420_10LE", width=width, height=height
    )
    assert came.error is None and came.frames is not None, came.error
    got = came.frames[0].view(np.uint16)[: wanted.size].reshape(wanted.shape).astype(np.int32)
    assert np.abs(got - wanted).max() <= 1
    assert np.mean(got != wanted) < 0.01


@pytest.mark.parametrize("key", ["scale", "sidecar"])
def test_what_a_model_does_not_say_is_found_out(key: str, tmp_path: pathlib.Path) -> None:
    """The same result from the shapes alone, and with metadata that only names the scale."""
    shutil.copy2(TEST_MODELS / "span_x4.onnx", tmp_path / "bare.onnx")
    if key == "scale":
        (tmp_path / "bare.modelinfo").write_text("[nnupscale]\nscale=4\n")
    picture = images.photo(60, 40)
    wanted = Reference(TEST_MODELS / "span_x4.onnx")(picture)
    came = through(
        f"nnupscale model={tmp_path}/bare.onnx", picture[None], format="RGB", width=60, height=40
    )
    assert came.error is None and came.frames is not None, came.error
    assert_equal(came.frames[0].reshape(wanted.shape), wanted)


@pytest.mark.parametrize("tile", [48, 80])
def test_a_network_that_pools_comes_close_in_tiles(tile: int) -> None:
    """RLFN's attention depends on the size of what it is given, so that tiles cannot be exact."""
    width, height = 160, 120
    picture = images.photo(width, height)
    wanted = Reference(TEST_MODELS / "rlfn_x4.onnx")(picture)
    came = through(
        f"nnupscale name=nn model={TEST_MODELS}/rlfn_x4.onnx tile={tile} overlap=24",
        picture[None], format="RGB", width=width, height=height,
    )
    assert came.error is None and came.frames is not None, came.error
    assert came.stats["tiles"] > 1
    off = np.abs(came.frames[0].reshape(wanted.shape).astype(np.int16) - wanted.astype(np.int16))
    print(f"tile={tile}: off by {off.max()} at most, {off.mean():.3f} on average")
    assert off.mean() < 0.5
