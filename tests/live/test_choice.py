"""`--model auto`: measured once, chosen by what was measured, and said why."""

import json
import pathlib
import subprocess

from support.launch import environment
from support.live import Live, Publisher
from support.paths import MODELS, ROOFTOP

# The networks for twice the size, as the guide names them.
CANDIDATES = ("luma-x2", "luma-x2-fast")


def frame_time_s() -> float:
    """Of the clip that is published."""
    shown = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "stream=avg_frame_rate", "-of", "csv=p=0", ROOFTOP],
        capture_output=True, text=True, check=True,
    ).stdout.strip()
    frames, seconds = shown.split("/")
    return int(seconds) / int(frames)


def size(name: str) -> int:
    """Bytes of a network."""
    aliases = dict(line.replace(" ", "").split("=") for line in (MODELS / "aliases.ini").read_text().splitlines()
                   if "=" in line and not line.startswith("#"))
    return (MODELS / f"{aliases.get(name, name)}.onnx").stat().st_size


def stream(out: pathlib.Path, cache: pathlib.Path) -> tuple[list[str], dict]:
    """What the program says when a publisher comes, and what it then makes of it."""
    with Live(out, "--ladder", "720p", "--model", "auto", env=environment(XDG_CACHE_HOME=str(cache))) as live:
        with Publisher(live, ROOFTOP):
            seen = live.wait_stream(lambda s: s["frames_out"] > 0, seconds=60)
        assert live.stop() == 0
        return live.said(), seen


def test_the_network_is_measured_once_and_the_largest_that_is_fast_enough_taken(tmp_path: pathlib.Path) -> None:
    cache = tmp_path / "cache"
    said, seen = stream(tmp_path / "first", cache)
    measured = [line.split()[1] for line in said if line.startswith("measuring ")]
    assert set(measured) >= set(CANDIDATES), said
    kept = cache / "gst-neural" / "speeds.json"
    content = json.loads(kept.read_text())
    p95_s = {key.split()[0]: ns / 1e9 for key, ns in content["p95_ns"].items()}
    assert set(p95_s) == set(measured)
    fast = [name for name in CANDIDATES if p95_s[name] <= frame_time_s() / 2]
    expected = max(fast, key=size) if fast else min(CANDIDATES, key=p95_s.get)
    assert seen["model"] == expected, (p95_s, said)
    why = next(line for line in said if line.startswith("network "))
    assert f"network {expected}: " in why and f"{1000 * p95_s[expected]:.1f} ms" in why, why
    assert f"{500 * frame_time_s():.1f} ms" in why and ("none is fast enough" in why) is (not fast), why

    # From then on the figures are those that were kept, even if they say the opposite.
    other = next(name for name in CANDIDATES if name != expected)
    content["p95_ns"] = {
        key: 1_000_000 if key.startswith(f"{other} ") else 9_000_000_000 for key in content["p95_ns"]
    }
    kept.write_text(json.dumps(content))
    said, seen = stream(tmp_path / "second", cache)
    assert not [line for line in said if line.startswith("measuring ")], said
    assert seen["model"] == other and any(f"network {other}: " in line for line in said), said
