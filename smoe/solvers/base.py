"""What a solver takes and returns."""

from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from smoe.params import MoEParams
from smoe.validation import check_number

__all__ = ["Fit", "Solver", "check_supports", "score_norm", "summarise"]


class Fit(NamedTuple):
    """The end of a run. The log-likelihood and the score norm belong to the parameters beside them.

    So do the curvature of all rows, if the solver has it, and what a last pass has told (a ``Closing``), if
    there has been one: they save passes.
    """

    params: MoEParams
    loglik: float
    score_norm: float
    n_iter: int
    converged: bool
    status: str
    trace: np.ndarray  # log-likelihood before the first and after each iteration
    curvature: tuple | None = None
    objective: float | None = None  # log-likelihood minus penalties; None if there are none
    closing: tuple | None = None


class Solver(BaseEstimator):
    """Climbs the observed log-likelihood from given parameters.

    A solver that has them is asked to ``screen(model, sample, params)`` each of many starts in place of a few EM
    iterations, and to ``rescreen(model, sample, params)`` the better ones.

    Attributes
    ----------
    requires : tuple of str
        Methods that the gate and the experts must have, as ``gate.information``.
    needs_smooth : bool
        Whether the solver relies on derivatives of the observed log-likelihood alone.
    takes_kinks : bool
        Whether it holds slopes at zero where a penalty has a kink there.
    """

    requires: tuple[str, ...] = ()
    needs_smooth = False
    takes_kinks = False
    max_iter = 1000
    tol = 1e-8

    def solve(self, model, blocks, params):
        """Return the `Fit` reached from these parameters.

        ``converged`` says that the score norm per row, in the coordinates of ``model.chart``, is at most ``tol``;
        whether that is a maximum is for `smoe.solvers.certify` to say.
        """
        self.check()
        check_supports(self, model)
        return self._run(model, blocks, model.settled(params))

    def finish(self, model, blocks, params):
        """Return the `Fit` reached from a maximum of the likelihood of a part of the rows."""
        return self.solve(model, blocks, params)

    def check(self):
        """Raise ValueError or TypeError for settings that make no sense."""
        check_number(self.max_iter, "max_iter", 0, integer=True)
        check_number(self.tol, "tol", 0.0)


def check_supports(solver, model):
    """Raise TypeError if the model lacks a method that the solver needs, or is not smooth where it must be."""
    name = type(solver).__name__
    if solver.needs_smooth and not model.gate.smooth:
        raise TypeError(
            f"{name} follows derivatives, and the likelihood of {type(model.gate).__name__} jumps where a row changes "
            f"its experts: use solver={model.gate.default_solver!r} (or 'auto')."
        )
    if model.kinked is not None and not solver.takes_kinks:
        name_of_net = type(model.kinked).__name__
        raise TypeError(
            f"{name} follows derivatives, and {name_of_net} has none where a slope is zero: use "
            f"solver={model.kinked.default_solver!r} (or 'auto')."
        )
    if model.kinked is not None and model.constraints is not None:
        raise TypeError(f"{type(model.kinked).__name__} takes no constraints; give columns a penalty_factor instead.")
    missing = [name for name in solver.requires if not hasattr(getattr(model, name.split(".")[0]), name.split(".")[1])]
    if missing:
        raise TypeError(
            f"{name} cannot fit {type(model.gate).__name__} with {type(model.expert).__name__}: "
            f"it needs {', '.join(missing)}. LBFGS needs derivatives of first order only."
        )


def score_norm(model, params, score, total_weight):
    """Largest absolute entry of the score per row, in free coordinates and natural units."""
    gradient = model.chart(params, held=False).gradient(score, params)
    return float(np.abs(gradient).max(initial=0.0)) / total_weight


def summarise(model, blocks, params, result, n_iter, tol, trace, limit):
    """Make the `Fit` from the last pass; ``limit`` says in words what else than convergence ended the run."""
    total = blocks.total_weight
    norm = score_norm(model, params, model.score(params, result, total), total)
    converged = norm <= tol
    status = "converged" if converged else f"{limit}: score norm per row {norm:.1e} > {tol:.1e}"
    objective = model.objective(params, result, total)
    return Fit(params, result.loglik, norm, n_iter, converged, status, np.asarray(trace), objective=objective)
