"""The EM algorithm, guarded on the observed log-likelihood."""

from itertools import chain

import numpy as np

from smoe import fused
from smoe.mixture import Statistics
from smoe.params import MoEParams
from smoe.solvers.base import Fit, Solver, score_norm, summarise
from smoe.solvers.gate_steps import newton_gate_step
from smoe.validation import check_number

__all__ = ["EM"]

_MOST_HALVINGS = 1000  # half of a half ... is zero after so many
_SLACK = 1e-13  # relative rounding of a sum over rows: a fall within it is no fall


class EM(Solver):
    """Expectation-maximisation with one Newton step for the gate per iteration.

    The experts' M-step is exact. The gate's step is judged on the observed log-likelihood and halved until that does
    not fall, so the log-likelihood never falls. One pass over the rows per iteration as long as the guard is content.

    EM finds the basin of a maximum and then slows down; on the ridges of over-specified models it does not arrive.
    `Newton` does.

    Parameters
    ----------
    max_iter : int, default=1000
        Largest number of iterations.
    tol : float, default=1e-8
        Stop when the score norm per row is at most this. ``tol=0.0`` runs exactly ``max_iter`` iterations.
    n_halvings : int, default=11
        How often the gate's step is halved before it is given up for this iteration.

    References
    ----------
    Dempster, A. P., Laird, N. M. and Rubin, D. B. (1977). Maximum likelihood from incomplete data via the EM
    algorithm. Journal of the Royal Statistical Society B 39, 1-38.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.solvers import EM
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, solver=EM(max_iter=500), random_state=0).fit(X, y)
    >>> round(model.loglik_, 4)
    -96.0516
    """

    requires = ("gate.information",)

    def __init__(self, max_iter=1000, tol=1e-8, n_halvings=11):
        self.max_iter = max_iter
        self.tol = tol
        self.n_halvings = n_halvings

    def check(self):
        super().check()
        check_number(self.n_halvings, "n_halvings", 0, integer=True, high=_MOST_HALVINGS)

    def _run(self, model, blocks, params):
        params, stats, trace = self.climb(model, blocks, params)
        score = stats.score(model.expert, params)
        return summarise(model, blocks, params, stats.loglik, score, len(trace) - 1, self.tol, trace, "iteration limit")

    def short_run(self, model, blocks, params):
        """Do the iterations and no more: the `Fit` says where they lead, not how near that is to a maximum."""
        params, stats, trace = self.climb(model, blocks, params)
        return Fit(params, stats.loglik, np.nan, len(trace) - 1, False, "iteration limit", np.array(trace))

    def climb(self, model, blocks, params):
        """Return the parameters reached, their statistics and the trace."""
        if self.tol <= 0 and blocks.only is not None and fused.applies(model, blocks.only):
            params, stats, trace = fused.climb(model, blocks.only, params, self.max_iter, self.n_halvings, _SLACK)
            return params, Statistics(*stats, None), trace.tolist()
        stats = blocks.sum(model.statistics, params)
        trace, chart = [stats.loglik], model.gate_chart(params.gate)
        for _ in range(self.max_iter):
            if self.tol > 0 and self._done(model, blocks, params, stats):
                break
            if model.gate.lower:  # units move with a temperature
                chart = model.gate_chart(params.gate)
            params, stats = self._ascend(model, blocks, chart, params, stats)
            trace.append(stats.loglik)
        return params, stats, trace

    def _done(self, model, blocks, params, stats):
        score = stats.score(model.expert, params)
        return score_norm(model, params, score, blocks.total_weight) <= self.tol

    def _ascend(self, model, blocks, chart, params, stats):
        """One iteration; the statistics of the accepted candidate are those of the next."""
        expert = model.expert.m_step(stats.expert, params.expert)
        stats = _penalised(model, blocks, params, stats)
        here, step = chart.pack(params.gate), newton_gate_step(chart, stats, params.gate)
        floor = _objective(model, stats) - _SLACK * (abs(stats.loglik) + blocks.total_weight)
        for t in chain((0.5**h for h in range(1 + self.n_halvings)), (0.0,)):
            candidate = MoEParams(chart.unpack(here + t * step), expert)
            new = blocks.sum(model.statistics, candidate)
            if _objective(model, new) >= floor:
                return candidate, new
        return params, stats


def _objective(model, stats):
    """What must not fall: the observed log-likelihood, minus the penalty of a gate that has one."""
    return stats.loglik - model.gate.penalty(stats.importance)[0] if model.gate.balance else stats.loglik


def _penalised(model, blocks, params, stats):
    """Take the gradient of the gate's penalty, if it has one, off the gate's score."""
    if not model.gate.balance:
        return stats
    pull = blocks.sum(model.penalty_score, params, model.gate.penalty(stats.importance)[1])
    score = type(pull)(*(a - b for a, b in zip(stats.gate_score, pull, strict=True)))
    return stats._replace(gate_score=score)
