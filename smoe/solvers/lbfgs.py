"""L-BFGS on the observed log-likelihood, for models with many parameters."""

from scipy.optimize import minimize

from smoe.solvers.base import Solver, summarise
from smoe.solvers.newton import Objective

__all__ = ["LBFGS"]


class LBFGS(Solver):
    """Limited-memory BFGS on the observed log-likelihood.

    Needs first derivatives only, and memory proportional to the number of parameters.

    Parameters
    ----------
    max_iter : int, default=2000
        Largest number of iterations.
    tol : float, default=1e-8
        Stop when the score norm per row is at most this.

    References
    ----------
    Byrd, R. H., Lu, P., Nocedal, J. and Zhu, C. (1995). A limited memory algorithm for bound constrained
    optimization. SIAM Journal on Scientific Computing 16, 1190-1208. Done by
    ``scipy.optimize.minimize(method="L-BFGS-B")``.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.solvers import LBFGS
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, solver=LBFGS(tol=1e-6), random_state=0).fit(X, y)
    >>> round(model.loglik_, 4)
    -96.0516
    """

    needs_smooth = True

    def __init__(self, max_iter: int = 2000, tol: float = 1e-8) -> None:
        self.max_iter = max_iter
        self.tol = tol

    def _run(self, model, blocks, params):
        objective = Objective(
            model, blocks, params, lambda block, p: model.statistics(block, p, gate_information=False)
        )
        theta = objective.chart.pack(params)
        trace = [-objective.value(theta) * blocks.total_weight]

        def record(intermediate_result):
            trace.append(-intermediate_result.fun * blocks.total_weight)

        options = {"gtol": self.tol, "ftol": 0.0, "maxiter": self.max_iter, "maxfun": 10 * self.max_iter, "maxcor": 30}
        if theta.size and self.max_iter > 0:
            theta = minimize(
                objective.value,
                theta,
                jac=objective.gradient,
                method="L-BFGS-B",
                callback=record,
                options=options,
            ).x
        params, stats, *_ = objective.at(theta)
        limit = "iteration limit" if len(trace) > self.max_iter else "no step raises the log-likelihood"
        return summarise(model, blocks, params, stats, len(trace) - 1, self.tol, trace, limit)
