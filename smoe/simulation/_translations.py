"""The two translations that leave a softmax gate as it is, chosen to bring two gates as close as they get."""

import numpy as np

__all__ = ["best_scale", "best_shift"]

_STEPS = 500
_HALVINGS = 60
_GAP = 1e-14  # share of the value within which it is certified to be the minimum
_ARMIJO = 1e-4


def best_scale(fitted, true):
    r"""Return the minimiser over c >= 0 of :math:`\sum_j |w_j - c w_j^*|`: a weighted median of the ratios.

    Parameters
    ----------
    fitted, true : arrays of shape (n_cells,)
        Weights, not negative.
    """
    used = true > 0
    ratio, weight = fitted[used] / true[used], true[used]
    order = np.argsort(ratio)
    mass = np.cumsum(weight[order])
    return ratio[order[np.searchsorted(mass, 0.5 * mass[-1])]]


def best_shift(points, base, power, weight):
    r"""Return the minimiser over t of :math:`F(t) = \sum_i w_i (\|d_i - t\|^2 + c_i)^{p_i/2}`, convex for p_i >= 1.

    F has kinks at the points with c = 0 and p = 1, and is smooth elsewhere. If the minimum is at a kink, that is the
    point with the lowest value, and a subgradient tells. Otherwise a step leaves the lowest point along the steepest
    descent, and damped Newton steps, staying below every kink, converge to the smooth minimum. They stop when the
    gradient proves the value: F(t) - min F <= |gradient| times the distance to the farthest point.

    Parameters
    ----------
    points : array of shape (n, d)
    base, power, weight : arrays of shape (n,)
        c >= 0, p >= 1, w >= 0.
    """
    used = weight > 0
    points, base, power, weight = points[used], base[used], power[used], weight[used] / weight.max()
    problem = points, base, power, weight
    values = [_value(p, *problem) for p in points]
    best = int(np.argmin(values))
    t, value = _leave_kink(points[best], values[best], *problem)
    if _at_kink(t, points, base, power).any():
        return t
    for _ in range(_STEPS):
        gradient, hessian = _derivatives(t, *problem)
        reach = np.linalg.norm(points - t, axis=1).max()
        if np.linalg.norm(gradient) * reach <= _GAP * value:
            return t
        t, lower = _line_search(t, value, *_newton_step(gradient, hessian), *problem)
        if lower >= value:
            return t
        value = lower
    return t


def _at_kink(t, points, base, power):
    return (points == t).all(axis=1) & (base == 0) & (power == 1)


def _leave_kink(t, value, points, base, power, weight):
    """Return t and F(t) if t is a kink and the minimum, else a lower point that is no kink; t itself if it is none."""
    at_kink = _at_kink(t, points, base, power)
    others = ~at_kink
    gradient, _ = _derivatives(t, points[others], base[others], power[others], weight[others])
    pull = np.linalg.norm(gradient)
    if not at_kink.any() or pull <= weight[at_kink].sum():
        return t, value
    step = -gradient / pull * np.linalg.norm(points - t, axis=1).max()
    slope = (weight[at_kink].sum() - pull) * np.linalg.norm(step)
    return _line_search(t, value, step, slope, points, base, power, weight)


def _value(t, points, base, power, weight):
    return float(weight @ (((points - t) ** 2).sum(axis=1) + base) ** (0.5 * power))


def _derivatives(t, points, base, power, weight):
    """Gradient and Hessian of F away from its kinks."""
    apart = t - points
    square = np.maximum((apart**2).sum(axis=1) + base, np.finfo(float).tiny)
    pull = weight * power * square ** (0.5 * power - 1.0)
    bend = pull * (power - 2.0) / square
    return pull @ apart, pull.sum() * np.eye(len(t)) + (apart.T * bend) @ apart


def _newton_step(gradient, hessian):
    """Return a direction of descent and the derivative of F along it."""
    ridge = 1e-14 * np.trace(hessian) * np.eye(len(gradient))
    step = -np.linalg.lstsq(hessian + ridge, gradient, rcond=None)[0]
    step = step if gradient @ step < 0 else -gradient
    return step, gradient @ step


def _line_search(t, value, step, slope, *problem):
    """Shorten the step until F falls enough; return where that leads, or t and its value if F does not fall."""
    for _ in range(_HALVINGS):
        lower = _value(t + step, *problem)
        if lower <= value + _ARMIJO * slope and lower < value:
            return t + step, lower
        step, slope = 0.5 * step, 0.5 * slope
    return t, value
