"""Random subsets of one size whose probabilities are proportional to the product of their members' odds.

All is sums of positive terms, taken as logarithms: odds may be as large or as small as they like. An element of log
odds minus infinity is never in. Rows are the inner loops, which vectorise.
"""

import math

import numpy as np

from smoe._kernels._jit import inner, kernel
from smoe._kernels.elementary import exp, log_add
from smoe._kernels.posterior import copy

__all__ = ["inclusion", "inclusion_bends"]

_CHUNK = 64  # rows whose sums over subsets stay in the cache


@inner
def _log_add(a, b, out):
    """Add exp(a + b) to exp(out)."""
    for i in range(len(out)):
        out[i] = log_add(out[i], a[i] + b[i])


@inner
def _add(a, out):
    for i in range(len(out)):
        out[i] += a[i]


@inner
def _sums_without_each(u, n, forward, backward, out):
    """Fill out with the logs of the elementary symmetric polynomials of degree n of all odds but one."""
    forward[0] = -np.inf
    backward[:] = -np.inf
    forward[:, 0] = 0.0
    backward[0] = 0.0
    for i in range(len(u)):
        for r in range(1, n + 1):
            copy(forward[i, r], forward[i + 1, r])
            _log_add(u[i], forward[i, r - 1], forward[i + 1, r])
    for i in range(len(u) - 1, -1, -1):
        out[i] = -np.inf
        for r in range(n + 1):
            _log_add(forward[i, r], backward[n - r], out[i])
        for r in range(n, 0, -1):
            _log_add(u[i], backward[r - 1], backward[r])


@inner
def _normalise(log_n, total, out):
    for i in range(len(out)):
        out[i] = min(out[i] + (log_n - total[i]), 0.0)


@inner
def _include(u, n, work, out):
    """Fill out with the logs of the probabilities of being among n elements, all (n_experts, m)."""
    forward, backward, zero, total = work
    if n < 1:
        out[:] = -np.inf
        return
    _sums_without_each(u, n - 1, forward, backward, out)
    total[:] = -np.inf
    for i in range(len(u)):
        _add(u[i], out[i])
        _log_add(out[i], zero, total)
    for i in range(len(u)):
        _normalise(math.log(n), total, out[i])


@inner
def _room(k, n):
    """Return room for sums over subsets of a chunk of rows."""
    return np.empty((k + 1, n + 1, _CHUNK)), np.empty((n + 1, _CHUNK)), np.zeros(_CHUNK), np.empty(_CHUNK)


@inner
def _read(u, low, v):
    """Put a chunk of rows into v; where there are no more rows, zeros."""
    m = min(v.shape[1], u.shape[1] - low)
    for i in range(len(u)):
        v[i, m:] = 0.0
        copy(u[i, low : low + m], v[i, :m])
    return m


@inner
def _difference(own, other, out):
    for i in range(len(out)):
        out[i] = exp(other[i]) - exp(own[i])


@inner
def _rest(own, out):
    for i in range(len(out)):
        out[i] = 1.0 - exp(own[i])


@kernel
def inclusion(u, n, sloping):
    """Return the logs of the probabilities of being among the n elements, (n_experts, m), given log odds u.

    If ``sloping`` also their derivatives, the second axis, by the log odds, the first: (n_experts, n_experts, m).
    """
    k, m = u.shape
    value, slopes = np.empty((k, m)), np.empty((k if sloping else 0, k, m))
    v, own, rest, work = np.empty((k, _CHUNK)), np.empty((k, _CHUNK)), np.empty((k, _CHUNK)), _room(k, n)
    for low in range(0, m, _CHUNK):
        width = _read(u, low, v)
        _include(v, n, work, own)
        for i in range(k):
            copy(own[i, :width], value[i, low : low + width])
        for i in range(len(slopes)):
            v[i] = -np.inf
            _include(v, n - 1, work, rest)
            copy(u[i, low : low + width], v[i, :width])
            v[i, width:] = 0.0
            for j in range(k):
                out = slopes[j, i, low : low + width]
                if i == j:
                    _rest(own[j, :width], out)
                else:
                    _difference(own[j, :width], rest[j, :width], out)
    return value, slopes


@inner
def _add_joint(scale, own, other, joint, out):
    for i in range(len(out)):
        out[i] += scale[i] * (exp(joint[i]) - exp(own[i] + other[i]))


@inner
def _sum(a, b, out):
    for i in range(len(out)):
        out[i] = a[i] + b[i]


@inner
def _add_covariance(scale, v, n, without, work, own, rest, held, out):
    """Add scale times the covariances of being among n, by pairs j <= h; v is restored.

    ``without`` is the element that is never in, or -1.
    """
    _include(v, n, work, own)
    pair, joint = 0, work[3]
    for j in range(len(v)):
        if j != without:
            copy(v[j], held)
            v[j] = -np.inf
            _include(v, n - 1, work, rest)
            copy(held, v[j])
        for h in range(j, len(v)):
            if j != without and h != without:
                _sum(own[j], work[2] if h == j else rest[h], joint)
                _add_joint(scale, own[j], own[h], joint, out[pair])
            pair += 1


@kernel
def inclusion_bends(u, n, R):
    """Return the second derivatives of the sum of R * log inclusion by pairs j <= h of log odds, (n_pairs, m)."""
    k, m = u.shape
    n_pairs = k * (k + 1) // 2
    out, row, total, held = np.empty((n_pairs, m)), np.empty((n_pairs, _CHUNK)), np.empty(_CHUNK), np.empty(_CHUNK)
    v, own, rest, scale = np.empty((k, _CHUNK)), np.empty((k, _CHUNK)), np.empty((k, _CHUNK)), np.empty((k, _CHUNK))
    work, other = _room(k, n), np.empty(_CHUNK)
    for low in range(0, m, _CHUNK):
        width = _read(u, low, v)
        _read(R, low, scale)
        row[:] = 0.0
        total[:] = 0.0
        for i in range(k):
            copy(v[i], other)
            v[i] = -np.inf
            _add_covariance(scale[i], v, n - 1, i, work, own, rest, held, row)
            copy(other, v[i])
            _take_off(scale[i], total)
        _add_covariance(total, v, n, -1, work, own, rest, held, row)
        for pair in range(n_pairs):
            copy(row[pair, :width], out[pair, low : low + width])
    return out


@inner
def _take_off(a, out):
    for i in range(len(out)):
        out[i] -= a[i]
