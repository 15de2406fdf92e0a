"""Models that cannot work: one clear sentence each, an exit status, and no panic."""

import pathlib
import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from support.launch import Finished, environment, launch
from support.paths import MODELS

SOURCE = "videotestsrc num-buffers=2 ! video/x-raw,format=I420,width=64,height=48"


def attempt(model: pathlib.Path | str, source: str = SOURCE, **env: str | None) -> Finished:
    """Runs two frames through nnupscale with that model; it has to fail."""
    done = launch(
        f"{source} ! nnupscale model={model} ! fakesink", env=environment(**env), timeout=60
    ).failed()
    assert_clear(done)
    return done


def assert_clear(done: Finished) -> None:
    """One error message, and none that only says that something went wrong."""
    errors = re.findall(r"^ERROR: from element .*$", done.output, re.M)
    assert len(errors) == 1, done.output
    assert "nnupscale" in errors[0], done.output
    assert "unknown error" not in done.output.lower(), done.output


def conv_model(path: pathlib.Path, *, dims: int = 4, channels: int = 1, scale: int = 2) -> None:
    """A net of one layer, with as many dimensions and channels as asked for."""
    shape: list[int | str | None] = ["n", channels, *["h", "w", "d"][: dims - 2]]
    weight = np.full((channels * scale * scale, channels, *[3] * (dims - 2)), 0.1, np.float32)
    nodes = [helper.make_node("Conv", ["x", "weight"], ["c"], pads=[1] * 2 * (dims - 2))]
    if dims == 4:
        nodes.append(helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=scale))
    else:
        nodes.append(helper.make_node("Identity", ["c"], ["y"]))
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * dims)],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_the_helper_makes_a_model_that_works(tmp_path: pathlib.Path) -> None:
    conv_model(tmp_path / "good.onnx")
    launch(f"{SOURCE} ! nnupscale model={tmp_path}/good.onnx ! fakesink").succeeded()


def test_missing_file(tmp_path: pathlib.Path) -> None:
    done = attempt(tmp_path / "nowhere.onnx")
    assert "nowhere.onnx" in done.output


def test_unknown_name() -> None:
    done = attempt("luma-x9000")
    assert "luma-x9000" in done.output


def test_empty_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "empty.onnx").touch()
    assert "empty.onnx" in attempt(tmp_path / "empty.onnx").output


@pytest.mark.parametrize("keep", [0.05, 0.5, 0.95])
def test_truncated_file(tmp_path: pathlib.Path, keep: float) -> None:
    whole = next(MODELS.glob("luma-x2-fast*.onnx")).read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: int(len(whole) * keep)])
    assert "cut.onnx" in attempt(tmp_path / "cut.onnx").output


@pytest.mark.parametrize("content", [b"hello, world\n" * 100, bytes(range(256)) * 64, b"\x7fELF" + b"\0" * 5000])
def test_not_onnx(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / "other.onnx").write_bytes(content)
    assert "other.onnx" in attempt(tmp_path / "other.onnx").output


def test_a_folder(tmp_path: pathlib.Path) -> None:
    attempt(tmp_path)


def test_custom_operators(data: pathlib.Path) -> None:
    attempt(data / "models" / "ort_superres_prepost_op18.onnx")


@pytest.mark.parametrize("dims", [3, 5])
def test_wrong_rank(tmp_path: pathlib.Path, dims: int) -> None:
    conv_model(tmp_path / "rank.onnx", dims=dims)
    attempt(tmp_path / "rank.onnx")


def test_wrong_channels(tmp_path: pathlib.Path) -> None:
    conv_model(tmp_path / "channels.onnx", channels=7)
    attempt(tmp_path / "channels.onnx")


def test_a_frame_too_large_to_double() -> None:
    # Twice this is more than a frame's size can hold; negotiation has to say no.
    done = launch(
        "videotestsrc num-buffers=1 ! video/x-raw,format=GRAY8,width=1073741824,height=8"
        " ! nnupscale model=luma-x2-fast ! fakesink", timeout=60,
    ).failed()
    assert "negotiat" in done.output or "link" in done.output, done.output


@pytest.mark.parametrize("value", ["/nonexistent/libonnxruntime.so", "/etc/passwd"])
def test_no_onnx_runtime(value: str) -> None:
    done = attempt("luma-x2-fast", ORT_DYLIB_PATH=value)
    assert value in done.output and "ONNX Runtime" in done.output, done.output
