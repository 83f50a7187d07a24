"""Weighted least squares from moments, one regression per expert."""

import numpy as np

from smoe._kernels._jit import kernel


@kernel
def residual_moments(gram, cross, power, coef, intercept):
    """Return the sums of w z (y - line), (k, p), and of w (y - line)^2, (k,), from those of w z z', w z y and w y^2."""
    k, p = cross.shape
    pull, square = np.empty((k, p)), np.empty(k)
    for e in range(k):
        square[e] = power[e]
        for a in range(p):
            total = cross[e, a] - gram[e, a, p - 1] * intercept[e]
            for b in range(p - 1):
                total -= gram[e, a, b] * coef[e, b]
            pull[e, a] = total
            square[e] -= (coef[e, a] if a < p - 1 else intercept[e]) * (cross[e, a] + total)
        square[e] = max(square[e], 0.0)
    return pull, square


@kernel
def curvature(gram, cross, power, weight, coef, intercept, variance):
    """Return minus the second derivatives by the line and the variance, (k, p + 1, p + 1)."""
    k, p = cross.shape
    out = np.empty((k, p + 1, p + 1))
    pull, square = residual_moments(gram, cross, power, coef, intercept)
    for e in range(k):
        precision = 1.0 / variance[e]
        for a in range(p):
            for b in range(p):
                out[e, a, b] = gram[e, a, b] * precision
            out[e, a, p] = out[e, p, a] = pull[e, a] * precision**2
        out[e, p, p] = (square[e] * precision - 0.5 * weight[e]) * precision**2
    return out


@kernel
def least_squares(gram, cross, power, coef, intercept, variance, floor, tol):
    """Return slopes, intercepts and ML variances.

    Directions whose share of an expert's largest moment is below ``tol`` keep their coefficients; an expert without
    rows keeps everything.
    """
    k, p = cross.shape
    new_coef, new_intercept, new_variance = np.copy(coef), np.copy(intercept), np.copy(variance)
    pull, _ = residual_moments(gram, cross, power, coef, intercept)
    for e in range(k):
        values, vectors = np.linalg.eigh(np.copy(gram[e]))
        for a in range(p):
            if values[a] > tol * max(values[p - 1], 1e-300):
                along = 0.0
                for b in range(p):
                    along += vectors[b, a] * pull[e, b]
                along /= values[a]
                for b in range(p - 1):
                    new_coef[e, b] += along * vectors[b, a]
                new_intercept[e] += along * vectors[p - 1, a]
    _, square = residual_moments(gram, cross, power, new_coef, new_intercept)
    for e in range(k):
        if gram[e, p - 1, p - 1] > 0.0:
            new_variance[e] = square[e] / gram[e, p - 1, p - 1]
        new_variance[e] = max(new_variance[e], floor)
    return new_coef, new_intercept, new_variance
