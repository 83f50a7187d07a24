"""Derivatives row by row, a few rows at a time."""

from functools import partial

import numpy as np

from smoe.params import copies, flatten, fold

__all__ = ["cluster_products", "mean_gradient", "membership_gradient", "pieces", "row_scores", "score_products"]

_NUMBERS = 2**20  # of the derivatives that are held at a time
_SUMS = 2**22  # the same of sums over groups


def row_scores(model, block, params):
    """Return the gradient of each row's log density, (n_entries, m), entries in flat order."""
    proba, resp, _ = model.posterior(block, params)
    gate = model.gate.row_pullback(block.gate_Z, params.gate, resp - proba)
    own = block.summed(model.expert.row_scores(block.rows, params.expert))
    return np.concatenate([gate, fold((resp[:, None] * own).reshape(-1, len(block)), params.expert)])


def mean_gradient(model, block, params):
    """Return the gradient of each row's mean of y given x, (n_entries, m) or (n_entries, q, m), in flat order."""
    proba = model.gate_proba(block, params)
    there = proba > 0  # means without probability may be infinite

    def gradient(means, own):
        means, own = np.where(there, means, 0.0), np.where(there[:, None], own, 0.0)
        pull = proba * (means - (proba * means).sum(axis=0))
        gate = model.gate.row_pullback(block.gate_Z, params.gate, pull)
        return np.concatenate([gate, fold((proba[:, None] * own).reshape(-1, len(block)), params.expert)])

    means = model.expert.mean(block.rows, params.expert)
    own = model.expert.mean_scores(block.rows, params.expert)
    if means.ndim == 2:
        return gradient(means, own)
    return np.stack([gradient(means[:, j], own[:, j]) for j in range(means.shape[1])], axis=1)


def membership_gradient(model, block, params, given_y=True):
    """Return the gradient of each expert's probability, given x and y or x alone, (n_entries, n_experts, m)."""
    if given_y:
        proba = model.posterior(block, params)[1]
        own = block.summed(model.expert.row_scores(block.rows, params.expert))
    else:
        proba = model.gate_proba(block, params)
        own = np.zeros((*copies(params.expert).shape, len(block)))
    out = []
    for k in range(len(proba)):
        pull = -proba[k] * proba
        pull[k] += proba[k]
        gate = model.gate.row_pullback(block.gate_Z, params.gate, pull)
        out.append(np.concatenate([gate, fold((pull[:, None] * own).reshape(-1, len(block)), params.expert)]))
    return np.stack(out, axis=1)


def pieces(block, params):
    """Return a block in pieces whose derivatives take little memory."""
    return block.pieces(max(_NUMBERS // flatten(params).size, 1))


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

    Sums of very many groups are made some groups at a time, a pass for each such part.
    """
    n, n_groups = flatten(params).size, int(groups.max()) + 1
    size, total = max(_SUMS // n, 1), np.zeros((n, n))
    for low in range(0, n_groups, size):
        sums = np.zeros((min(size, n_groups - low), n))
        for found in blocks.each(partial(_group_sums, model, groups), params):
            for label, part in found:
                here = (label >= low) & (label < low + size)
                sums[label[here] - low] += part[here]
        total += sums.T @ sums
    return total


def _group_sums(model, groups, block, params):
    """Return the groups that a block has rows of, and their summed scores (n, n_entries), piece by piece."""
    found, low = [], 0
    labels = groups[block.place]
    for piece in pieces(block, params):
        label, low = labels[low : low + len(piece)], low + len(piece)
        order = np.argsort(label, kind="stable")
        label, first = np.unique(label[order], return_index=True)
        scores = row_scores(model, piece, params) * piece.weight
        found.append((label, np.add.reduceat(scores[:, order], first, axis=1).T))
    return found
