"""The most likely whole numbers of mixtures."""

import numpy as np

from smoe.distribution.nodes import integer_groups
from smoe.distribution.peaks import searched_modes, searched_regions

__all__ = ["likeliest", "likeliest_sets"]

_ROUNDING = 1e-14  # a sum of probabilities that misses the coverage by less has reached it


def likeliest(components):
    """Return the most likely number of each row, (m,); of equally likely ones the smallest."""
    out = np.empty(len(components))
    for rows, nodes, complete in integer_groups([components]):
        part = components.rows(rows)
        out[rows] = _highest(part, nodes) if complete else np.round(searched_modes(_Steps(part)))
    return out


def likeliest_sets(components, coverage):
    """Return runs (n_runs, 2) of numbers row after row, their number for each row, and the least probability, (m,)."""
    found = [None] * len(components)
    for rows, nodes, complete in integer_groups([components]):
        part = components.rows(rows)
        sets = _smallest_sets(part, nodes, coverage) if complete else _searched_sets(part, coverage)
        for row, one in zip(rows, sets, strict=True):
            found[row] = one
    runs, level = zip(*found, strict=True)
    return np.concatenate(runs), np.array([len(run) for run in runs]), np.array(level)


def _enumerated(components, nodes):
    """Return whole numbers (m, g) and the logarithms of their probabilities, of repeated ones minus infinity."""
    y, weight = nodes([components], None)
    return y, np.where(weight > 0, components.logpdf_at(y), -np.inf)


def _highest(components, nodes):
    y, logpmf = _enumerated(components, nodes)
    return np.take_along_axis(y, logpmf.argmax(axis=1)[:, None], axis=1)[:, 0]


def _smallest_sets(components, nodes, coverage):
    """Yield for each row the runs of the likeliest numbers (n_runs, 2), and the least probability among them."""
    for y, logpmf in zip(*_enumerated(components, nodes), strict=True):
        yield _smallest_set(y, logpmf, coverage)


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
    """Return the same for rows of very many numbers, with densities at the runs' ends."""
    edges, count, level = searched_regions(_Steps(components), coverage)
    runs = np.column_stack([np.ceil(edges[:, 0]), np.floor(edges[:, 1])])
    return zip(np.split(runs, np.cumsum(count)[:-1]), level, strict=True)


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
