"""Quantiles of mixtures of normals in one dimension, and what their modes and densest regions need too."""

import math

import numpy as np

from smoe._kernels._jit import inner, kernel
from smoe._kernels.elementary import exp

MEAN = 0  # rows of the table of one mixture
SD = 1
WEIGHT = 2
_ROOT_TWO = math.sqrt(2.0)
_DENSITY = 1.0 / math.sqrt(2.0 * math.pi)
_STEP = 1e-9
EPS = 2.0**-52
MOST_STEPS = 4096  # of any iteration: halving gets from one end of float64 to the other in 2,100


@inner
def load(weight, mean, sd, i, sign, table):
    """Put the experts of row i that have weight into the table, sorted by mean; return how many they are."""
    n = 0
    for k in range(len(weight)):
        if weight[k, i] > 0.0:
            centre, at = sign * mean[k, i], n
            while at > 0 and table[MEAN, at - 1] > centre:
                table[:3, at] = table[:3, at - 1]
                at -= 1
            table[MEAN, at], table[SD, at], table[WEIGHT, at] = centre, sd[k, i], weight[k, i]
            n += 1
    return n


@inner
def lower_tail(t):
    """Phi(t), accurate where it is small."""
    return 0.5 * math.erfc(-t / _ROOT_TWO)


@inner
def advance(value, slope, y, low, high, before, unit):
    """Return the next point of a safeguarded Newton iteration in [low, high], and whether it is the last.

    A Newton step that leaves the bracket, or is not half the last but one (``before``), is no progress: the bracket is
    cut in two. A Newton step far below the unit of length is the last: the next would be its square.
    """
    move = 0.0
    if value != 0.0:
        move = value / slope if slope != 0.0 else np.inf
    newton = y - move  # may be y by rounding, where y is large beside the unit
    if abs(move) <= _STEP * unit:
        return min(max(newton, low), high), True
    if low < newton < high and abs(2.0 * value) <= abs(before * slope):
        return newton, False
    middle = 0.5 * low + 0.5 * high  # their difference may overflow
    return middle, abs(middle - y) <= EPS * (abs(y) + unit)


@inner
def _excess(table, n, y, p):
    """Return log(F(y) / p) and its derivative.

    Experts whose mean lies below y are counted whole, less their upper tails: their sum meets p before the tails are
    added, so that a quantile between experts far apart is still the point where the two tails balance.
    """
    whole, tails, density = -p, 0.0, 0.0
    for k in range(n):
        t = (y - table[MEAN, k]) / table[SD, k]
        tail = table[WEIGHT, k] * lower_tail(-abs(t))
        if t > 0.0:
            whole += table[WEIGHT, k]
        tails += -tail if t > 0.0 else tail
        density += table[WEIGHT, k] / table[SD, k] * exp(-0.5 * t * t)
    excess = whole + tails
    if excess <= -p:
        return -np.inf, 0.0
    return math.log1p(excess / p), _DENSITY * density / (p + excess)


@inner
def _solve(table, n, p, low, high):
    """Return the root of F(y) = p in [low, high], from the right: there one expert's tail is often all of F."""
    unit = np.min(table[SD, :n])
    y, step, before, last = high, high - low, high - low, not low < high
    for _ in range(MOST_STEPS):
        if last:
            break
        value, slope = _excess(table, n, y, p)
        if value < 0.0:
            low = y
        else:
            high = y
        new, last = advance(value, slope, y, low, high, before, unit)
        before, step, y = step, new - y, new
    return y


@kernel
def normal_quantiles(weight, mean, sd, p, z, z_share, sign):
    """Return the points y (m,) below (sign 1) or above (sign -1) which each row's mixture has mass p <= 1/2.

    Weight, mean and sd are (n_experts, m). z (m,) are the standard normal's p-quantiles and z_share (n_experts, m) its
    p/weight-quantiles. The root lies below the least of the experts' p/weight-quantiles, as no other expert can take
    mass away, and between the least and the largest of their p-quantiles.
    """
    m = len(p)
    out, table = np.empty(m), np.empty((3, len(weight)))
    for i in range(m):
        low, high, single = np.inf, -np.inf, np.inf
        for k in range(len(weight)):
            if weight[k, i] > 0.0:
                centre = sign * mean[k, i]
                edge = centre + sd[k, i] * z[i]
                low, high = min(low, edge), max(high, edge)
                single = min(single, centre + sd[k, i] * z_share[k, i])
        n = load(weight, mean, sd, i, sign, table)
        out[i] = sign * (z[i] if np.isinf(z[i]) else _solve(table, n, p[i], low, max(low, min(high, single))))
    return out
