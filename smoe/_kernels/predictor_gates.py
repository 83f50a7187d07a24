"""The chain rule of gates whose scores are functions of linear predictors, row by row.

``slopes`` (n_predictors, n_experts, m) are the derivatives of the scores by the predictors.
"""

import numpy as np

from smoe._kernels._jit import inner, kernel

__all__ = ["pair_covariances", "pulled", "spread_blocks"]


@kernel
def pulled(R, slopes):
    """Return the derivative of the sum of R * scores by each predictor: (n, n_experts, m) -> (n, n_predictors, m)."""
    n, n_experts, m = R.shape
    out = np.zeros((n, len(slopes), m))
    for c in range(n):
        for b in range(len(slopes)):
            for k in range(n_experts):
                _add_product(R[c, k], slopes[b, k], out[c, b])
    return out


@inner
def _add_product(a, b, out):
    for i in range(len(out)):
        out[i] += a[i] * b[i]


@kernel
def pair_covariances(slopes, proba, weight):
    """Return weight times the entries of A (diag p - p p') A' with A the slopes, pairs b <= c, (n_pairs, m)."""
    n, n_experts, m = slopes.shape
    mean, product = np.zeros((n, m)), np.empty(m)
    out, pair = np.zeros((n * (n + 1) // 2, m)), 0
    for b in range(n):
        for k in range(n_experts):
            _add_product(slopes[b, k], proba[k], mean[b])
    for b in range(n):
        for c in range(b, n):
            for k in range(n_experts):
                _multiply(slopes[b, k], proba[k], product)
                _add_product(product, slopes[c, k], out[pair])
            _finish(mean[b], mean[c], weight, out[pair])
            pair += 1
    return out


@inner
def _multiply(a, b, out):
    for i in range(len(out)):
        out[i] = a[i] * b[i]


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
