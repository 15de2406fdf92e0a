#!/usr/bin/env python3
"""Measures, and writes docs/results.   run.py [upscale|quality|all] [--rounds N] [--out FILE]

run.py s3 [...] measures S3 instead, and writes docs/results/s3.md.
"""

import argparse
import datetime
import os
import pathlib
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench import measure, quality  # noqa: E402  (the path comes first)
from support.paths import MODELS, ROOT  # noqa: E402

PRESET, CRF = "veryfast", 20


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def median(values: list[float]) -> float:
    return statistics.median(values)


def shipped(rounds: int) -> list[str]:
    """Each shipped model: the element, the bare session, their ratio."""
    rows = ["| model | element, fps | bare session, fps | ratio | p50 in the network |", "|---|---|---|---|---|"]
    for model in sorted(MODELS.glob("*.onnx")):
        say(f"{model.stem}: element and bare session, {rounds} rounds")
        frames = measure.clip_frames(16 if "x4" in model.stem else 40)
        stats: list[dict[str, object]] = []

        def element(name: str = model.stem, given: object = frames) -> float:
            fps, seen = measure.element_fps(f"model={name}", given)
            stats.append(seen)
            return fps

        ours, bare = measure.interleaved(rounds, element, lambda m=model, f=frames: measure.bare_fps(m, f))
        p50 = median([float(s["inference-p50-ns"]) for s in stats]) / 1e6
        rows.append(
            f"| {model.stem} | {median(ours):.1f} | {median(bare):.1f} | "
            f"**{measure.ratio(ours, bare):.2f}** | {p50:.1f} ms |"
        )
    return rows


def whole(rounds: int, folder: pathlib.Path) -> list[str]:
    """The program against the same job in Python."""
    rows = ["| model | gst-neural, s | Python, s | times faster |", "|---|---|---|---|"]
    for name in ("luma-x2-fast-compressed", "luma-x2-compressed"):
        say(f"{name}: the program and the Python pipeline, {rounds} rounds")
        ours, python = measure.interleaved(
            rounds,
            lambda n=name: measure.program_seconds(n, folder / "ours.mkv", PRESET, CRF),
            lambda n=name: measure.python_seconds(MODELS / f"{n}.onnx", folder / "python.mkv", PRESET, CRF),
        )
        rows.append(
            f"| {name} | {median(ours):.2f} | {median(python):.2f} | **{measure.ratio(python, ours):.2f}** |"
        )
    return rows


def reuse(rounds: int) -> list[str]:
    """A picture that stands still but for a corner, with tiles and without."""
    say(f"tile reuse, {rounds} rounds")
    frames = measure.still_with_a_clock(40)
    seen: list[dict[str, object]] = []

    def tiled() -> float:
        fps, stats = measure.element_fps("model=luma-x2 tile=128", frames)
        seen.append(stats)
        return fps

    with_tiles, without = measure.interleaved(
        rounds, tiled, lambda: measure.element_fps("model=luma-x2 tile=0", frames)[0]
    )
    part = float(seen[-1]["tiles-reused"]) / max(1.0, float(seen[-1]["tiles"]))
    return [
        "| tile=128, fps | tile=0, fps | times faster | tiles reused |", "|---|---|---|---|",
        f"| {median(with_tiles):.1f} | {median(without):.1f} | "
        f"**{measure.ratio(with_tiles, without):.2f}** | {part:.0%} |",
    ]


def memory() -> list[str]:
    """Peak resident size of whole processes."""
    rows = ["| input | model | peak, MB |", "|---|---|---|"]
    for width, height in ((640, 360), (1920, 1080)):
        for name in ("luma-x2-fast", "luma-x2"):
            say(f"memory: {width}x{height} {name}")
            peak = measure.peak_megabytes(
                f"videotestsrc num-buffers=6 ! video/x-raw,format=I420,width={width},height={height}"
                f" ! nnupscale model={name} ! fakesink"
            )
            rows.append(f"| {width}x{height} | {name} | {peak:.0f} |")
    return rows


RESULTS = ROOT / "docs" / "results"


def main() -> None:
    if sys.argv[1:2] == ["s3"]:
        from bench import s3

        s3.main(sys.argv[2:])
        return
    if sys.argv[1:2] == ["live"]:
        from bench import live

        live.main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=["upscale", "quality", "all"], default="all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path, help="instead of docs/results; not with `all`")
    args = parser.parse_args()
    if args.out and args.what == "all":
        parser.error("--out needs one of upscale, quality")
    if args.what in ("upscale", "all"):
        upscale(args.rounds, args.out or RESULTS / "upscale.md")
    if args.what in ("quality", "all"):
        quality.write(args.rounds, args.out or RESULTS / "quality.md")


def upscale(rounds: int, out: pathlib.Path) -> None:
    """What an upscaled frame costs."""
    load = os.getloadavg()[0]
    if load > 1:
        say(f"the load is {load:.1f}: absolute figures will be low; ratios are of interleaved runs")
    with tempfile.TemporaryDirectory() as folder:
        sections = [
            ("The element against the bare session",
             "640x360 to twice (or four times) that, I420 frames of `examples/media/rooftop_360p.mp4` in and "
             "out of nnupscale; beside it a Python ONNX Runtime session that only runs the net on luma that is "
             "float already, with no frame in or out, and whose idle threads sleep as the element's do. 1.00: moving "
             "pixels costs nothing; more than that is won by rewriting the net when it is loaded.",
             shipped(rounds)),
            ("The program against a Python pipeline",
             f"The whole clip (150 frames, sound copied), libx264 {PRESET} crf {CRF} in both; PyAV and ONNX "
             "Runtime frame by frame on the other side, chroma by Pillow's bicubic.",
             whole(rounds, pathlib.Path(folder))),
            ("Reuse of tiles that did not change",
             "A still 640x360 picture in which only a corner of 64x32 changes from frame to frame, luma-x2. "
             "The result is the same.",
             reuse(rounds)),
            ("Memory", "Peak resident size of gst-launch-1.0 with nnupscale in it.", memory()),
        ]
    lines = [
        "# Upscaling, measured", "",
        f"{datetime.date.today().isoformat()}, written by `make bench` ({rounds} rounds A/B/A/B, medians; "
        "a ratio is the median of the rounds' ratios).", "",
        *(f"- {line}" for line in measure.versions()),
        f"- load average before the run: {load:.1f}"
        + (" (other work ran beside it: the absolute figures are low and the ratios rough)" if load > 1 else ""),
    ]
    for title, text, rows in sections:
        lines += ["", f"## {title}", "", text, "", *rows]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(lines) + "\n")
    say(f"wrote {out}")


if __name__ == "__main__":
    main()
