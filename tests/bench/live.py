"""Live: `gst-neural live` with a real nginx and a real ffmpeg, for minutes or hours."""

import argparse
import datetime
import json
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from bench import measure
from support.browser import Browser
from support.hls_rules import check
from support.live import Live, Publisher
from support.paths import ROOFTOP, ROOT

RESULTS = ROOT / "docs" / "results"
TICK_S = 5.0
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
TICKS = os.sysconf("SC_CLK_TCK")


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def clip(folder: pathlib.Path) -> pathlib.Path:
    """640x360 at 30 fps with sound and a keyframe every two seconds, as a streamer would send it."""
    path = folder / "publisher.flv"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-stream_loop", "3", "-i", ROOFTOP, "-vf", "fps=30", "-c:v", "libx264",
         "-preset", "veryfast", "-crf", "23", "-g", "60", "-keyint_min", "60", "-sc_threshold", "0",
         "-c:a", "aac", "-b:a", "128k", path],
        check=True,
    )
    return path


def spin() -> None:
    while True:
        pass


def usage(pid: int) -> tuple[float, float]:
    """Resident MB and processor seconds of a process."""
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    memory = pathlib.Path(f"/proc/{pid}/statm").read_text().split()
    return int(memory[1]) * PAGE_KB / 1024, (int(stat[11]) + int(stat[12])) / TICKS


def watch(minutes: float, busy: int, options: list[str]) -> dict:
    """One run; what was seen every few seconds."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        source = clip(folder)
        neighbours = [multiprocessing.Process(target=spin, daemon=True) for _ in range(busy)]
        samples = []
        with Live(folder / "out", *options) as live, Publisher(live, source):
            live.wait_stream(lambda s: s["phase"] == "live" and s["renditions"][0]["segments"] >= 2, seconds=60)
            for neighbour in neighbours:
                neighbour.start()
            begun, first = time.monotonic(), usage(live.process.pid)
            try:
                while (at := time.monotonic() - begun) < minutes * 60:
                    stream = live.streams()["live"]
                    memory, cpu = usage(live.process.pid)
                    samples.append({"at": at, "memory_mb": memory, "cpu_s": cpu - first[1], **{
                        key: stream[key] for key in ("frames_in", "frames_out", "fallback_frames", "dropped_frames",
                                                     "delay_s", "latency_s", "discontinuities", "inference_p95_s")}})
                    if stream["phase"] != "live":
                        raise SystemExit(f"bench: the stream is {stream}; {live.said()} {live.errors}")
                    time.sleep(TICK_S)
            finally:
                for neighbour in neighbours:
                    neighbour.kill()
            findings = check(live.out / "live" / "master.m3u8")
            files = sum(1 for path in live.out.rglob("*") if path.is_file())
            status = live.stop()
    if status != 0:
        raise SystemExit(f"bench: exit status {status}; {live.said()} {live.errors}")
    return figures(samples) | {"minutes": minutes, "busy": busy, "options": options, "files": files, "findings": [str(finding) for finding in findings],
                               "load": load, "date": datetime.date.today().isoformat()}


def figures(samples: list[dict]) -> dict:
    """What counts of the samples: sums over the run, the first and the last minute beside each other."""
    first, last = samples[0], samples[-1]
    time_s = last["at"] - first["at"]
    out = last["frames_out"] - first["frames_out"]
    minute = max(1, int(60 / TICK_S))

    def middle(key: str, part: list[dict]) -> float:
        return statistics.median(sample[key] for sample in part)

    # The first half minute is left out of the memory: buffers are filled then.
    settled = samples[min(len(samples) - 1, minute // 2):]
    return {
        "fps_in": (last["frames_in"] - first["frames_in"]) / time_s,
        "fps_out": out / time_s,
        "fallback_percent": 100 * (last["fallback_frames"] - first["fallback_frames"]) / max(out, 1),
        "dropped": last["dropped_frames"] - first["dropped_frames"],
        "discontinuities": last["discontinuities"] - first["discontinuities"],
        "delay_first_s": middle("delay_s", samples[:minute]), "delay_last_s": middle("delay_s", samples[-minute:]),
        "delay_most_s": max(sample["delay_s"] for sample in samples),
        "latency_last_s": middle("latency_s", samples[-minute:]),
        "memory_first_mb": middle("memory_mb", settled[:minute]), "memory_last_mb": middle("memory_mb", settled[-minute:]),
        "cores": last["cpu_s"] / time_s, "p95_ms": 1000 * last["inference_p95_s"],
    }


# What the page's hls.js says: seconds since the program took in the frame that is shown, seconds behind the newest
# segment or part, and how far behind it wants to be.
PLAYER = """
(() => {
  const hls = window.player.hls, video = document.querySelector('video');
  return {delay: (Date.now() - hls.playingDate.getTime()) / 1000, behind: hls.latency, wanted: hls.targetLatency,
          time: video.currentTime, height: video.videoHeight, errors: window.player.errors.length};
})()
"""
# hls.js comes nearer to where it wants to be by playing a little faster.
SETTLE_S = 30


def player(minutes: float, options: list[str]) -> dict:
    """One run with a viewer: how far behind the publisher hls.js is, second by second."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        source = clip(folder)
        with Live(folder / "out", *options) as live, Publisher(live, source), Browser() as browser:
            live.wait_stream(lambda s: s["phase"] == "live" and s["renditions"][0]["segments"] >= 3, seconds=60)
            browser.open(live.page + "/")
            browser.wait_for("document.querySelector('video') && document.querySelector('video').currentTime > 1", 60)
            time.sleep(SETTLE_S)
            first, samples = live.streams()["live"], []
            until = time.monotonic() + minutes * 60
            while time.monotonic() < until:
                samples.append(browser.evaluate(PLAYER))
                time.sleep(1)
            last = live.streams()["live"]
            status = live.stop()
    if status != 0:
        raise SystemExit(f"bench: exit status {status}; {live.said()} {live.errors}")
    delays = sorted(sample["delay"] for sample in samples)
    frames = last["frames_out"] - first["frames_out"]
    return {
        "minutes": minutes, "options": options, "load": load, "date": datetime.date.today().isoformat(),
        "delay_median_s": statistics.median(delays), "delay_p95_s": delays[int(0.95 * (len(delays) - 1))],
        "delay_most_s": delays[-1], "wanted_s": statistics.median(sample["wanted"] for sample in samples),
        "behind_s": statistics.median(sample["behind"] for sample in samples),
        "played_s": samples[-1]["time"] - samples[0]["time"], "height": samples[-1]["height"],
        "complaints": samples[-1]["errors"],
        "fallback_percent": 100 * (last["fallback_frames"] - first["fallback_frames"]) / max(frames, 1),
    }


def players(rows: dict[str, dict]) -> list[str]:
    """The viewer's table."""
    lines = [
        "## At the viewer", "",
        "Headless Chromium with the page's hls.js on the same machine, `--ladder 720p --model luma-x2-fast`. Delay is from "
        "a frame's arrival at the program until it is on the screen, asked once a second after half a minute; target is how "
        "far hls.js wants to be behind the end of the playlist.", "",
        "| run | minutes | delay, median, s | 95 % below, s | longest, s | target, s | picture | classical upscale |",
        "|" + "---|" * 8,
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['minutes']:g} | {row['delay_median_s']:.2f} | {row['delay_p95_s']:.2f} | {row['delay_most_s']:.2f} "
            f"| {row['wanted_s']:.2f} | {row['height']}p | {row['fallback_percent']:.0f} % |"
        )
    lines.append("")
    for name, row in rows.items():
        lines.append(f"- {name}: {row['date']}, `.deps/venv/bin/python tests/bench/run.py live {row['command']}`, load average "
                     f"before it {row['load']:.1f}{'; ' + row['note'] if row.get('note') else ''}")
    return lines


def page(rows: dict[str, dict]) -> str:
    """The results as Markdown."""
    seen = {name: row for name, row in rows.items() if "delay_median_s" in row}
    rows = {name: row for name, row in rows.items() if name not in seen}
    lines = [
        "# Live, measured", "",
        "Written by `tests/bench/run.py live`: nginx, ffmpeg as the publisher (640x360, 30 fps, sound, a keyframe every "
        "2 s), the program with `--ladder 720p,360p --model luma-x2-fast` (720p by the network and x264 veryfast, 360p "
        "passed through), segments of 2 s, all on one machine; nginx and ffmpeg take their share of its processors, the "
        "column *cores* is the program alone. Delay is from a frame's arrival until its segment can be fetched, of the "
        "segment's first frame: 2 s of it are the segment. First and last are medians of a minute.", "",
        *(f"- {line}" for line in measure.versions()), "",
        "| run | minutes | fps in | fps out | classical upscale | dropped | interruptions | delay first, s | delay last, s "
        "| longest, s | memory first, MB | last, MB | cores | network p95, ms |",
        "|" + "---|" * 14,
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['minutes']:g} | {row['fps_in']:.2f} | {row['fps_out']:.2f} | {row['fallback_percent']:.2f} % "
            f"| {row['dropped']} | {row['discontinuities']} | {row['delay_first_s']:.2f} | {row['delay_last_s']:.2f} "
            f"| {row['delay_most_s']:.2f} | {row['memory_first_mb']:.0f} | {row['memory_last_mb']:.0f} "
            f"| {row['cores']:.2f} | {row['p95_ms']:.1f} |"
        )
    lines.append("")
    for name, row in rows.items():
        lines.append(f"- {name}: {row['date']}, `.deps/venv/bin/python tests/bench/run.py live {row['command']}`, load average "
                     f"before it {row['load']:.1f}{'; ' + row['note'] if row.get('note') else ''}"
                     + "".join(f"; the checker of playlists found: {finding}" for finding in row["findings"]))
    if seen:
        lines += ["", *players(seen)]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="run.py live", description=__doc__)
    parser.add_argument("what", choices=["realtime", "busy", "soak", "player"],
                        help="on its own; beside a process on each core that never rests; for an hour; with a viewer, "
                             "with and without parts")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--note", default="", help="what else is worth saying of this run")
    args = parser.parse_args(arguments)
    command = " ".join(arguments[:1] + (["--minutes", f"{args.minutes:g}"] if args.minutes else []))
    same = {"command": command, "note": args.note}
    if args.what == "player":
        kinds = {"segments of 2 s": [], "parts of 0.33 s (`--part 0.33`)": ["--part", "0.33"]}
        for name, options in kinds.items():
            say(f"viewer, {name}")
            keep(name, player(args.minutes or 2, ["--ladder", "720p", "--model", "luma-x2-fast", *options]) | same)
        return
    names = {"realtime": ("on its own", 10), "busy": ("with a busy neighbour on each core", 3), "soak": ("soak", 60)}
    name, minutes = names[args.what]
    minutes = args.minutes or minutes
    busy = os.cpu_count() if args.what == "busy" else 0
    say(f"{name}, {minutes:g} minutes")
    keep(name, watch(minutes, busy or 0, ["--ladder", "720p,360p", "--model", "luma-x2-fast"]) | same)


def keep(name: str, row: dict) -> None:
    """Puts a row where the one of the same name was."""
    kept = RESULTS / "live.json"
    rows = json.loads(kept.read_text()) if kept.exists() else {}
    rows[name] = row
    kept.write_text(json.dumps(rows, indent=1) + "\n")
    (RESULTS / "live.md").write_text(page(rows))
    say(json.dumps(row))
