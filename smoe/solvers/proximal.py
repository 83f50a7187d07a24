"""Steps under a penalty with kinks at zero: the quadratic model of what is smooth, and absolute values as they are."""

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from smoe._kernels.coordinate_descent import coordinate_descent
from smoe.params import flatten, unflatten

__all__ = ["proximal_step", "sparse_step"]

_SWEEPS = 50
_TOL = 1e-6  # of a slope per row: a step of EM need not be exact
_LONGEST = 10.0
_RIDGE = 1e-9  # relative; directions without information stay


def sparse_step(slope, bend, theta, weight, n_sweeps, tol):
    """Return where a quadratic model less weighted absolute values is largest; exactly, if the signs are found."""
    if weight.any():
        x = coordinate_descent(np.ascontiguousarray(bend), slope, theta, weight, n_sweeps, tol)
    else:
        x = theta.copy()
    free = (x != 0) | (weight == 0)
    if not free.any():
        return x
    pull = slope - bend @ (np.where(free, theta, 0.0) - theta)
    try:
        factor = cho_factor(bend[np.ix_(free, free)])
    except LinAlgError:
        return x
    exact = theta[free] + cho_solve(factor, pull[free] - weight[free] * np.sign(x[free]))
    if np.array_equal(np.sign(exact[weight[free] > 0]), np.sign(x[free][weight[free] > 0])):
        x[free] = exact
    return x


def proximal_step(model, params, stats, total):
    """Return the function of t that gives the parameters after the share t of a step of EM.

    Gate and experts, apart, go to the maximum of their quadratic model less the penalty, variances to theirs given the
    experts' new lines. At t = 1 zeros are exact.
    """
    score = flatten(model.smooth_score(params, stats, total))
    bends, flat = model.penalty_curvature(params, stats, total), flatten(params)
    weight, chart = total * model.kinked.weights(params)[0], model.chart(params, held=False)
    free = chart.free & ~(np.isfinite(chart.lower) | np.isfinite(chart.upper))
    n_gate, end = flatten(params.gate).size, flat.copy()
    own = stats.gate_information, model.expert.m_information(stats.expert, params.expert)
    for information, span in zip(own, (slice(None, n_gate), slice(n_gate, None)), strict=True):
        at = np.flatnonzero(free[span])
        if len(at):
            bend = (information + bends[span, span])[np.ix_(at, at)]
            bend[np.diag_indices_from(bend)] += _RIDGE * np.diag(bend).max()
            at = at + (span.start or 0)
            end[at] = sparse_step(score[at], bend, flat[at], weight[at], _SWEEPS, _TOL * total)
    step = end[:n_gate] - flat[:n_gate]
    if (length := np.linalg.norm(step)) > _LONGEST:
        end[:n_gate] = flat[:n_gate] + step * (_LONGEST / length)
    end = model.canonical(_with_variances(model, unflatten(end, params), stats, total))
    begin, there = flatten(model.canonical(params)), flatten(end)
    return lambda t: end if t == 1.0 else unflatten(begin + t * (there - begin), params)


def _with_variances(model, params, stats, total):
    """Return the parameters with the variances that are best for their lines."""
    if not hasattr(model.expert, "variance_given"):
        return params
    penalty = total * model.kinked.on_unit_scale(params)
    variance = model.expert.variance_given(stats.expert, params.expert, *penalty)
    return params._replace(expert=params.expert._replace(variance=variance))
