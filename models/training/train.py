"""Trains one model, in rounds of a given length; interrupted rounds go on where they stopped.

    python train.py luma-x2-clean --data DIR --minutes 15

A round is a cosine from the peak learning rate to nearly nothing. Running the
command again after a finished round starts another one from the averaged weights
(a warm restart, at half the peak); after an interrupted one, it ends that one.
"""

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from data import WORK, clean_pairs
from nets import UpscaleNet, grow
from recipes import RECIPES

BEGAN = time.monotonic()
CHECKPOINT_SECONDS = 60
VALIDATED = 16
"""Images that a validation looks at, at most."""


def parse_args():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=sorted(RECIPES))
    parser.add_argument("--data", required=True, help="folder that holds train/")
    parser.add_argument("--minutes", type=float, default=15, help="length of this round")
    parser.add_argument("--stop", type=float, default=0, help="leave after so many minutes")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: torch's choice)")
    parser.add_argument("--lr", type=float, default=0, help="peak learning rate (0: by round)")
    parser.add_argument(
        "--depth",
        type=int,
        default=0,
        help="train a shallower net; a later round without it deepens that one",
    )
    parser.add_argument("--batch", type=int, default=0, help="patches a step (0: 16, on a GPU 64)")
    parser.add_argument("--patch", type=int, default=48, help="side in input pixels")
    parser.add_argument("--compile", action="store_true", help="torch.compile (CUDA: with CUDA graphs)")
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "mixed"),
        default="auto",
        help="mixed: bf16 convolutions, but the first and the last (auto: on a GPU)",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=WORK, help="caches and checkpoints")
    return parser.parse_args()


def charbonnier(error, epsilon=2e-3):
    """A smooth absolute error."""
    return torch.sqrt(error * error + epsilon * epsilon).mean()


def decibels(error, floor=(0.7 / 255) ** 2):
    """The mean over patches of the logarithm of the squared error: (negative) PSNR.

    Squared error alone is decided by the busiest patches; video is mostly calm ones.
    """
    return torch.log(error.square().mean((1, 2, 3)) + floor).mean()


@torch.no_grad()
def validate(net, pairs, device, tile=192):
    """Mean PSNR of the net and of the bicubic skip on the held-out planes, in dB."""
    ours, reference = [], []
    start = UpscaleNet(net.shape).to(device)

    def planes(image):
        image = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
        return torch.from_numpy(image.astype(np.float32) / 255)[None].to(device)

    for index in np.unique(np.linspace(0, len(pairs.lr) - 1, VALIDATED).astype(int)):
        low, high = pairs.lr[index], pairs.hr[index]
        x = planes(low[:tile, :tile])
        target = planes(high[: tile * pairs.scale, : tile * pairs.scale])
        for model, scores in ((net, ours), (start, reference)):
            # Rounded as it will be: that costs more than a network of scale 1 may gain.
            y = (model(x).clamp(0, 1) * 255).round() / 255
            error = (y - target)[..., 8:-8, 8:-8]
            scores.append(-10 * math.log10(error.square().mean().item() + 1e-12))
    return float(np.mean(ours)), float(np.mean(reference))


def load_pairs(recipe, data, work, device):
    """Training and validation pairs of a recipe."""
    scale, planes = recipe.shape.scale, recipe.shape.planes
    both = ("train", "validation")
    if recipe.variant == "decoded":
        from refine import decoded_pairs

        return tuple(decoded_pairs(data, part, work, device=device) for part in both)
    if recipe.variant == "clean":
        return tuple(clean_pairs(data, part, scale, work, planes, device) for part in both)
    from degrade import compressed_pairs

    return tuple(compressed_pairs(data, part, scale, work, 1, planes, device) for part in both)


def initial_weights(recipe, work):
    """The averaged weights that a fine-tuned recipe starts from."""
    source = work / f"{recipe.start}.pt"
    if not source.exists():
        raise SystemExit(f"{source} is missing: train {recipe.start} first")
    return torch.load(source, map_location="cpu", weights_only=True)["average"]


def main():
    """Runs one round."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    cuda = device == "cuda"
    batch = args.batch or (64 if cuda else 16)
    if cuda:
        # The skip carries the picture: it needs all digits. The chain beside it has bf16.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
    recipe = RECIPES[args.model]
    args.work.mkdir(parents=True, exist_ok=True)
    checkpoint = args.work / f"{args.model}.pt"

    shape = recipe.shape
    if args.depth:
        shape = replace(shape, depth=args.depth)
    net = UpscaleNet(shape)
    state = {"round": 1, "elapsed": 0.0, "step": 0, "total": 0.0, "finished": False}
    optimiser_state = None
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state = saved["state"]
        if state["finished"]:
            saved["average"] = grow(saved["average"], shape)
            net.load_state_dict(saved["average"])
            state |= {"round": state["round"] + 1, "elapsed": 0.0, "finished": False}
        else:
            net.load_state_dict(saved["weights"])
            optimiser_state = saved["optimiser"]
        average = saved["average"]
    else:
        if recipe.start:
            net.load_state_dict(grow(initial_weights(recipe, args.work), shape))
        average = None
    net.to(device)
    net.mixed = {"auto": cuda, "fp32": False, "mixed": True}[args.precision]
    if args.compile:
        net.compile(mode="reduce-overhead" if cuda else "default")
    if average is None:
        average = net.state_dict()
    parameters = dict(net.named_parameters())
    average = {k: average[k].to(device).clone() for k in parameters}
    parameters, averages = list(parameters.values()), list(average.values())
    averaged = UpscaleNet(shape).to(device)

    warm = state["round"] > 1 or recipe.start is not None
    peak = args.lr or (1e-3 if warm else 2e-3)
    optimiser = torch.optim.Adam(net.parameters(), lr=peak, betas=(0.9, 0.99), fused=cuda)
    if optimiser_state:
        optimiser.load_state_dict(optimiser_state)

    train, validation = load_pairs(recipe, args.data, args.work, device)
    generator = torch.Generator(device)
    generator.manual_seed(args.seed + 1000 * state["round"] + state["step"])
    length = args.minutes * 60
    print(f"{args.model}: round {state['round']}, peak {peak:g}, {device}", flush=True)

    def save():
        part = checkpoint.with_suffix(".part")
        torch.save(
            {
                "state": state,
                "weights": net.state_dict(),
                "average": average,
                "optimiser": optimiser.state_dict(),
            },
            part,
        )
        part.rename(checkpoint)

    def report():
        averaged.load_state_dict(average)
        ours, bicubic = validate(averaged, validation, device)
        print(
            f"round {state['round']} step {state['step']} {state['elapsed']:.0f} s"
            f" validation {ours:.3f} dB, bicubic {ours - bicubic:+.3f}",
            flush=True,
        )

    last_save = last_tick = time.monotonic()
    while state["elapsed"] < length:
        progress = state["elapsed"] / length
        warmup = min(1.0, progress / 0.02 + 0.05)
        rate = peak * warmup * (0.003 + 0.997 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        low, high = train.sample(generator, batch, args.patch)
        if device == "cpu" or net.mixed:
            low = low.contiguous(memory_format=torch.channels_last)
        error = net(low) - high
        # Charbonnier finds good edges; the measure is PSNR, so the end is squared error.
        if progress < (0.6 if state["round"] == 1 else 0.2):
            loss = charbonnier(error)
        elif recipe.variant != "clean":
            loss = decibels(error) * 0.02
        else:
            loss = error.square().mean() * 20
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimiser.step()
        state["step"] += 1
        keep = 0.999 if state["step"] > 1000 else 0.98
        with torch.no_grad():
            torch._foreach_lerp_(averages, parameters, 1 - keep)
        now = time.monotonic()
        state["elapsed"] += now - last_tick
        state["total"] += now - last_tick
        last_tick = now
        if args.stop and now - BEGAN > args.stop * 60:
            save()
            report()
            raise SystemExit("stopped as asked; the same command goes on from here")
        if now - last_save > CHECKPOINT_SECONDS:
            save()
            report()
            last_save = last_tick = time.monotonic()
    state["finished"] = True
    record = {"minutes": args.minutes, "peak": peak, "depth": shape.depth, "step": state["step"]}
    state["history"] = [*state.get("history", []), record]
    save()
    report()


if __name__ == "__main__":
    main()
