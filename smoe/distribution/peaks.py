"""Modes and highest-density regions of any continuous family, by search on a grid of the experts' quantiles."""

import numpy as np
from scipy.optimize.elementwise import find_root

from smoe.distribution.nodes import grid_of

__all__ = ["searched_modes", "searched_regions"]

_GOLDEN = 0.5 * (np.sqrt(5.0) - 1.0)
_STEPS = 45  # of golden sections: the bracket shrinks to a share of 4e-10
_LOWEST = -700.0  # log densities below it, relative to the highest, count as it


def searched_modes(components):
    """Return the highest point of each density, (m,); an end of the support where the density rises towards it."""
    y, height = _turning_points(components)
    best = height.argmax(axis=1)
    mode = np.take_along_axis(y, best[:, None], axis=1)[:, 0]
    low, high = components.support.low, components.support.high
    mode = np.where((best == 0) & np.isfinite(low), low, mode)
    return np.where((best == y.shape[1] - 1) & np.isfinite(high), high, mode)


def searched_regions(components, coverage):
    """Return edges (n_intervals, 2) row after row, their number for each row, and the densities there, (m,)."""
    y, height = _turning_points(components)
    top = height.max(axis=1)
    depth = np.maximum(height - top[:, None], _LOWEST)  # densities may be infinite at an end only

    def excess(level, row):
        edges, at = _edges_at(components, y, depth, top, level, row)
        return _mass_error(components.rows(row), edges, at, coverage)

    rows = np.arange(len(y))
    level = find_root(excess, (np.full(len(y), _LOWEST), np.zeros(len(y))), args=(rows,)).x
    edges, at = _edges_at(components, y, depth, top, level, rows)
    return edges, np.bincount(at, minlength=len(y)), np.exp(level + top)


def _turning_points(components):
    """Return points (m, g) in increasing order, between which densities are monotone, and the log densities there."""
    y = grid_of(components)
    height = np.nan_to_num(components.logpdf_at(y), nan=-np.inf, posinf=1e300)
    for sign in (1.0, -1.0):
        row, at, before, after = _local_maxima(y, sign * height)
        if len(row):
            brackets = y[row, before], y[row, at], y[row, after]
            y[row, at], height[row, at] = _golden(components.rows(row), sign, *brackets, height[row, at])
            order = np.argsort(y, axis=1, kind="stable")
            y, height = (np.take_along_axis(part, order, axis=1) for part in (y, height))
    return y, height


def _local_maxima(y, height):
    """Return rows and places that are higher than the point before and not lower than the next, and these two places.

    Points that coincide count as one; the ends are not asked.
    """
    place, change = np.arange(y.shape[1] - 1), y[:, 1:] > y[:, :-1]
    before = np.maximum.accumulate(np.where(change, place, 0), axis=1)[:, :-1]
    after = np.minimum.accumulate(np.where(change, place, place[-1])[:, ::-1], axis=1)[:, ::-1][:, 1:] + 1
    left, right = (np.take_along_axis(height, places, axis=1) for places in (before, after))
    row, at = np.nonzero(change[:, :-1] & (height[:, 1:-1] > left) & (height[:, 1:-1] >= right))
    return row, at + 1, before[row, at], after[row, at]


def _golden(components, sign, low, start, high, height):
    """Return the highest (or with sign -1 lowest) points found in brackets, and the log densities there."""
    best, value = start.copy(), sign * height
    a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    fa, fb = (sign * components.logpdf(t) for t in (a, b))
    for _ in range(_STEPS):
        left = fa >= fb
        low, high = np.where(left, low, a), np.where(left, b, high)
        new = np.where(left, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        f = sign * components.logpdf(new)
        a, b, fa, fb = np.where(left, new, b), np.where(left, a, new), np.where(left, f, fb), np.where(left, fa, f)
    for place, f in ((a, fa), (b, fb)):
        better = f > value
        best, value = np.where(better, place, best), np.where(better, f, value)
    return best, sign * value


def _edges_at(components, y, depth, top, level, row):
    """Return the intervals (n_intervals, 2) in which densities are above a level, and which of ``row`` each is of."""
    depth, y, low, high = depth[row], y[row], components.support.low, components.support.high
    above = np.pad(depth > level[:, None], ((0, 0), (1, 1)))
    at, piece = np.nonzero(above[:, 1:] != above[:, :-1])
    last = y.shape[1]
    edges = np.empty(len(at))
    left, right = piece == 0, piece == last
    edges[left] = low if np.isfinite(low) else y[at[left], 0]
    edges[right] = high if np.isfinite(high) else y[at[right], -1]
    inner = np.flatnonzero(~left & ~right)
    if len(inner):
        k, j = at[inner], piece[inner]
        edges[inner] = _crossings(components.rows(row[k]), y[k, j - 1], y[k, j], level[k] + top[row[k]])
    return edges.reshape(-1, 2), at[::2]


def _crossings(components, low, high, level):
    """Return where log densities that are monotone between low and high are equal to a level."""

    def excess(t, i):
        return np.clip(components.rows(i).logpdf(low[i] + t * (high[i] - low[i])) - level[i], _LOWEST, -_LOWEST)

    i = np.arange(len(low))
    found = find_root(excess, (np.zeros(len(low)), np.ones(len(low))), args=(i,))
    return low + np.where(found.success, found.x, 0.5) * (high - low)


def _mass_error(components, edges, at, coverage):
    """Return how far the mass within the intervals of each row is from the coverage, as a share of the smaller side."""
    if coverage <= 0.5:
        return np.bincount(at, _between(components, edges, at), len(components)) / coverage - 1.0
    outside = np.ones(len(components))  # of rows without an interval
    first, last = (np.flatnonzero(np.diff(at, **ends) > 0) for ends in ({"prepend": -1}, {"append": len(components)}))
    some = components.rows(at[first])
    outside[at[first]] = some.cdf(edges[first, 0]) + some.cdf(edges[last, 1], True)
    gap = np.flatnonzero(np.diff(at) == 0)
    gaps = np.column_stack([edges[gap, 1], edges[gap + 1, 0]])
    outside += np.bincount(at[gap], _between(components, gaps, at[gap]), len(components))
    return 1.0 - outside / (1.0 - coverage)


def _between(components, edges, at):
    """Return the mass of intervals, from the tail in which it cancels less."""
    if not len(at):
        return np.empty(0)
    some = components.rows(at)
    below, above = some.cdf_at(edges), some.cdf_at(edges, True)
    return np.where(below[:, 0] < 0.5, below[:, 1] - below[:, 0], above[:, 0] - above[:, 1])
