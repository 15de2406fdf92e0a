"""The codec's stages beyond the first two: motion, integers, wider and narrower networks."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: models/training/requirements.txt")

PIXELS = 64


def smooth(random, height, width):
    """A plane of 8-bit samples with some detail."""
    plane = np.cumsum(random.normal(size=(height, width)) * 6, 1) + random.normal(size=(height, width)) * 9 + 128
    return np.clip(plane, 0, 255).astype(np.uint8)


def planes(random, height=128, width=128):
    """Y, U and V."""
    return smooth(random, height, width), *(smooth(random, height // 2, width // 2) for _ in "uv")


def shaken(codec, inter, seed=2, shape=None):
    """Networks in which every layer does something."""
    torch.manual_seed(seed)
    net = codec.nets.Codec(shape or codec.nets.TIERS["small"], inter)
    with torch.no_grad():
        for name, value in net.named_parameters():
            value += torch.randn_like(value) * (0.02 if "lin" not in name else 1e-4)
    return net


def units(codec, random, inter=False):
    """A picture (and a prediction) of two slices."""
    def one():
        packed = codec.frames.packed(*(p[None] for p in planes(random)))
        return codec.tasks.units(torch.from_numpy(packed).float()).reshape(-1, 8, 16, 96)

    return one(), one() if inter else None


def specified(plane, x, y, vx, vy):
    """A sample of luma as docs/bitstream.md defines it, in integers."""
    height, width = plane.shape

    def at(dx, dy):
        return int(plane[min(max(y + (vy >> 2) + dy, 0), height - 1), min(max(x + (vx >> 2) + dx, 0), width - 1)])

    taps, clip = (1, -5, 20, 20, -5, 1), lambda v: min(max(v, 0), 255)
    across = lambda dx, dy: sum(t * at(dx + k - 2, dy) for k, t in enumerate(taps))
    b = lambda dx, dy: clip((across(dx, dy) + 16) >> 5)
    h = lambda dx, dy: clip((sum(t * at(dx, dy + k - 2) for k, t in enumerate(taps)) + 16) >> 5)
    j = clip((sum(t * across(0, k - 2) for k, t in enumerate(taps)) + 512) >> 10)
    table = [
        [(at(0, 0),), (at(0, 0), b(0, 0)), (b(0, 0),), (b(0, 0), at(1, 0))],
        [(at(0, 0), h(0, 0)), (b(0, 0), h(0, 0)), (b(0, 0), j), (b(0, 0), h(1, 0))],
        [(h(0, 0),), (h(0, 0), j), (j,), (j, h(1, 0))],
        [(h(0, 0), at(0, 1)), (b(0, 1), h(0, 0)), (j, b(0, 1)), (b(0, 1), h(1, 0))],
    ]
    found = table[vy & 3][vx & 3]
    return found[0] if len(found) == 1 else (found[0] + found[1] + 1) >> 1


def test_motion_is_compensated_as_specified(codec):
    random = np.random.default_rng(4)
    plane, small = smooth(random, 48, 48), smooth(random, 24, 24)
    field = random.integers(-90, 90, (1, 6, 6, 2))
    field[0, 0, 0] = codec.warp.GREY
    vectors = torch.from_numpy(field)
    got = codec.warp.luma(torch.from_numpy(plane)[None].float(), vectors, 0, 48, 48)[0].numpy()
    half = codec.warp.chroma(torch.from_numpy(small)[None].float(), vectors, 0, 24, 24)[0].numpy()
    for y in range(0, 48, 3):
        for x in range(0, 48, 3):
            vx, vy = (int(v) for v in field[0, y // 8, x // 8])
            grey = vx == codec.warp.GREY
            assert got[y, x] == (128 if grey else specified(plane, x, y, vx, vy)), (x, y, vx, vy)
            if x % 2 or y % 2 or grey:
                continue
            fx, fy, left, top = vx & 7, vy & 7, x // 2 + (vx >> 3), y // 2 + (vy >> 3)
            a, b, c, d = (
                int(small[np.clip(top + dy, 0, 23), np.clip(left + dx, 0, 23)]) for dy in (0, 1) for dx in (0, 1)
            )
            want = ((8 - fx) * (8 - fy) * a + fx * (8 - fy) * b + (8 - fx) * fy * c + fx * fy * d + 32) >> 6
            assert half[y // 2, x // 2] == want


def test_a_reference_gets_gradients_through_the_motion(codec):
    random = np.random.default_rng(5)
    picture = torch.zeros(1, 16, 16, 96, requires_grad=True)
    around = [torch.from_numpy(smooth(random, s, s))[None].float() for s in (192, 96, 96)]
    field = torch.full((1, 16, 16, 2), 5)
    codec.sequences.predicted(picture, around, field).sum().backward()
    assert (picture.grad != 0).float().mean() > 0.9


def test_mixed_precision_changes_little(codec):
    """bf16 in the trunks; transforms and rate keep single precision."""
    net = shaken(codec, False)
    x, _ = units(codec, np.random.default_rng(6))
    level = torch.tensor([4, 20])
    with torch.no_grad():
        exact = net(x, None, level, hard=True)
        net.mixed = True
        mixed = net(x, None, level, hard=True)
    assert not torch.equal(mixed[0], exact[0])
    assert (mixed[0] - exact[0]).abs().mean() < 0.02
    assert torch.allclose(mixed[1], exact[1], rtol=2e-2)


class Integers:
    """The decoder's networks in integers, from exported tensors (docs/bitstream.md)."""

    def __init__(self, tensors, kind):
        self.tensors, self.kind = tensors, kind

    def layer(self, name):
        return (self.tensors[f"{self.kind}.{name}.{part}"].astype(np.int64) for part in "wbs")

    def dense(self, name, x, level=None, low=-2047):
        w, b, s = self.layer(name)
        return np.clip((x @ w.T + (b if level is None else b[level])) >> s, low, 2047)

    def depthwise(self, name, x):
        w, b, s = self.layer(name)
        rows, columns, _ = x.shape
        around = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        y = b + sum(w[3 * i + j] * around[i : i + rows, j : j + columns] for i in range(3) for j in range(3))
        return np.clip(y >> s, -2047, 2047)

    @staticmethod
    def shuffle(x):
        rows, columns, c = x.shape
        return x.reshape(rows, columns, 2, 2, c // 4).transpose(0, 2, 1, 3, 4).reshape(2 * rows, 2 * columns, c // 4)

    def decode(self, z, chosen, level, p):
        """A picture's samples from hyper-latents and from a function (group, base, index) -> q."""
        x = self.shuffle(self.dense("hs.up1", np.clip(64 * z, -2047, 2047), low=0))
        x = self.dense("hs.d1", self.depthwise("hs.dw1", x), low=0)
        x = self.shuffle(self.dense("hs.up2", x, low=0))[:4]
        f = self.dense("hs.d2", self.depthwise("hs.dw2", x), low=0)
        found, start = [], 0
        for n in range(3):
            scale, mean = self.dense(f"hs.{n}.scale", f), self.dense(f"hs.{n}.mean", f)
            part = slice(start, start + scale.shape[-1])
            start = part.stop
            shift, inverse = (self.tensors[f"{self.kind}.{t}"].astype(np.int64)[level, part] for t in ("shift", "inv"))
            index = np.clip((scale + shift + 8) >> 4, 0, 47)
            m = np.clip((mean * inverse + 2**11) >> 12, -16383, 16383)
            q = chosen(n, (m + 4) >> 3, index)
            found.append(q)
            if n < 2:
                a = np.minimum(128 * np.abs(q), 2047)
                f = self.dense(f"hs.{n}.mix", np.concatenate([f, a, self.depthwise(f"hs.{n}.dw", a)], -1), level, 0)
        q = np.concatenate(found, -1)
        y = np.clip((q * self.tensors[f"{self.kind}.step"].astype(np.int64)[level] + 8) >> 4, -2047, 2047)
        r = self.shuffle(self.dense("gs.lin", y))
        f = self.dense("gs.in", r if p is None else np.concatenate([r, p], -1), level)
        n = 0
        while f"{self.kind}.gs.{n}.dw.w" in self.tensors:
            wide = self.dense(f"gs.{n}.up", self.depthwise(f"gs.{n}.dw", f), low=0)
            f = np.clip(f + self.dense(f"gs.{n}.down", wide), -2047, 2047)
            n += 1
        out = r + self.dense("gs.out", f) + (0 if p is None else p)
        return np.clip((out + 1024 + 4) >> 3, 0, 255)


@pytest.mark.parametrize("inter", [False, True])
def test_whole_networks_are_the_integers(codec, inter):
    """What quantisation-aware training computes is what the exported integers compute."""
    net = shaken(codec, inter)
    net.whole(True)
    x, p = units(codec, np.random.default_rng(6), inter)
    x, p, level = x[:1], None if p is None else p[:1], torch.tensor([9])
    taken = []
    chosen = net.chosen
    net.chosen = lambda *a: taken.append(chosen(*a)) or taken[-1]
    z = {}
    synthesis = net.hyper_synthesis
    net.hyper_synthesis = lambda z_hat, *a: z.setdefault("z", z_hat) is None or synthesis(z_hat, *a)
    with torch.no_grad():
        picture, *_ = net(x, p, level, hard=True)
    decoder, _ = codec.export.sections(net, "inter" if inter else "intra")
    integers = Integers(decoder, "inter" if inter else "intra")
    known = [q[0].round().long().numpy() for q in taken]

    def coded(n, base, index):
        assert (known[n][index == 0] == base[index == 0]).all()
        return known[n]

    prediction = None if p is None else (p[0] * 128).round().long().numpy()
    samples = integers.decode(z["z"][0].round().long().numpy(), coded, 9, prediction)
    ours = ((picture[0] * 128 + 1024) / 8).numpy()
    assert np.abs(ours - ours.round()).max() == 0
    # Means are divided in training and multiplied by an inverse in the decoder; nothing else differs.
    assert (samples != ours).mean() < 1e-3 and np.abs(samples - ours).max() <= 1


def test_the_encoders_choice_is_the_cheaper_one(codec):
    net = shaken(codec, False)
    net.whole(True)
    q, mean, index = torch.tensor([0.9, 1.52, -0.4]), torch.zeros(3), torch.tensor([0.0, 4.0, 30.0])
    assert net.chosen(q, mean, index).tolist() == [0.0, 1.0, 0.0]
    q.requires_grad_(True)
    net.chosen(q, mean, torch.full((3,), 30.0)).sum().backward()
    assert q.grad.tolist() == [1.0] * 3


@pytest.mark.parametrize("inter", [False, True])
def test_a_wider_tier_begins_as_the_smaller_one_and_can_learn(codec, inter):
    nets = codec.nets
    small = shaken(codec, inter)
    wide = nets.Shape(64, 112, 4, 3, 80)
    large = nets.Codec(wide, inter)
    large.load_state_dict(codec.checkpoints.widened(small.state_dict(), small.shape, wide, inter))
    x, p = units(codec, np.random.default_rng(7), inter)
    level = torch.tensor([3, 25])
    with torch.no_grad():
        ours, theirs = (net(x, p, level, hard=True) for net in (small, large))
    assert (ours[0] - theirs[0]).abs().max() < 1e-3
    assert torch.allclose(ours[1], theirs[1], rtol=1e-3)
    codec.tasks.costs(large, x, p, level)[2].mean().backward()
    f = small.shape.features
    # What is not read yet learns to be read.
    assert large.gs_out.weight.grad[:, f:].abs().max() > 0
    assert large.gs_trunk[3].down.weight.grad.abs().max() > 0


class Small:
    """A task of a few random pictures."""

    def __new__(cls, codec, inter=False):
        random = np.random.default_rng(8)
        states = [[planes(random) for _ in range(3)] for _ in range(2 if inter else 1)]
        known = [4, 12, 20] if inter else None
        return codec.tasks.Pictures(states, states, known, known)


def test_pruning_ranks_measures_and_leaves_the_function(codec):
    net = shaken(codec, False)
    with torch.no_grad():
        net.gs_trunk[1].down.weight[:, 8:40] = 0
    task = Small(codec)
    worth = codec.prune.worth(net, task, 2, 128)[("gs", 1)]
    assert (worth[8:40] == 0).all() and (worth[40:] > 0).any()
    channels = torch.cat([torch.arange(8), torch.arange(40, 96)])
    same = codec.prune.kept(net, "gs", 1, channels)
    assert abs(codec.prune.measured(same, task) - codec.prune.measured(net, task)) < 1e-4
    smaller = codec.prune.prune(net, task, 1 - 32 / 480, batch=2, log=lambda _: None)
    assert sum(smaller.shape.of("gs") + smaller.shape.of("ga")) == 480 - 32
    assert codec.prune.macs(smaller) <= codec.prune.macs(net)
    known = codec.checkpoints.described(smaller.shape)
    assert codec.checkpoints.shape_of({"state": {"shape": known}}, "small") == smaller.shape


@pytest.fixture
def little(codec, monkeypatch):
    """Stages without data: a few random pictures, and no sequences."""
    monkeypatch.setattr(codec.train, "task_of", lambda options, _: Small(codec, options.kind == "inter"))
    shape = codec.nets.Shape(16, 16, 1, 1, 16)
    for module in (codec.nets, codec.train, codec.checkpoints):
        monkeypatch.setitem(module.TIERS, "small", shape)
    return shape


def test_rounds_go_on_within_their_stage_only(codec, little, tmp_path):
    options = codec.train.Options("small", "intra", tmp_path, tmp_path, minutes=0.005, batch=2, patch=64)
    codec.train.Round(options).run()
    saved = codec.checkpoints.read(options.checkpoint)
    first = saved["state"]["step"]
    assert saved["state"]["finished"] and first > 0
    saved["state"] |= {"finished": False, "elapsed": 0.1}
    torch.save(saved, options.checkpoint)
    other = codec.train.Options("small", "intra-quantised", tmp_path, tmp_path, minutes=0.005, batch=2, patch=64)
    with pytest.raises(SystemExit, match="within a round of stage intra"):
        codec.train.Round(other)
    codec.train.Round(options).run()
    state = codec.checkpoints.read(options.checkpoint)["state"]
    assert state["round"] == 1 and state["step"] > first
    codec.train.Round(other).run()
    state = codec.checkpoints.read(options.checkpoint)["state"]
    assert state["round"] == 2 and [h["stage"] for h in state["history"]] == ["intra", "intra", "intra-quantised"]


def test_the_recipe_goes_on_where_it_was_interrupted(codec, little, tmp_path, monkeypatch):
    ran = []
    run = codec.train.Round.run

    def interrupted(self):
        if self.options.stage == "unrolled" and "unrolled" not in ran:
            ran.append("unrolled")
            raise KeyboardInterrupt
        ran.append(self.options.stage)
        run(self)

    monkeypatch.setattr(codec.train.Round, "run", interrupted)
    monkeypatch.setattr(codec.recipe, "freeze", lambda *_: "")
    command = ["recipe.py", "small", "--data", str(tmp_path), "--work", str(tmp_path), "--minutes", "0.02"]
    monkeypatch.setattr("sys.argv", [*command, "--batch", "2", "--patch", "64", "--no-seal"])
    with pytest.raises(KeyboardInterrupt):
        codec.recipe.main()
    codec.recipe.main()
    assert ran == ["intra", "inter", "unrolled", "unrolled", "intra-quantised", "inter-quantised"]
    assert (tmp_path / "small.gnm").read_bytes()[:4] == b"GNM1"
    # Interrupted between the end of a stage and the note of it: the stage is not done twice.
    plan = json.loads((tmp_path / "recipe-small.json").read_text())
    plan["done"].remove("inter-quantised")
    (tmp_path / "recipe-small.json").write_text(json.dumps(plan))
    codec.recipe.main()
    assert len(ran) == 6
    assert json.loads((tmp_path / "recipe-small.json").read_text())["pass"] == 1


def test_a_teacher_is_learned_from(codec):
    teacher, pupil = shaken(codec, False, 3).requires_grad_(False), shaken(codec, False, 4)
    x, _ = units(codec, np.random.default_rng(9))
    level = torch.tensor([4, 20])
    plain = codec.tasks.costs(pupil, x, None, level, hard=True)[2]
    taught = codec.tasks.costs(pupil, x, None, level, hard=True, teacher=teacher)[2]
    itself = codec.tasks.costs(pupil, x, None, level, hard=True, teacher=pupil)[2]
    assert (taught > itself).all() and (itself <= plain).all()


def test_frozen_scales_are_those_that_cost_least(codec, monkeypatch, tmp_path):
    net = shaken(codec, False)
    torch.save({"state": {}, "average": net.state_dict()}, tmp_path / "codec-small-intra.pt")
    random = np.random.default_rng(8)
    monkeypatch.setattr(codec.freeze, "photographs", lambda *_: [planes(random) for _ in range(3)])
    monkeypatch.setattr(codec.freeze, "CROPS", 8)
    assert "save" in codec.freeze.freeze("small", "intra", tmp_path, tmp_path)
    frozen = codec.checkpoints.load_average(tmp_path / "codec-small-intra.pt")
    decoder, _ = codec.export.sections(frozen, "intra")
    assert (decoder["intra.z"] == frozen.frozen.numpy()).all()
    assert decoder["intra.z"].shape == (32, 32)
