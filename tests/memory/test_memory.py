"""How much memory a run takes, and that it does not grow."""

import re

import pytest

from support.launch import environment, run

PROBE = "\n".join([
    # Samples the resident size while gst-launch runs; ends with its peak and exit status.
    '"$@" >/dev/null 2>&1 & pid=$!',
    "while kill -0 $pid 2>/dev/null; do",
    "  grep -sE 'VmHWM|VmRSS' /proc/$pid/status | tr -s '\\t\\n ' '   '; echo; sleep 0.1",
    "done",
    "wait $pid; echo status $?",
])


def sampled(pipeline: str, timeout: float) -> tuple[list[int], int]:
    """Resident sizes over time and the peak, both in KiB."""
    done = run(
        ["bash", "-c", PROBE, "probe", "gst-launch-1.0", "-q", *pipeline.split()],
        env=environment(), timeout=timeout,
    ).succeeded()
    assert "status 0" in done.output, done.output
    peaks = [int(v) for v in re.findall(r"VmHWM: (\d+)", done.output)]
    sizes = [int(v) for v in re.findall(r"VmRSS: (\d+)", done.output)]
    return sizes, max(peaks)


def test_1080p_to_4k_stays_under_1500_megabytes() -> None:
    _, peak = sampled(
        "videotestsrc num-buffers=12 pattern=smpte ! video/x-raw,format=I420,width=1920,height=1080"
        " ! nnupscale model=luma-x2-fast ! video/x-raw,width=3840,height=2160 ! fakesink",
        timeout=120,
    )
    assert peak < 1_500_000_000 // 1024, f"{peak / 1024:.0f} MiB"


@pytest.mark.slow
@pytest.mark.parametrize("tile", ["0", "64"])
def test_a_thousand_frames_do_not_grow_it(tile: str) -> None:
    sizes, _ = sampled(
        "videotestsrc num-buffers=1000 pattern=snow ! video/x-raw,format=I420,width=320,height=180"
        f" ! nnupscale model=luma-x2-fast tile={tile} ! fakesink",
        timeout=240,
    )
    assert len(sizes) >= 8, "too quick to see anything"
    settled, end = sizes[len(sizes) // 4], max(sizes[-len(sizes) // 4 :])
    assert end - settled < 8 * 1024, f"grew from {settled} to {end} KiB"
