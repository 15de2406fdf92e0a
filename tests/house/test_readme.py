"""Every pipeline that README.md and the guides show is run as it stands there."""

import pathlib
import re
import sys

import pytest

from support.launch import environment, run
from support.paths import ROOT

DOCUMENTS = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]
# Blocks that a reader pastes into a shell; other blocks (output, ini) have other names.
BLOCK = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.M | re.S)


def commands(document: str) -> list[str]:
    """The pipelines of a document's shell blocks, with the exports of their block before them."""
    found = []
    for block in BLOCK.findall((ROOT / document).read_text()):
        joined = block.replace("\\\n", " ")
        exports = [line for line in joined.splitlines() if line.startswith("export ")]
        for line in joined.splitlines():
            if re.match(r"(gst-launch-1\.0|gst-neural|target/release/gst-neural) ", line):
                found.append("\n".join([*exports, line]))
    return found


LINES = [
    pytest.param(line, id=f"{document}-{number}")
    for document in DOCUMENTS
    if (ROOT / document).exists()
    for number, line in enumerate(commands(document), 1)
]


def test_the_readme_shows_pipelines() -> None:
    assert sum("gst-launch-1.0" in line for line in commands("README.md")) >= 5


@pytest.mark.parametrize("line", LINES)
def test_line_runs_as_it_stands(line: str, tmp_path: pathlib.Path) -> None:
    # In a folder that looks like the checkout, so that what the lines write stays out of it.
    for entry in ROOT.iterdir():
        if entry.name not in {"build", ".git"}:
            (tmp_path / entry.name).symlink_to(entry)
    env = environment(GST_PLUGIN_PATH=str(ROOT / "target" / "release"))
    run(f"set -euo pipefail\n{line}", env=env, cwd=tmp_path, timeout=180).succeeded()


PAGES = [p for p in ROOT.rglob("*.md") if not {"target", "build", ".deps"} & set(p.relative_to(ROOT).parts)]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"


def test_the_table_of_properties_is_that_of_the_element() -> None:
    run([sys.executable, "packaging/properties.py", "--check"]).succeeded()
