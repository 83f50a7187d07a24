"""The model: a gate and a family of experts, and one pass of it over a block of rows."""

from typing import NamedTuple

import numpy as np

from smoe import fused
from smoe._kernels.observed import expert_products
from smoe._kernels.posterior import posterior, softmax, weighted_posterior
from smoe.constraints import Constraints
from smoe.experts.base import Expert
from smoe.gates.base import Gate
from smoe.params import Chart, MoEParams, chart_of, coordinates, flatten, fold, n_experts_of, unflatten

__all__ = ["Curvature", "MixtureOfExperts", "Statistics"]


_FAR = -1e16  # a log density below this is rounded to more than one
_SHRINK = -600  # a power of two that keeps distances from leaving float64


class Statistics(NamedTuple):
    """What one pass adds up at given parameters; everything belongs to those parameters."""

    loglik: float
    expert: NamedTuple  # sufficient statistics for the experts' M-step
    gate_score: NamedTuple  # gradient of the log-likelihood by the gate's parameters
    gate_information: np.ndarray | None  # for the gate's Newton step
    penalty: tuple | None = None  # what penalties have collected


class Curvature(NamedTuple):
    """Log-likelihood, its gradient, and minus its second derivative in flat order."""

    loglik: float
    score: MoEParams
    information: np.ndarray | None  # None where nobody has asked for it
    penalty: tuple | None = None


class MixtureOfExperts(NamedTuple):
    r"""Density :math:`p(y|x) = \sum_k \pi_k(x) f_k(y|x)`.

    Methods take a block of rows (see ``smoe.rows.Block``) and parameters, and return values; nothing is stored.

    Rows of a block may be grouped: all rows of a group then come from one expert, whose density is the product of
    theirs. Whatever has a column for each of m rows, posteriors, log-likelihoods, weights, the gate's design, then has
    one for each of m groups, and experts still see every row. A row alone is a group of one.
    """

    gate: Gate
    expert: Expert
    penalties: tuple = ()
    constraints: Constraints | None = None

    def init_params(self, n_experts, n_gate_features, n_expert_features):
        """Return parameters of the right shapes: a flat gate and experts that know nothing."""
        gate = self.gate.init_params(n_experts, n_gate_features)
        return MoEParams(gate, self.expert.init_params(n_experts, n_expert_features))

    @property
    def fields(self):
        """What the arrays of both parts are."""
        return MoEParams(self.gate.fields, self.expert.fields)

    def log_density(self, block, params):
        """Return the experts' log densities, (n_experts, m)."""
        return block.summed(self.expert.log_prob(block.rows, params.expert))

    def posterior(self, block, params):
        """Return gate probabilities and responsibilities (n_experts, m), and the log density of each row."""
        return _posterior(self.gate.scores(block.gate_Z, params.gate), self.log_density(block, params))

    def _evaluated(self, block, params):
        """Return what a pass asks of gate and experts, asked once, and the experts' log densities."""
        gate, experts = self.gate.evaluated(block.gate_Z, params.gate), self.expert.evaluated(block.rows, params.expert)
        return gate, experts, block.summed(experts.log_prob)

    def scores_given_earlier(self, block, params):
        """Return scores of single rows that know the rows of their group that come before, (n_experts, n_rows).

        Their softmax are the experts' probabilities given these.
        """
        scores = block.spread(self.gate.scores(block.gate_Z, params.gate))
        earlier = block.earlier(self.expert.log_prob(block.rows, params.expert))
        return np.where(np.isneginf(earlier).all(axis=0), scores, scores + earlier)

    def row_loglik(self, block, params):
        """Return the log density of each single row, (n_rows,), given the rows of its group that come before it."""
        log_density = self.expert.log_prob(block.rows, params.expert)
        return _posterior(self.scores_given_earlier(block, params), log_density)[2]

    def responsibilities(self, block, params):
        """Return the responsibilities alone, (n_experts, m), also where y is so far away that no density is left."""
        proba, resp, loglik = self.posterior(block, params)
        lost = [] if block.grouped else np.flatnonzero(loglik < _FAR)
        normal = self.expert.normal(block.rows.take(lost), params.expert) if len(lost) else None
        if normal is not None:
            resp[:, lost] = _nearest(proba[:, lost], *normal, block.y[..., lost])
        return resp

    def gate_proba(self, block, params):
        """Return the gate's probabilities, (n_experts, m)."""
        scores = self.gate.scores(block.gate_Z, params.gate)
        proba = np.empty_like(scores)
        softmax(scores, proba)
        return proba

    def loglik(self, block, params):
        """Return the observed log-likelihood of the block."""
        return float(block.weight @ self.posterior(block, params)[2])

    def loglik_without(self, block, params, lost):
        """Return the log-likelihood of the block without one expert, nothing fitted again."""
        scores = self.gate.scores_without(block.gate_Z, params.gate, lost)
        others = self.expert.permute(params.expert, [i for i in range(n_experts_of(params)) if i != lost])
        log_density = self.log_density(block, params._replace(expert=others))
        return float(block.weight @ _posterior(scores, log_density)[2])

    def statistics(self, block, params, gate_information=True):
        """Do the E-step: return the log-likelihood here and the statistics of the next M-step."""
        if fused.applies(self, block):
            found = fused.statistics(self, block, params, gate_information)
            return Statistics(*found, self._penalty_sums(block, params))
        weight = block.weight
        gate, experts, log_density = self._evaluated(block, params)
        proba, resp, pull = (np.empty_like(log_density) for _ in range(3))
        loglik = weighted_posterior(gate.scores, log_density, weight, proba, resp, pull)
        return Statistics(
            loglik,
            experts.suffstats(block.spread(resp)),
            gate.pullback(pull),
            gate.information(proba, weight) if gate_information else None,
            self._penalty_sums(block, params),
        )

    def gradient(self, block, params):
        """Return log-likelihood and score alone, a `Curvature` without information: no matrix, however many columns."""
        proba, resp, loglik = self.posterior(block, params)
        resp *= block.weight
        expert = self.expert.pullback(block.rows, params.expert, resp)
        gate = self.gate.pullback(block.gate_Z, params.gate, resp - block.weight * proba)
        return Curvature(float(block.weight @ loglik), MoEParams(gate, expert), None, self._penalty_sums(block, params))

    @property
    def active_penalties(self):
        """All penalties: the model's own, and those that its gate asks for."""
        return (*self.penalties, *self.gate.penalties())

    def bound(self, scaling):
        """Return the model whose penalties know the working coordinates."""
        constraints = None if self.constraints is None else self.constraints.bind(self, scaling)
        penalties = tuple(penalty.bind(self, scaling) for penalty in self.penalties)
        return self._replace(penalties=penalties, constraints=constraints)

    @property
    def plain(self):
        """Whether each part has its own M-step: no penalty and no constraint."""
        return self.constraints is None and not self.active_penalties

    @property
    def n_frozen(self):
        """How many experts are known; they come first."""
        return 0 if self.constraints is None else self.constraints.n_frozen

    def settled(self, params):
        """Return the parameters with what constraints ask for."""
        return params if self.constraints is None else params._replace(expert=self.constraints.settled(params.expert))

    def _penalty_sums(self, block, params, curved=False):
        active = self.active_penalties
        return tuple([penalty.sums(self, block, params, curved) for penalty in active]) if active else None

    def _penalised(self, method, params, result, n):
        pairs = zip(self.active_penalties, result.penalty or (), strict=True)
        return [getattr(penalty, method)(self, params, sums, n) for penalty, sums in pairs]

    def objective(self, params, result, n):
        """Return what is maximised, the log-likelihood minus the penalties, from what a pass over all rows added up.

        Parameters
        ----------
        params : MoEParams
        result : Statistics or Curvature
        n : float
            Sum of the weights.
        """
        return result.loglik - sum(self._penalised("value", params, result, n))

    @property
    def kinked(self):
        """The penalty that has kinks at zero, or None."""
        return next((penalty for penalty in self.active_penalties if penalty.kinked), None)

    def score(self, params, result, n):
        """Return its gradient, shaped like the parameters (Fisher's identity); at kinks the steepest ascent."""
        score, net = self.smooth_score(params, result, n), self.kinked
        return score if net is None else net.steepest(params, score, n)

    def smooth_score(self, params, result, n):
        """Return the gradient of all but absolute values and lengths."""
        if isinstance(result, Curvature):
            score = result.score
        else:
            score = MoEParams(result.gate_score, self.expert.score(result.expert, params.expert))
        slopes = self._penalised("gradient", params, result, n)
        return unflatten(flatten(score) - sum(map(flatten, slopes)), params) if slopes else score

    def information(self, params, result, n):
        """Return minus its second derivative, in flat order, from a `Curvature`."""
        smooth = self.smooth_information(params, result, n)
        return smooth if self.kinked is None else smooth + self.kinked.kink_curvature(params, n)

    def smooth_information(self, params, result, n):
        """Return that of all but absolute values and lengths."""
        return sum(self._penalised("curvature", params, result, n), result.information)

    def penalty_curvature(self, params, result, n):
        """Return the second derivative of the penalties alone, zero where a pass has not collected it."""
        size = flatten(params).size
        return sum(self._penalised("curvature", params, result, n), np.zeros((size, size)))

    @property
    def remark(self):
        """What a user must know about the estimates, added to ``status_``."""
        return "; ".join(filter(None, [self.gate.remark, *(penalty.remark for penalty in self.active_penalties)]))

    def curvature(self, block, params):
        """Return log-likelihood, score and observed information.

        With c the complete-data log density, minus the second derivative of a row's log density is
        E_r(-d2 c) - Var_r(dc): the gate's block, the experts' block, and the covariance between them. The scores dc of
        a group are the sums of its rows' scores.
        """
        if fused.applies(self, block):
            loglik, stats, gate_score, gate_block, cross, expert_block = fused.curvature(self, block, params)
        else:
            gate, experts, log_density = self._evaluated(block, params)
            proba, resp, rows_loglik = _posterior(gate.scores, log_density)
            weight, weighted = block.weight, resp * block.weight
            loglik = float(weight @ rows_loglik)
            scores, of_rows = block.summed(experts.row_scores()), block.spread(weighted)
            stats = experts.suffstats(of_rows)
            gate_score = gate.pullback(weighted - weight * proba)
            gate_block = gate.information(proba, weight, resp)
            cross = self._cross_information(gate, params, scores, weighted, resp)
            own = experts.curvature(of_rows, stats)
            expert_block = self._expert_information(block, params, scores, weighted, own)
        score = MoEParams(gate_score, self.expert.score(stats, params.expert))
        information = _symmetric(gate_block, cross, expert_block)
        return Curvature(loglik, score, information, self._penalty_sums(block, params, curved=True))

    def _expert_information(self, block, params, scores, weighted, own):
        """E_r(-d2 log f) - Var_r(d log f), experts by experts."""
        out = fused.with_own(expert_products(weighted, 1.0 / block.weight, scores), own)
        return fold(fold(out, params.expert), params.expert, axis=1)

    def _cross_information(self, gate, params, scores, weighted, resp):
        """Minus Cov_r of the gate's and the experts' scores: what an expert's entry does to resp, pulled back."""
        columns = []
        for k, own in enumerate(scores):
            covariance = weighted[k] * resp
            covariance[k] -= weighted[k]
            pulled = gate.pullback(own[:, None] * covariance)
            columns += [flatten(type(pulled)(*(field[e] for field in pulled))) for e in range(len(own))]
        return fold(np.column_stack(columns), params.expert, axis=1)

    def chart(self, params, held=True):
        """Return the coordinates in which solvers and certificates work, with the units of these parameters.

        Entries that a penalty holds at zero are left out, unless ``held`` is False.
        """
        parts = coordinates(self.gate, params.gate), coordinates(self.expert, params.expert)
        free, *bounds = map(np.concatenate, zip(*parts, strict=True))
        if self.kinked is not None:
            free = self.kinked.free(params, free, held)
        return Chart(params, *self._constrained(free, bounds, params.expert))

    def _constrained(self, free, bounds, expert):
        """Return what a chart is made with, given what it would be made with if there were no constraints."""
        if self.constraints is None:
            return free, *bounds
        free, tie = self.constraints.applied(free, expert)
        return free, *bounds, tie

    def chance_terms(self, params, n_features):
        """Return how many coefficients an expert's mean has, see `smoe.experts.Expert.chance_terms`.

        Where a penalty holds slopes at zero it is each expert's number of others, and the intercept.
        """
        n_terms = self.expert.chance_terms(n_features)
        if n_terms is None or self.kinked is None:
            return n_terms
        return 1 + self.kinked.n_left(params)

    def n_parameters(self, params):
        """Return the degrees of freedom of the gate and of all: entries that are free, each freedom counted once."""
        free, n_gate = self.chart(params).free, flatten(params.gate).size
        lost = 0 if self.kinked is None else self.kinked.n_redundant(params)
        return int(free[:n_gate].sum()) - lost, int(free.sum()) - lost

    def canonical(self, params):
        """Return the representative, in working coordinates, of all parameters with the same density and penalty."""
        params = params._replace(gate=self.gate.canonical(params.gate))
        return params if self.kinked is None else self.kinked.centred(params)

    def user_canonical(self, gate):
        """Return the same of a gate in the user's units: slopes that a penalty has placed stay."""
        canonical = self.gate.canonical(gate)
        return canonical if self.kinked is None else self.kinked.placed(canonical, gate)

    def gate_chart(self, params):
        """Return the same for the gate's parameters alone."""
        return chart_of(self.gate, params)

    def expert_chart(self, params):
        """Return the same for the experts' parameters alone."""
        free, *bounds = coordinates(self.expert, params)
        return Chart(params, *self._constrained(free, bounds, params))

    def mean(self, block, params):
        """Return the mean of y given x, (m,) or (q, m); a sparse gate's idle experts are not evaluated."""
        sparse = self.gate.sparse_proba(block.gate_Z, params.gate)
        if sparse is not None:
            proba, chosen = sparse
            return _averaged(proba, self.expert.mean_of(block.rows, params.expert, chosen))
        return _averaged(self.gate_proba(block, params), self.expert.mean(block.rows, params.expert))

    def mean_and_std(self, block, params):
        """Return the mean and the standard deviation of one response given x, row by row, (2, m)."""
        proba = self.gate_proba(block, params)
        means = self.expert.mean(block.rows, params.expert)
        mean = _averaged(proba, means)
        with np.errstate(invalid="ignore"):
            apart = np.where((proba > 0) & np.isfinite(mean), np.abs(means - mean), 0.0)
        within = np.where(proba > 0, np.sqrt(self.expert.variance(block.rows, params.expert)), 0.0)
        unit = np.maximum(apart, within).max(axis=0)  # squares of far apart means leave float64
        unit = np.where((unit > 0) & np.isfinite(unit), unit, 1.0)  # a variance may be infinite
        spread = (proba * ((within / unit) ** 2 + (apart / unit) ** 2)).sum(axis=0)
        return np.array([mean, unit * np.sqrt(spread)])

    def sample(self, block, params, rng):
        """Draw y and the label of the expert it came from, row by row; the rows of a group have one label."""
        cumulative = np.cumsum(self.gate_proba(block, params), axis=0)
        label = (rng.random(cumulative.shape[1]) * cumulative[-1] >= cumulative).sum(axis=0)
        label = block.spread(np.minimum(label, len(cumulative) - 1))
        return self.expert.sample(block.rows, label, params.expert, rng), label


def _posterior(scores, log_density):
    """Return probabilities and responsibilities (n_experts, m), and log densities (m,)."""
    proba, resp, loglik = np.empty_like(scores), np.empty_like(scores), np.empty(scores.shape[1])
    posterior(scores, log_density, proba, resp, loglik)
    return proba, resp, loglik


def _averaged(proba, means):
    """Return the means of y, (m,) or (q, m); infinite ones of experts that have no probability do not count."""
    proba = proba if means.ndim == 2 else proba[:, None]
    if not np.isfinite(means).all():
        means = np.where(proba > 0, means, 0.0)
    return (proba * means).sum(axis=0)


def _nearest(proba, mean, spread, y):
    """Return responsibilities (n_experts, m) of normal experts for responses at which all their densities underflow.

    There the nearest expert in its own standard deviations has all, or of equally near ones that whose mean lies
    towards y. Several responses have covariance matrices for a spread.
    """
    apart = np.ldexp(y, _SHRINK) - np.ldexp(mean, _SHRINK)
    distance = np.abs(apart) / spread if mean.ndim == 2 else _mahalanobis(apart, spread)
    distance = np.where(proba > 0, distance, np.inf)
    nearest = distance == distance.min(axis=0)
    along = np.sign(y) * mean
    towards = np.where(nearest, along if mean.ndim == 2 else along.sum(axis=1), -np.inf)
    share = proba * (nearest & (towards == towards.max(axis=0)))
    return share / share.sum(axis=0)


def _mahalanobis(apart, covariance):
    """Return the lengths (n_experts, m) of vectors (n_experts, q, m) by covariance matrices, whatever their size."""
    root = np.linalg.cholesky(np.moveaxis(covariance, -1, 1))
    z = np.linalg.solve(root, np.moveaxis(apart, -1, 1)[..., None])[..., 0]
    largest = np.maximum(np.abs(z).max(axis=-1), np.finfo(float).tiny)
    return largest * np.sqrt(((z / largest[..., None]) ** 2).sum(axis=-1))


def _symmetric(gate, cross, expert):
    n = len(gate)
    out = np.empty((n + len(expert), n + len(expert)))
    out[:n, :n], out[:n, n:], out[n:, :n], out[n:, n:] = gate, cross, cross.T, expert
    return out
