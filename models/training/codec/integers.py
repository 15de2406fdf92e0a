"""How layers become integers: the shift of a layer, which export and training have to agree on."""

import numpy as np

UNIT = 128.0
TOP = 2**24 - 1
LARGEST_WEIGHT = 8191
LARGEST_ACTIVATION = 2047


def shift_of(weight, bias, inputs=1):
    """The finest power of two for weights for which no sum can leave 24 bits.

    `weight` and `bias` (in units) are float64 arrays, `inputs` is the axis of the weights that a
    sum runs over; `bias` may have a row a level.
    """
    biases = np.abs(np.atleast_2d(bias)).max(axis=0) * UNIT
    for shift in range(15, 0, -1):
        scale = 2.0**shift
        whole = np.abs(np.rint(weight * scale))
        reach = whole.sum(axis=inputs) * LARGEST_ACTIVATION + (biases + 1) * scale
        if whole.max() <= LARGEST_WEIGHT and reach.max() <= TOP:
            return shift
    raise SystemExit("a layer's weights are too large for exact integers: train at a smaller rate")


def fits(whole, bias, shift):
    """Whether integer weights `[outputs, inputs]` keep to the limits; `bias` is in units."""
    biases = np.abs(np.atleast_2d(bias)).max(axis=0) * UNIT
    reach = np.abs(whole).sum(axis=1) * LARGEST_ACTIVATION + (biases + 1) * 2.0**shift
    return np.abs(whole).max() <= LARGEST_WEIGHT and reach.max() <= TOP


def picture_covariance(correlation=0.95):
    """How samples of 16x16 luma and twice 8x8 chroma go together, `[384, 384]`, as `group2` of packed
    pictures orders them: neighbours by `correlation`, and all of a plane by its mean."""
    places = []
    for side, plane in ((8, 0), (4, 1), (4, 2)):
        row, column = np.mgrid[0:side, 0:side].reshape(2, -1)
        places.append(np.stack([row, column, np.full(side * side, plane), np.full(side * side, side)], 1))
    packed = np.concatenate(places)
    every = []
    for down in (0, 1):
        for right in (0, 1):
            moved = packed.copy()
            moved[:, 0] += down * moved[:, 3]
            moved[:, 1] += right * moved[:, 3]
            every.append(moved)
    at = np.concatenate(every)
    distance = np.abs(at[:, None, :2] - at[None, :, :2]).sum(-1)
    return (at[:, None, 2] == at[None, :, 2]) * correlation**distance


def compensated(weight, scale, covariance):
    """Whole multiples of `1 / scale` for `weight`, `[outputs, inputs]`, as integers.

    What one weight loses by rounding, those after it make good for inputs that go together as
    `covariance` says (Frantar et al. 2022, "GPTQ"). Nearest rounding would let errors add up where
    all inputs are alike, as in skies.
    """
    left = np.asarray(weight, np.float64) * scale
    inputs = left.shape[1]
    damped = covariance + np.eye(inputs) * 1e-3
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    out = np.empty_like(left)
    for i in range(inputs):
        out[:, i] = np.rint(left[:, i])
        error = (left[:, i] - out[:, i]) / factor[i, i]
        left[:, i + 1 :] -= error[:, None] * factor[i, i + 1 :]
    return out
