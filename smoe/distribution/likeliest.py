"""The most likely whole numbers of mixtures."""

import numpy as np

from smoe.distribution.nodes import WIDEST, integer_range
from smoe.distribution.peaks import searched_modes, searched_regions

__all__ = ["likeliest", "likeliest_sets"]

_CHUNK = 32
_ROUNDING = 1e-14  # a sum of probabilities that misses the coverage by less has reached it


def likeliest(components):
    """Return the most likely number of each row, (m,); of equally likely ones the smallest."""
    out, narrow = np.empty(len(components)), _is_narrow(components)
    for rows in _groups(narrow):
        y, logpmf = _enumerated(components.rows(rows))
        out[rows] = np.take_along_axis(y, logpmf.argmax(axis=1)[:, None], axis=1)[:, 0]
    for rows in _groups(~narrow):
        out[rows] = np.round(searched_modes(_Steps(components.rows(rows))))
    return out


def likeliest_sets(components, coverage):
    """Return runs (n_runs, 2) of numbers row after row, their number for each row, and the least probability, (m,)."""
    narrow, found = _is_narrow(components), [None] * len(components)
    for rows in _groups(narrow):
        for row, *of_row in zip(rows, *_enumerated(components.rows(rows)), strict=True):
            found[row] = _smallest_set(*of_row, coverage)
    for rows in _groups(~narrow):
        for row, *of_row in zip(rows, *_searched_sets(components.rows(rows), coverage), strict=True):
            found[row] = tuple(of_row)
    runs, level = zip(*found, strict=True)
    return np.concatenate(runs), np.array([len(run) for run in runs]), np.array(level)


def _is_narrow(components):
    low, high = integer_range([components])
    return high - low < WIDEST


def _groups(chosen):
    rows = np.flatnonzero(chosen)
    return [rows[low : low + _CHUNK] for low in range(0, len(rows), _CHUNK)]


def _enumerated(components):
    """Return consecutive numbers (m, g) between far tails, and the logarithms of their probabilities."""
    low, high = integer_range([components])
    y = low[:, None] + np.arange(int((high - low).max()) + 1)
    return y, components.logpdf_at(y)


def _smallest_set(y, logpmf, coverage):
    """Return the runs of the likeliest numbers (n_runs, 2) of one row, and the least probability among them."""
    pmf = np.exp(logpmf)
    order = np.argsort(-pmf, kind="stable")
    mass = np.cumsum(pmf[order])
    n = min(np.searchsorted(mass, coverage - _ROUNDING) + 1, len(y))
    chosen = np.zeros(len(y) + 2, dtype=bool)
    chosen[1 + order[:n]] = True
    first, last = np.flatnonzero(chosen[1:] & ~chosen[:-1]), np.flatnonzero(chosen[:-1] & ~chosen[1:]) - 1
    return np.column_stack([y[first], y[last]]), pmf[order[n - 1]]


def _searched_sets(components, coverage):
    """Return the same for rows of very many numbers: lists of runs, and densities at their ends."""
    edges, count, level = searched_regions(_Steps(components), coverage)
    runs = np.column_stack([np.ceil(edges[:, 0]), np.floor(edges[:, 1])])
    return np.split(runs, np.cumsum(count)[:-1]), level


class _Steps:
    """Whole numbers seen as steps of width one around them, for the search of continuous densities."""

    def __init__(self, components):
        self._components, self.support = components, components.support
        self.proba, self.edges, self.normal = components.proba, components.edges, None

    def __len__(self):
        return len(self._components)

    def rows(self, chosen):
        return _Steps(self._components.rows(chosen))

    def logpdf(self, y):
        return self._components.logpdf(np.round(y))

    def logpdf_at(self, y):
        return self._components.logpdf_at(np.round(y))

    def cdf(self, y, upper=False):
        return self._components.cdf(np.floor(y + 0.5) - 0.5, upper)

    def cdf_at(self, y, upper=False):
        return self._components.cdf_at(np.floor(y + 0.5) - 0.5, upper)
