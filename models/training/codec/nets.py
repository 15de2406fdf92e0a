"""The networks of the lossy profiles, in floating point, as they will run in integers.

One unit of a float here is 128 steps of the integer that the codec computes with, in every
layer: so a weight is the integer weight over a power of two, and pictures are
`(sample * 8 - 1024) / 128`. Activations are limited as the integers are. The layers, their
names and the units are those of docs/bitstream.md and plugins/core/codec/src/nets.

The linear layers of analysis and synthesis begin as a 16x16 DCT (8x8 in chroma) and its
inverse; everything else begins as no correction at all. So training starts from a transform
codec with a hyperprior (Balle et al. 2018, "Variational image compression with a scale
hyperprior") and can only improve on it.

`Codec.whole(True)` makes the networks compute what the integers will: weights, biases and
activations are rounded where the codec rounds them, and single precision holds every sum
exactly, as long as nothing computes with less (TF32, bf16). Gradients pass the rounding.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from integers import UNIT, shift_of

LIMIT = 2047 / UNIT
LEVELS = 32
LATENTS = 384
GROUPS = (48, 96, 240)
"""Latents are coded in groups, low frequencies first; what a group turned out to be tells how the
next one is spread (Minnen and Singh 2020, "Channel-wise autoregressive entropy models")."""
HYPER = 32
SCALES = 48
FINEST, COARSEST = 2.0, 128.0
"""Quantiser steps of levels 0 and 31, in sample units of an orthonormal transform."""
ESCAPE_BITS = 26.0
RATE_WEIGHT = 0.13
"""What a bit costs at a step of 1: lambda is this times the step squared (as in H.264)."""
CHOSEN = 6 / 256
"""What a bit costs, in squared steps, when the encoder chooses between two integers."""


def step_of(level):
    """The quantiser step that a level stands for."""
    return FINEST * (COARSEST / FINEST) ** (level / (LEVELS - 1))


@dataclass(frozen=True)
class Shape:
    """Widths of a tier."""

    features: int = 48
    expanded: int = 96
    blocks: int = 3
    analysis_blocks: int = 2
    hidden: int = 64
    widths: tuple = ()
    """Expanded channels of each block of the synthesis, where they are not all the same."""
    analysis_widths: tuple = ()

    def of(self, trunk):
        """Expanded channels of the blocks of a trunk, `gs` or `ga`."""
        if trunk == "gs":
            return self.widths or (self.expanded,) * self.blocks
        return self.analysis_widths or (self.expanded,) * self.analysis_blocks


TIERS = {"small": Shape(), "medium": Shape(64, 128, 4, 3, 96), "large": Shape(192, 384, 8, 6, 128)}


def signed(x):
    """Limits activations as the integers are."""
    return x.clamp(-LIMIT, LIMIT)


def relu(x):
    """Limits activations to what is not negative."""
    return x.clamp(0, LIMIT)


def shuffle2(x):
    """`[N, H, W, 4C]` to `[N, 2H, 2W, C]`."""
    n, h, w, c = x.shape
    return x.view(n, h, w, 2, 2, c // 4).permute(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, c // 4)


def group2(x):
    """`[N, 2H, 2W, C]` to `[N, H, W, 4C]`; odd sides are filled up with zeros."""
    n, h, w, c = x.shape
    if h % 2 or w % 2:
        x = F.pad(x, (0, 0, 0, w % 2, 0, h % 2))
        h, w = h + h % 2, w + w % 2
    return x.view(n, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h // 2, w // 2, 4 * c)


def floored(x):
    """Rounds down; the gradient passes."""
    return x + (x.floor() - x).detach()


def rounded(x, steps=UNIT):
    """The nearest of `steps` to one, halves upwards; the gradient passes."""
    return floored(x * steps + 0.5) / steps


class Layer:
    """What layers have in common: their weights and biases, rounded if that is asked for."""

    exponent = None
    """The layer's shift, if it computes as the integers do."""
    axis = 1
    """Of the weights, what a sum runs over."""
    compensated = False
    """The export rounds it so well (`integers.compensated`) that training need not know."""

    def numbers(self, table=None):
        """Weights and biases; these with a row for each level if there is a table."""
        weight, bias = self.weight, self.bias if table is None else self.bias + table.table()
        if self.exponent is None or self.compensated:
            return weight, bias
        scale = 2.0**self.exponent
        weight = weight + ((weight * scale).round() / scale - weight).detach()
        return weight, bias + ((bias * UNIT * scale).round() / (UNIT * scale) - bias).detach()

    def settle(self, table=None):
        """Finds the shift for the weights as they are now."""
        bias = self.bias if table is None else self.bias + table.table()
        weight, bias = (t.detach().double().cpu().numpy() for t in (self.weight, bias))
        self.exponent = shift_of(weight, bias, self.axis)


class Dense(Layer, nn.Linear):
    """A dense layer; `table` has biases of each level that are added to its own."""

    def forward(self, x, table=None, level=None, open_end=False):
        """`open_end`: the sum goes on elsewhere, so it is not rounded here."""
        weight, bias = self.numbers(table)
        if table is None:
            y = F.linear(x, weight, bias)
        else:
            y = F.linear(x, weight) + bias[level][:, None, None]
        return y if self.exponent is None or open_end else rounded(y)


class Depthwise(Layer, nn.Module):
    """3x3, one filter a channel, zeros beyond the edges; begins as the identity, nearly."""

    axis = 0

    def __init__(self, channels):
        super().__init__()
        weight = torch.randn(9, channels) * 0.05
        weight[4] += 1
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        """`[N, H, W, C]` to the same."""
        c = x.shape[-1]
        weight, bias = self.numbers()
        y = F.conv2d(x.permute(0, 3, 1, 2), weight.t().reshape(c, 1, 3, 3), bias, padding=1, groups=c)
        y = y.permute(0, 2, 3, 1)
        return signed(y if self.exponent is None else rounded(y))


class ByLevel(nn.Module):
    """A table with a row for each level, linear between a few rows that are learned."""

    ANCHORS = 6

    def __init__(self, width):
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(self.ANCHORS, width))
        position = torch.arange(LEVELS) / (LEVELS - 1) * (self.ANCHORS - 1)
        weights = (1 - (position[:, None] - torch.arange(self.ANCHORS)[None]).abs()).clamp(min=0)
        self.register_buffer("weights", weights, persistent=False)

    def table(self):
        """`[32, width]`."""
        return self.weights @ self.rows


class Block(nn.Module):
    """Depthwise, wider, back, and added; begins as nothing."""

    def __init__(self, channels, expanded):
        super().__init__()
        self.dw = Depthwise(channels)
        self.up = Dense(channels, expanded)
        self.down = Dense(expanded, channels)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x):
        """`[N, H, W, C]` to the same."""
        return signed(x + signed(self.down(relu(self.up(self.dw(x))))))


class Head(nn.Module):
    """Log scale and mean of the latents of a group."""

    def __init__(self, hidden, latents):
        super().__init__()
        self.scale, self.mean = Dense(hidden, latents), Dense(hidden, latents)
        with torch.no_grad():
            self.scale.weight.mul_(0.1)
            self.mean.weight.mul_(0.1)
            self.mean.bias.zero_()

    def forward(self, f):
        """`[N, H, W, hidden]` to twice `[N, H, W, latents]`."""
        return signed(self.scale(f)), signed(self.mean(f))


class Context(nn.Module):
    """Features and the magnitudes of a group, here and around, to the features of the next group."""

    def __init__(self, hidden, latents):
        super().__init__()
        self.dw = Depthwise(latents)
        with torch.no_grad():
            self.dw.weight.fill_(1 / 9)
        self.mix = Dense(hidden + 2 * latents, hidden)
        self.level = ByLevel(hidden)
        with torch.no_grad():
            self.mix.weight.mul_(0.3)
            self.mix.weight[:, :hidden] += torch.eye(hidden)

    def forward(self, f, q, level):
        """`f` are features, `q` the latents of the group in steps; both `[N, H, W, channels]`."""
        magnitude = q.abs().clamp(max=LIMIT)
        around = torch.cat([f, magnitude, self.dw(magnitude)], -1)
        return relu(self.mix(around, self.level, level))


def trunk(features, widths):
    """A row of blocks."""
    return nn.ModuleList(Block(features, width) for width in widths)


def cosine_basis():
    """An orthonormal DCT over `group2` of packed pictures, low frequencies first: `[384, 384]`.

    Planes are mixed, so that the first group of latents holds the coarse picture of all three.
    """

    def dct(n):
        k, x = np.arange(n)[:, None], np.arange(n)[None]
        basis = np.cos(np.pi * k * (2 * x + 1) / (2 * n)) * math.sqrt(2 / n)
        basis[0] /= math.sqrt(2)
        return basis

    found = []
    for side, offset, later in ((8, 0, 0.0), (4, 64, 1.5), (4, 80, 1.6)):
        one = dct(2 * side)
        for u in range(2 * side):
            for v in range(2 * side):
                row = np.zeros((4, 96))
                picture = np.outer(one[u], one[v]).reshape(2, side, 2, side).transpose(0, 2, 1, 3)
                row[:, offset : offset + side * side] = picture.reshape(4, side * side)
                # Chroma is smoother than luma: its frequencies come later.
                found.append((math.hypot(u, v) * (1 + later) + later, u, offset, row.ravel()))
    found.sort(key=lambda f: f[:3])
    return torch.from_numpy(np.stack([f[3] for f in found]).astype(np.float32))


class Codec(nn.Module):
    """One kind of frame: `intra`, or `inter` with a prediction at hand."""

    def __init__(self, shape, inter):
        super().__init__()
        self.shape, self.inter = shape, inter
        steps = torch.tensor([step_of(level) for level in range(LEVELS)])
        self.register_buffer("level_steps", steps, persistent=False)
        self.frozen = None
        """Scale indices of the hyper-latents that `freeze.py` found, if it did."""
        self.integers = self.mixed = False
        """`mixed`: the trunks compute with bf16. Their part of a picture is a small one, whose error
        is smaller still; transforms, hyperprior and rate need all digits of single precision."""
        c, h = shape.features, shape.hidden
        inputs = 192 if inter else 96
        basis = cosine_basis()
        # Units: a sample is 8 steps of the integer in pictures, a coefficient of 1 is one step.
        self.ga_lin = Dense(384, LATENTS)
        self.ga_lin.compensated = True
        self.gs_lin = Dense(LATENTS, 384)
        with torch.no_grad():
            self.ga_lin.weight.copy_(basis / 8)
            self.gs_lin.weight.copy_(basis.t() * 8)
            for linear in (self.ga_lin, self.gs_lin):
                linear.bias.zero_()
        self.ga_in, self.ga_level = Dense(inputs, c), ByLevel(c)
        self.ga_trunk = trunk(c, shape.of("ga"))
        self.ga_out = Dense(4 * c, LATENTS)
        self.gs_in, self.gs_level = Dense(inputs, c), ByLevel(c)
        self.gs_trunk = trunk(c, shape.of("gs"))
        self.gs_out = Dense(c, 96)
        for linear in (self.ga_out, self.gs_out):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        self.ha_d0, self.ha_dw1, self.ha_d1 = Dense(LATENTS, h), Depthwise(h), Dense(h, h)
        self.ha_down1, self.ha_down2 = Dense(4 * h, h), Dense(4 * h, HYPER)
        self.ha_level = ByLevel(HYPER)
        self.hs_up1, self.hs_dw1, self.hs_d1 = Dense(HYPER, 4 * h), Depthwise(h), Dense(h, h)
        self.hs_up2, self.hs_dw2, self.hs_d2 = Dense(h, 4 * h), Depthwise(h), Dense(h, h)
        self.hs_heads = nn.ModuleList(Head(h, n) for n in GROUPS)
        self.hs_contexts = nn.ModuleList(Context(h, n) for n in GROUPS[:-1])
        self.gain = ByLevel(LATENTS)
        """Natural logarithm of a latent's step over that of the level."""
        self.shift = ByLevel(LATENTS)
        """What is added to the scale index."""
        self.z_scale = ByLevel(HYPER)
        """Scale index of the hyper-latents, over a start of 20."""

    def layers(self):
        """All layers with the table of biases that they use, or none."""
        tables = {self.ga_in: self.ga_level, self.gs_in: self.gs_level, self.ha_down2: self.ha_level}
        tables |= {context.mix: context.level for context in self.hs_contexts}
        return [(m, tables.get(m)) for m in self.modules() if isinstance(m, Layer)]

    def whole(self, integers):
        """Computes as the integers do from now on, or no longer. Call it again now and then while
        weights change: it finds the layers' shifts."""
        self.integers = integers
        for layer, table in self.layers():
            if integers:
                layer.settle(table)
            else:
                layer.exponent = None

    def steps(self):
        """`[32, 384]`: quantiser steps in units of a coefficient."""
        steps = self.level_steps[:, None] * self.gain.table().exp()
        return rounded(steps, 16) if self.integers else steps

    def shifts(self):
        """`[32, 384]`: what is added to the scale index at a level."""
        shifts = self.shift.table() - (SCALES - 1) / 10 * self.steps().log2()
        return rounded(shifts, 16) if self.integers else shifts

    def z_indices(self):
        """`[32, 32]`: scale indices of the hyper-latents."""
        return 20 + self.z_scale.table() if self.frozen is None else self.frozen

    def blocks(self, trunk, f):
        """Features through a trunk."""
        with torch.autocast(f.device.type, torch.bfloat16, enabled=self.mixed):
            for block in trunk:
                f = block(f)
        return f.float()

    def analysis(self, x, p, level):
        """Packed pictures to latents `[N, H/16, W/16, 384]`, in units of 128 coefficients."""
        d = x if p is None else signed(x - p)
        y = self.ga_lin(group2(d), open_end=True)
        f = signed(self.ga_in(x if p is None else torch.cat([x, p], -1), self.ga_level, level))
        f = self.blocks(self.ga_trunk, f)
        return y + self.ga_out(group2(f), open_end=True)

    def hyper_analysis(self, y, level):
        """Latents to hyper-latents before rounding, `[N, H/64, W/64, 32]`."""
        f = relu(self.ha_d0(signed(rounded(y) if self.integers else y)))
        f = relu(self.ha_d1(self.ha_dw1(f)))
        f = relu(self.ha_down1(group2(f)))
        return signed(self.ha_down2(group2(f), self.ha_level, level)) * 2

    def hyper_synthesis(self, z, rows, columns):
        """Hyper-latents `[N, 1, W, 32]` to the features `[N, rows, columns, hidden]`."""
        f = shuffle2(relu(self.hs_up1(signed(z / 2))))
        f = relu(self.hs_d1(self.hs_dw1(f)))
        f = shuffle2(relu(self.hs_up2(f)))[:, :rows, :columns]
        return relu(self.hs_d2(self.hs_dw2(f)))

    def spread(self, group, f, level):
        """Features to scale index and mean (in steps of the level) of a group of latents."""
        part = slice(sum(GROUPS[:group]), sum(GROUPS[: group + 1]))
        scale, mean = self.hs_heads[group](f)
        index = scale * 8 + self.shifts()[level][:, None, None, part]
        mean = mean * UNIT / self.steps()[level][:, None, None, part]
        return (rounded(index, 1), rounded(mean, 8)) if self.integers else (index, mean)

    def synthesis(self, y, p, level):
        """Dequantised latents to a picture in packed units."""
        y = signed(rounded(y) if self.integers else y)
        r = shuffle2(signed(self.gs_lin(y)))
        f = signed(self.gs_in(r if p is None else torch.cat([r, p], -1), self.gs_level, level))
        f = self.blocks(self.gs_trunk, f)
        x = r + signed(self.gs_out(f))
        x = x if p is None else x + p
        if self.integers:
            x = rounded(x, UNIT / 8)
        return x.clamp(-8, 8 - 8 / UNIT)

    def chosen(self, q, mean, index):
        """The integers that are coded for latents `q` in steps."""
        # What is expected to be zero (in steps from the mean) is not coded at all.
        base = floored(mean + 0.5).detach()
        if not self.integers:
            return torch.where(index < 0.5, mean.round().detach(), through(q))
        with torch.no_grad():
            near = (q + 0.5).floor()
            other = near + (base - near).sign()
            expected = offset(mean)
            near_cost, other_cost = (
                (q - v).square() + CHOSEN * bits(v, expected, index) for v in (near, other)
            )
            v = torch.where(other_cost < near_cost, other, near)
        return torch.where(index < 0.5, base, q + (v - q).detach())

    def forward(self, x, p, level, hard=False):
        """Picture, bits of latents and of hyper-latents of each slice, and the latents.

        A slice is 64 luma rows, here 8 rows of packed pictures, and knows of no other slice:
        so damage stays where it is, and slices are decoded in parallel. `hard` counts the bits of
        what is really coded; else those under uniform noise.
        """
        y = self.analysis(x, p, level)
        z = self.hyper_analysis(y, level)
        z_hat = through(z)
        z_index = self.z_indices()[level][:, None, None]
        if self.integers:
            z_index = rounded(z_index, 1)
        z_bits = bits(z_hat if hard else noisy(z), 0.0, z_index).sum((1, 2, 3))
        f = self.hyper_synthesis(z_hat, y.shape[1], y.shape[2])
        steps = self.steps()[level][:, None, None]
        coded, y_bits = [], 0.0
        for group, q in enumerate((y * UNIT / steps).split(GROUPS, -1)):
            index, mean = self.spread(group, f, level)
            coded.append(self.chosen(q, mean, index))
            if self.integers:
                mean = offset(mean)
            # What has been chosen to be cheap has no noise to learn from.
            exact = hard or self.integers
            y_bits = y_bits + bits(coded[-1] if exact else noisy(q), mean, index).sum((1, 2, 3))
            if group < len(self.hs_contexts):
                f = self.hs_contexts[group](f, coded[-1], level)
        return self.synthesis(torch.cat(coded, -1) * steps / UNIT, p, level), y_bits, z_bits, y


def through(x):
    """Rounds; the gradient passes."""
    return x + (x.round() - x).detach()


def offset(mean):
    """Means in eighths to those of the coder's tables: odd sixteenths from the nearest integer."""
    base = (mean + 0.5).floor()
    part = mean - base
    there = base + torch.where(part < 0, -1.0, 1.0) * ((part.abs() * 8).clamp(max=3) * 2 + 1) / 16
    return mean + (there - mean).detach()


def noisy(x):
    """Uniform noise in place of rounding."""
    return x + torch.rand_like(x) - 0.5


class Bounded(torch.autograd.Function):
    """Limits to a range; the gradient passes where it leads back into it."""

    @staticmethod
    def forward(ctx, x, low, high):
        """`x` limited to `low` .. `high`."""
        ctx.save_for_backward(x)
        ctx.range = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx, gradient):
        """Nothing where a step against the gradient would lead further out."""
        (x,) = ctx.saved_tensors
        low, high = ctx.range
        outwards = ((x < low) & (gradient > 0)) | ((x > high) & (gradient < 0))
        return gradient.masked_fill(outwards, 0), None, None


def bits(q, mean, index):
    """Bits of integers under a Laplace distribution; scale index as in tables/laplace.bin."""
    scale = 0.04 * torch.exp2(Bounded.apply(index, 0, SCALES - 1) * (10 / (SCALES - 1)))
    d = (q - mean).abs()
    inner = 1 - 0.5 * (torch.exp(-(0.5 - d).clamp(min=0) / scale) + torch.exp(-(0.5 + d) / scale))
    # In the tails the logarithm itself is written down: the difference would lose all digits.
    outer = -(d - 0.5).clamp(min=0) / scale + torch.log(-torch.expm1(-1 / scale)) - math.log(2)
    log = torch.where(d < 0.5, torch.log(inner.clamp(min=1e-9)), outer)
    found = -log / math.log(2)
    # The coder's escape: far out a value takes a few more bits only. Some slope must stay, since
    # that is what teaches the hyperprior not to be surprised.
    return torch.where(found > ESCAPE_BITS, ESCAPE_BITS + 0.2 * (found - ESCAPE_BITS), found)
