import subprocess
import sys
from pathlib import Path

import lpips
import numpy as np
import onnxruntime as ort
import pytest
import torch
import torchvision
from torch.nn import functional as F

HERE = Path(lpips.__file__)
NETS = {"alex": "alexnet", "squeeze": "squeezenet1_1", "vgg": "vgg16"}
# Where torchvision's `features` are cut: each piece ends with what is compared.
CUTS = {
    "alex": (2, 5, 8, 10, 12),
    "squeeze": (2, 5, 8, 10, 11, 12, 13),
    "vgg": (4, 9, 16, 23, 30),
}


@pytest.fixture(scope="module", params=list(NETS))
def made(request, tmp_path_factory):
    """A backbone of random weights and heads, as files; never LPIPS."""
    folder, name = tmp_path_factory.mktemp(request.param), request.param
    torch.manual_seed(5)
    net = getattr(torchvision.models, NETS[name])(weights=None).eval()
    torch.save(net.state_dict(), folder / "backbone.pth")
    heads = {
        f"lin{i}.model.1.weight": torch.rand(1, n, 1, 1)
        for i, n in enumerate(lpips.BACKBONES[name].channels)
    }
    torch.save(heads, folder / "heads.pth")
    return name, net.features, list(heads.values()), folder


def export(name, folder, *more):
    paths = ["--backbone", folder / "backbone.pth", "--heads", folder / "heads.pth"]
    command = [sys.executable, HERE, name, *paths, "-o", folder / "out.onnx", *more]
    return subprocess.run(command, capture_output=True, text=True)


def distance(features, cuts, heads, a, b):
    """LPIPS as its paper has it, in torch, with torchvision's own modules."""

    def taps(x):
        x = (x - torch.tensor(lpips.SHIFT).view(1, 3, 1, 1)) / torch.tensor(lpips.SCALE).view(1, 3, 1, 1)
        found, begin = [], 0
        for end in cuts:
            x = features[begin:end](x)
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
            begin = end
        return [t.clone() for t in found]

    with torch.no_grad():
        parts = [
            F.conv2d((p - q).square(), head).mean((1, 2, 3))
            for p, q, head in zip(taps(a), taps(b), heads)
        ]
    return torch.stack(parts).sum(0).numpy()


def test_the_file_equals_torchvisions_network(made):
    name, features, heads, folder = made
    done = export(name, folder, "--other-weights")
    assert done.returncode == 0, done.stderr
    session = ort.InferenceSession(str(folder / "out.onnx"))
    assert session.get_modelmeta().custom_metadata_map["lpips.weights"] == "other"
    for size in ((64, 80), (51, 67)):
        a, b = (torch.rand(2, 3, *size) * 2 - 1 for _ in range(2))
        (found,) = session.run(None, {"reference": a.numpy(), "distorted": b.numpy()})
        assert found.shape == (2,)
        np.testing.assert_allclose(found, distance(features, CUTS[name], heads, a, b), rtol=2e-5)
        (same,) = session.run(None, {"reference": a.numpy(), "distorted": a.numpy()})
        assert np.all(same == 0)


def test_other_weights_do_not_pass_for_lpips(made):
    name, *_, folder = made
    done = export(name, folder)
    assert done.returncode != 0
    assert "not the published weights" in done.stderr


@pytest.mark.parametrize("name", list(NETS))
def test_the_published_heads_are_known(data, name):
    heads = data / "models" / f"lpips_v0.1_{name}_lin.pth"
    assert not lpips.is_published(name, heads, heads), "the backbone is none"
    known = lpips.BACKBONES[name]
    shapes = {key: value.shape for key, value in lpips.load(heads).items()}
    assert shapes == {
        f"lin{i}.model.1.weight": (1, n, 1, 1) for i, n in enumerate(known.channels)
    }
    import hashlib

    assert hashlib.sha256(heads.read_bytes()).hexdigest() == known.heads
