"""The bootstrap: refits to data drawn anew, and what their spread says."""

import warnings
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from smoe.hints import Data, Seed
from smoe.inference.bootstrap_result import BootstrapResult
from smoe.inference.likelihood_ratio import loglik_where_fitted
from smoe.inference.matching import match_experts
from smoe.inference.replicates import attempt, frozen, replicate, responses, rng_of, warm
from smoe.params import MoEParams, flatten, unflatten
from smoe.rows import ArraySource, Blocks, Scaling, by_group, standardise
from smoe.validation import check_choice, check_fitted, check_groups, check_n_jobs, check_number, check_seed

__all__ = ["bootstrap"]

_KINDS = ("parametric", "case")
_MATCHES = ("responsibilities", "parameters")


def bootstrap(
    model: Any,
    X: Data,
    y: ArrayLike | None,
    n_resamples: int = 200,
    kind: str = "parametric",
    *,
    sample_weight: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    match: str = "responsibilities",
    random_state: Seed = None,
    n_jobs: int | None = None,
) -> BootstrapResult:
    r"""Refit to resampled data: standard errors and intervals without asymptotic theory.

    Parametric: each data set keeps X and draws :math:`y^*_n \sim \sum_k \hat\pi_k(x_n) \hat f_k(\cdot|x_n)`. Case: each
    draws rows (x, y) with replacement, as multinomial weights and without a copy of X. Every refit begins at the
    original's parameters, so that it finds the maximum that belongs to the original one, and its experts are put in the
    original's order.

    With ``event_feature`` the times of a parametric data set are censored anew: a row that was censored at its own
    time, any other at one drawn from the Kaplan-Meier estimate of censoring beyond it, which supposes that censoring
    does not depend on x.

    Parameters
    ----------
    model : MoERegressor
        Fitted to these data.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    n_resamples : int, default=200
        Number of refits: 200 for standard errors, 1,000 and more for intervals.
    kind : {"parametric", "case"}, default="parametric"
        The parametric bootstrap relies on the model, the case bootstrap does not (but on independent rows). Where the
        fit has ``group_feature``, both keep groups whole.
    sample_weight : array-like of shape (n_samples,), default=None
        The weights of the fit. A row counts as often as its weight says: a case data set has as many rows as the
        weights add up to, rounded; parametric ones need whole numbers.
    groups : array-like of shape (n_samples,), default=None
        Labels of groups (clusters) that are drawn whole, for rows that depend on one another; ``kind="case"`` only.
    match : {"responsibilities", "parameters"}, default="responsibilities"
        How experts are matched.
    random_state : int, Generator, RandomState or None, default=None
        Replicate i depends on this and on i alone: not on ``n_jobs``, nor on ``n_resamples``.
    n_jobs : int or None, default=None
        Number of processes (joblib). Refits take milliseconds at a few thousand rows, starting processes seconds.

    Returns
    -------
    BootstrapResult

    Raises
    ------
    NotFittedError
        The model is not fitted.
    ValueError, TypeError
        An argument that makes no sense, or other data than those of the fit; the message names it.

    Warns
    -----
    ConvergenceWarning
        The model is not a certified maximum, or some refits are not: one warning with their number. Refits are kept
        whatever became of them, since leaving some out makes errors look small.

    References
    ----------
    Efron, B. and Tibshirani, R. J. (1993). An Introduction to the Bootstrap. Chapman & Hall.

    Grun, B. and Leisch, F. (2004). Bootstrapping finite mixture models. COMPSTAT 2004, 1115-1122.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.inference import bootstrap
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> result = bootstrap(model, X, y, n_resamples=50, random_state=0)
    >>> result.n_failed, result.params.expert.coef.shape
    (0, (50, 2, 1))
    >>> result.interval(0.9).expert.intercept.shape  # low and high on the last axis
    (2, 2)
    """
    model = check_fitted(model)
    fit = model.fitted_
    check_number(n_resamples, "n_resamples", 1, integer=True)
    check_choice(kind, "kind", _KINDS)
    check_choice(match, "match", _MATCHES)
    if fit.density != "y given x":
        raise ValueError(f"bootstrap refits laws of y given x, and the fit is one of {fit.density}; see covariance().")
    seed, n_jobs = check_seed(random_state), check_n_jobs(n_jobs)
    loglik_where_fitted(fit, "model", X, y, sample_weight)
    data = fit.blocks(X, y, sample_weight).source
    (X, y, *_), weight = data.whole(), data.single.weight
    draw = _draw(fit, data, kind, _group_labels(groups, kind, len(y)))
    if not fit.converged:
        message = f"bootstrap of a fit that is not a certified maximum: {fit.status}"
        warnings.warn(message, ConvergenceWarning, stacklevel=2)
    scaling = standardise(fit.model, data.single, fit.gate_columns, fit.expert_columns)
    resamples = Resamples(model, X, y, weight, scaling, draw, match)
    refits = replicate(resamples.run, n_resamples, seed, n_jobs)
    result = _result(fit, kind, refits)
    if result.n_failed:
        warnings.warn(_complaint(result), ConvergenceWarning, stacklevel=2)
    return result


class Resamples(NamedTuple):
    """All that a worker needs to run any replicate."""

    model: BaseEstimator
    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    scaling: Scaling
    draw: object  # rng -> X, y, weight
    match: str

    def run(self, seed, i):
        """Return replicate i as a `Refit` whose experts are in the original's order."""
        fit = self.model.fitted_
        original, mixture = fit.params, fit.model
        refit, _ = attempt(warm(frozen(self.model), original), *self.draw(rng_of(seed, i)))
        if refit.params is None:
            return refit
        if _lost(mixture.fields, refit.params, original):
            refit = refit._replace(certified=False, status=f"a coefficient is not identified; {refit.status}")
        if fit.n_experts == 1:
            return refit
        source = by_group(ArraySource(self.X, self.y, self.weight), fit.roles.group)
        blocks = Blocks(mixture, source, self.scaling, fit.roles)
        return refit._replace(params=match_experts(mixture, blocks, original, refit.params, self.match))


def _lost(fields, params, original):
    """Whether a column that the original uses has become aliased, which makes its coefficients exactly zero."""
    return any(
        np.any(~_used(*one) & _used(*other))
        for one, other in zip(zip(params, fields, strict=True), zip(original, fields, strict=True), strict=True)
    )


def _used(part, fields):
    """Which features have a coefficient that is not zero."""
    views = [fields[name].moved(array) for name, array in part._asdict().items()]
    used = [(view != 0).any(axis=tuple(range(view.ndim - 1))) for view in views if view is not None]
    return np.any(used or [[False]], axis=0)


def _result(fit, kind, refits):
    """Stack the refits; those that raised become NaN."""
    nothing = flatten(fit.params) * np.nan
    flat = np.array([nothing if r.params is None else flatten(r.params) for r in refits])
    params = [unflatten(row, fit.params) for row in flat]
    sides = [type(side[0])(*map(np.stack, zip(*side, strict=True))) for side in zip(*params, strict=True)]
    logliks, certified = np.array([r.loglik for r in refits]), np.array([r.certified for r in refits])
    statuses = [r.status for r in refits]
    names = [entry.name for entry in fit.entries()]
    return BootstrapResult(fit.params, MoEParams(*sides), logliks, statuses, certified, kind, names)


def _complaint(result):
    reason, count = result.reasons.most_common(1)[0]
    return (
        f"{result.n_failed} of {len(result.logliks)} refits are not certified maxima (most often, {count}: {reason}); "
        "they are kept, see statuses; certified_only=True leaves them out"
    )


def _draw(fit, data, kind, groups):
    """Return the function that draws a data set."""
    X, y, *_ = data.whole()
    if kind == "parametric":
        return partial(_new_responses, responses(fit, X, y, data.single.weight))
    return partial(_new_weights, X, fit.model.expert.write(y.T), data, groups)


def _new_responses(draw, rng):
    return *draw(rng), None


def _new_weights(X, y, data, groups, rng):
    if groups is None:
        total = data.weight.sum()
        return X, y, data.spread(rng.multinomial(max(round(total), 1), data.weight / total).astype(float))
    n_groups = groups.max() + 1
    return X, y, data.single.weight * rng.multinomial(n_groups, np.full(n_groups, 1.0 / n_groups))[groups]


def _group_labels(groups, kind, n_samples):
    """Return groups as numbers from zero, or None."""
    if groups is None:
        return None
    if kind != "case":
        raise ValueError("groups: whole groups are drawn by kind='case' only; the parametric bootstrap ignores them.")
    index = check_groups(groups, n_samples)
    if index.min() == index.max():
        raise ValueError("groups: all rows are in one group; there must be several to draw from.")
    return index
