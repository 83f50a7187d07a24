"""How rows are cut up and visited. Everything that a pass returns adds up over blocks."""

from functools import cached_property

import numpy as np

from smoe import fused
from smoe._kernels.designs import standard_rows, standard_values
from smoe._kernels.groups import group_sums
from smoe.features import Roles, Rows
from smoe.params import tree_sum
from smoe.rows.grouped import cuts_between
from smoe.rows.sample import distinct, drawn
from smoe.rows.scaling import Scaling
from smoe.rows.source import ArraySource, Raw, Source
from smoe.threads import driving

__all__ = ["Block", "Blocks", "GroupedBlock", "OneBlock"]

_NUMBERS = 2**18  # of a block: it hides the cost of calls, and stays in the second-level cache
_FEWEST, _SHORT, _LONG = 512, 8192, 65536  # rows of a block, long if a visit keeps nothing but sums
_GROUP = 2  # blocks that one thread visits and adds up at a time
_CACHED = 2**22  # numbers: data up to this size are transformed once instead of at every pass
_NO_ROLES = Roles()
_ONE = np.ones(1)


class Block:
    """Some rows: in working coordinates for those who ask, or as they are for those who make them on the way.

    Parameters
    ----------
    raw : Raw
        The rows in the user's units.
    scaling : Scaling
        The working coordinates.
    roles : Roles
        Which columns are an offset, an exposure, numbers of trials or events.
    place : slice, array of int or None
        Which rows of the source they are.

    Attributes
    ----------
    grouped : bool
        Whether its columns are groups of rows, see ``GroupedBlock``. A row alone is a group of one.
    """

    grouped = False
    sizes = 1.0  # rows of each group

    def __init__(self, raw: Raw, scaling: Scaling, roles: Roles = _NO_ROLES, place: slice | np.ndarray | None = None):
        self.raw, self.scaling, self.roles, self.place = raw, scaling, roles, place
        self.low, self.high = raw.rows.start, raw.rows.stop

    def __len__(self):
        return self.high - self.low

    @cached_property
    def gate_Z(self):
        """The gate's design: working coordinates and a row of ones, (n_terms, m)."""
        return self.scaling.gate.design(self.raw.X, self.low, self.high)

    @cached_property
    def expert_Z(self):
        """The experts' design, (n_terms, m)."""
        gate, expert = self.scaling.gate, self.scaling.expert
        return self.gate_Z if expert is gate else expert.design(self.raw.X, self.low, self.high)

    @cached_property
    def y(self):
        """The response in working coordinates, (m,), or (q, m) of several, or None."""
        y, shift, scale = self.raw.y, self.scaling.y_shift, self.scaling.y_scale
        if y is None:
            return None
        if y.ndim == 1:
            return standard_values(y[self.raw.rows], shift, 1.0 / scale)
        shift, scale = (np.broadcast_to(side, y.shape[1]).astype(float) for side in (shift, scale))
        return standard_rows(y, self.low, self.high, np.arange(y.shape[1]), shift, 1.0 / scale)[:-1]

    @cached_property
    def rows(self):
        """What experts see: design, response, offset, trials and events."""
        return Rows(self.expert_Z, self.y, self.offset, self.trials, self.event)

    @cached_property
    def offset(self):
        """What is added to the experts' linear predictor, (m,), or None."""
        return self.roles.offset_of(self.raw.X[self.raw.rows])

    @cached_property
    def trials(self):
        """The number of trials that y counts successes of, (m,), or None."""
        return self.roles.trials_of(self.raw.X[self.raw.rows])

    @cached_property
    def event(self):
        """One where y is the time of an event, zero where it is censored, (m,), or None."""
        return self.roles.event_of(self.raw.X[self.raw.rows])

    @property
    def weighted(self):
        """Whether rows have weights other than one."""
        return self.raw.weight is not None

    @cached_property
    def weight(self):
        """The weights, (m,)."""
        return self.raw.weight[self.raw.rows] if self.weighted else np.ones(len(self))

    @property
    def n_rows(self):
        """The number of rows that experts see."""
        return self.high - self.low

    def summed(self, values):
        """Return the sums over the rows of each group of what rows have, (..., m)."""
        return values

    def spread(self, values):
        """Return what each row has from what its group has, (..., m)."""
        return values

    def averaged(self, values):
        """Return the means over the rows of each group of what rows have, (..., m)."""
        return self.summed(values) / self.sizes

    def earlier(self, values):
        """Return the sums over the rows of the group that come before each row, (..., m)."""
        return np.zeros_like(values)

    @cached_property
    def flat(self):
        """X, y and weight as flat arrays, with the steps from row to row and from column to column of X.

        They begin before row ``low``, as the arrays do. A weight of one for all is a single number.
        """
        X, y, weight = self.raw[:3]
        order = "C" if X.flags.c_contiguous else "F"
        steps = (X.shape[1], 1) if order == "C" else (1, X.shape[0])
        return _frozen(X.reshape(-1, order=order)), *steps, _frozen(y), _frozen(weight if self.weighted else _ONE)

    def seen_in(self, scaling):
        """Return the same rows in other coordinates."""
        return type(self)(self.raw, scaling, self.roles, self.place)

    def pieces(self, size):
        """Yield the block in pieces of at most this many rows; itself if it is no larger."""
        if len(self) <= size:
            yield self
            return
        for low in range(0, len(self), size):
            yield self._part(low, min(low + size, len(self)))

    def _part(self, low, high):
        return type(self)(self.raw.part(low, high), self.scaling, self.roles, self._place(low, high))

    def _place(self, low, high):
        """Return where the rows from low to high of the block are in the source."""
        if not isinstance(self.place, slice):
            return None if self.place is None else self.place[low:high]
        start = self.place.start or 0
        return slice(start + low, start + high)


class GroupedBlock(Block):
    """Some groups of rows: a group has one column of the gate's design and one weight, experts see its rows.

    The gate's columns and the weights are alike in all rows of a group, so that those of its first row are taken.
    """

    grouped = True

    def __len__(self):
        return len(self.raw.first)

    @cached_property
    def gate_Z(self):
        """The gate's design, a column for each group."""
        return self.scaling.gate.design(self.raw.X[self.low + self.raw.first], 0, len(self))

    @cached_property
    def expert_Z(self):
        """The experts' design, a column for each row."""
        return self.scaling.expert.design(self.raw.X, self.low, self.high)

    @cached_property
    def weight(self):
        """The weights of the groups."""
        return self.raw.weight[self.low + self.raw.first] if self.weighted else np.ones(len(self))

    @cached_property
    def sizes(self):
        """The number of rows of each group."""
        return self.raw.sizes

    def summed(self, values):
        """Return the sums over the rows of each group."""
        flat = np.ascontiguousarray(values).reshape(-1, values.shape[-1])
        return group_sums(flat, self.raw.first).reshape(*values.shape[:-1], -1)

    def spread(self, values):
        """Return what each row has from what its group has."""
        return np.repeat(values, self.sizes, axis=-1)

    def earlier(self, values):
        """Return the sums over the rows of the group that come before each row."""
        out = np.zeros_like(values)
        for place in range(1, self.sizes.max()):  # no differences of sums: log densities may be -inf
            at = self.raw.first[self.sizes > place] + place
            out[..., at] = out[..., at - 1] + values[..., at - 1]
        return out

    def pieces(self, size):
        """Yield the groups in pieces of about this many rows."""
        if self.n_rows <= size:
            yield self
            return
        for groups in cuts_between(np.append(self.raw.first, self.n_rows), size):
            yield self._part(groups.start, groups.stop)


def _frozen(values):
    """Return a view of numbers in a row that refuses to be written to: kernels are compiled for each kind of array."""
    out = np.ascontiguousarray(values, dtype=float).view()
    out.flags.writeable = False
    return out


class Blocks:
    """The rows of a source in working coordinates, visited block by block in a fixed order.

    X itself is not changed: rows are transformed as they are visited.

    Parameters
    ----------
    model : MixtureOfExperts
        Says which designs are wanted.
    source : Source
        Where the rows are.
    scaling : Scaling
        The working coordinates.
    roles : Roles
        Which columns are an offset, an exposure, numbers of trials or events.
    """

    n_threads = 1

    def __init__(self, model, source: Source, scaling: Scaling, roles: Roles = _NO_ROLES):
        self.model, self.source, self.scaling, self.roles = model, source, scaling, roles
        self.total_weight = source.total_weight
        width = len(scaling.gate.columns) + len(scaling.expert.columns) + 4
        most = _LONG if fused.pairs(model) else _SHORT
        self.size = int(np.clip(_NUMBERS // width, _FEWEST, most))
        self.slices = source.cuts(self.size)
        self._cache: dict | None = {} if source.single.n_rows * width <= _CACHED else None

    @classmethod
    def plain(cls, model, X, y=None):
        """Return the rows in the user's units, every column for the gate and for the experts."""
        columns = np.arange(X.shape[1])
        return cls(model, ArraySource(X, y), Scaling.identity(columns, columns))

    def __len__(self):
        return self.source.n_rows

    def __getstate__(self):
        """Leave behind what a task elsewhere does not need: transformed rows, and which rows stand for all."""
        state = vars(self) | {"_cache": None}
        if "_distinct" in state:
            state["_distinct"] = state["_distinct"]._replace(rows=None, weight=None)
        return state

    def shared_by(self, n_threads):
        """Return the same rows, to be visited by this many threads."""
        out = object.__new__(type(self))
        vars(out).update(vars(self))
        out.n_threads = n_threads
        return out

    def seen_in(self, scaling):
        """Return the same rows in other coordinates."""
        return type(self)(self.model, self.source, scaling, self.roles).shared_by(self.n_threads)

    def select(self, rows):
        """Return the blocks of some rows (a slice or indices), without response and weights."""
        raw = self.source.take(np.arange(len(self))[rows])
        return type(self)(self.model, ArraySource(raw.X), self.scaling, self.roles).shared_by(self.n_threads)

    @cached_property
    def loglik_offset(self):
        """What the log-likelihood of these rows in working coordinates exceeds that in the user's units by.

        Densities have a unit, the survival functions of censored rows have none, and what is missing has no density.
        """
        seen = self.source.single.total_weight
        if self.model.expert.takes_missing:
            seen = self.sum(lambda block, _: ~np.isnan(block.y) @ block.spread(block.weight), None)
        if self.roles.event is not None:
            seen = self.sum(lambda block, _: float(block.spread(block.weight) @ block.event), None)
        return self.scaling.loglik_offset(seen)

    @property
    def only(self):
        """The block of all rows if they are one block, for those who can do more with it than visit it."""
        return self._block(self.slices[0]) if len(self.slices) == 1 else None

    def take(self, rows):
        """Return the block of these rows (a slice or indices)."""
        return self._made(self.source.read(rows) if isinstance(rows, slice) else self.source.take(rows), rows)

    def _made(self, raw, rows):
        return (GroupedBlock if self.source.grouped else Block)(raw, self.scaling, self.roles, rows)

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

        def several(slices):
            total = None
            for rows in slices:
                for part in self._visited(rows, visit, params, *args):
                    total = part if total is None else tree_sum([total, part])
            return total

        if len(self.slices) == 1:
            return several(self.slices)
        groups = [self.slices[i : i + _GROUP] for i in range(0, len(self.slices), _GROUP)]
        return self.source.reduce(several, groups, self.n_threads)

    def each(self, visit, params, *args):
        """Do one pass: yield ``visit(block, params, *args)`` block by block, in the order of the rows."""

        def one(rows):
            return list(self._visited(rows, visit, params, *args))

        for parts in self.source.run(one, self.slices, self.n_threads):
            yield from parts

    def _visited(self, rows, visit, params, *args):
        """Visit the rows of one slice, which may be more than a block should have, piece by piece."""
        for block in self._block(rows).pieces(self.size):
            yield visit(block, params, *args)

    @driving
    def map(self, visit, params, *args):
        """Visit every block and join the arrays (..., m) along the rows, or the groups."""
        return _joined(self.each(visit, params, *args), len(self))

    @driving
    def map_rows(self, visit, params, *args):
        """Do the same with arrays of single rows, also where these are grouped; they come in the order of the user."""
        return self.source.in_order(_joined(self.each(visit, params, *args), self.source.single.n_rows))

    def representatives(self, size, rng):
        """Return at most ``size`` distinct rows that stand for all, weighted, as a `OneBlock`."""
        return self.several_representatives([size], [rng])[0]

    def several_representatives(self, sizes, rngs):
        """Return the same for several sizes, and read the source once."""
        chosen = [self.representative_rows(size, rng) for size, rng in zip(sizes, rngs, strict=True)]
        taken, out, high = self.source.take(np.concatenate([rows for rows, _ in chosen])), [], 0
        for rows, weight in chosen:
            low, high = high, high + len(rows)
            block = self._made(taken.part(low, high).weighing(weight), rows)
            out.append(OneBlock(block, complete=len(rows) == self.n_distinct))
        return out

    def representative_rows(self, size, rng):
        """Return indices and weights of at most ``size`` distinct rows that stand for all.

        Rows are put in an order of their own (along a fixed projection) and equal rows are joined. If more than
        ``size`` remain, a systematic sample by weight is drawn along that order. Neither the order of the rows nor the
        difference between repeating and weighting a row matters.
        """
        return drawn(self._distinct, size, rng)

    @property
    def n_distinct(self):
        """The number of distinct rows, or groups."""
        return self._distinct.n_rows

    @property
    def rows_per_group(self):
        """The mean number of rows of a group, one where rows are not grouped."""
        return self.source.single.n_rows / len(self)

    @property
    def what(self):
        """What is counted, in words."""
        return "group" if self.source.grouped else "row"

    def unit_of(self, block):
        """Return what each row of a block counts in distinct rows: one over the number of rows equal to it."""
        return self._distinct.unit_of(block)

    @cached_property
    def _distinct(self):
        return distinct(self)


def _joined(parts, n):
    """Return arrays (..., m) joined along the last axis, which has n in all."""
    out, low = None, 0
    for part in parts:
        out = np.empty((*part.shape[:-1], n), dtype=part.dtype) if out is None else out
        out[..., low : low + part.shape[-1]] = part
        low += part.shape[-1]
    return out


class OneBlock:
    """A single block of distinct rows, to be visited like `Blocks`; ``complete`` if none is missing."""

    def __init__(self, block, complete=True):
        self.block, self.complete, self.total_weight = block, complete, float(block.weight.sum())
        self.only, self.scaling, self.n_distinct = block, block.scaling, len(block)
        self.rows_per_group = block.n_rows / len(block)

    def __len__(self):
        return len(self.block)

    def seen_in(self, scaling):
        """Return the same rows in other coordinates."""
        return type(self)(self.block.seen_in(scaling), self.complete)

    def sum(self, visit, params, *args):
        """Visit the block."""
        return visit(self.block, params, *args)

    map = sum

    def unit_of(self, block):
        """Every row counts as one."""
        return np.broadcast_to(1.0, len(block))

    def representatives(self, size, rng):
        """Return itself: its rows are distinct already."""
        return self
