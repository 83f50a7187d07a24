"""Moves of a top-K gate: those that keep its boundaries, and lines along which rows change their experts one by one."""

import numpy as np
from scipy.linalg import null_space

from smoe._kernels.designs import predictors
from smoe._kernels.line_search import search_lines
from smoe._kernels.top_k import gather, top_k_experts
from smoe.gates.base import LinearGate, LinearGateParams

__all__ = ["best_of_lines", "drawn_lines", "kept_moves", "midway", "sharpened", "tie_winners"]

_REACH = 30.0  # how far a line goes, in root mean square change of the score (top_k = 1: in spreads of the scores)
_TIED = 1e-12  # relative gap of ranks that is rounding


def kept_moves(gate, params, blocks):
    """Return an orthonormal basis of moves of the free entries that leave the active boundaries where they are.

    The difference of two experts that change places at a boundary may move along itself only: the weights across it
    change, the boundary does not. With one expert per row there is nothing but boundaries.
    """
    k, p = len(params.intercept), params.coef.shape[1] + 1
    if gate.n_selected(k) == 1:
        return np.zeros(((k - 1) * p, 0))
    at_edge = blocks.sum(_edges, params, gate)
    rows = [np.zeros((1, k * p))]
    for i, j in zip(*np.nonzero(np.triu((at_edge > 0) & (at_edge.T > 0), 1)), strict=True):
        rows.append(_kept_boundary(gate, params, i, j))
    return null_space(np.concatenate(rows)[:, : (k - 1) * p])  # the last expert's row is pinned


def _kept_boundary(gate, params, i, j):
    """Equations for moves (k, p) in flat order: the difference of i and j moves along itself."""
    k, d = params.coef.shape
    ranked = d + 1 if gate.rank_by == "score" else d  # ranks by slope do not see the intercepts
    difference = np.append(params.coef[i] - params.coef[j], params.intercept[i] - params.intercept[j])[:ranked]
    along = difference / max(np.linalg.norm(difference), np.finfo(float).tiny)
    out = np.zeros((ranked, k, d + 1))
    out[:, i, :ranked] = np.eye(ranked) - np.outer(along, along)
    out[:, j] = -out[:, i]
    return out.reshape(ranked, -1)


def _edges(block, params, gate):
    """Weight of the rows on which expert i is the last one in and j the first one out, (n_experts, n_experts)."""
    k = len(params.intercept)
    ranking = gate.ranking(LinearGate.scores(gate, block.gate_Z, params), params)
    last, out = top_k_experts(ranking, gate.n_selected(k) + 1)[-2:]
    return np.bincount(last * k + out, block.weight, k * k).reshape(k, k)


def sharpened(gate, Z, params):
    """With one expert per row only the partition matters: give the scores the scale at which a width of one is wide."""
    if gate.top_k > 1 or not params.coef.any():
        return params
    ranking = gate.ranking(predictors(params.coef, params.intercept, Z), params)
    best, second = gather(ranking, top_k_experts(ranking, 2))
    gap = np.median(best - second)
    if not gap > _TIED * np.abs(ranking).max():
        return params
    return LinearGateParams(*(field / gap for field in params))


def midway(gate, params, blocks):
    """Return the same partition with boundaries midway between the rows next to them.

    With one expert per row nothing but the partition matters, and intercepts can be shifted between two rows.
    """
    if gate.top_k > 1 or gate.rank_by == "slope":
        return params
    params = params._replace(intercept=params.intercept.copy())
    for k in range(len(params.intercept)):
        lead = blocks.map(_lead, params, k)
        inside, outside = lead[lead >= 0], lead[lead < 0]
        if len(inside) and len(outside):
            params.intercept[k] -= 0.5 * (inside.min() + outside.max())
    return params


def _lead(block, params, k):
    """How far the score of expert k is above the largest of the others, row by row."""
    scores = predictors(params.coef, params.intercept, block.gate_Z)
    return scores[k] - np.delete(scores, k, axis=0).max(axis=0)


def tie_winners(gate, params):
    """Return parameters in which one expert after the other wins ties.

    With one expert per row and ranks by slope, intercepts say that and nothing else.
    """
    if gate.top_k > 1 or gate.rank_by == "score":
        return []
    out = []
    for k in range(len(params.intercept)):
        intercept = params.intercept.copy()
        intercept[k] = intercept.max() + np.ptp(intercept) + 1.0
        out.append(params._replace(intercept=intercept))
    return out


def best_of_lines(gate, block, log_density, params, n_lines, rng):
    """Return gate parameters of higher exact log-likelihood, or the same.

    A line moves one expert's row of the gate in a random direction that moves no boundary at up to d rows close to one.
    """
    order = gate.tie_order(params)
    lines, log_density = np.column_stack(params)[order], np.ascontiguousarray(log_density[order])
    draws = drawn_lines(lines.shape, n_lines, rng)
    reach = _REACH * np.std(lines @ block.gate_Z) if gate.top_k == 1 else _REACH
    settings = gate.top_k, lines.shape[1] - (gate.rank_by == "slope"), float(gate.balance), float(reach)
    search_lines(lines, block.gate_Z, log_density, block.weight, *settings, *draws)
    lines = lines[np.argsort(order)]
    return LinearGateParams(lines[:, :-1].copy(), lines[:, -1].copy())


def drawn_lines(shape, n_lines, rng):
    """Return which expert each line moves, in which direction, and the number and picks of its pivots."""
    n_experts, p = shape
    return (
        rng.integers(n_experts, size=n_lines),
        rng.normal(size=(n_lines, p)),
        rng.integers(p, size=n_lines),
        rng.random((n_lines, p - 1)),
    )
