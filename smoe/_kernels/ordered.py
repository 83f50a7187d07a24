"""Intervals of an index between thresholds, without cancellation: log probabilities and their derivatives."""

import math

import numpy as np

from smoe._kernels._jit import inner, kernel
from smoe._kernels.elementary import exp, log

__all__ = ["interval_slopes"]

_CHUNK = 512  # rows that stay in the first-level cache while all is done with them


@inner
def _sigmoid(index, threshold, logs, share, rest):
    """Fill the sigmoid of threshold - index, one minus it, and what both have in their logarithms."""
    for i in range(len(index)):
        u = threshold - index[i]
        e = exp(-abs(u))
        inverse = 1.0 / (1.0 + e)
        logs[i] = -log(1.0 + e)
        share[i] = inverse if u > 0.0 else e * inverse
        rest[i] = e * inverse if u > 0.0 else inverse


@inner
def _add_logs(index, threshold, logs, below, above):
    for i in range(len(index)):
        u = threshold - index[i]
        below[i] += logs[i] + min(u, 0.0)
        above[i] += logs[i] - max(u, 0.0)


@inner
def _add_slopes(share, rest, below, above):
    for i in range(len(share)):
        below[i] -= rest[i]
        above[i] += share[i]


@inner
def _shift(a, constant, out):
    for i in range(len(out)):
        out[i] = constant + a[i]


@inner
def _negate(a, out):
    for i in range(len(out)):
        out[i] = -a[i]


@kernel
def interval_slopes(index, thresholds, inside, at):
    """Return log probabilities (n_intervals, m), and their derivatives by index and gaps (n_terms, n_intervals, m).

    ``inside`` are 1 - exp(-gap) of the inner intervals; interval j is row at[j] of what is returned.
    """
    # F(u) - F(v) = F(u) F(-v) (1 - exp(v - u)) for thresholds u above v: nothing cancels.
    k, m = len(at), len(index)
    scores, slopes, work = np.zeros((k, m)), np.zeros((max(k - 1, 1), k, m)), np.empty((3, _CHUNK))
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        rows, logs, share, rest = index[low:high], work[0, : high - low], work[1, : high - low], work[2, : high - low]
        for c in range(k - 1):
            below, above = at[c], at[c + 1]
            _sigmoid(rows, thresholds[c], logs, share, rest)
            _add_logs(rows, thresholds[c], logs, scores[below, low:high], scores[above, low:high])
            _add_slopes(share, rest, slopes[0, below, low:high], slopes[0, above, low:high])
            if c > 0:
                within = inside[c - 1]
                _shift(scores[below, low:high], math.log(within), scores[below, low:high])
                _shift(rest, (1.0 - within) / within, slopes[c, below, low:high])
        for c in range(1, k - 1):
            for j in range(c + 1, k):
                _negate(slopes[0, at[j], low:high], slopes[c, at[j], low:high])
    return scores, slopes
