"""Converts published super-resolution weights to ONNX and modelinfo.

    python convert.py IN.pth OUT.onnx                      (what spandrel opens, and slim.py)
    python convert.py IN.bin OUT.onnx --param IN.param     (an ncnn pair)

The ONNX file has dynamic height and width, opset 17, and RGB in 0..1 on both sides; what
the training code subtracted or multiplied is inside. The result is compared with torch.
"""

import argparse
import io
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch.nn import functional as F

import ncnn
import slim
from modelinfo import ModelInfo
from receptive import receptive_radius

OPSET = 17
WINDOW_OVERLAP = 16


class AnySize:
    """Equal to every size: keeps an unshifted window block from computing a mask."""

    def __eq__(self, other):
        return True

    __hash__ = None


def window_mask(size, window, shift):
    """SwinIR's attention mask for a cyclic shift, from operations that can be exported."""
    height, width = size
    labels = []
    for length in (height, width):
        position = torch.arange(length)
        labels.append((position >= length - window).long() + (position >= length - shift).long())
    region = (3 * labels[0][:, None] + labels[1][None, :]).float()
    region = region.view(1, height // window, window, width // window, window, 1)
    region = region.permute(0, 1, 3, 2, 4, 5).reshape(-1, window * window)
    return (region[:, None] != region[:, :, None]).float() * -100.0


def make_swinir_dynamic(net):
    """Lets a SwinIR be exported for any size: masks by arithmetic, padding by the caller."""
    for block in net.modules():
        if hasattr(block, "calculate_mask"):
            if block.shift_size == 0:
                block.input_resolution = AnySize()
            else:
                block.input_resolution = None
                block.calculate_mask = lambda size, b=block: window_mask(
                    size, b.window_size, b.shift_size
                )
    net.check_image_size = lambda x: x


def open_pth(path):
    """`(module, scale, channels, multiple, description)` of a `.pth`."""
    state = torch.load(path, map_location="cpu", weights_only=False)
    for key in ("params_ema", "params", "state_dict", "model"):
        if isinstance(state, dict) and key in state:
            state = state[key]
            break
    ours = slim.load(state)
    if ours:
        net, scale, multiple, what = ours
        return net, scale, 3, multiple, what
    import spandrel

    descriptor = spandrel.ModelLoader().load_from_state_dict(state)
    if descriptor.input_channels != descriptor.output_channels:
        raise SystemExit(
            f"{path}: {descriptor.input_channels} channels in, "
            f"{descriptor.output_channels} out is not an upscaler of ours"
        )
    net, name = descriptor.model, descriptor.architecture.name
    multiple = descriptor.size_requirements.multiple_of
    if hasattr(net, "window_size") and hasattr(net, "check_image_size"):
        multiple = int(np.lcm(multiple, net.window_size))
        if name == "SwinIR":
            make_swinir_dynamic(net)
    return net, descriptor.scale, descriptor.input_channels, multiple, name


def to_onnx(net, channels, side, batch_free):
    """The traced graph of a module, `input` to `output`, sizes free."""
    x = torch.rand(1, channels, side, side)
    axes = {2: "H", 3: "W"} | ({0: "N"} if batch_free else {})
    outputs = {2: "OH", 3: "OW"} | ({0: "N"} if batch_free else {})
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (x,),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            do_constant_folding=True,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": axes, "output": outputs},
        )
    return fold_constants(onnx.load_from_string(buffer.getvalue()))


def fold_constants(model):
    """Computes what depends on constants only, and makes every constant an initialiser."""
    graph = model.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    nodes = []
    for node in graph.node:
        if not all(name in constants for name in node.input if name):
            nodes.append(node)
            continue
        inputs = {name: constants[name] for name in node.input if name}
        values = ReferenceEvaluator(node, opsets={"": OPSET}).run(None, inputs)
        constants.update(zip(node.output, values))
    used = {name for node in nodes for name in node.input}
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name)
        for name, value in constants.items()
        if name in used
    )
    return model


def split_prelu(model):
    """Writes `PRelu(x)` as `Relu(x) - slope * Relu(-x)`, which ONNX Runtime runs faster."""
    graph = model.graph
    constants = {t.name: t for t in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type != "PRelu" or node.input[1] not in constants:
            nodes.append(node)
            continue
        x, slope, out = node.input[0], node.input[1], node.output[0]
        negative = numpy_helper.from_array(
            -numpy_helper.to_array(constants[slope]), f"{slope}.negative"
        )
        graph.initializer.append(negative)
        nodes += [
            helper.make_node("Relu", [x], [f"{out}.up"]),
            helper.make_node("Neg", [x], [f"{out}.flipped"]),
            helper.make_node("Relu", [f"{out}.flipped"], [f"{out}.down"]),
            helper.make_node("Mul", [f"{out}.down", negative.name], [f"{out}.scaled"]),
            helper.make_node("Add", [f"{out}.up", f"{out}.scaled"], [out]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [t for t in graph.initializer if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return model


def smooth_noise(random, channels, size):
    """Random input with the spectrum of a picture rather than of static, in 0..1."""
    x = torch.from_numpy(random.random((1, channels, *(v // 4 for v in size)), dtype=np.float32))
    return F.interpolate(x, size, mode="bicubic").clamp(0, 1).numpy()


@torch.no_grad()
def max_difference(net, model, channels, multiple, seed=0):
    """The largest difference between torch and ONNX Runtime at two sizes other than traced."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    random = np.random.default_rng(seed)
    worst = 0.0
    for height, width in ((40, 56), (64, 48)):
        size = [-(-v // multiple) * multiple for v in (height, width)]
        x = smooth_noise(random, channels, size)
        expected = net(torch.from_numpy(x)).numpy()
        worst = max(worst, float(np.abs(session.run(None, {"input": x})[0] - expected).max()))
    return worst


def convert(source, target, param=None, license="unknown", prelu="keep", name=None):
    """Writes `target` and its modelinfo; returns the ModelInfo and the difference from torch."""
    source, target = Path(source), Path(target)
    if param:
        layers = ncnn.load(param, source)
        net, reference = ncnn.Net(layers), ncnn.Net(layers, fold=False)
        scale, channels, multiple, what = net.scale, 3, 1, "ncnn graph"
    else:
        net, scale, channels, multiple, what = open_pth(source)
        reference = net
    net.eval()
    reference.eval()
    windowed = multiple > 2 and hasattr(net, "window_size")
    side = -(-32 // multiple) * multiple
    model = to_onnx(net, channels, side, batch_free=not windowed)
    if prelu == "split":
        model = split_prelu(model)
    onnx.checker.check_model(model)
    difference = max_difference(reference, model, channels, multiple)
    radius, exact = receptive_radius(model)
    name = name or target.stem
    info = ModelInfo(
        name=name,
        description=f"{what}, converted from {source.name}",
        license=license,
        scale=scale,
        channels=channels,
        overlap=max(radius, WINDOW_OVERLAP) if not exact else radius,
        multiple=multiple,
        batch="1" if windowed else "-1",
        blend="" if exact else "feather",
        variant="unknown",
    )
    onnx.save(model, target)
    target.with_suffix(".modelinfo").write_text(info.text())
    return info, difference


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--param", type=Path, help="the ncnn graph that belongs to SOURCE")
    parser.add_argument("--license", default="unknown", help="licence of the weights (SPDX)")
    parser.add_argument("--name", help="name in the modelinfo (default: from TARGET)")
    parser.add_argument(
        "--prelu", choices=("keep", "split"), default="keep", help="split: Relu(x) - a*Relu(-x)"
    )
    parser.add_argument("--tolerance", type=float, default=1e-3)
    args = parser.parse_args()
    info, difference = convert(
        args.source, args.target, args.param, args.license, args.prelu, args.name
    )
    print(
        f"{args.target}: {info.description}, x{info.scale}, multiple of {info.multiple},"
        f" overlap {info.overlap}{' (feather)' if info.blend else ''};"
        f" max difference from torch {difference:.2g}"
    )
    if not difference <= args.tolerance:
        raise SystemExit(f"the difference exceeds {args.tolerance:g}")


if __name__ == "__main__":
    main()
