"""Absolute values of weighted slopes, or lengths of groups of them: sizes, derivatives, what is zero together.

``groups`` has a number for each entry, the same for those of one group, or is None where each stands alone.
"""

import numpy as np

__all__ = ["excess", "lengths", "moved", "pull", "second_derivative"]


def moved(flat, groups):
    """Return which entries are not zero, or have one in their group that is not."""
    return flat != 0 if groups is None else np.bincount(groups, flat != 0)[groups] > 0


def lengths(values, groups):
    """Return the absolute value of each entry, or the length of its group."""
    return np.abs(values) if groups is None else np.sqrt(np.bincount(groups, values**2))[groups]


def excess(slope, weight, groups):
    """Return by how many times a slope at zero is too steep for its weight, or that of its group; above 1 it moves."""
    with np.errstate(divide="ignore"):
        return lengths(np.where(weight > 0, np.divide(slope, np.where(weight > 0, weight, 1.0)), np.inf), groups)


def pull(flat, weight, groups):
    """Return the derivative of the sum of weighted lengths, zero where these are zero."""
    if groups is None:
        return np.where(flat != 0, weight, 0.0) * np.sign(flat)
    finite = _finite(flat, weight, groups)
    length = lengths(finite * flat, groups)
    out = finite * np.divide(finite * flat, length, out=np.zeros(len(flat)), where=length > 0)
    return np.where(np.isinf(weight) & (flat != 0), np.copysign(np.inf, flat), out)


def second_derivative(flat, weight, groups):
    """Return the second derivative, a matrix, zero where lengths are zero: absolute values have none."""
    if groups is None:
        return np.zeros((len(flat), len(flat)))
    weight = _finite(flat, weight, groups)
    length, slope = lengths(weight * flat, groups), pull(flat, weight, groups)
    same = (groups[:, None] == groups) & (length > 0)
    return (np.diag(weight**2) - np.where(same, np.outer(slope, slope), 0.0)) / np.where(length > 0, length, 1.0)


def _finite(flat, weight, groups):
    """Return the weights of what is not zero; of what is left out and yet not zero there is no derivative."""
    return np.where(moved(flat, groups) & np.isfinite(weight), weight, 0.0)
