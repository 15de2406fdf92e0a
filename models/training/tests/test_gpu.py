"""The pack and the program for a bare machine: what goes in comes out, and training goes on."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: models/training/requirements.txt")

import gpu  # noqa: E402
import pack  # noqa: E402


def plane(random, height, width):
    return np.clip(np.cumsum(random.normal(size=(height, width)) * 3, 1) + 128, 0, 255).astype(np.uint8)


def checkpoint(path, seed=1):
    """A checkpoint with an optimiser that has made steps."""
    torch.manual_seed(seed)
    net = torch.nn.Linear(300, 200)
    optimiser = torch.optim.Adam(net.parameters())
    net(torch.rand(4, 300)).sum().backward()
    optimiser.step()
    state = {"round": 2, "elapsed": 3.0, "step": 7, "finished": False, "history": []}
    content = {"state": state, "weights": net.state_dict(), "average": net.state_dict()}
    torch.save(content | {"optimiser": optimiser.state_dict()}, path)


def test_pictures_come_out_of_a_pack_as_they_went_in(tmp_path):
    random = np.random.default_rng(1)
    planes = plane(random, 48, 64), plane(random, 24, 32), plane(random, 24, 32)
    near = pack.planes_of(pack.unpacked(pack.jpeg(pack.sheet(planes))))
    assert all(np.abs(a.astype(int) - b).max() <= 8 for a, b in zip(planes, near))
    low = random.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    assert (pack.unpacked(pack.lossless(low)) == low).all()


def test_a_pack_keeps_its_size(tmp_path):
    made = pack.Pack(tmp_path / "p.tar", 200_000)
    made.add("a", b"x" * 100_000)
    assert not made.has_room([b"x" * 90_000])
    with pytest.raises(SystemExit, match="does not fit"):
        made.add("b", b"x" * 90_000)
    made.add("c", b"x" * 50_000)
    made.close()
    assert (tmp_path / "p.tar").stat().st_size <= 200_000


def test_what_a_call_leaves_is_what_the_next_begins_with(tmp_path, monkeypatch):
    work, out, back = (tmp_path / name for name in ("work", "out", "back"))
    work.mkdir()
    checkpoint(work / "codec-small-intra.pt")
    (work / "recipe-small.json").write_text(json.dumps({"done": ["intra"]}))
    # Several parts.
    monkeypatch.setattr(gpu, "PART", 200_000)
    gpu.keep(work, out, "log")
    parts = sorted(out.glob("state.tar.*"))
    assert 1 < len(parts) <= gpu.PARTS and max(part.stat().st_size for part in parts) <= 200_000
    gpu.collect(out, back)
    assert json.loads((back / "recipe-small.json").read_text())["done"] == ["intra"]
    ours, theirs = (torch.load(f / "codec-small-intra.pt", weights_only=True) for f in (work, back))
    assert torch.equal(ours["weights"]["weight"], theirs["weights"]["weight"])
    assert torch.allclose(ours["average"]["weight"], theirs["average"]["weight"].float(), atol=1e-4)
    # An optimiser takes the moments at their own precision.
    net = torch.nn.Linear(300, 200)
    optimiser = torch.optim.Adam(net.parameters())
    optimiser.load_state_dict(theirs["optimiser"])
    moments = optimiser.state_dict()["state"][0]["exp_avg"]
    assert moments.dtype == torch.float32
    assert torch.allclose(moments, ours["optimiser"]["state"][0]["exp_avg"], rtol=1e-2)
    with pytest.raises(SystemExit, match="not what a call left"):
        gpu.collect(tmp_path, back)


@pytest.mark.parametrize(("what", "name", "program"), [("codec", "medium", "recipe.py"), ("sr", "rgb-x2", "train.py")])
def test_a_call_trains_what_is_packed(tmp_path, what, name, program):
    args = gpu.arguments(["p.tar", "--out", "left", "--minutes", "3", "--stop", "2", "--with", "--batch 4"])
    known = {"what": what, "name": name, "tier": "small"}
    run = [str(part) for part in gpu.command(known, args, tmp_path)]
    assert run[1].endswith(program) and run[2] == name
    assert run[run.index("--stop") + 1] == "2.0" and run[run.index("--batch") + 1] == "4"
    assert ("--from" in run) == (what == "codec")
