"""Gates that jump: come down from a relaxed gate, then search the jumps of the likelihood line by line."""

import numpy as np

from smoe.chance import merit
from smoe.hints import Seed
from smoe.params import MoEParams, n_experts_of
from smoe.solvers.base import Fit, Solver, summarise
from smoe.solvers.chain import EMNewton
from smoe.solvers.em import EM
from smoe.solvers.em_step import em_step
from smoe.solvers.newton import Newton
from smoe.validation import check_number, own_generator

__all__ = ["SupportSearch"]

_COOL = tuple((width, 5) for width in (0.3, 0.1, 0.03))  # widths and EM iterations of a second look at a start
_ANNEAL = tuple((width, 8) for width in (1.0, 0.5, 0.25, 0.12, 0.06, 0.03, 0.01, 0.003, 0.001, 0.0003))
_ROWS = 20_000  # rows for annealing and first lines; more rows are represented by as many
_ALL_ROWS = 500_000  # rows for the other lines: they are held in memory at once


class SupportSearch(Solver):
    """Finds maxima of top-K and top-p gates, whose likelihood is smooth only where no row changes its experts.

    1. *Annealing.* EM climbs the likelihood of a relaxed gate (`smoe.gates.RelaxedTopKGate`) whose width falls from 1
       to 0.0003, eight iterations at each of ten widths.
    2. *Lines.* One expert's row of the gate moves along a random direction that keeps up to d rows near a boundary
       where they are. Each row of the data changes its experts at most once along the line (with a top-p gate a few
       times), at a known point and by a known amount, so all break points are sorted and the best stretch between two
       of them is found in one sweep; the step is taken if the exact log-likelihood rises. Rounds of lines alternate
       with guarded EM, which leaves the gate to the lines once a step of its own falls.
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
    random_state : int, Generator, RandomState or None, default=0
        Draws the lines. A Generator or RandomState stays where it stands: every start gets the same lines.

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

    requires = ("gate.search_lines", "gate.relaxed", "gate.held", "gate.sharpened")
    n_finished = 3  # a search on all rows is long: fewer starts than usual are taken to the end

    def __init__(
        self,
        max_iter: int = 100,
        tol: float = 1e-8,
        n_lines: int = 20,
        patience: int = 3,
        gain: float = 0.01,
        random_state: Seed = 0,
    ) -> None:
        self.max_iter = max_iter
        self.tol = tol
        self.n_lines = n_lines
        self.patience = patience
        self.gain = gain
        self.random_state = random_state

    def check(self):
        super().check()
        check_number(self.n_lines, "n_lines", 1, integer=True)
        check_number(self.patience, "patience", 1, integer=True)
        check_number(self.gain, "gain", 0.0)
        own_generator(self.random_state)

    def screen(self, model, sample, params):
        """A short look at a start: dense EM, then a few rounds of lines on the exact likelihood."""
        dense = model._replace(gate=model.gate.dense())
        if _selects_all(model, params):
            return EM(15, 0.0).solve(dense, sample, params)
        dense = EM(10, 0.0).climb(dense, sample, params)[0]
        return self._refine(model, sample, dense, n_rounds=3, n_em=2)

    def rescreen(self, model, sample, params):
        """A second look at a promising start: more lines, with and without cooling down from a relaxed gate."""
        if _selects_all(model, params):
            return EM(0, 0.0).solve(model, sample, params)
        begins = (params, _anneal(model, sample, params, _COOL))
        fits = [self._refine(model, sample, begin, n_rounds=4, n_em=2) for begin in begins]
        return max(fits, key=lambda fit: merit(model, sample, fit))

    def _run(self, model, blocks, params):
        if _selects_all(model, params):  # every expert is always selected: a softmax gate
            dense = model._replace(gate=model.gate.dense(), penalties=model.active_penalties)
            return EMNewton(self.max_iter, self.tol).solve(dense, blocks, params)
        trace, left = [_objective(model, blocks, params)], self.max_iter - 2  # two rounds are left for the polish
        rng = own_generator(self.random_state)
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
        rng, block, idle = own_generator(self.random_state), rows.block, 0
        trace = [_objective(model, rows, params)]
        while len(trace) <= n_rounds and idle < self.patience:
            begin = _best_of_ties(model, rows, params)
            log_density = model.log_density(block, params)
            gate = model.gate.search_lines(block, log_density, begin.gate, thorough * self.n_lines, rng)
            end, value = _climb_piece(model, rows, MoEParams(gate, params.expert), n_em)
            idle = 0 if value > trace[-1] + self.gain else idle + 1
            if value >= trace[-1]:
                params = end
                trace.append(value)
            else:  # rounding, or a penalty that lines do not see
                trace.append(trace[-1])
        done = np.nan, len(trace) - 1, idle >= self.patience, "searched", np.array(trace)
        return Fit(params, rows.sum(model.loglik, params), *done, objective=trace[-1])

    def _polish(self, model, blocks, start, fit, trace):
        """Make the smooth parameters stationary on all rows, judged on the exact log-likelihood."""
        begin = params = fit.params if _objective(model, blocks, fit.params) >= trace[0] else start
        if self.max_iter > 0:  # with one expert per row there is nothing that EM does not solve
            newton = model.gate.n_selected(n_experts_of(params)) > 1
            climb = Newton(50, self.tol) if newton else EM(50, self.tol, n_halvings=2)
            step = climb._run(model, blocks, params)
            params = step.params if step.objective >= trace[-1] else params
        if self.max_iter > 0:
            params = _midway(model, blocks, self._settled(model, blocks, params))
        stats = blocks.sum(model.statistics, params)
        trace = trace if params is begin else [*trace, model.objective(params, stats, blocks.total_weight)]
        score = model.score(params, stats, blocks.total_weight)
        end = summarise(model, blocks, params, stats, len(trace) - 1, self.tol, trace, "iteration limit")
        return end._replace(**self._verdict(model, blocks, params, score, fit.converged))

    def _settled(self, model, blocks, params):
        """Give the experts their maximum at this gate where EM has not: on ridges of over-specified models."""
        score = model.score(params, blocks.sum(model.statistics, params), blocks.total_weight)
        if _expert_norm(model, blocks, params, score) <= self.tol or self.max_iter <= 0:
            return params
        held = model._replace(gate=model.gate.held())
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
    """Put the boundaries of a partition midway between the rows next to them, so that rounding does not move a row."""
    if model.active_penalties:
        return params
    moved = params._replace(gate=model.gate.midway(params.gate, blocks))
    return moved if blocks.sum(model.loglik, moved) == blocks.sum(model.loglik, params) else params


def _best_of_ties(model, rows, params):
    """Let each expert win the rows on which ranks tie, and return the best."""
    params = params._replace(gate=model.gate.sharpened(rows.block.gate_Z, params.gate))
    rivals = [params._replace(gate=gate) for gate in model.gate.tie_winners(params.gate)]
    if not model.plain or not rivals:
        return params
    return max([params, *rivals], key=lambda rival: rows.sum(model.loglik, rival))


def _selects_all(model, params):
    return model.gate.selects_all(n_experts_of(params))


def _objective(model, blocks, params):
    """What is maximised: the log-likelihood, minus penalties if there are any."""
    if not model.active_penalties:
        return blocks.sum(model.loglik, params)
    return model.objective(params, blocks.sum(model.statistics, params, False), blocks.total_weight)


def _expert_norm(model, blocks, params, score):
    """Largest absolute entry of the experts' score per row, in free coordinates and natural units."""
    gradient = model.chart(params).gradient(score, params)[model.gate_chart(params.gate).n_free :]
    return np.abs(gradient).max() / blocks.total_weight


def _anneal(model, rows, params, schedule):
    """Follow the relaxed gate's maximum to smaller widths."""

    def sharpened(at):
        return at._replace(gate=model.gate.sharpened(rows.block.gate_Z, at.gate))

    params = sharpened(params)
    for width, n_iter in schedule:
        relaxed = model._replace(gate=model.gate.relaxed(width))
        params = sharpened(EM(n_iter, 0.0).climb(relaxed, rows, params)[0])
    return params


def _climb_piece(model, rows, params, n_iter):
    """Do guarded EM; return the parameters and the value of what is maximised.

    The gate is left alone once its step falls over jumps, as it does mostly: the experts have their own M-step.
    """
    if not model.plain or not model.expert.exact_m_step:
        params, stats, _ = EM(n_iter, 0.0, n_halvings=2).climb(model, rows, params)
        return params, model.objective(params, stats, rows.total_weight)
    held = model.gate.n_selected(n_experts_of(params)) == 1
    for _ in range(n_iter):
        stats = rows.sum(model.statistics, params, not held)
        gate, expert = None, model.expert.m_step(stats.expert, params.expert)
        if not held:
            gate = _gate_step(model, rows, em_step(model, params, stats, rows.total_weight), stats.loglik)
            held = gate is None
        params = MoEParams(params.gate if held else gate, expert)
    return params, rows.sum(model.loglik, params)


def _gate_step(model, rows, step, floor):
    """Return the gate after its step, or a half or a quarter of it; None if the log-likelihood falls."""
    for t in (1.0, 0.5, 0.25):
        candidate = step(t)
        if rows.sum(model.loglik, candidate) >= floor:
            return candidate.gate
    return None
