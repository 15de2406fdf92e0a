"""Trains the networks of the lossy profiles, stage by stage, and goes on where it stopped.

    python codec/train.py small --data DIR --minutes 50

Stages: `intra` on stills, then `inter` on frames with their motion-compensated predictions
(`pairs.py` makes them with the codec itself). A stage is a cosine of the learning rate over
its minutes of CPU time (GPU: of the clock); a finished stage starts another round, at half
the peak. `export.py` writes the model file.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch

from frames import Crops, stills
from nets import GROUPS, LEVELS, RATE_WEIGHT, TIERS, UNIT, Codec, step_of

WORK = Path(__file__).resolve().parent.parent / "work"
SAVE_SECONDS = 120
SPEEDS = {"other": 1.0, "table": 5.0, "transform": 0.15}
"""Learning rates over the round's."""
FROZEN = 0.35
"""The part of the first round in which the transform stays what it was."""
RECOLOURED = 0.25
"""The share of crops whose chroma is changed."""
LATER = 0.4
"""The transform's in later rounds, when the hyperprior is no longer surprised."""


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tier", choices=sorted(TIERS))
    parser.add_argument("--data", required=True, help="folder that holds train/ and video/")
    parser.add_argument("--stage", choices=("intra", "inter"), default="intra")
    parser.add_argument(
        "--closed", action="store_true", help="inter: also on frames that the codec itself decoded"
    )
    parser.add_argument("--minutes", type=float, default=50, help="length of this round")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patch", type=int, default=128, help="side of a crop, a multiple of 64")
    parser.add_argument("--lr", type=float, default=0, help="peak learning rate (0: by round)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=WORK, help="caches and checkpoints")
    return parser.parse_args()


def units(packed, device):
    """8-bit packed samples to the networks' units."""
    return (torch.from_numpy(packed).to(device).float() * 8 - 1024) / UNIT


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


def costs(net, x, p, level, hard=False):
    """Rate (bits a pixel), distortion and their weighted sum, and the hyper-latents' part of the
    rate, for each slice."""
    level = level.repeat_interleave(x.shape[1] // 8)
    x, p = slices(x), slices(p)
    picture, y_bits, z_bits = net(x, p, level, hard)
    pixels = x.shape[1] * x.shape[2] * 64
    rate = (y_bits + z_bits) / pixels
    d = distortion(picture, x)
    price = RATE_WEIGHT * torch.tensor([step_of(int(k)) ** 2 for k in level], device=x.device)
    return rate, d, rate + d / price, z_bits / pixels


def predictions(found, device):
    """Source and prediction of a batch."""
    return units(found[0], device), units(found[1], device) if len(found) > 1 else None


def levels_of(known, picked, random):
    """A level for each crop: any, or near that of the reference it is predicted from."""
    if known is None:
        return torch.from_numpy(random.integers(0, LEVELS, len(picked)))
    near = known[picked] + random.integers(-2, 4, len(picked))
    return torch.from_numpy(near.clip(0, LEVELS - 1))


@torch.no_grad()
def validate(net, crops, known, device, seed=5):
    """Mean costs of fixed crops at four levels (inter: in four ranges): a line for the log."""
    random = np.random.default_rng(seed)
    found, picked = crops.sample(random, 24 if known is None else 96, 128)
    all_x, all_p = predictions(found, device)
    line, total = [], 0.0
    for level in (4, 12, 20, 28):
        x, p = all_x, all_p
        levels = torch.full((len(x),), level, device=device)
        if known is not None:
            of = torch.from_numpy(known[picked])
            chosen = ((of // 8) == level // 8).to(device)
            x, p, levels = x[chosen], p[chosen], of.to(device)[chosen]
        rate, d, loss, z = costs(net, x, p, levels, hard=True)
        line.append(f"{level}: {rate.mean():.3f}+{z.mean():.3f} bpp {-10 * torch.log10(d / 65025).mean():.2f} dB")
        total += loss.log().mean().item() / 4
    return f"{total:.4f}   " + "   ".join(line)


def start(net, crops, device, random):
    """Sets the first scales of the latents to those of the data."""
    x, p = predictions(crops.sample(random, 64, 128)[0], device)
    with torch.no_grad():
        y = net.analysis(x, p, torch.zeros(len(x), dtype=torch.long, device=device)) * UNIT
        mean = y.abs().mean((0, 1, 2)).clamp(min=0.04) * 0.7
        for head, part in zip(net.hs_heads, mean.split(GROUPS)):
            head.scale.bias.copy_((47 / 10 * torch.log2(part / 0.04)) / 8)


def inherit(net, path):
    """Gives inter networks what the intra networks have learned; whether there was anything.

    What intra saw as the picture is here the sum of the residual and the prediction.
    """
    if not net.inter or not path.exists():
        return False
    learned = torch.load(path, map_location="cpu", weights_only=True)["average"]
    for name, both in (("ga_in.weight", (1, 0)), ("gs_in.weight", (1, 1))):
        learned[name] = torch.cat([learned[name] * part for part in both], 1)
    net.load_state_dict(learned)
    return True


def main():
    """Runs one round of one stage."""
    args = arguments()
    torch.set_num_threads(args.threads)
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    clock = time.process_time if device == "cpu" else time.monotonic
    args.work.mkdir(parents=True, exist_ok=True)
    checkpoint = args.work / f"codec-{args.tier}-{args.stage}.pt"
    shape = TIERS[args.tier]
    inter = args.stage == "inter"
    torch.manual_seed(args.seed)
    net = Codec(shape, inter)
    if inter:
        from pairs import pairs

        (states, known), (held, held_levels) = (
            pairs(args.data, args.work, part, args.tier) for part in ("train", "validation")
        )
        if args.closed:
            more, their = pairs(args.data, args.work, "train", args.tier, closed=True)
            states = [a + b for a, b in zip(states, more)]
            known = np.concatenate([known, their])
            held, held_levels = pairs(args.data, args.work, "validation", args.tier, closed=True)
        crops, held_out = Crops(states), Crops(held)
    else:
        from frames import photographs

        crops, known = Crops([stills(args.data, args.work)]), None
        held_out, held_levels = Crops([photographs(args.data, "validation")]), None
    state = {"round": 1, "elapsed": 0.0, "step": 0, "finished": False, "history": []}
    saved = None
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state = saved["state"]
        # Those of checkpoints/ have half precision, which is enough to go on from.
        saved["average"] = {name: value.float() for name, value in saved["average"].items()}
        if state["finished"]:
            net.load_state_dict(saved["average"])
            state |= {"round": state["round"] + 1, "elapsed": 0.0, "finished": False}
        else:
            net.load_state_dict(saved["weights"])
    net.to(device)
    random = np.random.default_rng([args.seed, state["round"], state["step"]])
    torch.manual_seed(args.seed + 1000 * state["round"] + state["step"])
    if saved is None and not inherit(net, args.work / f"codec-{args.tier}-intra.pt"):
        start(net, crops, device, random)
    source = saved["average"] if saved else net.state_dict()
    average = {k: v.to(device).clone() for k, v in source.items()}
    averaged = Codec(shape, inter).to(device)
    peak = args.lr or (1e-3 if state["round"] == 1 else 5e-4)
    # The transform begins as a good one: while nothing is known of how its coefficients are spread,
    # what the rate wants of it is to throw the fine ones away. So the hyperprior learns first.
    def kind_of(name):
        part = name.split(".")[0]
        if part in ("shift", "z_scale"):
            return "table"
        return "transform" if part.startswith("ga_") or part in ("gs_lin", "gain") else "other"

    named = list(net.named_parameters())
    kinds = [{"params": [p for n, p in named if kind_of(n) == k], "kind": k} for k in SPEEDS]
    optimiser = torch.optim.Adam(kinds, lr=peak, betas=(0.9, 0.99))
    if saved and not state["finished"] and state["elapsed"] > 0:
        optimiser.load_state_dict(saved["optimiser"])

    def save():
        part = checkpoint.with_suffix(".part")
        torch.save(
            {"state": state, "weights": net.state_dict(), "average": average, "optimiser": optimiser.state_dict()},
            part,
        )
        part.rename(checkpoint)

    def report():
        averaged.load_state_dict(average)
        print(f"round {state['round']} step {state['step']} {state['elapsed']:.0f} s  "
              f"{validate(averaged, held_out, held_levels, device)}", flush=True)

    report()
    length = args.minutes * 60
    last, saved_at = clock(), time.monotonic()
    while state["elapsed"] < length:
        progress = state["elapsed"] / length
        warm = min(1.0, progress / 0.01 + 0.05)
        rate = peak * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimiser.param_groups:
            speed = SPEEDS[group["kind"]]
            if group["kind"] == "transform":
                first = state["round"] == 1
                speed = LATER if not first else 0.0 if progress < FROZEN else speed
            group["lr"] = rate * speed
        found, picked = crops.sample(random, args.batch, args.patch, RECOLOURED)
        x, p = predictions(found, device)
        level = levels_of(known, picked, random).to(device)
        _, _, loss, _ = costs(net, x, p, level)
        # Fine levels and busy crops cost a hundred times as much: nearly the logarithm.
        loss = (loss / (loss.detach() + 0.02) ** 0.8).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        state["step"] += 1
        keep = 0.9995 if state["step"] > 2000 else 0.99
        with torch.no_grad():
            for name, value in net.state_dict().items():
                average[name].lerp_(value, 1 - keep)
        now = clock()
        state["elapsed"] += now - last
        last = now
        if time.monotonic() - saved_at > SAVE_SECONDS:
            saved_at = time.monotonic()
            save()
            report()
            last = clock()
    state["finished"] = True
    state["history"] = [*state["history"], {"minutes": args.minutes, "peak": peak, "step": state["step"]}]
    save()
    report()


if __name__ == "__main__":
    main()
