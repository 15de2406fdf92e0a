"""The whole way to a tier's model file, by one command that can be interrupted and repeated.

    python codec/recipe.py small --data DIR --minutes 120 --device auto

Stages and their shares of the time: intra 40 %, inter 25 %, unrolled 15 %, quantisation-aware
20 % (a third of it for intra). Then the model file is written and sealed. Where it stands is kept
in `WORK/recipe-TIER.json`; the same command goes on from there, within a stage too. When all is
done, it begins the next pass, at lower rates.
"""

import argparse
import json
import subprocess
from pathlib import Path

from checkpoints import read
from export import export
from freeze import freeze
from nets import TIERS
from roundtrip import program
from train import Options, Round, add_common

SHARES = (
    ("intra", 0.40),
    ("inter", 0.25),
    ("unrolled", 0.15),
    ("intra-quantised", 0.07),
    ("inter-quantised", 0.13),
)


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tier", choices=sorted(TIERS))
    parser.add_argument("--data", type=Path, required=True, help="folder that holds train/ and video/")
    add_common(parser)
    parser.add_argument("--out", type=Path, help="model file (default: WORK/TIER.gnm)")
    parser.add_argument("--no-seal", action="store_true", help="leave the conformance vectors out")
    parser.set_defaults(minutes=120)
    return parser.parse_args()


class Plan:
    """Which stages of which pass are done."""

    def __init__(self, path):
        self.path = path
        self.known = {"pass": 1, "done": [], "scores": {}}
        if path.exists():
            self.known = json.loads(path.read_text())

    def save(self):
        """Writes it in one go."""
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.known, indent=1))
        part.rename(self.path)

    def next_pass(self):
        """Begins another pass."""
        self.known |= {"pass": self.known["pass"] + 1, "done": [], "round": None}
        self.save()


def finished(begun, options):
    """Whether the round that was begun last is one of this stage and done, though not noted yet."""
    if not options.checkpoint.exists():
        return False
    state = read(options.checkpoint)["state"]
    return state["finished"] and begun == [options.stage, state["round"]] and state.get("stage") == options.stage


def seal(path):
    """Puts the conformance vectors in."""
    how = "cargo build --release -p gstneural-codec --example seal_model"
    subprocess.run([program("examples/seal_model", how), path], check=True)


def main():
    """Runs what is left of the pass, and writes the model."""
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    if not args.no_seal:
        # Better now than after hours.
        program("examples/seal_model", "cargo build --release -p gstneural-codec --examples")
    plan = Plan(args.work / f"recipe-{args.tier}.json")
    if len(plan.known["done"]) == len(SHARES):
        plan.next_pass()
    common = {k: v for k, v in vars(args).items() if k not in ("minutes", "out", "no_seal")}
    for stage, share in SHARES:
        if stage in plan.known["done"]:
            continue
        options = Options(stage=stage, minutes=args.minutes * share, **common)
        if not finished(plan.known.get("round"), options):
            current = Round(options)
            plan.known["round"] = [stage, current.state["round"]]
            plan.save()
            current.run()
            plan.known["scores"].setdefault(stage, []).append(options.log[-1])
        plan.known["done"].append(stage)
        plan.save()
    for kind in ("intra", "inter"):
        print(freeze(args.tier, kind, args.data, args.work))
    out = args.out or args.work / f"{args.tier}.gnm"
    print(export(args.tier, args.work, out))
    if not args.no_seal:
        seal(out)


if __name__ == "__main__":
    main()
