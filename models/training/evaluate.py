"""Measures the models on the test images and clips and writes `docs/results/models.md`.

    python evaluate.py --data DIR

Images: the low-resolution side is MATLAB's bicubic (Set5: the published files; the
others: ours, which is bit-exact on Set5), turned to 8-bit BT.601 luma; PSNR of the 8-bit
output, border cropped by the scale. Clips: luma, shrunk by the same bicubic, coded with
x264 at CRF 28, upscaled, compared with the frames before all that.
"""

import argparse
import configparser
import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from bicubic import crop_to_multiple, resize, resize_u8, rgb_to_y, to_u8
from data import load_rgb
from degrade import encode

MODELS = Path(__file__).resolve().parent.parent
REPORT = MODELS.parent / "docs" / "results" / "models.md"
SETS = ("Set5", "Set14", "BSD100", "Urban100", "Kodak")
CLIPS = (
    ("bbb_1080p60_anim.mp4", 120),
    ("graffiti_1080p60.mp4", 0),
    ("flower_540p.mp4", 30),
    ("highway_540p.mp4", 30),
    ("gopro_max_480p.mp4", 60),
    ("city_rooftop_360p.mp4", 60),
    ("stream_of_water_360p.mp4", 0),
    ("tears_of_steel_800x332.webm", 240),
    ("park_joy_480x270_10f.y4m", 0),
)
"""Clips and the frame to start at. None of them, nor any still of them, is trained on."""
CHOSEN_ON = ("flower_540p", "stream_of_water_360p")
"""The two CC0 clips, which decisions about the compressed data were made on."""
FRAMES = 24


@dataclass
class Model:
    """An upscaler: a function from 8-bit luma, or RGB, to the same, and what it is called."""

    name: str
    scale: int
    params: int = 0
    multiple: int = 1
    session: ort.InferenceSession | None = None
    planes: int = 1
    element: type = np.float32

    def __call__(self, luma):
        """Luma, by an RGB network three times the same, as nnupscale does."""
        if self.session is None:
            return to_u8(resize(luma, self.scale))
        images = np.repeat(luma[None], self.planes, 0)
        return to_u8(self.run(images)[self.planes // 2])

    def of_rgb(self, rgb):
        """Luma of what becomes of an RGB image: of the network's RGB, or of its luma."""
        if self.planes == 1:
            return self(rgb_to_y(rgb))
        return rgb_to_y(to_u8(self.run(rgb.transpose(2, 0, 1)).transpose(1, 2, 0)))

    def run(self, images):
        """`[planes, H, W]` of 0 to 255 through the network."""
        _, height, width = images.shape
        padding = ((0, 0), (0, -height % self.multiple), (0, -width % self.multiple))
        x = np.pad(images, padding, mode="edge")[None].astype(self.element) / self.element(255)
        y = self.session.run(None, {"input": x})[0][0].astype(np.float64) * 255
        return y[:, : height * self.scale, : width * self.scale]


def bicubic(scale):
    """The reference every model is measured against."""
    return Model("bicubic", scale)


def load(path, threads=1):
    """A shipped model with its modelinfo."""
    ini = configparser.ConfigParser()
    ini.read(path.with_suffix(".modelinfo"))
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(path).graph
    params = sum(int(np.prod(t.dims)) for t in graph.initializer if t.data_type in (1, 10))
    element = {"float32": np.float32, "float16": np.float16}[ini["input"]["type"]]
    section = ini["nnupscale"]
    scale, multiple, planes = (section.getint(key) for key in ("scale", "multiple", "channels"))
    return Model(path.stem, scale, params, multiple, session, planes, element)


def psnr(error, peak=255):
    """PSNR in dB of an error in 8-bit steps."""
    return float(10 * np.log10(peak**2 / max(np.mean(np.square(error, dtype=np.float64)), 1e-10)))


def image_pairs(data, name, scale):
    """The pairs of a test set: RGB, and luma of the original."""
    folder = Path(data) / "images" / name
    folder = folder if name == "Kodak" else folder / "HR"
    for path in sorted(folder.glob("*.png")):
        high = crop_to_multiple(load_rgb(path), scale)
        given = folder.parent / "LR_bicubic" / f"X{scale}" / f"{path.stem}x{scale}.png"
        low = load_rgb(given) if name == "Set5" else resize_u8(high, 1 / scale)
        yield low, rgb_to_y(high)


def measure_images(data, models, scale, sets=SETS):
    """`{model: {set: PSNR}}`."""
    scores = {m.name: {} for m in models}
    for name in sets:
        sums = {m.name: [] for m in models}
        for low, high in image_pairs(data, name, scale):
            for model in models:
                error = model.of_rgb(low).astype(np.int32) - high
                sums[model.name].append(psnr(error[scale:-scale, scale:-scale]))
        for model in models:
            scores[model.name][name] = float(np.mean(sums[model.name]))
    return scores


def read_luma(path, first, count):
    """`count` luma planes of a clip from frame `first` on, as they are stored."""
    probe = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries"]
    probe += ["stream=width,height", "-of", "csv=p=0", str(path)]
    answer = subprocess.run(probe, check=True, capture_output=True, text=True).stdout
    width, height = (int(v) for v in answer.strip().split(",")[:2])
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", str(path), "-an"]
    command += ["-vf", f"trim=start_frame={first}:end_frame={first + count},extractplanes=y"]
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width)


def measure_clips(data, models, scale, crf):
    """`{model: {clip: (PSNR, temporal error)}}`, the error RMS in 8-bit steps.

    The temporal error is what is wrong with the change from frame to frame,
    `(out[t] - out[t-1]) - (ref[t] - ref[t-1])`: flicker and crawling.
    """
    scores = {m.name: {} for m in models}
    for clip, first in CLIPS:
        frames = read_luma(Path(data) / "video" / clip, first, FRAMES)
        frames = [crop_to_multiple(frame, 4 * scale) for frame in frames]
        small = [resize_u8(frame, 1 / scale) for frame in frames]
        if crf is not None:
            with tempfile.TemporaryDirectory() as work:
                small = encode(small, "libx264", crf, "medium", work, fps=30)
        for model in models:
            squares, changes, previous = [], [], None
            for low, high in zip(small, frames):
                error = model(low).astype(np.int32) - high
                error = error[scale:-scale, scale:-scale]
                squares.append(np.mean(np.square(error)))
                if previous is not None:
                    changes.append(np.mean(np.square(error - previous)))
                previous = error
            quality = float(10 * np.log10(255**2 / np.mean(squares)))
            scores[model.name][clip] = (quality, float(np.sqrt(np.mean(changes))))
    return scores


def milliseconds(path, threads, size=(360, 640), runs=30):
    """Median time of one frame in ONNX Runtime."""
    model = load(path, threads)
    x = np.random.default_rng(0).random((1, model.planes, *size), dtype=np.float32)
    x = x.astype(model.element)
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        model.session.run(None, {"input": x})
        times.append(time.perf_counter() - began)
    return 1000 * float(np.median(times[3:]))


def table(header, rows):
    """A markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def image_table(models, scores):
    """PSNR and, in brackets, the gain over bicubic."""
    rows = []
    for model in models:
        cells = [model.name, f"{model.params:,}".replace(",", " ") if model.params else "-"]
        for name, value in scores[model.name].items():
            gain = value - scores["bicubic"][name]
            cells.append(f"{value:.2f}" + (f" ({gain:+.2f})" if model.params else ""))
        rows.append(cells)
    return table(["model", "parameters", *scores["bicubic"]], rows)


def clip_table(models, scores):
    """Gains over bicubic in dB, and ratios of temporal error, one clip a row."""
    others = [m.name for m in models if m.name != "bicubic"]
    header = ["clip", "bicubic, dB", *others, *(f"flicker {name}" for name in others)]
    rows = []
    for clip, (quality, flicker) in scores["bicubic"].items():
        stem = Path(clip).stem
        cells = [f"{stem} (*)" if stem in CHOSEN_ON else stem, f"{quality:.2f}"]
        cells += [f"{scores[name][clip][0] - quality:+.2f}" for name in others]
        cells += [f"{scores[name][clip][1] / flicker:.2f}" for name in others]
        rows.append(cells)
    reference = scores["bicubic"]
    cells = ["**mean**", f"{np.mean([v[0] for v in reference.values()]):.2f}"]
    for name in others:
        gains = [scores[name][c][0] - reference[c][0] for c in reference]
        cells.append(f"**{np.mean(gains):+.2f}**")
    for name in others:
        cells.append(f"{np.mean([scores[name][c][1] / reference[c][1] for c in reference]):.2f}")
    return table(header, [*rows, cells])


def main():
    """Writes the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder that holds images/ and video/")
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--out", type=Path, default=REPORT)
    parser.add_argument("--json", type=Path, help="also write the figures here, for cards.py")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--crf", type=int, nargs="*", default=[28])
    parser.add_argument("--only", nargs="*", help="model names (default: all)")
    parser.add_argument("--no-clips", action="store_true")
    parser.add_argument("--timing", action="store_true", help="also time 640x360, 1 and 2 threads")
    args = parser.parse_args()
    paths = [p for p in sorted(args.models.glob("*.onnx")) if not args.only or p.stem in args.only]
    every = [load(path, args.threads) for path in paths]
    text = "# Quality of the shipped models\n\n"
    text += "Written by this command, run in `models/training`:\n\n"
    options = f" --crf {' '.join(map(str, args.crf))}" if args.crf != [28] else ""
    options += " --timing" if args.timing else ""
    text += f"```\npython evaluate.py --data DIR{options}\n```\n\n"
    text += f"{__doc__.split(chr(10) * 2, 2)[2]}\n"
    results = {}
    # Scale 1 is what `refine.py --measure` is for.
    for scale in sorted({m.scale for m in every} - {1}):
        models = [bicubic(scale), *(m for m in every if m.scale == scale)]
        text += f"## x{scale}, images\n\nPSNR-Y in dB, mean over the set (gain over bicubic).\n\n"
        scores = measure_images(args.data, models, scale)
        text += image_table(models, scores) + "\n"
        results[f"images-x{scale}"] = scores
        for crf in [] if args.no_clips else args.crf:
            scores = measure_clips(args.data, models, scale, crf)
            text += f"## x{scale}, clips at x264 CRF {crf}\n\n"
            text += (
                f"{FRAMES} frames a clip. PSNR-Y gain over bicubic in dB; `flicker`: RMS error of"
                " the change between frames, divided by bicubic's. (*): decisions about the"
                " training data looked at this clip.\n\n"
            )
            text += clip_table(models, scores) + "\n"
            results[f"clips-x{scale}-crf{crf}"] = scores
    if args.timing:
        text += "## Speed\n\nONNX Runtime, CPU, float32, 640x360 in; median of one frame in ms;"
        text += f" load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores (what else ran"
        text += " on the machine counts: only a quiet one gives figures to rely on).\n\n"
        rows = [[p.stem, *(f"{milliseconds(p, threads):.1f}" for threads in (1, 2))] for p in paths]
        text += table(["model", "1 thread", "2 threads"], rows) + "\n"
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text.rstrip() + "\n")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))
    print(text)


if __name__ == "__main__":
    main()
