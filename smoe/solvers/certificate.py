"""Whether a fit is a maximum, and if not, why not, in words."""

from typing import NamedTuple

import numpy as np
from scipy.sparse.csgraph import connected_components

from smoe.params import flatten

__all__ = ["Certificate", "certify", "usage"]

_PSD = 1e-9  # per row and in natural units: a curvature below minus this is a saddle
SINGULAR = 1e-11  # share of the largest curvature that is rounding
_VANISHING = 1e-6  # a score norm per row at which a gate that still grows has saturated
_UNDECIDED = 0.05  # rows: what a gate that separates leaves undecided, by far
_LONG_STEP = 1e-2  # relative to the gate's size
_ROUNDING = 1e-16
LARGEST = 1000  # with more free parameters than this the curvature is not looked at

_SEPARATES = "gate separates the data: its coefficients diverge while the log-likelihood converges"
_SINGULAR = "singular information: probably more experts than the data support"


class Certificate(NamedTuple):
    """The verdict on a fit: ``valid``, the reasons in words, and whether an expert collapsed or is empty.

    ``flat`` says that all that is wrong are directions that the data do not determine: singular information, or a gate
    that separates; ``groups`` are then the experts' groups (n_experts,) between which it hesitates on no row.
    """

    valid: bool
    status: str
    degenerate: bool
    flat: bool = False
    groups: np.ndarray | None = None

    def permuted(self, order):
        """Return the same for experts in another order, as `smoe.params.permute` does."""
        return self if self.groups is None else self._replace(groups=self.groups[order])


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
        if stationary and not model.active_penalties:
            groups = _undecided_groups(overlap * rows)
        if groups is not None:
            shape = [_SEPARATES]
        elif chart.n_free <= LARGEST:
            shape = _curvature_reasons(model, blocks, fit, chart, stationary)
    flat = stationary and not few and (groups is not None or shape == [_SINGULAR])
    reasons += shape
    unseen = f" (curvature not looked at: {chart.n_free} parameters)" if chart.n_free > LARGEST else ""
    return Certificate(not reasons, "; ".join(reasons) or fit.status + unseen, degenerate, flat, groups)


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
    score = model.score(params, curvature, total)
    gradient = chart.gradient(score, params) / total
    hessian = chart.hessian(model.information(params, curvature, total), score, params) / total
    if not np.isfinite(hessian).all():
        return ["the observed information is not finite: rescale the data"]
    values, vectors = np.linalg.eigh(hessian)
    if values[0] < -_PSD:
        return [f"saddle point: the observed information has the eigenvalue {values[0]:.1e} per row"]
    step = vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), _ROUNDING * values[-1]))
    if stationary and _gate_grows(params, chart, step):
        return [model.gate.diagnosis(params.gate) or _SEPARATES]
    if values[0] <= SINGULAR * values[-1]:
        return [_SINGULAR]
    return []


def _gate_grows(params, chart, step):
    """Whether the Newton step is long although the score has vanished, and all in the gate: it separates some rows."""
    entries = np.zeros(len(chart.free))
    entries[chart.free] = step
    n_gate = flatten(params.gate).size
    gate, expert = np.linalg.norm(entries[:n_gate]), np.linalg.norm(entries[n_gate:])
    return gate > max(_LONG_STEP * np.linalg.norm(flatten(params.gate)), 10.0 * expert)


def _undecided_groups(overlap):
    """Return the groups of experts between which no row is undecided, or None if there is but one.

    Two experts are linked when the rows on which the gate hesitates between them add up to something; experts at
    opposite ends may be linked through others. Between groups that are not linked the gate still wants to grow.
    """
    linked = overlap > _UNDECIDED
    if linked.all():
        return None
    n_groups, groups = connected_components(linked)
    return groups if n_groups > 1 else None


def usage(model, blocks, params):
    """Return how the experts share any rows: the responsibility of each, and whether the gate separates the rows."""
    load, overlap = blocks.sum(_shares, params, model)
    return load, _undecided_groups(overlap * len(blocks) / blocks.total_weight) is not None
