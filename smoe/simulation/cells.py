"""One cell of a study: draw data, fit, compare with the truth. Cells know nothing of one another."""

import time
import warnings
from typing import NamedTuple

import numpy as np
from joblib import parallel_config
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning

from smoe.features import Roles
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, n_experts_of
from smoe.rows import ArraySource, Blocks, by_group, standardise
from smoe.simulation.losses import FAILED, evaluate
from smoe.solvers import Solver, certify
from smoe.starts import FromParams, Task
from smoe.threads import blas_controller, driving
from smoe.validation import check_floats, check_instance

__all__ = ["Cells", "Record", "as_params"]


class Record(NamedTuple):
    """What one cell has left behind: numbers, text, lists and dicts, so that a line of JSON holds all of it.

    Attributes
    ----------
    n, replication : int
        The address of the cell: number of rows, and which of the replications.
    seed : list of int
        ``[random_state, n, replication]``: data and start come from
        ``SeedSequence(random_state, spawn_key=(n, replication))`` and from nothing else.
    parameters : dict or None
        ``{"gate": {field: list}, "expert": {field: list}}`` in the user's units, see `as_params`; None if the fit
        raised.
    loglik, truth_loglik : float
        Log-likelihoods of the fit and of the truth, natural logarithms, total over rows. A fit below the truth has
        not found the maximum.
    score_norm : float
        Largest absolute entry of the score per row, in standardised units.
    iterations : int
    converged : bool
        Whether the fit is a certified maximum.
    status : str
        "converged", the reasons why the fit is not certified, or "failed: ..." with the error that it raised; and the
        errors that losses raised.
    seconds : float
        Wall time of the fit, its certificate included.
    losses : dict
        Loss by name: a number, a list or a dict of these; NaN if the loss raised, empty if the fit did.
    """

    n: int
    replication: int
    seed: list
    parameters: dict | None
    loglik: float
    truth_loglik: float
    score_norm: float
    iterations: int
    converged: bool
    status: str
    seconds: float
    losses: dict

    @property
    def address(self) -> tuple[int, int]:
        """The cell, ``(n, replication)``."""
        return self.n, self.replication

    @property
    def failed(self) -> bool:
        """Whether the fit raised an error, so that there are no parameters."""
        return self.parameters is None

    @property
    def below_truth(self) -> bool:
        """Whether the fit is less likely than the truth, which no maximum is, or raised an error."""
        return not self.loglik >= self.truth_loglik


def checked_record(entries, random_state=None):
    """Return the `Record` of a line of a store.

    Parameters
    ----------
    entries : dict
    random_state : int or None, default=None
        That of the study, if it is known.

    Raises
    ------
    ValueError, TypeError
        A field is missing or of the wrong type, or the seed is not that of the cell.
    """
    record = Record(**entries)
    wrong = [name for name, fits in _FIELDS.items() if not fits(getattr(record, name))]
    if wrong:
        raise TypeError(f"wrong type of {', '.join(wrong)}")
    first = record.seed[0] if random_state is None and record.seed else random_state
    if record.seed != [first, record.n, record.replication]:
        raise ValueError(f"the seed {record.seed} is not that of this cell")
    return record


def _is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_nested(value):
    """Whether a value is a number, or a list or dict of such values."""
    if isinstance(value, dict | list):
        return all(map(_is_nested, value.values() if isinstance(value, dict) else value))
    return _is_number(value)


_NO_ROLES = Roles()
_FIELDS = {
    "n": _is_integer,
    "replication": _is_integer,
    "seed": lambda value: isinstance(value, list) and all(map(_is_integer, value)),
    "parameters": lambda value: value is None or (isinstance(value, dict) and _is_nested(value)),
    "loglik": _is_number,
    "truth_loglik": _is_number,
    "score_norm": _is_number,
    "iterations": _is_integer,
    "converged": lambda value: isinstance(value, bool),
    "status": lambda value: isinstance(value, str),
    "seconds": _is_number,
    "losses": lambda value: isinstance(value, dict) and _is_nested(value),
}


def as_params(parameters: dict, model: MixtureOfExperts) -> MoEParams:
    """Return `smoe.params.MoEParams` from the ``parameters`` of a `Record`.

    Parameters
    ----------
    parameters : dict
    model : MixtureOfExperts
        The fitted model; it names the types.

    Returns
    -------
    MoEParams
    """
    check_instance(model, MixtureOfExperts, "model")
    parts = {}
    for side, family in (("gate", model.gate), ("expert", model.expert)):
        parts[side] = _part(parameters, side, type(family.init_params(1, 1)))
    return MoEParams(**parts)


def _part(parameters, side, kind):
    part = parameters.get(side) if isinstance(parameters, dict) else None
    if not isinstance(part, dict) or not set(kind._fields) <= set(part):
        raise ValueError(
            f"parameters must be those of a Record of this model, with {side}: {', '.join(kind._fields)}; "
            f"got {parameters!r}."
        )
    return kind(*(check_floats(part[name], f"parameters: {side} {name}") for name in kind._fields))


class Outcome(NamedTuple):
    """The end of a fit, in the user's units."""

    params: MoEParams
    loglik: float
    score_norm: float
    iterations: int
    converged: bool
    status: str


class Cells(NamedTuple):
    """All that a worker needs to run any cell of a study."""

    truth: object
    model: MixtureOfExperts  # what a solver fits
    fitter: BaseEstimator
    start: object  # None for the estimator's own starts
    losses: dict
    random_state: int
    n_experts: int

    def run(self, n, replication):
        """Return the `Record` of one cell.

        A fit that raises leaves a failed record, a loss that raises is NaN; errors of the draw and of the start are
        the study's own and are raised. A lack of memory is not the fit's fault and is raised too.
        """
        data, begin, fit = np.random.SeedSequence(self.random_state, spawn_key=(n, replication)).spawn(3)
        X, y = self.truth.draw(n, np.random.default_rng(data))
        start = None
        if self.start is not None:
            start = self.start(self.truth, self.n_experts, n, np.random.default_rng(begin))
        clock = time.perf_counter()
        params, loglik, *verdict = self._attempt(X, y, start, fit)
        seconds = time.perf_counter() - clock
        losses, remark = {}, ""
        if params is not None:
            losses, remark = evaluate(self.losses, params, self.truth)
        verdict[-1] += remark
        seed, truth_loglik = [self.random_state, n, replication], float(self.truth.loglik(X, y))
        return Record(n, replication, seed, _lists(params), loglik, truth_loglik, *verdict, seconds, losses)

    def _attempt(self, X, y, start, seed):
        """Return the outcome of the fit, whatever happens, as plain numbers."""
        try:
            if isinstance(self.fitter, Solver):
                outcome = fit_with_solver(self.fitter, self.model, X, y, start, self.truth.roles)
            else:
                state = int(seed.generate_state(1)[0])
                outcome = fit_with_estimator(self.fitter, self.n_experts, X, y, start, state)
        except MemoryError:
            raise
        except Exception as error:
            return Outcome(None, np.nan, np.nan, 0, False, f"{FAILED}{type(error).__name__}: {error}")
        params, loglik, score_norm, iterations, converged, status = outcome
        return Outcome(params, float(loglik), float(score_norm), int(iterations), bool(converged), status)


class Arms(NamedTuple):
    """Cells by name that are run side by side, as one."""

    arms: dict
    random_state: int
    judged: tuple  # names of the arms that hold the truth

    def run(self, n, replication):
        """Return one `Record` for all arms: the likelihoods of the judged one that gains least, the losses of each."""
        records = {name: cells.run(n, replication) for name, cells in self.arms.items()}
        gains = {name: record.loglik - record.truth_loglik for name, record in records.items()}
        worst = records[min(self.judged, key=lambda name: gains[name] if gains[name] == gains[name] else -np.inf)]
        every = list(records.values())
        return worst._replace(
            parameters=None if any(r.failed for r in every) else {name: r.parameters for name, r in records.items()},
            score_norm=max(r.score_norm for r in every),
            iterations=sum(r.iterations for r in every),
            converged=all(r.converged for r in every),
            status="; ".join(f"{name}: {r.status}" for name, r in records.items() if not r.converged) or "converged",
            seconds=sum(r.seconds for r in every),
            losses={
                name: {**r.losses, "gain": float(gains[name]), "certified": float(r.converged)}
                for name, r in records.items()
            },
        )


@driving
def fit_with_solver(solver, model, X, y, start, roles=_NO_ROLES):
    """Return the `Outcome` of a solver from parameters in the user's units, without an estimator around it."""
    columns = np.setdiff1d(np.arange(X.shape[1]), roles.columns)
    source = ArraySource(X, y)
    scaling = standardise(model, source, columns, columns)
    blocks = Blocks(model, by_group(source, roles.group, columns), scaling, roles)
    begin = FromParams(start).propose(Task(model, None, n_experts_of(start), scaling), None)
    fit = solver.solve(model, blocks, begin)
    certificate = certify(model, blocks, fit, solver.tol)
    loglik = fit.loglik - blocks.loglik_offset
    return Outcome(
        scaling.to_user(model, fit.params), loglik, fit.score_norm, fit.n_iter, certificate.valid, certificate.status
    )


def fit_with_estimator(estimator, n_experts, X, y, start, seed):
    """Return the `Outcome` of a clone of the estimator, from parameters in the user's units if there are any."""
    model = clone(estimator).set_params(n_experts=n_experts, random_state=seed)
    if start is not None:
        model.set_params(start=FromParams(start), n_init=1)
    model.fit(X, y)
    return Outcome(model.params_, model.loglik_, model.score_norm_, model.n_iter_, model.converged_, model.status_)


def run_batch(cells, addresses):
    """Return the records of some cells and the seconds that they took, on one thread."""
    clock = time.perf_counter()
    with warnings.catch_warnings(), blas_controller().limit(limits=1), parallel_config(backend="sequential"):
        warnings.simplefilter("ignore", ConvergenceWarning)  # each record has its status
        records = [cells.run(n, replication) for n, replication in addresses]
    return records, time.perf_counter() - clock


def _lists(params):
    if params is None:
        return None
    return {
        side: {name: np.asarray(field, dtype=float).tolist() for name, field in part._asdict().items()}
        for side, part in params._asdict().items()
    }
