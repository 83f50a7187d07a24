"""Cumulative logits: probabilities of intervals between thresholds in order, without cancellation.

``cuts`` (n_intervals - 1, ...) are the thresholds minus the predictor, in increasing order, and ``gaps`` the distances
between them, n_intervals - 2 arrays. Derivatives are by the predictor and by the gaps; ``target`` (n_intervals, ...)
weighs the logarithms of the probabilities and broadcasts against the cuts.
"""

import numpy as np
from scipy.special import expit, log_expit

__all__ = ["bends", "inside", "log_odds_below", "log_proba", "slopes"]

_SMALLEST = 1e-100  # of a gap: its square does not underflow


def log_proba(cuts, gaps):
    """Return the log probabilities (n_intervals, ...)."""
    # F(u) - F(v) = F(u) F(-v) (1 - exp(v - u)) for thresholds u above v: nothing cancels.
    out = np.concatenate([log_expit(cuts), np.zeros((1, *cuts.shape[1:]))])
    out[1:] += log_expit(-cuts)
    for inner, gap in zip(out[1:-1], gaps, strict=True):
        inner += np.log(inside(gap))
    return out


def slopes(target, cuts, gaps):
    """Return the first derivatives of the sum of target * log_proba, (1 + n_gaps, ...)."""
    proba = expit(cuts)
    by_cut = target[:-1] * (1.0 - proba) - target[1:] * proba
    out = np.tensordot(_parts(cuts).T, by_cut, 1)
    for j, gap in enumerate(gaps, 1):
        within = inside(gap)
        out[j] += target[j] * (1.0 - within) / within
    return out


def bends(target, cuts, gaps):
    """Return minus the second derivatives of the sum of target * log_proba, (1 + n_gaps, 1 + n_gaps, ...)."""
    proba, parts = expit(cuts), _parts(cuts)
    by_cut = (target[:-1] + target[1:]) * proba * (1.0 - proba)
    out = np.tensordot(parts[:, :, None] * parts[:, None, :], by_cut, (0, 0))
    for j, gap in enumerate(gaps, 1):
        within = inside(gap)
        out[j, j] += target[j] * (1.0 - within) / within**2
    return out


def log_odds_below(log_mass):
    """Return the log odds of what is below each threshold, (n_intervals - 1,), from the intervals' log masses."""
    below = np.logaddexp.accumulate(log_mass)[:-1]
    above = np.logaddexp.accumulate(log_mass[::-1])[::-1][1:]
    return below - above


def inside(gap):
    """Return 1 - exp(-gap)."""
    return -np.expm1(-np.maximum(gap, _SMALLEST))


def _parts(cuts):
    """Return which of (predictor, gaps) each cut adds up, (n_cuts, 1 + n_gaps)."""
    n = len(cuts)
    return np.column_stack([-np.ones(n), np.tri(n)[:, 1:]])
