"""Newton's method on the observed log-likelihood, in a trust region."""

import math

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import minimize

from smoe.solvers.base import Solver, summarise

__all__ = ["Newton"]

_NEAR = 0.01  # gain per row that a full step may promise near a maximum
_LONGEST = 10.0  # in natural units: a longer step is for the trust region
_ENOUGH = 0.25  # share of the promised gain that must come true; a quadratic's full step brings half of gradient' step
_ROUNDING = 1e-14  # relative, of a sum over rows


class Objective:
    """Minus the log-likelihood per row in a chart, remembered at the last two points: one pass serves all orders."""

    def __init__(self, model, blocks, params, visit):
        self.model, self.blocks, self.visit = model, blocks, visit
        self.chart = model.chart(params)
        self._seen = []

    def at(self, theta):
        """Return parameters, what the visit added up, the value and the gradient at these coordinates."""
        for seen, point in self._seen:
            if np.array_equal(theta, seen):
                return point
        params = self.chart.unpack(theta)
        with np.errstate(all="ignore"):
            result = self.blocks.sum(self.visit, params)
            gradient = -self.chart.gradient(self.score(params, result), params) / self.blocks.total_weight
        usable = math.isfinite(result.loglik) and math.isfinite(gradient @ gradient)
        value = -result.loglik / self.blocks.total_weight if usable else math.inf
        self._seen = [*self._seen[-1:], (np.array(theta), (params, result, value, gradient))]
        return self._seen[-1][1]

    def value(self, theta):
        """Return minus the log-likelihood per row, infinity where it or its gradient cannot be computed."""
        return self.at(theta)[2]

    def gradient(self, theta):
        """Return its gradient."""
        return self.at(theta)[3]

    def score(self, params, result):
        """Return the score in parameter shape."""
        score = result.score
        return score(self.model.expert, params) if callable(score) else score

    def hessian(self, theta):
        """Return its second derivative."""
        params, result, *_ = self.at(theta)
        return self.chart.hessian(result.information, result.score, params) / self.blocks.total_weight


class Newton(Solver):
    """Newton's method on the observed log-likelihood with its exact second derivative.

    Full steps while they do what they promise, a trust region otherwise.

    Unlike EM it arrives: quadratically at a regular maximum, and in some tens of passes on the flat ridges of
    over-specified models. It is a local method; start it in the basin of the maximum.

    Parameters
    ----------
    max_iter : int, default=200
        Largest number of iterations.
    tol : float, default=1e-8
        Stop when the score norm per row is at most this.
    local : bool, default=False
        Give up instead of searching where the log-likelihood is not concave, or a full Newton step promises more than
        0.01 per row.

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

    def __init__(self, max_iter=200, tol=1e-8, local=False):
        self.max_iter = max_iter
        self.tol = tol
        self.local = local

    def _run(self, model, blocks, params):
        objective = Objective(model, blocks, params, model.curvature)
        theta = objective.chart.pack(params)
        values = [objective.value(theta)]
        limit = "far from a maximum"
        if theta.size and self.max_iter > 0:
            theta = _full_steps(objective, theta, self.tol, self.max_iter, _NEAR if self.local else np.inf, values)
            if not self.local and np.abs(objective.gradient(theta)).max() > self.tol:
                theta, limit = self._trust_region(objective, theta, values), "no step raises the log-likelihood"
        if len(values) > self.max_iter:
            limit = "iteration limit"
        params, result, *_ = objective.at(theta)
        trace = -blocks.total_weight * np.array(values)
        return summarise(model, blocks, params, result.loglik, result.score, len(trace) - 1, self.tol, trace, limit)

    def _trust_region(self, objective, theta, values):
        def record(intermediate_result):
            values.append(intermediate_result.fun)

        left = self.max_iter - len(values) + 1
        if left == 0:
            return theta
        return minimize(
            objective.value,
            theta,
            jac=objective.gradient,
            hess=objective.hessian,
            method="trust-exact",
            callback=record,
            options={"gtol": self.tol, "maxiter": left, "initial_trust_radius": 1.0},
        ).x


def _full_steps(objective, theta, tol, max_iter, largest_gain, values):
    """Take Newton's own steps while they do what a quadratic would: most fits need no more, and they cost least."""
    gradient = objective.gradient(theta)
    while len(values) <= max_iter and np.abs(gradient).max() > tol:
        try:
            factor = cho_factor(objective.hessian(theta))
        except LinAlgError:  # not convex here
            break
        step = cho_solve(factor, gradient)
        gain = gradient @ step
        if not gain <= 2.0 * largest_gain or not step @ step <= _LONGEST**2:
            break
        new = theta - step
        value = objective.value(new)
        if not value <= values[-1] - _ENOUGH * gain + _ROUNDING * abs(values[-1]):
            break
        theta, gradient = new, objective.gradient(new)
        values.append(value)
    return theta
