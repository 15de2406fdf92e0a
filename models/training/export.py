"""Exports trained models to `models/`: ONNX and modelinfo, checked against torch.

    python export.py luma-x2-clean [...]        (no name: all that have a checkpoint)
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper

from data import WORK
from modelinfo import ModelInfo
from nets import LumaNet
from recipes import ALIASES, RECIPES

MODELS = Path(__file__).resolve().parent.parent
LICENSE = "CC0-1.0"
OPSET = 17


def build(net, name):
    """The ONNX graph of a `LumaNet`, with the factored kernels folded."""
    shape = net.shape
    nodes = [helper.make_node("Pad", ["input", "pads"], ["padded"], "pad", mode="edge")]
    tensors = [numpy_helper.from_array(np.array([0, 0, 2, 2, 0, 0, 2, 2], np.int64), "pads")]
    layers = net.layers()
    flowing = "padded"
    for index, (layer, kernel, bias, stride) in enumerate(layers):
        skip, last = layer == "skip", index == len(layers) - 2
        inputs = ["padded" if skip else flowing, f"{layer}.weight"]
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(kernel), inputs[1]))
        if bias is not None:
            inputs.append(f"{layer}.bias")
            tensors.append(numpy_helper.from_array(bias, inputs[2]))
        side = kernel.shape[-1]
        pad = 0 if index == 0 or skip else side // 2
        nodes.append(
            helper.make_node(
                "Conv",
                inputs,
                [layer],
                layer,
                kernel_shape=[side, side],
                pads=[pad] * 4,
                strides=[stride, stride],
            )
        )
        if not skip:
            flowing = layer
            if not last:
                flowing = f"{layer}.relu"
                nodes.append(helper.make_node("Relu", [layer], [flowing], flowing))
    nodes.append(helper.make_node("Add", [flowing, "skip"], ["sum"], "add"))
    nodes.append(
        helper.make_node(
            "DepthToSpace", ["sum"], ["output"], "shuffle", blocksize=shape.shuffle, mode="CRD"
        )
    )
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, "H", "W"])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 1, "OH", "OW"])],
        tensors,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="gst-neural"
    )
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def max_difference(net, model, size=(46, 70), seed=0):
    """The largest difference between torch and ONNX Runtime on random input."""
    x = np.random.default_rng(seed).random((2, 1, *size), dtype=np.float32)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).numpy()
    return float(np.abs(session.run(None, {"input": x})[0] - expected).max())


def info(name):
    """The modelinfo of a shipped model."""
    recipe = RECIPES[name]
    shape = recipe.shape
    return ModelInfo(
        name=name,
        description=recipe.description,
        license=LICENSE,
        scale=shape.scale,
        channels=1,
        overlap=shape.radius,
        multiple=shape.stride,
        tier=recipe.tier,
        variant=recipe.variant,
    )


def load(name, work=WORK):
    """The averaged network of a checkpoint."""
    net = LumaNet(RECIPES[name].shape)
    saved = torch.load(work / f"{name}.pt", map_location="cpu", weights_only=True)
    net.load_state_dict(saved["average"])
    return net.eval()


def export(name, folder=MODELS, work=WORK):
    """Writes one model and returns its difference from torch."""
    net = load(name, work)
    model = build(net, name)
    difference = max_difference(net, model)
    if difference > 1e-4:
        raise SystemExit(f"{name}: ONNX Runtime differs from torch by {difference:g}")
    described = info(name)
    for key in ("scale", "channels", "layout", "range", "multiple", "overlap", "variant"):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, str(getattr(described, key))
    onnx.save(model, folder / f"{name}.onnx")
    (folder / f"{name}.modelinfo").write_text(described.text())
    return difference


def main():
    """Exports what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="*", help="names (default: all with a checkpoint)")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--out", type=Path, default=MODELS)
    args = parser.parse_args()
    names = args.model or [n for n in RECIPES if (args.work / f"{n}.pt").exists()]
    for name in names:
        print(f"{name}: max difference from torch {export(name, args.out, args.work):.2g}")
    lines = ["[aliases]", *(f"{alias} = {name}" for alias, name in ALIASES.items())]
    (args.out / "aliases.ini").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
