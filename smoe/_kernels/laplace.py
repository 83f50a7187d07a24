"""Sums over rows for gates whose scores fall with the distance from a centre.

Distances are rho = sqrt(sum of metric (z - centre)^2 + smoothing^2), scores are intercept - sharpness rho. They are
made again wherever they are needed, for rows that stay in the cache.
"""

import math

import numpy as np

from smoe._kernels._jit import ZERO, inner, kernel
from smoe._kernels.activated import add_blocks, add_scale
from smoe._kernels.moments import add_dots, dot, multiply, total

__all__ = ["laplace_information", "laplace_pull", "laplace_scores"]

_CHUNK = 256  # rows that stay in the first-level cache while all is done with them


@inner
def _add_square(z, centre, metric, out):
    for i in range(len(out)):
        away = z[i] - centre
        out[i] += away * (away * metric)


@inner
def _root(rho):
    for i in range(len(rho)):
        rho[i] = math.sqrt(rho[i])


@inner
def _fill_distance(Z, low, centre, metric, smoothing, rho):
    rho[:] = smoothing * smoothing
    for j in range(len(centre)):
        _add_square(Z[j, low : low + len(rho)], centre[j], metric[j], rho)
    _root(rho)


@inner
def _fall(intercept, sharpness, rho):
    for i in range(len(rho)):
        rho[i] = intercept - sharpness * rho[i]


@kernel
def laplace_scores(Z, centre, intercept, metric, sharpness, smoothing):
    """Return the scores, (n_experts, m)."""
    k, m = len(centre), Z.shape[1]
    out = np.empty((k, m))
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        for i in range(k):
            _fill_distance(Z, low, centre[i], metric, smoothing, out[i, low:high])
            _fall(intercept[i], sharpness, out[i, low:high])
    return out


@inner
def _divide(number, a, out):
    for i in range(len(out)):
        out[i] = number / a[i]


@inner
def _slope(z, centre, metric, steep, out):
    for i in range(len(out)):
        out[i] = (z[i] - centre) * metric * steep[i]


@inner
def _negate(a):
    for i in range(len(a)):
        a[i] = -a[i]


@inner
def _derivatives(Z, low, m, centre, metric, sharpness, smoothing, steep, level, rows):
    """Fill the derivatives of the scores by centre, rows, and by sharpness, level; steep is sharpness / rho."""
    for k in range(len(centre)):
        rho = level[k, :m]
        _fill_distance(Z, low, centre[k], metric, smoothing, rho)
        _divide(sharpness, rho, steep[k, :m])
        _negate(rho)
        for j in range(len(metric)):
            _slope(Z[j, low : low + m], centre[k, j], metric[j], steep[k, :m], rows[k, j, :m])


@inner
def _room(k, p):
    """Return room for what `_derivatives` fills; the derivatives by the intercepts stay one."""
    rows = np.empty((k, p, _CHUNK))
    rows[:, p - 1] = 1.0
    return np.empty((k, _CHUNK)), np.empty((k, _CHUNK)), rows


@kernel
def laplace_pull(R, Z, centre, metric, sharpness, smoothing):
    """Return the derivatives of the sums of R * scores (n, n_experts, m) by centre and intercept, and by sharpness."""
    (n, k, m), p = R.shape, len(Z)
    own, shared = np.zeros((n, k, p)), np.zeros(n)
    steep, level, rows = _room(k, p)
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        _derivatives(Z, low, high - low, centre, metric, sharpness, smoothing, steep, level, rows)
        for c in range(n):
            for i in range(k):
                add_dots(R[c, i, low:high], rows[i], ZERO, ZERO, own[c, i])
                shared[c] += dot(R[c, i, low:high], level[i, : high - low])
    return own, shared


@inner
def _change(proba, resp, weight, out):
    for i in range(len(out)):
        out[i] = weight[i] * (resp[i] - proba[i])


@inner
def _add_bends(proba, resp, low, weight, metric, sharpness, steep, rows, work, blocks, side):
    """Take off the second derivatives of the scores times weight (resp - p)."""
    m, p = len(weight), rows.shape[1]
    change, shrunk, product = work[0, :m], work[1, :m], work[2, :m]
    for k in range(len(proba)):
        _change(proba[k, low : low + m], resp[k, low : low + m], weight, change)
        multiply(change, steep[k, :m], shrunk)
        curve = total(shrunk)
        for a in range(p - 1):
            side[k, a] -= dot(change, rows[k, a, :m]) / sharpness
            blocks[k, a, k, a] += curve * metric[a]
            multiply(shrunk, rows[k, a, :m], product)
            for b in range(a, p - 1):
                blocks[k, a, k, b] -= dot(product, rows[k, b, :m]) / (sharpness * sharpness)


@kernel
def laplace_information(Z, centre, metric, sharpness, smoothing, proba, resp, weight, observed):
    """Return the sum over rows of weight J'(diag p - p p')J, with J the derivative of the scores, in flat order.

    If ``observed``, the same of the responsibilities is subtracted, and the scores' curvature times weight (resp - p).
    """
    (k, m), p = proba.shape, len(Z)
    blocks, side, corner = np.zeros((k, p, k, p)), np.zeros((k, p)), 0.0
    steep, level, rows = _room(k, p)
    work = np.empty((4, _CHUNK))
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        w = weight[low:high]
        _derivatives(Z, low, high - low, centre, metric, sharpness, smoothing, steep, level, rows)
        add_blocks(proba, resp, low, w, observed, rows, work, blocks)
        corner += add_scale(proba, resp, low, level, ZERO, w, observed, rows, work, side)
        if observed:
            _add_bends(proba, resp, low, w, metric, sharpness, steep, rows, work, blocks, side)
    n, width = k * p, k * p + p  # the metric is fixed: its entries are zero
    out = np.zeros((width, width))
    for a in range(n):
        for b in range(a, n):
            out[a, b] = out[b, a] = blocks[a // p, a % p, b // p, b % p]
        out[a, width - 1] = out[width - 1, a] = side[a // p, a % p]
    out[width - 1, width - 1] = corner
    return out
