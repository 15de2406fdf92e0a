"""Reads an ncnn pair (`.param` text graph, `.bin` weights) and rebuilds it in torch and ONNX.

Covers what SRVGG-type upscalers are made of: Convolution, PReLU, ReLU, PixelShuffle,
Interp, BinaryOp add, Split. Anything else is an error that names the layer.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional as F

MAGIC = 7767517
FP16 = 0x01306B47
FP32 = 0x00000000


@dataclass
class Layer:
    """One line of the graph, and its weights."""

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    params: dict[int, str]
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def number(self, key, default=0):
        """An integer parameter."""
        return int(self.params.get(key, default))


class Reader:
    """The weight file, front to back."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        """The next `count` bytes, aligned to four."""
        piece = self.data[self.at : self.at + count]
        if len(piece) < count:
            raise ValueError(f"the weights end at byte {len(self.data)}, {self.at + count} needed")
        self.at += (count + 3) // 4 * 4
        return piece

    def plain(self, count):
        """Raw 32-bit floats."""
        return np.frombuffer(self.take(4 * count), "<f4").copy()

    def flagged(self, count):
        """Floats behind a word that says how they are stored."""
        flag = int.from_bytes(self.take(4), "little")
        if flag == FP16:
            return np.frombuffer(self.take(2 * count), "<f2").astype(np.float32)
        if flag == FP32:
            return self.plain(count)
        raise ValueError(f"weights stored as 0x{flag:08x} (int8?) are not supported")


def read_weights(layer, reader):
    """Fills in the weights of one layer."""
    if layer.kind == "Convolution":
        outputs, side, count = layer.number(0), layer.number(1), layer.number(6)
        square = layer.number(11, side) == side and layer.number(2, 1) == 1
        if not square or layer.number(9) not in (0, 1):
            raise ValueError(f"{layer.name}: only plain square convolutions are supported")
        inputs = count // (outputs * side * side)
        kernel = reader.flagged(count).reshape(outputs, inputs, side, side)
        layer.weights["kernel"] = kernel
        bias = reader.plain(outputs) if layer.number(5) else np.zeros(outputs, np.float32)
        layer.weights["bias"] = bias
    elif layer.kind == "PReLU":
        layer.weights["slope"] = reader.plain(layer.number(0))


def load(param_path, bin_path):
    """The layers of a network, in order, with their weights."""
    lines = [line.split() for line in open(param_path, encoding="utf-8") if line.strip()]
    if lines[0] != [str(MAGIC)]:
        raise ValueError(f"{param_path} is not an ncnn text graph")
    layers = []
    for kind, name, n_in, n_out, *rest in lines[2:]:
        n_in, n_out = int(n_in), int(n_out)
        names, params = rest[: n_in + n_out], rest[n_in + n_out :]
        params = {int(k): v for k, v in (p.split("=") for p in params)}
        layers.append(Layer(kind, name, names[:n_in], names[n_in:], params))
    with open(bin_path, "rb") as file:
        reader = Reader(file.read())
    for layer in layers:
        read_weights(layer, reader)
    if reader.at != len(reader.data):
        raise ValueError(f"{len(reader.data) - reader.at} bytes of weights are left over")
    return layers


def cubic_half():
    """ncnn's bicubic (a = -0.75) at a factor of one half: four taps between two pixels."""
    taps = np.array([-0.09375, 0.59375, 0.59375, -0.09375], np.float32)
    return np.outer(taps, taps)


class Net(torch.nn.Module):
    """The layers as a torch module. Frames of unknown size, `[N, 3, H, W]` in 0..1.

    `fold` joins a nearest-neighbour skip that is added after the last pixel shuffle into
    a convolution before it, so that the shuffle ends the graph.
    """

    def __init__(self, layers, fold=True):
        super().__init__()
        self.layers = layers
        for index, layer in enumerate(layers):
            for key, value in layer.weights.items():
                self.register_buffer(f"{key}{index}", torch.from_numpy(value))
        halving = torch.from_numpy(cubic_half())[None, None].repeat(3, 1, 1, 1)
        self.register_buffer("halving", halving)
        self.folded = self.find_skip() if fold else {}

    def find_skip(self):
        """`{pixel shuffle: (its skip's source, the sum)}` where `shuffle(a) + nearest(b)`."""
        makers = {out: layer for layer in self.layers for out in layer.outputs}
        found = {}
        for layer in self.layers:
            if layer.kind != "BinaryOp":
                continue
            pair = {makers[name].kind: makers[name] for name in layer.inputs}
            shuffle, skip = pair.get("PixelShuffle"), pair.get("Interp")
            if shuffle and skip and skip.number(0) == 1:
                if float(skip.params[1]) == float(skip.params[2]) == shuffle.number(0):
                    found[shuffle.name] = (skip, layer)
        return found

    @property
    def scale(self):
        """How many times larger the output is."""
        scale = 1.0
        for layer in self.layers:
            if layer.kind == "PixelShuffle":
                scale *= layer.number(0)
            elif layer.kind == "Interp" and layer.number(0) == 3:
                scale *= float(layer.params[1])
        return int(scale)

    def forward(self, x):
        values, skipped = {}, set()
        for index, layer in enumerate(self.layers):
            if layer.name in skipped:
                continue
            a = values[layer.inputs[0]] if layer.inputs and layer.inputs[0] in values else x
            if layer.kind in ("Input", "Split"):
                y = a
            elif layer.kind == "Convolution":
                kernel, bias = getattr(self, f"kernel{index}"), getattr(self, f"bias{index}")
                y = F.conv2d(a, kernel, bias, layer.number(3, 1), layer.number(4))
                y = F.relu(y) if layer.number(9) == 1 else y
            elif layer.kind == "PReLU":
                y = F.prelu(a, getattr(self, f"slope{index}"))
            elif layer.kind == "ReLU":
                y = F.leaky_relu(a, float(layer.params.get(0, 0)))
            elif layer.kind == "PixelShuffle":
                block = layer.number(0)
                if layer.name in self.folded:
                    skip, total = self.folded[layer.name]
                    base = values[self.layers[0].outputs[0]]
                    copies = torch.eye(3).repeat_interleave(block * block, dim=0)
                    y = F.pixel_shuffle(a + F.conv2d(base, copies[..., None, None]), block)
                    values[total.outputs[0]] = y
                    skipped |= {skip.name, total.name}
                else:
                    y = F.pixel_shuffle(a, block)
            elif layer.kind == "Interp" and layer.number(0) == 1:
                # Depends on the graph's order only in what it reads, not in when.
                if any(layer is skip for skip, _ in self.folded.values()):
                    continue
                y = F.interpolate(a, scale_factor=float(layer.params[1]), mode="nearest")
            elif layer.kind == "Interp" and layer.number(0) == 3:
                if float(layer.params[1]) != 0.5:
                    raise ValueError(f"{layer.name}: bicubic by {layer.params[1]} not supported")
                padded = F.pad(a, (1, 1, 1, 1), mode="replicate")
                y = F.conv2d(padded, self.halving, stride=2, groups=3)
            elif layer.kind == "BinaryOp" and layer.number(0) == 0:
                y = a + values[layer.inputs[1]]
            else:
                raise ValueError(f"layer {layer.name} of kind {layer.kind} is not supported")
            for name in layer.outputs:
                values[name] = y
        return values["output"]
