"""What a stage trains on, what it costs, and how well it is done on held-out parts."""

from functools import lru_cache

import numpy as np
import torch

from crops import Crops
from nets import LEVELS, RATE_WEIGHT, UNIT, rounded, step_of
from sequences import FRAMES, Clips, predicted, sequences

RECOLOURED = 0.25
"""The share of crops whose chroma is changed."""
DISTILLED = 0.3
"""The share of a teacher's picture in the distortion, beside the source."""
PULLED = 0.02
"""What a squared step between the teacher's latents and the pupil's costs, in bits a latent."""
SHOWN = (4, 12, 20, 28)


@lru_cache
def prices(device):
    """What a bit costs at each level, in squared samples."""
    return torch.tensor([RATE_WEIGHT * step_of(level) ** 2 for level in range(LEVELS)], device=device)


def units(samples):
    """Packed samples of 0 to 255 to the networks' units."""
    return (samples * 8 - 1024) / UNIT


def distortion(x, target):
    """Squared error a luma pixel in squared samples, luma : U : V = 6 : 1 : 1, for each crop."""
    error = ((x - target) * (UNIT / 8)).square()
    # A packed position has 64 luma samples and 16 of each chroma plane.
    luma = error[..., :64].sum(-1) / 64
    chroma = (error[..., 64:80].sum(-1) + error[..., 80:].sum(-1)) / 16
    return (luma + chroma / 6).mean((1, 2))


def slices(x):
    """Crops to their slices of 64 luma rows: `[N, 8k, W, 96]` to `[N k, 8, W, 96]`."""
    return None if x is None else x.reshape(-1, 8, *x.shape[2:])


def costs(net, x, p, level, hard=False, teacher=None):
    """Rate (bits a pixel), distortion, the loss made of them, and the hyper-latents' part of the
    rate, for each slice; and the picture, `[N, 8k, W, 96]`."""
    whole = x.shape
    level = level.repeat_interleave(x.shape[1] // 8)
    x, p = slices(x), slices(p)
    picture, y_bits, z_bits, y = net(x, p, level, hard)
    pixels = x.shape[1] * x.shape[2] * 64
    rate = (y_bits + z_bits) / pixels
    d = distortion(picture, x)
    price = prices(x.device)[level]
    loss = rate + d / price
    if teacher is not None:
        with torch.no_grad():
            shown, *_, wanted = teacher(x, p, level, True)
        pull = ((y - wanted) * UNIT / net.steps().detach()[level][:, None, None]).square().clamp(max=16)
        near = (1 - DISTILLED) * d + DISTILLED * distortion(picture, shown)
        # A pixel has 1.5 latents.
        loss = rate + near / price + PULLED * 1.5 * pull.mean((1, 2, 3))
    return rate, d, loss, z_bits / pixels, picture.reshape(whole)


def balanced(loss):
    """Fine levels and busy crops cost a hundred times as much: nearly the logarithm."""
    return (loss / (loss.detach() + 0.02) ** 0.8).mean()


def decibels(d):
    """PSNR of a mean squared error."""
    return -10 * torch.log10(d / 65025)


class Pictures:
    """Stills (`levels` None), or frames with predictions from references at known levels."""

    def __init__(self, states, held, levels=None, held_levels=None, device="cpu"):
        self.crops, self.held, self.device = Crops(states, device), Crops(held, device), device
        self.levels, self.held_levels = (
            None if known is None else torch.from_numpy(np.asarray(known)).to(device)
            for known in (levels, held_levels)
        )

    def batch(self, generator, batch, patch, held=False):
        """Sources, predictions (or None) and levels; `held`: of the held-out pictures."""
        crops = self.held if held else self.crops
        found, picked = crops.sample(generator, batch, patch, RECOLOURED)
        x, p = units(found[0]), units(found[1]) if len(found) > 1 else None
        if self.levels is None:
            return x, p, torch.randint(LEVELS, (batch,), generator=generator, device=self.device)
        shift = torch.randint(-2, 4, (batch,), generator=generator, device=self.device)
        known = self.held_levels if held else self.levels
        return x, p, (known[picked] + shift).clamp(0, LEVELS - 1)

    def loss(self, net, generator, batch, patch, teacher=None):
        """What a step descends."""
        return balanced(costs(net, *self.batch(generator, batch, patch), teacher=teacher)[2])

    @torch.no_grad()
    def validate(self, net, seed=5):
        """Mean logarithm of the costs of fixed crops, and a line for the log: four levels, or for
        frames with predictions four ranges of levels."""
        generator = torch.Generator(self.device).manual_seed(seed)
        found, picked = self.held.sample(generator, 24 if self.levels is None else 96, 128)
        all_x, all_p = units(found[0]), units(found[1]) if len(found) > 1 else None
        line, total = [], []
        for level in SHOWN:
            x, p = all_x, all_p
            levels = torch.full((len(x),), level, device=self.device)
            if self.levels is not None:
                of = self.held_levels[picked]
                chosen = (of // 8) == level // 8
                if not chosen.any():
                    continue
                x, p, levels = x[chosen], p[chosen], of[chosen]
            rate, d, loss, z, _ = costs(net, x, p, levels, hard=True)
            line.append(f"{level}: {rate.mean():.3f}+{z.mean():.3f} bpp {decibels(d).mean():.2f} dB")
            total.append(loss.log().mean().item())
        return float(np.mean(total)), "   ".join(line)


class Unrolled:
    """Frames in a row, each predicted from what was made of the one before."""

    def __init__(self, made, held, device="cpu"):
        self.clips, self.held, self.device = Clips(made, device), Clips(held, device), device

    @classmethod
    def of(cls, data, work, tier, device):
        """Those of a tier's folder of work."""
        made, held = (sequences(data, work, split, tier) for split in ("train", "validation"))
        return cls(made, held, device)

    def run(self, net, found, level, hard, teacher=None):
        """Costs of each frame of sequences."""
        frames, around, fields, _ = found
        picture = None
        for n in range(FRAMES):
            p = predicted(picture, around[n], fields[n])
            *found, picture = costs(net, units(frames[n + 1]), p, level, hard, teacher)
            # The reference has 8 bits.
            picture = rounded(picture, UNIT / 8)
            yield found

    def loss(self, net, generator, batch, patch, teacher=None):
        """What a step descends. A batch is smaller by the number of frames."""
        found = self.clips.sample(generator, max(2, batch // 2), patch)
        shift = torch.randint(-1, 2, found[3].shape, generator=generator, device=self.device)
        level = (found[3] + shift).clamp(0, LEVELS - 1)
        each = self.run(net, found, level, False, teacher)
        return torch.stack([balanced(loss) for _, _, loss, _ in each]).mean()

    @torch.no_grad()
    def validate(self, net, seed=5):
        """As `Pictures.validate`; decibels of the first and of the last frame, whose difference is
        the drift."""
        generator = torch.Generator(self.device).manual_seed(seed)
        found = self.held.sample(generator, 48, 128)
        each = list(self.run(net, found, found[3], True))
        of = found[3].repeat_interleave(2)
        line, total = [], []
        for level in SHOWN:
            chosen = (of // 8) == level // 8
            if not chosen.any():
                continue
            rate = torch.stack([rate[chosen] for rate, *_ in each]).mean()
            first, last = (decibels(each[n][1][chosen]).mean() for n in (0, -1))
            line.append(f"{level}: {rate:.3f} bpp {first:.2f} -> {last:.2f} dB")
            total.append(torch.stack([loss[chosen].log() for _, _, loss, _ in each]).mean().item())
        return float(np.mean(total)), "   ".join(line)
