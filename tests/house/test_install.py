"""`make install`: what it puts down is found by a GStreamer that knows nothing else."""

import os
import pathlib

import pytest

from support.launch import run
from support.paths import ROOFTOP, ROOT


def bare_environment(home: pathlib.Path, **more: str) -> dict[str, str]:
    """An environment with no trace of the checkout in it."""
    return {
        "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8", **more,
    }


LINE = (
    "gst-launch-1.0 -q videotestsrc num-buffers=2 ! video/x-raw,format=I420,width=64,height=48"
    " ! nnupscale model=luma-x2-fast ! video/x-raw,width=128,height=96 ! fakesink"
)


def install(action: str, prefix: pathlib.Path, env: dict[str, str]) -> str:
    # Cargo's own folders stay those of the real home; nothing is to be built anyway.
    return run(["bash", "packaging/install.sh", action, prefix], env=env).succeeded().output


@pytest.mark.parametrize("where", ["home", "prefix"])
def test_installed_plugin_works_alone(tmp_path: pathlib.Path, where: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    prefix = home / ".local" if where == "home" else tmp_path / "opt"
    env = bare_environment(home)
    said = install("install", prefix, env)
    if where == "prefix":
        assert f"GST_PLUGIN_PATH={prefix}/lib/gstreamer-1.0" in said
        env["GST_PLUGIN_PATH"] = f"{prefix}/lib/gstreamer-1.0"
    run(LINE, env=env, cwd=home).succeeded()
    shown = run(["gst-inspect-1.0", "nnupscale"], env=env, cwd=home).succeeded()
    assert str(ROOT) not in shown.output
    # Nothing that is no plugin may stand where GStreamer looks for plugins.
    assert "blacklisted" not in run(["gst-inspect-1.0", "-b"], env=env).output.replace(
        "Total count: 0 blacklisted", ""
    )
    out = tmp_path / "out.mkv"
    command = [prefix / "bin" / "gst-neural", "upscale", ROOFTOP, out, "--model", "luma-x2-fast"]
    run([*command, "--duration", "0.2", "--quiet"], env=env, cwd=home).succeeded()
    assert out.stat().st_size > 0
    out.unlink()
    install("uninstall", prefix, env)
    left = [p for p in tmp_path.rglob("*") if p.is_file() and ".cache" not in p.parts]
    assert left == []


def test_uninstall_of_nothing_says_so(tmp_path: pathlib.Path) -> None:
    told = run(
        ["bash", "packaging/install.sh", "uninstall", tmp_path], env=dict(os.environ)
    ).failed()
    assert "nothing is installed" in told.output
