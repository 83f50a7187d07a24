"""Top-K gates: come down from a relaxed gate, then search the jumps of the likelihood line by line."""

import numpy as np

from smoe._kernels.designs import predictors
from smoe._kernels.line_search import search_lines
from smoe._kernels.top_k import gather, top_k_experts
from smoe.chance import merit
from smoe.gates.base import LinearGateParams
from smoe.gates.softmax import SoftmaxGate
from smoe.gates.top_k import RelaxedTopKGate, TopKGate
from smoe.params import MoEParams, n_experts_of
from smoe.solvers.base import Fit, Solver, summarise
from smoe.solvers.chain import EMNewton
from smoe.solvers.em import EM
from smoe.solvers.gate_steps import newton_gate_step
from smoe.solvers.newton import Newton

__all__ = ["SupportSearch"]

_COOL = tuple((width, 5) for width in (0.3, 0.1, 0.03))  # widths and EM iterations of a second look at a start
_ANNEAL = tuple((width, 8) for width in (1.0, 0.5, 0.25, 0.12, 0.06, 0.03, 0.01, 0.003, 0.001, 0.0003))
_REACH = 30.0  # how far a line goes, in root mean square change of the score (top_k = 1: in spreads of the scores)
_ROWS = 20_000  # rows for annealing and first lines; more rows are represented by as many
_TIED = 1e-12  # relative gap of ranks that is rounding
_ALL_ROWS = 500_000  # rows for the other lines: they are held in memory at once


class SupportSearch(Solver):
    """Finds maxima of top-K gates, whose likelihood is smooth only where no row changes its experts.

    1. *Annealing.* EM climbs the likelihood of a relaxed gate (`smoe.gates.RelaxedTopKGate`) whose width falls from 1
       to 0.0003, eight iterations at each of ten widths.
    2. *Lines.* One expert's row of the gate moves along a random direction that keeps up to d rows near a boundary
       where they are. Each row of the data changes its experts at most once along the line, at a known point and by a
       known amount, so all break points are sorted and the best stretch between two of them is found in one sweep;
       the step is taken if the exact log-likelihood rises. Rounds of lines alternate with guarded EM, which leaves the
       gate to the lines once a step of its own falls.
    3. *Polish.* Newton on the piece reached, judged on the exact log-likelihood.

    The observed log-likelihood never falls from the end of the annealing on. Measured on random truths with 3 to 5
    experts, one or two of them selected, 1 to 3 features and 4,000 rows: L-BFGS from the best dense fit reached the
    truth's log-likelihood in none of 12, annealing alone in 55 of 60, annealing and lines from starts screened by lines
    in 60 of 60. Lost by the wayside: screening by dense likelihood alone (it misleads for one selected expert), random
    proposals (they do not scale with the number of slopes), L-BFGS on the relaxed likelihood (it stops at kinks).

    Parameters
    ----------
    max_iter : int, default=100
        Largest number of rounds, the polish included. The search works on at most 500,000 distinct rows; a larger data
        set is represented by as many, and only the polish sees all rows.
    tol : float, default=1e-8
        Largest score norm per row of the experts of a converged fit.
    n_lines : int, default=20
        Lines of a round.
    patience : int, default=3
        The search ends after this many idle rounds.
    gain : float, default=0.01
        A round that raises the log-likelihood by less is idle.
    random_state : int, default=0
        Draws the lines.

    Examples
    --------
    >>> from smoe import TopKMoERegressor
    >>> from smoe.datasets import load_mcycle
    >>> from smoe.solvers import SupportSearch
    >>> X, y = load_mcycle(return_X_y=True)
    >>> model = TopKMoERegressor(3, top_k=1, solver=SupportSearch(patience=5), random_state=0).fit(X, y)
    >>> model.gate_proba(X).sum(axis=0)  # rows of each expert
    array([..., ..., ...])
    """

    requires = ("gate.ranking",)
    n_finished = 3  # a search on all rows is long: fewer starts than usual are taken to the end

    def __init__(self, max_iter=100, tol=1e-8, n_lines=20, patience=3, gain=0.01, random_state=0):
        self.max_iter = max_iter
        self.tol = tol
        self.n_lines = n_lines
        self.patience = patience
        self.gain = gain
        self.random_state = random_state

    def screen(self, model, sample, params):
        """A short look at a start: dense EM, then a few rounds of lines on the exact likelihood."""
        if model.gate.top_k >= n_experts_of(params):
            return EM(15, 0.0).solve(model._replace(gate=SoftmaxGate()), sample, params)
        dense = EM(10, 0.0).climb(model._replace(gate=SoftmaxGate()), sample, params)[0]
        return self._refine(model, sample, dense, n_rounds=3, n_em=2)

    def rescreen(self, model, sample, params):
        """A second look at a promising start: more lines, with and without cooling down from a relaxed gate."""
        if model.gate.top_k >= n_experts_of(params):
            return EM(0, 0.0).solve(model, sample, params)
        begins = (params, _anneal(model, sample, params, _COOL))
        fits = [self._refine(model, sample, begin, n_rounds=4, n_em=2) for begin in begins]
        return max(fits, key=lambda fit: merit(model, sample, fit))

    def _run(self, model, blocks, params):
        if model.gate.top_k >= n_experts_of(params):  # every expert is always selected: a softmax gate
            if model.gate.balance:
                return EM(self.max_iter, self.tol).solve(model, blocks, params)
            return EMNewton(self.max_iter, self.tol).solve(model._replace(gate=SoftmaxGate()), blocks, params)
        trace, left = [blocks.sum(model.loglik, params)], self.max_iter - 2  # two rounds are left for the polish
        rng = np.random.default_rng(self.random_state)
        rows = blocks.representatives(_ROWS, rng)
        best, left = self._descend(model, rows, params, _ANNEAL, left)
        if not rows.complete:  # what few rows have shaped roughly, all rows shape finely
            rows = blocks.representatives(_ALL_ROWS, rng)
            best, left = self._descend(model, rows, best, _ANNEAL[-5:], left)
        fit = self._refine(model, rows, best, left, thorough=2)
        if fit.n_iter > 0 and rows.complete:
            trace += [*fit.trace]
        return self._polish(model, blocks, params, fit, trace)

    def _descend(self, model, rows, params, schedule, left):
        """Anneal, or do not, whichever lines make better; return parameters and the rounds that are left."""
        if left <= 0:
            return params, left
        begins = (params, _anneal(model, rows, params, schedule))
        fits = [self._refine(model, rows, begin, n_rounds=min(4, left)) for begin in begins]
        best = max(fits, key=lambda fit: merit(model, rows, fit))
        return best.params, left - best.n_iter

    def _refine(self, model, rows, params, n_rounds, n_em=3, thorough=1):
        """Alternate rounds of lines with guarded EM until nothing has changed for some rounds; return a `Fit`.

        A round has ``thorough`` times as many lines as usual.
        """
        rng, block, idle = np.random.default_rng(self.random_state), rows.block, 0
        trace = [rows.sum(model.loglik, params)]
        while len(trace) <= n_rounds and idle < self.patience:
            begin = _first_in_ties(model, rows, _sharpened(model.gate, block.gate_Z, params))
            log_density = model.expert.log_prob(block.expert_Z, block.y, begin.expert)
            gate = _search_lines(model.gate, block, log_density, begin.gate, thorough * self.n_lines, rng)
            end, loglik = _climb_piece(model, rows, MoEParams(gate, begin.expert), n_em)
            idle = 0 if loglik > trace[-1] + self.gain else idle + 1
            if loglik >= trace[-1] or model.gate.balance:
                params = end
                trace.append(loglik)
            else:  # rounding
                trace.append(trace[-1])
        return Fit(params, trace[-1], np.nan, len(trace) - 1, idle >= self.patience, "searched", np.array(trace))

    def _polish(self, model, blocks, start, fit, trace):
        """Make the smooth parameters stationary on all rows, judged on the exact log-likelihood."""
        begin = params = fit.params if blocks.sum(model.loglik, fit.params) >= trace[0] else start
        if self.max_iter > 0:
            # Newton knows nothing of a penalty, and with one expert per row there is nothing that EM does not solve.
            newton = model.gate.top_k > 1 and not model.gate.balance
            climb = Newton(50, self.tol) if newton else EM(50, self.tol, n_halvings=2)
            step = climb._run(model, blocks, params)
            params = step.params if step.loglik >= trace[-1] or model.gate.balance else params
        params = _midway(model, blocks, self._settled(model, blocks, params))
        stats = blocks.sum(model.statistics, params)
        trace = trace if params is begin else [*trace, stats.loglik]
        score = stats.score(model.expert, params)
        end = summarise(model, blocks, params, stats.loglik, score, len(trace) - 1, self.tol, trace, "iteration limit")
        return end._replace(**self._verdict(model, blocks, params, score, fit.converged))

    def _settled(self, model, blocks, params):
        """Give the experts their maximum at this gate where EM has not: on ridges of over-specified models."""
        score = blocks.sum(model.statistics, params).score(model.expert, params)
        if _expert_norm(model, blocks, params, score) <= self.tol or self.max_iter <= 0:
            return params
        held = model._replace(gate=_HeldGate(**model.gate.get_params()))
        return Newton(50, self.tol)._run(held, blocks, params).params

    def _verdict(self, model, blocks, params, score, searched):
        """Whether the search is exhausted and the experts' score vanishes; the gate may rest on a jump."""
        norm = _expert_norm(model, blocks, params, score)
        if not searched:
            return {"converged": False, "status": "iteration limit: lines still raise the log-likelihood"}
        if norm > self.tol:
            status = f"score norm per row of the experts {norm:.1e} > {self.tol:.1e}"
            return {"converged": False, "status": status}
        return {"converged": True, "status": "converged (no line of the support search raises the log-likelihood)"}


def _midway(model, blocks, params):
    """Put the boundaries of a partition midway between the rows next to them, so that rounding does not move a row.

    With one expert per row nothing but the partition matters, and intercepts can be shifted between two rows.
    """
    if model.gate.top_k > 1 or model.gate.rank_by == "slope" or model.gate.balance:
        return params
    gate = params.gate._replace(intercept=params.gate.intercept.copy())
    for k in range(len(gate.intercept)):
        lead = blocks.map(_lead, gate, k)
        inside, outside = lead[lead >= 0], lead[lead < 0]
        if len(inside) and len(outside):
            gate.intercept[k] -= 0.5 * (inside.min() + outside.max())
    moved = params._replace(gate=gate)
    return moved if blocks.sum(model.loglik, moved) == blocks.sum(model.loglik, params) else params


def _lead(block, gate, k):
    """How far the score of expert k is above the largest of the others, row by row."""
    scores = predictors(gate.coef, gate.intercept, block.gate_Z)
    return scores[k] - np.delete(scores, k, axis=0).max(axis=0)


class _HeldGate(TopKGate):
    """A top-K gate none of whose entries is free: the likelihood is smooth in what is left."""

    smooth = True

    def free(self, params):
        return LinearGateParams(*(np.zeros(np.shape(field), dtype=bool) for field in params))


def _expert_norm(model, blocks, params, score):
    """Largest absolute entry of the experts' score per row, in free coordinates and natural units."""
    gradient = model.chart(params).gradient(score, params)[model.gate_chart(params.gate).n_free :]
    return np.abs(gradient).max() / blocks.total_weight


def _anneal(model, rows, params, schedule):
    """Follow the relaxed gate's maximum to smaller widths."""
    params = _sharpened(model.gate, rows.block.gate_Z, params)
    for width, n_iter in schedule:
        gate = RelaxedTopKGate(**model.gate.get_params(), width=width)
        params = EM(n_iter, 0.0).climb(model._replace(gate=gate), rows, params)[0]
        params = _sharpened(model.gate, rows.block.gate_Z, params)
    return params


def _climb_piece(model, rows, params, n_iter):
    """Do guarded EM; return the parameters and their log-likelihood.

    The gate is left alone once its step falls over jumps, as it does mostly: the experts have their own M-step.
    """
    if model.gate.balance:
        params, stats, _ = EM(n_iter, 0.0, n_halvings=2).climb(model, rows, params)
        return params, stats.loglik
    held, chart = model.gate.top_k == 1, model.gate_chart(params.gate)
    for _ in range(n_iter):
        stats = rows.sum(model.statistics, params, not held)
        gate, expert = None, model.expert.m_step(stats.expert, params.expert)
        if not held:
            gate = _gate_step(model, rows, chart, stats, MoEParams(params.gate, expert))
            held = gate is None
        params = MoEParams(params.gate if held else gate, expert)
    return params, rows.sum(model.loglik, params)


def _gate_step(model, rows, chart, stats, params):
    """Return what the gate's Newton step, or a half or a quarter of it, leads to; None if the log-likelihood falls."""
    here, step = chart.pack(params.gate), newton_gate_step(chart, stats, params.gate)
    for t in (1.0, 0.5, 0.25):
        gate = chart.unpack(here + t * step)
        if rows.sum(model.loglik, params._replace(gate=gate)) >= stats.loglik:
            return gate
    return None


def _sharpened(gate, Z, params):
    """With one expert per row only the partition matters: give the scores the scale at which a width of one is wide."""
    if gate.top_k > 1 or not params.gate.coef.any():
        return params
    ranking = gate.ranking(predictors(params.gate.coef, params.gate.intercept, Z), params.gate)
    best, second = gather(ranking, top_k_experts(ranking, 2))
    gap = np.median(best - second)
    if not gap > _TIED * np.abs(ranking).max():
        return params
    return params._replace(gate=LinearGateParams(*(field / gap for field in params.gate)))


def _first_in_ties(model, rows, params):
    """With one expert per row and ranks by slope, intercepts only say who wins ties: let each expert try."""
    if model.gate.top_k > 1 or model.gate.rank_by == "score" or model.gate.balance:
        return params
    best, loglik = params, rows.sum(model.loglik, params)
    for k in range(n_experts_of(params)):
        intercept = best.gate.intercept.copy()
        intercept[k] = intercept.max() + np.ptp(intercept) + 1.0
        rival = params._replace(gate=params.gate._replace(intercept=intercept))
        if (value := rows.sum(model.loglik, rival)) > loglik:
            best, loglik = rival, value
    return best


def _search_lines(gate, block, log_density, params, n_lines, rng):
    """Return gate parameters of higher exact log-likelihood, or the same.

    A line moves one expert's row of the gate in a random direction that moves no boundary at up to d rows close to one.
    """
    order = gate.tie_order(params)
    lines, log_density = np.column_stack(params)[order], np.ascontiguousarray(log_density[order])
    n_experts, p = lines.shape
    draws = (
        rng.integers(n_experts, size=n_lines),
        rng.normal(size=(n_lines, p)),
        rng.integers(p, size=n_lines),
        rng.random((n_lines, p - 1)),
    )
    reach = _REACH * np.std(lines @ block.gate_Z) if gate.top_k == 1 else _REACH
    settings = gate.top_k, p - (gate.rank_by == "slope"), float(gate.balance), float(reach)
    search_lines(lines, block.gate_Z, log_density, block.weight, *settings, *draws)
    lines = lines[np.argsort(order)]
    return LinearGateParams(lines[:, :-1].copy(), lines[:, -1].copy())
