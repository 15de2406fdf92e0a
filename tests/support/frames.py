"""Frames in, frames out: a piece of a pipeline as a function on arrays."""

import json
import pathlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass

import numpy as np

from .launch import environment


@dataclass
class Came:
    """What came out of a piece of a pipeline."""

    frames: np.ndarray | None
    caps: str | None
    times: list[tuple[int, int]]
    stats: dict[str, object]
    seconds: float
    # When each frame came out, on one clock, in seconds.
    arrivals: list[float]
    error: str | None
    said: str


def through(
    piece: str,
    frames: np.ndarray,
    *,
    format: str,
    width: int,
    height: int,
    fps: str = "25/1",
    extra_caps: str = "",
    repeat: int = 1,
    keep: bool = True,
    env: dict[str, str] | None = None,
    timeout: float = 300,
) -> Came:
    """Sends packed frames, an array (N, bytes), through `piece` and returns what came out."""
    caps = f"video/x-raw,format={format},width={width},height={height},framerate={fps}{extra_caps}"
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder, "in.npy"), pathlib.Path(folder, "out.npy")
        np.save(source, np.ascontiguousarray(frames.reshape(len(frames), -1).view(np.uint8)))
        request = {
            "piece": piece, "caps": caps, "input": str(source), "output": str(target),
            "repeat": repeat, "keep": keep,
        }
        done = subprocess.run(
            [sys.executable, str(pathlib.Path(__file__).with_name("appgraph.py"))],
            input=json.dumps(request),
            env=environment() if env is None else env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"{piece}: the graph's process ended with {done.returncode}:\n{done.stderr}"
        assert "panicked" not in done.stderr, done.stderr
        report = json.loads(done.stdout)
        out = np.load(target) if target.exists() else None
    return Came(
        out, report["caps"], [tuple(t) for t in report["times"]], report["stats"],
        report["seconds"], report["arrivals"], report["error"], done.stderr,
    )
