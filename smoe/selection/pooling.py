"""Experts that share one label: their M-step on pooled responsibilities, and the gate nearest to their pooled one."""

from typing import NamedTuple

import numpy as np

from smoe.params import MoEParams
from smoe.solvers.em_step import newton_gate_step

__all__ = ["Pooling", "loads", "one_per_group", "pooled_experts", "pooled_gate", "pooled_params"]

_STEPS = 30  # Newton steps of the gate; few are needed where it does not separate the groups
_HALVINGS = 12
_GAIN = 1e-10  # gain per row at which the gate's steps end
_TINY = 1e-300
_SMALLEST_LOAD = 1e-8  # share of the rows at which a flat gate begins for an expert without rows


class Pooling(NamedTuple):
    """One expert per group: the parameters, and what the experts' own log-likelihoods add up to."""

    expert: NamedTuple
    value: np.ndarray  # sum over rows of r_C log f_C, per group
    load: np.ndarray  # sum over rows of r_C


class _Projection(NamedTuple):
    """How far a gate is from the pooled one, with what a Newton step needs."""

    divergence: float
    gate_score: NamedTuple
    gate_information: np.ndarray


def loads(work):
    """Return the total responsibility of each expert."""
    return work.blocks.sum(lambda block, p: work.model.posterior(block, p)[1] @ block.weight, work.params)


def one_per_group(model, params, groups, load):
    """Return parameters with one expert per group: the load-weighted mean of its members, their masses added."""
    return MoEParams(model.gate.merge(params.gate, groups, load), model.expert.merge(params.expert, groups, load))


def _pooled(rows, groups):
    return np.array([rows[list(group)].sum(axis=0) for group in groups])


def pooled_experts(work, groups, load):
    r"""Return the experts' M-step on :math:`r_C = \sum_{i \in C} r_i`; groups may overlap."""
    model, blocks, params = work
    like = model.expert.merge(params.expert, groups, load)

    def suffstats(block, p):
        resp = _pooled(model.posterior(block, p)[1], groups) * block.weight
        return model.expert.suffstats(block.rows, like, block.spread(resp))

    expert = model.expert.m_step(blocks.sum(suffstats, params), like)

    def value(block, p):
        resp = _pooled(model.posterior(block, p)[1], groups)
        density = model.log_density(block, p._replace(expert=expert))
        return (resp * np.where(resp > 0, density, 0.0)) @ block.weight

    return Pooling(expert, blocks.sum(value, params), _pooled(load, groups))


def pooled_gate(work, groups, load):
    r"""Return the gate nearest to the pooled one, and the Kullback-Leibler divergence per row that is left.

    .. math:: \min_\beta\; \frac1n \sum_x \sum_C \Pi_C(x) \log \frac{\Pi_C(x)}{\pi_C(x; \beta)},
              \qquad \Pi_C = \sum_{i \in C} \pi_i

    by guarded Newton steps from the mean of the members and from a flat gate. A gate whose likelihood jumps takes the
    steps as a softmax gate.
    """
    start = work.model.gate.merge(work.params.gate, groups, load)
    if len(groups) == 1:
        return work.model.gate.canonical(start), 0.0
    share = np.maximum(_pooled(load, groups), _SMALLEST_LOAD * load.sum())
    flat = work.model.gate.flat(start, share / share.sum())
    ends = [_project(work, groups, gate) for gate in (start, flat)]
    gate, divergence = min(ends, key=lambda end: end[1])
    return work.model.gate.canonical(gate), max(divergence, 0.0) / work.blocks.total_weight


def _project(work, groups, gate):
    model, blocks, params = work
    smooth = model._replace(gate=model.gate.dense())
    chart = smooth.gate_chart(gate)

    def visit(block, candidate):
        wanted = _pooled(model.gate_proba(block, params), groups)
        proba, weight = smooth.gate_proba(block, MoEParams(candidate, None)), block.weight
        ratio = np.log(np.maximum(wanted, _TINY)) - np.log(np.maximum(proba, _TINY))
        score = smooth.gate.pullback(block.gate_Z, candidate, weight * (wanted - proba))
        information = smooth.gate.information(block.gate_Z, candidate, proba, weight)
        return _Projection(float(weight @ (wanted * ratio).sum(axis=0)), score, information)

    here = blocks.sum(visit, gate)
    for _ in range(_STEPS):
        theta, step = chart.pack(gate), newton_gate_step(chart, here, gate)
        for t in 0.5 ** np.arange(_HALVINGS):
            candidate = chart.unpack(theta + t * step)
            new = blocks.sum(visit, candidate)
            if new.divergence < here.divergence:
                break
        gain = here.divergence - new.divergence
        if gain > 0:
            gate, here = candidate, new
        if not gain > _GAIN * blocks.total_weight:
            break
    return gate, here.divergence


def pooled_params(work, groups, load, gate=None):
    """Return parameters with one expert per group, in working coordinates, and their log-likelihood.

    The experts are those of `pooled_experts`; the gate is that of `pooled_gate` or the mean of the members', whichever
    gives the higher log-likelihood.
    """
    expert = pooled_experts(work, groups, load).expert
    gate = pooled_gate(work, groups, load)[0] if gate is None else gate
    mean = work.model.gate.canonical(work.model.gate.merge(work.params.gate, groups, load))
    candidates = [MoEParams(mean, expert), MoEParams(gate, expert)]
    logliks = [work.blocks.sum(work.model.loglik, params) for params in candidates]
    best = int(np.argmax(logliks))
    return candidates[best], logliks[best]
