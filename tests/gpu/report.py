#!/usr/bin/env python3
"""Writes docs/results/gpu.md from what tests/gpu/run.sh left in a folder.

    report.py FOLDER        (without a folder: what has not been run)
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "results" / "gpu.md"
MARK = "<!-- run on a GPU: written by tests/gpu/report.py -->"


def table(rows, columns):
    """Lines of a table."""
    yield "| " + " | ".join(title for title, _ in columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(str(row.get(key, "")) for _, key in columns) + " |"


def report(folder):
    """What was run, as lines."""
    read = lambda name: (folder / name).read_text(encoding="utf-8") if (folder / name).exists() else ""
    date, device, cores = [*read("machine.txt").splitlines(), "?", "?", "?"][:3]
    if "stand-in" in device:
        raise SystemExit(f"{folder}: a rehearsal on the stand-in for the driver; nothing of it ran on a GPU")
    yield f"{date}, {device}, {cores} processor cores; `tests/gpu/run.sh`.\n"
    yield "| step | result | seconds | what |\n|---|---|---:|---|"
    for line in read("summary.txt").splitlines():
        name, result, seconds, what = line.split("\t")
        yield f"| {name} | {result} | {seconds} | {what} |"
    lines = [json.loads(line) for line in read("gpu.jsonl").splitlines()]
    codec = [line for line in lines if "codec" in line]
    ours = [line for line in lines if "model" in line]
    loops = {(t["torch"], t["from"], t["precision"]): t for t in lines if "torch" in t}
    for row in ours:
        loop = loops.get((row["model"], row["from"], row["precision"]))
        row["share"] = f"{100 * row['network_ms'] / row['frame_ms']:.1f} %" if row["frame_ms"] else ""
        row["loop"] = loop["fps"] if loop and row["streams"] == 1 else ""
        row["times"] = f"{row['fps'] / loop['fps']:.2f}" if row["loop"] else ""
        row["model"] += ", each frame compared" if row.get("compared") else ""
    yield ""
    yield from table(ours, [
        ("model", "model"), ("from", "from"), ("to", "to"), ("precision", "precision"),
        ("streams", "streams"), ("frames", "frames"), ("fps", "fps"), ("ms a frame", "frame_ms"),
        ("ms in the network", "network_ms"), ("its share", "share"), ("PyTorch loop, fps", "loop"),
        ("times as fast", "times"), ("copies of frames", "copies"), ("MB", "memory_mb"),
        ("KiB more at the end", "grown_kb"),
    ])  # fmt: skip
    if codec:
        # The codec's lines have other fields; each is a column.
        yield ""
        yield from table(codec, [(key.replace("_", " "), key) for key in codec[0]])


def main():
    """Writes the part below the mark."""
    if len(sys.argv) > 2:
        raise SystemExit(__doc__)
    lines = report(Path(sys.argv[1])) if len(sys.argv) == 2 else ["Nothing yet."]
    head = PAGE.read_text(encoding="utf-8").split(MARK)[0]
    PAGE.write_text(head + MARK + "\n\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
