import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from data import VALIDATION

HERE = Path(__file__).resolve().parent.parent


@pytest.fixture
def photographs(tmp_path):
    """A data folder with two small random pictures, one of them held out."""
    folder = tmp_path / "data" / "train" / "budgie"
    folder.mkdir(parents=True)
    for seed, name in enumerate(("a.jpg", VALIDATION[0])):
        noise = np.random.default_rng(seed).integers(0, 256, (480, 720, 3), dtype=np.uint8)
        picture = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(3))
        picture.resize((1440, 960)).save(folder / name, quality=95)
    return tmp_path / "data"


def train(data, work, *options):
    command = [sys.executable, "train.py", "luma-x2-clean", "--data", data, "--work", work]
    command += ["--threads", "1", "--minutes", "0.03", "--batch", "2", *options]
    return subprocess.run(command, cwd=HERE, check=True, capture_output=True, text=True).stdout


def test_rounds_follow_each_other_and_an_interrupted_one_goes_on(photographs, tmp_path):
    work = tmp_path / "work"
    checkpoint = work / "luma-x2-clean.pt"
    assert "round 1" in train(photographs, work, "--depth", "2")
    saved = torch.load(checkpoint, weights_only=True)
    first = saved["state"]["step"]
    assert saved["state"]["finished"] and first > 0
    assert "round 2" in train(photographs, work)
    saved = torch.load(checkpoint, weights_only=True)
    assert [entry["depth"] for entry in saved["state"]["history"]] == [2, 4]
    saved["state"] |= {"finished": False, "elapsed": 0.9}
    torch.save(saved, checkpoint)
    assert "round 2" in train(photographs, work)
    state = torch.load(checkpoint, weights_only=True)["state"]
    assert state["finished"] and state["step"] > saved["state"]["step"]
