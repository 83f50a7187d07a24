"""Pairs of a gate and an expert family whose pass over the rows is one kernel.

A pass made of the methods of gate and experts stores what each of them returns; a fused one keeps it in cache. It
returns the same and exists for speed alone.
"""

from smoe._kernels import linear_gaussian_em
from smoe._kernels.moments import FEW_TERMS
from smoe.experts.gaussian import RANK_TOL, GaussianExpert, GaussianExpertParams, GaussianStats
from smoe.gates.base import LinearGateParams
from smoe.gates.softmax import SoftmaxGate
from smoe.params import MoEParams

__all__ = ["applies", "climb", "climbs", "curvature", "pairs", "statistics", "with_own"]


def pairs(model):
    """Whether the model's pass is fused for few features."""
    expert = model.expert
    return type(model.gate) is SoftmaxGate and type(expert) is GaussianExpert and expert.variances == "own"


def climbs(model, block):
    """Whether whole iterations of EM are one kernel."""
    return applies(model, block) and model.plain


def applies(model, block):
    """Whether the pass over this block is one kernel; with many features BLAS wins."""
    scaling = block.scaling
    few = max(len(scaling.gate.columns), len(scaling.expert.columns)) < FEW_TERMS
    return few and pairs(model) and not block.roles.of_rows and not block.grouped


def _arguments(block, *lines):
    scaling = block.scaling
    views = *scaling.gate.raw, *scaling.expert.raw, scaling.expert is scaling.gate
    return *lines, *block.flat, block.low, block.high, *views, scaling.y_shift, 1.0 / scaling.y_scale


def _pass(block, params, gate_information, observed):
    """Return the sums of one pass: no iteration is made."""
    # One kind of array, so that it is compiled once.
    lines = [field if field.flags.carray else field.copy() for part in params for field in part]
    return linear_gaussian_em.climb(0.0, 0.0, 0, 0, 0.0, gate_information, observed, *_arguments(block, *lines))[0]


def _shaped(model, sums, gate_information=True):
    loglik, gram, cross, score, gate_pairs = sums
    stats = GaussianStats(gram, cross[:, :-1].copy(), cross[:, -1].copy(), gram[:, -1, -1].copy())
    score = LinearGateParams(score[:, :-1], score[:, -1])
    return loglik, stats, score, model.gate.assembled(gate_pairs, len(cross)) if gate_information else None


def statistics(model, block, params, gate_information=True):
    """Return log-likelihood, sufficient statistics, the gate's score and its information, or None in its place."""
    return _shaped(model, _pass(block, params, gate_information, False)[:5], gate_information)


def climb(model, block, params, n_iter, n_halvings, slack):
    """Do EM iterations as `smoe.solvers.EM` does; return parameters, what `statistics` returns there, and the trace."""
    how = model.expert.variance_floor, RANK_TOL, n_iter, n_halvings, slack
    lines = [field.copy() for part in params for field in part]
    sums, trace = linear_gaussian_em.climb(*how, True, False, *_arguments(block, *lines))
    params = MoEParams(LinearGateParams(*lines[:2]), GaussianExpertParams(*lines[2:]))
    return params, _shaped(model, sums[:5]), trace


def curvature(model, block, params):
    """Return the same with the gate's observed information, and its cross and the experts' blocks."""
    *sums, between, both = _pass(block, params, True, True)
    loglik, stats, score, gate_block = _shaped(model, sums)
    own = model.expert.curvature(None, params.expert, None, stats)  # the moments say it all
    expert_block = with_own(between, own)
    return loglik, stats, score, gate_block, both.reshape(-1, len(expert_block)), expert_block


def with_own(products, own):
    """Add each expert's own block to the products (n_experts, width, n_experts, width); return them as a matrix."""
    for i, block in enumerate(own):
        products[i, :, i] += block
    return products.reshape(own.shape[0] * own.shape[1], -1)
