"""MATLAB's `imresize` (bicubic, antialiased) and `rgb2ycbcr`, in numpy.

The super-resolution literature makes its test inputs with MATLAB. Other
bicubic filters (PIL, OpenCV, torch) differ in the kernel, in antialiasing or
at the borders, and cost several tenths of a dB when mixed.

Kernel: Keys' cubic convolution with a = -0.5; when shrinking it is stretched by
the factor (antialiasing); borders are mirrored (half-sample symmetric).
"""

from functools import lru_cache

import numpy as np
from scipy import sparse


def cubic(x):
    """Keys' cubic kernel (a = -0.5) at distances `x`, in samples."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


@lru_cache(maxsize=64)
def resize_matrix(in_len, out_len, scale):
    """The sparse `[out_len, in_len]` matrix that resizes one dimension by `scale`."""
    stretch = min(scale, 1.0)
    support = 4.0 / stretch
    centre = (np.arange(out_len) + 0.5) / scale - 0.5
    first = np.floor(centre - support / 2).astype(int) + 1
    taps = first[:, None] + np.arange(int(np.ceil(support)) + 1)[None, :]
    weights = stretch * cubic(stretch * (centre[:, None] - taps))
    weights /= weights.sum(axis=1, keepdims=True)
    mirror = np.concatenate([np.arange(in_len), np.arange(in_len)[::-1]])
    columns = mirror[taps % (2 * in_len)]
    rows = np.repeat(np.arange(out_len), taps.shape[1])
    matrix = sparse.coo_matrix(
        (weights.ravel(), (rows, columns.ravel())), shape=(out_len, in_len)
    )
    return matrix.tocsr()


def resize(plane, scale):
    """Resizes one plane `[H, W]` by `scale`; float64 out, neither rounded nor clipped."""
    height, width = plane.shape
    rows = resize_matrix(height, int(np.ceil(height * scale)), float(scale))
    columns = resize_matrix(width, int(np.ceil(width * scale)), float(scale))
    tall = rows @ np.asarray(plane, dtype=np.float64)
    return (columns @ tall.T).T


def to_u8(values):
    """Rounds half away from zero and clips to 0..255, as MATLAB's `uint8()`."""
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def resize_u8(image, scale):
    """Resizes an 8-bit image (`[H, W]` or `[H, W, C]`) bit-exactly as MATLAB does.

    MATLAB works one dimension at a time, rows first, and rounds to 8 bits after each.
    """
    if image.ndim == 3:
        return np.stack([resize_u8(image[..., c], scale) for c in range(image.shape[2])], axis=2)
    height, width = image.shape
    rows = resize_matrix(height, int(np.ceil(height * scale)), float(scale))
    columns = resize_matrix(width, int(np.ceil(width * scale)), float(scale))
    tall = to_u8(rows @ image.astype(np.float64))
    return to_u8((columns @ tall.T.astype(np.float64)).T)


def rgb_to_y(image):
    """BT.601 limited-range luma (16..235) of an 8-bit RGB or grey image, rounded."""
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    rgb = image[..., :3].astype(np.float64)
    return to_u8(16 + (rgb @ np.array([65.481, 128.553, 24.966])) / 255)


def crop_to_multiple(image, multiple):
    """Drops the rows and columns on the right and below that exceed a multiple."""
    height = image.shape[0] // multiple * multiple
    width = image.shape[1] // multiple * multiple
    return image[:height, :width]
