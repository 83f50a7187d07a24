"""Few rows that stand for all: distinct ones with weights, in an order of their own.

Up to a million rows are put in order. Of more, a *sketch* is made in one pass and in bounded memory: equal rows get
equal numbers, and the rows of the smallest numbers are kept with the weight of all that are equal to them. So it
depends neither on the order of the rows nor on how they are cut up, and a weight of two is the row twice.
"""

from typing import NamedTuple

import numpy as np

__all__ = ["Distinct", "distinct", "drawn"]

_SORTED = 2**20  # rows that are put in order
_KEPT = 2**18  # distinct rows that are kept of more rows
_BUCKETS = 2**16  # sums of weight over rows whose numbers end alike: where they are small no row is heavy
_HEAVY = 2.0**-12  # share of all weight from which a row is kept for sure
_MIX = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)  # of MurmurHash3, so is the number of bits
_BITS = np.uint64(33)
_MISSING = np.pi  # stands for missing values


class Distinct(NamedTuple):
    """Distinct rows (indices) with their weights, how many there are in all, and what each row counts in them.

    ``unit`` is one over the multiplicity of each row, None if no row is repeated, or `Units` where rows are too many.
    Of more than a million rows some are drawn.
    """

    rows: np.ndarray
    weight: np.ndarray
    n_rows: int
    unit: "np.ndarray | Units | None"

    def unit_of(self, block):
        """Return one over the number of rows equal to each row of a block."""
        if self.unit is None:
            return np.broadcast_to(1.0, len(block))
        return self.unit.of(block) if isinstance(self.unit, Units) else self.unit[block.place]


class Units(NamedTuple):
    """One over the multiplicity of the rows with these keys (sorted), and the mean of that over all other rows."""

    key: np.ndarray
    unit: np.ndarray
    other: float

    def of(self, block):
        """Return one over the multiplicity of the rows of a block."""
        if not len(self.key):
            return np.full(len(block), self.other)
        key = _projection(block, None)[0]
        at = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        return np.where(self.key[at] == key, self.unit[at], self.other)


def distinct(blocks, most=_SORTED, kept=_KEPT, heavy=_HEAVY):
    """Return the `Distinct` rows in an order of their own, or a part of them if there are very many.

    Parameters
    ----------
    blocks : Blocks
    most : int
        Rows up to this number are put in order in one pass, with one number and the weight of each in memory.
    kept : int
        Of more rows, so many distinct ones are kept in one pass, or two if some rows are heavy.
    heavy : float
        Share of all weight from which a row is kept for sure; more than one over ``kept``.
    """
    return _sorted(blocks) if len(blocks) <= most else _sketched(blocks, kept, heavy * blocks.total_weight)


def drawn(found, size, rng):
    """Return indices and weights of at most ``size`` of the distinct rows: a systematic sample by weight."""
    rows, weight = found.rows, found.weight
    if len(rows) > size:
        cumulative = np.cumsum(weight) / weight.sum()
        position = (np.arange(size) + rng.random()) / size
        picked, weight = np.unique(np.searchsorted(cumulative, position, side="right"), return_counts=True)
        rows = rows[np.minimum(picked, len(rows) - 1)]
    return rows, weight.astype(float)


def _projection(block, _params):
    """One number per row, equal for equal rows because sums run column by column, and the weight if there is one.

    Groups are equal if they have the same rows in the same order: sums of sines tell apart what has equal means.
    """
    key, *others = np.nan_to_num(np.array(block.y, ndmin=2), nan=_MISSING)
    extra = [*others, *(column for column in (block.offset, block.trials, block.event) if column is not None)]
    for j, column in enumerate([*block.spread(block.gate_Z[:-1]), *block.expert_Z[:-1], *extra]):
        key += np.sqrt(2.0 + j) * column
    if block.grouped:
        key = block.summed(key + np.sin(key))
    return np.array([key, block.weight]) if block.weighted else key[None]


def _sorted(blocks):
    key, *weight = blocks.map(_projection, None)
    weight = weight[0] if weight else np.broadcast_to(1.0, len(key))
    order = np.argsort(key)
    sorted_key = key[order]
    first = np.flatnonzero(np.concatenate([[True], sorted_key[1:] != sorted_key[:-1]]))
    return Distinct(order[first], np.add.reduceat(weight[order], first), len(first), _units(order, first))


def _units(order, first):
    """Return one over the length of the run that each row is in, or None; runs begin at ``first`` in this order."""
    if len(first) == len(order):
        return None
    length, unit = np.diff(first, append=len(order)), np.empty(len(order))
    unit[order] = np.repeat(1.0 / length, length)
    return unit


class _Table:
    """Rows by their number: key, first row, number of rows and weight of all that are equal, joined when they are many.

    Of more than ``kept`` distinct ones those of the smallest numbers are kept: whoever is among them has been from its
    first row on. Tables add up.
    """

    def __init__(self, parts, kept, limit=None):
        self.parts, self.kept, self.limit = parts, kept, limit
        if sum(len(part[0]) for part in parts) > 2 * kept:
            self.parts = [self.joined()]

    def __add__(self, other):
        limit = min((t.limit for t in (self, other) if t.limit is not None), default=None)
        return _Table(self._within(limit) + other._within(limit), self.kept, limit)

    def _within(self, limit):
        """Return the parts without what is over the limit; what is over its own has gone before."""
        if limit == self.limit:
            return self.parts
        parts = [_some(part, part[0] <= limit) for part in self.parts]
        return [part for part in parts if len(part[0])]

    def joined(self):
        """Return number, key, row, count and weight of the distinct rows that are kept, by number."""
        number, key, row, count, weight = map(np.concatenate, zip(*self.parts, strict=True))
        order = np.argsort(number)
        first = np.flatnonzero(np.concatenate([[True], np.diff(number[order]) != 0]))
        if len(first) > self.kept:
            order, first = order[: first[self.kept]], first[: self.kept]
            self.limit = number[order[-1]]
        sums = (np.add.reduceat(values[order], first) for values in (count, weight))
        return number[order[first]], key[order[first]], np.minimum.reduceat(row[order], first), *sums


def _some(columns, chosen):
    return tuple(column[chosen] for column in columns)


def _mixed(key):
    """Return a whole number of 64 bits for each key, all different, as if drawn at random."""
    out = (key + 0.0).view(np.uint64)  # minus zero is zero
    with np.errstate(over="ignore"):
        for factor in _MIX:
            out = (out ^ (out >> _BITS)) * factor
    return out ^ (out >> _BITS)


def _buckets(number):
    """Return the two buckets of each number: by its last 16 bits, and by the 16 before."""
    last = np.uint64(_BUCKETS - 1)
    return (number & last).astype(np.int64), (number >> np.uint64(16) & last).astype(np.int64)


def _columns(block):
    """Return number, key, place, count and weight of the rows of a block."""
    key, *weight = _projection(block, None)
    weight = weight[0] if weight else np.ones(len(key))
    return _mixed(key), key, np.arange(len(key)) + block.place.start, np.ones(len(key)), weight


def _sketch(block, kept):
    """Return the table of a block, and the weight in each bucket, (2, n_buckets)."""
    columns = _columns(block)
    sums = [np.bincount(bucket, columns[-1], _BUCKETS) for bucket in _buckets(columns[0])]
    return _Table([columns], kept), np.array(sums)


def _heavy(block, full, kept):
    """Return the table of the rows that lie in full buckets both times."""
    columns = _columns(block)
    first, second = _buckets(columns[0])
    return _Table([_some(columns, full[0, first] & full[1, second])], kept)


def _sketched(blocks, kept, heavy):
    table, weight = blocks.sum(lambda block, _: _sketch(block, kept), None)
    found = _by_key(table.joined())
    if table.limit is None:
        return _complete(*found)
    return _drawn_from(blocks, found, _heavy_rows(blocks, weight >= heavy, kept, heavy))


def _by_key(found):
    """Return key, row, count and weight in the order of the keys, without numbers."""
    order = np.argsort(found[1])
    return tuple(column[order] for column in found[1:])


def _complete(key, row, count, weight):
    unit = None if (count == 1).all() else Units(key, 1.0 / count, 1.0)
    return Distinct(row, weight, len(row), unit)


def _heavy_rows(blocks, full, kept, heavy):
    """Return key, row, count and weight of the rows that have a large share of all weight, exactly."""
    if not full.any(axis=1).all():
        return (np.zeros(0),) * 4
    found = _by_key(blocks.sum(lambda block, _: _heavy(block, full, kept), None).joined())
    return _some(found, found[-1] >= heavy)


def _drawn_from(blocks, found, heavy):
    """Put heavy rows as they are and others, which stand for all that are not heavy, together."""
    light = _some(found, ~np.isin(found[0], heavy[0]))
    unit = len(light[0]) / light[2].sum()
    rest = blocks.total_weight - heavy[3].sum()
    row = np.concatenate([heavy[1], light[1]]).astype(np.int64)
    weight = np.concatenate([heavy[3], light[3] * (rest / light[3].sum())])
    order = np.argsort(np.concatenate([heavy[0], light[0]]), kind="stable")
    n_rows = len(heavy[0]) + round(unit * (len(blocks) - heavy[2].sum()))
    units = None if unit == 1.0 and not len(heavy[0]) else Units(heavy[0], 1.0 / heavy[2], unit)
    return Distinct(row[order], weight[order], n_rows, units)
