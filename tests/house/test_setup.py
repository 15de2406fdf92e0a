"""The set-up script: quick when there is nothing to do, plain about what it cannot do."""

import os
import pathlib
import shutil
import subprocess
import time

from support.paths import ROOT

SETUP = ROOT / "packaging" / "setup.sh"


def setup(*arguments: str, script: pathlib.Path = SETUP, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(script), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env={**os.environ, **env}, timeout=600, check=False,
    )


def test_second_run_only_looks() -> None:
    first = setup()
    assert first.returncode == 0, first.stderr
    begun = time.monotonic()
    second = setup()
    took = time.monotonic() - begun
    assert second.returncode == 0, second.stderr
    assert "installing" not in second.stdout and "fetching" not in second.stdout
    assert took < 2, f"a second run took {took:.1f} s"


def test_unknown_option_is_refused() -> None:
    refused = setup("--frobnicate")
    assert refused.returncode == 2
    assert "unknown option --frobnicate" in refused.stderr


def fake_checkout(folder: pathlib.Path) -> pathlib.Path:
    """A checkout with nothing set up."""
    for name in ("packaging/setup.sh", "tests/requirements.txt", "Cargo.toml"):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    return folder / "packaging" / "setup.sh"


def fake_command(folder: pathlib.Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    command = folder / name
    command.write_text(f"#!/bin/sh\n{body}\n")
    command.chmod(0o755)


def test_unknown_machine_is_told_what_to_do(tmp_path: pathlib.Path) -> None:
    fake_command(tmp_path / "bin", "uname", "echo sparc64")
    told = setup(
        "--no-apt", "--deps-only", script=fake_checkout(tmp_path / "checkout"),
        PATH=f"{tmp_path}/bin:{os.environ['PATH']}",
    )
    assert told.returncode == 1
    assert "sparc64" in told.stderr and "ORT_DYLIB_PATH" in told.stderr


def test_without_network_it_fails_in_words(tmp_path: pathlib.Path) -> None:
    script = fake_checkout(tmp_path)
    told = setup(
        "--no-apt", "--deps-only", script=script,
        PIP_INDEX_URL="http://127.0.0.1:9/", PIP_RETRIES="0", PIP_NO_CACHE_DIR="1",
        PIP_CONFIG_FILE="/dev/null", PIP_FIND_LINKS="", PIP_NO_INDEX="1",
    )
    assert told.returncode == 1
    assert "could not download onnxruntime" in told.stderr
    assert not (tmp_path / ".deps" / "onnxruntime").exists()


def test_a_wheel_that_was_tampered_with_is_refused(tmp_path: pathlib.Path) -> None:
    script = fake_checkout(tmp_path / "checkout")
    # A pip that "downloads" something else under the right name.
    fake_command(
        tmp_path / "bin", "python3",
        'for a in "$@"; do case $p in --dest) d=$a ;; esac; p=$a; done\n'
        '[ -z "${d:-}" ] || echo other > "$d/onnxruntime-0-cp311-cp311-any.whl"',
    )
    told = setup(
        "--no-apt", "--deps-only", script=script, PATH=f"{tmp_path}/bin:{os.environ['PATH']}"
    )
    assert told.returncode == 1
    assert "SHA-256 differs" in told.stderr
    assert not (tmp_path / "checkout" / ".deps" / "onnxruntime").exists()
