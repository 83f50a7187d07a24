"""A second look at many rows: what none of the experts explains, a sample of the rows may have missed altogether.

An expert of a few hundred among a million rows has half a row in a sample of a thousand. Where it lies far from all
others, its rows are those that a fit explains worst, so that they can be asked directly.
"""

from typing import NamedTuple

import numpy as np

from smoe.chance import chance, merit
from smoe.params import n_experts_of, permute
from smoe.pool import swapped
from smoe.rows import ArraySource, Blocks, OneBlock
from smoe.solvers import EM
from smoe.starts import element

__all__ = ["LINES", "second_look", "unexplained"]

_REST = 10_000  # rows that stand for all others
LINES = 4  # through unexplained rows, in place of each expert
_NEIGHBOURS = 50  # of an unexplained row through which a line goes
_GLIMPSE, _CLIMB = 15, 45  # EM iterations of each line, and of the best one


class _Rows(NamedTuple):
    """All that is needed of the rows: those that are not explained, and these together with some that stand for all."""

    odd: OneBlock
    all: OneBlock


def second_look(model, blocks, fit, rng):
    """Return parameters that explain more of what a fit explains worst, or None if there is nothing of the kind."""
    odd, params = unexplained(model, blocks, fit.closing.worst), fit.params
    if not len(odd):
        return None
    rows = _rows_about(model, blocks, odd, rng)
    k = n_experts_of(params)
    lost = np.tile(np.arange(min(model.n_frozen, k - 1), k), LINES)
    lines = [_with_line(model, rows, params, int(i), rng) for i in lost]
    glimpses = [EM(_GLIMPSE, 0.0).short_run(model, rows.all, line) for line in lines]
    best = max(glimpses, key=lambda fit: merit(model, rows.all, fit))
    now, best = (EM(n, 0.0).short_run(model, rows.all, p) for n, p in ((0, params), (_CLIMB, best.params)))
    return best.params if merit(model, rows.all, best) > merit(model, rows.all, now) else None


def unexplained(model, blocks, worst):
    r"""Return which of the worst rows gain most by an expert of their own, or none if chance lines gain as much.

    An expert of the worst m rows that explains them as well as the median row is explained gains

    .. math:: \sum_{i \le m} \big(\ell_{\mathrm{median}} - \ell_i - \log(e n / m)\big).

    For errors as the model has them that is negative at every m, however many rows there are.
    """
    n_terms = model.expert.chance_terms(len(blocks.scaling.expert.columns)) or 1 + len(blocks.scaling.expert.columns)
    n, median = len(blocks), worst.median
    loglik, row = worst.ordered
    m = np.arange(1, len(row) + 1)
    with np.errstate(invalid="ignore"):  # log densities of -inf
        gain = np.cumsum(median - loglik) - m * np.log(np.e * n / m)
    best = int(np.argmax(gain))
    return row[: best + 1] if gain[best] > chance(best + 1.0, n, n_terms) else row[:0]


def _rows_about(model, blocks, odd, rng):
    rest, weight = blocks.representative_rows(_REST, rng)
    other = ~np.isin(rest, odd)
    rest, weight = rest[other], weight[other]
    own = blocks.source.take(odd)
    own = np.ones(len(odd)) if own.weight is None else own.weight
    weight = np.concatenate([own, weight * (blocks.total_weight - own.sum()) / weight.sum()])
    return _Rows(*(_block(model, blocks, *some, rng) for some in ((odd, own), (np.concatenate([odd, rest]), weight))))


def _block(model, blocks, rows, weight, rng):
    """Return these rows as one block, equal ones joined, in an order of their own."""
    raw = blocks.source.take(rows)
    source = ArraySource(raw.X, raw.y, weight)
    return Blocks(model, source, blocks.scaling, blocks.roles).representatives(len(rows), rng)


def _with_line(model, rows, params, lost, rng):
    """Put a line through unexplained rows in place of an expert, as wide and where the expert of its centre is."""
    block = rows.odd.block
    centre, some = element(block, _NEIGHBOURS, rng)
    resp = model.posterior(block, params)[1][:, centre].copy()
    resp[lost] = -1.0
    host = int(np.argmax(resp))
    made = model.expert.from_elements(block.rows, block.weight, some[None])
    spread = {
        name: getattr(permute(params.expert, [host]), name) for name, f in model.expert.fields.items() if f.lower > 0
    }
    return swapped(model, params, lost, host, made._replace(**spread))
