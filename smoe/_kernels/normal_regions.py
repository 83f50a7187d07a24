"""Highest-density regions of mixtures of normals in one dimension."""

import math

import numpy as np

from smoe._kernels._jit import inner, kernel
from smoe._kernels.normal_mixture import MEAN, MOST_STEPS, SD, WEIGHT, advance, lower_tail
from smoe._kernels.normal_modes import (
    LOG_DENSITY,
    N_ROWS,
    log_density,
    new_stack,
    place_back,
    prepare,
    stationary_points,
)

_LOG_ROOT_TWO_PI = 0.5 * math.log(2.0 * math.pi)
_ROOT_TWO = math.sqrt(2.0)
_LEVEL_STEP = 1e-6  # of the log level: steps end at its last digits, if not before
_MASS = 1e-12  # relative error
_NEAR_TOP = 1e-12  # a level so close below the top cannot be told from it


@inner
def _crossing(table, n, low, high, level, sign, start, unit):
    """Return where the log density meets the level in [low, high], where it rises (sign 1) or falls (sign -1)."""
    y = min(max(start, low), high)
    step, before, last = high - low, high - low, not low < high
    for _ in range(MOST_STEPS):
        if last:
            break
        value, slope = log_density(table, n, y)
        value -= level
        if sign * value < 0.0:
            low = y
        else:
            high = y
        new, last = advance(value, slope, y, low, high, before, unit)
        before, step, y = step, new - y, new
    return y


@inner
def _far(table, n, level, sign):
    """Return a point left (sign -1) or right of which every expert's share of the level is less than 1/n."""
    out = -np.inf
    for k in range(n):
        square = 2.0 * (table[LOG_DENSITY, k] - level + math.log(n))
        out = max(out, sign * table[MEAN, k] + table[SD, k] * math.sqrt(max(square, 0.0)))
    return sign * out


@inner
def _edge(table, n, points, count, j, level, sign, guess, unit):
    """Return the edge left (sign 1) or right (sign -1) of mode j; the guess is the last one, NaN for none."""
    top, beyond = points[j], j - 1 if sign > 0.0 else j + 1
    if 0 <= beyond < count:
        end = points[beyond]
        start = end + 0.5 * (top - end)
    else:
        end = start = _far(table, n, level, -sign)
    start = start if np.isnan(guess) else guess
    return _crossing(table, n, min(end, top), max(end, top), level, sign, start, unit)


@inner
def _region(table, n, points, heights, count, level, guess, unit, edges):
    """Fill edges (2, .) with the intervals in which the log density exceeds the level; return how many.

    The guess (2, .) has the last edges beside each stationary point.
    """
    m, inside = 0, False
    for j in range(0, count, 2):
        if heights[j] <= level:
            continue
        if not inside:
            guess[0, j] = _edge(table, n, points, count, j, level, 1.0, guess[0, j], unit)
            edges[0, m] = guess[0, j]
        inside = j + 1 < count and heights[j + 1] >= level
        if not inside:
            guess[1, j] = _edge(table, n, points, count, j, level, -1.0, guess[1, j], unit)
            edges[1, m] = guess[1, j]
            m += 1
    return m


@inner
def _between(table, n, a, b):
    """Return the mass of [a, b]; tails are subtracted on the side on which they are small."""
    out = 0.0
    for k in range(n):
        s, t = (a - table[MEAN, k]) / table[SD, k], (b - table[MEAN, k]) / table[SD, k]
        if s > 0.0:
            mass = lower_tail(-s) - lower_tail(-t)
        elif t < 0.0:
            mass = lower_tail(t) - lower_tail(s)
        else:
            mass = 0.5 * (math.erf(t / _ROOT_TWO) - math.erf(s / _ROOT_TWO))
        out += table[WEIGHT, k] * mass
    return out


@inner
def _mass(table, n, edges, m, outside):
    """Return the mass outside or inside the region."""
    out = 0.0
    for j in range(m):
        if not outside:
            out += _between(table, n, edges[0, j], edges[1, j])
        elif j > 0:
            out += _between(table, n, edges[1, j - 1], edges[0, j])
    if outside:
        for k in range(n):
            out += table[WEIGHT, k] * lower_tail((edges[0, 0] - table[MEAN, k]) / table[SD, k])
            out += table[WEIGHT, k] * lower_tail((table[MEAN, k] - edges[1, m - 1]) / table[SD, k])
    return out


@inner
def _excess(table, n, edges, m, level, target, outside):
    """Return how far the log of the mass is from that wanted, growing with the level, and its slope.

    The mass inside falls by f / |f'| at every edge as the log level grows.
    """
    mass, slope = _mass(table, n, edges, m, outside), 0.0
    for j in range(m):
        slope += 1.0 / abs(log_density(table, n, edges[0, j])[1]) + 1.0 / abs(log_density(table, n, edges[1, j])[1])
    slope *= math.exp(level - _LOG_ROOT_TWO_PI) / mass
    value = math.log(mass / target)
    return (value if outside else -value), slope


@inner
def _flat_top(mode, height, coverage, edges):
    """Put the interval around a mode that has this mass if the density is flat there."""
    half = 0.5 * coverage / math.exp(height - _LOG_ROOT_TWO_PI)
    edges[0, 0], edges[1, 0] = mode - half, mode + half


@inner
def _shift(table, n, edges, m, step):
    """Move the edges to a log level higher by a step that the level itself may be too coarse to take.

    Where the level touches a mode or an antimode its last digit moves the edges beside it by 1e-8.
    """
    for j in range(m):
        for side in range(2):
            move = step / log_density(table, n, edges[side, j])[1]
            if abs(move) <= 0.1 * (edges[1, j] - edges[0, j]):
                edges[side, j] += move


@inner
def _solve(table, n, points, heights, count, target, outside, drop, guess, edges):
    """Leave the region of the wanted mass in edges; return the number of its intervals and its log level, NaN for none.

    The first guess is exact for one normal: the level lies ``drop`` below the top.
    """
    top, narrowest = np.max(heights[0:count:2]), np.min(table[SD, :n])
    unit, guess[:] = max(1.0, abs(top)), np.nan
    low, high, level = -np.inf, top, top - max(drop, 1e6 * _NEAR_TOP * unit)
    step, before, jump, last = np.inf, np.inf, max(drop, 1.0), False
    for _ in range(MOST_STEPS):
        if top - level <= _NEAR_TOP * unit:
            _flat_top(points[np.argmax(heights[0:count:2]) * 2], top, 1.0 - target if outside else target, edges)
            return 1, top
        m = _region(table, n, points, heights, count, level, guess, narrowest, edges)
        value, slope = _excess(table, n, edges, m, level, target, outside)
        if np.isnan(value):
            break
        if value < 0.0:
            low = level
        else:
            high = level
        if last or abs(value) <= _MASS:
            _shift(table, n, edges, m, -value / slope)
            return m, level
        known = low if low > -np.inf else level - jump  # no level may be known yet to be too low
        new, last = advance(value, slope, level, known, high, before, _LEVEL_STEP * min(unit, top - level))
        jump = jump if low > -np.inf else 2.0 * jump
        last = last or new == level
        before, step, level = step, new - level, new
    return 0, np.nan


@kernel
def normal_regions(weight, mean, sd, coverage, drop):
    """Return the smallest regions that hold this mass of each row's mixture.

    ``drop`` is half the square of the standard normal's (1 + coverage) / 2 quantile. Returned are the intervals
    (2, n_experts, m), the first ``count[i]`` of row i, count (m,), and the log of the density at their edges (m,), NaN
    where no region was found.
    """
    n_experts, m = weight.shape
    table, points, stack = np.empty((N_ROWS, n_experts)), np.empty(2 * n_experts + 1), new_stack()
    heights, guess = np.empty(2 * n_experts + 1), np.empty((2, 2 * n_experts + 1))
    edges = np.empty((2, n_experts))
    out, count, level = np.full((2, n_experts, m), np.nan), np.empty(m, dtype=np.int64), np.empty(m)
    outside = coverage > 0.5
    target = 1.0 - coverage if outside else coverage
    for i in range(m):
        n, unit = prepare(weight, mean, sd, i, table)
        n_points = stationary_points(table, n, stack, points)
        for j in range(n_points):
            heights[j] = log_density(table, n, points[j])[0]
        count[i], top = _solve(table, n, points, heights, n_points, target, outside, drop, guess, edges)
        level[i] = top - _LOG_ROOT_TWO_PI - math.log(unit)
        for j in range(count[i]):
            for side in range(2):
                out[side, j, i] = place_back(table, n, unit, edges[side, j])
    return out, count, level
