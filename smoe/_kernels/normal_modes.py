"""All modes and antimodes of mixtures of normals in one dimension.

A mixture of n normals has at most n modes in one dimension, and all of them lie between the smallest and the largest
mean. Intervals are cut in two until the range of f' or that of f'' over an interval excludes zero. The ranges are sums
of the experts' own ranges, which are known exactly: none is overlooked.

All is done in coordinates of the row's own, in which means that are huge beside the standard deviations leave digits
for these.
"""

import math

import numpy as np

from smoe._kernels._jit import inner, kernel
from smoe._kernels.elementary import exp
from smoe._kernels.normal_mixture import EPS, MEAN, MOST_STEPS, SD, WEIGHT, advance, load

LOG_DENSITY = 3  # rows of the table: log(w / sd), log(w / sd^2)
_LOG_SLOPE = 4
_PLACE = 5  # the mean in the user's units
N_ROWS = 6
_STACK = 2400
_MOST_INTERVALS = 1_000_000  # looked at; some dozens for each expert are usual
_GAP = 200.0  # largest standard deviations: nothing reaches from one side to the other
_NARROWEST = 1e-140  # of the largest sd: its inverse square is a number
_RESOLVED = 1e-13  # of the distance from the origin: a narrower expert would have no width there
_SHORT = 1e-5  # of the sd: closer stationary points differ by less than rounding in height
_NEGLIGIBLE = -40.0  # log of a share that is less than rounding
_ROOT_THREE = math.sqrt(3.0)


@inner
def _place(table, start, end, step, unit):
    """Put the means from ``start`` to ``end`` into coordinates whose origin is that of ``start``; narrow wide gaps."""
    anchor, offset = table[_PLACE, start], 0.0
    table[MEAN, start] = 0.0
    for k in range(start + step, end, step):
        if abs(table[_PLACE, k] - table[_PLACE, k - step]) > _GAP * unit:
            anchor, offset = table[_PLACE, k], table[MEAN, k - step] + step * _GAP
        table[MEAN, k] = offset + (table[_PLACE, k] - anchor) / unit


@inner
def place_back(table, n, unit, y):
    """Return a point in the user's units, by its distance from the nearest mean."""
    nearest = 0
    for k in range(1, n):
        if abs(y - table[MEAN, k]) < abs(y - table[MEAN, nearest]):
            nearest = k
    return table[_PLACE, nearest] + unit * (y - table[MEAN, nearest])


@inner
def prepare(weight, mean, sd, i, table):
    """Load row i and the logarithms that the slope and the density need; return the number of experts and the unit.

    Coordinates are those of `place_back`: the unit is the largest standard deviation, the origin the mean of the
    narrowest expert, and gaps between neighbours that no expert reaches across are narrowed.
    """
    n, unit, narrowest = load(weight, mean, sd, i, 1.0, table), 0.0, 0
    for k in range(n):
        table[_PLACE, k] = table[MEAN, k]
        unit = max(unit, table[SD, k])
        narrowest = k if table[SD, k] < table[SD, narrowest] else narrowest
    _place(table, narrowest, n, 1, unit)
    _place(table, narrowest, -1, -1, unit)
    for k in range(n):
        table[SD, k] = max(table[SD, k] / unit, _NARROWEST, _RESOLVED * abs(table[MEAN, k]))
        log_sd = math.log(table[SD, k])
        table[LOG_DENSITY, k] = math.log(table[WEIGHT, k]) - log_sd
        table[_LOG_SLOPE, k] = table[LOG_DENSITY, k] - log_sd
    return n, unit


@inner
def _slope(table, n, y):
    """Return f' and f'' at y, both over the same positive number."""
    top = -np.inf
    for k in range(n):
        t = (y - table[MEAN, k]) / table[SD, k]
        top = max(top, table[_LOG_SLOPE, k] - 0.5 * t * t)
    first, second = 0.0, 0.0
    for k in range(n):
        t = (y - table[MEAN, k]) / table[SD, k]
        size = exp(table[_LOG_SLOPE, k] - 0.5 * t * t - top)
        first -= t * size
        second += (t * t - 1.0) * size / table[SD, k]
    return first, second


@inner
def _largest(table, n, a, b):
    """Return the log of the largest of the experts' sizes over [a, b], and the smallest sd among those that matter."""
    top, narrowest = -np.inf, np.inf
    for turn in range(2):
        for k in range(n):
            nearest = max(a - table[MEAN, k], table[MEAN, k] - b, 0.0) / table[SD, k]
            size = table[_LOG_SLOPE, k] - 0.5 * nearest * nearest
            if turn == 0:
                top = max(top, size)
            elif size > top + _NEGLIGIBLE:
                narrowest = min(narrowest, table[SD, k])
    return top, narrowest


@inner
def _clear(first, last, width, low, high):
    """Whether a function with these values at the ends and a slope between low < 0 and high > 0 stays positive."""
    if not (first > 0.0 and last > 0.0):
        return False
    meet = min(max((first - last + high * width) / (high - low), 0.0), width)
    return first + low * meet > 0.0


@inner
def _convex(table, n, a, b):
    """Whether [a, b] is more than one standard deviation from every mean; far away sizes underflow."""
    for k in range(n):
        if a <= table[MEAN, k] + table[SD, k] and b >= table[MEAN, k] - table[SD, k]:
            return False
    return True


@inner
def _settled(table, n, a, b):
    """Whether f' has no zero in [a, b], or is monotone there, or the interval is too short to matter."""
    if _convex(table, n, a, b):
        return True
    top, narrowest = _largest(table, n, a, b)
    if b - a <= _SHORT * narrowest + 4.0 * EPS * max(abs(a), abs(b)):
        return True
    width, low, high, low_bend, high_bend, first, last = (b - a) / narrowest, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(n):
        size, unit = table[_LOG_SLOPE, k] - top, narrowest / table[SD, k]
        s, t = (a - table[MEAN, k]) / table[SD, k], (b - table[MEAN, k]) / table[SD, k]
        left, right = exp(size - 0.5 * s * s), exp(size - 0.5 * t * t)
        first -= s * left
        last -= t * right
        low += -exp(size - 0.5) if s < 1.0 < t else min(-s * left, -t * right)
        high += exp(size - 0.5) if s < -1.0 < t else max(-s * left, -t * right)
        bend, other = (s * s - 1.0) * left, (t * t - 1.0) * right
        low_bend += unit * (-exp(size) if s < 0.0 < t else min(bend, other))
        peak = s < -_ROOT_THREE < t or s < _ROOT_THREE < t
        high_bend += unit * (2.0 * exp(size - 1.5) if peak else max(bend, other))
    if low > 0.0 or high < 0.0 or low_bend > 0.0 or high_bend < 0.0:
        return True
    return _clear(first, last, width, low_bend, high_bend) or _clear(-first, -last, width, -high_bend, -low_bend)


@inner
def _root(table, n, low, high, sign):
    """Return the zero of f' in [low, high], where it has this sign at the left end and the other at the right."""
    unit = np.min(table[SD, :n])
    y = low + 0.5 * (high - low)
    step, before, last = high - low, high - low, not low < high
    for _ in range(MOST_STEPS):
        if last:
            break
        value, slope = _slope(table, n, y)
        if sign * value > 0.0:
            low = y
        else:
            high = y
        new, last = advance(value, slope, y, low, high, before, unit)
        before, step, y = step, new - y, new
    return y


@inner
def stationary_points(table, n, stack, out):
    """Fill out (2 n + 1 at least) with modes and antimodes in turn, from left to right; return how many.

    The first and the last are modes. The stack (2, .) holds the intervals still to be looked at.
    """
    size, count, sign, most = 0, 0, 1.0, 2 * n - 1
    for k in range(n - 1, 0, -1):
        stack[0, size], stack[1, size] = table[MEAN, k - 1], table[MEAN, k]
        size += 1
    for _ in range(_MOST_INTERVALS):
        if size == 0:
            break
        size -= 1
        a, b = stack[0, size], stack[1, size]
        if size + 2 < stack.shape[1] and not _settled(table, n, a, b):
            middle = a + 0.5 * (b - a)
            stack[0, size], stack[1, size] = middle, b
            stack[0, size + 1], stack[1, size + 1] = a, middle
            size += 2
        elif count < most and sign * _slope(table, n, b)[0] < 0.0:
            out[count] = _root(table, n, a, b, sign)
            count, sign = count + 1, -sign
    if sign > 0.0:
        out[count] = table[MEAN, n - 1]
        count += 1
    return count


@inner
def log_density(table, n, y):
    """Return the log density at y up to the constant log sqrt(2 pi), and its derivative."""
    top = -np.inf
    for k in range(n):
        t = (y - table[MEAN, k]) / table[SD, k]
        top = max(top, table[LOG_DENSITY, k] - 0.5 * t * t)
    total, slope = 0.0, 0.0
    for k in range(n):
        t = (y - table[MEAN, k]) / table[SD, k]
        size = exp(table[LOG_DENSITY, k] - 0.5 * t * t - top)
        total += size
        slope -= t * size / table[SD, k]
    return top + math.log(total), slope / total


@inner
def new_stack():
    """Return room for `stationary_points`."""
    return np.empty((2, _STACK))


@kernel
def normal_modes(weight, mean, sd):
    """Return the highest point of each row's mixture, (m,); of equally high ones the smallest."""
    n_experts, m = weight.shape
    table, points, stack = np.empty((N_ROWS, n_experts)), np.empty(2 * n_experts + 1), new_stack()
    out = np.empty(m)
    for i in range(m):
        n, unit = prepare(weight, mean, sd, i, table)
        best = -np.inf
        for j in range(0, stationary_points(table, n, stack, points), 2):
            height = log_density(table, n, points[j])[0]
            if height > best + 1e-13:
                best, out[i] = height, place_back(table, n, unit, points[j])
    return out
