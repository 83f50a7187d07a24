"""How rows are cut up and visited. Everything that a pass returns adds up over blocks."""

import copy
from functools import cached_property
from typing import NamedTuple

import numpy as np

from smoe import fused
from smoe._kernels.designs import standard_values
from smoe.features import Roles, Rows
from smoe.params import tree_sum
from smoe.scaling import Scaling
from smoe.threads import driving, spread

__all__ = ["Block", "Blocks", "OneBlock"]

_NUMBERS = 2**18  # of a block: it hides the cost of calls, and stays in the second-level cache
_FEWEST, _SHORT, _LONG = 512, 8192, 65536  # rows of a block, long if a visit keeps nothing but sums
_GROUP = 2  # blocks that one thread visits and adds up at a time
_SORTED = 2**20  # rows that are put in order; of more, as many are drawn first
_MIX = np.uint64(0x9E3779B97F4A7C15)  # an odd number whose multiples spread over all 64 bits
NO_ROLES = Roles()
_CACHED = 2**22  # numbers: data up to this size are transformed once instead of at every pass


class Block:
    """Some rows: in working coordinates for those who ask, or as they are for those who make them on the way.

    Parameters
    ----------
    source : Source
        Where the rows are.
    low, high : int
        The rows are those from low to high.
    """

    def __init__(self, source, low, high):
        self.source, self.low, self.high = source, low, high

    def __len__(self):
        return self.high - self.low

    @cached_property
    def gate_Z(self):
        """The gate's design: working coordinates and a row of ones, (n_terms, m)."""
        return self.source.scaling.gate.design(self.source.X, self.low, self.high)

    @cached_property
    def expert_Z(self):
        """The experts' design, (n_terms, m)."""
        scaling = self.source.scaling
        return (
            self.gate_Z if scaling.expert is scaling.gate else scaling.expert.design(self.source.X, self.low, self.high)
        )

    @cached_property
    def y(self):
        """The response in working coordinates, (m,), or None."""
        scaling = self.source.scaling
        if self.source.y is None:
            return None
        return standard_values(self.source.y[self.low : self.high], scaling.y_shift, 1.0 / scaling.y_scale)

    @cached_property
    def rows(self):
        """What experts see: design, response, offset and trials."""
        return Rows(self.expert_Z, self.y, self.offset)

    @cached_property
    def offset(self):
        """What is added to the experts' linear predictor, (m,), or None."""
        return self.source.roles.offset_of(self.source.X[self.low : self.high])

    @cached_property
    def weight(self):
        """The weights, (m,)."""
        return np.ascontiguousarray(self.source.weight[self.low : self.high], dtype=float)


class Source:
    """The rows of a data set: X, y, weight, the working coordinates (scaling), and which columns are no covariates.

    X is float64. It is copied only if its numbers do not lie side by side, neither by rows nor by columns.
    """

    def __init__(self, X, y, weight, scaling, roles=NO_ROLES):
        self.roles = roles
        self.X = X if X.flags.c_contiguous or X.flags.f_contiguous else np.ascontiguousarray(X)
        self.scaling = scaling
        self.y = y
        self.weight = np.broadcast_to(1.0, len(X)) if weight is None else weight

    def take(self, rows, weight=None):
        """Return a block of these rows alone (indices), with weights of their own if given."""
        weight = self.weight[rows] if weight is None else weight
        y = None if self.y is None else self.y[rows]
        return Block(Source(self.X[rows], y, weight, self.scaling, self.roles), 0, len(rows))

    @cached_property
    def raw(self):
        """X, y and weight as flat arrays, with the steps from row to row and from column to column of X.

        A weight of one for all is a single number.
        """
        X = self.X
        order = "C" if X.flags.c_contiguous else "F"
        weight = self.weight if self.weight.strides[0] else self.weight[:1]
        steps = (X.shape[1], 1) if order == "C" else (1, X.shape[0])
        return _frozen(X.reshape(-1, order=order)), *steps, _frozen(self.y), _frozen(weight)


def _frozen(values):
    """Return a view of numbers in a row that refuses to be written to: kernels are compiled for each kind of array."""
    out = np.ascontiguousarray(values, dtype=float).view()
    out.flags.writeable = False
    return out


class Blocks:
    """The rows of a data set in working coordinates, visited block by block in a fixed order.

    X itself is not changed: rows are transformed as they are visited.

    Parameters
    ----------
    model : MixtureOfExperts
        Says which designs are wanted.
    X : array of shape (n_samples, n_features)
    y, weight : arrays of shape (n_samples,) or None
        None when only the gate and the experts' means are wanted; weights default to one.
    scaling : Scaling
        The working coordinates.
    roles : Roles
        Which columns are an offset or an exposure.
    """

    n_threads = 1

    def __init__(self, model, X, y, weight, scaling, roles=NO_ROLES):
        n = len(X)
        self.model, self.scaling, self.source = model, scaling, Source(X, y, weight, scaling, roles)
        self.total_weight = float(self.source.weight.sum())
        width = len(scaling.gate.columns) + len(scaling.expert.columns) + 4
        self.slices = _slices(n, width, _LONG if fused.pairs(model) else _SHORT)
        self._cache = {} if n * width <= _CACHED else None

    @classmethod
    def plain(cls, model, X, y=None):
        """Return the rows in the user's units, every column for the gate and for the experts."""
        columns = np.arange(X.shape[1])
        return cls(model, X, y, None, Scaling.identity(columns, columns))

    def __len__(self):
        return len(self.source.X)

    def shared_by(self, n_threads):
        """Return the same rows, to be visited by this many threads."""
        out = copy.copy(self)
        out.n_threads = n_threads
        return out

    def select(self, rows):
        """Return the blocks of some rows (a slice, indices or a mask), without response and weights."""
        out = type(self)(self.model, self.source.X[rows], None, None, self.scaling)
        return out.shared_by(self.n_threads)

    @property
    def only(self):
        """The block of all rows if they are one block, for those who can do more with it than visit it."""
        return self._block(self.slices[0]) if len(self.slices) == 1 else None

    def take(self, rows):
        """Return the block of these rows (a slice or indices)."""
        if isinstance(rows, slice):
            low, high, _ = rows.indices(len(self))
            return Block(self.source, low, high)
        return self.source.take(rows)

    def _block(self, rows):
        """Return the block of a slice, from the cache if there is one."""
        if self._cache is None:
            return self.take(rows)
        if rows.start not in self._cache:
            self._cache[rows.start] = self.take(rows)
        return self._cache[rows.start]

    @driving
    def sum(self, visit, params, *args):
        """Do one pass: add up ``visit(block, params, *args)`` over the blocks, in an order that is always the same."""

        def one(rows):
            return visit(self._block(rows), params, *args)

        def several(slices):
            return tree_sum([one(rows) for rows in slices])

        if len(self.slices) == 1:
            return one(self.slices[0])
        groups = [self.slices[i : i + _GROUP] for i in range(0, len(self.slices), _GROUP)]
        total = None
        for part in spread(several, groups, self.n_threads):
            total = part if total is None else tree_sum([total, part])
        return total

    @driving
    def map(self, visit, params, *args):
        """Visit every block and join the arrays (..., m) along the rows."""

        def one(rows):
            return visit(self._block(rows), params, *args)

        out = None
        for rows, part in zip(self.slices, spread(one, self.slices, self.n_threads), strict=True):
            out = np.empty((*part.shape[:-1], len(self)), dtype=part.dtype) if out is None else out
            out[..., rows] = part
        return out

    def representatives(self, size, rng):
        """Return at most ``size`` distinct rows that stand for all, weighted, as a `OneBlock`."""
        rows, weight = self.representative_rows(size, rng)
        return OneBlock(self.source.take(rows, weight), complete=len(rows) == self.n_distinct)

    def representative_rows(self, size, rng):
        """Return indices and weights of at most ``size`` distinct rows that stand for all.

        Rows are put in an order of their own (along a fixed projection) and equal rows are joined. If more than
        ``size`` remain, a systematic sample by weight is drawn along that order. Neither the order of the rows nor the
        difference between repeating and weighting a row matters.
        """
        rows, weight = self._distinct[:2]
        if len(rows) > size:
            cumulative = np.cumsum(weight) / weight.sum()
            position = (np.arange(size) + rng.random()) / size
            picked, weight = np.unique(np.searchsorted(cumulative, position, side="right"), return_counts=True)
            rows = rows[np.minimum(picked, len(rows) - 1)]
        return rows, weight.astype(float)

    @property
    def n_distinct(self):
        """The number of distinct rows."""
        return self._distinct.n_rows

    def unit_of(self, block):
        """Return what each row of a block counts in distinct rows: one over the number of rows equal to it."""
        unit = self._distinct.unit
        return np.broadcast_to(1.0, len(block)) if unit is None else unit[block.low : block.high]

    @cached_property
    def _distinct(self):
        """Distinct rows in an order of their own, or of very many a part that does not depend on their order."""
        key, weight, rows, unit = self.map(_projection, None), self.source.weight, None, None
        if len(key) <= _SORTED or _repeats(key):
            order = np.argsort(key)
            first, unit = _runs(key, order)
            rows, weight = order[first], np.add.reduceat(weight[order], first)
            key = key[rows]
        n_rows = len(key)
        if n_rows > _SORTED:
            kept, weight = _thinned(key, weight)
            order = np.argsort(key[kept])
            rows, weight = (kept if rows is None else rows[kept])[order], weight[order]
        return Distinct(rows, weight, n_rows, unit)


class Distinct(NamedTuple):
    """Distinct rows (indices) with their weights, how many there are in all, and one over each row's multiplicity.

    The last is None if no row is repeated. Of more than a million rows as many are drawn.
    """

    rows: np.ndarray
    weight: np.ndarray
    n_rows: int
    unit: np.ndarray | None


def _repeats(key):
    key = np.sort(key)
    return bool(np.any(key[1:] == key[:-1]))


def _runs(key, order):
    """Return where runs of equal keys begin in this order, and one over the length of each row's run, or None."""
    sorted_key = key[order]
    first = np.flatnonzero(np.concatenate([[True], sorted_key[1:] != sorted_key[:-1]]))
    if len(first) == len(key):
        return first, None
    length, unit = np.diff(first, append=len(key)), np.empty(len(key))
    unit[order] = np.repeat(1.0 / length, length)
    return first, unit


def _slices(n, width, most):
    """Return the fixed boundaries of the blocks, rows of this many numbers each."""
    size = int(np.clip(_NUMBERS // width, _FEWEST, most))
    return [slice(low, min(low + size, n)) for low in range(0, n, size)]


def _thinned(key, weight):
    """Return the indices of a million or so of distinct rows, and weights that make up for the others.

    A row is drawn by the value of its key alone, with a probability in proportion to its weight, heavy ones for sure.
    """
    share = _SORTED / weight.sum()
    parts = [slice(low, low + _LONG) for low in range(0, len(key), _LONG)]
    with np.errstate(over="ignore"):
        drawn = [(key[s].view(np.uint64) * _MIX) * 2.0**-64 < weight[s] * share for s in parts]
    kept = np.concatenate([s.start + np.flatnonzero(d) for s, d in zip(parts, drawn, strict=True)])
    return kept, np.maximum(weight[kept], 1.0 / share)


class OneBlock:
    """A single block of distinct rows, to be visited like `Blocks`; ``complete`` if none is missing."""

    def __init__(self, block, complete=True):
        self.block, self.complete, self.total_weight = block, complete, float(block.weight.sum())
        self.only, self.source, self.scaling, self.n_distinct = block, block.source, block.source.scaling, len(block)

    def __len__(self):
        return len(self.block)

    def sum(self, visit, params, *args):
        """Visit the block."""
        return visit(self.block, params, *args)

    def unit_of(self, block):
        """Every row counts as one."""
        return np.broadcast_to(1.0, len(block))

    def representatives(self, size, rng):
        """Return itself: its rows are distinct already."""
        return self


def _projection(block, _params):
    """One number per row; sums run column by column, so equal rows get equal numbers."""
    key = block.y.copy()
    extra = [] if block.offset is None else [block.offset]
    for j, column in enumerate([*block.gate_Z[:-1], *block.expert_Z[:-1], *extra]):
        key += np.sqrt(2.0 + j) * column
    return key
