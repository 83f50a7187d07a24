"""Newton's method on the observed log-likelihood, in a trust region."""

import numpy as np
from scipy.optimize import minimize

from smoe.solvers.base import Solver, summarise

__all__ = ["Newton"]


class Objective:
    """Minus the log-likelihood per row in a chart, remembered at the last point so that one pass serves all orders."""

    def __init__(self, model, blocks, params, visit):
        self.model, self.blocks, self.visit = model, blocks, visit
        self.chart = model.chart(params)
        self.theta = None

    def at(self, theta):
        """Return (parameters, what the visit added up) at these coordinates."""
        if self.theta is None or not np.array_equal(theta, self.theta):
            self.theta = np.array(theta)
            self.params = self.chart.unpack(self.theta)
            self.result = self.blocks.sum(self.visit, self.params)
        return self.params, self.result

    def value(self, theta):
        """Return minus the log-likelihood per row, infinity where it or its gradient cannot be computed."""
        with np.errstate(all="ignore"):
            loglik = self.at(theta)[1].loglik
            usable = np.isfinite(loglik) and np.all(np.isfinite(self.gradient(theta)))
        return -loglik / self.blocks.total_weight if usable else np.inf

    def gradient(self, theta):
        """Return its gradient."""
        params, result = self.at(theta)
        return -self.chart.gradient(self.score(params, result), params) / self.blocks.total_weight

    def score(self, params, result):
        """Return the score in parameter shape."""
        score = result.score
        return score(self.model.expert, params) if callable(score) else score

    def hessian(self, theta):
        """Return its second derivative."""
        params, result = self.at(theta)
        return self.chart.hessian(result.information, result.score, params) / self.blocks.total_weight


class Newton(Solver):
    """Trust-region Newton on the observed log-likelihood with its exact second derivative.

    Unlike EM it arrives: quadratically at a regular maximum, and in some tens of passes on the flat ridges of
    over-specified models. It is a local method; start it in the basin of the maximum.

    Parameters
    ----------
    max_iter : int, default=200
        Largest number of iterations.
    tol : float, default=1e-8
        Stop when the score norm per row is at most this.

    References
    ----------
    Conn, A. R., Gould, N. I. M. and Toint, P. L. (2000). Trust-region methods. SIAM. The subproblem is solved by
    ``scipy.optimize.minimize(method="trust-exact")``.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, solver="newton", random_state=0).fit(X, y)
    >>> bool(model.score_norm_ < 1e-8)
    True
    """

    requires = ("gate.information", "expert.curvature", "expert.row_scores")
    needs_smooth = True

    def __init__(self, max_iter=200, tol=1e-8):
        self.max_iter = max_iter
        self.tol = tol

    def _run(self, model, blocks, params):
        objective = Objective(model, blocks, params, model.curvature)
        theta = objective.chart.pack(params)
        trace = [-objective.value(theta) * blocks.total_weight]

        def record(intermediate_result):
            trace.append(-intermediate_result.fun * blocks.total_weight)

        options = {"gtol": self.tol, "maxiter": self.max_iter, "initial_trust_radius": 1.0}
        if theta.size and self.max_iter > 0:
            theta = minimize(
                objective.value,
                theta,
                jac=objective.gradient,
                hess=objective.hessian,
                method="trust-exact",
                callback=record,
                options=options,
            ).x
        params, result = objective.at(theta)
        limit = "iteration limit" if len(trace) > self.max_iter else "no step raises the log-likelihood"
        return summarise(model, blocks, params, result.loglik, result.score, len(trace) - 1, self.tol, trace, limit)
