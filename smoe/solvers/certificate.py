"""Whether a fit is a maximum, and if not, why not, in words."""

from typing import NamedTuple

import numpy as np

from smoe.params import flatten, unflatten

__all__ = ["Certificate", "certify"]

_PSD = 1e-9  # per row and in natural units: a curvature below minus this is a saddle
_SINGULAR = 1e-11  # share of the largest curvature that is rounding
_FLAT_STEP = 1e-2  # a Newton step this long, relative to the gate, at a vanishing score is a gate that still grows
_LARGEST = 1000  # with more free parameters than this the curvature is not looked at


class Certificate(NamedTuple):
    """The verdict on a fit: ``valid``, the reasons in words, and whether an expert collapsed or is empty."""

    valid: bool
    status: str
    degenerate: bool


def certify(model, blocks, fit, tol):
    """Return the `Certificate` of a fit: score norm, curvature, collapse, emptiness and separation are looked at.

    The maximum is certified when the score norm per row is at most ``tol``, the observed information is positive
    definite up to rounding, no variance sits on its floor, no expert is empty and the gate does not separate the data.
    """
    reasons = []
    load = blocks.sum(lambda block, p: (model.posterior(block, p)[1] * block.weight).sum(axis=1), fit.params)
    collapsed = np.flatnonzero(model.expert.at_bound(fit.params.expert))
    empty = np.flatnonzero(load / blocks.total_weight * len(blocks) < 1.0)
    if len(collapsed):
        reasons.append(f"variance at its floor (expert {_listed(collapsed)})")
    if len(empty):
        reasons.append(f"empty expert (expert {_listed(empty)} is responsible for less than one row)")
    degenerate = bool(reasons)
    if not fit.converged:
        reasons.append(fit.status)
    n_free = model.chart(fit.params).n_free
    if not degenerate and model.gate.smooth and n_free <= _LARGEST:
        reasons += _curvature_reasons(model, blocks, fit.params, fit.score_norm <= tol)
    unseen = f" (curvature not looked at: {n_free} parameters)" if n_free > _LARGEST else ""
    return Certificate(not reasons, "; ".join(reasons) or "converged" + unseen, degenerate)


def _listed(experts):
    return ", ".join(map(str, experts))


def _curvature_reasons(model, blocks, params, stationary):
    curvature = blocks.sum(model.curvature, params)
    chart, total = model.chart(params), blocks.total_weight
    if not chart.n_free:
        return []
    gradient = chart.gradient(curvature.score, params) / total
    values, vectors = np.linalg.eigh(chart.hessian(curvature.information, curvature.score, params) / total)
    if values[0] < -_PSD:
        return [f"saddle point: the observed information has the eigenvalue {values[0]:.1e} per row"]
    if stationary and _separates(params, chart, gradient, values, vectors):
        return ["gate separates the data: its coefficients diverge while the log-likelihood converges"]
    if values[0] <= _SINGULAR * values[-1]:
        return ["singular information: probably more experts than the data support"]
    return []


def _separates(params, chart, gradient, values, vectors):
    """A gate that separates still wants to grow: its Newton step stays long although the score has vanished."""
    slope = vectors.T @ gradient
    step = np.zeros(len(chart.free))
    step[chart.free] = vectors @ (slope / np.maximum(values, 1e-300))
    step = unflatten(step, params)
    gate, expert = flatten(step.gate), flatten(step.expert)
    size = np.linalg.norm(flatten(params.gate))
    return np.linalg.norm(gate) > _FLAT_STEP * size and np.linalg.norm(gate) > 10 * np.linalg.norm(expert)
