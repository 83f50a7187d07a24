"""The EM algorithm, guarded on the observed log-likelihood."""

from itertools import chain

import numpy as np

from smoe import fused
from smoe.mixture import Statistics
from smoe.solvers.base import Fit, Solver, score_norm, summarise
from smoe.solvers.em_step import em_step
from smoe.validation import check_number

__all__ = ["EM"]

_MOST_HALVINGS = 1000  # half of a half ... is zero after so many
_SLACK = 1e-13  # relative rounding of a sum over rows: a fall within it is no fall


class EM(Solver):
    """Expectation-maximisation with one Newton step for the gate per iteration.

    The gate's step, and the experts' where their M-step is one of Newton's, are judged on the observed log-likelihood
    and halved until that does not fall, so the log-likelihood never falls. One pass over the rows per iteration as
    long as the guard is content.

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
    takes_kinks = True

    def __init__(self, max_iter: int = 1000, tol: float = 1e-8, n_halvings: int = 11) -> None:
        self.max_iter = max_iter
        self.tol = tol
        self.n_halvings = n_halvings

    def check(self):
        super().check()
        check_number(self.n_halvings, "n_halvings", 0, integer=True, high=_MOST_HALVINGS)

    def _run(self, model, blocks, params):
        params, stats, trace = self.climb(model, blocks, params)
        return summarise(model, blocks, params, stats, len(trace) - 1, self.tol, trace, "iteration limit")

    def short_run(self, model, blocks, params):
        """Do the iterations and no more: the `Fit` says where they lead, not how near that is to a maximum."""
        params, stats, trace = self.climb(model, blocks, params)
        objective = model.objective(params, stats, blocks.total_weight)
        end = np.nan, len(trace) - 1, False, "iteration limit", np.array(trace)
        return Fit(params, stats.loglik, *end, objective=objective)

    def climb(self, model, blocks, params):
        """Return the parameters reached, their statistics and the trace."""
        if self.tol <= 0 and blocks.only is not None and fused.climbs(model, blocks.only):
            params, stats, trace = fused.climb(model, blocks.only, params, self.max_iter, self.n_halvings, _SLACK)
            return params, Statistics(*stats), trace.tolist()
        params = model.settled(params)
        stats = blocks.sum(model.statistics, params)
        trace = [stats.loglik]
        for _ in range(self.max_iter):
            if self.tol > 0 and self._done(model, blocks, params, stats):
                break
            params, stats = self._ascend(model, blocks, params, stats)
            trace.append(stats.loglik)
        return params, stats, trace

    def _done(self, model, blocks, params, stats):
        total = blocks.total_weight
        return score_norm(model, params, model.score(params, stats, total), total) <= self.tol

    def _ascend(self, model, blocks, params, stats):
        """One iteration; the statistics of the accepted candidate are those of the next."""
        total = blocks.total_weight
        candidate_at = em_step(model, params, stats, total)
        floor = model.objective(params, stats, total) - _SLACK * (abs(stats.loglik) + total)
        for t in chain((0.5**h for h in range(1 + self.n_halvings)), (0.0,)):
            candidate = candidate_at(t)
            new = blocks.sum(model.statistics, candidate)
            if model.objective(candidate, new, total) >= floor:
                return candidate, new
        return params, stats
