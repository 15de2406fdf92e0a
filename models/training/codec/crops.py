"""Random crops of pictures that lie in the memory of the device that trains.

Pictures are one long tensor of bytes for each plane; a crop is a tensor of indices into it. So
nothing is copied to a GPU while it trains, and a batch costs a few launches whatever its size.
"""

import numpy as np
import torch


def packed_crops(planes):
    """Planes `[N, H, W]`, chroma halved, to `[N, H/8, W/8, 96]`: 64 luma, 16 U, 16 V."""
    found = []
    for plane, side in zip(planes, (8, 4, 4)):
        n, height, width = plane.shape
        part = plane.reshape(n, height // side, side, width // side, side).transpose(2, 3)
        found.append(part.reshape(n, height // side, width // side, side * side))
    return torch.cat(found, -1)


def flat_planes(pictures, device):
    """All samples of each plane in a row, where each picture begins, and its width: by plane."""
    out = []
    for plane in range(3):
        parts = [np.ascontiguousarray(planes[plane]).ravel() for planes in pictures]
        begins = np.concatenate([[0], np.cumsum([len(part) for part in parts])[:-1]])
        widths = [planes[plane].shape[1] for planes in pictures]
        samples = torch.from_numpy(np.concatenate(parts)).to(device)
        out.append((samples, torch.tensor(begins, device=device), torch.tensor(widths, device=device)))
    return out


class Crops:
    """A sampler of random crops of the same pictures in one or more states (source, prediction)."""

    def __init__(self, states, device="cpu"):
        """`states`: for each state a list of (Y, U, V)."""
        self.device = device
        self.states = [flat_planes(pictures, device) for pictures in states]
        sizes = [planes[0].shape for planes in states[0]]
        self.sizes = torch.tensor(sizes, device=device)
        # Larger pictures more often, but not as much more as they are larger.
        self.weights = torch.tensor([float(h * w) ** 0.5 for h, w in sizes], device=device)

    def __len__(self):
        return len(self.sizes)

    def sample(self, generator, batch, patch, recoloured=0.0):
        """For each state `[batch, patch/8, patch/8, 96]`, samples of 0 to 255, turned and flipped
        alike, and which picture each is of.

        `generator` is of this device. `recoloured` is the share of crops whose chroma is changed:
        planes swapped, mirrored, stronger or weaker. Photographs and films hardly know saturated
        colours; graphics and test pictures do.
        """

        def draw(*shape):
            return torch.rand(shape, generator=generator, device=self.device)

        picked = torch.multinomial(self.weights, batch, True, generator=generator)
        room = (self.sizes[picked] - patch) // 2 + 1
        corner = (draw(batch, 2) * room).long().minimum(room - 1) * 2
        turn = draw(3, batch, 1, 1) < 0.5
        change = (draw(batch) < recoloured)[:, None, None]
        swap = change & (draw(batch, 1, 1) < 0.5)
        gains = torch.exp2(draw(2, batch, 1, 1) * 2.5 - 0.5) * torch.where(draw(2, batch, 1, 1) < 0.5, -1, 1)
        out = []
        for state in self.states:
            planes = []
            for plane, (samples, begins, widths) in enumerate(state):
                shift = int(plane > 0)
                side = patch >> shift
                line = torch.arange(side, device=self.device)
                y, x = torch.broadcast_tensors(line[None, :, None], line[None, None])
                y, x = (torch.where(flip, side - 1 - c, c) for flip, c in zip(turn, (y, x)))
                y, x = torch.where(turn[2], x, y), torch.where(turn[2], y, x)
                y, x = (c + corner[:, axis, None, None] // (1 + shift) for axis, c in enumerate((y, x)))
                at = begins[picked][:, None, None] + y * widths[picked][:, None, None] + x
                planes.append(samples[at].float())
            if recoloured:
                u, v = (
                    torch.where(change, ((p - 128) * g + 128).round().clamp(0, 255), p)
                    for p, g in zip(planes[1:], gains)
                )
                planes = [planes[0], torch.where(swap, v, u), torch.where(swap, u, v)]
            out.append(packed_crops(planes))
        return out, picked
