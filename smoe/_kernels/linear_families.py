"""Whole passes for linear gates with experts of one linear predictor, and for groups of rows with one label.

They do what `linear_gaussian` does for single rows with Gaussian experts, which takes shortcuts that these lack.
"""

import math

import numpy as np
from scipy.special import gammaln

from smoe._kernels._jit import ZERO, inner, kernel, reduction
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
from smoe._kernels.designs import fill_predictors, rotate, standardise
from smoe._kernels.elementary import exp, log
from smoe._kernels.gaussian import fill_row_scores
from smoe._kernels.moments import add_cross, add_dots, add_grams, multiply
from smoe._kernels.observed import add_cross_products, add_expert_products
from smoe._kernels.posterior import copy, join, maximum, posterior_chunk

GAUSSIAN, POISSON, BINOMIAL = 0, 1, 2
LARGEST = 300.0  # size of predictors of counts

_LOG_FACTORIALS = gammaln(np.arange(1024) + 1.0)


# Log densities of a chunk ---------------------------------------------------------------------------------------------


@inner
def _log_factorial(y):
    return _LOG_FACTORIALS[int(y)] if y < 1024.0 else math.lgamma(y + 1.0)


@inner
def _log_factorials(y, out):
    for i in range(len(out)):
        out[i] = -_log_factorial(y[i])


@inner
def _log_choices(y, trials, out):
    for i in range(len(out)):
        single = trials[i] == 1.0
        n, fails = trials[i], trials[i] - y[i]
        out[i] = 0.0 if single else _log_factorial(n) - _log_factorial(y[i]) - _log_factorial(fails)


@inner
def _within(eta, largest):
    for i in range(len(eta)):
        eta[i] = min(max(eta[i], -largest), largest)


@inner
def _add_to(eta, offset):
    for i in range(len(eta)):
        eta[i] += offset[i]


@inner
def _gaussian(mean, y, constant, half_precision, out):
    for i in range(len(out)):
        residual = y[i] - mean[i]
        out[i] = constant - half_precision * residual * residual


@inner
def _poisson(eta, y, constant, pull, bend, out):
    """Fill first, and minus second derivatives by the predictor, and log densities."""
    for i in range(len(out)):
        mu = exp(eta[i])
        pull[i] = y[i] - mu
        bend[i] = mu
        out[i] = (y[i] * eta[i] - mu) + constant[i]


@inner
def _binomial(eta, y, trials, constant, pull, bend, out):
    for i in range(len(out)):
        high = eta[i] > 0.0
        less = exp(-abs(eta[i]))
        share = 1.0 / (1.0 + less)
        p, other = (share, less * share) if high else (less * share, share)
        fails = trials[i] - y[i]
        pull[i] = y[i] * other - fails * p
        bend[i] = trials[i] * p * other
        behind = eta[i] * (fails if high else -y[i])  # of the less likely outcome, as often as it came
        out[i] = (constant[i] - behind) - trials[i] * log(1.0 + less)


@inner
def _log_densities(kind, eta, y, trials, variance, constant, pulls, bends, out):
    """Fill log densities (k, m), and for counts their derivatives by the predictor."""
    m = len(y)
    if kind == GAUSSIAN:
        for k in range(len(eta)):
            top = -0.5 * np.log(2.0 * np.pi * variance[k])
            _gaussian(eta[k, :m], y, top, 0.5 / variance[k], out[k, :m])
        return
    if kind == POISSON:
        _log_factorials(y, constant)
    else:
        _log_choices(y, trials, constant)
    for k in range(len(eta)):
        row = eta[k, :m]
        _within(row, LARGEST)
        if kind == POISSON:
            _poisson(row, y, constant, pulls[k, :m], bends[k, :m], out[k, :m])
        else:
            _binomial(row, y, trials, constant, pulls[k, :m], bends[k, :m], out[k, :m])


# Sums of a chunk ------------------------------------------------------------------------------------------------------


@reduction
def _counts(resp, pull, bend, x):
    """Sums of r b x^2, r b x, r b, r u x, r u and r, with u the pull and b the bend."""
    a = b = c = d = e = f = 0.0
    for i in range(len(x)):
        rb, ru = resp[i] * bend[i], resp[i] * pull[i]
        rbx = rb * x[i]
        a += rbx * x[i]
        b += rbx
        c += rb
        d += ru * x[i]
        e += ru
        f += resp[i]
    return a, b, c, d, e, f


@inner
def _add_counts(resp, pulls, bends, Z, m, work, gram, cross):
    """Add the sums of r b z z' to gram, of r u z and r to cross."""
    p, product = len(Z), work[0, :m]
    if p == 2:
        for k in range(len(resp)):
            a, b, c, d, e, f = _counts(resp[k, :m], pulls[k, :m], bends[k, :m], Z[0, :m])
            gram[k, 0, 0] += a
            gram[k, 0, 1] += b
            gram[k, 1, 1] += c
            cross[k, 0] += d
            cross[k, 1] += e
            cross[k, 2] += f
        return
    for k in range(len(resp)):
        multiply(resp[k, :m], pulls[k, :m], product)
        add_dots(product, Z, ZERO, ZERO, cross[k])
        for i in range(m):
            cross[k, p] += resp[k, i]
        multiply(bends[k, :m], resp[k, :m], bends[k, :m])
    add_grams(bends, ZERO, Z, ZERO, m, gram)


@inner
def _count_scores(pulls, Z, m, out):
    """Put the derivatives by slopes and intercepts into out (k, p, m)."""
    p = len(Z)
    for k in range(len(pulls)):
        copy(pulls[k, :m], out[k, p - 1, :m])
        for j in range(p - 1):
            multiply(pulls[k, :m], Z[j, :m], out[k, j, :m])


# Groups ---------------------------------------------------------------------------------------------------------------


@inner
def _sum_groups(values, starts, out):
    for g in range(len(out)):
        total = values[starts[g]]
        for i in range(starts[g] + 1, starts[g + 1]):
            total += values[i]
        out[g] = total


@inner
def _sum_two(a, b, starts, out_a, out_b):
    """Do it for two experts: groups are short, and loops over them dear to begin."""
    for g in range(len(out_a)):
        total, other = a[starts[g]], b[starts[g]]
        for i in range(starts[g] + 1, starts[g + 1]):
            total += a[i]
            other += b[i]
        out_a[g] = total
        out_b[g] = other


@inner
def _spread(values, starts, out):
    for g in range(len(values)):
        for i in range(starts[g], starts[g + 1]):
            out[i] = values[g]


@inner
def _spread_two(a, b, starts, out_a, out_b):
    for g in range(len(a)):
        for i in range(starts[g], starts[g + 1]):
            out_a[i] = a[g]
            out_b[i] = b[g]


@inner
def _to_rows(values, starts, n_groups, out):
    """Give rows what their group has, (k, n_groups)."""
    paired = len(values) - len(values) % 2
    for k in range(0, paired, 2):
        _spread_two(values[k, :n_groups], values[k + 1, :n_groups], starts, out[k], out[k + 1])
    if paired < len(values):
        _spread(values[paired, :n_groups], starts, out[paired])


@inner
def _first_rows(flat, row_step, column_step, low, starts, columns, shift, inverse, factor, n_groups, Z):
    """Make the gate's design of the groups' first rows."""
    for j in range(len(columns)):
        start = low * row_step + columns[j] * column_step
        for g in range(n_groups):
            Z[j, g] = (flat[start + starts[g] * row_step] - shift[j]) * inverse[j]
    rotate(Z, factor, n_groups)


@inner
def _first_weights(weight, low, starts, out):
    for g in range(len(out)):
        out[g] = weight[low + starts[g]]


@inner
def _next_chunk(first, group, size, end, starts):
    """Fill where the groups from ``group`` on begin, and end, that together have at most ``size`` rows."""
    n, base = 0, first[group]
    starts[0] = 0
    while group + n < len(first):
        high = (first[group + n + 1] if group + n + 1 < len(first) else end) - base
        if n > 0 and high > size:
            break
        n += 1
        starts[n] = high
    return n


@inner
def _longest(first, end, least):
    for g in range(len(first)):
        least = max(least, (first[g + 1] if g + 1 < len(first) else end) - first[g])
    return least


@inner
def _by_group(values, starts, n_groups, out):
    """Sum rows of numbers (k, m) over groups, into (k, n_groups)."""
    paired = len(values) - len(values) % 2
    for k in range(0, paired, 2):
        _sum_two(values[k], values[k + 1], starts, out[k, :n_groups], out[k + 1, :n_groups])
    if paired < len(values):
        _sum_groups(values[paired], starts, out[paired, :n_groups])


# The pass -------------------------------------------------------------------------------------------------------------


@kernel
def family_pass(
    kind,
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
    first,
    offset,
    trials,
    gate_information,
    observed,
):
    """Do a pass over the rows from low to high, as `linear_gaussian.run` does, and return such sums over them.

    Groups begin at ``first``, counted from low; without any, each row is one. ``offset`` and ``trials`` are those of
    the rows from low on, or empty. For counts, with u and b the first and minus the second derivatives of log densities
    by the predictor, the first two sums are of w r_k b_k z z' (k, p, p), and of w r_k u_k z and w r_k (k, p + 1).
    """
    k, p, q = len(coef), len(columns) + 1, len(gate_columns) + 1
    n_pairs, loglik, grouped, n_rows = k * (k - 1) // 2, 0.0, len(first) > 0, high - low
    width, size = p + (kind == GAUSSIAN), _longest(first, n_rows, CHUNK) if grouped else CHUNK
    gram, cross = np.zeros((k, p, p)), np.zeros((k, p + 1))
    score, pairs = np.zeros((k, q)), np.zeros((n_pairs, q, q))
    between, both = np.zeros((k, width, k, width)), np.zeros((k, q, k, width))
    gate_Z = ones(q - 1, size)
    Z = gate_Z if same and not grouped else ones(p - 1, size)
    scores, eta, proba, resp = np.empty((k, size)), np.empty((k, size)), np.empty((k, size)), np.empty((k, size))
    logs, pulls, bends = np.empty((k, size)), np.empty((k, size)), np.empty((k, size))
    work, rows, weights = np.empty((3, size)), np.empty((6, size)), np.empty((n_pairs, size))
    row_scores, product = np.empty((k, width, size if observed else 0)), np.empty(LOGS)
    of_groups = np.empty((k, size if grouped else 0))
    group_scores = np.empty((k, width, size if observed and grouped else 0))
    starts = np.zeros(size + 1 if grouped else 1, dtype=np.int64)
    rows[1] = weight[0]
    tries = np.ones(size)
    start, group = 0, 0
    while start < n_rows:
        g = _next_chunk(first, group, size, n_rows, starts) if grouped else min(size, n_rows - start)
        m = starts[g] if grouped else g
        at = low + start
        values, w, inverse_w = rows[0, :m], rows[1, :g], rows[2, :g]
        top, ratio, constant = rows[3, :g], rows[4, :g], rows[5, :m]
        designs(flat, row_step, column_step, at, columns, shift, inverse, factor, m, Z)
        if grouped:
            gate = gate_columns, gate_shift, gate_inverse, gate_factor
            _first_rows(flat, row_step, column_step, at, starts, *gate, g, gate_Z)
        elif not same:
            designs(flat, row_step, column_step, at, gate_columns, gate_shift, gate_inverse, gate_factor, m, gate_Z)
        standardise(y[at : at + m], y_shift, y_inverse, values)
        if len(weight) > 1:
            if grouped:
                _first_weights(weight, at, starts, w)
            else:
                copy(weight[at : at + m], w)
        if len(trials):
            copy(trials[start : start + m], tries[:m])
        fill_predictors(gate_coef, gate_intercept, gate_Z, ZERO, g, scores, ZERO)
        fill_predictors(coef, intercept, Z, ZERO, m, eta, ZERO)
        if len(offset):
            for i in range(k):
                _add_to(eta[i, :m], offset[start : start + m])
        _log_densities(kind, eta, values, tries[:m], variance, constant, pulls, bends, logs)
        if grouped:
            _by_group(logs, starts, g, of_groups)
        gate_top, joint = work[0, :g], of_groups if grouped else logs
        maximum(scores, ZERO, g, gate_top)
        for i in range(k):
            join(scores[i, :g], gate_top, joint[i, :g], resp[i, :g])
        posterior_chunk(scores, ZERO, g, w, proba, resp, top, ratio, work)
        add_gate_score(proba, resp, w, gate_Z, work[0, :g], score)
        for i in range(0, g, CHUNK):
            j = min(i + CHUNK, g)
            loglik += row_logs(top[i:j], ratio[i:j], w[i:j], len(weight) == 1, product)
        if gate_information:
            gate_weights(proba, w, weights)
        if observed:
            if kind == GAUSSIAN:
                fill_row_scores(eta, Z, values, variance, ZERO, m, ZERO, row_scores)
            else:
                _count_scores(pulls, Z, m, row_scores)
            invert(w, inverse_w)
            add_observed(resp, inverse_w, weights)
            if grouped:
                for i in range(k):
                    _by_group(row_scores[i], starts, g, group_scores[i])
            own = group_scores if grouped else row_scores
            add_expert_products(resp, inverse_w, own, ZERO, work, between)
            add_cross_products(resp, inverse_w, gate_Z, ZERO, own, work, both)
        if gate_information:
            add_grams(weights, ZERO, gate_Z, ZERO, g, pairs)
        if grouped:
            _to_rows(resp, starts, g, logs)
        of_rows = logs if grouped else resp
        if kind == GAUSSIAN:
            add_grams(of_rows, ZERO, Z, ZERO, m, gram)
            add_cross(of_rows, ZERO, Z, values, ZERO, m, cross)
        else:
            _add_counts(of_rows, pulls, bends, Z, m, work, gram, cross)
        start += m
        group += g
    close(score, gram, pairs, between, both, observed)
    return loglik, gram, cross, score, pairs, between, both
