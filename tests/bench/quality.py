"""psnrsink beside ffmpeg's filters and libvmaf's own command line tool; writes docs/results/quality.md.

    .deps/venv/bin/python tests/bench/run.py quality [--rounds N]

All sides read the same raw pair. One thread means one processor for the whole command (`taskset`),
two threads two of them, and the commands' own settings for threads set alike.
"""

import datetime
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

from bench import measure
from support.launch import environment
from support.paths import ROOFTOP, ROOT

WIDTH, HEIGHT, RATE = 1920, 1080, 30
FRAME_BYTES = WIDTH * HEIGHT * 3 // 2
# Each command runs twice, and the difference is taken: what it takes to start does not count.
FRAMES, FEW = 120, 10
FOLDER = ROOT / "build" / "bench"
TOOL_FOLDER = ROOT / "target" / "bench" / "libvmaf"


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def pair() -> tuple[pathlib.Path, pathlib.Path]:
    """The clip enlarged to 1080p, and what x264 at CRF 30 leaves of it, raw I420."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    reference, coded, distorted = (FOLDER / name for name in ("reference.yuv", "coded.mkv", "distorted.yuv"))
    if all(f.exists() and f.stat().st_size == FRAMES * FRAME_BYTES for f in (reference, distorted)):
        return reference, distorted
    say(f"making {FRAMES} frames of {WIDTH}x{HEIGHT}, twice {FRAMES * FRAME_BYTES / 1e6:.0f} MB, in {FOLDER}")
    raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p"]
    scale = f"scale={WIDTH}:{HEIGHT}:flags=bicubic"
    for arguments in (
        ["-i", ROOFTOP, "-an", "-vf", scale, "-frames:v", FRAMES, *raw, reference],
        [*raw, "-s", f"{WIDTH}x{HEIGHT}", "-r", RATE, "-i", reference,
         "-c:v", "libx264", "-preset", "veryfast", "-crf", "30", coded],
        ["-i", coded, *raw, distorted],
    ):
        subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)], check=True)
    coded.unlink()
    return reference, distorted


def vmaf_tool() -> pathlib.Path | None:
    """libvmaf's `vmaf`, built once with the flags of the library that psnrsink has, from its sources."""
    tool = TOOL_FOLDER / "tools" / "vmaf"
    if tool.exists():
        return tool
    listed = subprocess.run(
        ["cargo", "metadata", "--format-version=1", "--locked", "--offline"], cwd=ROOT, capture_output=True,
        text=True, check=True,
    ).stdout
    found = re.search(r'"manifest_path":"([^"]*/vmaf-head-sys-[^"]*)/Cargo.toml"', listed)
    if not found or not shutil.which("meson") or not shutil.which("ninja"):
        return None
    say("building libvmaf's command line tool (once)")
    options = {
        "default_library": "static", "buildtype": "release", "b_ndebug": "if-release", "enable_tests": "false",
        "enable_docs": "false", "enable_tools": "true", "enable_float": "true", "built_in_models": "true",
        "enable_asm": "true", "enable_avx512": "true",
    }
    source = pathlib.Path(found[1]) / "vendored" / "vmaf" / "libvmaf"
    flags = [f"-D{key}={value}" for key, value in options.items()]
    for command in (["meson", "setup", *flags, TOOL_FOLDER, source], ["ninja", "-C", TOOL_FOLDER]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return tool


@dataclass
class Took:
    """Seconds by the clock, and of processor time."""

    wall: float
    cpu: float

    def __sub__(self, other: "Took") -> "Took":
        return Took(self.wall - other.wall, self.cpu - other.cpu)


def took(command: list[str]) -> Took:
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return Took(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def on(threads: int, command: list[str]) -> list[str]:
    """A command on as many processors as it has threads."""
    allowed = sorted(os.sched_getaffinity(0))[:threads]
    return ["taskset", "-c", ",".join(map(str, allowed)), *command]


def ours(metrics: str, threads: int, frames: int) -> list[str]:
    reference, distorted = pair()
    line = ["gst-launch-1.0", "-q", "psnrsink", "name=q", f"metrics={metrics}", f"threads={threads}",
            "pairing=count"]
    for file, pad in ((reference, "reference"), (distorted, "distorted")):
        line += (
            f"filesrc location={file} blocksize={FRAME_BYTES} num-buffers={frames} ! video/x-raw,format=I420,"
            f"width={WIDTH},height={HEIGHT},framerate={RATE}/1 ! q.{pad}"
        ).split()
    return on(threads, line)


def ffmpeg(graph: str, threads: int, frames: int) -> list[str]:
    reference, distorted = pair()
    line = ["ffmpeg", "-nostdin", "-v", "error", "-filter_threads", str(threads),
            "-filter_complex_threads", str(threads)]
    for file in (distorted, reference):
        line += ["-threads", str(threads), "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH}x{HEIGHT}",
                 "-r", str(RATE), "-i", str(file)]
    return on(threads, [*line, "-lavfi", graph, "-frames:v", str(frames), "-f", "null", "-"])


def vmaf(tool: pathlib.Path, threads: int, frames: int) -> list[str]:
    reference, distorted = pair()
    return on(threads, [
        str(tool), "-r", str(reference), "-d", str(distorted), "-w", str(WIDTH), "-h", str(HEIGHT), "-p", "420",
        "-b", "8", "-m", "version=vmaf_v0.6.1", "--threads", str(threads), "--frame_cnt", str(frames), "-q",
        "--json", "-o", str(FOLDER / "vmaf.json"),
    ])


def rows(rounds: int) -> list[str]:
    tool = vmaf_tool()
    two_filters = "[0][1]psnr;[0][1]ssim"
    cases = [
        ("psnr", "ffmpeg, psnr", lambda t, n: ffmpeg("[0][1]psnr", t, n)),
        ("ssim", "ffmpeg, ssim", lambda t, n: ffmpeg("[0][1]ssim", t, n)),
        ("psnr,ssim", "ffmpeg, psnr and ssim", lambda t, n: ffmpeg(two_filters, t, n)),
    ]
    if tool:
        cases.append(("vmaf", "libvmaf's tool", lambda t, n: vmaf(tool, t, n)))
    else:
        say("SKIPPED vmaf: libvmaf's sources, meson or ninja are missing")
    out = [
        "| metrics | threads | psnrsink, fps | beside it | fps | ratio | ratio of processor time |",
        "|---|---|---|---|---|---|---|",
    ]
    for metrics, name, theirs in cases:
        for threads in (1, 2):
            say(f"{metrics} and {name}, {threads} thread(s), {rounds} rounds")
            sides = [lambda n, m=metrics, t=threads: ours(m, t, n), lambda n, f=theirs, t=threads: f(t, n)]
            measured = measure.interleaved(rounds, *(
                lambda side=side: took(side(FRAMES)) - took(side(FEW)) for side in sides
            ))
            a, b = ([t.wall for t in side] for side in measured)
            cpu_a, cpu_b = ([t.cpu for t in side] for side in measured)
            fps = [(FRAMES - FEW) / statistics.median(walls) for walls in (a, b)]
            out.append(
                f"| {metrics} | {threads} | {fps[0]:.0f} | {name} | {fps[1]:.0f} | **{measure.ratio(b, a):.2f}** | "
                f"{measure.ratio(cpu_b, cpu_a):.2f} |"
            )
    return out


def versions() -> list[str]:
    told = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout
    lines = [*measure.versions()[:2], " ".join(told.split()[:3])]
    tool = vmaf_tool()
    if tool:
        shown = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False)
        lines.append(f"libvmaf {(shown.stdout + shown.stderr).strip()}, in both the same sources and flags")
    return lines


def write(rounds: int, out: pathlib.Path) -> None:
    load = os.getloadavg()[0]
    if load > 1:
        say(f"the load is {load:.1f}: absolute figures will be low; ratios are of interleaved runs")
    pair()
    lines = [
        "# Measuring quality, measured", "",
        "```", ".deps/venv/bin/python tests/bench/run.py quality", "```", "",
        f"{datetime.date.today().isoformat()}, {rounds} rounds A/B/A/B, medians; a ratio is the median of the "
        "rounds' ratios, more than 1 is faster than the other.", "",
        *(f"- {line}" for line in versions()),
        f"- load average before the run: {load:.1f}"
        + (" (other work ran beside it: the frame rates are low, and only the ratio of processor time is "
           "dependable)" if load > 1 else ""),
        "",
        f"The same raw pair for all, {FRAMES} frames of {WIDTH}x{HEIGHT} I420 (`rooftop_360p.mp4` enlarged, and what "
        f"x264 at CRF 30 leaves of it), in whole commands: `gst-launch-1.0` with two `filesrc ! video/x-raw`, "
        f"`ffmpeg -lavfi`, `vmaf`. Each ran with {FRAMES} and with {FEW} frames; the difference counts, so "
        "that starting does not. One thread is one processor for the whole command (`taskset`), two are two.", "",
        *rows(rounds),
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(lines) + "\n")
    say(f"wrote {out}")
