"""From rows of X to columns of a design, and from a design to linear predictors."""

import numpy as np

from smoe._kernels._jit import inner, kernel

_CHUNK = 512  # rows that stay in the first-level cache while all their predictors are made
_TILE = 2048  # entries of X that stay there while they are turned from rows to columns
_FEW_TERMS = 6  # with more, BLAS wins (measured with 2 to 16 experts)


@inner
def standardise(values, shift, inverse_scale, out):
    """Out = (values - shift) * inverse_scale."""
    for i in range(len(out)):
        out[i] = (values[i] - shift) * inverse_scale


@kernel
def standard_rows(X, low, high, columns, shift, inverse_scale):
    """Return the design (n_columns + 1, high - low) of these rows of X (n, d): standardised columns, then ones."""
    p, m = len(columns), high - low
    out = np.empty((p + 1, m))
    tile = max(8, _TILE // max(p, 1))
    for start in range(0, m, tile):
        end = min(start + tile, m)
        for j in range(p):
            standardise(X[low + start : low + end, columns[j]], shift[j], inverse_scale[j], out[j, start:end])
    out[p, :] = 1.0
    return out


@inner
def _subtract(out, factor, z):
    for i in range(len(out)):
        out[i] -= factor * z[i]


@inner
def _multiply(out, factor):
    for i in range(len(out)):
        out[i] *= factor


@kernel
def rotate(Z, factor, m):
    """Replace the first rows of Z by Q, with Z = R'Q and R an upper triangular factor; one of size zero does nothing.

    Row j is relieved of its share of the rows before it, then scaled. Equal columns of Z stay equal.
    """
    for low in range(0, m if len(factor) else 0, _CHUNK):
        high = min(low + _CHUNK, m)
        for j in range(len(factor)):
            for i in range(j):
                if factor[i, j] != 0.0:
                    _subtract(Z[j, low:high], factor[i, j], Z[i, low:high])
            _multiply(Z[j, low:high], 1.0 / factor[j, j])


@inner
def _start(out, constant, slope, z):
    for i in range(len(out)):
        out[i] = constant + slope * z[i]


@inner
def _add(out, slope, z):
    for i in range(len(out)):
        out[i] += slope * z[i]


@inner
def _add_two(out, other, a, b, c, d, y, z):
    """Two features for two experts: half the loads and stores."""
    for i in range(len(out)):
        out[i] = out[i] + a * y[i] + b * z[i]
        other[i] = other[i] + c * y[i] + d * z[i]


@inner
def _add_four(out, other, a, b, w, x, y, z):
    """Four features for two experts, with the slopes a and b."""
    a0, a1, a2, a3, b0, b1, b2, b3 = a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]
    for i in range(len(out)):
        out[i] = out[i] + a0 * w[i] + a1 * x[i] + a2 * y[i] + a3 * z[i]
        other[i] = other[i] + b0 * w[i] + b1 * x[i] + b2 * y[i] + b3 * z[i]


@inner
def fill_predictors(coef, intercept, Z, low, high, out, at):
    """Put coef[k]'z + intercept[k] for the rows from low to high into the columns of out from ``at`` on."""
    n_experts, p = coef.shape
    end = at + high - low
    for k in range(n_experts):
        if p == 0:
            out[k, at:end] = intercept[k]
        else:
            _start(out[k, at:end], intercept[k], coef[k, 0], Z[0, low:high])
    paired = 0 if p < 3 else n_experts - n_experts % 2
    for k in range(0, paired, 2):
        row, other = out[k, at:end], out[k + 1, at:end]
        n_four = (p - 1) // 4 * 4
        for j in range(1, 1 + n_four, 4):
            rows = Z[j, low:high], Z[j + 1, low:high], Z[j + 2, low:high], Z[j + 3, low:high]
            _add_four(row, other, coef[k, j : j + 4], coef[k + 1, j : j + 4], *rows)
        for j in range(1 + n_four, p - 1, 2):
            a, b, c, d = coef[k, j], coef[k, j + 1], coef[k + 1, j], coef[k + 1, j + 1]
            _add_two(row, other, a, b, c, d, Z[j, low:high], Z[j + 1, low:high])
        if p % 2 == 0:
            _add(row, coef[k, p - 1], Z[p - 1, low:high])
            _add(other, coef[k + 1, p - 1], Z[p - 1, low:high])
    for k in range(paired, n_experts):
        for j in range(1, p):
            _add(out[k, at:end], coef[k, j], Z[j, low:high])


@kernel
def _predictors(coef, intercept, Z):
    m = Z.shape[1]
    out = np.empty((len(coef), m))
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        fill_predictors(coef, intercept, Z, low, high, out, low)
    return out


def predictors(coef, intercept, Z):
    """Return coef @ features + intercept, (n_experts, m), from a design whose last row is ones."""
    if len(Z) <= _FEW_TERMS:
        return _predictors(coef.copy(), intercept.copy(), np.ascontiguousarray(Z))  # kinds of arrays: see `kernel`
    out = coef @ Z[:-1]
    out += intercept[:, None]
    return out


@kernel
def standard_values(y, shift, inverse_scale):
    """Return the standardised values, (m,)."""
    out = np.empty(len(y))
    standardise(y, shift, inverse_scale, out)
    return out
