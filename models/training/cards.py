"""Writes `models/cards/NAME.md` for every shipped model from its checkpoint and the figures.

python evaluate.py --data DIR --json work/results.json && python cards.py
"""

import argparse
import hashlib
import json
import subprocess
from pathlib import Path

import torch

from data import VALIDATION, WORK
from evaluate import MODELS, load
from export import LICENSE
from recipes import ALIASES, RECIPES

DATA = """\
20 photographs of 6 to 20 megapixels, {validation} of them held out for validation:
13 of budgie-backgrounds (CC0-1.0), 6 of elementary OS wallpapers (CC0 or the Unsplash or
Pexels licence) and 1 of Pop!_OS wallpapers (Unsplash, public domain by its README). No
benchmark image and no video clip was trained on.
"""

CLEAN = """\
Shrunk 2 to 4.8 times (sharp, free of noise), then halved with MATLAB's bicubic; 8-bit luma.
"""

COMPRESSED = """\
Clips of pans and zooms over the photographs (768x432, ten frames; some blurred, some with
grain), shrunk by {scale} with MATLAB's bicubic, encoded with x264 (three quarters) or x265
(one quarter) at CRF 18 to 36 and several presets, decoded; one clip in eight not encoded.
"""

ARCHITECTURE = """\
`Pad(edge)`, a {head}x{head} convolution{stride} to {channels} channels, {depth} 3x3
convolutions of {channels} channels with ReLU, a 3x3 convolution to {outputs} channels, plus
a {head}x{head} skip convolution (bicubic before training), `DepthToSpace` by {shuffle} (CRD).
{params} parameters, receptive radius {radius} input pixels{multiple}.
"""

USE = {
    "clean": "Sources that are sharp and nearly free of coding artefacts. On low bit rates it"
    " sharpens artefacts too: take the `-compressed` model there.",
    "compressed": "Sources that were coded with H.264 or H.265 (or alike). It removes some coding"
    " artefacts while it upscales, and is a little softer than `-clean` on pristine sources.",
}


def commands(name, history):
    """The training commands that made a checkpoint, its starting weights' first."""
    lines = []
    recipe = RECIPES[name]
    for entry in history:
        line = f"python train.py {name} --data DIR --minutes {entry['minutes']:g}"
        if entry["depth"] != recipe.shape.depth:
            line += f" --depth {entry['depth']}"
        note = f"; {entry['note']}" if "note" in entry else ""
        lines.append(f"{line}    # to step {entry['step']}, peak rate {entry['peak']:g}{note}")
    return lines


def quality(name, results):
    """The measured figures as markdown."""
    scale = RECIPES[name].shape.scale
    images = results[f"images-x{scale}"]
    lines = ["| set | bicubic, dB | this model, dB |", "|---|---:|---:|"]
    for key, value in images[name].items():
        lines.append(f"| {key} | {images['bicubic'][key]:.2f} | {value:.2f} |")
    text = "PSNR-Y, inputs made with MATLAB's bicubic:\n\n" + "\n".join(lines) + "\n"
    for key in sorted(results):
        if not key.startswith(f"clips-x{scale}-crf"):
            continue
        clips = results[key]
        gains = [clips[name][c][0] - clips["bicubic"][c][0] for c in clips["bicubic"]]
        flicker = [clips[name][c][1] / clips["bicubic"][c][1] for c in clips["bicubic"]]
        text += (
            f"\nNine clips shrunk by {scale} and coded with x264 at CRF {key.split('crf')[1]}:"
            f" {sum(gains) / len(gains):+.2f} dB over bicubic on average"
            f" ({min(gains):+.2f} to {max(gains):+.2f}); flicker"
            f" {sum(flicker) / len(flicker):.2f} times bicubic's.\n"
        )
    return text


def card(name, results, work, commit):
    """The card of one model."""
    recipe, path = RECIPES[name], MODELS / f"{name}.onnx"
    shape = recipe.shape
    saved = torch.load(work / f"{name}.pt", map_location="cpu", weights_only=True)["state"]
    lines = commands(name, saved["history"])
    if recipe.start:
        lines.insert(0, f"# starts from the weights of {recipe.start}: train that first")
    aliases = [alias for alias, target in ALIASES.items() if target == name]
    variant = CLEAN if recipe.variant == "clean" else COMPRESSED.format(scale=shape.scale)
    architecture = ARCHITECTURE.format(
        head=shape.head,
        stride=" of stride 2" if shape.stride == 2 else "",
        channels=shape.channels,
        depth=shape.depth,
        outputs=shape.planes * shape.shuffle**2,
        shuffle=shape.shuffle,
        params=f"{load(path).params:,}".replace(",", " "),
        radius=shape.radius,
        multiple="; width and height must be even" if shape.stride == 2 else "",
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    also = f" (also called {', '.join(f'`{a}`' for a in aliases)})" if aliases else ""
    body = "\n".join(lines)
    loss = "squared error" if recipe.variant == "clean" else "the logarithm of squared error"
    planes, half = shape.planes, recipe.half
    what = "Luma only" if planes == 1 else "RGB"
    given = "luma / 255 as\nit is stored (limited range stays limited). Chroma is the caller's business"
    given = given if planes == 1 else "R'G'B' / 255"
    where = "One GPU" if recipe.tier == "gpu" else "One CPU core"
    minutes = f"{where}, {saved['total'] / 60:.0f} minutes"
    minutes += f" after those of {recipe.start}" if recipe.start else ""
    return f"""# {name}

{recipe.description[0].upper()}{recipe.description[1:]}{also}. {what}, tier `{recipe.tier}`.

## Use

{USE[recipe.variant]}

Input `[N, {planes}, H, W]` and output `[N, {planes}, {shape.scale}H, {shape.scale}W]`, float{16 if half else 32}: {given}.

## Network

{architecture}
## Data

{DATA.format(validation=len(VALIDATION))}
{variant}
## Recipe

Charbonnier loss first, then {loss}; Adam, cosine from the peak rate; batches of 16
patches of 48x48 input pixels, flipped and turned; averaged weights (0.999). {minutes}.

```
{body}
python export.py {name}
```

Code: `models/training` at commit {commit}.

## Quality

{quality(name, results)}
Reproduce: `python evaluate.py --data DIR` (`docs/results/models.md`).

## Licence and file

Weights: {LICENSE}. `{path.name}`, SHA-256 {digest}
"""


def main():
    """Writes the cards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--results", type=Path, default=WORK / "results.json")
    args = parser.parse_args()
    results = json.loads(args.results.read_text())
    answer = subprocess.run(
        ["git", "log", "-1", "--format=%h", "--", "models/training"],
        cwd=MODELS.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    folder = MODELS / "cards"
    folder.mkdir(exist_ok=True)
    for name in (n for n in RECIPES if (MODELS / f"{n}.onnx").exists()):
        (folder / f"{name}.md").write_text(card(name, results, args.work, answer.stdout.strip()))


if __name__ == "__main__":
    main()
