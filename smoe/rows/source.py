"""Where rows are: the little that the rest of smoe asks of it."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from smoe.threads import spread

__all__ = ["ArraySource", "Raw", "Source"]

Part, Found = TypeVar("Part"), TypeVar("Found")


class Raw(NamedTuple):
    """Rows in memory, in the user's units: those from ``low`` to ``high`` of arrays that may hold more.

    Attributes
    ----------
    X : array of shape (n, n_features)
        float64, its numbers side by side by rows or by columns.
    y : array of shape (n,) or (n, q), or None
        The response, or several.
    weight : array of shape (n,) or None
        The weights; None stands for one each, in all rows of a source or in none.
    low : int
    high : int or None
        None means to the end.
    """

    X: np.ndarray
    y: np.ndarray | None = None
    weight: np.ndarray | None = None
    low: int = 0
    high: int | None = None

    @property
    def rows(self) -> slice:
        """Where the rows are in the arrays."""
        return slice(self.low, len(self.X) if self.high is None else self.high)


class Source:
    """Where the rows of a data set are. All who look at rows do passes over it, block by block.

    A new source derives from this class, has the three attributes, and implements ``read`` and ``take``. ``read`` is
    asked for the slices that ``cuts`` returns, pass after pass, by several threads at a time.

    Attributes
    ----------
    n_rows : int
        Number of rows.
    n_features : int
        Number of columns of X.
    total_weight : float
        Sum of the weights.
    """

    n_rows: int
    n_features: int
    total_weight: float

    def read(self, rows: slice) -> Raw:
        """Return the rows of one slice."""
        raise TypeError(f"{type(self).__name__} must implement read.")

    def take(self, rows: np.ndarray) -> Raw:
        """Return few rows by their indices, in any order."""
        raise TypeError(f"{type(self).__name__} must implement take.")

    def cuts(self, size: int) -> list[slice]:
        """Return slices of about this many rows that follow one another, the same ones at each call."""
        return [slice(low, min(low + size, self.n_rows)) for low in range(0, self.n_rows, size)]

    def run(self, task: Callable[[Part], Found], parts: Sequence[Part], n_threads: int = 1) -> Iterable[Found]:
        """Yield task(part) in the order of the parts, slices or lists of them; here, with as many threads."""
        return spread(task, parts, n_threads)


class ArraySource(Source):
    """Rows in arrays, or in memory maps.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        It is copied only if it is not float64, or if its numbers do not lie side by side.
    y : array of shape (n_samples,) or (n_samples, q), or None
        None when only the gate and the experts' means are wanted.
    weight : array of shape (n_samples,) or None
        One each by default.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.rows import ArraySource
    >>> source = ArraySource(np.arange(6.0).reshape(3, 2))
    >>> source.cuts(2)
    [slice(0, 2, None), slice(2, 3, None)]
    >>> source.take([2]).X
    array([[4., 5.]])
    """

    def __init__(self, X, y=None, weight=None):
        X = np.asarray(X, dtype=float)
        self.X = X if X.flags.c_contiguous or X.flags.f_contiguous else np.ascontiguousarray(X)
        self.y = None if y is None else np.ascontiguousarray(y, dtype=float)
        self._weight = None if weight is None or _is_one(weight) else np.ascontiguousarray(weight, dtype=float)
        self.n_rows, self.n_features = X.shape
        self.total_weight = float(self.weight.sum())

    @property
    def weight(self):
        """The weights, (n_samples,)."""
        return np.broadcast_to(1.0, self.n_rows) if self._weight is None else self._weight

    def read(self, rows):
        """Return the rows of one slice, without copies."""
        low, high, _ = rows.indices(self.n_rows)
        return Raw(self.X, self.y, self._weight, low, high)

    def take(self, rows):
        """Return copies of rows."""
        return Raw(self.X[rows], *(None if a is None else a[rows] for a in (self.y, self._weight)))


def _is_one(weight):
    """Whether these are ones that take no memory."""
    return not weight.strides[0] and weight[0] == 1.0
