import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: models/training/requirements.txt")

from patches import Pairs  # noqa: E402


@pytest.mark.parametrize("planes", [1, 3])
def test_patches_of_both_sizes_show_the_same_place(planes):
    """High resolution that repeats each sample of the low one: then both are equal everywhere."""
    random = np.random.default_rng(1)
    shape = (64, 80) if planes == 1 else (64, 80, 3)
    low = [random.integers(0, 256, shape, dtype=np.uint8) for _ in range(3)]
    high = [image.repeat(2, 0).repeat(2, 1) for image in low]
    pairs = Pairs(low, high, 2)
    a, b = pairs.sample(torch.Generator().manual_seed(2), 40, 24)
    assert a.shape == (40, planes, 24, 24) and b.shape == (40, planes, 48, 48)
    assert torch.equal(a.repeat_interleave(2, 2).repeat_interleave(2, 3), b)
    # Turned and flipped, too: the first rows are not all rows of a picture.
    rows = {image[y, x : x + 24].tobytes() for image in low for y in range(64) for x in range(57)}
    found = [(patch[:, 0] * 255).round().byte().numpy().T.squeeze().tobytes() in rows for patch in a]
    assert 0 < sum(found) < len(found)
