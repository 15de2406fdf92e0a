#!/usr/bin/env python3
"""Rate, quality and speed of the lossy profiles beside JPEG, x264, x265 and AV1 on clips.

    plugins/core/codec/bench/lossy.py DATA_DIR [--report DIR] [--write FILE.md] [NAME...]

DATA_DIR holds the clips named below, none of which the networks were trained on. Encoders other
than ours are ffmpeg's. Quality is measured by `gst-neural compare` (release build), and so are the
BD-rates; rate is the size of the video in Matroska (JPEG: of the pictures alone). Speed is CPU time
of one thread, encoding from and decoding to raw frames; then of a clip of 1280x720 on one and two
threads, by the clock too. --write puts the tables between the marks in docs/results/codec.md;
--report keeps an HTML report of each clip. `cargo build --release` and `cargo build --release -p
gstneural-codec --examples` come first.
"""

import argparse
import csv
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
PROGRAM = ROOT / "target/release/gst-neural"
CLIPS = [
    ("city_rooftop_360p.mp4", 60),
    ("stream_of_water_360p.mp4", 60),
    ("park_joy_480x270_10f.y4m", 10),
    ("flower_540p.mp4", 48),
    ("highway_540p.mp4", 48),
]
X264 = ["-c:v", "libx264", "-bf", "0", "-tune", "zerolatency", "-preset"]
SERIES = {
    "x264 veryfast zerolatency": [X264 + ["veryfast", "-crf", q] for q in ("20", "26", "32", "38")],
    "x264 medium": [["-c:v", "libx264", "-preset", "medium", "-crf", q] for q in ("20", "26", "32", "38")],
    "x265 medium": [
        ["-c:v", "libx265", "-preset", "medium", "-x265-params", "log-level=error:pools=1:frame-threads=1",
         "-crf", q] for q in ("22", "28", "34", "40")],
    "SVT-AV1 8": [
        ["-c:v", "libsvtav1", "-preset", "8", "-svtav1-params", "lp=1", "-crf", q] for q in ("24", "34", "44", "54")],
}
INTRA, INTER, VQ = "intra", "inter", "vq"
JPEG_SCALES = ("2", "4", "8", "16", "31")
QUALITIES = {INTRA: ("24", "20", "15", "10", "5"), INTER: ("24", "19", "14", "9", "4"), VQ: ("24", "19", "14", "9", "4")}
COLUMNS = {"psnr-y": "PSNR Y", "ssim": "SSIM", "vmaf": "VMAF"}
BEGIN, END = "<!-- lossy: written by bench/lossy.py -->", "<!-- end of lossy -->"


def run(*command, data=None):
    """Runs a command; its output and its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(c) for c in command], input=data, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}:\n{done.stderr.decode()[-2000:]}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, used


def ffmpeg(*args, data=None):
    return run("ffmpeg", "-v", "error", "-y", "-threads", "1", *args, data=data)


def values(reference, distorted):
    """Mean PSNR-Y, SSIM and VMAF of each distorted file."""
    out, _ = run(PROGRAM, "compare", "--json", "--quiet", reference, *distorted)
    for line in out.splitlines():
        event = json.loads(line)
        if event.get("event") == "done":
            found = []
            for candidate in event["candidates"]:
                found.append({name: candidate["metrics"][name]["mean"] for name in COLUMNS})
            return found
    sys.exit("gst-neural compare said nothing")


def jpeg(raw, size, count, folder, scale):
    """A JPEG of every frame: bytes, the decoded file, CPU seconds of both directions."""
    shape = ["-f", "rawvideo", "-pix_fmt", "yuvj420p", "-s", size]
    coded, encode = ffmpeg(*shape, "-i", "-", "-c:v", "mjpeg", "-q:v", scale, "-huffman", "optimal",
                           "-f", "mjpeg", "-", data=raw)
    back, decode = ffmpeg("-f", "mjpeg", "-i", "-", *shape[:4], "-", data=coded)
    assert len(back) == len(raw), count
    return len(coded), back, encode, decode


def measure(data, name, count, folder, report):
    """The points of a clip, by series: (rate, values, encode fps, decode fps)."""
    clip = Path(data) / "video" / name
    clip = clip if clip.exists() else Path(data) / name
    reference = folder / "reference.mkv"
    ffmpeg("-i", clip, "-frames:v", count, "-an", "-pix_fmt", "yuv420p", "-c:v", "ffv1", reference)
    probe = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries",
             "stream=width,height,r_frame_rate", "-of", "csv=p=0", reference]
    width, height, rate = run(*probe)[0].decode().strip().split(",")[:3]
    numerator, denominator = map(int, rate.split("/"))
    seconds = count * denominator / numerator
    raw, read = ffmpeg("-i", reference, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-")
    size = f"{width}x{height}"
    source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", size, "-r", rate, "-i", "-"]
    points = []

    def add(series, size_bytes, path, encode, decode):
        points.append({"series": series, "rate": size_bytes * 8 / seconds / 1000, "file": path,
                       "encode": count / max(encode, 1e-3), "decode": count / max(decode, 1e-3)})

    for scale in JPEG_SCALES:
        size_bytes, back, encode, decode = jpeg(raw, size, count, folder, scale)
        path = folder / f"jpeg-{scale}.mkv"
        ffmpeg(*source, "-c:v", "ffv1", path, data=back)
        add("JPEG", size_bytes, path, encode, decode)
    for series, encodes in SERIES.items():
        for options in encodes:
            path = folder / f"{series.replace(' ', '-')}-{options[-1]}.mkv"
            _, encode = ffmpeg(*source, "-threads", "1", *options, path, data=raw)
            _, decode = ffmpeg("-i", path, "-f", "null", "-")
            add(series, path.stat().st_size, path, encode, decode)
    for profile, qualities in QUALITIES.items():
        for quality in qualities:
            path = folder / f"{profile}-{quality}.mkv"
            _, encode = run(PROGRAM, "encode", "--quiet", "--threads", "1", "--profile", profile,
                            "--quality", quality, "--keyint", "250", reference, path)
            back = folder / "back.mkv"
            _, decode = run(PROGRAM, "decode", "--quiet", "--force", "--threads", "1", path, back)
            # Reading and writing FFV1, and starting, is not ours.
            _, copy = run(PROGRAM, "decode", "--quiet", "--force", "--threads", "1", reference, back)
            add(profile, path.stat().st_size, path, max(encode - read, 0.01), max(decode - copy + read, 0.01))
    for point, found in zip(points, values(reference, [p["file"] for p in points])):
        point.update(found)
    table = folder / "points.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["series", "rate", *COLUMNS.values()])
        for p in points:
            writer.writerow([p["series"], f"{p['rate']:.3f}", *(f"{p[c]:.6f}" for c in COLUMNS)])
    rates = {}
    for ours, anchor in [(INTRA, "JPEG")] + [(INTER, s) for s in SERIES] + [(VQ, INTER)]:
        command = [PROGRAM, "compare", "--json", "--quiet", "--bd-rate", f"{anchor}:{table}", f"{ours}:{table}"]
        for line in subprocess.run([str(c) for c in command], capture_output=True).stdout.splitlines():
            event = json.loads(line)
            if event.get("event") == "done":
                for d in event["differences"]:
                    if d["test"] == ours and d["pchip"]:
                        rates[ours, anchor, d["metric"]] = d["pchip"]["rate_percent"]
    if report:
        report.mkdir(parents=True, exist_ok=True)
        run(PROGRAM, "compare", "--quiet", "--force", "--report", report / f"{clip.stem}.html", "--bd-rate", table)
    return points, rates


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--json", type=Path, help="keep the points here")
    parser.add_argument("--write", type=Path, help="the page to put the tables into")
    args = parser.parse_args()
    before = os.getloadavg()[0]
    everything, all_rates = {}, {}
    for name, count in CLIPS:
        if args.names and not any(n in name for n in args.names):
            continue
        with tempfile.TemporaryDirectory() as folder:
            points, rates = measure(args.data, name, count, Path(folder), args.report)
        stem = name.rsplit(".", 1)[0]
        everything[stem] = [{k: v for k, v in p.items() if k != "file"} for p in points]
        for key, value in rates.items():
            all_rates.setdefault(key, {})[stem] = value
        print(f"{stem}: {len(points)} points", file=sys.stderr)
    if args.json:
        args.json.write_text(json.dumps(everything, indent=1))
    load = f"{time.strftime('%Y-%m-%d')}, load average before it {before:.1f}.\n"
    text = "\n".join([load, *tables(everything, all_rates), *speed(args.data)])
    print(text)
    if args.write:
        page = args.write.read_text()
        head, rest = page.split(BEGIN)
        _, tail = rest.split(END)
        part = args.write.with_suffix(".part")
        part.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")
        part.rename(args.write)


def speed(data):
    """Frames a second of 1280x720, by the clock and by the processor."""
    example = ROOT / "target/release/examples/lossy_size"
    out = ["\n| 1280x720 | threads | encodes, fps | decodes, fps | CPU s for both, a frame |", "|---|---:|---:|---:|---:|"]
    clip = Path(data) / "video" / "graffiti_1080p60.mp4"
    with tempfile.TemporaryDirectory() as folder:
        y4m = Path(folder) / "clip.y4m"
        ffmpeg("-i", clip, "-frames:v", "60", "-vf", "scale=1280:720", "-pix_fmt", "yuv420p", y4m)
        model = ROOT / "models/neural/small.gnm"
        for profile, flags in ((INTER, []), (INTRA, ["--intra"]), (VQ, ["--vq"])):
            for threads in ("1", "2"):
                text, used = run(example, model, "--levels", "14", "--threads", threads, *flags, y4m)
                encode, decode = re.search(r"([\d.]+) fps encoded, ([\d.]+) decoded", text.decode()).groups()
                out.append(f"| {profile} | {threads} | {encode} | {decode} | {used / 60:.4f} |")
    return out


def tables(everything, rates):
    """BD-rates, then all points."""
    out = []
    stems = list(everything)
    out.append("| profile | against | metric | " + " | ".join(stems) + " | mean |")
    out.append("|---|---|---|" + "---:|" * (len(stems) + 1))
    for (ours, anchor, metric), of in rates.items():
        known = [of[s] for s in stems if of.get(s) is not None]
        cells = [f"{of[s]:+.1f} %" if of.get(s) is not None else "no overlap" for s in stems]
        mean = f"{sum(known) / len(known):+.1f} %" if known else ""
        out.append(f"| {ours} | {anchor} | {metric} | " + " | ".join(cells) + f" | {mean} |")
    out.append("\n| clip | series | kbit/s | PSNR-Y, dB | SSIM | VMAF | encodes, fps | decodes, fps |")
    out.append("|---|---|---:|---:|---:|---:|---:|---:|")
    for stem, points in everything.items():
        for p in points:
            out.append(f"| {stem} | {p['series']} | {p['rate']:.0f} | {p['psnr-y']:.2f} | {p['ssim']:.4f} "
                       f"| {p['vmaf']:.1f} | {p['encode']:.1f} | {p['decode']:.1f} |")
    return out


if __name__ == "__main__":
    main()
