"""Directions along which the log-likelihood grows for ever: a gate separates some rows, or an expert its responses."""

from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag, eigh, orth
from scipy.sparse.csgraph import connected_components

from smoe.params import flatten, n_experts_of

__all__ = [
    "Limit",
    "diverging",
    "n_free_gate",
    "newton_step",
    "separating_experts",
    "undecided_groups",
    "without_rows",
]

_ROUNDING = 1e-16
_UNDECIDED = 0.05  # rows: what a gate that separates leaves undecided, by far
_SATURATED = 1e-10  # a probability below it says nothing about the gate
_SMALL = 1e-3  # one below this has saturated as well if a Newton step lowers it still
_MOVED = 1e-2  # logits: steps along a direction that diverges are of about one, all others have vanished
_SATURATED_RESPONSE, _FALLS = 1e-5, 0.1  # a probability or variance, and by how much its logarithm falls: it vanishes
_LONGEST = 1e3  # a step beyond says no more about a direction
_NOTHING = 1e-13  # share of the information that is rounding


def newton_step(information, gradient):
    """Return the step that ends where a quadratic has its maximum; it is long where the curvature vanishes."""
    values, vectors = eigh(information)
    return vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), _ROUNDING * values[-1]))


def n_free_gate(chart, params):
    """Return how many of the free coordinates are the gate's; they come first."""
    return int(chart.free[: flatten(params.gate).size].sum())


def undecided_groups(overlap):
    """Return the groups of experts between which no row is undecided, or None if there is but one.

    Two experts are linked when the rows on which the gate hesitates between them add up to something; experts at
    opposite ends may be linked through others. Between groups that are not linked the gate still wants to grow.
    """
    linked = overlap > _UNDECIDED
    if linked.all():
        return None
    n_groups, groups = connected_components(linked)
    return groups if n_groups > 1 else None


class Limit(NamedTuple):
    """What a gate that separates goes to: the point reached, one further on, and the groups that it divides."""

    params: NamedTuple
    moved: NamedTuple
    groups: np.ndarray

    @classmethod
    def of(cls, params, chart, step, groups=None):
        """Return the limit to which the Newton step leads from parameters where the score vanishes.

        Parameters
        ----------
        params : MoEParams
        chart : Chart
        step : array of shape (n_free,)
        groups : array of shape (n_experts,) or None
            Groups of experts between which no row is undecided.
        """
        moved = chart.unpack(chart.pack(params) + step)
        return cls(params, moved, np.zeros(n_experts_of(params), dtype=int) if groups is None else groups)

    def vanished(self, block, gate):
        """Return whose probability is zero in the limit, (n_experts, m).

        That is nil already, or small and lowered further by the Newton step.
        """
        scores = gate.scores(block.gate_Z, self.params.gate)
        first = scores.argmax(axis=0)[None]
        growth = gate.scores(block.gate_Z, self.moved.gate) - scores
        growth -= np.take_along_axis(growth, first, axis=0)
        odds = scores - np.take_along_axis(scores, first, axis=0)
        nil = (odds < np.log(_SATURATED)) | ((odds < np.log(_SMALL)) & (growth < -_MOVED))
        return nil | (self.groups[:, None] != self.groups[first])


def diverging(model, blocks, chart, limit):
    r"""Return an orthonormal basis of the gate's directions that diverge, (n_free, n_directions).

    The log-likelihood of a softmax gate has no maximum if some direction moves no probability but those that have
    vanished (a direction of recession). In the limit these are exactly zero, and the information

    .. math:: \sum_n w_n J_n^\top (\mathrm{diag}\, p_n - p_n p_n^\top) J_n

    over the experts that are left on each row says nothing about such a direction, but about all others. A gate whose
    scores are not linear in its parameters has such directions only if each expert has rows of its own: all.

    Parameters
    ----------
    model : MixtureOfExperts
    blocks : Blocks
    chart : Chart
    limit : Limit
    """
    n_gate, every = n_free_gate(chart, limit.params), np.eye(chart.n_free)
    if len(set(limit.groups)) == n_experts_of(limit.params):
        return every[:, :n_gate]
    if not model.gate.log_linear or not n_gate:
        return every[:, :0]
    here, left = blocks.sum(_gate_informations, limit, model)
    return every[:, :n_gate] @ _forgotten(here, left, chart, limit.params, slice(0, len(here)))


def separating_experts(model, blocks, chart, params, step):
    """Return the experts of classes or counts whose coefficients diverge where the score vanishes.

    On some row that is theirs the probability of some class, or the variance of the count, is nearly zero, and the
    Newton step lowers it further.
    """
    if model.expert.support.kind not in ("classes", "integers"):
        return ()
    step = step * min(1.0, _LONGEST / max(np.linalg.norm(step), _ROUNDING))
    moved = chart.unpack(chart.pack(params) + step)

    def visit(block, pair):
        here, there = (_log_doubts(model.expert, block.rows, p.expert) for p in pair)
        theirs = block.spread(model.posterior(block, pair[0])[1] > 0.5)
        falls = (here < np.log(_SATURATED_RESPONSE)) & (there < here - _FALLS)
        return (falls.any(axis=1) & theirs).sum(axis=1)

    return tuple(np.flatnonzero(blocks.sum(visit, (params, moved))).tolist())


def _log_doubts(expert, rows, params):
    """Return the logarithms of what vanishes where an expert is sure, (n_experts, n, m)."""
    if expert.support.kind == "classes":
        return expert.class_log_proba(rows, params)
    with np.errstate(all="ignore"):  # a long step may end anywhere
        return np.log(expert.variance(rows, params))[:, None]


def without_rows(model, blocks, chart, limit):
    """Return a basis of the experts' directions that only rows inform which they lose in the limit.

    Such is the slope of a dummy in an expert to which the gate gives no row of it.

    Parameters
    ----------
    model : MixtureOfExperts
    blocks : Blocks
    chart : Chart
    limit : Limit
    """
    here, left = blocks.sum(_expert_informations, limit, model)
    start, (k, size, _) = flatten(limit.params.gate).size, left.shape
    own = [slice(start + i * size, start + (i + 1) * size) for i in range(k)]
    parts = [_forgotten(*pair, chart, limit.params, one) for *pair, one in zip(here, left, own, strict=True)]
    return np.vstack([np.zeros((n_free_gate(chart, limit.params), sum(p.shape[1] for p in parts))), block_diag(*parts)])


def _forgotten(here, left, chart, params, entries):
    """Return a basis of the directions, in the chart's coordinates, about which most information gets lost.

    Of the information here, the part that is left in the limit is nearly all, or nothing.
    """
    free, slope = chart.free[entries], np.zeros(len(chart.free))
    slope[chart.free] = chart.slope(params)
    unit = np.outer(slope[entries], slope[entries])[np.ix_(free, free)]
    here, left = here[np.ix_(free, free)] * unit, left[np.ix_(free, free)] * unit
    size = np.sqrt(np.where(np.diag(here) > 0, np.diag(here), 1.0))
    even = here / np.outer(size, size) + _NOTHING * np.eye(len(here))
    values, vectors = eigh(left / np.outer(size, size), even)
    lost = vectors[:, values < 0.5] / size[:, None]
    return orth(lost / np.linalg.norm(lost, axis=0)) if lost.size else lost


def _gate_informations(block, limit, model):
    """The gate's information on a block: over all experts, and over those that are left."""
    gate, Z, params = model.gate, block.gate_Z, limit.params
    proba = model.gate_proba(block, params)
    left = np.where(limit.vanished(block, gate), 0.0, proba)
    return np.array([gate.information(Z, params.gate, p, block.weight) for p in (proba, left)])


def _expert_informations(block, limit, model):
    """Products of each expert's scores on a block, by its responsibilities: on all rows, and where it is left."""
    resp = model.posterior(block, limit.params)[1] * block.weight
    left = np.where(limit.vanished(block, model.gate), 0.0, resp)
    rows = model.expert.row_scores(block.rows, limit.params.expert)
    pair = block.spread(resp), block.spread(left)
    return np.array([[(own * r) @ own.T for own, r in zip(rows, shares, strict=True)] for shares in pair])
