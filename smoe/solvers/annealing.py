"""From a high temperature down: the practice that dense-to-sparse gates come from."""

import numpy as np

from smoe.gates.activation_dense_to_sparse import HOTTEST
from smoe.params import MoEParams
from smoe.solvers.base import Solver
from smoe.solvers.chain import EMNewton
from smoe.solvers.em import EM
from smoe.validation import check_instance, check_number

__all__ = ["Annealing"]


class Annealing(Solver):
    """Fit at a high temperature, lower it in stages that begin where the last one ended, then finish.

    The stages are evenly spaced on the log scale between ``tau_start`` and the target: the gate's fixed temperature, or
    one when it is learned (it is set free at the end). Annealing is off by default, and no start for other gates: fits
    from screened elemental starts reach the truth's log-likelihood without it, and from the same starts annealing was
    seen to lose the better maximum.

    Parameters
    ----------
    tau_start : float, default=10.0
        First temperature, not below the target.
    n_stages : int, default=5
        Number of temperatures above the target.
    n_em : int, default=10
        EM iterations per stage.
    solver : Solver or None, default=None
        Finishes at the target; None means `EMNewton`.
    max_iter : int, default=1000
        Largest number of iterations of the default finisher.
    tol : float, default=1e-8
        Its largest score norm per row.

    Examples
    --------
    >>> from smoe import DenseToSparseMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.solvers import Annealing
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = DenseToSparseMoERegressor(2, temperature=0.5, anneal=Annealing(8.0, 4), random_state=0).fit(X, y)
    >>> round(model.loglik_, 4)
    -96.0516
    """

    requires = ("gate.at_temperature",)

    def __init__(
        self,
        tau_start: float = 10.0,
        n_stages: int = 5,
        n_em: int = 10,
        solver: Solver | None = None,
        max_iter: int = 1000,
        tol: float = 1e-8,
    ) -> None:
        self.tau_start = tau_start
        self.n_stages = n_stages
        self.n_em = n_em
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol

    def check(self):
        super().check()
        check_number(self.n_stages, "anneal: n_stages", 1, integer=True)
        check_number(self.tau_start, "anneal: tau_start", 1.0 / HOTTEST, high=HOTTEST)
        check_number(self.n_em, "anneal: n_em", 0, integer=True)
        if self.solver is not None:
            check_instance(self.solver, Solver, "anneal: solver", "such as smoe.solvers.EMNewton()")
            self.solver.check()

    def check_gate(self, gate):
        """Raise an error for stages that make no sense with this gate."""
        target = 1.0 if gate.learns else gate.temperature
        if self.tau_start < target:
            raise ValueError(f"anneal: tau_start={self.tau_start} is below the target temperature {target}.")

    def _run(self, model, blocks, params):
        self.check_gate(model.gate)
        target = params.gate.temperature
        for tau in np.geomspace(float(self.tau_start), target, self.n_stages + 1)[:-1]:
            stage = model._replace(gate=model.gate.at_temperature(tau))
            params = MoEParams(params.gate._replace(temperature=np.array(tau)), params.expert)
            params = EM(self.n_em, 0.0).solve(stage, blocks, params).params
        params = MoEParams(params.gate._replace(temperature=target), params.expert)
        finisher = EMNewton(self.max_iter, self.tol) if self.solver is None else self.solver
        return finisher.solve(model, blocks, params)
