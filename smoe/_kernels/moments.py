"""Weighted moments: what the experts' M-step and every information matrix are made of.

All are sums of products of rows of numbers. Such sums wait for loads, so that several are made in one loop.
"""

import numpy as np

from smoe._kernels._jit import ZERO, inner, kernel, reduction

_CHUNK = 512  # rows that stay in the first-level cache while all their products are taken
FEW_TERMS = 40  # with more, BLAS wins


@reduction
def _four(w0, w1, w2, w3, a, b):
    """Sums of w a b for four weights at once: the product is made once, and loads are what such sums wait for."""
    t0 = t1 = t2 = t3 = 0.0
    for i in range(len(a)):
        product = a[i] * b[i]
        t0 += w0[i] * product
        t1 += w1[i] * product
        t2 += w2[i] * product
        t3 += w3[i] * product
    return t0, t1, t2, t3


@reduction
def _two(w0, w1, a, b):
    t0 = t1 = 0.0
    for i in range(len(a)):
        product = a[i] * b[i]
        t0 += w0[i] * product
        t1 += w1[i] * product
    return t0, t1


@reduction
def _one(w, a, b):
    total = 0.0
    for i in range(len(a)):
        total += w[i] * (a[i] * b[i])
    return total


@reduction
def _four_by_two(w0, w1, w2, w3, a, b, c):
    """Sums of w a b and of w a c for four weights."""
    s0 = s1 = s2 = s3 = t0 = t1 = t2 = t3 = 0.0
    for i in range(len(a)):
        s, t = a[i] * b[i], a[i] * c[i]
        s0 += w0[i] * s
        s1 += w1[i] * s
        s2 += w2[i] * s
        s3 += w3[i] * s
        t0 += w0[i] * t
        t1 += w1[i] * t
        t2 += w2[i] * t
        t3 += w3[i] * t
    return s0, s1, s2, s3, t0, t1, t2, t3


@inner
def _add_four(weights, c, at, Z, j, low, high, out):
    """Add row j of the upper triangles for the weights c to c + 3, two columns at a time."""
    end = at + high - low
    w0, w1, w2, w3 = weights[c, at:end], weights[c + 1, at:end], weights[c + 2, at:end], weights[c + 3, at:end]
    p, k, a = len(Z), j, Z[j, low:high]
    while k + 2 <= p:
        s0, s1, s2, s3, t0, t1, t2, t3 = _four_by_two(w0, w1, w2, w3, a, Z[k, low:high], Z[k + 1, low:high])
        out[c, j, k] += s0
        out[c + 1, j, k] += s1
        out[c + 2, j, k] += s2
        out[c + 3, j, k] += s3
        out[c, j, k + 1] += t0
        out[c + 1, j, k + 1] += t1
        out[c + 2, j, k + 1] += t2
        out[c + 3, j, k + 1] += t3
        k += 2
    if k < p:
        s0, s1, s2, s3 = _four(w0, w1, w2, w3, a, Z[k, low:high])
        out[c, j, k] += s0
        out[c + 1, j, k] += s1
        out[c + 2, j, k] += s2
        out[c + 3, j, k] += s3


@reduction
def _two_by_four(w0, w1, a, b, c, d, e):
    """Sums of w a b to w a e for two weights."""
    s0 = s1 = t0 = t1 = u0 = u1 = v0 = v1 = 0.0
    for i in range(len(a)):
        x, y = w0[i] * a[i], w1[i] * a[i]
        s0 += x * b[i]
        s1 += y * b[i]
        t0 += x * c[i]
        t1 += y * c[i]
        u0 += x * d[i]
        u1 += y * d[i]
        v0 += x * e[i]
        v1 += y * e[i]
    return s0, s1, t0, t1, u0, u1, v0, v1


@inner
def _add_two(w0, w1, c, Z, j, low, high, out):
    """Add row j of the upper triangles for the weights c and c + 1, four columns at a time."""
    p, k, a = len(Z), j, Z[j, low:high]
    while k + 4 <= p:
        b0, b1, b2, b3 = Z[k, low:high], Z[k + 1, low:high], Z[k + 2, low:high], Z[k + 3, low:high]
        s0, s1, t0, t1, u0, u1, v0, v1 = _two_by_four(w0, w1, a, b0, b1, b2, b3)
        out[c, j, k] += s0
        out[c, j, k + 1] += t0
        out[c, j, k + 2] += u0
        out[c, j, k + 3] += v0
        out[c + 1, j, k] += s1
        out[c + 1, j, k + 1] += t1
        out[c + 1, j, k + 2] += u1
        out[c + 1, j, k + 3] += v1
        k += 4
    while k < p:
        s0, s1 = _two(w0, w1, a, Z[k, low:high])
        out[c, j, k] += s0
        out[c + 1, j, k] += s1
        k += 1


@reduction
def _line(w, x):
    """Sums of w, w x and w x^2."""
    s0 = s1 = s2 = 0.0
    for i in range(len(x)):
        wx = w[i] * x[i]
        s0 += w[i]
        s1 += wx
        s2 += wx * x[i]
    return s0, s1, s2


@reduction
def _two_lines(w0, w1, x):
    """Do it for two weights."""
    s0 = s1 = s2 = t0 = t1 = t2 = 0.0
    for i in range(len(x)):
        a, b = w0[i] * x[i], w1[i] * x[i]
        s0 += w0[i]
        s1 += a
        s2 += a * x[i]
        t0 += w1[i]
        t1 += b
        t2 += b * x[i]
    return s0, s1, s2, t0, t1, t2


@inner
def _add_lines(weights, at, x, out):
    """Add the grams of a design of one feature and a row of ones, all three sums in one loop."""
    n_weights, end, c = len(weights), at + len(x), 0
    while c + 2 <= n_weights:
        s0, s1, s2, t0, t1, t2 = _two_lines(weights[c, at:end], weights[c + 1, at:end], x)
        out[c, 0, 0] += s2
        out[c, 0, 1] += s1
        out[c, 1, 1] += s0
        out[c + 1, 0, 0] += t2
        out[c + 1, 0, 1] += t1
        out[c + 1, 1, 1] += t0
        c += 2
    if c < n_weights:
        s0, s1, s2 = _line(weights[c, at:end], x)
        out[c, 0, 0] += s2
        out[c, 0, 1] += s1
        out[c, 1, 1] += s0


@inner
def add_grams(weights, at, Z, low, high, out):
    """Add the upper triangles of weights[c] z z' over the rows from low to high of a design Z, whose last row is ones.

    The weights of these rows are in the columns from ``at`` on.
    """
    n_weights, p, end, c = len(weights), len(Z), at + high - low, ZERO
    if p == 2:
        _add_lines(weights, at, Z[0, low:high], out)
        return
    while c + 4 <= n_weights:
        for j in range(p):
            _add_four(weights, c, at, Z, j, low, high, out)
        c += 4
    if c + 2 <= n_weights:
        w0, w1 = weights[c, at:end], weights[c + 1, at:end]
        for j in range(p):
            _add_two(w0, w1, c, Z, j, low, high, out)
        c += 2
    if c < n_weights:
        for j in range(p):
            for k in range(j, p):
                out[c, j, k] += _one(weights[c, at:end], Z[j, low:high], Z[k, low:high])


@reduction
def _cross(w, x, y):
    """Sums of w x y, w y and w y^2."""
    s0 = s1 = s2 = 0.0
    for i in range(len(x)):
        wy = w[i] * y[i]
        s0 += wy * x[i]
        s1 += wy
        s2 += wy * y[i]
    return s0, s1, s2


@inner
def add_cross(weights, at, Z, y, low, high, out):
    """Add the sums of weights[c] z y, and last of weights[c] y^2, (n_weights, p + 1); Z as in `add_grams`."""
    end, p = at + high - low, len(Z)
    b = y[low:high]
    if p == 2:
        for c in range(len(weights)):
            s0, s1, s2 = _cross(weights[c, at:end], Z[0, low:high], b)
            out[c, 0] += s0
            out[c, 1] += s1
            out[c, 2] += s2
        return
    for j in range(p + 1):
        a, c = b if j == p else Z[j, low:high], 0
        while c + 4 <= len(weights):
            w0, w1, w2, w3 = weights[c, at:end], weights[c + 1, at:end], weights[c + 2, at:end], weights[c + 3, at:end]
            t0, t1, t2, t3 = _four(w0, w1, w2, w3, a, b)
            out[c, j] += t0
            out[c + 1, j] += t1
            out[c + 2, j] += t2
            out[c + 3, j] += t3
            c += 4
        if c + 2 <= len(weights):
            t0, t1 = _two(weights[c, at:end], weights[c + 1, at:end], a, b)
            out[c, j] += t0
            out[c + 1, j] += t1
            c += 2
        if c < len(weights):
            out[c, j] += _one(weights[c, at:end], a, b)


@inner
def mirror(grams):
    """Copy upper triangles to the lower ones."""
    for c in range(len(grams)):
        for j in range(grams.shape[1]):
            for k in range(j):
                grams[c, j, k] = grams[c, k, j]


@kernel
def _grams(weights, Z):
    n_weights, m = weights.shape
    out = np.zeros((n_weights, len(Z), len(Z)))
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        add_grams(weights, low, Z, low, high, out)
    mirror(out)
    return out


def weighted_grams(weights, Z):
    """Sum over rows of weights[c] z z': (n_weights, m), (p, m) -> (n_weights, p, p)."""
    if len(Z) <= FEW_TERMS:
        return _grams(np.ascontiguousarray(weights), np.ascontiguousarray(Z))  # kinds of arrays: see `kernel`
    return np.array([(w * Z) @ Z.T for w in weights]).reshape(-1, len(Z), len(Z))


@reduction
def dot(a, b):
    """Sum of a b."""
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@reduction
def total(a):
    """Sum of a."""
    out = 0.0
    for i in range(len(a)):
        out += a[i]
    return out


@reduction
def _dot_four(a, b0, b1, b2, b3):
    t0 = t1 = t2 = t3 = 0.0
    for i in range(len(a)):
        t0 += a[i] * b0[i]
        t1 += a[i] * b1[i]
        t2 += a[i] * b2[i]
        t3 += a[i] * b3[i]
    return t0, t1, t2, t3


@inner
def add_dots(a, rows, first, at, out):
    """out[c] += sum of a rows[c] for c >= first, the rows' columns being those from ``at`` on."""
    n, c, low, high = len(rows), first, at, at + len(a)
    while c + 4 <= n:
        b0, b1, b2, b3 = rows[c, low:high], rows[c + 1, low:high], rows[c + 2, low:high], rows[c + 3, low:high]
        t0, t1, t2, t3 = _dot_four(a, b0, b1, b2, b3)
        out[c] += t0
        out[c + 1] += t1
        out[c + 2] += t2
        out[c + 3] += t3
        c += 4
    while c < n:
        out[c] += dot(a, rows[c, low:high])
        c += 1


@inner
def multiply(a, b, out):
    """Out = a b."""
    for i in range(len(out)):
        out[i] = a[i] * b[i]


@kernel
def _lines(resp, parts, Z):
    n_parts, k, m = parts.shape
    out, product = np.zeros((n_parts, k, len(Z))), np.empty(_CHUNK)
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        here = product[: high - low]
        for a in range(n_parts):
            for i in range(k):
                multiply(resp[i, low:high], parts[a, i, low:high], here)
                add_dots(here, Z, 0, low, out[a, i])
    return out


def weighted_lines(resp, parts, Z):
    """Sum over rows of resp[k] parts[a, k] z: (k, m), (n_parts, k, m), (p, m) -> (n_parts, k, p)."""
    if len(Z) <= FEW_TERMS:
        return _lines(*(np.ascontiguousarray(array) for array in (resp, parts, Z)))
    n_parts, k, m = parts.shape
    return ((resp * parts).reshape(n_parts * k, m) @ Z.T).reshape(n_parts, k, len(Z))


@inner
def add_product(a, b, out):
    """Add a b to out."""
    for i in range(len(out)):
        out[i] += a[i] * b[i]


@inner
def negative_product(weight, a, b, out):
    """Out = -weight a b."""
    for i in range(len(out)):
        out[i] = -weight[i] * a[i] * b[i]


@kernel
def spread_pairs(grams, n_experts):
    """Return the matrix (n_experts p, n_experts p) with these blocks (n_pairs, p, p) and block rows that sum to zero.

    Pairs i < j come in row-major order; each block is symmetric.
    """
    p, pair = grams.shape[1], 0
    out = np.zeros((n_experts * p, n_experts * p))
    for i in range(n_experts):
        for j in range(i + 1, n_experts):
            for a in range(p):
                for b in range(p):
                    value = grams[pair, a, b]
                    out[i * p + a, j * p + b] = value
                    out[j * p + a, i * p + b] = value
                    out[i * p + a, i * p + b] -= value
                    out[j * p + a, j * p + b] -= value
            pair += 1
    return out


@kernel
def covariance_weights(proba, weight):
    """Return weight times the off-diagonal entries -p_i p_j of diag(p) - p p', pairs i < j in row-major order."""
    n_experts, m = proba.shape
    out, pair = np.empty((n_experts * (n_experts - 1) // 2, m)), 0
    for i in range(n_experts):
        for j in range(i + 1, n_experts):
            negative_product(weight, proba[i], proba[j], out[pair])
            pair += 1
    return out
