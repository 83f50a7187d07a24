"""How rows are cut up and visited. Everything that a pass returns adds up over blocks."""

from typing import NamedTuple

import numpy as np

from smoe.params import tree_sum
from smoe.scaling import Scaling

__all__ = ["Block", "Blocks", "OneBlock"]

_ROWS = 4096  # large enough to hide the cost of calls, small enough that a block's arrays stay in cache
_CACHED = 2**22  # numbers: data up to this size are transformed once instead of at every pass


class Block(NamedTuple):
    """Rows in working coordinates: designs (n_terms, m) of the gate and of the experts, y and weight (m,)."""

    gate_Z: np.ndarray
    expert_Z: np.ndarray
    y: np.ndarray
    weight: np.ndarray


class Blocks:
    """The rows of a data set in working coordinates, visited block by block in a fixed order.

    X itself is neither copied nor changed: each block is transformed as it is visited.

    Parameters
    ----------
    model : MixtureOfExperts
        Says which designs are wanted.
    X : array of shape (n_samples, n_features)
    y, weight : arrays of shape (n_samples,) or None
        None when only the gate and the experts' means are wanted; weights default to one.
    scaling : Scaling
        The working coordinates.
    """

    def __init__(self, model, X, y, weight, scaling):
        n = len(X)
        self.model, self.X, self.scaling = model, X, scaling
        self.y = np.zeros(n) if y is None else y
        self.weight = np.ones(n) if weight is None else weight
        self.total_weight = float(self.weight.sum())
        width = len(scaling.gate.columns) + len(scaling.expert.columns) + 4
        self._cache = [] if n * width <= _CACHED else None

    @classmethod
    def plain(cls, model, X, y=None):
        """Return the rows in the user's units, every column for the gate and for the experts."""
        columns = np.arange(X.shape[1])
        return cls(model, X, y, None, Scaling.identity(columns, columns))

    def __len__(self):
        return len(self.X)

    def take(self, rows):
        """Return the block of these rows (a slice or indices)."""
        X, scaling = self.X[rows], self.scaling
        features = scaling.gate.rows(X)
        gate_Z = self.model.gate.design(features)
        if scaling.expert is not scaling.gate:
            features = scaling.expert.rows(X)
        expert_Z = self.model.expert.design(features)
        y = (self.y[rows] - scaling.y_shift) / scaling.y_scale
        return Block(gate_Z, expert_Z, y, np.asarray(self.weight[rows], dtype=float))

    def slices(self):
        """Return the fixed boundaries of the blocks."""
        return [slice(low, min(low + _ROWS, len(self))) for low in range(0, len(self), _ROWS)]

    def __iter__(self):
        if self._cache is None:
            return (self.take(s) for s in self.slices())
        if not self._cache:
            self._cache = [self.take(s) for s in self.slices()]
        return iter(self._cache)

    def sum(self, visit, params, *args):
        """Do one pass: add up visit(block, params, *args) over the blocks, in order."""
        total = None
        for block in self:
            part = visit(block, params, *args)
            total = part if total is None else tree_sum([total, part])
        return total

    def map(self, visit, params, *args):
        """Visit every block and join the arrays (..., m) along the rows."""
        return np.concatenate([visit(block, params, *args) for block in self], axis=-1)

    def representatives(self, size, rng):
        """Return at most ``size`` distinct rows that stand for all, weighted, as a `OneBlock`."""
        rows, weight = self.representative_rows(size, rng)
        complete = np.isclose(weight.sum(), self.total_weight) and (len(rows) < size or len(self) <= size)
        return OneBlock(self.take(rows)._replace(weight=weight), complete)

    def representative_rows(self, size, rng):
        """Return indices and weights of at most ``size`` distinct rows that stand for all.

        Rows are put in an order of their own (along a fixed projection) and equal rows are joined. If more than
        ``size`` remain, a systematic sample by weight is drawn along that order. Neither the order of the rows nor the
        difference between repeating and weighting a row matters.
        """
        key = self.map(_projection, None)
        order = np.argsort(key, kind="stable")
        key = key[order]
        first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
        weight = np.add.reduceat(self.weight[order], first)
        rows = order[first]
        if len(rows) > size:
            cumulative = np.cumsum(weight) / weight.sum()
            position = (np.arange(size) + rng.random()) / size
            picked, weight = np.unique(np.searchsorted(cumulative, position, side="right"), return_counts=True)
            rows = rows[np.minimum(picked, len(rows) - 1)]
        return rows, weight.astype(float)


class OneBlock:
    """A single block of distinct rows, to be visited like `Blocks`; ``complete`` if none is missing."""

    def __init__(self, block, complete=True):
        self.block, self.complete, self.total_weight = block, complete, float(block.weight.sum())

    def __len__(self):
        return len(self.block.y)

    def sum(self, visit, params, *args):
        """Visit the block."""
        return visit(self.block, params, *args)

    def representatives(self, size, rng):
        """Return itself: its rows are distinct already."""
        return self


def _projection(block, _params):
    """One number per row; sums run column by column, so equal rows get equal numbers."""
    key = block.y.copy()
    for j, column in enumerate([*block.gate_Z[:-1], *block.expert_Z[:-1]]):
        key += np.sqrt(2.0 + j) * column
    return key
