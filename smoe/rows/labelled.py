"""Rows whose responses are classes: labels are read once, and their codes are held."""

import numpy as np

from smoe.rows.source import Source

__all__ = ["Labelled"]


class Labelled(Source):
    """The rows of a source, with the codes 0, 1, ... of their labels in place of y.

    One pass over the labels alone. Codes are held in memory, a byte for each row if there are few classes; so are the
    weights, if there are any.

    Parameters
    ----------
    source : Source

    Attributes
    ----------
    found : ndarray
        The labels that occur, sorted.
    y : ndarray of int, shape (n_rows,)
        Which of these each row has, or, after ``coded``, their codes.
    weight : ndarray of shape (n_rows,) or None
        The weights.

    Raises
    ------
    ValueError
        Several responses, or none.
    """

    def __init__(self, source):
        self.source, self.n_rows, self.n_features = source, source.n_rows, source.n_features
        self.names, self.response, self.where = source.names, source.response, source.where
        self.cuts, self.labels = source.cuts, source.labels
        y, weight = zip(*(source.labels_of(rows) for rows in source.cuts(2**16)), strict=True)
        if y[0] is None or y[0].ndim > 1:
            raise ValueError(f"one class per row is modelled: this {type(source).__name__} must have one response.")
        parts = [np.unique(part, return_inverse=True) for part in y]
        self.found = np.unique(np.concatenate([labels for labels, _ in parts]))
        kind = np.min_scalar_type(len(self.found))
        self.y = np.concatenate([np.searchsorted(self.found, labels)[code].astype(kind) for labels, code in parts])
        self.weight = None if weight[0] is None else np.concatenate(weight)
        self.total_weight = float(self.n_rows if self.weight is None else self.weight.sum())

    def totals(self, n_classes):
        """Return the weight of each class, (n_classes,), once y are codes."""
        return np.bincount(self.y, self.weight, n_classes).astype(float)

    def weigh(self, factors):
        """Multiply the weights by the factor of each row's class."""
        self.weight = factors[self.y] if self.weight is None else self.weight * factors[self.y]
        self.total_weight = float(self.weight.sum())

    def code(self, read):
        """Let y be the codes that ``read(labels)`` returns."""
        codes = read(self.found)
        self.y = codes.astype(np.min_scalar_type(int(codes.max())))[self.y]

    def read(self, rows):
        """Return the rows of one slice."""
        raw = self.source.read(rows)
        if len(raw.X) > rows.stop - rows.start:  # arrays as they are
            raw = raw._replace(X=raw.X[raw.rows], low=0, high=None)
        return self._with_codes(raw, rows)

    def take(self, rows):
        """Return few rows by their indices."""
        return self._with_codes(self.source.take(rows), rows)

    def run(self, task, parts, n_threads=1):
        """Do what the source does."""
        return self.source.run(task, parts, n_threads)

    def _with_codes(self, raw, rows):
        return raw._replace(y=self.y[rows].astype(float), weight=None if self.weight is None else self.weight[rows])
