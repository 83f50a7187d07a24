"""Coordinate descent on a quadratic with absolute values, the inner problem of the lasso."""

import numpy as np

from smoe._kernels._jit import inner, kernel


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


@kernel
def block_descent(bend, slope, start, weight, ends, values, vectors, n_sweeps, tol):
    """Return the same where lengths of groups take the place of absolute values, the lengths of weight times x.

    A group ends before the entry in ``ends``. Its rows of ``values`` and ``vectors`` are the eigenvalues and
    eigenvectors of its part of ``bend``, divided by the weights of both entries; an entry by itself needs none.
    """
    x, left, target = np.copy(start), np.copy(slope), np.zeros(len(start))
    for _ in range(n_sweeps):
        largest, first = 0.0, 0
        for last in ends:
            for i in range(first, last):
                target[i] = left[i]
                for j in range(first, last):
                    target[i] += bend[i, j] * x[j]
            if last - first > 1:
                _length_step(target, weight, values, vectors, first, last)
            elif bend[first, first] > 0.0:
                size = max(abs(target[first]) - weight[first], 0.0) / bend[first, first]
                target[first] = size if target[first] > 0.0 else (-size if size > 0.0 else 0.0)
            else:
                target[first] = x[first]
            for j in range(first, last):
                step = target[j] - x[j]
                if step != 0.0:
                    for i in range(len(x)):
                        left[i] -= bend[j, i] * step
                    x[j] = target[j]
                    largest = max(largest, abs(step) * bend[j, j])
            first = last
        if largest <= tol:
            break
    return x


@inner
def _length_step(target, weight, values, vectors, first, last):
    """Put the maximum for one group in the place of its target: the length N of u solves |(A + 1 / N)^-1 t| = N."""
    square = 0.0
    for i in range(first, last):
        target[i] /= weight[i]
        square += target[i] ** 2
    if square <= 1.0:
        target[first:last] = 0.0
        return
    turned = np.zeros(last - first)
    for i in range(first, last):
        for j in range(last - first):
            turned[j] += vectors[i, j] * target[i]
    length = 0.0
    for _ in range(100):  # Newton's method on 1 / |t / (A N + 1)|, concave in N, from below
        square, slope = 0.0, 0.0
        for j in range(last - first):
            own = 1.0 + values[first + j] * length
            square += (turned[j] / own) ** 2
            slope += turned[j] ** 2 * values[first + j] / own**3
        step = (np.sqrt(square) - 1.0) * square / slope if slope > 0.0 else 0.0
        length += step
        if step <= 1e-15 * length:
            break
    for i in range(first, last):
        target[i] = 0.0
        for j in range(last - first):
            target[i] += vectors[i, j] * turned[j] * length / (1.0 + values[first + j] * length)
        target[i] /= weight[i]
