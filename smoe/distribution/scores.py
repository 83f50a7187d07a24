"""Scores of predictive distributions, by sums or quadrature over y."""

import numpy as np
from scipy.special import ndtr

from smoe.distribution.nodes import row_sums

__all__ = ["crps", "entropy"]

_ROOT_TAU = np.sqrt(2.0 * np.pi)


def entropy(components):
    """Return minus the expected log density of each row, (m,)."""

    def visit(_, parts, y, weight):
        log_density = parts[0].logpdf_at(y)
        density = np.exp(log_density)
        terms = np.where(density > 0, density * np.where(density > 0, log_density, 0.0), 0.0)
        return -(weight * terms).sum(axis=1)

    return row_sums([components], visit)


def crps(components, y):
    """Return the continuous ranked probability score of y (m,), (m,)."""
    if components.normal is not None:
        return _normal_crps(components, y)
    whole = components.support.kind == "integers"

    def visit(rows, parts, t, weight):
        return (_stairs if whole else _integral)(parts[0], y[rows], t, weight)

    return row_sums([components], visit, None if whole else y)


def _normal_crps(components, y):
    """E|Y - y| - E|Y - Y'| / 2 in closed form, pair of experts by pair."""
    proba, (mean, sd) = components.proba, components.normal
    out = (proba * _mean_distance(y - mean, sd)).sum(axis=0)
    for weight, centre, scale in zip(proba, mean, sd, strict=True):
        out -= 0.5 * weight * (proba * _mean_distance(centre - mean, np.hypot(scale, sd))).sum(axis=0)
    return out


def _mean_distance(mean, sd):
    """E|Z| of normal Z."""
    t = mean / sd
    return mean * (2.0 * ndtr(t) - 1.0) + 2.0 * sd * np.exp(-0.5 * t * t) / _ROOT_TAU


def _integral(components, y, t, weight):
    """Integrate the square of the tail that does not hold y; beyond the nodes this tail is one."""
    tail = np.where(t < y[:, None], components.cdf_at(t), components.cdf_at(t, True))
    far = np.maximum(y - t.max(axis=1), 0.0) + np.maximum(t.min(axis=1) - y, 0.0)
    outside = (t < y[:, None]).all(axis=1) | (t > y[:, None]).all(axis=1)
    return (weight * tail**2).sum(axis=1) + np.where(outside, far, 0.0)


def _stairs(components, y, t, weight):
    """Add up the squared tails of whole numbers t, each standing for ``weight`` steps of the staircase around it."""
    first = t - np.floor(0.5 * np.maximum(weight - 1.0, 0.0))
    before = np.clip((y[:, None] - first) / np.maximum(weight, 1.0), 0.0, 1.0)  # share of these steps left of y
    squares = before * components.cdf_at(t) ** 2 + (1.0 - before) * components.cdf_at(t, True) ** 2
    start = np.where(weight > 0, first, np.inf).min(axis=1)
    end = np.where(weight > 0, first + weight, -np.inf).max(axis=1)
    return (weight * squares).sum(axis=1) + np.maximum(y - end, 0.0) + np.maximum(start - y, 0.0)
