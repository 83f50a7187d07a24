"""Newton's method on the observed log-likelihood, in a trust region."""

import math

import numpy as np
from scipy.linalg.lapack import dposv
from scipy.optimize import minimize

from smoe.solvers.base import Solver, summarise
from smoe.solvers.trust_region import climb_ridges, crawls

__all__ = ["Newton", "Objective", "full_steps"]

_LONGEST = 10.0  # in natural units: a longer step is for the trust region
_ENOUGH = 0.25  # share of the promised gain that must come true; a quadratic's full step brings half of gradient' step
_ROUNDING = 1e-14  # relative, of a sum over rows


class Objective:
    """Minus what is maximised, per row, in a chart, remembered at the last two points: one pass serves all orders."""

    def __init__(self, model, blocks, params, visit):
        self.model, self.blocks, self.visit = model, blocks, visit
        self.chart = model.chart(params)
        self._seen = {}

    def at(self, theta):
        """Return parameters, what the visit added up, the value and the gradient at these coordinates."""
        place = theta.tobytes()
        if place in self._seen:
            return self._seen[place]
        params = self.chart.unpack(theta)
        with np.errstate(all="ignore"):
            result = self.blocks.sum(self.visit, params)
            total = self.blocks.total_weight
            gradient = -self.chart.gradient(self.model.score(params, result, total), params) / total
            signs = self.chart.signs(theta)
            gradient = gradient if signs is None else signs * gradient
        usable = math.isfinite(result.loglik) and math.isfinite(gradient @ gradient)
        usable = usable and np.isfinite(getattr(result, "information", 0.0)).all()
        value = -self.model.objective(params, result, total) / total if usable else math.inf
        self._seen = {**dict(list(self._seen.items())[-1:]), place: (params, result, value, gradient)}
        return self._seen[place]

    def value(self, theta):
        """Return minus the log-likelihood per row, infinity where it or its derivatives cannot be computed."""
        return self.at(theta)[2]

    def gradient(self, theta):
        """Return its gradient."""
        return self.at(theta)[3]

    def fit(self, theta, tol, values, limit):
        """Make the `Fit` that ends here, with its curvature; ``values`` are those along the way."""
        params, result, *_ = self.at(theta)
        trace = -self.blocks.total_weight * np.array(values)
        fit = summarise(self.model, self.blocks, params, result, len(trace) - 1, tol, trace, limit)
        return fit._replace(curvature=result)

    def hessian(self, theta):
        """Return its second derivative; zero where that cannot be computed, for those who ask before they look."""
        (params, result, *_), total = self.at(theta), self.blocks.total_weight
        with np.errstate(all="ignore"):
            slope = self.model.score(params, result, total)
            hessian = self.chart.hessian(self.model.information(params, result, total), slope, params) / total
            signs = self.chart.signs(theta)
            hessian = hessian if signs is None else signs[:, None] * hessian * signs
        return hessian if np.isfinite(hessian).all() else np.zeros_like(hessian)


class Newton(Solver):
    """Newton's method on the observed log-likelihood with its exact second derivative.

    Full steps while they do what they promise, a trust region otherwise, in which each step is followed by one of EM:
    that leads back to the curved ridges of over-specified models.

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
    Conn, A. R., Gould, N. I. M. and Toint, P. L. (2000). Trust-region methods. SIAM.

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

    def __init__(self, max_iter: int = 200, tol: float = 1e-8) -> None:
        self.max_iter = max_iter
        self.tol = tol

    def _run(self, model, blocks, params):
        objective = Objective(model, blocks, params, model.curvature)
        theta = objective.chart.pack(params)
        values = [objective.value(theta)]
        if theta.size and self.max_iter > 0:
            theta = full_steps(objective, theta, self.tol, self.max_iter, values)
            if np.abs(objective.gradient(theta)).max() > self.tol:
                theta = self._trust_region(objective, theta, values)
        limit = "iteration limit" if len(values) > self.max_iter else "no step raises the log-likelihood"
        if crawls(objective, theta, values):
            limit = "the log-likelihood hardly rises"
        return objective.fit(theta, self.tol, values, limit)

    def _trust_region(self, objective, theta, values):
        def record(intermediate_result):
            values.append(intermediate_result.fun)

        left = self.max_iter - len(values) + 1
        if left == 0:
            return theta
        if objective.model.gate.em_leads:
            return climb_ridges(objective, theta, self.tol, values, left)
        return minimize(
            objective.value,
            theta,
            jac=objective.gradient,
            hess=objective.hessian,
            method="trust-exact",
            callback=record,
            options={"gtol": self.tol, "maxiter": left, "initial_trust_radius": 1.0},
        ).x


def full_steps(objective, theta, tol, max_iter, values, largest_gain=np.inf):
    """Take Newton's own steps while they do what a quadratic would: most fits need no more, and they cost least.

    The value after each step is appended to ``values``. A step that promises more than ``largest_gain`` per row is not
    taken: the maximum is far.
    """
    gradient = objective.gradient(theta)
    while len(values) <= max_iter and np.abs(gradient).max() > tol:
        _, step, failure = dposv(objective.hessian(theta), gradient)
        if failure:  # not convex here
            break
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
