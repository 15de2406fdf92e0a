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
