"""The codec's motion compensation for training: given vectors, gradients for the samples.

Filters, rounding and limits are those of docs/bitstream.md, so predictions are equal to the
codec's, sample by sample; the gradient passes the rounding. The vectors are constants.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F

from nets import floored

GREY = -(2**15)
"""Both components of a vector where a block is not predicted: it is mid-grey."""
# A quarter position is the mean of two samples: of plane 0 (whole), 1 (half to the right), 2 (half
# down) or 3 (both), right and down by whole samples. Rows are fy, columns fx.
_WHOLE, _B, _H, _J = (0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)
_RIGHT, _BELOW, _H_RIGHT, _B_BELOW = (0, 1, 0), (0, 0, 1), (2, 1, 0), (1, 0, 1)
_PAIRS = [
    [(_WHOLE, _WHOLE), (_WHOLE, _B), (_B, _B), (_B, _RIGHT)],
    [(_WHOLE, _H), (_B, _H), (_B, _J), (_B, _H_RIGHT)],
    [(_H, _H), (_H, _J), (_J, _J), (_J, _H_RIGHT)],
    [(_H, _BELOW), (_B_BELOW, _H), (_J, _B_BELOW), (_B_BELOW, _H_RIGHT)],
]


@lru_cache
def _constants(device):
    """The filter, and the pairs by `4 fy + fx`."""
    taps = torch.tensor([1.0, -5.0, 20.0, 20.0, -5.0, 1.0], device=device)
    return taps, torch.tensor(_PAIRS, device=device).reshape(16, 2, 3)


def half_planes(plane):
    """`[N, H, W]` samples to `[N, 4, H, W]`: whole, half right, half down, half both."""
    x = plane[:, None]
    taps, _ = _constants(plane.device)
    across = F.conv2d(F.pad(x, (2, 3, 0, 0), mode="replicate"), taps[None, None, None])
    down = F.conv2d(F.pad(x, (0, 0, 2, 3), mode="replicate"), taps[None, None, :, None])
    both = F.conv2d(F.pad(across, (0, 0, 2, 3), mode="replicate"), taps[None, None, :, None])
    halves = [((across + 16) / 32), ((down + 16) / 32), ((both + 512) / 1024)]
    return torch.cat([x, *(floored(half).clamp(0, 255) for half in halves)], 1)


def _each(vectors, block, height, width):
    """x and y of the vector of each sample, `[N, H, W]`, for blocks of `block` samples."""
    both = vectors.repeat_interleave(block, 1).repeat_interleave(block, 2)[:, :height, :width]
    grey = both[..., 0] == GREY
    return both[..., 0].masked_fill(grey, 0), both[..., 1].masked_fill(grey, 0), grey


def _taken(planes, plane, y, x):
    """Samples of `[N, P, H, W]` at positions limited to the planes."""
    n, _, height, width = planes.shape
    at = (plane * height + y.clamp(0, height - 1)) * width + x.clamp(0, width - 1)
    return planes.reshape(n, -1).gather(1, at.reshape(n, -1)).reshape(y.shape)


def luma(reference, vectors, margin, height, width):
    """Predicts `height` x `width` samples from a plane that goes on by `margin` on all sides.

    `reference` is `[N, height + 2 margin, width + 2 margin]`, `vectors` `[N, height / 8,
    width / 8, 2]` integers. Beyond the plane the nearest sample counts.
    """
    vx, vy, grey = _each(vectors, 8, height, width)
    row = torch.arange(height, device=vx.device)[None, :, None] + margin + (vy >> 2)
    column = torch.arange(width, device=vx.device)[None, None] + margin + (vx >> 2)
    pairs = _constants(vx.device)[1][(vy & 3) * 4 + (vx & 3)]
    # Wide enough that a filter at the edge of the plane sees it continued.
    planes = half_planes(F.pad(reference[:, None], (3, 3, 3, 3), mode="replicate")[:, 0])
    limit_y, limit_x = reference.shape[1] + 2, reference.shape[2] + 2
    row, column = row.clamp(-3, limit_y - 1), column.clamp(-3, limit_x - 1)
    a, b = (
        _taken(planes, pairs[..., k, 0], row + pairs[..., k, 2] + 3, column + pairs[..., k, 1] + 3)
        for k in (0, 1)
    )
    return floored((a + b + 1) / 2).masked_fill(grey, 128)


def chroma(reference, vectors, margin, height, width):
    """As `luma`, for a plane of half the size in both directions; all sizes are this plane's."""
    vx, vy, grey = _each(vectors, 4, height, width)
    row = torch.arange(height, device=vx.device)[None, :, None] + margin + (vy >> 3)
    column = torch.arange(width, device=vx.device)[None, None] + margin + (vx >> 3)
    fx, fy, planes = vx & 7, vy & 7, reference[:, None]
    total = 32.0
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (fx if dx else 8 - fx) * (fy if dy else 8 - fy)
            total = total + weight * _taken(planes, 0, row + dy, column + dx)
    return floored(total / 64).masked_fill(grey, 128)


def planes_of(packed):
    """`[N, H/8, W/8, 96]` to planes `[N, H, W]` and twice `[N, H/2, W/2]`."""
    n, rows, columns, _ = packed.shape
    parts = zip(packed.split((64, 16, 16), -1), (8, 4, 4))
    return [
        part.reshape(n, rows, columns, side, side).transpose(2, 3).reshape(n, rows * side, columns * side)
        for part, side in parts
    ]
