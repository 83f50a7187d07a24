"""Whole passes for linear gates with Gaussian experts: all that is needed of some rows while they are in cache.

These make in one go what the other kernels make one after the other, and must agree with them.
"""

import numpy as np

from smoe._kernels._jit import ZERO, inner
from smoe._kernels.chunks import (
    CHUNK,
    LOGS,
    add_gate_score,
    add_observed,
    close,
    designs,
    gate_weights,
    invert,
    ones,
    row_logs,
)
from smoe._kernels.designs import fill_predictors, standardise
from smoe._kernels.elementary import exp
from smoe._kernels.gaussian import fill_row_scores
from smoe._kernels.moments import add_cross, add_dots, add_grams
from smoe._kernels.observed import add_cross_products, add_expert_products
from smoe._kernels.posterior import copy, maximum, posterior_chunk


@inner
def _joint(score, gate_top, mean, y, constant, half_precision, out):
    """Score, relative to the largest, plus log density: large scores must not swallow it."""
    for i in range(len(out)):
        residual = y[i] - mean[i]
        out[i] = (score[i] - gate_top[i]) + (constant - half_precision * residual * residual)


@inner
def _e_step(scores, means, y, weight, variance, proba, resp, top, ratio, work):
    """Fill proba and resp (times the weights) of a chunk, and log densities as log(ratio) + top."""
    m = len(y)
    gate_top = work[0, :m]
    maximum(scores, ZERO, m, gate_top)
    for k in range(len(scores)):
        constant = -0.5 * np.log(2.0 * np.pi * variance[k])
        _joint(scores[k, :m], gate_top, means[k, :m], y, constant, 0.5 / variance[k], resp[k, :m])
    posterior_chunk(scores, ZERO, m, weight, proba, resp, top, ratio, work)


@inner
def _two(odds, mean, other, y, weight, lines, first, second, pull, pair, top, ratio):
    """Do all of an E-step that two experts need in one loop, with one exponential each for the gate and the posterior.

    ``odds`` are the gate's log odds of the first expert, ``lines`` the constants and half the precisions of the log
    densities. What is filled are both responsibilities times the weights, the pull on the odds, the gate's weights of
    the pair, and log densities as log(ratio) + top. Return how many rows have no density at all; their top is -inf.
    """
    constant, other_constant, half, other_half = lines
    n_zero = 0
    for i in range(len(y)):
        a, b, w = y[i] - mean[i], y[i] - other[i], weight[i]
        leads = odds[i] > 0.0  # relative to the larger score: large ones must not swallow the densities
        joint = (0.0 if leads else odds[i]) + (constant - half * a * a)
        rest = (-odds[i] if leads else 0.0) + (other_constant - other_half * b * b)
        likely = joint > rest
        high, low = (joint, rest) if likely else (rest, joint)
        zero = high == -np.inf
        n_zero += zero
        less, behind = exp(low - (0.0 if zero else high)), exp(-abs(odds[i]))
        sum_r, sum_p = 1.0 + less, 1.0 + behind
        inverse = 1.0 / (sum_r * sum_p)
        r, p = sum_p * inverse, sum_r * inverse
        p_first, p_second = (p, p * behind) if leads else (p * behind, p)
        r_large, r_small = w * (0.0 if zero else r), w * (r * less)
        r_first = r_large if likely else r_small
        first[i] = r_first
        second[i] = r_small if likely else r_large
        pull[i] = r_first - w * p_first
        pair[i] = -w * p_first * p_second
        top[i] = high
        ratio[i] = sum_r * p
    return n_zero


@inner
def _mend_two(top, weight, first, second, pull):
    """Give rows without any density the gate's probabilities."""
    for i in range(len(top)):
        if top[i] == -np.inf:
            first[i] = -pull[i]
            second[i] = weight[i] + pull[i]
            pull[i] = 0.0


@inner
def _e_step_two(odds, means, y, weight, variance, resp, pull, pair, top, ratio):
    """Fill resp (times the weights), the pull on the odds, the gate's weights of the pair, top and ratio."""
    m, constants = len(y), -0.5 * np.log(2.0 * np.pi * variance)
    first, second = resp[0, :m], resp[1, :m]
    lines = constants[0], constants[1], 0.5 / variance[0], 0.5 / variance[1]
    if _two(odds, means[0, :m], means[1, :m], y, weight, lines, first, second, pull, pair, top, ratio):
        _mend_two(top, weight, first, second, pull)


@inner
def _log_odds(coef, intercept):
    """Return the line of the log odds of the first of two experts."""
    slope, constant = np.empty((1, coef.shape[1])), np.empty(1)
    for j in range(coef.shape[1]):
        slope[0, j] = coef[0, j] - coef[1, j]
    constant[0] = intercept[0] - intercept[1]
    return slope, constant


@inner
def run(
    gate_coef,
    gate_intercept,
    coef,
    intercept,
    variance,
    flat,
    row_step,
    column_step,
    y,
    weight,
    low,
    high,
    gate_columns,
    gate_shift,
    gate_inverse,
    gate_factor,
    columns,
    shift,
    inverse,
    factor,
    same,
    y_shift,
    y_inverse,
    gate_information,
    observed,
):
    """Do a pass over the rows from low to high of X, given flat, and return sums over them.

    These are the weighted log-likelihood; the sums of w r_k z z' (k, p, p), of w r_k z y and w r_k y^2 (k, p + 1); the
    gate's score (k, q); and its pairs' sums of -w p_i p_j z z' (n_pairs, q, q), which are zero unless
    ``gate_information`` is wanted. If ``observed`` too, the pairs' sums are of w (r_i r_j - p_i p_j) z z', and to them
    come the experts' sums of w (r_i r_j - 1{i=j} r_i) g_i g_j' (k, p + 1, k, p + 1) and the cross sums of the same with
    z g_j' (k, q, k, p + 1), with g_i the scores of expert i.
    """
    k, p, q = len(coef), len(columns) + 1, len(gate_columns) + 1
    n_pairs, loglik, two = k * (k - 1) // 2, 0.0, k == 2
    gram, cross = np.zeros((k, p, p)), np.zeros((k, p + 1))
    score, pairs = np.zeros((k, q)), np.zeros((n_pairs, q, q))
    between, both = np.zeros((k, p + 1, k, p + 1)), np.zeros((k, q, k, p + 1))
    gate_Z = ones(q - 1, CHUNK)
    Z = gate_Z if same else ones(p - 1, CHUNK)
    scores, means = np.empty((k, CHUNK)), np.empty((k, CHUNK))
    proba, resp = np.empty((k, CHUNK)), np.empty((k, CHUNK))
    work, rows, weights = np.empty((3, CHUNK)), np.empty((6, CHUNK)), np.empty((n_pairs, CHUNK))
    row_scores, product = np.empty((k, p + 1, CHUNK if observed else 0)), np.empty(LOGS)
    if two:
        gate_coef, gate_intercept = _log_odds(gate_coef, gate_intercept)
    rows[1] = weight[0]
    for start in range(low, high, CHUNK):
        m = min(CHUNK, high - start)
        values, w, inverse_w = rows[0, :m], rows[1, :m], rows[2, :m]
        top, ratio, pull = rows[3, :m], rows[4, :m], rows[5, :m]
        designs(flat, row_step, column_step, start, gate_columns, gate_shift, gate_inverse, gate_factor, m, gate_Z)
        if not same:
            designs(flat, row_step, column_step, start, columns, shift, inverse, factor, m, Z)
        standardise(y[start : start + m], y_shift, y_inverse, values)
        if len(weight) > 1:
            copy(weight[start : start + m], w)
        fill_predictors(gate_coef, gate_intercept, gate_Z, ZERO, m, scores, ZERO)
        fill_predictors(coef, intercept, Z, ZERO, m, means, ZERO)
        if two:
            _e_step_two(scores[0, :m], means, values, w, variance, resp, pull, weights[0, :m], top, ratio)
            add_dots(pull, gate_Z, ZERO, ZERO, score[0])
        else:
            _e_step(scores, means, values, w, variance, proba, resp, top, ratio, work)
            add_gate_score(proba, resp, w, gate_Z, pull, score)
            if gate_information:
                gate_weights(proba, w, weights)
        loglik += row_logs(top, ratio, w, len(weight) == 1, product)
        add_grams(resp, ZERO, Z, ZERO, m, gram)
        add_cross(resp, ZERO, Z, values, ZERO, m, cross)
        if observed:
            invert(w, inverse_w)
            add_observed(resp, inverse_w, weights)
            fill_row_scores(means, Z, values, variance, ZERO, m, ZERO, row_scores)
            add_expert_products(resp, inverse_w, row_scores, ZERO, work, between)
            add_cross_products(resp, inverse_w, gate_Z, ZERO, row_scores, work, both)
        if gate_information:
            add_grams(weights, ZERO, gate_Z, ZERO, m, pairs)
    close(score, gram, pairs, between, both, observed)
    return loglik, gram, cross, score, pairs, between, both
