"""Newton's method on the observed log-likelihood less a penalty that has kinks at zero."""

import numpy as np
from scipy.linalg import LinAlgError, cholesky

from smoe.params import flatten, n_experts_of
from smoe.penalties.groups import excess, moved
from smoe.solvers.base import Solver, score_norm, summarise
from smoe.solvers.em import EM
from smoe.solvers.proximal import curved_step, sparse_step
from smoe.solvers.working_set import is_wide, narrowed, with_violating
from smoe.validation import check_number

__all__ = ["ProximalNewton"]

_SWEEPS = 2000
_HALVINGS = 8
_SLACK = 1e-13  # relative rounding of a sum over rows
_EM_AGAIN = 5  # iterations of EM where no step of Newton's climbs


class ProximalNewton(Solver):
    """EM into the basin, then Newton's steps with the kinks of the penalty as they are, for elastic nets.

    A step maximises the quadratic model of the smooth part, with the exact second derivative of the observed
    log-likelihood, less the absolute values: by coordinate descent over the slopes that are not zero, or that their
    score moves away from zero, then exactly given the signs. It is halved until the penalised log-likelihood does not
    fall. Where the smooth part is not concave, and where no step climbs, EM goes on. It ends when the distance of the
    score from the subdifferential of the penalty is at most ``tol`` per row, for every entry.

    Parameters
    ----------
    max_iter : int, default=1000
        Largest number of iterations, of both kinds together.
    tol : float, default=1e-8
        Largest distance per row.
    n_em : int, default=10
        EM iterations at first.

    References
    ----------
    Lee, J. D., Sun, Y. and Saunders, M. A. (2014). Proximal Newton-type methods for minimizing composite functions.
    SIAM Journal on Optimization 24, 1420-1443.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_engel
    >>> from smoe.penalties import ElasticNet
    >>> X, y = load_engel(return_X_y=True)
    >>> net = ElasticNet(alpha_expert=0.1, alpha_gate=0.1)
    >>> model = SoftmaxMoERegressor(2, penalty=net, solver="proximal_newton", n_init=5, random_state=0).fit(X, y)
    >>> model.converged_
    True
    """

    requires = ("gate.information", "expert.curvature", "expert.row_scores")
    needs_smooth = True
    takes_kinks = True

    def __init__(self, max_iter: int = 1000, tol: float = 1e-8, n_em: int = 10) -> None:
        self.max_iter = max_iter
        self.tol = tol
        self.n_em = n_em

    def check(self):
        super().check()
        check_number(self.n_em, "n_em", 0, integer=True)

    def _run(self, model, blocks, params):
        climb = self._climb_few if is_wide(model, blocks.scaling) else self._climb
        params, result, trace = climb(model, blocks, model.canonical(params), self.max_iter)
        fit = summarise(model, blocks, params, result, len(trace) - 1, self.tol, trace, "iteration limit")
        return fit if result.information is None else fit._replace(curvature=result)

    def _climb(self, model, blocks, params, max_iter):
        """Return the parameters reached, their curvature and the trace."""
        total = blocks.total_weight
        params, _, trace = EM(min(self.n_em, max_iter), 0.0).climb(model, blocks, params)
        while True:
            result = blocks.sum(model.curvature, params)
            done = score_norm(model, params, model.score(params, result, total), total) <= self.tol
            if done or len(trace) > max_iter:
                return params, result, trace
            found = _newton(model, blocks, params, result)
            if found is None:
                left = min(_EM_AGAIN, max_iter - len(trace) + 1)
                params, _, climbed = EM(left, 0.0).climb(model, blocks, params)
                trace += climbed[1:]
            else:
                params, loglik = found
                trace.append(loglik)

    def _climb_few(self, model, blocks, params, max_iter):
        """Do the same in the columns that matter, as long as there are others that do."""
        total, trace = blocks.total_weight, []
        while True:
            result = blocks.sum(model.gradient, params)
            trace = trace or [result.loglik]
            columns = with_violating(model, params, model.smooth_score(params, result, total), total)
            done = score_norm(model, params, model.score(params, result, total), total) <= self.tol
            if done or len(trace) > max_iter:
                return params, result, trace
            few, rows = narrowed(model, blocks, columns)
            found, _, climbed = self._climb(few, rows, columns.restrict(model, params), max_iter - len(trace) + 1)
            params, trace = columns.expand(model, found, blocks.scaling), trace + climbed[1:]


def _newton(model, blocks, params, result):
    """Return the parameters after a step that climbs, and their log-likelihood, or None."""
    total, chart = blocks.total_weight, model.chart(params, held=False)
    score = model.smooth_score(params, result, total)
    theta, slope = chart.pack(params), chart.gradient(score, params) / total
    bend = chart.hessian(model.smooth_information(params, result, total), score, params) / total
    weight, groups = _weights(model, params, chart)
    at = np.flatnonzero(moved(theta, groups) | (weight == 0) | (excess(slope, weight, groups) > 1.0))
    few = None if groups is None else groups[at]
    own = bend[np.ix_(at, at)]
    if not np.isfinite(own).all():
        return None
    end = theta.copy()
    if _is_concave(own + _along_gauge(model, params, chart)[np.ix_(at, at)]):
        end[at] = sparse_step(slope[at], own, theta[at], weight[at], few, _SWEEPS, 1e-14)
    elif few is not None and (moved(theta, groups) | (weight == 0))[at].all():
        end[at] = curved_step(slope[at], own, theta[at], weight[at], few)
    step = end - theta
    if not step.any():
        return None
    floor = model.objective(params, result, total) - _SLACK * (abs(result.loglik) + total)
    for t in 0.5 ** np.arange(1 + _HALVINGS):
        candidate = model.canonical(chart.unpack(end if t == 1.0 else theta + t * step))
        new = blocks.sum(model.statistics, candidate, False)
        if model.objective(candidate, new, total) >= floor:
            return candidate, new.loglik
    return None


def _weights(model, params, chart):
    """Return the weights of the absolute values of free coordinates, per row, and their groups, if there are any."""
    if model.kinked is None:
        return np.zeros(chart.n_free), None
    weight, groups = model.kinked.weights(params)[0][chart.free], model.kinked.groups(params)
    return np.where(weight > 0, weight * chart.slope(params), 0.0), None if groups is None else groups[chart.free]


def _is_concave(bend):
    try:
        cholesky(bend)
    except LinAlgError:
        return False
    return True


def _along_gauge(model, params, chart):
    """Return what bends the directions along which only the penalty changes: a column of the gate all shifted."""
    if model.kinked is None or not model.kinked.centres:
        return np.zeros((chart.n_free, chart.n_free))
    n_gate = flatten(params.gate).size
    k = n_experts_of(params)
    shifts = np.kron(np.ones((k, k)), np.diag([1.0] * (n_gate // k - 1) + [0.0])) / k
    out = np.zeros((len(chart.free), len(chart.free)))
    out[:n_gate, :n_gate] = shifts
    return out[np.ix_(chart.free, chart.free)]
