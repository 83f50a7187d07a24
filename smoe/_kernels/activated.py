"""Sums over rows for gates with scores (g(u) + b) / tau, u = slopes'x: the derivative of the scores, and information.

``level`` is g(u) + b, ``slope`` and ``bend`` are the first two derivatives of g at u, all (n_experts, m); the last row
of the design Z (p, m) is ones.
"""

import numpy as np

from smoe._kernels._jit import ZERO, inner, kernel
from smoe._kernels.moments import add_dots, add_product, dot, multiply, negative_product, total

_CHUNK = 512  # rows that stay in the first-level cache while all is done with them


@kernel
def pull_activated(R, level, slope, Z):
    """Return the sums over rows of R slope x and of R, (len(R), n_experts, p), and of R level, (len(R),)."""
    n, n_experts, m = R.shape
    own, shared, product = np.zeros((n, n_experts, len(Z))), np.zeros(n), np.empty(_CHUNK)
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        pulled = product[: high - low]
        for c in range(n):
            for k in range(n_experts):
                r = R[c, k, low:high]
                multiply(r, slope[k, low:high], pulled)
                add_dots(pulled, Z[: len(Z) - 1], ZERO, low, own[c, k])
                own[c, k, len(Z) - 1] += total(r)
                shared[c] += dot(r, level[k, low:high])
    return own, shared


@inner
def _own_weight(proba, weight, out):
    for i in range(len(out)):
        out[i] = weight[i] * (proba[i] - proba[i] * proba[i])


@inner
def _less_own(resp, weight, out):
    for i in range(len(out)):
        out[i] -= weight[i] * (resp[i] - resp[i] * resp[i])


@inner
def _less_pair(a, b, weight, out):
    for i in range(len(out)):
        out[i] += weight[i] * a[i] * b[i]


@inner
def _spread(proba, level, mean, weight, out):
    for i in range(len(out)):
        out[i] = weight[i] * proba[i] * (level[i] - mean[i])


@inner
def _less_spread(resp, level, mean, weight, out):
    for i in range(len(out)):
        out[i] -= weight[i] * resp[i] * (level[i] - mean[i])


@inner
def _change(proba, resp, weight, tau, out):
    for i in range(len(out)):
        out[i] = weight[i] * (resp[i] - proba[i]) * tau


@inner
def _bend_weight(proba, resp, bend, weight, tau, out):
    for i in range(len(out)):
        out[i] = weight[i] * (proba[i] - resp[i]) * bend[i] * tau


@inner
def _designs(slope, Z, low, rows):
    """Fill rows (n_experts, p, .) with slope x and 1."""
    m, p = min(_CHUNK, slope.shape[1] - low), len(Z)
    for k in range(len(slope)):
        for a in range(p - 1):
            multiply(slope[k, low : low + m], Z[a, low : low + m], rows[k, a, :m])
        rows[k, p - 1, :m] = 1.0


@inner
def add_blocks(proba, resp, low, weight, observed, rows, work, blocks):
    """Add the sums of weight (1{i=j} p_i - p_i p_j) a_i a_j' for j >= i, with a_i the rows of expert i.

    Weights and rows (n_experts, p, .) are those of the chunk from ``low`` on, blocks is (n_experts, p, n_experts, p).
    If ``observed``, the same of the responsibilities is subtracted. Blocks i = j get their upper triangles alone.
    """
    n_experts, m, p = len(proba), len(weight), rows.shape[1]
    high = low + m
    factor, product = work[0, :m], work[1, :m]
    for i in range(n_experts):
        for j in range(i, n_experts):
            if i == j:
                _own_weight(proba[i, low:high], weight, factor)
                if observed:
                    _less_own(resp[i, low:high], weight, factor)
            else:
                negative_product(weight, proba[i, low:high], proba[j, low:high], factor)
                if observed:
                    _less_pair(resp[i, low:high], resp[j, low:high], weight, factor)
            for a in range(p - 1):
                multiply(factor, rows[i, a, :m], product)
                add_dots(product, rows[j], a if i == j else ZERO, ZERO, blocks[i, a, j])
            add_dots(factor, rows[j], p - 1 if i == j else ZERO, ZERO, blocks[i, p - 1, j])


@inner
def _add_bends(proba, resp, bend, weight, tau, Z, low, work, blocks):
    m, p, high = len(weight), len(Z), low + len(weight)
    factor, product = work[0, :m], work[1, :m]
    for i in range(len(proba)):
        _bend_weight(proba[i, low:high], resp[i, low:high], bend[i, low:high], weight, tau, factor)
        for a in range(p - 1):
            multiply(factor, Z[a, low:high], product)
            add_dots(product, Z[: p - 1], a, low, blocks[i, a, i])


@inner
def add_scale(proba, resp, low, level, at, weight, observed, rows, work, side):
    """Add the covariances of rows and levels to side (n_experts, p); return the variances of the levels.

    Levels of the chunk from ``low`` on are in the columns from ``at`` on; otherwise all is as in `add_blocks`.
    """
    m, high, end, corner = len(weight), low + len(weight), at + len(weight), 0.0
    spread, mean, other = work[0, :m], work[1, :m], work[2, :m]
    mean[:] = 0.0
    other[:] = 0.0
    for i in range(len(proba)):
        add_product(proba[i, low:high], level[i, at:end], mean)
        if observed:
            add_product(resp[i, low:high], level[i, at:end], other)
    for i in range(len(proba)):
        _spread(proba[i, low:high], level[i, at:end], mean, weight, spread)
        if observed:
            _less_spread(resp[i, low:high], level[i, at:end], other, weight, spread)
        add_dots(spread, rows[i], ZERO, ZERO, side[i])
        corner += dot(spread, level[i, at:end])
    return corner


@inner
def _add_temperature_bends(proba, resp, level, low, weight, tau, rows, work, side):
    """Take off the second derivatives of the scores in which tau has a part; return those by tau alone."""
    change, high, corner = work[0, : len(weight)], low + len(weight), 0.0
    for i in range(len(proba)):
        _change(proba[i, low:high], resp[i, low:high], weight, -tau, change)
        add_dots(change, rows[i], ZERO, ZERO, side[i])
        corner += 2.0 * dot(change, level[i, low:high])
    return corner


@inner
def _assembled(blocks, side, corner, tau):
    n_experts, p = side.shape
    n = n_experts * p
    out = np.empty((n + 1, n + 1))
    for a in range(n):
        for b in range(a, n):
            out[a, b] = out[b, a] = blocks[a // p, a % p, b // p, b % p] / tau**2
        out[a, n] = out[n, a] = -side[a // p, a % p] / tau**3
    out[n, n] = corner / tau**4
    return out


@kernel
def activated_information(Z, level, slope, bend, proba, resp, weight, tau, observed):
    """Return the sum over rows of weight J'(diag p - p p')J, with J the derivative of the scores, in flat order.

    If ``observed``, the same of the responsibilities is subtracted, and the scores' curvature times weight (resp - p).
    """
    (n_experts, m), p = level.shape, len(Z)
    blocks, side, corner = np.zeros((n_experts, p, n_experts, p)), np.zeros((n_experts, p)), 0.0
    rows, work = np.empty((n_experts, p, _CHUNK)), np.empty((4, _CHUNK))
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        w = weight[low:high]
        _designs(slope, Z, low, rows)
        add_blocks(proba, resp, low, w, observed, rows, work, blocks)
        corner += add_scale(proba, resp, low, level, low, w, observed, rows, work, side)
        if observed:
            _add_bends(proba, resp, bend, w, tau, Z, low, work, blocks)
            corner += _add_temperature_bends(proba, resp, level, low, w, tau, rows, work, side)
    return _assembled(blocks, side, corner, tau)
