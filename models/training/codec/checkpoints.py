"""Checkpoints of the codec's networks: what they hold, and how another tier begins from one.

A file holds `weights`, their running `average` (which is what is used), the optimiser, and a
`state` of plain values: round, stage, seconds, steps, history and, as `shape`, the widths.
"""

from dataclasses import asdict
from pathlib import Path

import torch

from nets import GROUPS, LATENTS, TIERS, Codec, Shape

WORK = Path(__file__).resolve().parent.parent / "work"


def read(path):
    """The content of a checkpoint; averages of half precision become single."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    # Those of checkpoints/ have half precision, which is enough to go on from.
    saved["average"] = {name: value.float() for name, value in saved["average"].items()}
    return saved


def write(path, content):
    """Writes a checkpoint in one go: an interrupted run leaves the last one."""
    part = path.with_suffix(".part")
    torch.save(content, part)
    part.rename(path)


def shape_of(saved, tier):
    """Widths of the networks of a checkpoint; those of the tier if it does not say."""
    known = saved.get("state", {}).get("shape")
    if not known:
        return TIERS[tier]
    return Shape(**{k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in known.items()})


def described(shape):
    """A shape as plain values, for a checkpoint."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(shape).items()}


def load_average(path):
    """The averaged networks of a checkpoint named `codec-TIER-KIND.pt`."""
    _, tier, kind = Path(path).stem.split("-")
    saved = read(path)
    net = Codec(shape_of(saved, tier), kind == "inter")
    net.load_state_dict(saved["average"])
    if "frozen" in saved:
        net.frozen = saved["frozen"].float()
    return net


def inherited(intra):
    """Weights of inter networks that begin with what the intra networks have learned.

    What intra saw as the picture is here the sum of the residual and the prediction.
    """
    learned = dict(intra)
    for name, both in (("ga_in.weight", (1, 0)), ("gs_in.weight", (1, 1))):
        learned[name] = torch.cat([learned[name] * part for part in both], 1)
    return learned


def _spread_out(old, new, copies):
    """Where `copies` groups of `old` channels each are among as many of `new` channels."""
    return torch.cat([torch.arange(old) + copy * new for copy in range(copies)])


def _places(name, old, new):
    """Indices in the wider tensor of the inputs and outputs that the narrower one has.

    `old` and `new` are the shapes of the networks; None: all of that axis is the same.
    """
    f = _spread_out(old.features, new.features, 1)
    h = _spread_out(old.hidden, new.hidden, 1)
    four = _spread_out(old.hidden, new.hidden, 4)
    part = name.split(".")
    if part[0] in ("ga_trunk", "gs_trunk"):
        wide = torch.arange(old.of(part[0][:2])[int(part[1])])
        return {"dw": (f, None), "up": (f, wide), "down": (wide, f)}[part[2]]
    if part[0] == "hs_contexts":
        n = GROUPS[int(part[1])]
        mixed = torch.cat([h, torch.arange(2 * n) + new.hidden])
        return {"dw": (None, None), "mix": (mixed, h), "level": (None, h)}[part[2]]
    return {
        "ga_in": (None, f), "gs_in": (None, f), "ga_level": (None, f), "gs_level": (None, f),
        "ga_out": (_spread_out(old.features, new.features, 4), None), "gs_out": (f, None),
        "ha_d0": (None, h), "ha_dw1": (h, None), "ha_d1": (h, h), "ha_down1": (four, h),
        "ha_down2": (four, None), "hs_up1": (None, four), "hs_dw1": (h, None), "hs_d1": (h, h),
        "hs_up2": (h, four), "hs_dw2": (h, None), "hs_d2": (h, h), "hs_heads": (h, None),
    }.get(part[0], (None, None))  # fmt: skip


@torch.no_grad()
def widened(state, old, new, inter):
    """Weights of wider and deeper networks that compute what `state` of shape `old` computes.

    What was there reads nothing of what is new: those weights are zero. What is new reads
    everything, and keeps its random start, so that it has something to offer (Chen et al. 2016,
    "Net2Net"). New blocks begin as nothing.
    """
    for trunk in ("ga", "gs"):
        if len(old.of(trunk)) > len(new.of(trunk)):
            raise SystemExit("the tier to begin from has more blocks")
    wider = Codec(new, inter).state_dict()
    for name, value in state.items():
        target = wider[name]
        inputs, outputs = _places(name, old, new)
        depthwise = target.dim() == 2 and target.shape[0] == 9
        last = name.split(".")[-1]
        if target.shape == value.shape and inputs is None and outputs is None:
            target.copy_(value)
        elif depthwise:
            target[:, inputs] = value
        elif last == "bias" and ".dw" in name or last == "bias" and "_dw" in name:
            target[inputs] = value
        elif last == "bias":
            target[slice(None) if outputs is None else outputs] = value
        elif last == "rows":
            target[:, outputs] = value
        else:
            outputs = torch.arange(target.shape[0]) if outputs is None else outputs
            inputs = torch.arange(target.shape[1]) if inputs is None else inputs
            row = torch.zeros(len(outputs), target.shape[1])
            row[:, inputs] = value
            target[outputs] = row
    return wider


def begin(tier, kind, work, start=None):
    """Weights to begin a tier with: of `start`, or of its own intra networks, or None."""
    inter, new = kind == "inter", TIERS[tier]
    path = Path(work) / f"codec-{start}-{kind}.pt"
    if start and path.exists():
        saved = read(path)
        return widened(saved["average"], shape_of(saved, start), new, inter)
    if start and not inter:
        raise SystemExit(f"{path} is missing: train tier {start} first, or copy its checkpoint there")
    own = Path(work) / f"codec-{tier}-intra.pt"
    if inter and own.exists():
        saved = read(own)
        if shape_of(saved, tier) == new:
            return inherited(saved["average"])
    return None


assert sum(GROUPS) == LATENTS
