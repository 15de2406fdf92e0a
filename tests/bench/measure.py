"""The single measurements; each returns plain numbers."""

import pathlib
import re
import statistics
import subprocess
import time
from collections.abc import Callable

import av
import numpy as np
from PIL import Image

from support import images
from support.frames import through
from support.launch import environment, run
from support.paths import PROGRAM, ROOFTOP
from support.reference import session

WIDTH, HEIGHT = 640, 360
THREADS = 2


def clip_frames(count: int) -> np.ndarray:
    """The first frames of the clip as packed I420."""
    with av.open(str(ROOFTOP)) as container:
        frames = []
        for frame in container.decode(video=0):
            frames.append(frame.to_ndarray(format="yuv420p").reshape(-1))
            if len(frames) == count:
                break
    return np.stack(frames)


def element_fps(properties: str, frames: np.ndarray, *, format: str = "I420",
                width: int = WIDTH, height: int = HEIGHT) -> tuple[float, dict[str, object]]:
    """Frames a second through nnupscale once it runs, and its stats."""
    came = through(
        f"nnupscale name=nn threads={THREADS} {properties}", frames, format=format,
        width=width, height=height, keep=False,
    )
    assert came.error is None, came.error
    settled = came.arrivals[2:]
    return (len(settled) - 1) / (settled[-1] - settled[0]), came.stats


def bare_fps(model: pathlib.Path, frames: np.ndarray) -> float:
    """Frames a second of the bare session: the same net, no frame in or out."""
    # Idle threads sleep, as nnupscale's do: where other work runs beside it, this side gains by it.
    net = session(model, THREADS, spin=False)
    name = net.get_inputs()[0].name
    luma = frames[:, : WIDTH * HEIGHT].reshape(-1, 1, 1, HEIGHT, WIDTH).astype(np.float32) / 255
    net.run(None, {name: luma[0]})
    begun = time.monotonic()
    for frame in luma:
        net.run(None, {name: frame})
    return len(luma) / (time.monotonic() - begun)


def interleaved(rounds: int, *sides: Callable[[], float]) -> list[list[float]]:
    """A, B, A, B ...: what each side measured, round by round."""
    found: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for values, side in zip(found, sides):
            values.append(side())
    return found


def ratio(first: list[float], second: list[float]) -> float:
    """The median over the rounds of first / second."""
    return statistics.median(a / b for a, b in zip(first, second))


def program_seconds(model: str, out: pathlib.Path, preset: str, crf: int) -> float:
    """The whole program: decode, upscale, encode, sound copied."""
    begun = time.monotonic()
    run(
        [PROGRAM, "upscale", ROOFTOP, out, "--model", model, "--preset", preset, "--crf", str(crf),
         "--force", "--quiet"],
        timeout=600,
    ).succeeded()
    return time.monotonic() - begun


def python_seconds(model: pathlib.Path, out: pathlib.Path, preset: str, crf: int) -> float:
    """The same job frame by frame in Python: PyAV, ONNX Runtime, PyAV."""
    begun = time.monotonic()
    net = session(model, THREADS)
    name = net.get_inputs()[0].name
    with av.open(str(ROOFTOP)) as source, av.open(str(out), "w") as target:
        video, audio = source.streams.video[0], source.streams.audio[0]
        stream = target.add_stream("libx264", rate=30, options={"preset": preset, "crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = WIDTH * 2, HEIGHT * 2, "yuv420p"
        stream.time_base = video.time_base
        copied = target.add_stream_from_template(audio)
        for packet in source.demux(video, audio):
            if packet.stream is audio:
                if packet.dts is not None:
                    packet.stream = copied
                    target.mux(packet)
                continue
            for frame in packet.decode():
                planes = frame.to_ndarray(format="yuv420p")
                luma = planes[:HEIGHT].astype(np.float32)[None, None] / 255
                (up,) = net.run(None, {name: luma})
                chroma = planes[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
                larger = [
                    np.asarray(Image.fromarray(c).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
                    for c in chroma
                ]
                whole = np.concatenate([
                    np.rint(np.clip(up[0, 0], 0, 1) * 255).astype(np.uint8),
                    *(c.reshape(-1, WIDTH * 2) for c in larger),
                ])
                made = av.VideoFrame.from_ndarray(whole, format="yuv420p")
                made.pts, made.time_base = frame.pts, frame.time_base
                for encoded in stream.encode(made):
                    target.mux(encoded)
        for encoded in stream.encode(None):
            target.mux(encoded)
    return time.monotonic() - begun


def still_with_a_clock(count: int) -> np.ndarray:
    """A frame in which only a small corner changes, as in a screen recording."""
    frame = clip_frames(1)[0]
    frames = np.repeat(frame[None], count, axis=0)
    luma = frames[:, : WIDTH * HEIGHT].reshape(count, HEIGHT, WIDTH)
    luma[:, 8:40, 8:72] = images.noise(64 * count, 32)[..., 0].reshape(32, count, 64).swapaxes(0, 1)
    return frames


def peak_megabytes(pipeline: str) -> float:
    """The largest resident size of a gst-launch run."""
    done = run(["/usr/bin/time", "-f", "peak %M", "gst-launch-1.0", "-q", *pipeline.split()],
               env=environment(), timeout=300).succeeded()
    return int(re.findall(r"peak (\d+)", done.output)[-1]) * 1024 / 1e6


def versions() -> list[str]:
    """Machine and software, one line each."""
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    told = subprocess.run(["gst-launch-1.0", "--version"], capture_output=True, text=True, check=True)
    import onnxruntime

    simd = [name for name in ("avx2", "avx512f", "avx512_vnni") if f" {name}" in flags]
    return [
        f"{cpu.group(1) if cpu else 'unknown CPU'}, {THREADS} threads, {' '.join(simd)}",
        told.stdout.splitlines()[1],
        f"ONNX Runtime {onnxruntime.__version__}",
    ]
