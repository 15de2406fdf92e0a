import numpy as np
import pytest

from degrade import encode


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_encoding_keeps_frames_and_loses_detail(tmp_path, codec):
    random = np.random.default_rng(0)
    base = np.kron(random.integers(40, 210, (9, 16)), np.ones((8, 8))).astype(np.uint8)
    planes = [np.roll(base, shift, axis=1) for shift in range(4)]
    decoded = encode(planes, codec, 34, "veryfast", tmp_path)
    assert [p.shape for p in decoded] == [p.shape for p in planes]
    errors = [np.abs(a.astype(int) - b).mean() for a, b in zip(decoded, planes)]
    assert all(0.01 < error < 12 for error in errors)
    assert not list(tmp_path.iterdir())
