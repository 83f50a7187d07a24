"""Weighted moments: what the experts' M-step and every information matrix are made of."""

import numpy as np

from smoe._kernels._jit import reducing_kernel

_CHUNK = 512  # rows that stay in the first-level cache while all their products are taken


@reducing_kernel
def weighted_grams(weights, Z):
    """Sum over rows of weights[c] z z': (n_weights, m), (p, m) -> (n_weights, p, p)."""
    n_weights, m = weights.shape
    p = Z.shape[0]
    out = np.zeros((n_weights, p, p))
    product = np.empty(_CHUNK)
    for low in range(0, m, _CHUNK):
        width = min(_CHUNK, m - low)
        for a in range(p):
            for c in range(n_weights):
                for i in range(width):
                    product[i] = weights[c, low + i] * Z[a, low + i]
                for b in range(a, p):
                    total = 0.0
                    for i in range(width):
                        total += product[i] * Z[b, low + i]
                    out[c, a, b] += total
    for c in range(n_weights):
        for a in range(p):
            for b in range(a):
                out[c, a, b] = out[c, b, a]
    return out


@reducing_kernel
def covariance_weights(proba, weight, out):
    """out[pair (i, j), row] += weight (1{i=j} p_i - p_i p_j), pairs i <= j in row-major order."""
    n_experts, m = proba.shape
    pair = 0
    for i in range(n_experts):
        for j in range(i, n_experts):
            if i == j:
                for row in range(m):
                    out[pair, row] += weight[row] * proba[i, row] * (1.0 - proba[i, row])
            else:
                for row in range(m):
                    out[pair, row] -= weight[row] * proba[i, row] * proba[j, row]
            pair += 1
