"""Trains the networks of the lossy profiles, stage by stage, and goes on where it stopped.

    python codec/train.py small --data DIR --minutes 50

Stages (`recipe.py` runs them all):

    intra             stills
    inter             frames with their motion-compensated predictions (`pairs.py`)
    unrolled          inter networks on frames in a row that they made themselves (`sequences.py`)
    intra-quantised   as intra, computed as the integers will be, with the encoder's choices
    inter-quantised   as unrolled, likewise

A round is a cosine of the learning rate over its minutes of CPU time (GPU: of the clock); a
finished one is followed by another, at a lower peak. `export.py` writes the model file.
"""

import argparse
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from checkpoints import WORK, begin, described, load_average, read, shape_of, write
from frames import photographs, stills
from nets import GROUPS, TIERS, UNIT, Codec
from pairs import pairs
from tasks import Pictures, Unrolled, units

BEGAN = time.monotonic()
SAVE_SECONDS = 120
SETTLE_STEPS = 50
"""Steps after which layers may need other shifts."""
SPEEDS = {"other": 1.0, "table": 5.0, "transform": 0.15}
"""Learning rates over the round's."""
FROZEN = 0.35
"""The part of the first round in which the transform stays what it was."""
LATER = 0.4
"""The transform's in later rounds, when the hyperprior is no longer surprised."""
PEAKS = {"intra": 5e-4, "inter": 5e-4, "unrolled": 3e-4, "intra-quantised": 2e-4, "inter-quantised": 2e-4}
"""Peaks of later rounds and of wider networks; that of a first round is 1e-3."""


@dataclass
class Options:
    """One round."""

    tier: str
    stage: str
    data: Path
    work: Path = WORK
    minutes: float = 50
    device: str = "auto"
    threads: int = 1
    batch: int = 0
    patch: int = 128
    lr: float = 0
    seed: int = 1
    closed: bool = False
    anew: bool = False
    start: str | None = None
    teacher: str | None = None
    compile: bool = False
    precision: str = "auto"
    stop: float = 0
    log: list = field(default_factory=list)

    @property
    def kind(self):
        """Which networks: `intra` or `inter`."""
        return "inter" if self.stage in ("inter", "unrolled", "inter-quantised") else "intra"

    @property
    def checkpoint(self):
        """The file of the networks."""
        return Path(self.work) / f"codec-{self.tier}-{self.kind}.pt"


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tier", choices=sorted(TIERS))
    parser.add_argument("--data", type=Path, required=True, help="folder that holds train/ and video/")
    parser.add_argument("--stage", choices=tuple(PEAKS), default="intra")
    parser.add_argument(
        "--closed", action="store_true", help="inter: also on frames that the codec itself decoded"
    )
    parser.add_argument("--anew", action="store_true", help="give an unfinished round up for another")
    add_common(parser)
    parser.add_argument("--lr", type=float, default=0, help="peak learning rate (0: by stage and round)")
    parser.add_argument("--seed", type=int, default=1)
    return Options(**vars(parser.parse_args()))


def add_common(parser):
    """Arguments that `recipe.py` has too."""
    parser.add_argument("--minutes", type=float, default=50, help="length of what is to be done")
    parser.add_argument("--stop", type=float, default=0, help="leave after so many minutes of the clock")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--batch", type=int, default=0, help="crops a step (0: 8, on a GPU 96)")
    parser.add_argument("--patch", type=int, default=128, help="side of a crop, a multiple of 64")
    parser.add_argument("--work", type=Path, default=WORK, help="caches and checkpoints")
    parser.add_argument("--from", dest="start", choices=sorted(TIERS), help="a smaller tier to begin from")
    parser.add_argument("--teacher", choices=sorted(TIERS), help="a larger tier to learn from")
    parser.add_argument("--compile", action="store_true", help="torch.compile (CUDA: with CUDA graphs)")
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "mixed"),
        default="auto",
        help="mixed: bf16 in the trunks (auto: on a GPU; quantised stages never)",
    )


def task_of(options, device):
    """What a stage trains on."""
    data, work, tier = options.data, options.work, options.tier
    if options.stage in ("unrolled", "inter-quantised"):
        return Unrolled.of(data, work, tier, device)
    if options.kind == "intra":
        return Pictures([stills(data, work)], [photographs(data, "validation")], device=device)
    (states, known), (held, held_levels) = (
        pairs(data, work, part, tier) for part in ("train", "validation")
    )
    if options.closed:
        more, their = pairs(data, work, "train", tier, closed=True)
        states = [a + b for a, b in zip(states, more)]
        known = np.concatenate([known, their])
        held, held_levels = pairs(data, work, "validation", tier, closed=True)
    return Pictures(states, held, known, held_levels, device)


@torch.no_grad()
def first_scales(net, task, generator):
    """Sets the first scales of the latents to those of the data."""
    found, _ = task.crops.sample(generator, 64, 128)
    x, p = units(found[0]), units(found[1]) if len(found) > 1 else None
    y = net.analysis(x, p, torch.zeros(len(x), dtype=torch.long, device=x.device)) * UNIT
    mean = y.abs().mean((0, 1, 2)).clamp(min=0.04) * 0.7
    for head, part in zip(net.hs_heads, mean.split(GROUPS)):
        head.scale.bias.copy_((47 / 10 * torch.log2(part / 0.04)) / 8)


def kind_of(name):
    """Which learning rate a parameter has."""
    part = name.split(".")[0]
    if part in ("shift", "z_scale"):
        return "table"
    return "transform" if part.startswith("ga_") or part in ("gs_lin", "gain") else "other"


class Round:
    """Networks, their average and optimiser on their way through a round."""

    def __init__(self, options):
        self.options = options
        torch.set_num_threads(options.threads)
        self.device = options.device
        if self.device == "auto":
            self.device = "cuda" if torch.cuda.is_available() else "cpu"
        cuda = self.device == "cuda"
        if cuda:
            # Rates and transforms need all digits of single precision; the trunks have bf16.
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.batch = options.batch or (96 if cuda else 8)
        self.clock = time.monotonic if cuda else time.process_time
        options.work.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(options.seed)
        saved = read(options.checkpoint) if options.checkpoint.exists() else None
        self.shape = shape_of(saved, options.tier) if saved else TIERS[options.tier]
        self.net = Codec(self.shape, options.kind == "inter")
        self.state = {"round": 1, "elapsed": 0.0, "step": 0, "finished": False, "history": []}
        begun = self._begin(saved)
        self.state |= {"stage": options.stage, "shape": described(self.shape)}
        self.net.to(self.device)
        self.task = task_of(options, self.device)
        step = self.state["step"]
        seed = options.seed + 1000 * self.state["round"] + step
        self.generator = torch.Generator(self.device).manual_seed(seed)
        torch.manual_seed(seed)
        if not begun:
            first_scales(self.net, self.task, self.generator)
        named = list(self.net.named_parameters())
        source = saved["average"] if saved else dict(self.net.state_dict())
        self.average = {n: source[n].to(self.device).clone() for n, _ in named}
        self.averaged = Codec(self.shape, options.kind == "inter").to(self.device)
        self.teacher = self._teacher()
        self.fresh = self.state["round"] == 1 and not self.state.get("widened")
        self.peak = options.lr or (1e-3 if self.fresh else PEAKS[options.stage])
        kinds = [{"params": [p for n, p in named if kind_of(n) == k], "kind": k} for k in SPEEDS]
        self.optimiser = torch.optim.Adam(kinds, lr=self.peak, betas=(0.9, 0.99), fused=cuda)
        if saved and self.state["elapsed"] > 0:
            self.optimiser.load_state_dict(saved["optimiser"])
        self.quantised = options.stage.endswith("quantised")
        mixed = {"auto": cuda, "fp32": False, "mixed": True}[options.precision]
        self.net.mixed = mixed and not self.quantised
        if options.compile and not self.quantised:
            self.net.compile(mode="reduce-overhead" if cuda else "default")

    def _begin(self, saved):
        """Weights and state to begin or go on with; whether there were any."""
        options = self.options
        if saved is None:
            weights = begin(options.tier, options.kind, options.work, options.start)
            if weights is None:
                return False
            self.net.load_state_dict(weights)
            self.state["widened"] = bool(options.start)
            return True
        self.state = saved["state"]
        before = self.state.get("stage", options.kind)
        if self.state["finished"] or options.anew:
            self.net.load_state_dict(saved["average"])
            self.state |= {"round": self.state["round"] + 1, "elapsed": 0.0, "finished": False}
        elif before != options.stage:
            raise SystemExit(
                f"{options.checkpoint} is within a round of stage {before}: finish that (--stage {before}), "
                "or give it up (--anew)"
            )
        else:
            self.net.load_state_dict(saved["weights"])
        return True

    def _teacher(self):
        options = self.options
        if not options.teacher:
            return None
        path = Path(options.work) / f"codec-{options.teacher}-{options.kind}.pt"
        if not path.exists():
            raise SystemExit(f"{path} is missing: train tier {options.teacher} first")
        return load_average(path).to(self.device).eval().requires_grad_(False)

    def save(self):
        """Writes the checkpoint."""
        content = {"state": self.state, "weights": self.net.state_dict(), "average": self.average}
        write(self.options.checkpoint, content | {"optimiser": self.optimiser.state_dict()})

    def report(self):
        """Validates the average: a line for the log."""
        self.averaged.load_state_dict(self.average)
        self.averaged.whole(self.quantised)
        score, line = self.task.validate(self.averaged)
        s = self.state
        print(f"{s['stage']} round {s['round']} step {s['step']} {s['elapsed']:.0f} s  {score:.4f}   {line}", flush=True)
        self.options.log.append(score)

    def rates(self, progress):
        """Sets the learning rates."""
        # What has learned much has more to lose while the optimiser knows nothing of its slopes.
        warm = min(1.0, progress / (0.01 if self.fresh else 0.05) + 0.05)
        rate = self.peak * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in self.optimiser.param_groups:
            speed = SPEEDS[group["kind"]]
            if group["kind"] == "transform":
                # The transform begins as a good one: while nothing is known of how its coefficients
                # are spread, what the rate wants of it is to throw the fine ones away. So the
                # hyperprior learns first.
                speed = LATER if not self.fresh else 0.0 if progress < FROZEN else speed
            group["lr"] = rate * speed

    def run(self):
        """Trains until the round's time is up."""
        state, length = self.state, self.options.minutes * 60
        parameters, average = list(self.net.parameters()), list(self.average.values())
        self.report()
        last, saved_at = self.clock(), time.monotonic()
        while state["elapsed"] < length:
            self.rates(state["elapsed"] / length)
            if self.quantised and state["step"] % SETTLE_STEPS == 0 or self.quantised != self.net.integers:
                self.net.whole(self.quantised)
            loss = self.task.loss(self.net, self.generator, self.batch, self.options.patch, self.teacher)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            self.optimiser.step()
            state["step"] += 1
            keep = 0.9995 if state["step"] > 2000 else 0.99
            with torch.no_grad():
                torch._foreach_lerp_(average, parameters, 1 - keep)
            now = self.clock()
            state["elapsed"] += now - last
            last = now
            if self.options.stop and time.monotonic() - BEGAN > self.options.stop * 60:
                self.save()
                self.report()
                raise SystemExit("stopped as asked; the same command goes on from here")
            if time.monotonic() - saved_at > SAVE_SECONDS:
                saved_at = time.monotonic()
                self.save()
                self.report()
                last = self.clock()
        state["finished"] = True
        record = {"stage": state["stage"], "minutes": self.options.minutes, "peak": self.peak, "step": state["step"]}
        state["history"] = [*state["history"], record]
        self.save()
        self.report()


def main():
    """Runs one round of one stage."""
    Round(arguments()).run()


if __name__ == "__main__":
    main()
