"""Gaussian log densities."""

import math

import numpy as np

from smoe._kernels._jit import kernel


@kernel
def gaussian_log_prob(mean, y, variance):
    """Log N(y; mean[k], variance[k]): (n_experts, m), (m,), (n_experts,) -> (n_experts, m)."""
    n_experts, m = mean.shape
    out = np.empty((n_experts, m))
    for k in range(n_experts):
        constant = -0.5 * math.log(2.0 * math.pi * variance[k])
        half_precision = 0.5 / variance[k]
        for i in range(m):
            residual = y[i] - mean[k, i]
            out[k, i] = constant - half_precision * residual * residual
    return out
