"""Paths for the tests; those that need the test data skip without it."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
try:
    import torch

    torch.set_num_threads(1)
except ImportError:
    # The main test run has no PyTorch (gigabytes): what needs it is left to requirements.txt here.
    collect_ignore = ["test_codec.py", "test_convert.py", "test_lpips.py", "test_nets.py", "test_shipped.py", "test_train.py"]


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
