"""Covariance matrices as chains of regressions, small ones for each of some experts."""

import numpy as np

from smoe._kernels._jit import inner, kernel

_SAME = 1e-13  # share of a response's variance that responses before it leave by rounding alone
_VANISHED = 1e-4  # share of the floor below which a variance is rounding
_SETTLED = 1e-13  # relative change of volumes
_MOST = 500  # alternations between volumes and shape; a few dozen are enough


@kernel
def unit_lower(slopes, q):
    """Return T (n, q, q) with unit diagonals, and minus the slopes (n, n_pairs) below them, row by row."""
    n = len(slopes)
    out = np.zeros((n, q, q))
    for e in range(n):
        place = 0
        for j in range(q):
            out[e, j, j] = 1.0
            for i in range(min(j, slopes.shape[1])):
                out[e, j, i] = -slopes[e, place]
                place += 1
    return out


@kernel
def chain(covariance, floor):
    """Return innovation variances (n, q) and slopes (n, n_pairs) of covariance matrices (n, q, q).

    Slopes on a response that is determined by those before it, or has no variance, are zero.
    """
    n, q = covariance.shape[:2]
    variances, slopes = np.empty((n, q)), np.empty((n, q * (q - 1) // 2))
    lower, inverse = np.empty((q, q)), np.empty((q, q))
    for e in range(n):
        place = 0
        for j in range(q):
            left = covariance[e, j, j]
            for i in range(j):
                along = covariance[e, j, i]
                for a in range(i):
                    along -= lower[j, a] * lower[i, a] * variances[e, a]
                clear = variances[e, i] > max(_SAME * covariance[e, i, i], _VANISHED * floor)
                lower[j, i] = along / variances[e, i] if clear else 0.0
                left -= lower[j, i] ** 2 * variances[e, i]
            variances[e, j] = max(left, 0.0)
            for i in range(j):
                total = lower[j, i]
                for a in range(i + 1, j):
                    total += lower[j, a] * inverse[a, i]
                inverse[j, i] = -total
                slopes[e, place] = total
                place += 1
        for j in range(q):
            variances[e, j] = max(variances[e, j], floor)
    return variances, slopes


@inner
def _pooled(scatter, volume, total, out):
    """Out = the sum over experts of scatter / volume, over the total weight."""
    n, q = scatter.shape[:2]
    for a in range(q):
        for b in range(q):
            out[0, a, b] = 0.0
            for e in range(n):
                out[0, a, b] += scatter[e, a, b] / (volume[e] * total)


@inner
def _to_volume_one(shape):
    """Divide shape (1, q) by its geometric mean."""
    q, logs = shape.shape[1], 0.0
    for j in range(q):
        logs += np.log(shape[0, j])
    for j in range(q):
        shape[0, j] /= np.exp(logs / q)


@inner
def _square(scatter, T, shape):
    """Return the trace of T scatter T' over the shape."""
    total = 0.0
    for j in range(len(T)):
        for a in range(j + 1):
            for b in range(j + 1):
                total += T[j, a] * scatter[a, b] * T[j, b] / shape[j]
    return total


@kernel
def equal_shapes(scatter, weight, volume, floor):
    """Return volumes (n,), the shape (1, q) and slopes (1, n_pairs) of proportional matrices: volume times shape.

    Alternates between the shape given the volumes and the volumes given the shape; both climb.
    """
    n, q = scatter.shape[:2]
    volume, mean, total = np.copy(volume), np.empty((1, q, q)), 0.0
    for e in range(n):
        volume[e] = max(volume[e], floor)
        total += weight[e]
    for _ in range(_MOST):
        _pooled(scatter, volume, total, mean)
        shape, slopes = chain(mean, floor)
        _to_volume_one(shape)
        T, change = unit_lower(slopes, q), 0.0
        for e in range(n):
            if weight[e] > 0.0:
                new = max(_square(scatter[e], T[0], shape[0]) / (q * weight[e]), floor)
                change = max(change, abs(new / volume[e] - 1.0))
                volume[e] = new
        if change <= _SETTLED:
            break
    return volume, shape, slopes
