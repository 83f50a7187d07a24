"""Objects: of the right kind, fitted, and with settings that belong to them."""

import numbers
import os
from dataclasses import replace

import numpy as np
from sklearn.utils.validation import check_is_fitted

from smoe.validation.scalars import check_number

__all__ = [
    "check_callable",
    "check_experts",
    "check_fitted",
    "check_instance",
    "check_mixture",
    "check_n_jobs",
    "check_nested",
    "check_path",
    "fit_of",
]

_MOST_JOBS = 10_000


def check_instance(value, kind, argument, hint=""):
    """Raise TypeError unless the value is of this class; ``hint`` says where one comes from."""
    if not isinstance(value, kind):
        got = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        hint = f": {hint}" if hint else ""
        raise TypeError(f"{argument} must be of the class {kind.__name__}, got {got}{hint}.")


def check_path(path, argument="path"):
    """Raise TypeError unless this is a string or a path; an integer would be a file descriptor."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{argument} must be a string or a path, got {path!r}.")


def check_callable(value, argument, what):
    """Raise TypeError unless the value is a function of ``what``."""
    if not callable(value):
        raise TypeError(f"{argument} must be a function of {what}, got {value!r}.")


def fit_of(estimator):
    """Return what an estimator's fit has left, to be visited by as many threads as the estimator says now."""
    check_is_fitted(estimator, "fitted_")
    fit = estimator.fitted_
    return fit if fit.n_jobs == estimator.n_jobs else replace(fit, n_jobs=estimator.n_jobs)


def check_mixture(model, argument="model"):
    """Return a FittedMixture: the value itself, or that of an estimator, which may be the best of a search."""
    model = getattr(model, "best_estimator_", model)
    return model if _is_value(model) else fit_of(check_fitted(model, argument))


def check_fitted(model, argument="model"):
    """Return a fitted estimator of mixtures of experts. A selection or a search stands for its best one."""
    model = getattr(model, "best_estimator_", model)
    if _is_value(model):
        raise TypeError(f"{argument} must be an estimator, which can be fitted again, and not its fitted_.")
    if isinstance(model, type) or not hasattr(model, "responsibilities"):
        hint = ""
        if hasattr(model, "steps"):
            hint = "; of a pipeline pass the last step, pipeline[-1], and X as that sees it, pipeline[:-1].transform(X)"
        kind = type(model).__name__
        raise TypeError(f"{argument} must be a fitted estimator such as MoERegressor, got {kind}{hint}.")
    check_is_fitted(model, "fitted_")
    if model.n_experts != (fitted := model.fitted_.n_experts):
        raise ValueError(
            f"{argument} was fitted with {fitted} experts, and n_experts={model.n_experts} set since: fit again."
        )
    return model


def _is_value(model):
    return hasattr(model, "working_blocks") and not isinstance(model, type)


def check_experts(n_experts, n_rows, what="rows"):
    """Raise unless the number of experts is a positive integer, and not larger than the number of rows."""
    check_number(n_experts, "n_experts", 1, integer=True)
    if n_experts > n_rows:
        raise ValueError(f"n_experts={n_experts} is larger than the number of {what} with positive weight, {n_rows}.")


def check_n_jobs(n_jobs):
    """Return a number of threads or processes. Raise unless it is None or an integer other than zero."""
    if n_jobs is None:
        return None
    if not isinstance(n_jobs, numbers.Integral) or isinstance(n_jobs, bool | np.bool_):
        raise TypeError(f"n_jobs must be an integer or None, got {n_jobs!r}.")
    if n_jobs == 0 or abs(n_jobs) > _MOST_JOBS:
        raise ValueError(
            f"n_jobs must be a number of threads or processes up to {_MOST_JOBS}, or -1 for one per core; got {n_jobs}."
        )
    return int(n_jobs)


def check_nested(estimator, settings):
    """Raise for settings such as ``gate__top_k`` where the gate is a name, or None, and has no settings."""
    for key in settings:
        owner, _, name = key.partition("__")
        value = settings.get(owner, getattr(estimator, owner, 0))
        if name and (value is None or isinstance(value, str)):
            raise ValueError(
                f"{key}: {owner} is {value!r}, which has no settings. Pass an object as {owner}, then {key} is its "
                f"{name}."
            )
