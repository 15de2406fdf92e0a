import configparser

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

import slim
import swinir
from bicubic import rgb_to_y, to_u8
from convert import convert
from data import load_rgb


def ini_of(path):
    ini = configparser.ConfigParser()
    ini.read(path.with_suffix(".modelinfo"))
    return ini


def set5_psnr(path, data, scale):
    """Mean PSNR-Y of an RGB model on three Set5 images."""
    session = ort.InferenceSession(str(path))
    scores = []
    for name in ("bird", "butterfly", "head"):
        high = load_rgb(data / f"images/Set5/HR/{name}.png")
        low = load_rgb(data / f"images/Set5/LR_bicubic/X{scale}/{name}x{scale}.png")
        x = (low.astype(np.float32) / 255).transpose(2, 0, 1)[None]
        y = session.run(None, {"input": x})[0][0].transpose(1, 2, 0).astype(np.float64)
        y = to_u8(y * 255)[: high.shape[0], : high.shape[1]]
        error = rgb_to_y(y).astype(float) - rgb_to_y(high)[: y.shape[0], : y.shape[1]]
        error = error[scale:-scale, scale:-scale]
        scores.append(10 * np.log10(255**2 / np.mean(error**2)))
    return float(np.mean(scores))


@pytest.mark.parametrize(
    ("name", "scale", "multiple", "least"),
    [
        ("team00_rlfn", 4, 1, 31.9),
        ("team38_span_ch28_slim", 4, 1, 31.5),
        ("team39_spantiny_ch26_slim", 4, 1, 31.4),
        ("rt4ksr_x2", 2, 2, 35.5),
    ],
)
def test_published_weights_convert_and_reach_their_quality(
    data, tmp_path, name, scale, multiple, least
):
    target = tmp_path / f"{name}.onnx"
    info, difference = convert(data / f"models/{name}.pth", target)
    assert difference < 1e-4
    assert (info.scale, info.multiple) == (scale, multiple)
    section = ini_of(target)["nnupscale"]
    assert section["scale"] == str(scale)
    assert set5_psnr(target, data, scale) > least


@pytest.mark.parametrize("prelu", ["keep", "split"])
@pytest.mark.parametrize("scale", [2, 4])
def test_ncnn_pair_converts(data, tmp_path, scale, prelu):
    folder, target = data / "models", tmp_path / "anime.onnx"
    info, difference = convert(
        folder / "realesr-animevideov3-x4.bin",
        target,
        folder / f"realesr-animevideov3-x{scale}.param",
        prelu=prelu,
    )
    assert difference < 1e-4
    assert info.scale == scale
    operators = {n.op_type for n in onnx.load(target).graph.node}
    assert ("PRelu" in operators) == (prelu == "keep")
    assert not operators & {"Shape", "Slice", "Cast", "Resize"}


def test_truncated_ncnn_weights_are_refused(data, tmp_path):
    folder, short = data / "models", tmp_path / "short.bin"
    short.write_bytes((folder / "realesr-animevideov3-x4.bin").read_bytes()[:-4])
    with pytest.raises(ValueError, match="weights end"):
        convert(short, tmp_path / "x.onnx", folder / "realesr-animevideov3-x4.param")


def test_swinir_converts_for_any_multiple_of_its_window(tmp_path):
    source, target = tmp_path / "swinir.pth", tmp_path / "swinir.onnx"
    original = swinir.small().eval()
    torch.save({"params": original.state_dict()}, source)
    info, difference = convert(source, target)
    assert difference < 1e-5
    assert (info.scale, info.multiple, info.blend) == (2, 8, "feather")
    x = np.random.default_rng(0).random((1, 3, 40, 72), dtype=np.float32)
    with torch.no_grad():
        expected = original(torch.from_numpy(x)).numpy()
    result = ort.InferenceSession(str(target)).run(None, {"input": x})[0]
    assert np.abs(result - expected).max() < 1e-5


def test_spandrel_family_converts(tmp_path):
    """A Real-ESRGAN compact net (SRVGG) with random weights, through spandrel."""
    from spandrel.architectures.Compact import CompactArch
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    torch.manual_seed(0)
    net = SRVGGNetCompact(num_feat=16, num_conv=2, upscale=2).eval()
    assert CompactArch().detect(net.state_dict())
    source, target = tmp_path / "compact.pth", tmp_path / "compact.onnx"
    torch.save({"params": net.state_dict()}, source)
    info, difference = convert(source, target, prelu="split")
    assert difference < 1e-5
    assert (info.scale, info.overlap) == (2, 4)


def test_folded_residual_block_equals_its_parts():
    torch.manual_seed(1)
    shapes = {"expand": (6, 3, 1, 1), "fea": (6, 6, 3, 3), "reduce": (3, 6, 1, 1)}
    state = {f"b.{k}_conv.weight": torch.randn(s) for k, s in shapes.items()}
    state |= {f"b.{k}_conv.bias": torch.randn(s[0]) for k, s in shapes.items()}
    kernel, bias = slim.fold_residual(state, "b")
    x = torch.randn(1, 3, 9, 9)
    conv = torch.nn.functional.conv2d
    e = conv(x, state["b.expand_conv.weight"], state["b.expand_conv.bias"])
    border = state["b.expand_conv.bias"][None, :, None, None].expand(1, 6, 11, 11).clone()
    border[..., 1:-1, 1:-1] = e
    y = conv(border, state["b.fea_conv.weight"], state["b.fea_conv.bias"]) + e
    y = conv(y, state["b.reduce_conv.weight"], state["b.reduce_conv.bias"]) + x
    assert torch.allclose(conv(x, kernel, bias, padding=1), y, atol=1e-4)
