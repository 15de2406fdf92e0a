import numpy as np
import pytest

from bicubic import crop_to_multiple, resize, resize_u8, rgb_to_y
from data import load_rgb


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["baby", "bird", "butterfly", "head", "woman"])
def test_equals_matlab_on_set5(data, scale, name):
    high = crop_to_multiple(load_rgb(data / f"images/Set5/HR/{name}.png"), scale)
    matlab = load_rgb(data / f"images/Set5/LR_bicubic/X{scale}/{name}x{scale}.png")
    assert np.array_equal(resize_u8(high, 1 / scale), matlab)


def test_constant_stays_constant():
    assert np.allclose(resize(np.full((7, 9), 42.0), 2), 42)
    assert np.allclose(resize(np.full((8, 12), 42.0), 0.25), 42)


def test_upscaling_reproduces_a_ramp_inside():
    ramp = np.tile(np.arange(16.0), (16, 1))
    expected = (np.arange(32) + 0.5) / 2 - 0.5
    assert np.allclose(resize(ramp, 2)[8, 8:-8], expected[8:-8])


def test_luma_is_limited_range():
    ends = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    assert rgb_to_y(ends).tolist() == [[16, 235]]
