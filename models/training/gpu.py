"""Trains what a pack holds on a machine that has nothing but Python, PyTorch and numpy.

    python gpu.py PACK.tar --minutes 25 --stop 8.5 --out DIR [--resume DIR2]

`pack.py` makes the pack. `--minutes` is the length of the whole training (a pass of the codec's
recipe, a round of an upscaler), `--stop` that of this call; another call with `--resume`, the
folder of what the last one left, goes on. What is left is at most 7 files of 15 MiB and a log.

    python gpu.py --collect DIR --work work

puts that into a folder of work at home, where `export.py` makes a model of it.
"""

import argparse
import io
import json
import os
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

PART = 15 * 2**20
PARTS = 7
NAME = "state.tar"


def arguments(given=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path, nargs="?", help="what pack.py made")
    parser.add_argument("--minutes", type=float, default=25, help="length of the training")
    parser.add_argument("--stop", type=float, default=8.5, help="length of this call, after preparing")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/gst-neural-training"), help="unpacked here")
    parser.add_argument("--out", type=Path, help="where what is left is put")
    parser.add_argument("--resume", type=Path, help="what an earlier call left")
    parser.add_argument("--collect", type=Path, help="what a call left, to be put into --work")
    parser.add_argument("--work", type=Path, default=Path(__file__).resolve().parent / "work")
    parser.add_argument("--with", dest="rest", default="", help="options of recipe.py or train.py, in quotes")
    return parser.parse_args(given)


def keep(work, out, log):
    """Writes checkpoints and plans, slim and in parts, and the log."""
    from pack import slim

    out.mkdir(parents=True, exist_ok=True)
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for path in sorted([*work.glob("*.pt"), *work.glob("recipe-*.json")]):
            data = slim(path) if path.suffix == ".pt" else path.read_bytes()
            entry = tarfile.TarInfo(path.name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    data = whole.getvalue()
    if len(data) > PART * PARTS:
        raise SystemExit(f"{len(data)} bytes are more than {PARTS} parts: train one kind of networks a call")
    for n in range(-(-len(data) // PART)):
        (out / f"{NAME}.{n:02}").write_bytes(data[n * PART : (n + 1) * PART])
    (out / "training.log").write_text(log)


def collect(folder, work):
    """Puts what a call left into a folder of work."""
    parts = sorted(folder.glob(f"{NAME}.*"))
    if not parts:
        raise SystemExit(f"{folder} has no {NAME}.00: it is not what a call left")
    work.mkdir(parents=True, exist_ok=True)
    data = b"".join(part.read_bytes() for part in parts)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        tar.extractall(work, filter="data")


def unpack(pack, folder):
    """Unpacks, once; what the pack is for."""
    mark = folder / "pack.json"
    if not mark.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(pack) as tar:
            # The mark comes last: it says that all is there.
            tar.extractall(folder, [m for m in tar.getmembers() if m.name != mark.name], filter="data")
            tar.extract(mark.name, folder, filter="data")
    return json.loads(mark.read_text())


def prepare_pairs(folder, name):
    """The cache that `degrade.compressed_pairs` reads."""
    import numpy as np

    from degrade import cache_of
    from pack import unpacked
    from recipes import RECIPES

    shape = RECIPES[name].shape
    for split in ("train", "validation"):
        cache = cache_of(split, shape.scale, folder / "work", shape.planes)
        if cache.exists():
            continue
        both = [sorted((folder / "pairs" / split).glob(f"*.{side}.*")) for side in ("low", "high")]
        lr, hr = (np.stack([unpacked(path.read_bytes()) for path in paths]) for paths in both)
        np.savez(cache, lr=lr, hr=hr)


def prepare_codec(folder, known, device):
    """The caches of stills, pairs and sequences."""
    import numpy as np
    import torch

    from checkpoints import load_average
    from frames import photographs, write_stills
    from pack import planes_of, unpacked
    from pairs import coded, write_pairs
    from sequences import FRAMES, write_sequences
    from warp import chroma, luma

    work, name = folder / "work", known["name"]
    if (work / f"codec-{name}-sequences-train.npz").exists():
        return
    net = load_average(work / f"codec-{known['tier']}-intra.pt").to(device)
    firsts = []
    for split in ("validation", "train"):
        made, sources, predictions, levels = [], [], [], []
        for path in sorted((folder / "sequences" / split).glob("*.vectors.npz")):
            stem = path.name.removesuffix(".vectors.npz")
            level = int(stem.split(".")[1])
            pictures = [path.with_name(f"{stem}.{n}.jpg").read_bytes() for n in range(FRAMES + 1)]
            frames = [tuple(planes_of(unpacked(picture))) for picture in pictures]
            with np.load(path) as arrays:
                fields = arrays["values"]
            references = [coded(net, planes, level) for planes in frames[:-1]]
            made.append((frames, references, list(fields), level))
            firsts += [frames[0]] if split == "train" else []
            # One pair of each sequence in its middle, and two at its ends.
            for n in (0, FRAMES // 2, FRAMES - 1):
                vectors = torch.from_numpy(fields[n])[None].long()
                planes = []
                for plane, compensate in zip(references[n], (luma, chroma, chroma)):
                    whole = torch.from_numpy(np.ascontiguousarray(plane))[None].float()
                    planes.append(compensate(whole, vectors, 0, *plane.shape)[0].byte().numpy())
                sources.append(frames[n + 1])
                predictions.append(tuple(planes))
                levels.append(level)
        write_pairs(work / f"codec-{name}-pairs-{split}.npz", sources, predictions, levels)
        write_sequences(work / f"codec-{name}-sequences-{split}.npz", made)
    write_stills(work / "codec-stills.npz", photographs(folder / "data", "train") + firsts)


def command(known, args, folder):
    """What trains."""
    programs = folder / "training"
    common = ["--data", folder / "data", "--work", folder / "work", "--minutes", args.minutes]
    common += ["--stop", args.stop, "--device", args.device, *shlex.split(args.rest)]
    if known["what"] == "sr":
        return [sys.executable, programs / "train.py", known["name"], *common]
    start = known["tier"] if known["tier"] != known["name"] else None
    common += ["--from", start] if start else []
    return [sys.executable, programs / "codec" / "recipe.py", known["name"], *common, "--no-seal"]


def main():
    """Prepares, trains and leaves what is needed to go on."""
    args = arguments()
    if args.collect:
        collect(args.collect, args.work)
        return
    if not args.pack or not args.out:
        raise SystemExit("a pack and --out DIR are needed (or --collect DIR)")
    known = unpack(args.pack, args.folder)
    sys.path[:0] = [str(args.folder / "training" / "codec"), str(args.folder / "training")]
    work = args.folder / "work"
    work.mkdir(exist_ok=True)
    if args.resume:
        collect(args.resume, work)
    if known["what"] == "sr":
        prepare_pairs(args.folder, known["name"])
    else:
        # The codec's programs first: some have names of the others'.
        import torch

        device = "cuda" if args.device != "cpu" and torch.cuda.is_available() else "cpu"
        prepare_codec(args.folder, known, device)
    run = [str(part) for part in command(known, args, args.folder)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    lines = []
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as child:
        for line in child.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    log = "".join(lines)
    keep(work, args.out, log)
    if child.returncode and "stopped as asked" not in log:
        raise SystemExit(child.returncode)


if __name__ == "__main__":
    main()
