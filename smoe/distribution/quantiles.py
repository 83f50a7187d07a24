"""Quantiles of mixtures: a compiled root for normals, any root for real families, bisection for whole numbers."""

import numpy as np
from scipy.optimize.elementwise import find_root
from scipy.special import ndtri

from smoe._kernels.normal_mixture import normal_quantiles

__all__ = ["integer_quantiles", "real_quantiles"]

_ROUNDING = 4 * np.finfo(float).eps  # of a distribution function: a step that misses the level by less has reached it
_TINY = np.finfo(float).tiny


def real_quantiles(components, q, upper=False):
    """Return the points with mass q (m,) below them, or with ``upper`` above them, each solved from its own tail."""
    out, most = np.empty(len(q)), q > 0.5
    if most.all() or not most.any():
        return _tail(components, 1.0 - q, not upper) if most.any() else _tail(components, q, upper)
    out[~most] = _tail(components.rows(~most), q[~most], upper)
    out[most] = _tail(components.rows(most), 1.0 - q[most], not upper)
    return out


def _tail(components, p, upper):
    """Return the points beyond which the mass is p <= 1/2, on the left or with ``upper`` on the right."""
    if components.normal is None:
        return _searched(components, p, upper)
    proba = components.proba
    with np.errstate(divide="ignore", over="ignore"):
        share = ndtri(np.minimum(p / proba, 1.0))
    return normal_quantiles(proba, *components.normal, p, ndtri(p), share, -1.0 if upper else 1.0)


def _searched(components, p, upper):
    """Find the roots, which lie between the smallest and the largest of the experts' quantiles."""
    low, high = _bracket(components, p, upper)
    rows, out = np.flatnonzero(high > low), low.copy()
    if not len(rows):
        return out
    some, p, low, width = components.rows(rows), p[rows], low[rows], high[rows] - low[rows]

    def excess(t, at):
        mass = some.rows(at).cdf(low[at] + t * width[at], upper)
        return mass / p[at] - 1.0

    # On [0, 1] of each bracket the tolerance follows its width. Rounding may hide the change of sign when one
    # expert owns the row; the quantile is then the end where less is missing.
    at = np.arange(len(rows))
    found = find_root(excess, (np.zeros(len(rows)), np.ones(len(rows))), args=(at,))
    nearer = np.where(np.abs(excess(0.0, at)) < np.abs(excess(1.0, at)), 0.0, 1.0)
    out[rows] += width * np.where(found.success, found.x, nearer)
    return out


def _bracket(components, p, upper):
    """Return the smallest and the largest of the experts' quantiles, or where these are infinite what holds them."""
    edges = components.edges(p, upper)
    low, high = edges.min(axis=0), edges.max(axis=0)
    rows = np.flatnonzero((p > 0) & ~(np.isfinite(low) & np.isfinite(high)))
    if len(rows):
        some, step = components.rows(rows), np.sqrt(components.variance[:, rows]).max(axis=0)
        low[rows], high[rows] = _finite_ends(some, edges[:, rows])
        sign = 1.0 if upper else -1.0
        far = high if upper else low
        far[rows] = _moved(far[rows], sign * step, lambda y, at: some.rows(at).cdf(y, upper) > p[rows[at]])
    return low, high


def _finite_ends(components, edges):
    """Return the smallest and the largest finite edges; an expert's mean stands for an infinite one."""
    edges = edges if np.isfinite(edges).all() else np.where(np.isfinite(edges), edges, components.mean)
    return edges.min(axis=0), edges.max(axis=0)


def integer_quantiles(components, q, upper=False):
    """Return the smallest whole numbers with mass at least q (m,) up to them, or with ``upper`` at most q above them.

    A level of zero or one is reached at the ends of the support, the upper one of which may be the row's own.
    """
    none, all_of_it = (q == 1, q == 0) if upper else (q == 0, q == 1)
    out = np.full(len(q), components.support.low)
    rows = np.flatnonzero(~none & ~all_of_it)
    if len(rows):
        out[rows] = _smallest(components.rows(rows), q[rows], upper)
    if all_of_it.any():
        ends = components.rows(all_of_it).edges(float(not upper), upper).max(axis=0)
        out[all_of_it] = np.minimum(ends, components.support.high)
    return out


def _smallest(components, q, upper):
    """Bisect whole numbers between the experts' quantiles; these only save steps, as ends are moved until they hold."""
    low, high = _finite_ends(components, components.edges(q, upper))
    low, high = np.floor(low) - 1.0, np.ceil(high)
    low = _moved(low, -1.0, lambda y, at: _reached(components.rows(at), y, q[at], upper))
    high = _moved(high, 1.0, lambda y, at: ~_reached(components.rows(at), y, q[at], upper))
    while True:
        middle = np.floor(0.5 * (low + high))
        rows = np.flatnonzero((low < middle) & (middle < high))
        if not len(rows):
            return high
        reached = _reached(components.rows(rows), middle[rows], q[rows], upper)
        low[rows] = np.where(reached, low[rows], middle[rows])
        high[rows] = np.where(reached, middle[rows], high[rows])


def _moved(end, step, wrong):
    """Move ends outwards, by once, twice, four times a step, ..., until they are no longer wrong."""
    step, rows = np.broadcast_to(step, end.shape).copy(), np.arange(len(end))
    while len(rows := rows[np.isfinite(end[rows]) & wrong(end[rows], rows)]):
        end[rows] += step[rows]
        step[rows] *= 2.0
    return end


def _reached(components, y, q, upper):
    """Whether the mass up to y is at least q, or with ``upper`` that above y at most q; compared in the smaller tail.

    Levels above one half are known to the rounding of one, smaller ones to their own.
    """
    small = q <= 0.5
    slack = _ROUNDING * np.where(small, q, 1.0)
    p, from_above, out = np.where(small, q, 1.0 - q), small == upper, np.empty(len(q), dtype=bool)
    for side in (False, True):
        rows = from_above == side
        if rows.any():
            mass = (components if rows.all() else components.rows(rows)).cdf(y[rows], side)
            out[rows] = mass <= p[rows] + slack[rows] if side else mass >= np.maximum(p - slack, _TINY)[rows]
    return out
