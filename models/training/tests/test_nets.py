import numpy as np
import pytest
import torch

from bicubic import resize
from export import build, max_difference
from nets import UpscaleNet, Shape, grow
from receptive import receptive_radius
from recipes import RECIPES

SHAPES = sorted({recipe.shape for recipe in RECIPES.values() if recipe.tier != "gpu"}, key=str)
# Those for a GPU have 64 channels and 16 layers, which are slow here: the same kind, smaller.
SHAPES += [Shape(scale, 8, 2, planes=3) for scale in (2, 4)]


def shaken(shape, seed=0):
    """A net whose every parameter is away from its start."""
    torch.manual_seed(seed)
    net = UpscaleNet(shape).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.03 * torch.randn_like(parameter)
    return net


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_untrained_net_is_bicubic(shape):
    x = torch.rand(1, shape.planes, 24, 32)
    with torch.no_grad():
        y = UpscaleNet(shape)(x)[0].numpy()
    expected = np.stack([resize(plane, shape.scale) for plane in x[0].numpy()])
    inside = slice(4 * shape.scale, -4 * shape.scale)
    assert np.abs(y - expected)[:, inside, inside].max() < 1e-5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_constant_input_has_no_dark_border(shape):
    with torch.no_grad():
        y = UpscaleNet(shape)(torch.full((1, shape.planes, 16, 16), 0.7))
    assert torch.allclose(y, torch.full_like(y, 0.7), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_export_equals_torch(shape):
    net = shaken(shape)
    assert max_difference(net, build(net, "net")) < 1e-4


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_graph_ends_in_a_pixel_shuffle_and_is_clean(shape):
    nodes = build(UpscaleNet(shape), "net").graph.node
    end = "DepthToSpace" if shape.shuffle > 1 else "Add"
    assert nodes[-1].op_type == end
    assert {n.op_type for n in nodes} == {"Pad", "Conv", "Relu", "Add", end}


def test_half_precision_is_near_and_halves_the_file():
    net = shaken(Shape(2, 8, 2, planes=3))
    full, half = build(net, "net"), build(net, "net", half=True)
    assert max_difference(net, half) < 1e-2
    assert half.ByteSize() < 0.6 * full.ByteSize()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_overlap_is_the_receptive_radius(shape):
    """A tile with the stated overlap is exact, and one aligned step less is not."""
    net = shaken(shape)
    assert receptive_radius(build(net, "net")) == (shape.radius, True)
    step, scale, size = shape.stride, shape.scale, 24
    frame = torch.rand(1, shape.planes, 96, 96)
    at = 36

    def tile(overlap):
        low, high = at - overlap, at + size + overlap
        with torch.no_grad():
            y = net(frame[..., low:high, low:high])
        cut = slice(overlap * scale, (overlap + size) * scale)
        return y[..., cut, cut]

    with torch.no_grad():
        inside = slice(at * scale, (at + size) * scale)
        whole = net(frame)[..., inside, inside]
    aligned = -(-shape.radius // step) * step
    assert torch.allclose(tile(aligned), whole, atol=1e-5)
    assert not torch.allclose(tile(aligned - step), whole, atol=1e-5)


def test_mixed_precision_is_near_and_keeps_the_skip_exact():
    net = shaken(Shape(2, 8, 2, planes=3))
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        exact = net(x)
        net.mixed = True
        assert 0 < (net(x) - exact).abs().max() < 1e-2
        net.last.plain.zero_(), net.last.squeeze.zero_(), net.last.edge_gain.zero_()
        net.mixed, mixed = False, net(x)
        assert torch.equal(net(x), mixed)


def test_growing_changes_nothing():
    shallow, deep = Shape(2, 16, 4, 2), Shape(2, 16, 6, 2)
    small, large = shaken(shallow), UpscaleNet(deep)
    large.load_state_dict(grow(small.state_dict(), deep))
    x = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(small(x), large(x), atol=1e-6)
