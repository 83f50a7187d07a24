"""Whole passes for linear gates with Gaussian experts: all that is needed of some rows while they are in cache.

These make in one go what the other kernels make one after the other, and must agree with them.
"""

import numpy as np

from smoe._kernels._jit import kernel
from smoe._kernels.designs import fill_predictors
from smoe._kernels.gaussian import fill_row_scores
from smoe._kernels.moments import add_cross, add_dots, add_grams, dot, mirror
from smoe._kernels.observed import (
    add_cross_products,
    add_expert_products,
    close_cross_products,
    close_expert_products,
)
from smoe._kernels.posterior import posterior_chunk

_CHUNK = 512  # rows


@kernel
def _joint(score, mean, y, constant, half_precision, out):
    """Score plus log density."""
    for i in range(len(out)):
        residual = y[i] - mean[i]
        out[i] = score[i] + (constant - half_precision * residual * residual)


@kernel
def _pull(weight, proba, resp, out):
    for i in range(len(out)):
        out[i] = resp[i] - weight[i] * proba[i]


@kernel
def _negative_product(weight, a, b, out):
    for i in range(len(out)):
        out[i] = -weight[i] * a[i] * b[i]


@kernel
def _add_pair(a, b, inverse, out):
    for i in range(len(out)):
        out[i] += a[i] * b[i] * inverse[i]


@kernel
def _lines(gate_coef, gate_intercept, coef, intercept, gate_Z, Z, low, high, scores, means):
    fill_predictors(gate_coef, gate_intercept, gate_Z, low, high, scores, 0)
    fill_predictors(coef, intercept, Z, low, high, means, 0)


@kernel
def _e_step(scores, means, y, weight, variance, proba, resp, loglik, work):
    """Fill proba and resp (times the weights) of a chunk; return its weighted log-likelihood."""
    m = len(y)
    for k in range(len(scores)):
        constant = -0.5 * np.log(2.0 * np.pi * variance[k])
        _joint(scores[k, :m], means[k, :m], y, constant, 0.5 / variance[k], resp[k, :m])
    posterior_chunk(scores, 0, m, weight, proba, resp, loglik[:m], work)
    return dot(weight, loglik[:m])


@kernel
def _add_gate_score(proba, resp, weight, Z, low, high, pull, score):
    """Add all rows but the last, which is minus their sum."""
    for i in range(len(proba) - 1):
        _pull(weight[low:high], proba[i, : high - low], resp[i, : high - low], pull)
        add_dots(pull, Z, 0, low, score[i])


@kernel
def _gate_weights(proba, weight, weights):
    """Fill the weights -w p_i p_j of the pairs i < j."""
    m, pair = len(weight), 0
    for i in range(len(proba)):
        for j in range(i + 1, len(proba)):
            _negative_product(weight, proba[i, :m], proba[j, :m], weights[pair, :m])
            pair += 1


@kernel
def _add_observed(resp, inverse, weights):
    """Add r_i r_j / w, with resp times the weights."""
    m, pair = len(inverse), 0
    for i in range(len(resp)):
        for j in range(i + 1, len(resp)):
            _add_pair(resp[i, :m], resp[j, :m], inverse, weights[pair, :m])
            pair += 1


@kernel
def statistics(gate_coef, gate_intercept, coef, intercept, variance, gate_Z, Z, y, weight):
    """Do the E-step and return all that the M-step needs.

    Returns the weighted log-likelihood; the sums over rows of w r_k z z' (k, p, p), of w r_k z y and w r_k y^2
    (k, p + 1); the gate's score (k, q); and its pairs' sums of -w p_i p_j z z' (n_pairs, q, q).
    """
    k, m = len(coef), len(y)
    p, q, n_pairs, loglik = len(Z), len(gate_Z), k * (k - 1) // 2, 0.0
    gram, cross = np.zeros((k, p, p)), np.zeros((k, p + 1))
    score, pairs = np.zeros((k, q)), np.zeros((n_pairs, q, q))
    scores, means = np.empty((k, _CHUNK)), np.empty((k, _CHUNK))
    proba, resp = np.empty((k, _CHUNK)), np.empty((k, _CHUNK))
    work, rows, weights = np.empty((4, _CHUNK)), np.empty(_CHUNK), np.empty((n_pairs, _CHUNK))
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        w = weight[low:high]
        _lines(gate_coef, gate_intercept, coef, intercept, gate_Z, Z, low, high, scores, means)
        loglik += _e_step(scores, means, y[low:high], w, variance, proba, resp, rows, work)
        add_grams(resp, 0, Z, low, high, gram)
        add_cross(resp, 0, Z, y, low, high, cross)
        _add_gate_score(proba, resp, weight, gate_Z, low, high, rows[: high - low], score)
        _gate_weights(proba, w, weights)
        add_grams(weights, 0, gate_Z, low, high, pairs)
    score[-1] = -np.sum(score[:-1], axis=0)
    mirror(gram)
    mirror(pairs)
    return loglik, gram, cross, score, pairs


@kernel
def _invert(weight, out):
    for i in range(len(out)):
        out[i] = 1.0 / weight[i]


@kernel
def curvature(gate_coef, gate_intercept, coef, intercept, variance, gate_Z, Z, y, weight):
    """Return what `statistics` does, and the rest of the observed information.

    The pairs' sums are of w (r_i r_j - p_i p_j) z z'; to them come the experts' sums of
    w (r_i r_j - 1{i=j} r_i) g_i g_j' (k, p + 1, k, p + 1) and the cross sums of the same with z g_j'
    (k, q, k, p + 1), with g_i the scores of expert i, row by row.
    """
    k, m = len(coef), len(y)
    p, q, n_pairs, loglik = len(Z), len(gate_Z), k * (k - 1) // 2, 0.0
    gram, cross = np.zeros((k, p, p)), np.zeros((k, p + 1))
    score, pairs = np.zeros((k, q)), np.zeros((n_pairs, q, q))
    between, both = np.zeros((k, p + 1, k, p + 1)), np.zeros((k, q, k, p + 1))
    scores, means = np.empty((k, _CHUNK)), np.empty((k, _CHUNK))
    proba, resp = np.empty((k, _CHUNK)), np.empty((k, _CHUNK))
    work, rows, weights = np.empty((4, _CHUNK)), np.empty(_CHUNK), np.empty((n_pairs, _CHUNK))
    inverses, row_scores = np.empty(_CHUNK), np.empty((k, p + 1, _CHUNK))
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        w, inverse = weight[low:high], inverses[: high - low]
        _lines(gate_coef, gate_intercept, coef, intercept, gate_Z, Z, low, high, scores, means)
        loglik += _e_step(scores, means, y[low:high], w, variance, proba, resp, rows, work)
        add_grams(resp, 0, Z, low, high, gram)
        add_cross(resp, 0, Z, y, low, high, cross)
        _add_gate_score(proba, resp, weight, gate_Z, low, high, rows[: high - low], score)
        _invert(w, inverse)
        _gate_weights(proba, w, weights)
        _add_observed(resp, inverse, weights)
        add_grams(weights, 0, gate_Z, low, high, pairs)
        fill_row_scores(means, Z, y, variance, low, high, 0, row_scores)
        add_expert_products(resp, inverse, row_scores, 0, work, between)
        add_cross_products(resp, inverse, gate_Z, low, row_scores, work, both)
    score[-1] = -np.sum(score[:-1], axis=0)
    mirror(gram)
    mirror(pairs)
    close_expert_products(between)
    close_cross_products(both)
    return loglik, gram, cross, score, pairs, between, both
