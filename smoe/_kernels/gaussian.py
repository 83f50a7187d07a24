"""Gaussian log densities and their derivatives."""

import math

import numpy as np

from smoe._kernels._jit import ZERO, inner, kernel
from smoe._kernels.moments import multiply


@inner
def _log_density(row, y, constant, half_precision):
    for i in range(len(row)):
        residual = y[i] - row[i]
        row[i] = constant - half_precision * residual * residual


@kernel
def gaussian_log_prob(mean, y, variance):
    """Put log N(y; mean[k], variance[k]) in the place of the means (n_experts, m)."""
    for k in range(len(mean)):
        _log_density(mean[k], y, -0.5 * math.log(2.0 * math.pi * variance[k]), 0.5 / variance[k])
    return mean


@inner
def _residual_scores(mean, y, precision, pull, spread):
    for i in range(len(mean)):
        u = (y[i] - mean[i]) * precision
        pull[i] = u
        spread[i] = 0.5 * (u * u - precision)


@inner
def fill_row_scores(means, Z, y, variance, low, high, at, out):
    """Put d log N / d(line, variance) of the rows from low to high into out (n_experts, n_terms + 1, .) at ``at``."""
    p, end = len(Z), at + high - low
    for k in range(len(means)):
        pull = out[k, p - 1, at:end]  # the design's last row is ones
        _residual_scores(means[k, at:end], y[low:high], 1.0 / variance[k], pull, out[k, p, at:end])
        for j in range(p - 1):
            multiply(pull, Z[j, low:high], out[k, j, at:end])


@kernel
def gaussian_row_scores(means, Z, y, variance):
    """Return d log N / d(line, variance) for each row, (n_experts, n_terms + 1, m)."""
    out = np.empty((len(means), len(Z) + 1, len(y)))
    fill_row_scores(means, Z, y, variance, ZERO, len(y), ZERO, out)
    return out
