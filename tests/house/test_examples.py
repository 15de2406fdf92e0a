"""Every example runs, and leaves what it says it does."""

import json
import pathlib
import subprocess

import pytest

from support.launch import environment, run
from support.paths import ROOT, ROOFTOP

SCRIPTS = sorted(p for p in (ROOT / "examples").glob("*.sh") if p.stem != "common")



def video_of(path: pathlib.Path) -> dict[str, str]:
    """What ffprobe, which is not ours, sees in the first video stream."""
    shown = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0", "-of", "json",
         "-show_entries", "stream=width,height,nb_read_frames,pix_fmt", str(path)],
        capture_output=True, text=True, check=True,
    )
    return json.loads(shown.stdout)["streams"][0]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_script(script: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = run([script], env=environment(OUT=str(tmp_path), FRAMES="20"), timeout=180).succeeded()
    for path in tmp_path.iterdir():
        assert path.stat().st_size > 0, f"{path.name} is empty\n{done.output}"


def test_embedding_in_rust(tmp_path: pathlib.Path) -> None:
    binary = ROOT / "target" / "release" / "embed-rust"
    out = tmp_path / "out.mkv"
    done = run([binary, ROOFTOP, out], timeout=180).succeeded()
    assert "frames" in done.output
    seen = video_of(out)
    assert (seen["width"], seen["height"], seen["nb_read_frames"]) == (1280, 720, "150")


def test_embedding_in_python(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out.png"
    done = run(
        ["/usr/bin/python3", ROOT / "examples" / "embed-python" / "upscale.py", ROOFTOP, out],
        timeout=180,
    ).succeeded()
    assert "1280x720" in done.output
    assert out.stat().st_size > 0
