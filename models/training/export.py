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
from nets import UpscaleNet
from recipes import ALIASES, RECIPES

MODELS = Path(__file__).resolve().parent.parent
LICENSE = "CC0-1.0"
OPSET = 17


def build(net, name, half=False):
    """The ONNX graph of an `UpscaleNet` (`half`: of half precision, input and output too), with the factored kernels folded."""
    shape = net.shape
    number = np.float16 if half else np.float32
    element = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    nodes = [helper.make_node("Pad", ["input", "pads"], ["padded"], "pad", mode="edge")]
    tensors = [numpy_helper.from_array(np.array([0, 0, 2, 2, 0, 0, 2, 2], np.int64), "pads")]
    layers = net.layers()
    flowing = "padded"
    for index, (layer, kernel, bias, stride) in enumerate(layers):
        skip, last = layer == "skip", index == len(layers) - 2
        inputs = ["padded" if skip else flowing, f"{layer}.weight"]
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(kernel).astype(number), inputs[1]))
        if bias is not None:
            inputs.append(f"{layer}.bias")
            tensors.append(numpy_helper.from_array(bias.astype(number), inputs[2]))
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
    nodes.append(helper.make_node("Add", [flowing, "skip"], ["sum" if shape.shuffle > 1 else "output"], "add"))
    if shape.shuffle > 1:
        nodes.append(
            helper.make_node(
                "DepthToSpace", ["sum"], ["output"], "shuffle", blocksize=shape.shuffle, mode="CRD"
            )
        )
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("input", element, ["N", shape.planes, "H", "W"])],
        [helper.make_tensor_value_info("output", element, ["N", shape.planes, "OH", "OW"])],
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
    x = np.random.default_rng(seed).random((2, net.shape.planes, *size), dtype=np.float32)
    given = model.graph.input[0].type.tensor_type.elem_type
    element = np.float16 if given == TensorProto.FLOAT16 else np.float32
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).numpy()
    found = session.run(None, {"input": x.astype(element)})[0].astype(np.float32)
    return float(np.abs(found - expected).max())


def info(name):
    """The modelinfo of a shipped model."""
    recipe = RECIPES[name]
    shape = recipe.shape
    return ModelInfo(
        name=name,
        description=recipe.description,
        license=LICENSE,
        scale=shape.scale,
        channels=shape.planes,
        overlap=shape.radius,
        multiple=shape.stride,
        tier=recipe.tier,
        variant=recipe.variant,
        element="float16" if recipe.half else "float32",
    )


def load(name, work=WORK):
    """The averaged network of a checkpoint."""
    net = UpscaleNet(RECIPES[name].shape)
    saved = torch.load(work / f"{name}.pt", map_location="cpu", weights_only=True)
    net.load_state_dict(saved["average"])
    return net.eval()


def export(name, folder=MODELS, work=WORK):
    """Writes one model and returns its difference from torch."""
    net = load(name, work)
    half = RECIPES[name].half
    model = build(net, name, half)
    difference = max_difference(net, model)
    if difference > (1e-2 if half else 1e-4):
        raise SystemExit(f"{name}: ONNX Runtime differs from torch by {difference:g}")
    described = info(name)
    for key in ("scale", "channels", "layout", "range", "multiple", "overlap", "variant"):
        entry = model.metadata_props.add()
        entry.key, entry.value = f"nnupscale.{key}", str(getattr(described, key))
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
