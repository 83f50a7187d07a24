"""Highest-density regions: several intervals or runs of whole numbers per row, as many as each row needs."""

import numbers
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from smoe.validation import check_floats

__all__ = ["HighestDensityIntegers", "HighestDensityRegions"]


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

    def of(self, i: int) -> np.ndarray:
        """Return the intervals of row i, (its number of intervals, 2)."""
        n = len(self.level)
        if not isinstance(i, numbers.Integral) or isinstance(i, bool | np.bool_):
            raise TypeError(f"i must be the number of a row, an integer; got {i!r}.")
        if not -n <= i < n:
            raise IndexError(f"i={i}: there are rows 0 to {n - 1}.")
        i = i % n
        return self.edges[self.start[i] : self.start[i + 1]]

    @property
    def n_intervals(self) -> np.ndarray:
        """Number of intervals of each row, (n_samples,)."""
        return np.diff(self.start)

    @property
    def rows(self) -> np.ndarray:
        """The row that each interval belongs to, (n_intervals,)."""
        return np.repeat(np.arange(len(self.level)), self.n_intervals)

    def padded(self) -> np.ndarray:
        """Return all intervals as (n_samples, largest number of intervals, 2), missing ones NaN."""
        out = np.full((len(self.level), self.n_intervals.max(initial=0), 2), np.nan)
        rows = self.rows
        out[rows, np.arange(len(rows)) - self.start[rows]] = self.edges
        return out

    def length(self) -> np.ndarray:
        """Return the total length of each row's intervals, (n_samples,)."""
        return np.add.reduceat(self.edges[:, 1] - self.edges[:, 0], self.start[:-1])

    def contains(self, y: ArrayLike) -> np.ndarray:
        """Return whether y (n_samples,) lies in the region of its row, (n_samples,)."""
        y = _one_per_row(y, self.level)
        hit = (self.edges[:, 0] <= y[self.rows]) & (y[self.rows] <= self.edges[:, 1])
        return np.logical_or.reduceat(hit, self.start[:-1])


class HighestDensityIntegers(NamedTuple):
    """The smallest sets of whole numbers of at least a given mass, one per row of X.

    Attributes
    ----------
    runs : ndarray of shape (n_runs, 2)
        First and last number of each run of consecutive numbers, row after row and from left to right.
    start : ndarray of int, shape (n_samples + 1,)
        Row i has the runs ``runs[start[i] : start[i + 1]]``.
    level : ndarray of shape (n_samples,)
        The smallest probability of a number in the set.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.distribution import HighestDensityIntegers
    >>> sets = HighestDensityIntegers(
    ...     np.array([[0.0, 2.0], [0.0, 0.0], [4.0, 6.0]]), np.array([0, 1, 3]), np.full(2, 0.1)
    ... )
    >>> sets.of(1)
    array([0., 4., 5., 6.])
    >>> sets.sizes
    array([3., 4.])
    >>> sets.contains([1, 2])
    array([ True, False])
    """

    runs: np.ndarray
    start: np.ndarray
    level: np.ndarray

    def __repr__(self):
        return f"HighestDensityIntegers(n_samples={len(self.level)}, n_runs={len(self.runs)})"

    def of(self, i: int) -> np.ndarray:
        """Return the numbers of row i in increasing order."""
        return np.concatenate([np.arange(first, last + 1.0) for first, last in self.runs_of(i)])

    def runs_of(self, i: int) -> np.ndarray:
        """Return first and last numbers of the runs of row i, (its number of runs, 2)."""
        i = range(len(self.level))[i]
        return self.runs[self.start[i] : self.start[i + 1]]

    @property
    def n_runs(self) -> np.ndarray:
        """Number of runs of each row, (n_samples,)."""
        return np.diff(self.start)

    @property
    def rows(self) -> np.ndarray:
        """The row that each run belongs to, (n_runs,)."""
        return np.repeat(np.arange(len(self.level)), self.n_runs)

    @property
    def sizes(self) -> np.ndarray:
        """How many numbers each row's set has, (n_samples,)."""
        return np.add.reduceat(self.runs[:, 1] - self.runs[:, 0] + 1.0, self.start[:-1])

    def contains(self, y: ArrayLike) -> np.ndarray:
        """Return whether y (n_samples,) lies in the set of its row, (n_samples,)."""
        y = _one_per_row(y, self.level)
        hit = (self.runs[:, 0] <= y[self.rows]) & (y[self.rows] <= self.runs[:, 1]) & (np.floor(y) == y)[self.rows]
        return np.logical_or.reduceat(hit, self.start[:-1])


def _one_per_row(y, level):
    y = check_floats(y, "y")
    if y.shape != level.shape:
        raise ValueError(f"y must have shape {level.shape}, one value per row, got {y.shape}.")
    return y
