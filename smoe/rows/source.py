"""Where rows are: the little that the rest of smoe asks of it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from smoe.params import tree_sum
from smoe.threads import spread

__all__ = ["ArraySource", "Raw", "Source"]

_MANY = 2**18  # rows
Part = TypeVar("Part")
Found = TypeVar("Found")


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
    first : array of int or None
        Where groups begin, counted from ``low``, if rows are `Grouped`; then the weights are alike in a group.
    """

    X: np.ndarray
    y: np.ndarray | None = None
    weight: np.ndarray | None = None
    low: int = 0
    high: int | None = None
    first: Any = None

    @property
    def rows(self) -> slice:
        """Where the rows are in the arrays."""
        return slice(self.low, len(self.X) if self.high is None else self.high)

    @property
    def sizes(self) -> np.ndarray:
        """The number of rows of each group."""
        return np.diff(self.first, append=self.rows.stop - self.low)

    def part(self, low: int, high: int) -> "Raw":
        """Return the rows from low to high, or the groups."""
        if self.first is None:
            return self._replace(low=self.low + low, high=self.low + high)
        ends = np.append(self.first, self.rows.stop - self.low)
        first = self.first[low:high] - ends[low]
        return self._replace(low=self.low + int(ends[low]), high=self.low + int(ends[high]), first=first)

    def weighing(self, weight: np.ndarray) -> "Raw":
        """Return a copy of these rows alone, with weights, one for each row or each group."""
        X = np.array(self.X[self.rows], order="K")
        y = None if self.y is None else np.array(self.y[self.rows], order="K")
        return Raw(X, y, weight if self.first is None else np.repeat(weight, self.sizes), first=self.first)


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
    names : list of str or None
        What the columns of X are called, if they have names.
    response : str, list of str or None
        The same of y.
    grouped : bool
        Whether what it calls rows are groups of rows, see `Grouped`.
    """

    grouped = False
    n_rows: int
    n_features: int
    total_weight: float
    names: list[str] | None = None
    response: str | list[str] | None = None

    def read(self, rows: slice) -> Raw:
        """Return the rows of one slice."""
        raise TypeError(f"{type(self).__name__} must implement read.")

    def take(self, rows: np.ndarray) -> Raw:
        """Return few rows by their indices, in any order."""
        raise TypeError(f"{type(self).__name__} must implement take.")

    def whole(self) -> Raw:
        """Return all rows in memory, for what cannot go block by block."""
        parts = [self.take(np.arange(rows.start, rows.stop))[:3] for rows in self.cuts(_MANY)]
        joined: list[Any] = [None if side[0] is None else np.concatenate(side) for side in zip(*parts, strict=True)]
        return Raw(*joined)

    def labels(self) -> np.ndarray | None:
        """Return the label of each row's group, (n_rows,), if it has one."""
        return None

    def labels_of(self, rows: slice) -> tuple:
        """Return y, as it is, and the weights of one slice; either may be None."""
        raw = self.read(rows)
        return tuple(None if side is None else side[raw.rows] for side in raw[1:3])

    def where(self, row: int) -> str:
        """Say in words where a row is, for messages."""
        return f"row {row}"

    @property
    def single(self) -> "Source":
        """The rows one by one: itself, unless rows are grouped."""
        return self

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return what a row has from what its group has, (..., n)."""
        return values

    def in_order(self, values: np.ndarray) -> np.ndarray:
        """Return values of rows (..., n) in the order that users gave them in, from that in which they are visited."""
        return values

    def cuts(self, size: int) -> list[slice]:
        """Return slices of about this many rows that follow one another, the same ones at each call."""
        return [slice(low, min(low + size, self.n_rows)) for low in range(0, self.n_rows, size)]

    def run(self, task: Callable[[Part], Found], parts: Sequence[Part], n_threads: int = 1) -> Iterable[Found]:
        """Yield task(part) in the order of the parts, slices or lists of them; here, with as many threads."""
        return spread(task, parts, n_threads)

    def reduce(self, task: Callable[[list], Found], parts: Sequence[list], n_threads: int = 1) -> Found:
        """Return the sum of task(part) over the parts, lists of slices."""
        total: Any = None
        for found in self.run(task, parts, n_threads):
            total = found if total is None else tree_sum([total, found])
        return total


class ArraySource(Source):
    """Rows in arrays, or in memory maps.

    Arrays of float64 whose numbers lie side by side are seen as they are; of others (float32, every second column) each
    block is copied when it is visited. So a memory map is never in memory as a whole.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
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

    y: Any

    def __init__(self, X: ArrayLike, y: ArrayLike | None = None, weight: np.ndarray | None = None) -> None:
        self.X, self.y = _as_numbers(X), None if y is None else _as_numbers(y)
        self._weight = None if weight is None or _is_one(weight) else np.ascontiguousarray(weight, dtype=float)
        self._plain = _is_plain(self.X) and (self.y is None or self.y.dtype == float and self.y.flags.c_contiguous)
        self.n_rows, self.n_features = self.X.shape
        self.total_weight = float(self.weight.sum())

    @property
    def weight(self) -> np.ndarray:
        """The weights, (n_samples,)."""
        return np.broadcast_to(1.0, self.n_rows) if self._weight is None else self._weight

    def read(self, rows: slice) -> Raw:
        """Return the rows of one slice, without copies where that is possible."""
        if self._plain:
            low, high, _ = rows.indices(self.n_rows)
            return Raw(self.X, self.y, self._weight, low, high)
        return self.take(rows)

    def whole(self) -> Raw:
        """Return all rows, without copies where that is possible."""
        return self.read(slice(None))

    def take(self, rows: Any) -> Raw:
        """Return rows, as float64."""
        y, weight = (None if a is None else np.array(a[rows], dtype=float, order="C") for a in (self.y, self._weight))
        X = np.array(self.X[rows], dtype=float, order="K")
        return Raw(X if _is_plain(X) else np.ascontiguousarray(X), y, weight)


def _as_numbers(values):
    """Return an array of floats of any width, without a copy if it is one already."""
    values = np.asarray(values)
    return values if values.dtype in (np.float32, np.float64) else values.astype(float)


def _is_plain(X):
    """Whether kernels can read the numbers where they are."""
    return X.dtype == float and (X.flags.c_contiguous or X.flags.f_contiguous)


def _is_one(weight):
    """Whether these are ones that take no memory."""
    return not weight.strides[0] and weight[0] == 1.0
