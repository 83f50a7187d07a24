"""What all estimators have: from settings and rows to a `smoe.fitted.FittedMixture`, and its answers as methods."""

import inspect
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning

from smoe import criteria
from smoe.checkpoint import Checkpoint, Interrupted, fingerprint
from smoe.constraints import Constraints
from smoe.diagnostics import Diagnosis, diagnose
from smoe.estimators.callbacks import Watched
from smoe.estimators.report import fitted_mixture
from smoe.experts import Expert, resolve_expert
from smoe.features import Roles, choose_columns, choose_roles
from smoe.fitted import FittedMixture
from smoe.formulas import Design
from smoe.gates import GATES, Gate
from smoe.hints import Data, FilePath, Seed
from smoe.inference import estimates
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams
from smoe.penalties import PENALTIES, Penalty
from smoe.registry import resolve
from smoe.rows import ArraySource, Blocks, Counted, DaskRows, Labelled, Source, Survey, by_group, standardise, survey
from smoe.rows.dask import brought, is_dask
from smoe.rows.scaling import wanted_of
from smoe.saved import as_document, write_document
from smoe.search import StartRecord, n_sharing, search
from smoe.settings import described
from smoe.solvers import SOLVERS, Solver
from smoe.starts import FromParams, Task, resolve_start
from smoe.threads import driving
from smoe.validation import (
    FLOATS,
    Columns,
    check_experts,
    check_generator,
    check_groups,
    check_n_jobs,
    check_nested,
    check_number,
    check_path,
    check_rows,
    check_weights,
    fit_of,
    learn_columns,
    may_count_rows,
    refuse_beside_source,
    with_codes,
)

__all__ = ["MixtureEstimator", "from_fit", "name_of", "of_fit"]

_SAID_BY_FORMULAS = ("gate_features", "expert_features", *(f"{role}_feature" for role in Roles._fields))
_GO_ON = "time_limit", "warm_start"  # settings that a fit may change when it goes on


_Asked = ParamSpec("_Asked")
_Answer = TypeVar("_Answer")


def of_fit(function: Callable[Concatenate[Any, _Asked], _Answer]) -> Callable[Concatenate[Any, _Asked], _Answer]:
    """Return the method of an estimator that answers by what its fit has left."""

    @wraps(function)
    def method(self, *args, **kwargs):
        return function(fit_of(self), *args, **kwargs)

    method.__wrapped__ = _with_self(function)
    return method


def _with_self(function):
    """Return what signatures are read from; a method's own ``__signature__`` would stick to wrappers of bound ones."""

    @wraps(function)
    def described():
        raise NotImplementedError

    first, *rest = (signature := inspect.signature(function)).parameters.values()
    described.__signature__ = signature.replace(parameters=[first.replace(name="self"), *rest])
    return described


def from_fit(path: str) -> Any:
    """Return the attribute of an estimator that is one of ``fitted_``."""
    return property(attrgetter(f"fitted_.{path}"))


class MixtureEstimator(Watched, BaseEstimator):
    """Fits a mixture of experts as its settings say, keeps what the fit leaves in ``fitted_``, and asks that.

    Subclasses have the settings of `smoe.MoERegressor`, as far as they make sense for their responses.
    """

    response_kind = "numbers"

    fitted_: FittedMixture
    params_: MoEParams = from_fit("params")
    gate_: Gate = from_fit("model.gate")
    expert_: Expert = from_fit("model.expert")
    penalties_: tuple[Penalty, ...] = from_fit("model.penalties")
    gate_columns_: np.ndarray = from_fit("gate_columns")
    expert_columns_: np.ndarray = from_fit("expert_columns")
    roles_: Roles = from_fit("roles")
    loglik_: float = from_fit("loglik")
    aic_: float = from_fit("aic")
    bic_: float = from_fit("bic")
    icl_: float = from_fit("icl")
    n_samples_: float = from_fit("n_rows")
    n_parameters_: int = from_fit("n_parameters")
    n_active_parameters_: int = from_fit("n_active_parameters")
    converged_: bool = from_fit("converged")
    status_: str = from_fit("status")
    score_norm_: float = from_fit("score_norm")
    solver_: Solver = from_fit("solver")
    starts_: list[StartRecord] = from_fit("starts")
    n_iter_: int = from_fit("n_iter")
    trace_: np.ndarray = from_fit("trace")

    predict_distribution = of_fit(FittedMixture.predict_distribution)
    gate_proba = of_fit(FittedMixture.gate_proba)
    responsibilities = of_fit(FittedMixture.responsibilities)
    group_responsibilities = of_fit(FittedMixture.group_responsibilities)
    predict_expert = of_fit(FittedMixture.predict_expert)
    expert_load = of_fit(FittedMixture.expert_load)
    expert_profile = of_fit(FittedMixture.expert_profile)
    standardised_gate_coef = of_fit(FittedMixture.standardised_gate_coef)
    score_samples = of_fit(FittedMixture.score_samples)
    sample = of_fit(FittedMixture.sample)

    loglik = of_fit(criteria.loglik)
    aic = of_fit(criteria.aic)
    bic = of_fit(criteria.bic)
    icl = of_fit(criteria.icl)

    covariance = of_fit(estimates.covariance)
    delta_method = of_fit(estimates.delta_method)
    wald_test = of_fit(estimates.wald_test)
    conf_int = of_fit(estimates.conf_int)
    summary = of_fit(estimates.summary)

    @property
    def covariance_(self) -> np.ndarray | None:
        """Covariance matrix from the observed information, (n_entries, n_entries); None without certificate."""
        return self.fitted_.covariance.matrix if self.converged_ else None

    @property
    def standard_errors_(self) -> MoEParams | None:
        """Standard errors from the observed information, shaped like ``params_``; None without certificate."""
        return self.fitted_.covariance.standard_errors if self.converged_ else None

    def __getattr__(self, name: str) -> Any:
        """Return an array of the parameters: ``gate_coef_``, ``expert_intercept_``, ... for every field there is."""
        fit = vars(self).get("fitted_")
        found = fit.array(name.rstrip("_")) if fit is not None and name.endswith("_") else None
        if found is None and not name.endswith("_"):
            return object.__getattribute__(self, name)  # raises again, a method that is not for these settings in words
        if found is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return found

    def diagnose(
        self, X: Data, y: ArrayLike | None = None, random_state: Seed = None, *, sample_weight: ArrayLike | None = None
    ) -> Diagnosis:
        """Return residuals, PIT values and what they, the experts and the starts say about the fit.

        See `smoe.diagnostics.diagnose`.
        """
        return diagnose(self, X, y, random_state, sample_weight=sample_weight)

    def save(self, path: FilePath) -> None:
        """Write the fit into a file of JSON, which `smoe.load` reads: no pickle, safe to load, stable across versions.

        Parameters, settings, certificate and covariance are in it, and no rows; numbers come back bit for bit. The
        state of ``partial_fit`` is not kept: a loaded estimator predicts, and begins anew with new rows.

        Parameters
        ----------
        path : str or path
            Written whole or not at all.

        Raises
        ------
        TypeError
            A setting that is no data, such as a function, a random generator, or a gate of one's own.
        """
        write_document(path, as_document(self))

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name, those of objects as ``gate__top_k``.

        Parameters
        ----------
        **params : dict
            New values by name.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            No such parameter, or one of an object where there is but a name.
        """
        check_nested(self, params)
        return super().set_params(**params)

    def fit(self, X: Data, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit by maximum likelihood.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or smoe.rows.Source
            Sources, such as `smoe.rows.ParquetRows`, bring y and weights with them. A data frame, if there is a
            ``formula``.
        y : array-like of shape (n_samples,) or (n_samples, q)
            Several responses need a family for them, such as ``expert="multivariate_gaussian"``. None for what stands
            left of ``~`` in the ``formula``.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; weight 2 equals the row twice, weight 0 equals the row absent. Survey weights give
            the right estimates, and standard errors by ``covariance("sandwich", ..., weights="sampling")``.

        Returns
        -------
        self
            Fitted estimator.

        Raises
        ------
        ValueError, TypeError
            An argument that makes no sense; the message names it and says what to do.

        Warns
        -----
        ConvergenceWarning
            The fit is not a certified maximum; ``status_`` says why. Or columns are aliased, or ``params_`` cannot hold
            the fit in the units of the data, far from zero.
        UserWarning
            The weights cannot be numbers of rows: they differ, are not whole numbers, and add up to more than four
            times the number of rows, or to less than a quarter.
        """
        with all_or_nothing(self):
            self.__dict__.pop("online_", None)
            scaling, n_rows = self._while_watched(self._fit, X, y, sample_weight)
        _warn(self.fitted_, scaling, n_rows, getattr(self, "class_weight", None) is None)
        return self

    def _fit(self, X, y, sample_weight):
        """Check everything and climb; return the working coordinates and the number of rows of positive weight."""
        if is_dask(X):
            X, y, sample_weight = DaskRows(X, y, sample_weight, self.response_kind == "classes"), None, None
        if isinstance(X, Source):
            return self._fit_source(X, y, sample_weight)
        design, X, y = self._read_formula(X, y)
        original, response = X, name_of(y)
        expert = self._resolved_expert(y)
        X = X if design is not None else with_codes(X, getattr(self, "group_feature", None))
        X, y, weight = self._validated(X, y, sample_weight, expert)
        return self._fit_arrays(X, y, weight, expert, original, response, design)

    def _fit_arrays(self, X, y, weight, expert, original, response, design=None):
        """Fit rows in memory, all of positive weight."""

        def seen(_, roles, names, _wanted):
            roles.check(X, names)
            expert.check_response(y, trials := roles.trials_of(X), event := roles.event_of(X))
            most = 1 if trials is None else trials.max()
            return Survey(event is None or bool(event.any()), most, may_count_rows(weight))

        return self._fit_rows(ArraySource(X, y, weight), expert, original, response, y, weight, seen, design)

    def _fit_source(self, source, y, sample_weight):
        """Fit rows that are somewhere else."""
        refuse_beside_source(y, sample_weight)
        if self.formula is not None:
            raise TypeError("formula is for data frames; a source names its columns: gate_features, expert_features.")
        if self.response_kind == "classes":
            source, expert, y, weight = self._labelled(source)
            source = brought(source)
        else:
            source = brought(source)
            expert, y, weight = self._resolved_expert(responses_of(source)), None, None
        check_experts(self.n_experts, source.n_rows)
        learn_columns(self, source)

        def seen(source, roles, names, wanted):
            if self.verbose:
                print(f"{source.n_rows} rows, features: {', '.join(names)}", flush=True)
            n_threads = n_sharing(source.n_rows, self.n_jobs)
            return survey(source, expert, roles, names, n_threads=n_threads, wanted=wanted)

        response = source.response if isinstance(source.response, str | None) else ", ".join(source.response)
        return self._fit_rows(source, expert, source, response, y, weight, seen)

    def _labelled(self, source):
        """Return the source with codes in place of labels, the experts that know these, the codes and their weights."""
        found = source if isinstance(source, DaskRows) else Labelled(source)
        expert = self._resolved_expert(found.found)
        found.code(expert.read)
        n_classes = len(expert.classes)
        codes, totals = np.arange(n_classes), found.totals(n_classes)
        if getattr(self, "class_weight", None) is None:
            return found, expert, codes, totals
        factors = self._factors(totals, codes, expert.classes)
        found.weigh(factors)
        return found, expert, codes, totals * factors

    def _fit_rows(self, source, expert, original, response, y, weight, seen, design=None):
        """Resolve settings, look at the rows by ``seen(source, roles, names, wanted)``, and climb."""
        columns = Columns.of(self, design)
        roles, chosen = self._chosen(original, columns)
        columns = replace(columns, group=roles.group)
        model = self._resolved_model(expert, y, weight)
        if model.constraints is not None:
            known = original, columns.names, columns.count, chosen["expert_columns"], roles.columns
            model = model._replace(constraints=model.constraints.resolved(*known))
        solver = self._checked_solver(model)
        start = self._resolved_start(model, *map(len, chosen.values()))
        _refuse_offsets(expert, roles)
        passed = None if design is not None else original
        source = by_group(source, roles.group, chosen["gate_columns"], columns.named(), passed)
        if self.verbose:
            source = Counted(source)
        wanted = wanted_of(model, chosen["gate_columns"], chosen["expert_columns"])
        found = seen(source, roles, columns.named(), wanted)
        check_experts(self.n_experts, source.n_rows, "groups" if source.grouped else "rows")
        if not found.event:
            n_rows = source.single.n_rows
            raise ValueError(f"event_feature: no event, all {n_rows} rows are censored (0); a fit needs events (1).")
        _warn_of_few_trials(expert, int(found.trials), self.n_experts, chosen["gate_columns"])
        known = {"columns": columns, "response": response, "solver": solver, "n_jobs": self.n_jobs}
        known |= {"counts_rows": found.counts_rows, **chosen}
        return self._climb(model, source, roles, start, known, found.looked), source.n_rows

    @driving
    def _climb(self, model, source, roles, start, known, looked=None):
        """Search, and keep what is found beside what is known before; return the working coordinates."""
        n_threads = n_sharing(source.single.n_rows, self.n_jobs)
        sides = known["gate_columns"], known["expert_columns"]
        scaling = standardise(model, source.single, *sides, n_threads, looked)
        model = model.bound(scaling)
        blocks = Blocks(model, source, scaling, roles).shared_by(n_threads)
        tol, rng = getattr(known["solver"], "tol", self.tol), check_generator(self.random_state)
        task = Task(model, None, self.n_experts, scaling)
        checkpoint = self._checkpoint(blocks, start, rng)
        settings = tol, rng, self.n_jobs, self.verbose, self.time_limit, checkpoint, self._watcher
        try:
            found = search(task, blocks, *start, known["solver"], *settings)
        except Interrupted as interrupted:
            self.fitted_ = _fitted(blocks, interrupted.found, known)
            raise
        self.fitted_ = _fitted(blocks, found, known)
        if isinstance(source, Counted) and len(blocks.slices) > 1:
            print(f"{source.n_passes} passes over all rows", flush=True)
        return scaling

    def _read_formula(self, X, y):
        """Return the formula's `Design` or None, and X and y as estimators without a formula take them."""
        if getattr(self, "formula", None) is None:
            return None, X, y
        given = [name for name in _SAID_BY_FORMULAS if getattr(self, name, None) is not None]
        if given:
            raise ValueError(f"formula says what the gate and the experts see: leave {given[0]} out.")
        design = Design.of(self.formula, X)
        return design, design.rows(X), design.response_of(X) if y is None else y

    def _checkpoint(self, blocks, start, rng):
        """Return the checkpoint that the settings ask for, or None."""
        if self.checkpoint is None:
            return None
        check_path(self.checkpoint, "checkpoint")
        seed = {} if isinstance(self.random_state, int) else {"random_state": type(self.random_state).__name__}
        settings = described(self, _GO_ON) | seed | {"start": described(start)}
        return Checkpoint(self.checkpoint, settings, fingerprint(blocks), rng)

    def _validated(self, X, y, sample_weight, expert, **settings):
        """Return X, y and weights without rows of weight zero."""
        X, y = check_rows(self, X, y, expert.read, ensure_min_samples=2, dtype=FLOATS, **settings)
        weight = self._weights(check_weights(sample_weight, len(y)), y, expert)
        used = weight > 0
        if not used.all():
            X, y, weight = X[used], y[used], weight[used]
        check_experts(self.n_experts, len(y))
        return X, y, weight

    def _weights(self, weight, y, expert):
        """Return the weights of the rows from those that users give."""
        return weight

    def _chosen(self, X, columns):
        """Return the roles of columns, and the columns of the gate and of the experts."""
        names, d = columns.names, columns.count
        specs = {name: getattr(self, name, None) for name in _SAID_BY_FORMULAS}
        specs |= {} if columns.design is None else columns.design.choices
        roles = choose_roles(X, names, d, **{role: specs[f"{role}_feature"] for role in Roles._fields})
        chosen = {
            f"{side}_columns": choose_columns(specs[name := f"{side}_features"], X, names, d, name, roles.columns)
            for side in ("gate", "expert")
        }
        if roles.group is not None and any(roles.group in side for side in chosen.values()):
            name = columns.named()[roles.group]
            raise ValueError(f"group_feature: {name!r} is also a covariate: copy the column, as labels have no values.")
        return roles, chosen

    def _resolved_expert(self, y):
        """Make experts of a name, that know what they must know of the response."""
        expert = resolve_expert(self.expert)
        expert.check()
        if (expert.support.kind == "classes") != (self.response_kind == "classes"):
            which = "MoEClassifier" if expert.support.kind == "classes" else "MoERegressor"
            raise ValueError(f"expert={self.expert!r} is for {which}, not for {type(self).__name__}.")
        return expert if y is None else expert.bind(y)

    def _resolved_model(self, expert, y, weight):
        """Make objects of the other names."""
        gate = resolve(self.gate, GATES, Gate, "gate")
        gate.check(self.n_experts)
        constraints = getattr(self, "constraints", None)
        if not isinstance(constraints, Constraints | None):
            raise TypeError(f"constraints must be None or smoe.constraints.Constraints(...), got {constraints!r}.")
        if constraints is not None:
            constraints.check(self.n_experts)
        return MixtureOfExperts(gate, expert, self._resolved_penalties(gate, expert, y, weight), constraints)

    def _resolved_penalties(self, gate, expert, y, weight):
        chosen = [] if self.penalty is None else self.penalty
        chosen = chosen if isinstance(chosen, list | tuple) else [chosen]
        penalties = tuple(resolve(choice, PENALTIES, Penalty, "penalty") for choice in chosen)
        for penalty in penalties:
            penalty.check(gate)
        return penalties

    def _checked_solver(self, model):
        """Return the solver; it and what else says how to search make sense."""
        solver = self._resolved_solver(model)
        solver.check()
        check_n_jobs(self.n_jobs)
        if self.time_limit is not None:
            check_number(self.time_limit, "time_limit", 0.0)
        return solver

    def _resolved_solver(self, model):
        wished = [penalty.default_solver for penalty in model.active_penalties if penalty.default_solver]
        solvers = {"auto": SOLVERS[[*wished, model.gate.default_solver][0]], **SOLVERS}
        solver = resolve(self.solver, solvers, Solver, "solver")
        if isinstance(self.solver, str):
            limit = {} if self.max_iter is None else {"max_iter": self.max_iter}
            solver.set_params(tol=self.tol, **limit)
        return solver

    def _resolved_start(self, model, n_gate_features, n_expert_features):
        """Return the start and the number of starts."""
        start, previous = resolve_start(self.start, model.gate), vars(self).get("fitted_")
        if self.warm_start and previous is not None:
            if _alike(previous.params, model.init_params(self.n_experts, n_gate_features, n_expert_features)):
                start = FromParams(previous.params)
        if isinstance(self.n_init, str) and self.n_init == "auto":
            alone = self.n_experts == 1 and model.expert.concave
            return start, 1 if alone else start.n_proposals(self.n_experts)
        check_number(self.n_init, "n_init", 1, integer=True)
        return start, self.n_init


def responses_of(source):
    """Return what tells a family of the responses of a source: their number and names."""
    first, kind = source.take(np.arange(1)).y, type(source).__name__
    if first is None and source.response is None:
        raise ValueError(f"this {kind} has no response: name it when you make it, y=...")
    if first is None:
        raise ValueError(f"this {kind} has text in {source.response!r}: name numbers when you make it, y=...")
    if source.response is None:
        return first
    return np.zeros(0) if isinstance(source.response, str) else SimpleNamespace(columns=source.response)


def rows_of(estimator, X, y):
    """Return X and y as a fit of the estimator would see them, each row's group or None, and its experts.

    Experts know the response.
    """
    design, X, y = estimator._read_formula(X, y)
    expert, group = estimator._resolved_expert(y), getattr(estimator, "group_feature", None)
    X = X if design is not None else with_codes(X, group)
    rows, y = check_rows(like := clone(estimator), X, y, expert.read, ensure_min_samples=2)
    group = estimator._chosen(X, Columns.of(like, design))[0].group
    return rows, y, None if group is None else check_groups(rows[:, group], len(rows), "group_feature"), expert


def _alike(params, wanted):
    """Whether parameters of an earlier fit have the shapes of these."""
    return type(params.gate) is type(wanted.gate) and all(
        np.shape(a) == np.shape(b) for x, y in zip(params, wanted, strict=True) for a, b in zip(x, y, strict=True)
    )


def _fitted(blocks, found, known):
    fit, certificate, starts = found
    return fitted_mixture(blocks, fit, certificate, starts=starts, **known)


@contextmanager
def all_or_nothing(estimator):
    """Leave an estimator as it was if its fit fails: what it has learnt of new data would not belong to its old fit.

    A fit that was interrupted after it had found something has failed in no way.
    """
    before = dict(vars(estimator))
    try:
        yield
    except Interrupted:
        raise
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def name_of(y):
    """Name of a response that has one: a series, or a frame; of several columns their names."""
    columns = getattr(y, "columns", None)
    names = [getattr(y, "name", None)] if columns is None or callable(columns) else list(columns)
    return ", ".join(names) if names and all(isinstance(name, str) for name in names) else None


def _refuse_offsets(expert, roles):
    """Raise ValueError where an offset would be in units of y, which fits change."""
    given = [f"{role}_feature" for role in ("offset", "exposure") if getattr(roles, role) is not None]
    if given and expert.units in ("affine", "similar"):
        raise ValueError(f"{given[0]}: {expert.name} has no link, and takes no offset; subtract it from y.")


def _warn_of_few_trials(expert, most, n_experts, gate_columns):
    """Warn of a mixture of binomial distributions whose parts no number of rows can tell apart at one x."""
    needed = 2 * n_experts - 1
    if expert.takes_trials and not len(gate_columns) and most < needed:
        message = (
            f"at most {most} trials per row and a gate without covariates: {n_experts} binomial experts can be told "
            f"apart at one x only with {needed} trials or more; here the shapes of their curves alone tell them apart"
        )
        warnings.warn(message, ConvergenceWarning, stacklevel=5)


def _warn(fit, scaling, n_rows, users):
    """Warn of aliased columns, of users' weights that count no rows, of a fit without certificate."""
    names = np.arange(fit.columns.count) if fit.columns.names is None else fit.columns.names
    sides = ("gate", fit.gate_columns, scaling.gate.kept), ("expert", fit.expert_columns, scaling.expert.kept)
    for side, columns, kept in sides:
        if not kept.all():
            message = (
                f"columns {names[columns[~kept]].tolist()} of X are constant or linear combinations of others: their "
                f"{side} coefficients are not identified and set to zero"
            )
            warnings.warn(message, ConvergenceWarning, stacklevel=3)
    if users and not fit.counts_rows:
        message = (
            f"sample_weight counts {fit.what}s, and these weights, which add up to {fit.n_rows:.6g} on {n_rows} "
            f"{fit.what}s, cannot be counts: standard errors, AIC and BIC take them for such. For survey weights see "
            "covariance('sandwich', X, y, sample_weight=..., weights='sampling')"
        )
        warnings.warn(message, UserWarning, stacklevel=3)
    if not fit.converged:
        advice = "what to do: see the guide's page on the certificate"
        message = f"not a certified maximum: {fit.certificate.status} ({advice})"
        warnings.warn(message, ConvergenceWarning, stacklevel=3)
