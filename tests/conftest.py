"""What all tests share: the built plugin, the data, and loud skips."""

import pathlib

import pytest

from support import paths
from support.launch import run


def pytest_report_header() -> list[str]:
    data = paths.DATA or "absent: tests that need third-party data are SKIPPED (set GST_NEURAL_DATA)"
    return [f"plugin: {paths.BUILT}", f"data: {data}"]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Nothing here makes sense without the plugin; say so once instead of a hundred times."""
    if session.config.option.collectonly:
        return
    shown = run(["gst-inspect-1.0", "nnupscale"])
    if shown.status != 0:
        pytest.exit(f"nnupscale was not found by GStreamer; run `make build`\n{shown.output}", 2)


@pytest.fixture(scope="session")
def data() -> pathlib.Path:
    """The folder of third-party data, or a skip."""
    if paths.DATA is None:
        pytest.skip("no third-party data here (set GST_NEURAL_DATA)")
    return paths.DATA
