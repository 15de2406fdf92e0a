"""Freezes the scales of the hyper-latents: of each level and channel that which costs least.

    python codec/freeze.py small intra --data DIR

Training has them as a few rows with straight lines between. Here half of a set of held-out crops
is counted and the best index taken of the 48 that the coder has; the other half says what that
gains. Further training forgets it, and the recipe does it again.
"""

import argparse
from pathlib import Path

import torch

from checkpoints import WORK, load_average, read, write
from frames import photographs
from nets import LEVELS, SCALES, TIERS, bits
from pairs import pairs
from tasks import Pictures, slices

CROPS = 96
AROUND = 1
"""Levels to either side that are counted with a level."""


@torch.no_grad()
def counted(net, x, p):
    """Bits of the hyper-latents of each level, channel and index: `[32, 32, 48]`; x is packed."""
    out = []
    indices = torch.arange(SCALES, dtype=torch.float32)[:, None, None]
    x, p = slices(x), slices(p)
    for level in range(LEVELS):
        levels = torch.full((len(x),), level)
        z = net.hyper_analysis(net.analysis(x, p, levels), levels).round()
        # The first offset of the tables is 1/16.
        cost = bits(z.reshape(1, -1, z.shape[-1]), 1 / 16, indices)
        out.append(cost.sum(1).t())
    return torch.stack(out)


def freeze(tier, kind, data, work=WORK):
    """Finds the indices, puts them into the checkpoint, and says what that gained."""
    path = Path(work) / f"codec-{tier}-{kind}.pt"
    net = load_average(path)
    net.whole(True)
    if kind == "intra":
        states, levels = [photographs(data, "validation")], None
    else:
        states, levels = pairs(data, work, "validation", tier)
    held = Pictures(states, states, levels, levels)
    x, p, _ = held.batch(torch.Generator().manual_seed(11), CROPS, 128, held=True)
    halves = [(x[n::2], None if p is None else p[n::2]) for n in (0, 1)]
    chosen_on, told_on = (counted(net, *half) for half in halves)
    pooled = sum(chosen_on.roll(shift, 0) for shift in range(-AROUND, AROUND + 1))
    for level in (*range(AROUND), *range(LEVELS - AROUND, LEVELS)):
        pooled[level] = chosen_on[level]
    found = pooled.argmin(-1)
    before = net.z_indices().round().clamp(0, SCALES - 1).long()
    costs = [told_on.gather(-1, index[..., None]).sum() for index in (before, found)]
    if costs[1] < costs[0]:
        saved = read(path)
        write(path, saved | {"frozen": found.to(torch.uint8)})
    gain = 100 * (1 - costs[1] / costs[0])
    return f"{kind}: frozen scales save {gain:.1f} % of the hyper-latents' bits on other held-out crops"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tier", choices=sorted(TIERS))
    parser.add_argument("kind", choices=("intra", "inter"))
    parser.add_argument("--data", required=True, help="folder that holds train/ and video/")
    parser.add_argument("--work", type=Path, default=WORK)
    args = parser.parse_args()
    print(freeze(args.tier, args.kind, args.data, args.work))
