"""Derivatives row by row, a few rows at a time."""

import numpy as np

from smoe.blocks import Block
from smoe.params import flatten, fold

__all__ = ["cluster_products", "mean_gradient", "pieces", "row_scores", "score_products"]

_NUMBERS = 2**20  # of the derivatives that are held at a time


def row_scores(model, block, params):
    """Return the gradient of each row's log density, (n_entries, m), entries in flat order."""
    proba, resp, _ = model.posterior(block, params)
    gate = model.gate.row_pullback(block.gate_Z, params.gate, resp - proba)
    own = model.expert.row_scores(block.rows, params.expert)
    return np.concatenate([gate, fold((resp[:, None] * own).reshape(-1, len(block)), params.expert)])


def mean_gradient(model, block, params):
    """Return the gradient of each row's mean of y given x, (n_entries, m), entries in flat order."""
    proba = model.gate_proba(block, params)
    means = model.expert.mean(block.rows, params.expert)
    pull = proba * (means - (proba * means).sum(axis=0))
    gate = model.gate.row_pullback(block.gate_Z, params.gate, pull)
    own = model.expert.mean_scores(block.rows, params.expert)
    return np.concatenate([gate, fold((proba[:, None] * own).reshape(-1, len(block)), params.expert)])


def pieces(block, params):
    """Yield a block in pieces whose derivatives take little memory."""
    size = max(_NUMBERS // flatten(params).size, 1)
    for low in range(block.low, block.high, size):
        yield Block(block.source, low, min(low + size, block.high))


def score_products(model, blocks, params, power=1):
    """Return the sum over rows of weight (to a power) times score times score'.

    A row that counts as w rows has w independent scores; one that is sampled for w others has w times its score, whose
    square has the weight to the power of two.
    """

    def products(block, p):
        total = 0.0
        for piece in pieces(block, p):
            scores = row_scores(model, piece, p)
            total = total + (scores * piece.weight**power) @ scores.T
        return total

    return blocks.sum(products, params)


def cluster_products(model, blocks, params, groups):
    """Return the sum over groups of s s' with s the sum of weight times score over the group's rows.

    Rows are visited group by group; the last group of a visit may go on in the next.
    """
    n = flatten(params).size
    order, size = np.argsort(groups, kind="stable"), max(_NUMBERS // n, 1)
    total, open_sum, open_group = np.zeros((n, n)), np.zeros(n), groups[order[0]]
    for low in range(0, len(order), size):
        rows = order[low : low + size]
        block, label = blocks.take(rows), groups[rows]
        first = np.flatnonzero(np.concatenate([[True], label[1:] != label[:-1]]))
        sums = np.add.reduceat(row_scores(model, block, params) * block.weight, first, axis=1)
        if label[0] == open_group:
            sums[:, 0] += open_sum
        else:
            total += np.outer(open_sum, open_sum)
        total += sums[:, :-1] @ sums[:, :-1].T
        open_sum, open_group = sums[:, -1], label[-1]
    return total + np.outer(open_sum, open_sum)
