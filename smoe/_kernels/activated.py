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
def _observe(proba, resp, level, mean, weight, tau, first, second):
    """Take off what the responsibilities spread, and the second derivatives of the scores that tau has a part in."""
    for i in range(len(first)):
        change = weight[i] * (resp[i] - proba[i]) * tau
        spread = first[i] - weight[i] * resp[i] * (level[i] - mean[i])
        first[i] = spread - change
        second[i] = spread - 2.0 * change


@inner
def _bend_weight(proba, resp, bend, weight, tau, out):
    for i in range(len(out)):
        out[i] = weight[i] * (proba[i] - resp[i]) * bend[i] * tau


@inner
def _designs(slope, Z, low, rows):
    """Fill rows (n_experts, p, .) with slope x and 1."""
    m, p = slope.shape[1], len(Z)
    for k in range(len(slope)):
        for a in range(p - 1):
            multiply(slope[k], Z[a, low : low + m], rows[k, a, :m])
        rows[k, p - 1, :m] = 1.0


@inner
def _add_blocks(proba, resp, weight, observed, rows, work, blocks):
    n_experts, m, p = len(proba), len(weight), rows.shape[1]
    factor, product = work[0, :m], work[1, :m]
    for i in range(n_experts):
        for j in range(i, n_experts):
            if i == j:
                _own_weight(proba[i], weight, factor)
                if observed:
                    _less_own(resp[i], weight, factor)
            else:
                negative_product(weight, proba[i], proba[j], factor)
                if observed:
                    _less_pair(resp[i], resp[j], weight, factor)
            for a in range(p - 1):
                multiply(factor, rows[i, a, :m], product)
                add_dots(product, rows[j], a if i == j else ZERO, ZERO, blocks[i, a, j])
            add_dots(factor, rows[j], p - 1 if i == j else ZERO, ZERO, blocks[i, p - 1, j])


@inner
def _add_bends(proba, resp, bend, weight, tau, Z, low, work, blocks):
    m, p = len(weight), len(Z)
    factor, product = work[0, :m], work[1, :m]
    for i in range(len(proba)):
        _bend_weight(proba[i], resp[i], bend[i], weight, tau, factor)
        for a in range(p - 1):
            multiply(factor, Z[a, low : low + m], product)
            add_dots(product, Z[: p - 1], a, low, blocks[i, a, i])


@inner
def _add_temperature(proba, resp, level, weight, tau, observed, rows, work, side):
    """Add to the sums with the derivatives by the slopes and the intercept, side (n_experts, p); return that by tau."""
    m, corner = len(weight), 0.0
    first, second, mean, other = work[0, :m], work[1, :m], work[2, :m], work[3, :m]
    mean[:] = 0.0
    other[:] = 0.0
    for i in range(len(proba)):
        add_product(proba[i], level[i], mean)
        if observed:
            add_product(resp[i], level[i], other)
    for i in range(len(proba)):
        _spread(proba[i], level[i], mean, weight, first)
        if observed:
            _observe(proba[i], resp[i], level[i], other, weight, tau, first, second)
        add_dots(first, rows[i], ZERO, ZERO, side[i])
        corner += dot(second if observed else first, level[i])
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
        q, r, w, levels = proba[:, low:high], resp[:, low:high], weight[low:high], level[:, low:high]
        _designs(slope[:, low:high], Z, low, rows)
        _add_blocks(q, r, w, observed, rows, work, blocks)
        corner += _add_temperature(q, r, levels, w, tau, observed, rows, work, side)
        if observed:
            _add_bends(q, r, bend[:, low:high], w, tau, Z, low, work, blocks)
    return _assembled(blocks, side, corner, tau)
