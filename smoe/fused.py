"""Pairs of a gate and an expert family whose pass over the rows is one kernel.

A pass made of the methods of gate and experts stores what each of them returns; a fused one keeps it in cache. It
returns the same and exists for speed alone.
"""

import numpy as np

from smoe._kernels import linear_gaussian_em
from smoe._kernels.linear_families import BINOMIAL, GAUSSIAN, POISSON, family_pass
from smoe._kernels.moments import FEW_TERMS
from smoe.experts.gaussian import RANK_TOL, GaussianExpert, GaussianExpertParams, GaussianStats
from smoe.experts.linear import LinearExpert, LinearStats
from smoe.families.binomial import Binomial
from smoe.families.poisson import Poisson
from smoe.gates.base import LinearGateParams
from smoe.gates.softmax import SoftmaxGate
from smoe.params import MoEParams

__all__ = ["applies", "climb", "climbs", "curvature", "pairs", "statistics", "with_own"]

_NONE = np.empty(0)
_NO_GROUPS = np.empty(0, dtype=np.int64)


def _kind(model):
    """Return what kernels call the experts, or None if the model has no fused pass."""
    expert = model.expert
    if type(model.gate) is not SoftmaxGate:
        return None
    if type(expert) is GaussianExpert:
        return GAUSSIAN if expert.variances == "own" else None
    family = expert.family if type(expert) is LinearExpert else None
    if type(family) is Binomial:
        return BINOMIAL if family.link_function == "logit" else None
    return POISSON if type(family) is Poisson else None


def pairs(model):
    """Whether the model's pass is fused for few features."""
    return _kind(model) is not None


def _takes(kind, block):
    """Whether the pass knows all that rows of the block have beside their design."""
    roles = block.roles
    if kind == GAUSSIAN:
        return not roles.of_rows
    return roles.event is None and (roles.trials is None or kind == BINOMIAL)


def climbs(model, block):
    """Whether whole iterations of EM are one kernel."""
    return applies(model, block) and model.plain and _kind(model) == GAUSSIAN and not block.grouped


def applies(model, block):
    """Whether the pass over this block is one kernel; with many features BLAS wins."""
    scaling, kind = block.scaling, _kind(model)
    few = max(len(scaling.gate.columns), len(scaling.expert.columns)) < FEW_TERMS
    return few and kind is not None and _takes(kind, block)


def _arguments(block, *lines):
    scaling = block.scaling
    views = *scaling.gate.raw, *scaling.expert.raw, scaling.expert is scaling.gate
    return *lines, *block.flat, block.low, block.high, *views, scaling.y_shift, 1.0 / scaling.y_scale


def _alike(values):
    """Return an array of the one kind that kernels are compiled for."""
    return values if values.flags.carray else values.copy()


def _pass(model, block, params, gate_information, observed):
    """Return the sums of one pass: no iteration is made."""
    lines, kind = [_alike(field) for part in params for field in part], _kind(model)
    if kind == GAUSSIAN and not block.grouped:
        how = 0.0, 0.0, 0, 0, 0.0, gate_information, observed
        return linear_gaussian_em.climb(*how, *_arguments(block, *lines))[0]
    if kind != GAUSSIAN:
        lines.append(_NONE)  # for the variances
    first = _alike(block.raw.first) if block.grouped else _NO_GROUPS
    beside = [_NONE if values is None else _alike(values) for values in (block.offset, block.trials)]
    return family_pass(kind, *_arguments(block, *lines), first, *beside, gate_information, observed)


def _shaped(model, sums, gate_information=True):
    loglik, gram, cross, score, gate_pairs = sums
    lines, last = cross[:, :-1].copy(), cross[:, -1].copy()
    gaussian = _kind(model) == GAUSSIAN
    stats = GaussianStats(gram, lines, last, gram[:, -1, -1].copy()) if gaussian else LinearStats(lines, gram, last)
    score = LinearGateParams(score[:, :-1], score[:, -1])
    return loglik, stats, score, model.gate.assembled(gate_pairs, len(cross)) if gate_information else None


def statistics(model, block, params, gate_information=True):
    """Return log-likelihood, sufficient statistics, the gate's score and its information, or None in its place."""
    return _shaped(model, _pass(model, block, params, gate_information, False)[:5], gate_information)


def climb(model, block, params, n_iter, n_halvings, slack):
    """Do EM iterations as `smoe.solvers.EM` does; return parameters, what `statistics` returns there, and the trace."""
    how = model.expert.variance_floor, RANK_TOL, n_iter, n_halvings, slack
    lines = [field.copy() for part in params for field in part]
    sums, trace = linear_gaussian_em.climb(*how, True, False, *_arguments(block, *lines))
    params = MoEParams(LinearGateParams(*lines[:2]), GaussianExpertParams(*lines[2:]))
    return params, _shaped(model, sums[:5]), trace


def curvature(model, block, params):
    """Return the same with the gate's observed information, and its cross and the experts' blocks."""
    *sums, between, both = _pass(model, block, params, True, True)
    loglik, stats, score, gate_block = _shaped(model, sums)
    if isinstance(stats, LinearStats):
        own = stats.bend  # links are canonical
    else:
        own = model.expert.curvature(None, params.expert, None, stats)  # the moments say it all
    expert_block = with_own(between, own)
    return loglik, stats, score, gate_block, both.reshape(-1, len(expert_block)), expert_block


def with_own(products, own):
    """Add each expert's own block to the products (n_experts, width, n_experts, width); return them as a matrix."""
    for i, block in enumerate(own):
        products[i, :, i] += block
    return products.reshape(own.shape[0] * own.shape[1], -1)
