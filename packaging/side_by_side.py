#!/usr/bin/env python3
"""Puts a detail of one frame, scaled by bicubic, beside the same detail of an upscaled clip.

    side_by_side.py ORIGINAL UPSCALED PICTURE [--at SECONDS] [--box X,Y,W,H] [--zoom N]

The box is in pixels of the original. Without one, the busiest part of the frame is taken.
"""

import argparse
import pathlib

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

BAR_PX = 22


def frame_at(path: pathlib.Path, seconds: float) -> Image.Image:
    """The first frame whose time is not before `seconds` (the last one of a shorter clip)."""
    last = None
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        start = None
        for frame in container.decode(stream):
            start = frame.time if start is None else start
            last = frame
            if frame.time - start >= seconds - 1e-3:
                break
    if last is None:
        raise SystemExit(f"{path}: no frame could be decoded")
    return last.to_image()


def busiest_box(image: Image.Image, width: int, height: int) -> tuple[int, int, int, int]:
    """The box of that size with the most detail in it."""
    luma = np.asarray(image.convert("L"), dtype=np.float64)
    energy = np.zeros_like(luma)
    energy[:-1, :-1] = np.abs(np.diff(luma, axis=0))[:, :-1] + np.abs(np.diff(luma, axis=1))[:-1]
    total = np.pad(energy.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = (
        total[height:, width:] - total[:-height, width:] - total[height:, :-width]
        + total[:-height, :-width]
    )
    y, x = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(x), int(y), width, height


def labelled(image: Image.Image, text: str) -> Image.Image:
    """The picture with a bar over it that says what it is."""
    canvas = Image.new("RGB", (image.width, image.height + BAR_PX), "white")
    canvas.paste(image, (0, BAR_PX))
    draw = ImageDraw.Draw(canvas)
    draw.text((6, 3), text, fill="black", font=ImageFont.load_default(14))
    return canvas


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("original", type=pathlib.Path)
    parser.add_argument("upscaled", type=pathlib.Path)
    parser.add_argument("picture", type=pathlib.Path)
    parser.add_argument("--at", type=float, default=1.0)
    parser.add_argument("--box", type=lambda text: tuple(map(int, text.split(","))))
    parser.add_argument("--zoom", type=int, default=2, help="on top of the model's own scale")
    parser.add_argument("--label", default="nnupscale")
    args = parser.parse_args()

    small, large = frame_at(args.original, args.at), frame_at(args.upscaled, args.at)
    scale = large.width / small.width
    x, y, w, h = args.box or busiest_box(small, min(200, small.width), min(180, small.height))
    bicubic = small.resize(large.size, Image.Resampling.BICUBIC)
    box = tuple(round(v * scale) for v in (x, y, x + w, y + h))
    panels = []
    for image, text in ((bicubic, f"bicubic x{scale:g}"), (large, f"{args.label} x{scale:g}")):
        crop = image.crop(box)
        crop = crop.resize((crop.width * args.zoom, crop.height * args.zoom), Image.Resampling.NEAREST)
        panels.append(labelled(crop, text))
    canvas = Image.new("RGB", (panels[0].width * 2 + 4, panels[0].height), "white")
    canvas.paste(panels[0], (0, 0))
    canvas.paste(panels[1], (panels[0].width + 4, 0))
    args.picture.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(args.picture, optimize=True)


if __name__ == "__main__":
    main()
