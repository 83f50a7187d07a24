"""What resampling methods share: rows that count once, draws seeded by address, refits that begin at the original."""

import warnings
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone

from smoe.rows import ArraySource, Blocks, Scaling
from smoe.starts import FromParams

__all__ = ["Refit", "attempt", "counted_rows", "draw_response", "frozen", "replicate", "rng_of", "warm"]


class Refit(NamedTuple):
    """What is left of one refit; ``params`` is None if it raised an error, which ``status`` then names."""

    params: tuple | None
    loglik: float
    certified: bool
    status: str


def replicate(run, n_resamples, seed, n_jobs):
    """Return ``[run(seed, i) for i in range(n_resamples)]``, whatever the number of processes."""
    with warnings.catch_warnings():  # puts things right again where threads have each caught warnings
        return Parallel(n_jobs=n_jobs)(delayed(run)(seed, i) for i in range(n_resamples))


def rng_of(seed, i):
    """Return the generator of replicate i: it depends on the seed and on i alone."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(i,)))


def frozen(estimator, n_experts=None):
    """Return an unfitted clone of a fitted estimator that sees the same columns of a plain array, on one thread."""
    own = {"n_jobs": 1, "verbose": 0, "warm_start": False, "random_state": 0}
    own |= {"gate_features": estimator.gate_columns_, "expert_features": estimator.expert_columns_}
    if estimator.expert_.classes is not None:  # a draw may lack some; its weights have the factors of the classes
        own |= {"expert": estimator.expert_, "class_weight": None}
    return clone(estimator).set_params(n_experts=n_experts or estimator.n_experts, **own)


def warm(estimator, params):
    """Return the estimator, to begin from these parameters and from nowhere else."""
    return estimator.set_params(start=FromParams(params), n_init=1)


def attempt(estimator, X, y, weight=None):
    """Return the `Refit` of an estimator, and the estimator if it is fitted, or else None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the status is kept, and all are reported at once
            estimator.fit(X, y, weight)
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        return Refit(None, np.nan, False, f"failed: {type(error).__name__}: {error}"), None
    return Refit(estimator.params_, estimator.loglik_, estimator.converged_, estimator.status_), estimator


def draw_response(fit, X, rng):
    """Return a response for each row of X, drawn from a `FittedMixture`, as users pass them."""
    scaling = Scaling.identity(fit.gate_columns, fit.expert_columns)
    blocks = Blocks(fit.model, ArraySource(X), scaling, fit.roles)
    return fit.model.expert.write(blocks.map(lambda block, p: fit.model.sample(block, p, rng)[0], fit.params))


def counted_rows(X, weight):
    """Return X with each row as often as its weight says.

    Raises
    ------
    ValueError
        A weight that is no whole number.
    """
    if np.all(weight == 1.0):
        return X
    if np.any(weight != np.round(weight)):
        raise ValueError(
            "sample_weight: new responses are drawn for each row as often as it counts, so weights must be whole "
            "numbers; use kind='case', or leave the weights out."
        )
    return np.repeat(X, weight.astype(int), axis=0)
