"""The relaxed top-K gate: scores plus the log of a sigmoid of the distance to the threshold."""

import math

import numpy as np

from smoe._kernels._jit import kernel


@kernel
def relax(scores, ranking, last, first_out, width, relaxed, bend):
    """Fill relaxed = s + log sigmoid((r - t) / width) and bend = (1 - sigmoid) / width.

    r is the ranking, t the midpoint between the ranks of the last expert in and the first one out, both (m,).
    """
    n_experts, m = scores.shape
    for i in range(m):
        threshold = 0.5 * (ranking[last[i], i] + ranking[first_out[i], i])
        for k in range(n_experts):
            distance = (ranking[k, i] - threshold) / width
            e = math.exp(-abs(distance))
            relaxed[k, i] = scores[k, i] + min(distance, 0.0) - math.log1p(e)
            bend[k, i] = (e if distance > 0.0 else 1.0) / (1.0 + e) / width


@kernel
def pull_ranking(R, last, first_out, bend):
    """Return the derivative of the sum of R * relaxed by the ranking, (n_experts, m)."""
    n_experts, m = R.shape
    out = np.empty((n_experts, m))
    for i in range(m):
        total = 0.0
        for k in range(n_experts):
            out[k, i] = R[k, i] * bend[k, i]
            total += out[k, i]
        out[last[i], i] -= 0.5 * total
        out[first_out[i], i] -= 0.5 * total
    return out


@kernel
def relaxed_covariance_weights(proba, last, first_out, bend, weight):
    """Return weight A'(diag p - p p')A with A = d relaxed / d scores, pairs i < j in row-major order."""
    n_experts, m = proba.shape
    out = np.empty((n_experts * (n_experts - 1) // 2, m))
    A, mean = np.zeros((n_experts, n_experts)), np.zeros(n_experts)
    for row in range(m):
        for i in range(n_experts):
            A[i, :] = 0.0
            A[i, i] = 1.0 + bend[i, row]
            A[i, last[row]] -= 0.5 * bend[i, row]
            A[i, first_out[row]] -= 0.5 * bend[i, row]
        for j in range(n_experts):
            mean[j] = 0.0
            for i in range(n_experts):
                mean[j] += proba[i, row] * A[i, j]
        pair = 0
        for j in range(n_experts):
            for h in range(j + 1, n_experts):
                total = 0.0
                for i in range(n_experts):
                    total += proba[i, row] * A[i, j] * A[i, h]
                out[pair, row] = weight[row] * (total - mean[j] * mean[h])
                pair += 1
    return out
