"""How rows are cut up and visited. Everything that a pass returns adds up over blocks."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from smoe import fused
from smoe._kernels.designs import standard_values
from smoe.params import tree_sum
from smoe.scaling import Scaling

__all__ = ["Block", "Blocks", "OneBlock"]

_NUMBERS = 2**18  # of a block: it hides the cost of calls, and stays in the second-level cache
_FEWEST, _SHORT, _LONG = 512, 8192, 32768  # rows of a block, long if a visit keeps nothing but sums
_SORTED = 2**20  # rows that are put in order; of more, as many are drawn first
_MIX = np.uint64(0x9E3779B97F4A7C15)  # an odd number whose multiples spread over all 64 bits
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
    n_threads : int, default=1
        Threads that share the blocks of a pass. Results do not depend on it.
    """

    def __init__(self, model, X, y, weight, scaling, n_threads=1):
        n = len(X)
        self.model, self.X, self.scaling, self.n_threads = model, X, scaling, n_threads
        self.y = np.broadcast_to(0.0, n) if y is None else y
        self.weight = np.broadcast_to(1.0, n) if weight is None else weight
        self.total_weight = float(self.weight.sum())
        width = len(scaling.gate.columns) + len(scaling.expert.columns) + 4
        self.slices = _slices(n, width, _LONG if fused.pairs(model) else _SHORT)
        self._cache = {} if n * width <= _CACHED else None

    @classmethod
    def plain(cls, model, X, y=None):
        """Return the rows in the user's units, every column for the gate and for the experts."""
        columns = np.arange(X.shape[1])
        return cls(model, X, y, None, Scaling.identity(columns, columns))

    def __len__(self):
        return len(self.X)

    def take(self, rows):
        """Return the block of these rows (a slice or indices)."""
        if isinstance(rows, slice):
            X, (low, high, _) = self.X, rows.indices(len(self))
        else:
            X, low, high = self.X[rows], 0, len(rows)
        gate_Z = self.scaling.gate.design(X, low, high)
        same = self.scaling.expert is self.scaling.gate
        expert_Z = gate_Z if same else self.scaling.expert.design(X, low, high)
        y = standard_values(self.y[rows], self.scaling.y_shift, 1.0 / self.scaling.y_scale)
        return Block(gate_Z, expert_Z, y, np.ascontiguousarray(self.weight[rows], dtype=float))

    def _block(self, rows):
        """Return the block of a slice, from the cache if there is one."""
        if self._cache is None:
            return self.take(rows)
        if rows.start not in self._cache:
            self._cache[rows.start] = self.take(rows)
        return self._cache[rows.start]

    def _visits(self, visit, params, *args):
        """Yield visit(block, params, *args) in the order of the blocks, whatever the number of threads."""

        def one(rows):
            return visit(self._block(rows), params, *args)

        if self.n_threads == 1 or len(self.slices) == 1:
            yield from map(one, self.slices)
        else:
            with ThreadPoolExecutor(self.n_threads) as pool:
                yield from pool.map(one, self.slices)

    def sum(self, visit, params, *args):
        """Do one pass: add up visit(block, params, *args) over the blocks, in order."""
        total = None
        for part in self._visits(visit, params, *args):
            total = part if total is None else tree_sum([total, part])
        return total

    def map(self, visit, params, *args):
        """Visit every block and join the arrays (..., m) along the rows."""
        out = None
        for rows, part in zip(self.slices, self._visits(visit, params, *args), strict=True):
            out = np.empty((*part.shape[:-1], len(self)), dtype=part.dtype) if out is None else out
            out[..., rows] = part
        return out

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
        rows = _thinned(key)
        key = key[rows]
        order = np.argsort(key, kind="stable")
        key, rows = key[order], rows[order]
        first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
        weight = np.add.reduceat(self.weight[rows], first)
        rows = rows[first]
        if len(rows) > size:
            cumulative = np.cumsum(weight) / weight.sum()
            position = (np.arange(size) + rng.random()) / size
            picked, weight = np.unique(np.searchsorted(cumulative, position, side="right"), return_counts=True)
            rows = rows[np.minimum(picked, len(rows) - 1)]
        return rows, weight.astype(float)


def _slices(n, width, most):
    """Return the fixed boundaries of the blocks, rows of this many numbers each."""
    size = int(np.clip(_NUMBERS // width, _FEWEST, most))
    return [slice(low, min(low + size, n)) for low in range(0, n, size)]


def _thinned(key):
    """Return the indices of all rows, or of a million or so, drawn by the value of their key alone."""
    if len(key) <= _SORTED:
        return np.arange(len(key))
    largest = np.uint64(2**64 * (_SORTED / len(key)) * 0.999)
    low = [slice(start, start + _LONG) for start in range(0, len(key), _LONG)]
    with np.errstate(over="ignore"):
        return np.concatenate([s.start + np.flatnonzero(key[s].view(np.uint64) * _MIX < largest) for s in low])


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
