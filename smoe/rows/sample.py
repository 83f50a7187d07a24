"""Few rows that stand for all: distinct ones with weights, in an order of their own."""

from typing import NamedTuple

import numpy as np

__all__ = ["Distinct", "distinct", "drawn"]

_SORTED = 2**20  # rows that are put in order; of more, as many are drawn first
_PART = 2**16
_MISSING = np.pi  # stands for missing values
_MIX = np.uint64(0x9E3779B97F4A7C15)  # an odd number whose multiples spread over all 64 bits


class Distinct(NamedTuple):
    """Distinct rows (indices) with their weights, how many there are in all, and one over each row's multiplicity.

    The last is None if no row is repeated. Of more than a million rows as many are drawn.
    """

    rows: np.ndarray
    weight: np.ndarray
    n_rows: int
    unit: np.ndarray | None


def distinct(blocks):
    """Return the `Distinct` rows in an order of their own, or of very many a part that does not depend on their order.

    This is one pass; one number per row, and its weight if there are any, are held in memory.
    """
    key, weight = _keys(blocks)
    rows = unit = None
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


def drawn(found, size, rng):
    """Return indices and weights of at most ``size`` of the distinct rows: a systematic sample by weight."""
    rows, weight = found.rows, found.weight
    if len(rows) > size:
        cumulative = np.cumsum(weight) / weight.sum()
        position = (np.arange(size) + rng.random()) / size
        picked, weight = np.unique(np.searchsorted(cumulative, position, side="right"), return_counts=True)
        rows = rows[np.minimum(picked, len(rows) - 1)]
    return rows, weight.astype(float)


def _keys(blocks):
    """Return one number per row, equal for equal rows, and the weights."""
    key, *weight = blocks.map(_projection, None)
    return key, weight[0] if weight else np.broadcast_to(1.0, len(key))


def _projection(block, _params):
    """One number per row, equal for equal rows because sums run column by column, and the weight if there is one."""
    key, *others = np.nan_to_num(np.array(block.y, ndmin=2), nan=_MISSING)
    extra = [*others, *(column for column in (block.offset, block.trials, block.event) if column is not None)]
    for j, column in enumerate([*block.gate_Z[:-1], *block.expert_Z[:-1], *extra]):
        key += np.sqrt(2.0 + j) * column
    return np.array([key, block.weight]) if block.weighted else key[None]


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


def _thinned(key, weight):
    """Return the indices of a million or so of distinct rows, and weights that make up for the others.

    A row is drawn by the value of its key alone, with a probability in proportion to its weight, heavy ones for sure.
    """
    share = _SORTED / weight.sum()
    parts = [slice(low, low + _PART) for low in range(0, len(key), _PART)]
    with np.errstate(over="ignore"):
        taken = [(key[s].view(np.uint64) * _MIX) * 2.0**-64 < weight[s] * share for s in parts]
    kept = np.concatenate([s.start + np.flatnonzero(t) for s, t in zip(parts, taken, strict=True)])
    return kept, np.maximum(weight[kept], 1.0 / share)
