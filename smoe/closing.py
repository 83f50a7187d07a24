"""The last pass over the rows: all that the certificate, a second look and the report ask of the end of a fit."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from smoe.order import response_totals

__all__ = ["Closing", "Shares", "Totals", "Worst", "closing", "shares", "user_totals"]

_MOST = 5000  # rows explained worst that are kept
_MEDIAN = 2**16  # rows of which the median is taken


class Shares(NamedTuple):
    """What experts are responsible for: rows, those not censored, weight; and on how many the gate hesitates."""

    rows: np.ndarray
    seen: np.ndarray
    weight: np.ndarray
    overlap: np.ndarray


class Totals(NamedTuple):
    """Log-likelihood of parameters in the user's units, and the sums of weight times response and times its size."""

    loglik: float
    response: np.ndarray


@dataclass(frozen=True, eq=False)
class Worst:
    """Log densities of the rows that are explained worst, and which these are; log densities of some of all rows."""

    most: int
    loglik: np.ndarray
    row: np.ndarray
    some: list

    def __add__(self, other):
        loglik, row = np.concatenate([self.loglik, other.loglik]), np.concatenate([self.row, other.row])
        return Worst(self.most, loglik, row, self.some + other.some).cut()

    def cut(self):
        """Return the same without the rows that are too many; of equal ones the first are kept."""
        if len(self.row) <= self.most:
            return self
        last = np.partition(self.loglik, self.most - 1)[self.most - 1]
        worse, equal = self.loglik < last, np.flatnonzero(self.loglik == last)
        first = equal[np.argsort(self.row[equal])[: self.most - worse.sum()]]
        kept = np.concatenate([np.flatnonzero(worse), first])
        return Worst(self.most, self.loglik[kept], self.row[kept], self.some)

    @property
    def ordered(self):
        """Log densities and rows, worst first."""
        order = np.lexsort((self.row, self.loglik))
        return self.loglik[order], self.row[order]

    @property
    def median(self):
        """The median log density of all rows."""
        return np.median(np.concatenate(self.some))


class Closing(NamedTuple):
    """What one pass tells of parameters.

    ``order`` is what `smoe.order.order_of` asks for, ``user`` belongs to the same parameters in the user's units with
    the experts as they are numbered.
    """

    shares: Shares
    order: np.ndarray
    worst: Worst
    user: Totals


def closing(model: Any, blocks: Any, params: Any) -> Closing:
    """Do one pass over the rows at these parameters, in working coordinates, and return its `Closing`.

    Parameters
    ----------
    model : MixtureOfExperts
    blocks : Blocks
    params : MoEParams
    """
    scaling, n = blocks.scaling, len(blocks)
    _ = blocks.n_distinct  # what a row counts is known before all are visited, not by each who visits some
    user = scaling.to_user(model, scaling.canonical(model, params))
    return blocks.sum(_visit, params, model, blocks, user, scaling.plain, min(_MOST, n // 4), -(-n // _MEDIAN))


def shares(block: Any, params: Any, model: Any, blocks: Any) -> Shares:
    """Return the `Shares` of the rows of a block.

    Parameters
    ----------
    block : Block
    params : MoEParams
    model : MixtureOfExperts
    blocks : Blocks
        All rows: they say what a row counts that is repeated.
    """
    proba, resp, _ = model.posterior(block, params)
    return _shares(block, proba, resp, blocks.unit_of(block))


def _visit(block, params, model, blocks, user, units, most, step):
    proba, resp, loglik = model.posterior(block, params)
    own = _shares(block, proba, resp, blocks.unit_of(block))
    worst = _worst(block, loglik, most, step)
    return Closing(own, response_totals(block, resp), worst, user_totals(block.seen_in(units), user, model))


def _shares(block, proba, resp, unit):
    rows = resp @ unit
    seen = rows if block.event is None else block.spread(resp) @ (block.spread(unit) * block.event)
    return Shares(rows, seen, resp @ block.weight, (proba * unit) @ proba.T)


def _worst(block, loglik, most, step):
    start = block.place.start if isinstance(block.place, slice) else 0
    some = loglik[-start % step :: step].copy()  # a view would keep all rows
    return Worst(most, loglik, np.arange(len(loglik)) + start, [some]).cut()


def user_totals(block, params, model):
    """Return the `Totals` of a block at parameters in the user's units; an infinite sum tells nothing."""
    with np.errstate(over="ignore", invalid="ignore"):
        weight = block.spread(block.weight)
        response = np.array([block.y @ weight, np.abs(block.y) @ weight])
        return Totals(model.loglik(block, params), response)
