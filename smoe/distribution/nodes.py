"""Points and weights with which sums and integrals over y are done, row by row."""

from functools import cache

import numpy as np
from scipy.special import roots_legendre

from smoe.distribution.quantiles import integer_quantiles

__all__ = ["grid_of", "integer_groups", "panel_rule", "row_sums"]

_NODES = 8  # Gauss-Legendre nodes of a panel
# Panel edges around each normal, in its standard deviations. What is outside weighs less than 1e-22.
_NORMAL = np.array([0.7, 1.4, 2.1, 2.8, 3.6, 4.5, 5.6, 7.0, 10.0])
_NORMAL = np.concatenate([-_NORMAL[::-1], [0.0], _NORMAL])
# Tails at which panels of other families end; close enough for densities that fall like powers.
_TAILS = np.array([0.5, 0.35, 0.2, 0.1, 0.05, 0.02, 0.01, 3e-3, 1e-3, 3e-4, 1e-4])
_TAILS = np.concatenate([_TAILS, 10.0 ** -np.arange(5, 15), 10.0 ** -np.arange(16, 22, 2)])
_FAR = 1e-18  # tail beyond which whole numbers are left out
_WIDEST = 2**14  # whole numbers of a row that are visited one by one; of more, as many as a quadrature needs
_CHUNK = 32  # rows at a time: bounds the memory and stays in the cache
_NUMBERS = 2**18  # of a chunk


def row_sums(several, function, cut=None):
    """Return function(rows, parts, y, weight) for all rows, (m,).

    Parameters
    ----------
    several : sequence of Components
        Mixtures of the same rows, of real or of whole numbers.
    function : callable
        Gets some rows' indices, the mixtures of these rows, and points and weights (n_rows, g) such that sums of weight
        times values are sums over all whole numbers, or integrals over y. Each row's points depend on that row alone.
    cut : array of shape (m,) or None
        Where the values jump: no panel of an integral goes across.
    """
    out = np.empty(len(several[0]))
    whole = several[0].support.kind == "integers"
    for rows, nodes, _ in integer_groups(several) if whole else _real_groups(several):
        parts = [one.rows(rows) for one in several]
        out[rows] = function(rows, parts, *nodes(parts, None if cut is None else cut[rows]))
    return out


def _real_groups(several):
    for low in range(0, len(several[0]), _CHUNK):
        yield np.arange(low, min(low + _CHUNK, len(several[0]))), _real_nodes, False


def _real_nodes(several, cut):
    edges = np.concatenate([_panel_edges(one) for one in several], axis=1)
    if cut is not None:
        edges = np.column_stack([edges, np.clip(cut, edges.min(axis=1), edges.max(axis=1))])
    return _transformed_rule(np.sort(edges, axis=1), several[0].support)


def grid_of(components):
    """Return points (m, g) in increasing order, dense wherever an expert has mass."""
    if components.support.kind == "integers":
        return _thirds(_integer_edges(components))
    return _transformed_rule(_panel_edges(components), components.support, nodes=False)


def _panel_edges(components):
    """Return panel edges around all experts in increasing order, (m, g); an idle expert's are equal to another's."""
    if components.normal is None:
        return _sorted(np.concatenate([components.edges(p, upper) for upper in (False, True) for p in _TAILS]))
    busy = components.proba.argmax(axis=0)[None]
    mean, sd = (np.where(components.proba > 0, v, np.take_along_axis(v, busy, axis=0)) for v in components.normal)
    return _sorted((mean[:, None] + sd[:, None] * _NORMAL[:, None]).reshape(-1, len(components)))


def _sorted(edges):
    """Return edges (g, m) in increasing order, (m, g)."""
    return np.sort(_finite(edges.T), axis=1)


@cache
def _rule():
    return roots_legendre(_NODES)


def panel_rule(edges):
    """Return Gauss-Legendre nodes and weights (m, n) on the panels between edges (m, n_edges) in increasing order."""
    root, weight = _rule()
    half = 0.5 * np.diff(edges, axis=1)[:, :, None]
    centre = 0.5 * (edges[:, 1:] + edges[:, :-1])[:, :, None]
    return (centre + half * root).reshape(len(edges), -1), (half * weight).reshape(len(edges), -1)


def _transformed_rule(edges, support, nodes=True):
    """Return the rule's points and weights in the logarithm of the distance from a finite end, where powers are smooth.

    Without ``nodes`` the points are the edges, with two more between each pair.
    """
    low, high = support.low, support.high
    if np.isfinite(low) and np.isfinite(high):
        return _rule_in(edges, nodes, *_between(low, high))
    if np.isfinite(low):
        return _rule_in(edges, nodes, lambda y: np.log(y - low), lambda s: low + np.exp(s), np.exp)
    if np.isfinite(high):
        return _rule_in(edges, nodes, lambda y: -np.log(high - y), lambda s: high - np.exp(-s), lambda s: np.exp(-s))
    return _rule_in(edges, nodes, lambda y: y, lambda s: s, np.ones_like)


def _between(low, high):
    """Return the log odds of the place in an interval, the way back, and its slope."""
    width = high - low

    def back(s):
        return np.where(s < 0, low + width / (1.0 + np.exp(-s)), high - width / (1.0 + np.exp(s)))

    def slope(s):
        return width / (np.exp(0.5 * s) + np.exp(-0.5 * s)) ** 2

    return (lambda y: np.log((y - low) / (high - y))), back, slope


def _rule_in(edges, nodes, forth, back, slope):
    with np.errstate(divide="ignore", over="ignore"):
        s = forth(edges)
    s = _finite(s)
    if not nodes:
        return back(_thirds(s))
    s, weight = panel_rule(s)
    return back(s), weight * slope(s)


def _thirds(edges):
    """Return edges (m, g) with two more points between each pair."""
    inner = edges[:, :-1, None] + np.diff(edges, axis=1)[:, :, None] * np.array([0.0, 1 / 3, 2 / 3])
    return np.concatenate([inner.reshape(len(edges), -1), edges[:, -1:]], axis=1)


def _finite(s):
    """Return edges (m, g) in which infinite ones, where quantiles have left float64, are moved to a finite one."""
    if np.isfinite(s).all():
        return s
    least = np.where(np.isfinite(s), s, np.inf).min(axis=1, keepdims=True)
    most = np.where(np.isfinite(s), s, -np.inf).max(axis=1, keepdims=True)
    return np.clip(s, least, most)


# Whole numbers --------------------------------------------------------------------------------------------------------


def _integer_range(several):
    """Return the smallest and the largest whole number between far tails of several mixtures, (m,)."""
    far = np.full(len(several[0]), _FAR)
    low = np.min([integer_quantiles(one, far) for one in several], axis=0)
    return low, np.max([integer_quantiles(one, far, True) for one in several], axis=0)


def integer_groups(several):
    """Yield rows that need about as many whole numbers, the rule for them, and whether it visits all."""
    low, high = _integer_range(several)
    width = high - low + 1.0
    order = np.argsort(width, kind="stable")
    narrow = order[width[order] <= _WIDEST]
    while len(narrow):
        size = max(1, int(_NUMBERS // width[narrow[:_CHUNK]].max()))
        rows, narrow = narrow[:size], narrow[size:]
        yield rows, _all_nodes, True
    wide = order[~(width[order] <= _WIDEST)]
    for start in range(0, len(wide), _CHUNK):
        yield wide[start : start + _CHUNK], _wide_nodes, False


def _all_nodes(several, _cut):
    """Return all whole numbers that matter, with weight zero where a row needs fewer than others."""
    low, high = _integer_range(several)
    y = low[:, None] + np.arange(int((high - low).max()) + 1)
    there = y <= high[:, None]
    return np.where(there, y, low[:, None]), there.astype(float)


def _wide_nodes(several, _cut):
    """Return whole numbers spread over the panels, each with the number of whole numbers it stands for."""
    edges = np.sort(np.concatenate([_integer_edges(one) for one in several], axis=1), axis=1)
    panels = edges[:, :-1, None] + np.diff(edges, axis=1)[:, :, None] * (np.arange(_NODES) / _NODES)
    cuts = np.floor(np.concatenate([panels.reshape(len(edges), -1), edges[:, -1:] + 1.0], axis=1))
    weight = np.diff(cuts, axis=1)  # a cell holds the whole numbers from its left cut to before its right one
    return cuts[:, :-1] + np.floor(0.5 * np.maximum(weight - 1.0, 0.0)), weight


def _integer_edges(components):
    """Return whole numbers in increasing order (m, g) at which panels end."""
    # The first of the support may have a mass of their own.
    near = np.arange(4.0)[:, None] + np.maximum(components.support.low, -(2.0**53))
    inner = _sorted(np.concatenate([np.floor(components.edges(p, upper)) for upper in (False, True) for p in _TAILS]))
    return np.sort(np.concatenate([inner, np.clip(near, inner[:, 0], inner[:, -1]).T], axis=1), axis=1)
