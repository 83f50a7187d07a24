"""From k experts to k + 1: each expert is split in several ways, and the splits are screened."""

import numpy as np

from smoe.chance import merit
from smoe.params import MoEParams, n_experts_of
from smoe.pool import duplicated
from smoe.selection.working import working
from smoe.solvers import EM

__all__ = ["duplicated", "embedded", "proposed_splits", "split_starts"]

_SAMPLE = 1000  # rows on which splits are screened, more when the parameters are many
_ROWS_PER_PARAMETER = 15
_SCREENING = 15  # EM iterations of each split
_DIRECTIONS = 3  # random hyperplanes through an expert's rows


def split_starts(estimator, X, y, sample_weight, rng, n_best=2):
    """Return the parameters of the most promising splits of the experts of a fit, in the user's units.

    Every expert is split by the sign and by the size of its residuals and by hyperplanes through its rows; each half
    gets its M-step, and a few EM iterations on a sample of the rows show what there is to gain. The best split of each
    of the ``n_best`` best experts to split is returned as it was before these: a sample may miss the rows of a small
    expert.
    """
    work = working(estimator, X, y, sample_weight)
    model, blocks, params = work
    size = max(_SAMPLE, _ROWS_PER_PARAMETER * model.chart(params).n_free)
    sample = blocks.representatives(size, rng)
    look = getattr(estimator.solver_, "screen", EM(_SCREENING, 0.0).short_run)
    best = {}
    for i in range(n_experts_of(params)):
        starts = list(proposed_splits(model, sample.block, params, i, rng))
        merits = [merit(model, sample, look(model, sample, start)) for start in starts]
        first = max(range(len(starts)), key=merits.__getitem__)
        best[i] = merits[first], starts[first]
    leaders = sorted(best.values(), key=lambda pair: pair[0], reverse=True)[:n_best]
    return [work.to_units(start) for _, start in leaders]


def proposed_splits(model, block, params, i, rng):
    """Yield parameters with expert i split in two: by its residuals, and by hyperplanes through its rows."""
    resp = model.posterior(block, params)[1]
    residual = model.expert.residual(block.rows, params.expert)[i]
    features = np.concatenate([block.spread(block.gate_Z[:-1]), block.expert_Z[:-1]])
    directions = rng.normal(size=(_DIRECTIONS if len(features) else 0, len(features)))
    start = duplicated(model, params, i)
    for key in [residual, np.abs(residual), *(directions @ features)]:
        key = block.averaged(key).astype(np.float32)  # rounding must not tell equal values apart
        upper = key > _median(key, resp[i] * block.weight)
        halves = np.concatenate([resp, (resp[i] * upper)[None]])
        halves[i] *= ~upper
        stats = model.expert.suffstats(block.rows, start.expert, block.spread(halves * block.weight))
        new = model.expert.m_step(stats, start.expert)
        halved = {name: np.array(field) for name, field in start.expert._asdict().items()}
        for name, half in new._asdict().items():
            if not model.expert.fields[name].shared:
                halved[name][[i, -1]] = half[[i, -1]]
        gate = model.gate.apart(start.gate, i, rng)
        yield MoEParams(gate, type(new)(**halved))


def _median(values, weight):
    """The weighted median."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weight[order])
    return values[order[min(np.searchsorted(cumulative, 0.5 * cumulative[-1]), len(order) - 1)]]


def embedded(estimator, X, y, sample_weight):
    """Return parameters with one expert more and the log-likelihood of this fit, in the user's units.

    A dense gate gets an expert twice. A sparse one, where the second would take the place of another, gets an expert
    that is never selected (possible unless it ranks by slope and selects several).
    """
    work = working(estimator, X, y, sample_weight)
    model, blocks, params = work
    if model.gate.smooth:
        return work.to_units(duplicated(model, params, n_experts_of(params) - 1))

    def extremes(block, p):
        scores = model.gate.scores(block.gate_Z, p.gate)
        finite = np.isfinite(scores)
        return np.array([np.where(finite, scores, np.inf).min(axis=0), np.where(finite, scores, -np.inf).max(axis=0)])

    lowest, highest = blocks.map(extremes, params)
    gate = model.gate.idle(params.gate, lowest.min(), highest.max())
    return work.to_units(MoEParams(gate, work.model.expert.permute(params.expert, [*range(n_experts_of(params)), 0])))
