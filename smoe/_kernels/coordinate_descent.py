"""Coordinate descent on a quadratic with absolute values, the inner problem of the lasso."""

import numpy as np

from smoe._kernels._jit import kernel


@kernel
def coordinate_descent(bend, slope, start, weight, n_sweeps, tol):
    """Return the x that maximises slope'(x - start) - (x - start)' bend (x - start) / 2 - weight'|x|.

    Entries are zero exactly where the maximum has them there. An entry without curvature stays. A weight may be
    infinite. It ends when no entry's own slope was above ``tol`` in a sweep, or after ``n_sweeps``.
    """
    x, left = np.copy(start), np.copy(slope)
    for _ in range(n_sweeps):
        largest = 0.0
        for j in range(len(x)):
            own = bend[j, j]
            if not own > 0.0:
                continue
            target = own * x[j] + left[j]
            size = max(abs(target) - weight[j], 0.0) / own
            step = (size if target > 0.0 else -size) - x[j]
            if step != 0.0:
                for i in range(len(x)):
                    left[i] -= bend[j, i] * step
                x[j] = size if target > 0.0 else (-size if size > 0.0 else 0.0)
                largest = max(largest, abs(step) * own)
        if largest <= tol:
            break
    return x
