"""Flicker that an upscaler adds, with and without `stabilize`.

    .deps/venv/bin/python tests/bench/temporal.py PHOTO... [-o docs/results/temporal.md]

Photographs become clips with known motion: one that stands still, one that pans by one output
pixel a frame and one that pans by three. Sensor noise (sigma 2) is added, they are halved, coded
by x264 (CRF 28; the still one in keyframes only, or the encoder would repeat its first frame),
decoded and upscaled. The warped error is the mean absolute difference of luma
between a frame and the one before it, moved by the known motion; it is given as a multiple of
bicubic's, too. PSNR-Y against the photograph without its noise tells what averaging costs.
"""

import argparse
import os
import pathlib
import subprocess
import tempfile

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
WIDTH, HEIGHT, FRAMES = 600, 440, 40
BORDER = 16


def ffmpeg(*arguments: str, data: bytes | None = None) -> bytes:
    command = ["ffmpeg", "-v", "error", "-y", *arguments]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def clip(photo: pathlib.Path, step: int) -> np.ndarray:
    """Luma frames in which a window moves over the photograph by `step` pixels a frame."""
    luma = np.asarray(Image.open(photo).convert("L"))
    if luma.shape[0] < HEIGHT or luma.shape[1] < WIDTH + 3 * FRAMES:
        luma = luma.T
    y = (luma.shape[0] - HEIGHT) // 2
    if y < 0 or luma.shape[1] < WIDTH + step * FRAMES:
        raise SystemExit(f"{photo}: smaller than {WIDTH + 3 * FRAMES}x{HEIGHT}")
    return np.stack([luma[y : y + HEIGHT, step * i : step * i + WIDTH] for i in range(FRAMES)])


def noisy(frames: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 2, frames.shape)
    return np.clip(np.rint(frames + noise), 0, 255).astype(np.uint8)


def coded(frames: np.ndarray, folder: pathlib.Path, *, intra: bool) -> pathlib.Path:
    """The clip, halved and coded."""
    out = folder / "coded.mp4"
    ffmpeg(
        "-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", "25", "-i", "-",
        "-vf", "scale=iw/2:ih/2:flags=bicubic,format=yuv420p",
        "-c:v", "libx264", "-preset", "medium", "-crf", "28", "-g", "1" if intra else "250", str(out), data=frames.tobytes(),
    )
    return out


def upscaled(path: pathlib.Path, model: str, properties: str) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        raw = pathlib.Path(folder) / "out.y"
        line = (
            f"filesrc location={path} ! qtdemux ! h264parse ! avdec_h264 ! videoconvert ! video/x-raw,format=GRAY8 "
            f"! nnupscale model={model} {properties} ! filesink location={raw}"
        )
        environment = {"GST_PLUGIN_PATH": str(ROOT / "target" / "release"), **os.environ}
        subprocess.run(["gst-launch-1.0", "-q", *line.split()], check=True, env=environment)
        return np.fromfile(raw, np.uint8).reshape(-1, HEIGHT, WIDTH)


def warped_error(frames: np.ndarray, step: int) -> float:
    inner = frames[:, BORDER:-BORDER, BORDER:-BORDER].astype(np.float32)
    now = inner[1:, :, : inner.shape[2] - step] if step else inner[1:]
    before = inner[:-1, :, step:] if step else inner[:-1]
    return float(np.abs(now - before)[4:].mean())


def psnr(frames: np.ndarray, truth: np.ndarray) -> float:
    a = frames[:, BORDER:-BORDER, BORDER:-BORDER].astype(np.float64)
    b = truth[: len(frames), BORDER:-BORDER, BORDER:-BORDER]
    return float(10 * np.log10(255**2 / np.mean((a - b) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=pathlib.Path, nargs="+", help="photographs of 768 x 512 or more")
    parser.add_argument("-o", "--output", type=pathlib.Path)
    options = parser.parse_args()
    candidates = [("bicubic", "luma-x2", "strength=0.0")]
    for model in ("luma-x2", "luma-x2-clean", "luma-x2-fast"):
        candidates += [(model, model, "")]
        candidates += [(f"{model}, stabilize={a}", model, f"stabilize={a}") for a in (0.6, 1.0)]
    rows: dict[str, list[str]] = {name: [] for name, _, _ in candidates}
    for step in (0, 1, 3):
        sums = {name: np.zeros(2) for name, _, _ in candidates}
        for photo in options.photos:
            truth = clip(photo, step)
            with tempfile.TemporaryDirectory() as folder:
                path = coded(noisy(truth), pathlib.Path(folder), intra=step == 0)
                for name, model, properties in candidates:
                    frames = upscaled(path, model, properties)
                    assert len(frames) == FRAMES, f"{name}: {len(frames)} frames of {FRAMES}"
                    sums[name] += warped_error(frames, step), psnr(frames, truth)
        base = sums["bicubic"][0]
        for name, (error, quality) in sums.items():
            n = len(options.photos)
            rows[name] += [f"{error / n:.2f} ({error / base:.2f})", f"{quality / n:.2f}"]
    lines = [
        "# Temporal noise",
        "",
        "Warped error in grey levels (in brackets as a multiple of bicubic's) and PSNR-Y in dB: means of",
        f"{len(options.photos)} photographs ({', '.join(p.name for p in options.photos)}) with noise of sigma 2,",
        "halved and coded by x264 at CRF 28, the still clip in keyframes only. The slow pan moves by half an input pixel a frame, the fast one",
        "by one and a half. Made by `tests/bench/temporal.py PHOTO... -o docs/results/temporal.md`.",
        "",
        "| | still: error | PSNR-Y | slow pan: error | PSNR-Y | fast pan: error | PSNR-Y |",
        "|---|---|---|---|---|---|---|",
        *(f"| {name} | {' | '.join(values)} |" for name, values in rows.items()),
        "",
    ]
    print("\n".join(lines))
    if options.output:
        options.output.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
