"""The networks: a plain chain of convolutions beside a bicubic skip, then a pixel shuffle.

    input -> Pad(edge) -> conv -> ReLU -> (conv3x3 -> ReLU) * depth -> conv3x3 --+
                      \\-> skip conv (bicubic at the start) ---------------------+-> shuffle

Two shapes: `full` works at the input's resolution; `s2` has a stride of two in
its first convolution, works at half the input's resolution (a quarter of the
arithmetic per channel) and shuffles by twice the scale.

While training, every 3x3 kernel is the sum of several factored kernels (the
edge-oriented block of ECBSR, Zhang et al., ACM MM 2021). The sum is formed before the
convolution, not after: without batch normalisation both are the same function, and
this way the training costs what the plain network costs.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from bicubic import cubic


@dataclass(frozen=True)
class Shape:
    """What distinguishes one network from another."""

    scale: int
    channels: int
    depth: int
    stride: int = 1
    planes: int = 1
    """1: luma, 3: RGB."""

    @property
    def head(self):
        """Side of the first convolution and of the skip's: 5 for stride 1, 6 for stride 2."""
        return 4 + self.stride

    @property
    def shuffle(self):
        """Block size of the final pixel shuffle."""
        return self.scale * self.stride

    @property
    def radius(self):
        """Receptive radius in input pixels, for tiles aligned to `stride`."""
        return 2 + self.stride * (self.depth + 1)


def bicubic_skip(scale, stride, planes=1):
    """Kernel `[planes*(scale*stride)^2, planes, k, k]` that interpolates bicubically when shuffled."""
    side, shuffle = 4 + stride, scale * stride
    rows = np.zeros((shuffle, side))
    for phase in range(shuffle):
        position = (phase + 0.5) / scale - 0.5
        rows[phase] = cubic(position - (np.arange(side) - 2))
    rows /= rows.sum(axis=1, keepdims=True)
    kernel = np.einsum("yi,xj->yxij", rows, rows).reshape(shuffle * shuffle, 1, side, side)
    each = torch.tensor(kernel, dtype=torch.float32)
    return torch.cat([F.pad(each, (0, 0) * 2 + (p, planes - 1 - p)) for p in range(planes)])


EDGES = torch.tensor(
    [
        [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
        [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
        [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    ],
    dtype=torch.float32,
)
IDENTITY = 0.5
"""Share of its input that every square convolution starts with."""


class FactoredConv(nn.Module):
    """A 3x3 convolution whose kernel is a sum of a plain, an expanded and three edge kernels."""

    def __init__(self, inputs, outputs, final=False):
        super().__init__()
        gain = 0.0 if final else 1.0
        wide = 2 * max(inputs, outputs)
        self.plain = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.expand = nn.Parameter(torch.empty(wide, inputs))
        self.squeeze = nn.Parameter(torch.empty(outputs, wide, 3, 3))
        self.edge_mix = nn.Parameter(torch.empty(3, outputs, inputs))
        self.edge_gain = nn.Parameter(torch.full((3, outputs, 1), 1e-2 * gain))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_normal_(self.plain)
        nn.init.kaiming_normal_(self.expand, nonlinearity="linear")
        nn.init.kaiming_normal_(self.squeeze)
        nn.init.kaiming_normal_(self.edge_mix, nonlinearity="linear")
        with torch.no_grad():
            self.plain *= gain * 0.7
            self.squeeze *= gain * 0.7
        self.identity = inputs == outputs and not final
        self.register_buffer("edges", EDGES.clone(), persistent=False)
        self.register_buffer("eye", torch.eye(outputs, inputs), persistent=False)

    def folded(self):
        """The one kernel and bias that this convolution amounts to."""
        kernel = self.plain + torch.einsum("omhw,mi->oihw", self.squeeze, self.expand)
        kernel = kernel + torch.einsum("koi,khw->oihw", self.edge_mix * self.edge_gain, self.edges)
        if self.identity:
            kernel = kernel + F.pad(self.eye[..., None, None] * IDENTITY, (1, 1, 1, 1))
        return kernel, self.bias

    def forward(self, x):
        kernel, bias = self.folded()
        return F.conv2d(x, kernel, bias, padding=1)


class UpscaleNet(nn.Module):
    """`[N, planes, H, W]` luma or RGB in 0..1 to `[N, planes, scale*H, scale*W]`."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.mixed = False
        """Whether the 3x3 convolutions compute with bf16; the skip never does."""
        c, out = shape.channels, shape.planes * shape.shuffle**2
        self.first = nn.Conv2d(shape.planes, c, shape.head, stride=shape.stride)
        self.body = nn.ModuleList(FactoredConv(c, c) for _ in range(shape.depth))
        self.last = FactoredConv(c, out, final=True)
        self.skip = nn.Conv2d(shape.planes, out, shape.head, stride=shape.stride, bias=False)
        with torch.no_grad():
            self.skip.weight.copy_(bicubic_skip(shape.scale, shape.stride, shape.planes))

    def forward(self, x):
        padded = F.pad(x, (2, 2, 2, 2), mode="replicate")
        features = F.relu(self.first(padded))
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.mixed):
            for conv in self.body:
                features = F.relu(conv(features))
        return F.pixel_shuffle(self.last(features.float()) + self.skip(padded), self.shape.shuffle)

    def layers(self):
        """The deployed network: `(name, kernel, bias, stride)` of the chain, the skip last."""
        convs = [("conv0", self.first.weight, self.first.bias, self.shape.stride)]
        for index, conv in enumerate([*self.body, self.last], start=1):
            convs.append((f"conv{index}", *conv.folded(), 1))
        convs.append(("skip", self.skip.weight, None, self.shape.stride))
        return [
            (
                name,
                kernel.detach().cpu().numpy(),
                None if bias is None else bias.detach().cpu().numpy(),
                stride,
            )
            for name, kernel, bias, stride in convs
        ]


def grow(state, shape):
    """A state dict of a shallower net of the same shape, deepened without changing its output.

    The new convolutions start as identities, which a ReLU of what is not negative passes.
    """
    net = UpscaleNet(shape)
    depth = len({name.split(".")[1] for name in state if name.startswith("body.")})
    deeper = net.state_dict()
    with torch.no_grad():
        for index in range(depth, shape.depth):
            for part in ("plain", "squeeze", "edge_gain"):
                deeper[f"body.{index}.{part}"].zero_()
            channels = torch.arange(shape.channels)
            deeper[f"body.{index}.plain"][channels, channels, 1, 1] = 1 - IDENTITY
    return deeper | state
