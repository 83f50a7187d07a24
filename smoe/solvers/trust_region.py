"""Newton's steps in a trust region, each brought back to the ridge by a step of EM."""

import math

import numpy as np

from smoe.solvers.em_step import em_step

__all__ = ["climb_ridges", "crawls"]

_ENOUGH, _WELL = 0.15, 0.75  # shares of the promised gain: a step is taken, the radius grows
_SHRINK, _GROW = 0.25, 2.0
_SMALLEST = 1e-9  # a radius at which no step will do
_ROUNDING = 1e-14  # relative, of a sum over rows
_CRAWL = 50, 1e-2  # iterations, and the nats that they gain at most on the way to a limit that the gate names


def climb_ridges(objective, theta, tol, values, left):
    """Go on from theta for at most ``left`` iterations, until no gradient is larger than ``tol``; append to ``values``.

    On the curved ridges of over-specified models a step along the tangent leaves the ridge, and the radius stays small.
    A step of EM from there finds the way back at the price of a cheap pass.
    """
    radius = 1.0
    for _ in range(left):
        gradient = objective.gradient(theta)
        if np.abs(gradient).max() <= tol or radius < _SMALLEST or crawls(objective, theta, values):
            break
        step, gain = in_ball(gradient, objective.hessian(theta), radius)
        length, new = math.sqrt(step @ step), _back_on_ridge(objective, theta + step, radius)
        slack = _ROUNDING * abs(values[-1])
        share = (values[-1] - objective.value(new) + slack) / (gain + slack)
        if share < 0.25:
            radius = _SHRINK * min(radius, length)
        elif share > _WELL and length > 0.9 * radius:
            radius *= _GROW
        theta = new if share > _ENOUGH else theta
        values.append(objective.value(theta))
    return theta


def crawls(objective, theta, values):
    """Whether the gate is on its way to a limit, where no maximum is, and hardly gains any more."""
    n, most = _CRAWL
    slow = len(values) > n and (values[-n - 1] - values[-1]) * objective.blocks.total_weight <= most
    gate = objective.model.gate
    return slow and gate.names_limits and bool(gate.diagnosis(objective.chart.unpack(theta).gate))


def _back_on_ridge(objective, theta, radius):
    """Return the point that one step of EM reaches from theta, or theta itself if that is no better or not near."""
    model, params = objective.model, objective.chart.unpack(theta)
    with np.errstate(all="ignore"):
        stats = objective.blocks.sum(model.statistics, params)
        if not math.isfinite(stats.loglik):
            return theta
        total = objective.blocks.total_weight
        new = objective.chart.pack(em_step(model, params, stats, total)(1.0))
        reached = -model.objective(params, stats, total) / total
    near = np.linalg.norm(new - theta) <= radius
    return new if near and objective.value(new) <= reached else theta


def in_ball(gradient, hessian, radius):
    """Return the step no longer than radius that minimises the quadratic model, and by how much it does.

    The step is -(H + s)^-1 g with the smallest s >= 0 that keeps it in the ball and H + s positive semidefinite; in the
    hard case, when no s makes it long enough, it goes on along the direction of the least curvature.

    References
    ----------
    Moré, J. J. and Sorensen, D. C. (1983). Computing a trust region step. SIAM J. Sci. Stat. Comput. 4, 553-572.
    """
    values, vectors = np.linalg.eigh(hessian)
    along, rounding = vectors.T @ gradient, 1e-14 * max(abs(values[0]), abs(values[-1]), 1e-300)
    shift = max(0.0, rounding - values[0])
    step = -along / (values + shift)
    for _ in range(100):  # Newton on 1/length, which is nearly linear and concave in the shift
        length = math.sqrt(step @ step)
        if length <= 1.001 * radius:
            break
        shift += (length - radius) / radius * length**2 / (step @ (step / (values + shift)))
        step = -along / (values + shift)
    missing = radius**2 - step @ step
    if values[0] < 0 and missing > 0:
        step[0] += math.copysign(math.sqrt(step[0] ** 2 + missing) - abs(step[0]), -along[0])
    return vectors @ step, -(along @ step + 0.5 * values @ step**2)
