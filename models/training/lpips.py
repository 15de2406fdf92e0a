"""Makes one ONNX file of LPIPS from published weights, for `psnrsink metrics=lpips`.

    python lpips.py alex --backbone alexnet-owt-7be5be79.pth --heads alex.pth -o lpips-alex.onnx

BACKBONE is a state dict as torchvision publishes it (alexnet-owt-7be5be79.pth,
squeezenet1_1-b8a52dc0.pth, vgg16-397923af.pth), HEADS the linear layers of LPIPS 0.1
(lpips/weights/v0.1/{alex,squeeze,vgg}.pth of richzhang/PerceptualSimilarity). Both are compared
with the published files by their hashes; only then does the file say that it is LPIPS. With
--other-weights it is made of anything of the same shape, and is measured as `net-distance`.

The network takes `reference` and `distorted`, [N, 3, H, W] in -1..1, and gives `distance`, [N].
Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric" (2018).
"""

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
EPSILON = 1e-10
# What the first layer subtracts from R, G, B in -1..1, and divides by: ImageNet's means and
# deviations, as rounded by LPIPS.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)


@dataclass(frozen=True)
class Conv:
    """A convolution and its ReLU: index in torchvision's `features`, stride, padding."""

    index: int
    stride: int = 1
    pad: int = 1


@dataclass(frozen=True)
class Fire:
    """SqueezeNet's block: 1x1, then 1x1 and 3x3 side by side, each with its ReLU."""

    index: int


@dataclass(frozen=True)
class Pool:
    """The greatest of `size` x `size` at every other sample."""

    size: int
    ceil: bool = False


TAP = "tap"


@dataclass(frozen=True)
class Backbone:
    """A network by its layers; TAP stands behind those that are compared."""

    layers: tuple
    # First digits of the SHA-256 of torchvision's file, and the SHA-256 of the heads.
    published: str
    heads: str
    channels: tuple


def vgg16():
    """VGG-16 up to relu5_3; taps before each pool."""
    layers, index = [], 0
    for stage, convolutions in enumerate((2, 2, 3, 3, 3)):
        if stage:
            layers.append(Pool(2))
            index += 1
        for _ in range(convolutions):
            layers.append(Conv(index))
            index += 2
        layers.append(TAP)
    return tuple(layers)


BACKBONES = {
    "alex": Backbone(
        (
            Conv(0, 4, 2), TAP, Pool(3), Conv(3, 1, 2), TAP, Pool(3),
            Conv(6), TAP, Conv(8), TAP, Conv(10), TAP,
        ),
        "7be5be79",
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        (64, 192, 384, 256, 256),
    ),
    "squeeze": Backbone(
        (
            Conv(0, 2, 0), TAP, Pool(3, True), Fire(3), Fire(4), TAP, Pool(3, True), Fire(6), Fire(7),
            TAP, Pool(3, True), Fire(9), TAP, Fire(10), TAP, Fire(11), TAP, Fire(12), TAP,
        ),
        "b8a52dc0",
        "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
        (64, 128, 256, 384, 384, 512, 512),
    ),
    "vgg": Backbone(
        vgg16(),
        "397923af",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        (64, 128, 256, 512, 512),
    ),
}  # fmt: skip


class Graph:
    """Nodes and weights, collected."""

    def __init__(self, state):
        self.state, self.nodes, self.weights = state, [], {}

    def add(self, op, inputs, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def constant(self, name, value):
        self.weights.setdefault(name, np.ascontiguousarray(value, np.float32))
        return name

    def weight(self, key):
        if key not in self.state:
            raise SystemExit(f"the backbone has no tensor {key}: not this network, or no state dict")
        return self.constant(key, self.state[key])

    def conv_relu(self, x, key, stride=1, pad=0):
        weight, bias = self.weight(f"{key}.weight"), self.weight(f"{key}.bias")
        size = self.weights[weight].shape[-1]
        made = self.add(
            "Conv", [x, weight, bias],
            kernel_shape=[size] * 2, strides=[stride] * 2, pads=[pad] * 4,
        )  # fmt: skip
        return self.add("Relu", [made])

    def layer(self, layer, x):
        if isinstance(layer, Pool):
            return self.add(
                "MaxPool", [x],
                kernel_shape=[layer.size] * 2, strides=[2, 2], ceil_mode=int(layer.ceil),
            )  # fmt: skip
        key = f"features.{layer.index}"
        if isinstance(layer, Conv):
            return self.conv_relu(x, key, layer.stride, layer.pad)
        squeezed = self.conv_relu(x, f"{key}.squeeze")
        sides = [self.conv_relu(squeezed, f"{key}.expand{n}x{n}", pad=n // 2) for n in (1, 3)]
        return self.add("Concat", sides, axis=1)

    def features(self, image, layers):
        """What the taps give, each pixel's vector of length 1."""
        shift = self.constant("shift", np.reshape(SHIFT, (1, 3, 1, 1)))
        scale = self.constant("scale", np.reshape(SCALE, (1, 3, 1, 1)))
        epsilon = self.constant("epsilon", np.full((1, 1, 1, 1), EPSILON))
        x, taps = self.add("Div", [self.add("Sub", [image, shift]), scale]), []
        for layer in layers:
            if layer is TAP:
                length = self.add("ReduceL2", [x], axes=[1], keepdims=1)
                taps.append(self.add("Div", [x, self.add("Add", [length, epsilon])]))
            else:
                x = self.layer(layer, x)
        return taps


def build(name, state, heads, weights):
    """The ONNX model of backbone `name` from arrays; `weights` is what it says of itself."""
    backbone = BACKBONES[name]
    graph = Graph(state)
    pairs = zip(*(graph.features(image, backbone.layers) for image in ("reference", "distorted")))
    total = None
    for i, (a, b) in enumerate(pairs):
        key = f"lin{i}.model.1.weight"
        if key not in heads or heads[key].shape != (1, backbone.channels[i], 1, 1):
            raise SystemExit(f"the heads have no {key} for {backbone.channels[i]} channels")
        difference = graph.add("Sub", [a, b])
        square = graph.add("Mul", [difference, difference])
        of_layer = graph.add("Conv", [square, graph.constant(key, heads[key])], kernel_shape=[1, 1])
        mean = graph.add("ReduceMean", [of_layer], axes=[1, 2, 3], keepdims=0)
        total = mean if total is None else graph.add("Add", [total, mean])
    graph.nodes.append(helper.make_node("Identity", [total], ["distance"]))
    images = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3, "h", "w"])
        for n in ("reference", "distorted")
    ]
    out = helper.make_tensor_value_info("distance", TensorProto.FLOAT, ["n"])
    tensors = [numpy_helper.from_array(array, key) for key, array in graph.weights.items()]
    made = helper.make_graph(graph.nodes, f"lpips-{name}", images, [out], tensors)
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="gst-neural"
    )
    helper.set_model_props(model, {"lpips.range": "-1,1", "lpips.weights": weights})
    onnx.checker.check_model(model)
    return model


def is_published(name, backbone, heads):
    """Whether the two files are, byte by byte, those that LPIPS 0.1 is defined by."""
    digests = [hashlib.sha256(Path(p).read_bytes()).hexdigest() for p in (backbone, heads)]
    known = BACKBONES[name]
    return digests[0].startswith(known.published) and digests[1] == known.heads


def load(path):
    """A state dict as arrays."""
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    return {key: tensor.float().numpy() for key, tensor in state.items()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", choices=BACKBONES)
    parser.add_argument("--backbone", type=Path, required=True)
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--other-weights", action="store_true", help="not LPIPS: net-distance")
    args = parser.parse_args()
    published = is_published(args.network, args.backbone, args.heads)
    if not published and not args.other_weights:
        raise SystemExit(
            f"these are not the published weights of LPIPS with {args.network}: the SHA-256 of "
            f"{args.backbone} has to begin with {BACKBONES[args.network].published}, that of "
            f"{args.heads} to be {BACKBONES[args.network].heads} (or give --other-weights)"
        )
    weights = f"lpips-v0.1-{args.network}" if published else "other"
    model = build(args.network, load(args.backbone), load(args.heads), weights)
    onnx.save(model, args.output)
    print(f"{args.output}: {weights}, {args.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
