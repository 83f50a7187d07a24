"""The gate's part of an M-step."""

import math

import numpy as np

from smoe._kernels._jit import kernel

_RIDGE = 1e-9  # relative; keeps a separated gate's step finite
_SMALLEST = 1e-100  # of an information that has vanished, as a hard partition's has
_LONGEST = 10.0  # working coordinates have unit spread: a longer step leaves the region where the model holds


@kernel
def damped_step(gradient, information):
    """Return information^-1 gradient, with a small ridge, and no longer than is sensible; zero if that is no number."""
    if not len(gradient) or not np.isfinite(np.sum(information)):
        return np.zeros(len(gradient))
    values, vectors = np.linalg.eigh(information)
    ridge = _RIDGE * max(values[-1], _SMALLEST)
    step, square = np.zeros(len(gradient)), 0.0
    for j in range(len(gradient)):
        along = 0.0
        for i in range(len(gradient)):
            along += vectors[i, j] * gradient[i]
        along /= max(values[j], 0.0) + ridge
        square += along * along
        for i in range(len(gradient)):
            step[i] += along * vectors[i, j]
    length = math.sqrt(square)
    return step * (_LONGEST / length) if length > _LONGEST else step
