"""Whether a fit is a maximum, and if not, why not, in words."""

from typing import NamedTuple

import numpy as np

from smoe.params import flatten
from smoe.solvers.separation import Limit, diverging, newton_step, undecided_groups

__all__ = ["SEPARATES", "Certificate", "certify", "usage"]

_PSD = 1e-9  # per row and in natural units: a curvature below minus this is a saddle
SINGULAR = 1e-11  # share of the largest curvature that is rounding
_VANISHING = 1e-6  # a score norm per row at which a gate that still grows has saturated
_LONG_STEP = 1e-2  # relative to the gate's size
_UNMOVED = 1e-3  # logits: a shorter step moves no row
LARGEST = 1000  # with more free parameters than this the curvature is not looked at

SEPARATES = "gate separates the data: its coefficients diverge while the log-likelihood converges"
_SINGULAR = "singular information: probably more experts than the data support"


class Certificate(NamedTuple):
    """The verdict on a fit: ``valid``, the reasons in words, and whether an expert collapsed or is empty.

    ``flat`` says that all that is wrong are directions that the data do not determine: singular information, or a gate
    that separates all rows or some, which ``separates`` says.
    """

    valid: bool
    status: str
    degenerate: bool
    flat: bool = False
    separates: bool = False

    def named(self, separation):
        """Return the same with words for what separates that name columns and experts."""
        return self._replace(status=self.status.replace(SEPARATES, separation or SEPARATES))


def certify(model, blocks, fit, tol):
    """Return the `Certificate` of a fit: score norm, curvature, collapse, emptiness and separation are looked at.

    The maximum is certified when the score norm per row is at most ``tol``, the observed information is positive
    definite up to rounding, no variance sits on its floor, no expert is empty and the gate does not separate the data.

    Parameters
    ----------
    model : MixtureOfExperts
    blocks : Blocks
        The data.
    fit : Fit
        What a solver returned.
    tol : float
        Largest score norm per row.
    """
    reasons, rows = [], len(blocks) / blocks.total_weight
    load, overlap = blocks.sum(_shares, fit.params, model)
    collapsed = np.flatnonzero(model.expert.at_bound(fit.params.expert))
    empty = np.flatnonzero(load * rows < 1.0)
    if len(collapsed):
        reasons.append(f"variance at its floor (expert {_listed(collapsed)})")
    if len(empty):
        reasons.append(f"empty expert (expert {_listed(empty)} is responsible for less than one row)")
    degenerate = bool(reasons)
    if not fit.converged:
        diagnosis = model.gate.diagnosis(fit.params.gate)
        reasons += [fit.status, diagnosis] if diagnosis else [fit.status]
    chart = model.chart(fit.params)
    few = len(blocks) < chart.n_free
    if few:
        reasons.append(f"fewer rows ({len(blocks)}) than free parameters ({chart.n_free})")
    stationary, shape, groups = fit.score_norm <= max(tol, _VANISHING), [], None
    if not degenerate and model.gate.smooth:
        if stationary:
            groups = undecided_groups(overlap * rows)
        if groups is not None:
            shape = [SEPARATES]
        elif chart.n_free <= LARGEST:
            shape = _curvature_reasons(model, blocks, fit, chart, stationary)
    separates = shape == [SEPARATES]
    flat = stationary and not few and (separates or shape == [_SINGULAR])
    reasons += shape
    unseen = f" (curvature not looked at: {chart.n_free} parameters)" if chart.n_free > LARGEST else ""
    return Certificate(not reasons, "; ".join(reasons) or fit.status + unseen, degenerate, flat, separates)


class _Shares(NamedTuple):
    """Total responsibility of each expert, and how much the gate hesitates between each two."""

    load: np.ndarray
    overlap: np.ndarray


def _shares(block, params, model):
    proba, resp, _ = model.posterior(block, params)
    return _Shares(resp @ block.weight, (proba * block.weight) @ proba.T)


def _listed(experts):
    return ", ".join(map(str, experts))


def _curvature_reasons(model, blocks, fit, chart, stationary):
    params, total = fit.params, blocks.total_weight
    curvature = blocks.sum(model.curvature, params) if fit.curvature is None else fit.curvature
    if not chart.n_free:
        return []
    gradient = chart.gradient(curvature.score, params) / total
    hessian = chart.hessian(curvature.information, curvature.score, params) / total
    if not np.isfinite(hessian).all():
        return ["the observed information is not finite: rescale the data"]
    values, vectors = np.linalg.eigh(hessian)
    if values[0] < -_PSD:
        return [f"saddle point: the observed information has the eigenvalue {values[0]:.1e} per row"]
    singular, step = values[0] <= SINGULAR * values[-1], newton_step(hessian, gradient)
    if stationary and (_gate_grows(params, chart, step) or _some_diverge(model, blocks, params, chart, step, singular)):
        return [model.gate.diagnosis(params.gate) or SEPARATES]
    return [_SINGULAR] if singular else []


def _gate_grows(params, chart, step):
    """Whether the Newton step is long although the score has vanished, and all in the gate: it separates some rows."""
    entries = np.zeros(len(chart.free))
    entries[chart.free] = step
    n_gate = flatten(params.gate).size
    gate, expert = np.linalg.norm(entries[:n_gate]), np.linalg.norm(entries[n_gate:])
    return gate > max(_LONG_STEP * np.linalg.norm(flatten(params.gate)), 10.0 * expert)


def _some_diverge(model, blocks, params, chart, step, singular):
    """Whether the gate separates some rows; they are looked at only if there is a sign of it."""
    longest = np.linalg.norm(step) * np.sqrt(len(blocks))  # no standardised column has a larger value
    if not singular and longest <= _UNMOVED:
        return False
    return diverging(model, blocks, chart, Limit.of(params, chart, step)).shape[1] > 0


def usage(model, blocks, params):
    """Return how the experts share any rows: the responsibility of each, and the groups that the gate separates."""
    load, overlap = blocks.sum(_shares, params, model)
    return load, undecided_groups(overlap * len(blocks) / blocks.total_weight)
