"""The same problem in few columns: under a penalty with kinks the slopes of most are zero.

The maximum in the columns whose slopes are not zero is that of the whole if all others satisfy the conditions of
optimality. So no matrix is ever larger than these columns.
"""

from typing import NamedTuple

import numpy as np

from smoe.fields import expand, restrict
from smoe.params import MoEParams

__all__ = ["WIDE", "Columns", "is_wide", "narrowed", "telling", "where_used", "with_violating"]

WIDE = 30  # columns of the gate, or of the experts, up to which the whole problem is solved at once
_FEWEST = 20  # columns that come in at a time, of each side


class Columns(NamedTuple):
    """Which columns (indices) of the gate's and of the experts' view of X."""

    gate: np.ndarray
    expert: np.ndarray

    def restrict(self, model, params):
        """Return the parameters of these columns."""
        return MoEParams(*map(restrict, params, model.fields, self))

    def expand(self, model, params, scaling):
        """Return parameters for all columns: other slopes are zero."""
        widths = len(scaling.gate.columns), len(scaling.expert.columns)
        return MoEParams(*map(expand, params, model.fields, self, widths))


def is_wide(model, scaling):
    """Whether columns are so many that few of them are looked at, at a time."""
    return model.kinked is not None and max(len(scaling.gate.columns), len(scaling.expert.columns)) > WIDE


def narrowed(model, blocks, columns):
    """Return the model and the rows with these columns alone."""
    scaling = blocks.scaling
    gate, expert = (view.taken(left) for view, left in zip(scaling[:2], columns, strict=True))
    same = scaling.gate is scaling.expert and np.array_equal(*columns)
    scaling = scaling._replace(gate=expert if same else gate, expert=expert)
    return model.bound(scaling), blocks.seen_in(scaling)


def where_used(model, blocks, params):
    """Return model, rows and parameters in the columns with slopes that are not zero, or that nothing holds there."""
    if not is_wide(model, blocks.scaling):
        return model, blocks, params
    columns = Columns(*map(np.flatnonzero, _used(model, params)))
    return *narrowed(model, blocks, columns), columns.restrict(model, params)


def with_violating(model, params, score, total):
    """Return the `Columns` in use, and the worst of those whose slopes the score leads away from zero.

    Parameters
    ----------
    model : MixtureOfExperts
    params : MoEParams
    score : MoEParams
        Of all that is smooth.
    total : float
        Sum of the weights.
    """
    found = []
    for used, size in zip(_used(model, params), model.kinked.pulls(params, score, total), strict=True):
        worst = np.argsort(np.where(used, 0.0, -size), kind="stable")[: max(_FEWEST, used.sum())]
        found.append(np.union1d(np.flatnonzero(used), worst[~used[worst] & (size[worst] > 0)]))
    return Columns(*found)


def telling(model, blocks, n):
    """Return the n `Columns` that tell most of y by themselves: of y, of its distance from the mean, by their squares.

    The largest of three correlations: an expert's slopes move the mean, or, if those of others are opposite, the
    spread, along the column or away from its middle.
    """
    centre = blocks.sum(lambda block, _: np.atleast_2d(block.y) @ block.weight, None) / blocks.total_weight

    def moments(block, _):
        y = np.atleast_2d(block.y) - centre[:, None]
        each = np.concatenate([y, np.abs(y), np.ones((1, len(block)))])
        weighted = each * block.weight
        sides = [tuple(power @ weighted.T for power in (Z[:-1], Z[:-1] ** 2, Z[:-1] ** 4)) for Z in _designs(block)]
        return weighted @ each.T, *sides

    inner, *sides = blocks.sum(moments, None)
    chosen = [np.sort(np.argsort(-_correlated(inner, *side), kind="stable")[:n]) for side in sides]
    return Columns(*chosen)


def _designs(block):
    return block.gate_Z, block.expert_Z


def _correlated(inner, first, second, fourth):
    """Return the largest correlation of each column, or of its squares, with y or its distance from the mean."""
    n, means = inner[-1, -1], inner[:-1, -1]
    spread = np.sqrt(np.maximum(inner.diagonal()[:-1] - means**2 / n, np.finfo(float).tiny))
    found = []
    for sums, squares in ((first, second), (second, fourth)):
        mean = sums[:, -1:]
        own = np.sqrt(np.maximum(squares[:, -1:] - mean**2 / n, np.finfo(float).tiny))
        found.append(np.abs((sums[:, :-1] - mean * means / n) / own / spread).max(axis=1))
    return np.max(found, axis=0)


def _used(model, params):
    return model.kinked.in_use(params, model.chart(params, held=False).free)
