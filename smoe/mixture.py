"""The model: a gate and a family of experts, and one pass of it over a block of rows."""

from typing import NamedTuple

import numpy as np

from smoe._kernels.posterior import posterior, softmax
from smoe.experts.base import Expert
from smoe.gates.base import Gate
from smoe.params import Chart, MoEParams, flatten

__all__ = ["Curvature", "MixtureOfExperts", "Statistics"]


class Statistics(NamedTuple):
    """What one pass adds up at given parameters; everything belongs to those parameters."""

    loglik: float
    expert: NamedTuple  # sufficient statistics for the experts' M-step
    gate_score: NamedTuple  # gradient of the log-likelihood by the gate's parameters
    gate_information: np.ndarray | None  # for the gate's Newton step
    importance: np.ndarray  # sum of each expert's probabilities, (n_experts,)

    def score(self, expert, params):
        """Gradient of the observed log-likelihood (Fisher's identity)."""
        return MoEParams(self.gate_score, expert.score(self.expert, params.expert))


class Curvature(NamedTuple):
    """Log-likelihood, its gradient, and minus its second derivative in flat order."""

    loglik: float
    score: MoEParams
    information: np.ndarray


class MixtureOfExperts(NamedTuple):
    r"""Density :math:`p(y|x) = \sum_k \pi_k(x) f_k(y|x)`.

    Methods take a block of rows (see ``smoe.blocks.Block``) and parameters, and return values; nothing is stored.
    """

    gate: Gate
    expert: Expert

    def init_params(self, n_experts, n_gate_features, n_expert_features):
        """Return parameters of the right shapes: a flat gate and experts that know nothing."""
        gate = self.gate.init_params(n_experts, n_gate_features)
        return MoEParams(gate, self.expert.init_params(n_experts, n_expert_features))

    def posterior(self, block, params):
        """Return gate probabilities and responsibilities (n_experts, m), and the log density of each row."""
        scores = self.gate.scores(block.gate_Z, params.gate)
        log_density = self.expert.log_prob(block.expert_Z, block.y, params.expert)
        proba, resp = np.empty_like(scores), np.empty_like(scores)
        shift, ratio = np.empty(scores.shape[1]), np.empty(scores.shape[1])
        posterior(scores, log_density, proba, resp, shift, ratio)
        with np.errstate(divide="ignore"):
            return proba, resp, shift + np.log(ratio)

    def gate_proba(self, block, params):
        """Return the gate's probabilities, (n_experts, m)."""
        scores = self.gate.scores(block.gate_Z, params.gate)
        proba = np.empty_like(scores)
        softmax(scores, proba)
        return proba

    def loglik(self, block, params):
        """Return the observed log-likelihood of the block."""
        return float(block.weight @ self.posterior(block, params)[2])

    def statistics(self, block, params, gate_information=True):
        """Do the E-step: return the log-likelihood here and the statistics of the next M-step."""
        proba, resp, loglik = self.posterior(block, params)
        information = None
        if gate_information:
            information = self.gate.information(block.gate_Z, params.gate, proba, block.weight)
        resp *= block.weight
        proba *= block.weight
        return Statistics(
            float(block.weight @ loglik),
            self.expert.suffstats(block.expert_Z, block.y, params.expert, resp),
            self.gate.pullback(block.gate_Z, params.gate, resp - proba),
            information,
            proba.sum(axis=1),
        )

    def penalty_score(self, block, params, slope):
        """Return the gradient, by the gate's parameters, of a penalty with this slope in the experts' importance."""
        proba = self.gate_proba(block, params)
        pull = proba * (slope[:, None] - slope @ proba)
        return self.gate.pullback(block.gate_Z, params.gate, block.weight * pull)

    def curvature(self, block, params):
        """Return log-likelihood, score and observed information.

        With c the complete-data log density, minus the second derivative of a row's log density is
        E_r(-d2 c) - Var_r(dc): the gate's block, the experts' block, and the covariance between them.
        """
        proba, resp, loglik = self.posterior(block, params)
        weight = block.weight
        weighted = weight * resp
        rows = self.expert.row_scores(block.expert_Z, block.y, params.expert)
        gate_score = self.gate.pullback(block.gate_Z, params.gate, weighted - weight * proba)
        stats = self.expert.suffstats(block.expert_Z, block.y, params.expert, weighted)
        gate_block = self.gate.information(block.gate_Z, params.gate, proba, weight, resp)
        expert_block = self._expert_information(block, params, rows, weighted, resp)
        cross = self._cross_information(block, params, rows, weighted, resp)
        information = np.block([[gate_block, cross], [cross.T, expert_block]])
        score = MoEParams(gate_score, self.expert.score(stats, params.expert))
        return Curvature(float(weight @ loglik), score, information)

    def _expert_information(self, block, params, rows, weighted, resp):
        """E_r(-d2 log f) - Var_r(d log f), experts by experts."""
        n_experts, width, m = rows.shape
        diagonal = self.expert.curvature(block.expert_Z, block.y, params.expert, weighted)
        out = np.zeros((n_experts, width, n_experts, width))
        for k in range(n_experts):
            out[k, :, k] = diagonal[k] - (weighted[k] * rows[k]) @ rows[k].T
        mean = (resp[:, None] * rows).reshape(n_experts * width, m)
        return out.reshape(n_experts * width, -1) + (block.weight * mean) @ mean.T

    def _cross_information(self, block, params, rows, weighted, resp):
        """Minus Cov_r of the gate's and the experts' scores: what an expert's entry does to resp, pulled back."""
        n_experts, width, _ = rows.shape
        columns = []
        for k in range(n_experts):
            covariance = -weighted[k] * resp
            covariance[k] += weighted[k]
            pulled = self.gate.pullback(block.gate_Z, params.gate, rows[k][:, None] * covariance)
            columns += [-flatten(type(pulled)(*(field[e] for field in pulled))) for e in range(width)]
        return np.column_stack(columns)

    def chart(self, params):
        """Return the coordinates in which solvers and certificates work, with the units of these parameters."""
        gate, expert = self.gate_chart(params.gate), _chart(self.expert, params.expert)
        return Chart(params, *(np.concatenate(pair) for pair in zip(gate[1:], expert[1:], strict=True)))

    def gate_chart(self, params):
        """Return the same for the gate's parameters alone."""
        return _chart(self.gate, params)

    def mean(self, block, params):
        """Return the mean of y given x, row by row; a sparse gate's idle experts are not evaluated."""
        sparse = self.gate.sparse_proba(block.gate_Z, params.gate)
        if sparse is not None:
            proba, chosen = sparse
            return (proba * self.expert.mean_of(block.expert_Z, params.expert, chosen)).sum(axis=0)
        return (self.gate_proba(block, params) * self.expert.mean(block.expert_Z, params.expert)).sum(axis=0)

    def mean_and_variance(self, block, params):
        """Return the mean and the variance of y given x, row by row."""
        proba = self.gate_proba(block, params)
        means = self.expert.mean(block.expert_Z, params.expert)
        mean = (proba * means).sum(axis=0)
        spread = self.expert.variance(block.expert_Z, params.expert) + (means - mean) ** 2
        return mean, (proba * spread).sum(axis=0)

    def sample(self, block, params, rng):
        """Draw y and the label of the expert it came from, row by row."""
        cumulative = np.cumsum(self.gate_proba(block, params), axis=0)
        label = (rng.random(cumulative.shape[1]) * cumulative[-1] >= cumulative).sum(axis=0)
        label = np.minimum(label, len(cumulative) - 1)
        return self.expert.sample(block.expert_Z, label, params.expert, rng), label


def _chart(family, params):
    lower = {name: np.full(np.shape(f), family.lower.get(name, -np.inf)) for name, f in params._asdict().items()}
    free = flatten(family.free(params)).astype(bool)
    return Chart(params, free, flatten(type(params)(**lower)), flatten(family.units(params)))
