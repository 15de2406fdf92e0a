"""Random patches of aligned images that lie in the memory of the device that trains."""

import numpy as np
import torch

from bicubic import resize

BLOCK = 16
"""Granularity, in low-resolution pixels, of the map that says where detail is."""


def flat(images, device):
    """All images as one row of bytes (planes last), where each begins, and their widths."""
    begins = np.concatenate([[0], np.cumsum([image.size for image in images])[:-1]])
    samples = torch.from_numpy(np.concatenate([np.ascontiguousarray(i).ravel() for i in images]))
    widths = torch.tensor([image.shape[1] for image in images], device=device)
    return samples.to(device), torch.tensor(begins, device=device), widths


def grey(image):
    """One plane of an image, to look for detail in."""
    return image if image.ndim == 2 else image[..., 1]


class Pairs:
    """Aligned 8-bit images, `lr[i]` and `hr[i]`, `[H, W]` or `[H, W, 3]`; samples patches."""

    def __init__(self, lr, hr, scale, device="cpu"):
        self.lr, self.hr, self.scale, self.device = lr, hr, scale, device
        self.planes = 1 if lr[0].ndim == 2 else lr[0].shape[2]
        blocks, weights = [], []
        for index, (low, high) in enumerate(zip(lr, hr)):
            low, high = grey(low), grey(high)
            detail = np.abs(high - resize(low, scale)).astype(np.float32)
            side = BLOCK * scale
            rows, columns = low.shape[0] // BLOCK, low.shape[1] // BLOCK
            detail = detail[: rows * side, : columns * side]
            weights.append(detail.reshape(rows, side, columns, side).mean(axis=(1, 3)).ravel())
            y, x = np.divmod(np.arange(rows * columns), columns)
            blocks.append(np.stack([np.full(rows * columns, index), y * BLOCK, x * BLOCK], 1))
        # Skies and blurred backgrounds teach nothing, but must not be forgotten either.
        weights = np.clip(np.concatenate(weights), 0.25, 8.0) ** 0.75
        cumulative = np.cumsum(weights.astype(np.float64) / weights.sum(dtype=np.float64))
        self.cumulative = torch.from_numpy(cumulative).to(device)
        self.blocks = torch.from_numpy(np.concatenate(blocks)).to(device)
        self.sizes = torch.tensor([low.shape[:2] for low in lr], device=device)
        self.low, self.high = flat(lr, device), flat(hr, device)

    def sample(self, generator, batch, patch):
        """A batch of random, randomly flipped and turned patches, twice `[N, planes, H, W]` in 0..1.

        `generator` is of this device; `patch` is the side in low-resolution pixels.
        """

        def draw(*shape):
            return torch.rand(shape, generator=generator, device=self.device)

        pick = torch.searchsorted(self.cumulative, draw(batch).double())
        found = self.blocks[pick.clamp(max=len(self.blocks) - 1)]
        index, corner = found[:, 0], found[:, 1:]
        back = (draw(batch, 2) * (patch - BLOCK + 1)).long()
        corner = (corner - back).minimum(self.sizes[index] - patch).clamp(min=0)
        turn = draw(3, batch, 1, 1) < 0.5
        out = []
        for (samples, begins, widths), scale in ((self.low, 1), (self.high, self.scale)):
            side = patch * scale
            line = torch.arange(side, device=self.device)
            y, x = torch.broadcast_tensors(line[None, :, None], line[None, None])
            y, x = (torch.where(flip, side - 1 - c, c) for flip, c in zip(turn, (y, x)))
            y, x = torch.where(turn[2], x, y), torch.where(turn[2], y, x)
            y, x = (c + corner[:, axis, None, None] * scale for axis, c in enumerate((y, x)))
            at = (y * widths[index][:, None, None] + x) * self.planes + begins[index][:, None, None]
            planes = torch.arange(self.planes, device=self.device)[None, :, None, None]
            out.append(samples[at[:, None] + planes].float() / 255)
        return out
