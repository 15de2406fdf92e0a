"""Networks of the NTIRE efficient super-resolution challenges that spandrel does not open.

Written from the papers and the shapes in the state dicts: RLFN (Kong et al. 2022), SPAN
with folded convolutions (Wan et al. 2023), RT4KSR (Zamfir et al. 2023). All take and give
RGB in 0..1; constants of their training code (means, ranges) are inside.
"""

import torch
from torch import nn
from torch.nn import functional as F

SPAN_MEAN = (0.4488, 0.4371, 0.4040)
SPAN_RANGE = 255.0
RLFN_RANGE = 255.0


def conv(inputs, outputs, side=3, stride=1):
    """A convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, side, stride, side // 2)


class SpatialAttention(nn.Module):
    """RLFN's attention: a coarse map of the features, scaled up again, gates them."""

    def __init__(self, channels, inner):
        super().__init__()
        self.conv1 = conv(channels, inner, 1)
        self.conv_f = conv(inner, inner, 1)
        self.conv2 = nn.Conv2d(inner, inner, 3, 2)
        self.conv3 = conv(inner, inner)
        self.conv4 = conv(inner, channels, 1)

    def forward(self, x):
        fine = self.conv1(x)
        coarse = self.conv3(F.max_pool2d(self.conv2(fine), 7, 3))
        coarse = F.interpolate(coarse, x.shape[2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.conv4(coarse + self.conv_f(fine)))


class RlfnBlock(nn.Module):
    """Three convolutions, a residual, a 1x1 convolution, attention."""

    def __init__(self, channels, wide, inner):
        super().__init__()
        self.c1_r, self.c2_r = conv(channels, wide), conv(wide, wide)
        self.c3_r, self.c5 = conv(wide, channels), conv(channels, channels, 1)
        self.esa = SpatialAttention(channels, inner)

    def forward(self, x):
        y = x
        for layer in (self.c1_r, self.c2_r, self.c3_r):
            y = F.leaky_relu(layer(y), 0.05)
        return self.esa(self.c5(y + x))


class Rlfn(nn.Module):
    """Residual Local Feature Network."""

    def __init__(self, channels, wide, inner, blocks, scale):
        super().__init__()
        self.conv_1, self.conv_2 = conv(3, channels), conv(channels, channels)
        for n in range(1, blocks + 1):
            setattr(self, f"block_{n}", RlfnBlock(channels, wide, inner))
        self.upsampler = nn.Sequential(conv(channels, 3 * scale**2), nn.PixelShuffle(scale))
        self.blocks = blocks

    def forward(self, x):
        first = x = self.conv_1(x)
        for n in range(1, self.blocks + 1):
            x = getattr(self, f"block_{n}")(x)
        return self.upsampler(self.conv_2(x) + first)


class SpanBlock(nn.Module):
    """Three convolutions whose result, made an odd function, gates itself."""

    def __init__(self, channels):
        super().__init__()
        self.c1_r, self.c2_r = conv(channels, channels), conv(channels, channels)
        self.c3_r = conv(channels, channels)

    def forward(self, x):
        first = F.silu(self.c1_r(x))
        third = self.c3_r(F.silu(self.c2_r(first)))
        return (third + x) * (torch.sigmoid(third) - 0.5), first


class Span(nn.Module):
    """Swift Parameter-free Attention Network, convolutions folded."""

    def __init__(self, channels, scale, blocks=6):
        super().__init__()
        self.conv_1, self.conv_2 = conv(3, channels), conv(channels, channels)
        for n in range(1, blocks + 1):
            setattr(self, f"block_{n}", SpanBlock(channels))
        self.conv_cat = conv(4 * channels, channels, 1)
        self.upsampler = nn.Sequential(conv(channels, 3 * scale**2), nn.PixelShuffle(scale))
        self.register_buffer("mean", torch.tensor(SPAN_MEAN).view(1, 3, 1, 1), persistent=False)
        self.blocks = blocks

    def forward(self, x):
        first = x = self.conv_1((x - self.mean) * SPAN_RANGE)
        after_one = inside_last = None
        for n in range(1, self.blocks + 1):
            x, inside_last = getattr(self, f"block_{n}")(x)
            after_one = x if n == 1 else after_one
        gathered = torch.cat([first, self.conv_2(x), after_one, inside_last], 1)
        return self.upsampler(self.conv_cat(gathered))


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        centred = x - x.mean(1, keepdim=True)
        spread = (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
        return centred / spread * self.weight[:, None, None] + self.bias[:, None, None]


class Rt4ksr(nn.Module):
    """RT4KSR with its residual blocks folded and its pixel unshuffle joined to the first layer."""

    def __init__(self, channels, blocks, scale):
        super().__init__()
        self.head = nn.Conv2d(3, channels, 6, stride=2, padding=2)
        self.norms = nn.ModuleList(ChannelNorm(channels) for _ in range(blocks + 1))
        self.convs = nn.ModuleList(conv(channels, channels) for _ in range(blocks + 1))
        out = 3 * (2 * scale) ** 2
        self.upsample = nn.Sequential(conv(channels, out), nn.PixelShuffle(2 * scale))

    def forward(self, x):
        x = self.head(x)
        for norm, layer in zip(self.norms[:-1], self.convs[:-1]):
            x = F.gelu(layer(norm(x)))
        return self.upsample(self.convs[-1](self.norms[-1](x)))


def unshuffled_kernel(kernel):
    """The 6x6, stride 2 kernel that equals a pixel unshuffle by 2 and a 3x3 kernel."""
    outputs, inputs = kernel.shape[0], kernel.shape[1] // 4
    kernel = kernel.reshape(outputs, inputs, 2, 2, 3, 3)
    return kernel.permute(0, 1, 4, 2, 5, 3).reshape(outputs, inputs, 6, 6)


def fold_residual(state, prefix):
    """Kernel and bias of `reduce(fea(e) + e) + x` with `e = expand(x)` padded by its bias."""
    expand, b0 = state[f"{prefix}.expand_conv.weight"], state[f"{prefix}.expand_conv.bias"]
    middle, b1 = state[f"{prefix}.fea_conv.weight"].clone(), state[f"{prefix}.fea_conv.bias"]
    reduce, b2 = state[f"{prefix}.reduce_conv.weight"], state[f"{prefix}.reduce_conv.bias"]
    middle[:, :, 1, 1] += torch.eye(middle.shape[0])
    kernel = torch.einsum("om,mnhw,ni->oihw", reduce[..., 0, 0], middle, expand[..., 0, 0])
    kernel[:, :, 1, 1] += torch.eye(kernel.shape[0])
    bias = reduce[..., 0, 0] @ (middle.sum((2, 3)) @ b0 + b1) + b2
    return kernel, bias


def block_count(state, template):
    """How many of `template.format(n)` exist, from 0 or 1 up."""
    start = 0 if template.format(0) in state else 1
    count = 0
    while template.format(start + count) in state:
        count += 1
    return count


def shuffle_scale(kernel):
    """The scale of a pixel shuffle that gives three channels."""
    return round((kernel.shape[0] / 3) ** 0.5)


def load(state):
    """`(module, scale, multiple, what it is)` for a state dict, or None if it is none of these."""
    state = {k.removeprefix("module."): v for k, v in state.items()}
    if "block_1.esa.conv1.weight" in state and "block_1.c5.weight" in state:
        channels, wide = state["conv_1.weight"].shape[0], state["block_1.c1_r.weight"].shape[0]
        inner = state["block_1.esa.conv1.weight"].shape[0]
        scale = shuffle_scale(state["upsampler.0.weight"])
        blocks = block_count(state, "block_{}.c5.weight")
        net = Rlfn(channels, wide, inner, blocks, scale)
        net.load_state_dict(state)
        with torch.no_grad():  # trained on 0..255
            net.conv_1.weight *= RLFN_RANGE
            net.upsampler[0].weight /= RLFN_RANGE
            net.upsampler[0].bias /= RLFN_RANGE
        return net, scale, 1, "RLFN"
    if "conv_1.eval_conv.weight" in state and "conv_1.sk.weight" not in state:
        state = {k.replace(".eval_conv", ""): v for k, v in state.items()}
        scale = shuffle_scale(state["upsampler.0.weight"])
        blocks = block_count(state, "block_{}.c1_r.weight")
        net = Span(state["conv_1.weight"].shape[0], scale, blocks)
        net.load_state_dict(state)
        return net, scale, 1, "SPAN, folded"
    if "hfb.0.expand_conv.weight" in state and "head.0.weight" in state:
        scale = shuffle_scale(state["upsample.0.weight"]) // 2
        blocks = block_count(state, "body.{}.norm.weight")
        net = Rt4ksr(state["head.0.weight"].shape[0], blocks, scale)
        with torch.no_grad():
            net.head.weight.copy_(unshuffled_kernel(state["head.0.weight"]))
            net.head.bias.copy_(state["head.0.bias"])
            names = [(f"body.{n}.norm", f"body.{n}.conv1") for n in range(blocks)]
            for n, (norm, block) in enumerate([*names, ("tail.0", "tail.1")]):
                kernel, bias = fold_residual(state, block)
                net.norms[n].weight.copy_(state[f"{norm}.weight"])
                net.norms[n].bias.copy_(state[f"{norm}.bias"])
                net.convs[n].weight.copy_(kernel)
                net.convs[n].bias.copy_(bias)
            net.upsample[0].weight.copy_(state["upsample.0.weight"])
            net.upsample[0].bias.copy_(state["upsample.0.bias"])
        return net, scale, 2, "RT4KSR"
    return None
