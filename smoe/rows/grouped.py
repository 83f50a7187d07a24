"""Groups of rows that share one label: all rows of a person, a firm, a field."""

import numpy as np

from smoe.rows.source import ArraySource, Source
from smoe.validation import check_groups, labels_of_groups

__all__ = ["Grouped", "by_group", "cuts_between"]


class Grouped(Source):
    """The rows of a source by groups: what it counts, cuts and takes are groups, whose rows stay together.

    Rows of a group may be anywhere; they are visited one after the other, in the order in which they are.

    Parameters
    ----------
    source : Source
        The rows one by one.
    codes : array of int, shape (n_rows,)
        The group of each row, 0, 1, ... in the order of their first rows.
    """

    grouped = True

    def __init__(self, source, codes):
        self._single, self.codes = source, codes
        self.n_features, self.names, self.response = source.n_features, source.names, source.response
        self.run, self.reduce, self.where = source.run, source.reduce, source.where
        ordered = np.all(np.diff(codes) >= 0)
        self._order = None if ordered else np.argsort(codes, kind="stable")
        self._ends = np.concatenate([[0], np.cumsum(np.bincount(codes))])
        self.n_rows = len(self._ends) - 1
        self.total_weight = float(self.weight.sum())

    @property
    def single(self):
        """The rows one by one."""
        return self._single

    @property
    def first(self):
        """The first row of each group."""
        return self._ends[:-1] if self._order is None else self._order[self._ends[:-1]]

    @property
    def weight(self):
        """The weight of each group, that of its first row."""
        return self._single.weight[self.first]

    def differing(self, values):
        """Return two rows of a group, the first there is, in which values (n,) differ, or None."""
        first = self.first[self.codes]
        differ = values != values[first]
        if not differ.any():
            return None
        differ &= self.codes == self.codes[differ].min()
        row = int(differ.argmax())
        return int(first[row]), row

    def spread(self, values):
        """Return what each row has from what its group has, (..., n)."""
        return values[..., self.codes]

    def in_order(self, values):
        """Return values of rows in the order of the source."""
        if self._order is None:
            return values
        out = np.empty_like(values)
        out[..., self._order] = values
        return out

    def cuts(self, size):
        """Return slices of groups that have about this many rows."""
        return cuts_between(self._ends, size)

    def read(self, rows):
        """Return the rows of a slice of groups."""
        low, high, _ = rows.indices(self.n_rows)
        span, first = slice(self._ends[low], self._ends[high]), self._ends[low:high] - self._ends[low]
        raw = self._single.read(span) if self._order is None else self._single.take(self._order[span])
        return raw._replace(first=first)

    def take(self, rows):
        """Return the rows of few groups."""
        spans = [np.arange(self._ends[group], self._ends[group + 1]) for group in rows]
        places, sizes = np.concatenate(spans), [len(span) for span in spans]
        raw = self._single.take(places if self._order is None else self._order[places])
        return raw._replace(first=np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64))

    def whole(self):
        """Return all rows in memory, in the order of the source."""
        return self._single.whole()


def cuts_between(ends, size):
    """Return slices of groups that follow one another, of at most ``size`` rows, or of one group that has more.

    Parameters
    ----------
    ends : array of int, shape (n_groups + 1,)
        Zero, and where each group ends.
    size : int
    """
    out, low = [], 0
    while low < len(ends) - 1:
        high = max(int(np.searchsorted(ends, ends[low] + size, side="right")) - 1, low + 1)
        out.append(slice(low, high))
        low = high
    return out


def by_group(source, column, gate_columns=(), names=None, original=None):
    """Return the rows of a source by the groups that a column says; itself where there is none, or one row in each.

    Parameters
    ----------
    source : Source
    column : int or None
        The column of X with the numbers of groups.
    gate_columns : array of int
        Those that the gate sees.
    names : list of str or None
        What the columns of X are called, for messages.
    original : array-like or data frame, or None
        X as users passed it, with the labels that the numbers stand for, for messages.

    Raises
    ------
    TypeError
        The rows are not in memory.
    ValueError
        A column of the gate, or the weights, differ in the rows of a group; the first such group is named.
    """
    if column is None:
        return source
    if not isinstance(source, ArraySource):
        raise TypeError("group_feature takes arrays and data frames: rows of files and clusters have no groups yet.")
    out = Grouped(source, check_groups(source.X[:, column], source.n_rows, "group_feature"))
    if out.n_rows == source.n_rows:
        return source
    columns = [(f"gate_features: column {names[j] if names else j!r}", source.X[:, j], _OF_GATE) for j in gate_columns]
    for what, values, why in [*columns, ("sample_weight", source.weight, _OF_WEIGHTS)]:
        if (rows := out.differing(values)) is not None:
            number = source.X[rows[0], column]
            labels = None if original is None else labels_of_groups(original, column)
            label = f"{number:g}" if labels is None else repr(labels[int(number)])
            raise ValueError(
                f"{what} must be the same in all rows of a group, {why}; in group {label} it is {values[rows[0]]:g} "
                f"in row {rows[0]} and {values[rows[1]]:g} in row {rows[1]}."
            )
    return out


_OF_GATE = "as one label is drawn for it (its mean or its first value may be meant)"
_OF_WEIGHTS = "as it counts groups"
