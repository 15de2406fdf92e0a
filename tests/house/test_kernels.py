"""The compiled CUDA kernels that are shipped are what their sources compile to. Needs no GPU."""

import pathlib
import shutil
import subprocess
import sys

from support.paths import ROOT

KERNELS = ROOT / "plugins" / "core" / "cuda" / "kernels"


def check(folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(folder / "compile.py"), "--check"],
        capture_output=True, text=True, timeout=300, check=False,
    )


def test_compiled_kernels_match_their_sources() -> None:
    checked = check(KERNELS)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_changed_source_is_noticed(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "kernels"
    shutil.copytree(KERNELS, folder)
    source = folder / "post.cu"
    text = source.read_text(encoding="utf-8")
    changed = text.replace("c + p.weight * (d - c)", "c + p.weight * (d + c)")
    assert changed != text
    source.write_text(changed, encoding="utf-8")
    checked = check(folder)
    assert checked.returncode == 1
    assert "post.ptx" in checked.stdout and "load.ptx" not in checked.stdout
