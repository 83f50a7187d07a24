"""Random subsets of one size whose probabilities are proportional to the product of their members' odds, row by row.

All is sums of positive terms, taken as logarithms: odds may be as large or as small as they like. An element of log
odds minus infinity is never in.
"""

import math

import numpy as np

from smoe._kernels._jit import inner, kernel
from smoe._kernels.elementary import log_add

__all__ = ["inclusion_bends", "inclusion_slopes", "log_inclusion"]


@inner
def _sums_without_each(u, n, forward, backward, out):
    """Fill out with the logs of the elementary symmetric polynomials of degree n of all odds but one."""
    forward[0] = backward[:] = -np.inf
    forward[:, 0] = backward[0] = 0.0
    for i in range(len(u)):
        for r in range(1, n + 1):
            forward[i + 1, r] = log_add(forward[i, r], u[i] + forward[i, r - 1])
    for i in range(len(u) - 1, -1, -1):
        out[i] = -np.inf
        for r in range(n + 1):
            out[i] = log_add(out[i], forward[i, r] + backward[n - r])
        for r in range(n, 0, -1):
            backward[r] = log_add(backward[r], u[i] + backward[r - 1])


@inner
def _include(u, n, forward, backward, out):
    """Fill out with the logs of the probabilities of being among n elements."""
    if n < 1:
        out[:] = -np.inf
        return
    _sums_without_each(u, n - 1, forward, backward, out)
    total = -np.inf
    for i in range(len(u)):
        out[i] += u[i]
        total = log_add(total, out[i])
    shift = math.log(n) - total
    for i in range(len(u)):
        out[i] = min(out[i] + shift, 0.0)


@kernel
def log_inclusion(u, n):
    """Return the logs of the probabilities of being among the n elements, both (n_experts, m); u are log odds."""
    k, m = u.shape
    forward, backward, out, row = np.empty((k + 1, n + 1)), np.empty(n + 1), np.empty((k, m)), np.empty(k)
    for r in range(m):
        _include(np.copy(u[:, r]), n, forward, backward, row)
        out[:, r] = row
    return out


@kernel
def inclusion_slopes(u, n):
    """Return their derivatives, the second axis, by the log odds, the first: (n_experts, n_experts, m)."""
    k, m = u.shape
    forward, backward = np.empty((k + 1, n + 1)), np.empty(n + 1)
    out, own, rest = np.empty((k, k, m)), np.empty(k), np.empty(k)
    for r in range(m):
        v = np.copy(u[:, r])
        _include(v, n, forward, backward, own)
        for i in range(k):
            held, v[i] = v[i], -np.inf
            _include(v, n - 1, forward, backward, rest)
            v[i] = held
            for j in range(k):
                out[j, i, r] = (1.0 if i == j else math.exp(rest[j])) - math.exp(own[j])
    return out


@inner
def _add_covariance(scale, v, n, forward, backward, own, rest, out):
    """Add scale times the covariances of being among n, by pairs j <= l; v is restored."""
    _include(v, n, forward, backward, own)
    pair = 0
    for j in range(len(v)):
        held, v[j] = v[j], -np.inf
        if held > -np.inf:
            _include(v, n - 1, forward, backward, rest)
        v[j] = held
        for h in range(j, len(v)):
            if held > -np.inf:
                joint = own[j] if h == j else own[j] + rest[h]
                out[pair] += scale * (math.exp(joint) - math.exp(own[j] + own[h]))
            pair += 1


@kernel
def inclusion_bends(u, n, R):
    """Return the second derivatives of the sum of R * log inclusion by pairs j <= h of log odds, (n_pairs, m)."""
    k, m = u.shape
    forward, backward = np.empty((k + 1, n + 1)), np.empty(n + 1)
    out, own, rest, row = np.empty((k * (k + 1) // 2, m)), np.empty(k), np.empty(k), np.empty(k * (k + 1) // 2)
    for r in range(m):
        row[:] = 0.0
        v, total = np.copy(u[:, r]), 0.0
        for i in range(k):
            held, v[i] = v[i], -np.inf
            _add_covariance(R[i, r], v, n - 1, forward, backward, own, rest, row)
            v[i] = held
            total += R[i, r]
        _add_covariance(-total, v, n, forward, backward, own, rest, row)
        out[:, r] = row
    return out
