"""Steps under a penalty with kinks at zero: the quadratic model of what is smooth, and absolute values as they are."""

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from smoe._kernels.coordinate_descent import block_descent, coordinate_descent
from smoe.params import flatten, unflatten
from smoe.penalties.groups import moved, pull, second_derivative

__all__ = ["curved_step", "proximal_step", "sparse_step"]

_SWEEPS = 50
_POLISHED = 20  # steps of Newton's method
_TOL = 1e-6  # of a slope per row: a step of EM need not be exact
_LONGEST = 10.0
_RIDGE = 1e-9  # relative; directions without information stay


def sparse_step(slope, bend, theta, weight, groups, n_sweeps, tol):
    """Return where a quadratic model less weighted lengths is largest; exactly, if what is zero is found.

    Parameters
    ----------
    slope, bend : ndarray
        First derivative of the model at theta, and minus the second one.
    theta, weight : ndarray
    groups : ndarray of int or None
        A number for each entry, the same for those whose common length counts; None for absolute values.
    n_sweeps, tol : int and float
        Most sweeps over all, and the slope that is as good as none.
    """
    if not weight.any():
        x = theta.copy()
    elif groups is None:
        x = coordinate_descent(np.ascontiguousarray(bend), slope, theta, weight, n_sweeps, tol)
    else:
        x = _by_blocks(slope, bend, theta, weight, groups, n_sweeps, tol)
    free = moved(x, groups) | (weight == 0)
    if free.any():
        few = None if groups is None else groups[free]
        left = (slope - bend @ (np.where(free, x, 0.0) - theta))[free]
        x[free] = _exactly(left, bend[np.ix_(free, free)], x[free], weight[free], few)
    return x


def _by_blocks(slope, bend, theta, weight, groups, n_sweeps, tol):
    """Descend from group to group, in the order of these; entries without weight, or that stay zero, are alone."""
    alone = (weight == 0) | np.isinf(weight)
    groups = np.where(alone, groups.max(initial=0) + 1 + np.arange(len(groups)), groups)
    order = np.argsort(groups, kind="stable")
    slope, theta, weight, groups = slope[order], theta[order], weight[order], groups[order]
    bend = np.ascontiguousarray(bend[np.ix_(order, order)])
    ends = np.append(np.flatnonzero(np.diff(groups)), len(groups) - 1) + 1
    values, vectors = np.zeros(len(groups)), np.zeros((len(groups), int(np.diff(ends, prepend=0).max())))
    for first, last in zip(np.append(0, ends[:-1]), ends, strict=True):
        if last - first > 1:
            own = slice(first, last)
            scaled = bend[own, own] / np.outer(weight[own], weight[own])
            values[own], vectors[own, : last - first] = np.linalg.eigh(scaled)
    x = np.empty_like(theta)
    x[order] = block_descent(bend, slope, theta, weight, ends, values, vectors, n_sweeps, tol)
    return x


def curved_step(slope, bend, theta, weight, groups):
    """Return where Newton's method leads with the lengths' own curvature, none of which is zero; theta if nowhere.

    That curvature may be all that makes the model concave.
    """
    return _exactly(slope, bend, theta, weight, groups, 1)


def _exactly(left, bend, x, weight, groups, n_steps=_POLISHED):
    """Return the maximum near x, where the model has the slope ``left`` without lengths, with nothing more at zero.

    By Newton's method; absolute values need one step. Where a length vanishes, or nothing is gained, it is x.
    """
    best, gap = x, left - pull(x, weight, groups)
    for _ in range(1 if groups is None else n_steps):
        try:
            factor = cho_factor(bend + second_derivative(best, weight, groups))
        except LinAlgError:
            return best
        new = best + cho_solve(factor, gap)
        along = weight**2 * best * new
        if np.any((along if groups is None else np.bincount(groups, along)[groups])[weight > 0] <= 0):
            return best
        rest = left - bend @ (new - x) - pull(new, weight, groups)
        if 1 < n_steps and groups is not None and np.abs(rest).max() >= np.abs(gap).max():
            return best
        best, gap = new, rest
    return best


def proximal_step(model, params, stats, total):
    """Return the function of t that gives the parameters after the share t of a step of EM.

    Gate and experts, apart, go to the maximum of their quadratic model less the penalty, variances to theirs given the
    experts' new lines. At t = 1 zeros are exact.
    """
    score = flatten(model.smooth_score(params, stats, total))
    bends, flat = model.penalty_curvature(params, stats, total), flatten(params)
    weight, chart = total * model.kinked.weights(params)[0], model.chart(params, held=False)
    groups = model.kinked.groups(params)
    free = chart.free & ~(np.isfinite(chart.lower) | np.isfinite(chart.upper))
    n_gate, end = flatten(params.gate).size, flat.copy()
    own = stats.gate_information, model.expert.m_information(stats.expert, params.expert)
    for information, span in zip(own, (slice(None, n_gate), slice(n_gate, None)), strict=True):
        at = np.flatnonzero(free[span])
        if len(at):
            bend = (information + bends[span, span])[np.ix_(at, at)]
            bend[np.diag_indices_from(bend)] += _RIDGE * np.diag(bend).max()
            at = at + (span.start or 0)
            few = None if groups is None else groups[at]
            end[at] = sparse_step(score[at], bend, flat[at], weight[at], few, _SWEEPS, _TOL * total)
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
