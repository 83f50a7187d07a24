"""Log densities with their first and second derivatives by predictors and own parameters, in one loop over rows.

Formulas are those of the families of the same names, see `smoe.families.Family.pointwise`. Where rows are sorted by a
condition, both sides are evaluated and one is selected, so that loops vectorise.
"""

import math

import numpy as np

from smoe._kernels._jit import inner, kernel
from smoe._kernels.elementary import exp, log, slopes_of_ratio
from smoe._kernels.moments import multiply
from smoe._kernels.posterior import copy

_SMALLEST = 1e-100  # of u, up to which log(1 + u) / u is one
_LEAST = 1e-12  # of a share in a denominator
_NORMAL = 1e-300  # a mass whose logarithm is known


@inner
def _log1p(u):
    """log(1 + u) for u >= 0, without loss of digits."""
    more = 1.0 + u
    away = more - 1.0
    return log(more) * (u / away) if away > 0.0 else u


# Negative binomial counts ---------------------------------------------------------------------------------------------


@inner
def _terms(a, logs, shares, squares):
    for j in range(len(logs)):
        share = j / (1.0 + a * j)
        logs[j] = _log1p(a * j)
        shares[j] = share
        squares[j] = -share * share


@inner
def _before(values):
    """Put the sums over all earlier values in their place."""
    total = 0.0
    for j in range(len(values)):
        here = values[j]
        values[j] = total
        total += here


@inner
def _whole(y, out):
    """Put whole numbers into out, and return the largest."""
    most = 0
    for i in range(len(out)):
        out[i] = int(y[i])
        most = max(most, out[i])
    return most


@inner
def _look_up(table, at, out):
    for i in range(len(out)):
        out[i] = table[at[i]]


@inner
def _negative_binomial(y, eta, a, rest, one, two, value, pull, own, second, both, bend, expected, spread):
    for i in range(len(y)):
        mu = exp(eta[i])
        t = a * mu
        c = 1.0 / (1.0 + t)
        logs = _log1p(t)
        ratio = logs / t if t > _SMALLEST else 1.0
        slope, curve = slopes_of_ratio(t, c, ratio)
        mean, away = mu * c, y[i] - mu
        value[i] = (rest[i] + y[i] * (eta[i] - logs)) - mu * ratio
        pull[i] = away * c
        own[i] = one[i] - y[i] * mean - mu * mu * slope
        second[i] = mean * (1.0 + a * y[i]) * c
        both[i] = mean * away * c
        bend[i] = mu * mu * mu * curve - two[i] - y[i] * (mean * mean)
        expected[i] = mean
        spread[i] = 0.5 * (mean * mean)


@kernel
def negative_binomial_pointwise(y, eta, alpha, log_factorials):
    """Return log densities (k, m), first (2, k, m) and second derivatives and information (2, 2, k, m).

    Counts y (m,) are below the length of the table; eta is (k, m), alpha (k,).
    """
    k, m = eta.shape
    value, first = np.empty((k, m)), np.empty((2, k, m))
    second, information = np.empty((2, 2, k, m)), np.zeros((2, 2, k, m))
    at, found = np.empty(m, dtype=np.int64), np.empty((3, m))
    tables = np.empty((3, 1 + _whole(y, at)))
    for i in range(k):
        _terms(alpha[i], tables[0], tables[1], tables[2])
        for j in range(3):
            _before(tables[j])
        tables[0] -= log_factorials[: tables.shape[1]]
        for j in range(3):
            _look_up(tables[j], at, found[j])
        bends = second[0, 0, i], second[0, 1, i], second[1, 1, i], information[0, 0, i], information[1, 1, i]
        sums = found[0], found[1], found[2]
        _negative_binomial(y, eta[i], alpha[i], *sums, value[i], first[0, i], first[1, i], *bends)
        second[1, 0, i] = second[0, 1, i]
    return value, first, second, information


# Student's t ----------------------------------------------------------------------------------------------------------


@inner
def _student(y, eta, scale, kappa, constant, value, a, b, c, aa, ab, ac, bb, bc, cc, weight):
    top, slope_top, bend_top = constant[0] - math.log(scale), constant[1], constant[2]
    by, by_square = 1.0 / scale, 1.0 / (scale * scale)
    for i in range(len(y)):
        z = (y[i] - eta[i]) * by
        square = z * z
        u = kappa * square
        more = 1.0 / (1.0 + u)
        logs = _log1p(u)
        ratio = logs / u if u > _SMALLEST else 1.0
        slope, bend = slopes_of_ratio(u, more, ratio)
        pull = (1.0 + kappa) * more
        bent = pull * more
        value[i] = top - 0.5 * (square * ratio + logs)
        a[i] = pull * z * by
        b[i] = (pull * square - 1.0) * by
        c[i] = slope_top - 0.5 * (square * square * slope + square * more)
        aa[i] = bent * (1.0 - u) * by_square
        ab[i] = 2.0 * bent * z * by_square
        bb[i] = (2.0 * bent * square + pull * square - 1.0) * by_square
        across = (square - 1.0) * more * more * by
        ac[i] = across * z
        bc[i] = across * square
        cc[i] = 0.5 * (square * square * square * bend - (square * more) * (square * more)) - bend_top
        weight[i] = pull * by_square


@kernel
def student_pointwise(y, eta, scale, kappa, constants, expected):
    """Return log densities (k, m), first (3, k, m) and second derivatives and information (3, 3, k, m).

    ``kappa`` is 1/df (k,), ``constants`` (k, 3) are the logarithm of the density's constant and its derivatives by it,
    ``expected`` (k, 2) what is expected of minus the second derivatives by the scale and by kappa.
    """
    k, m = eta.shape
    value, first = np.empty((k, m)), np.empty((3, k, m))
    second, information = np.empty((3, 3, k, m)), np.zeros((3, 3, k, m))
    for i in range(k):
        lines = second[0, 0, i], second[0, 1, i], second[0, 2, i], second[1, 1, i], second[1, 2, i], second[2, 2, i]
        slopes = first[0, i], first[1, i], first[2, i]
        _student(y, eta[i], scale[i], kappa[i], constants[i], value[i], *slopes, *lines, information[0, 0, i])
        for a in range(3):
            for b in range(a):
                second[a, b, i] = second[b, a, i]
        information[1, 1, i] = expected[i, 0]
        information[2, 2, i] = expected[i, 1]
    return value, first, second, information


# More zeros -----------------------------------------------------------------------------------------------------------


@inner
def _zeros(y, share, log_prob, value, slope, corner, expected, part, across):
    """Fill log densities, what concerns the share alone, the counts' part of the density, and what crosses it."""
    rest, small, less = max(1.0 - share, _LEAST), max(share, _LEAST), math.log1p(-share)
    by_small, by_rest, none = 1.0 / (small * small), 1.0 / (rest * rest), -1.0 / rest
    for i in range(len(y)):
        more = y[i] > 0.0
        count = exp(min(log_prob[i], 0.0))
        mass = share + (1.0 - share) * count
        density = max(mass, _LEAST)
        by_mass = 1.0 / density
        of_counts = 1.0 if more else (1.0 - share) * count / density  # exactly one where no zero is added
        along = none if more else (1.0 - count) * by_mass
        value[i] = log_prob[i] + less if more or share <= 0.0 else log(max(mass, _NORMAL))
        slope[i] = along
        part[i] = of_counts
        across[i] = 0.0 if more else count * (by_mass * by_mass)
        corner[i] = along * along
        expected[i] = (1.0 - of_counts) * by_small + of_counts * by_rest


@inner
def _bent(part, second, a, b, out):
    for i in range(len(out)):
        out[i] = part[i] * (second[i] - (1.0 - part[i]) * a[i] * b[i])


@kernel
def zero_inflated_pointwise(y, share, log_prob, first, second, information):
    """Return what the counts' family (its four arrays, s own derivatives) gives with a share (k,) of zeros besides."""
    s, k, m = first.shape
    value, slopes = np.empty((k, m)), np.empty((s + 1, k, m))
    bends, expected = np.empty((s + 1, s + 1, k, m)), np.zeros((s + 1, s + 1, k, m))
    part, across = np.empty(m), np.empty(m)
    for j in range(k):
        own = value[j], slopes[s, j], bends[s, s, j], expected[s, s, j]
        _zeros(y, share[j], log_prob[j], *own, part, across)
        for a in range(s):
            multiply(part, first[a, j], slopes[a, j])
            multiply(across, first[a, j], bends[s, a, j])
            copy(bends[s, a, j], bends[a, s, j])
            for b in range(a + 1):
                _bent(part, second[a, b, j], first[a, j], first[b, j], bends[a, b, j])
                multiply(part, information[a, b, j], expected[a, b, j])
                if b < a:
                    copy(bends[a, b, j], bends[b, a, j])
                    copy(expected[a, b, j], expected[b, a, j])
    return value, slopes, bends, expected
