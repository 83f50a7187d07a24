"""The chain rule of gates whose scores are functions of linear predictors, row by row.

``slopes`` (n_predictors, n_experts, m) are the derivatives of the scores by the predictors.
"""

import numpy as np

from smoe._kernels._jit import inner, kernel
from smoe._kernels.elementary import exp, log
from smoe._kernels.moments import add_product, multiply

__all__ = ["log_sigmoids", "pair_covariances", "pulled", "spread_blocks"]


_CHUNK = 128  # rows whose slopes stay in the first-level cache


def pulled(R, slopes):
    """Return the derivatives by the predictors, (..., n_predictors, m), of sums of R * scores, (..., n_experts, m)."""
    out = _pulled(np.ascontiguousarray(R).reshape(-1, *R.shape[-2:]), slopes)
    return out.reshape(*R.shape[:-2], *out.shape[1:])


@kernel
def _pulled(R, slopes):
    n, n_experts, m = R.shape
    out = np.empty((n, len(slopes), m))
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        for c in range(n):
            for b in range(len(slopes)):
                _sum_products(R[c], slopes[b], low, high, out[c, b, low:high])
    return out


@inner
def _sum_products(a, b, low, high, out):
    """Out = the sum of a b over their rows."""
    multiply(a[0, low:high], b[0, low:high], out)
    for k in range(1, len(a)):
        add_product(a[k, low:high], b[k, low:high], out)


def pair_covariances(slopes, proba, weight):
    """Return weight times the entries of A (diag p - p p') A' with A the slopes, pairs b <= c, (n_pairs, m)."""
    return _pair_covariances(slopes, np.ascontiguousarray(proba), weight)


@kernel
def _pair_covariances(slopes, proba, weight):
    n, n_experts, m = slopes.shape
    mean, share = np.empty((n, _CHUNK)), np.empty((n_experts, _CHUNK))
    out = np.empty((n * (n + 1) // 2, m))
    for low in range(0, m, _CHUNK):
        high, pair = min(low + _CHUNK, m), 0
        for b in range(n):
            _sum_products(slopes[b], proba, low, high, mean[b, : high - low])
        for b in range(n):
            for k in range(n_experts):
                multiply(slopes[b, k, low:high], proba[k, low:high], share[k, : high - low])
            for c in range(b, n):
                row = out[pair, low:high]
                multiply(share[0, : high - low], slopes[c, 0, low:high], row)
                for k in range(1, n_experts):
                    add_product(share[k, : high - low], slopes[c, k, low:high], row)
                _finish(mean[b, : high - low], mean[c, : high - low], weight[low:high], row)
                pair += 1
    return out


@inner
def _finish(a, b, weight, out):
    for i in range(len(out)):
        out[i] = weight[i] * (out[i] - a[i] * b[i])


@kernel
def spread_blocks(grams, sloping, n_fixed):
    """Return the matrix in flat order from the blocks (n_pairs, p, p) of pairs b <= c of predictors.

    A predictor that is not ``sloping`` (n_predictors,) has an intercept alone. After its own terms come fixed entries.
    """
    n, p, pair = len(sloping), grams.shape[1], 0
    width = p + n_fixed
    out = np.zeros((n * width, n * width))
    for b in range(n):
        for c in range(b, n):
            for i in range(p):
                for j in range(p):
                    if (sloping[b] or i == p - 1) and (sloping[c] or j == p - 1):
                        out[b * width + i, c * width + j] = grams[pair, i, j]
                        out[c * width + j, b * width + i] = grams[pair, i, j]
            pair += 1
    return out


@kernel
def log_sigmoids(u):
    """Return the logarithms of sigmoid(u), (k, m), and their derivatives by u, zero off the diagonal, (k, k, m)."""
    k, m = u.shape
    value, slopes = np.empty((k, m)), np.zeros((k, k, m))
    for i in range(k):
        _log_sigmoid(u[i], value[i], slopes[i, i])
    return value, slopes


@inner
def _log_sigmoid(u, value, slope):
    for i in range(len(u)):
        e = exp(-abs(u[i]))
        inverse = 1.0 / (1.0 + e)
        value[i] = min(u[i], 0.0) - log(1.0 + e)
        slope[i] = e * inverse if u[i] > 0.0 else inverse
