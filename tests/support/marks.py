"""A clip whose picture flashes and whose sound beeps at the same moments, and where they are found again."""

import pathlib

import av
import numpy as np

from .launch import run


def marks(path: pathlib.Path, *rates: int, seconds: int = 6) -> int:
    """Writes `seconds` at each of these frame rates, one after the other, with a mark each second.

    640x360 of H.264 with B-frames and a keyframe every two seconds, and AAC, in a transport stream.
    The number of its frames.
    """
    parts = []
    for index, rate in enumerate(rates):
        part = path.with_name(f"{path.stem}-{index}.mp4")
        run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi",
             "-i", f"color=black:s=640x360:r={rate}:d={seconds},drawbox=color=white:t=fill:enable='lt(mod(t,1),0.1)'",
             "-c:v", "libx264", "-preset", "veryfast", "-g", str(2 * rate), "-bf", "2", "-pix_fmt", "yuv420p", part]).succeeded()
        parts.append(part)
    listed = path.with_suffix(".txt")
    listed.write_text("".join(f"file '{part}'\n" for part in parts))
    length = seconds * len(rates)
    run(["ffmpeg", "-v", "error", "-y", "-f", "concat", "-safe", "0", "-i", listed, "-f", "lavfi",
         "-i", f"sine=f=1000:r=48000:d={length},volume=volume='if(lt(mod(t,1),0.1),6,0)':eval=frame",
         "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", "-f", "mpegts", path]).succeeded()
    return seconds * sum(rates)


def flashes_and_beeps(path: pathlib.Path) -> tuple[list[float], list[float], list[float]]:
    """The times at which the picture becomes white and the sound begins; those of all frames."""
    flashes, beeps, frames = [], [], []
    with av.open(str(path)) as file:
        before = False
        for frame in file.decode(video=0):
            frames.append(float(frame.time))
            white = frame.to_ndarray(format="gray").mean() > 128
            if white and not before:
                flashes.append(float(frame.time))
            before = white
    with av.open(str(path)) as file:
        quiet_since = -1.0
        for frame in file.decode(audio=0):
            samples = np.abs(frame.to_ndarray().astype(np.float64)).reshape(frame.layout.nb_channels, -1).max(axis=0)
            if samples.max() > 2:
                samples = samples / 32768
            loud = np.flatnonzero(samples > 0.1)
            if loud.size:
                at = float(frame.time) + loud[0] / frame.sample_rate
                if at - quiet_since > 0.3:
                    beeps.append(at)
                quiet_since = float(frame.time) + loud[-1] / frame.sample_rate
    return flashes, beeps, frames
