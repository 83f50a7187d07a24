"""What resampling methods share: rows that count once, draws seeded by address, refits that begin at the original."""

import warnings
from functools import partial
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone

from smoe.starts import FromParams

__all__ = ["Refit", "attempt", "counted_rows", "draw_response", "frozen", "replicate", "responses", "rng_of", "warm"]


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
    own = {"n_jobs": 1, "verbose": 0, "warm_start": False, "random_state": 0, "checkpoint": None, "formula": None}
    own |= {"gate_features": estimator.gate_columns_, "expert_features": estimator.expert_columns_}
    if (constraints := estimator.fitted_.model.constraints) is not None:
        own |= {"constraints": constraints.by_index(estimator.expert_columns_.tolist())}
    own |= {f"{role}_feature": column for role, column in estimator.roles_._asdict().items() if column is not None}
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
    return fit.drawn(fit.blocks_of(X, grouped=True), rng)


def responses(fit, X, y, weight):
    """Return the function rng -> X, y that draws new responses for rows, each as often as its weight says.

    Of times that may be censored those that a `FittedMixture` draws are censored anew, see `Censoring`.
    """
    if fit.roles.group is not None and np.any(weight != 1.0):
        raise ValueError(
            "sample_weight: new responses are drawn for each group once; use kind='case', or leave the weights out."
        )
    X, y = counted_rows(weight, X, y)
    censoring = None if fit.roles.event is None else Censoring.of(y, fit.roles.event_of(X))
    return partial(_drawn, fit, X, censoring)


def _drawn(fit, X, censoring, rng):
    y = draw_response(fit, X, rng)
    if censoring is None:
        return X, y
    end, X = censoring.draw(rng), X.copy()
    X[:, fit.roles.event] = y <= end
    return X, np.minimum(y, end)


class Censoring(NamedTuple):
    """When rows would be censored: at their own time if they were, else at a time that is drawn beyond it.

    It is drawn from the Kaplan-Meier estimate of the times of censoring, or is infinite beyond the last of them.

    References
    ----------
    Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application, section 3.5. Cambridge.
    """

    time: np.ndarray  # sorted
    seen: np.ndarray
    survival: np.ndarray  # probability of not being censored up to each time
    order: np.ndarray

    @classmethod
    def of(cls, y, event):
        """Return it for times (n,) and whether these are events."""
        order = np.lexsort((1.0 - event, y))  # events come before what is censored at the same time
        seen = event[order] > 0
        at_risk = np.arange(len(y), 0, -1)
        return cls(y[order], seen, np.cumprod(np.where(seen, 1.0, 1.0 - 1.0 / at_risk)), order)

    def draw(self, rng):
        """Return a time of censoring for each row, (n,)."""
        level = self.survival * rng.random(len(self.time))
        later = np.append(self.time, np.inf)[np.searchsorted(-self.survival, -level, side="right")]
        out = np.empty(len(self.time))
        out[self.order] = np.where(self.seen, later, self.time)
        return out


def counted_rows(weight, *arrays):
    """Return arrays with each row as often as its weight says.

    Raises
    ------
    ValueError
        A weight that is no whole number.
    """
    if np.all(weight == 1.0):
        return arrays
    if np.any(weight != np.round(weight)):
        raise ValueError(
            "sample_weight: new responses are drawn for each row as often as it counts, so weights must be whole "
            "numbers; use kind='case', or leave the weights out."
        )
    return tuple(np.repeat(array, weight.astype(int), axis=0) for array in arrays)
