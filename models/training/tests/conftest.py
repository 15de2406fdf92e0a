"""Paths for the tests; those that need the test data skip without it."""

import importlib
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
NEEDS_TORCH = ("codec", "codec_stages", "convert", "gpu", "lpips", "nets", "patches", "shipped", "train")
try:
    import torch

    torch.set_num_threads(1)
except ImportError:
    # The main test run has no PyTorch (gigabytes): what needs it is left to requirements.txt here.
    collect_ignore = [f"test_{name}.py" for name in NEEDS_TORCH]


def pytest_report_header() -> list[str]:
    left = globals().get("collect_ignore")
    return [f"no PyTorch here, SKIPPED: {', '.join(left)}"] if left else []


@pytest.fixture(scope="session")
def data():
    """The data folder: `GST_NEURAL_DATA`, else `shared/data` beside a folder above."""
    places = [Path(p) for p in [os.environ.get("GST_NEURAL_DATA")] if p]
    places += [folder / "shared" / "data" for folder in Path(__file__).resolve().parents]
    for place in places:
        if (place / "images").is_dir():
            return place
    pytest.skip("no test data: set GST_NEURAL_DATA")


CODEC = Path(__file__).resolve().parents[1] / "codec"


@pytest.fixture(scope="module")
def codec():
    """The modules of `codec/`, whose names others here have too."""
    names = sorted(path.stem for path in CODEC.glob("*.py"))
    hidden = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.path.insert(0, str(CODEC))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(CODEC))
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(hidden)
