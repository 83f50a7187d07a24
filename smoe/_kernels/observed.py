"""What the covariance of the responsibilities takes off the complete-data information.

Row by row that covariance is diag(r) - r r': its rows sum to zero, so that pairs of different experts say it all.
"""

import numpy as np

from smoe._kernels._jit import ZERO, inner, kernel, reduction
from smoe._kernels.moments import add_dots, multiply

_CHUNK = 512  # rows that stay in the first-level cache while all their products are taken


@inner
def _pair(a, b, inverse, out):
    for i in range(len(out)):
        out[i] = a[i] * inverse[i] * b[i]  # in this order weights of any size do not overflow


@inner
def _own(a, inverse, out):
    for i in range(len(out)):
        out[i] = a[i] * (a[i] * inverse[i] - 1.0)


@reduction
def _nine(factor, a0, a1, a2, b0, b1, b2):
    """Sums of factor a b for three a and three b."""
    r0 = r1 = r2 = s0 = s1 = s2 = t0 = t1 = t2 = 0.0
    for i in range(len(factor)):
        x, y, z = factor[i] * a0[i], factor[i] * a1[i], factor[i] * a2[i]
        r0 += x * b0[i]
        r1 += x * b1[i]
        r2 += x * b2[i]
        s0 += y * b0[i]
        s1 += y * b1[i]
        s2 += y * b2[i]
        t0 += z * b0[i]
        t1 += z * b1[i]
        t2 += z * b2[i]
    return r0, r1, r2, s0, s1, s2, t0, t1, t2


@reduction
def _six(factor, x, b0, b1, b2):
    """Sums of factor x b and of factor b for three b."""
    r0 = r1 = r2 = s0 = s1 = s2 = 0.0
    for i in range(len(factor)):
        fx = factor[i] * x[i]
        r0 += fx * b0[i]
        r1 += fx * b1[i]
        r2 += fx * b2[i]
        s0 += factor[i] * b0[i]
        s1 += factor[i] * b1[i]
        s2 += factor[i] * b2[i]
    return r0, r1, r2, s0, s1, s2


@inner
def _add_nine(factor, a, b, at, out):
    """Add all products of an expert's three scores, with one feature, with another's, in one loop."""
    end = at + len(factor)
    a0, a1, a2, b0, b1, b2 = a[0, at:end], a[1, at:end], a[2, at:end], b[0, at:end], b[1, at:end], b[2, at:end]
    sums = _nine(factor, a0, a1, a2, b0, b1, b2)
    for i in range(9):
        out[i // 3, i % 3] += sums[i]


@inner
def _add_six(factor, x, b, out):
    """Add all products of one feature and of one with an expert's three scores, in one loop."""
    m = len(factor)
    sums = _six(factor, x, b[0, :m], b[1, :m], b[2, :m])
    for i in range(6):
        out[i // 3, i % 3] += sums[i]


@inner
def add_expert_products(resp, inverse, rows, at, work, out):
    """Add the sums of w (r_i r_j - 1{i=j} r_i) g_i g_j' for j >= i, (n_experts, width, n_experts, width).

    ``resp`` are w r (n_experts, .) and ``rows`` are g (n_experts, width, .), both in the columns from ``at`` on;
    ``inverse`` is 1/w (m,), work is (2, at least m).
    """
    n_experts, width, m = len(rows), rows.shape[1], len(inverse)
    factor, product = work[0, :m], work[1, :m]
    for i in range(n_experts):
        for j in range(i, n_experts):
            if i == j:
                _own(resp[i, at : at + m], inverse, factor)
            else:
                _pair(resp[i, at : at + m], resp[j, at : at + m], inverse, factor)
            if width == 3:
                _add_nine(factor, rows[i], rows[j], at, out[i, :, j])
            for a in range(0 if width == 3 else width):
                multiply(factor, rows[i, a, at : at + m], product)
                add_dots(product, rows[j], a if i == j else ZERO, at, out[i, a, j])


@inner
def add_cross_products(resp, inverse, Z, low, rows, work, out):
    """Add the sums of w r_i r_j z g_j' for i != j, (n_experts, p, n_experts, width); Z begins at row ``low``."""
    n_experts, m, line = len(rows), len(inverse), len(Z) == 2 and rows.shape[1] == 3
    factor, product = work[0, :m], work[1, :m]
    for i in range(n_experts):
        for j in range(i + 1, n_experts):
            _pair(resp[i, :m], resp[j, :m], inverse, factor)
            if line:
                _add_six(factor, Z[0, low : low + m], rows[j], out[i, :, j])
                _add_six(factor, Z[0, low : low + m], rows[i], out[j, :, i])
            for a in range(0 if line else len(Z)):
                multiply(factor, Z[a, low : low + m], product)
                add_dots(product, rows[j], ZERO, ZERO, out[i, a, j])
                add_dots(product, rows[i], ZERO, ZERO, out[j, a, i])


@inner
def close_expert_products(out):
    """Fill in the entries for j < i."""
    n_experts, width = out.shape[:2]
    for i in range(n_experts):
        for a in range(width):
            for j in range(i, n_experts):
                for b in range(a if i == j else 0, width):
                    out[j, b, i, a] = out[i, a, j, b]


@inner
def close_cross_products(out):
    """Fill in the entries for i = j, which are minus the sum of the others."""
    n_experts, p, _, width = out.shape
    for j in range(n_experts):
        for i in range(n_experts):
            for a in range(p if i != j else 0):
                for b in range(width):
                    out[j, a, j, b] -= out[i, a, j, b]


@kernel
def expert_products(resp, inverse, rows):
    """Return the sums of w (r_i r_j - 1{i=j} r_i) g_i g_j', (n_experts, width, n_experts, width)."""
    n_experts, width, m = rows.shape
    out, work = np.zeros((n_experts, width, n_experts, width)), np.empty((2, _CHUNK))
    for low in range(0, m, _CHUNK):
        add_expert_products(resp, inverse[low : min(low + _CHUNK, m)], rows, low, work, out)
    close_expert_products(out)
    return out
