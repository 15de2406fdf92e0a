"""Paths for the tests; those that need the test data skip without it."""

import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data():
    """The data folder: `GST_NEURAL_DATA`, else `shared/data` beside a folder above."""
    places = [Path(p) for p in [os.environ.get("GST_NEURAL_DATA")] if p]
    places += [folder / "shared" / "data" for folder in Path(__file__).resolve().parents]
    for place in places:
        if (place / "images").is_dir():
            return place
    pytest.skip("no test data: set GST_NEURAL_DATA")
