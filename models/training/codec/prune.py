"""Takes channels out of the trunks whose loss costs least, for a smaller and faster model.

    python codec/prune.py small --data DIR --keep 0.7 --to DIR2

Candidates are the expanded channels of the blocks, 16 at a time (what a vector register of the
decoder takes). Within a block they are ranked by what the loss says they are worth (the squared
product of gradient and value: Molchanov et al. 2019, "Importance Estimation for Neural Network
Pruning"); then, again and again, the least of each block are left out by way of trial, the loss on
held-out pictures is measured, and the cheapest of these steps is made, cost weighed against
multiply-adds. Checkpoints go to another folder, where `train.py` and `recipe.py` go on from them.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from checkpoints import described, load_average, read, write
from nets import TIERS, Codec
from tasks import balanced, costs
from train import Options, add_common, task_of

GROUP = 16
MEASURED = 24
"""Held-out crops that a step is measured on."""
RANKED = 6
"""Batches that channels are ranked on."""


def macs(net):
    """Multiply-adds of a decoder for a luma pixel: synthesis and what the hyperprior needs."""
    shape = net.shape
    f, h, inputs = shape.features, shape.hidden, net.gs_in.in_features
    trunk = sum(9 * f + 2 * f * wide for wide in shape.of("gs"))
    synthesis = (inputs * f + trunk + f * 96) / 64 + 384 * 384 / 256
    contexts = sum(c.mix.weight.numel() + 9 * c.dw.weight.shape[1] for c in net.hs_contexts)
    heads = sum(2 * head.scale.weight.numel() for head in net.hs_heads)
    hyper = (h * 9 + h * h + contexts + heads) / 256 + (9 * h + h * h + 4 * h * h) / 1024 + 4 * 32 * h / 4096
    return synthesis + hyper


def parameters(net):
    """How many numbers the networks have."""
    return sum(p.numel() for p in net.parameters())


def kept(net, trunk, block, channels):
    """A network without some expanded channels of a block."""
    widths = {name: list(net.shape.of(name)) for name in ("gs", "ga")}
    widths[trunk][block] = len(channels)
    shape = replace(net.shape, widths=tuple(widths["gs"]), analysis_widths=tuple(widths["ga"]))
    smaller = Codec(shape, net.inter)
    state = net.state_dict()
    prefix = f"{trunk}_trunk.{block}"
    state[f"{prefix}.up.weight"] = state[f"{prefix}.up.weight"][channels]
    state[f"{prefix}.up.bias"] = state[f"{prefix}.up.bias"][channels]
    state[f"{prefix}.down.weight"] = state[f"{prefix}.down.weight"][:, channels]
    smaller.load_state_dict(state)
    return smaller


def worth(net, task, batch, patch):
    """What each expanded channel of each block is worth: `{(trunk, block): tensor}`."""
    gates, hooks, found = {}, [], {}

    def gate(key):
        def apply(_, inputs):
            return (inputs[0] * gates[key],)

        return apply

    for trunk in ("gs", "ga"):
        for n, block in enumerate(getattr(net, f"{trunk}_trunk")):
            gates[trunk, n] = torch.ones(block.down.in_features, requires_grad=True)
            hooks.append(block.down.register_forward_pre_hook(gate((trunk, n))))
    generator = torch.Generator(task.device).manual_seed(3)
    for _ in range(RANKED):
        loss = balanced(costs(net, *task.batch(generator, batch, patch))[2])
        for key, gradient in zip(gates, torch.autograd.grad(loss, list(gates.values()))):
            found[key] = found.get(key, 0) + gradient.square()
    for hook in hooks:
        hook.remove()
    return found


@torch.no_grad()
def measured(net, task):
    """The mean logarithm of the loss on fixed held-out crops."""
    batch = task.batch(torch.Generator(task.device).manual_seed(7), MEASURED, 128, held=True)
    return costs(net, *batch, hard=True)[2].log().mean().item()


def prune(net, task, keep, batch=8, patch=128, log=print):
    """Prunes until the trunks have `keep` of their expanded channels."""
    total = sum(sum(net.shape.of(trunk)) for trunk in ("gs", "ga"))
    scores = worth(net, task, batch, patch)
    before = now = measured(net, task)
    while sum(sum(net.shape.of(trunk)) for trunk in ("gs", "ga")) - GROUP >= keep * total:
        best = None
        for (trunk, n), score in scores.items():
            if len(score) <= GROUP:
                continue
            channels = score.argsort(descending=True)[:-GROUP].sort().values
            trial = kept(net, trunk, n, channels)
            cost = measured(trial, task)
            if best is None or cost < best[0]:
                best = cost, trunk, n, channels, trial
        if best is None:
            break
        now, trunk, n, channels, net = best
        scores[trunk, n] = scores[trunk, n][channels]
        log(f"{trunk} block {n}: {len(channels)} channels left, loss {now - before:+.4f}")
    return net


def main():
    """Prunes both kinds of networks of a tier."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tier", choices=sorted(TIERS))
    parser.add_argument("--data", type=Path, required=True, help="folder that holds train/ and video/")
    parser.add_argument("--keep", type=float, default=0.7, help="share of the expanded channels to keep")
    parser.add_argument("--to", type=Path, required=True, help="folder for the pruned checkpoints")
    add_common(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.to.mkdir(parents=True, exist_ok=True)
    for kind in ("intra", "inter"):
        path = args.work / f"codec-{args.tier}-{kind}.pt"
        if not path.exists():
            continue
        net = load_average(path)
        task = task_of(Options(args.tier, kind, args.data, args.work), "cpu")
        smaller = prune(net, task, args.keep, args.batch or 8, args.patch)
        state = read(path)["state"] | {"finished": True, "shape": described(smaller.shape)}
        content = {"state": state, "weights": smaller.state_dict(), "average": smaller.state_dict()}
        write(args.to / path.name, content)
        print(
            f"{kind}: {parameters(net)} -> {parameters(smaller)} parameters, {macs(net):.0f} -> "
            f"{macs(smaller):.0f} multiply-adds a pixel (decoder), loss {measured(net, task):.4f} -> "
            f"{measured(smaller, task):.4f} (logarithm, held-out crops)"
        )


if __name__ == "__main__":
    main()
