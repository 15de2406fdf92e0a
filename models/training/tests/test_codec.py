"""The codec's networks: where they begin, what their rate counts, what is exported of them."""

import struct
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: models/training/requirements.txt")

ROOT = Path(__file__).resolve().parents[3]


def pictures(codec, seed=1):
    """Two smooth slices with noise, in the networks' units."""
    random = np.random.default_rng(seed)
    y = np.cumsum(random.normal(size=(2, 64, 128)), 2) * 4 + 128
    u, v = (np.cumsum(random.normal(size=(2, 32, 64)), 2) + 128 for _ in "uv")
    planes = (np.clip(p, 0, 255).astype(np.uint8) for p in (y, u, v))
    return codec.tasks.units(torch.from_numpy(codec.frames.packed(*planes)).float())


def test_an_untrained_codec_is_a_cosine_transform(codec):
    nets = codec.nets
    basis = nets.cosine_basis()
    assert torch.allclose(basis @ basis.t(), torch.eye(384), atol=1e-5)
    for inter in (False, True):
        net = nets.Codec(nets.TIERS["small"], inter)
        x = pictures(codec)
        p = pictures(codec, 2) if inter else None
        level = torch.tensor([3, 20])
        back = net.synthesis(net.analysis(x, p, level), p, level)
        assert (back - x).abs().max() < 1e-3


def test_the_rate_is_that_of_the_coders_tables(codec):
    raw = (ROOT / "plugins/core/codec/tables/laplace.bin").read_bytes()
    count, at, tables = struct.unpack_from("<H", raw, 4)[0], 6, []
    for _ in range(count):
        (symbols,) = struct.unpack_from("<H", raw, at)
        tables.append(np.frombuffer(raw, "<u2", symbols, at + 2))
        at += 2 + 2 * symbols
    for scale in (4, 10, 20, 30, 40):
        for value in (0, 1, -1, 2, 5):
            zigzag = 2 * abs(value) - (value < 0)
            frequency = tables[4 * scale][1 + zigzag] if 1 + zigzag < len(tables[4 * scale]) else 0
            if frequency < 8:
                continue
            coder = -np.log2(frequency / 2**14)
            # The first offset of the tables is 1/16.
            ours = codec.nets.bits(torch.tensor(float(value)), 1 / 16, torch.tensor(float(scale)))
            assert abs(ours.item() - coder) < 0.1 + 0.02 * coder, (scale, value)


def test_what_the_hyperprior_has_to_learn_has_a_slope(codec):
    """Values that take it by surprise, and scales beyond their range, still teach it."""
    index = torch.tensor([-3.0, 60.0], requires_grad=True)
    codec.nets.bits(torch.tensor([8.0, 0.0]), 0.0, index).sum().backward()
    assert index.grad[0] < 0 < index.grad[1]


def test_layers_become_integers_that_cannot_overflow(codec):
    random = np.random.default_rng(3)
    weight = torch.from_numpy(random.normal(size=(7, 40)))
    bias = torch.from_numpy(random.normal(size=(32, 7)))
    w, b, s = codec.export.layer(weight, bias)
    reach = np.abs(w.astype(np.int64)).sum(1) * 2047 + np.abs(b.astype(np.int64)).max(0)
    assert reach.max() < 2**24
    scale = 2.0 ** s[0]
    assert np.abs(w / scale - weight.numpy()).max() <= 0.5 / scale
    half = 2 ** (int(s[0]) - 1)
    assert np.abs((b - half) / scale / 128 - bias.numpy()).max() <= 0.5 / scale
    with pytest.raises(SystemExit):
        codec.export.layer(weight * 1e4, bias)


def test_inter_begins_as_intra_on_the_sum(codec, tmp_path):
    nets, checkpoints = codec.nets, codec.checkpoints
    torch.manual_seed(1)
    intra = nets.Codec(nets.TIERS["small"], False)
    with torch.no_grad():
        intra.gs_out.weight.normal_(0, 0.01)
    torch.save({"average": intra.state_dict()}, tmp_path / "codec-small-intra.pt")
    inter = nets.Codec(nets.TIERS["small"], True)
    inter.load_state_dict(checkpoints.begin("small", "inter", tmp_path))
    assert checkpoints.begin("medium", "intra", tmp_path) is None
    x, p, level = pictures(codec), pictures(codec, 2) * 0.2, torch.tensor([5, 25])
    r = intra.ga_lin(nets.group2(x - p))
    want = intra.synthesis(intra.ga_lin(nets.group2(x)), None, level)
    assert (inter.synthesis(r, p, level) - want).abs().max() < 2e-2


def test_frequencies_are_those_of_the_coder(codec):
    counts = np.array([[0, 0, 0, 0], [1e6, 0, 1, 2], [5, 5, 5, 6]])
    found = codec.codebooks.frequencies(counts)
    assert (found.sum(1) == 2**14).all() and (found >= 1).all()
    assert (found[0] == 2**12).all() and found[1, 0] > 16000


def test_contexts_are_those_of_the_specification(codec):
    random = np.random.default_rng(1)
    classes = torch.from_numpy(random.integers(0, 7, (2, 3, 4, 9)))
    found = codec.codebooks.contexts(classes)

    def at(n, r, c, p):
        inside = r >= 0 and c >= 0 and 0 <= p < 9
        return int(classes[n, r, c, p]) if inside else 0

    for n, r, c, p in np.ndindex(2, 3, 4, 9):
        s = sum(2 * at(n, *of, p) + at(n, *of, p + 1) for of in ((r, c - 1), (r - 1, c)))
        t = 2 * at(n, r, c, p - 1) + at(n, r, c, p - 2) + at(n, r, c, p - 3)
        assert found[n, r, c, p] == 6 * min(5, s.bit_length()) + min(5, t.bit_length())


def test_rounds_cost_less_and_give_what_the_codec_reads(codec):
    """Latents of two scales, in turn, that go on from left to right."""
    books = codec.codebooks
    torch.manual_seed(1)
    y = torch.randn(6, 4, 8, 384) * (1 + 4 * (torch.arange(384) < 16))
    y[..., :16] = y[..., :16].cumsum(2)
    level = torch.tensor([4, 8, 12, 16, 20, 24])
    steps = torch.full((32, 384), 2.0)
    trainer = books.Trainer(y, level, steps, None)
    first, _, third = (trainer.round() for _ in range(3))

    def cost(line):
        words = line.split()
        return sum(float(b) * 256 / 384 + float(e) / books.PRICE for b, e in zip(words[1::4], words[3::4]))

    assert cost(third) < cost(first)
    found = trainer.tensors()
    assert found["books"].dtype == np.int16 and found["books"].shape == (8, 4, 256, 4)
    assert found["family"].shape == (96,) and found["table"].max() < len(found["class"])
    assert np.abs(found["predict"].astype(int)).sum(-1).max() <= 2**19
    # What was saved goes on where it stopped.
    again = books.Trainer(y, level, steps, found)
    again.round()
    assert cost(again.round()) < 1.02 * cost(third) < cost(first)


def test_the_transform_loses_hardly_anything_by_rounding(codec):
    """Errors of single weights do not add up on smooth pictures, and the limits are kept."""
    integers, nets = codec.integers, codec.nets
    torch.manual_seed(5)
    net = nets.Codec(nets.TIERS["small"], False)
    with torch.no_grad():
        net.ga_lin.weight += torch.randn_like(net.ga_lin.weight) * 2e-3
    tensors = {}
    with torch.no_grad():
        codec.export.of_pictures(tensors, "lin", net.ga_lin)
        found = nets.group2(pictures(codec)).reshape(-1, 384).numpy().astype(np.float64)
    scale = 2.0 ** tensors["lin.s"][0]
    weight = net.ga_lin.weight.detach().double().numpy()
    assert integers.fits(tensors["lin.w"].astype(np.int64), net.ga_lin.bias.detach().numpy(), tensors["lin.s"][0])
    errors = [np.square(found @ (w / scale - weight).T).mean() for w in (tensors["lin.w"], np.rint(weight * scale))]
    assert errors[0] < errors[1] / 4
    covariance = integers.picture_covariance()
    assert np.allclose(covariance, covariance.T) and np.linalg.eigvalsh(covariance).min() > 0
    # Luma samples side by side across the border of two packed positions are neighbours.
    assert covariance[7, 96] == covariance[0, 1] == covariance[0, 8]


def test_tables_of_vectors_are_whole_and_know_no_direction(codec):
    tables = codec.motion_tables
    random = np.random.default_rng(3)
    counts = random.integers(0, 500, (244, 64)) * (random.random((244, 64)) < 0.3)
    found = tables.tables_of(counts)
    raw = (ROOT / "plugins/core/codec/tables/motion.bin").read_bytes()
    assert len(found) == struct.unpack_from("<H", raw, 4)[0]
    assert len(tables.file_of(found)) == len(raw)
    for table in found:
        assert table.sum() == tables.TOTAL and table.min() >= 1
    for table in found[100:]:
        # Symbols 2 and 3 are -1 and 1, and so on; the likeliest also bears what rounding left.
        pairs = table[2:].reshape(-1, 2)
        assert (np.abs(pairs[:, 0] - pairs[:, 1]) <= 64).all()
    # A table that has been seen often is what was seen, nearly.
    counts = np.zeros((244, 64))
    counts[100, 1:4] = 2e6, 1e6, 1e6
    seen = tables.tables_of(counts)[100] / tables.TOTAL
    assert np.allclose(seen[1:4], (0.5, 0.25, 0.25), atol=0.01)
