"""Highest-density regions: several intervals per row, as many as each row needs."""

import numbers
from typing import NamedTuple

import numpy as np

from smoe.validation import check_floats

__all__ = ["HighestDensityRegions"]


class HighestDensityRegions(NamedTuple):
    r"""The smallest regions :math:`\{y: p(y|x) \ge c(x)\}` of a given mass, one per row of X.

    Attributes
    ----------
    edges : ndarray of shape (n_intervals, 2)
        The intervals of all rows, row after row and from left to right.
    start : ndarray of int, shape (n_samples + 1,)
        Row i has the intervals ``edges[start[i] : start[i + 1]]``.
    level : ndarray of shape (n_samples,)
        The density c(x) at the edges, per unit of y.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.distribution import HighestDensityRegions
    >>> regions = HighestDensityRegions(np.array([[0.0, 1.0], [0.0, 1.0], [4.0, 5.0]]), np.array([0, 1, 3]), np.ones(2))
    >>> regions.of(1)
    array([[0., 1.],
           [4., 5.]])
    >>> regions.padded()[0]
    array([[ 0.,  1.],
           [nan, nan]])
    """

    edges: np.ndarray
    start: np.ndarray
    level: np.ndarray

    def __repr__(self):
        return f"HighestDensityRegions(n_samples={len(self.level)}, n_intervals={len(self.edges)})"

    def of(self, i):
        """Return the intervals of row i, (its number of intervals, 2)."""
        n = len(self.level)
        if not isinstance(i, numbers.Integral) or isinstance(i, bool | np.bool_):
            raise TypeError(f"i must be the number of a row, an integer; got {i!r}.")
        if not -n <= i < n:
            raise IndexError(f"i={i}: there are rows 0 to {n - 1}.")
        i = i % n
        return self.edges[self.start[i] : self.start[i + 1]]

    @property
    def n_intervals(self):
        """Number of intervals of each row, (n_samples,)."""
        return np.diff(self.start)

    @property
    def rows(self):
        """The row that each interval belongs to, (n_intervals,)."""
        return np.repeat(np.arange(len(self.level)), self.n_intervals)

    def padded(self):
        """Return all intervals as (n_samples, largest number of intervals, 2), missing ones NaN."""
        out = np.full((len(self.level), self.n_intervals.max(initial=0), 2), np.nan)
        rows = self.rows
        out[rows, np.arange(len(rows)) - self.start[rows]] = self.edges
        return out

    def length(self):
        """Return the total length of each row's intervals, (n_samples,)."""
        return np.add.reduceat(self.edges[:, 1] - self.edges[:, 0], self.start[:-1])

    def contains(self, y):
        """Return whether y (n_samples,) lies in the region of its row, (n_samples,)."""
        y = check_floats(y, "y")
        if np.isnan(y).any():
            raise ValueError("y contains NaN.")
        if y.shape != self.level.shape:
            raise ValueError(f"y must have shape {self.level.shape}, one value per row, got {y.shape}.")
        hit = (self.edges[:, 0] <= y[self.rows]) & (y[self.rows] <= self.edges[:, 1])
        return np.logical_or.reduceat(hit, self.start[:-1])
