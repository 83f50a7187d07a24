"""The parametric-bootstrap likelihood-ratio test of k experts against k + 1."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.validation import check_is_fitted

from smoe.estimators import MixtureEstimator
from smoe.hints import Data, Seed
from smoe.inference.likelihood_ratio import loglik_where_fitted
from smoe.inference.replicates import attempt, frozen, replicate, responses, rng_of, warm
from smoe.params import n_experts_of
from smoe.selection.path import grow
from smoe.starts import resolve_start
from smoe.validation import check_n_jobs, check_number, check_seed

__all__ = ["NExpertsTest", "n_experts_test"]


class NExpertsTest(NamedTuple):
    """A test of k against k + 1 experts.

    Attributes
    ----------
    statistic : float
        Twice the difference of the log-likelihoods.
    p_value : float
    resampled : ndarray of shape (n_resamples,)
        The statistic on the data sets drawn from the smaller model; NaN where a fit raised an error, which counts as
        a statistic beyond that of the data.
    n_uncertified : tuple of two int
        How many of the fits to these data sets are no certified maxima: of the smaller and of the larger model. The
        larger one has an expert too many there, so many are to be expected.
    smaller, larger : MoERegressor
        The fits with k and with k + 1 experts.
    """

    statistic: float
    p_value: float
    resampled: np.ndarray
    n_uncertified: tuple
    smaller: BaseEstimator
    larger: BaseEstimator

    def __repr__(self):
        k, b = self.smaller.n_experts, len(self.resampled)
        return f"NExpertsTest({k} against {k + 1}: statistic={self.statistic:.4g}, p_value={self.p_value:.3g}, B={b})"


def n_experts_test(
    model: Any,
    X: Data,
    y: ArrayLike | None,
    n_experts: int | None = None,
    n_resamples: int = 99,
    *,
    sample_weight: ArrayLike | None = None,
    random_state: Seed = None,
    n_jobs: int | None = None,
) -> NExpertsTest:
    r"""Test k experts against k + 1 by the parametric bootstrap of the likelihood ratio.

    .. math:: T = 2\,(\hat\ell_{k+1} - \hat\ell_k), \qquad p = \frac{1 + \#\{b: T^*_b \ge T\}}{B + 1}

    With k experts the parameters of one more are not identified, and T has no chi-square distribution. Its distribution
    is found by drawing B responses from the fit with k experts and fitting both models to each. The smaller begins at
    the fit that drew the data, the larger at the estimator's own starts and at splits of the smaller one's experts, as
    in `select_n_experts`: it is never less likely.

    Parameters
    ----------
    model : MoERegressor
        With k experts: fitted to these data, or not yet.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    n_experts : int or None, default=None
        The smaller number k; None for the model's own. A model that is not fitted, or has another number, is cloned
        and fitted.
    n_resamples : int, default=99
        B. The smallest p-value is 1 / (B + 1).
    sample_weight : array-like of shape (n_samples,), default=None
        Whole numbers: how often each row counts.
    random_state : int, Generator, RandomState or None, default=None
        Replicate b depends on this and on b alone, not on ``n_jobs``.
    n_jobs : int or None, default=None
        Number of processes (joblib).

    Returns
    -------
    NExpertsTest
        ``statistic``, ``p_value``, ``resampled``, ``n_uncertified``, ``smaller``, ``larger``.

    Raises
    ------
    ValueError, TypeError
        An argument that makes no sense; the message names it.

    Warns
    -----
    ConvergenceWarning
        One of the two fits to the data is not a certified maximum, or some fits of the smaller model to drawn data.

    Notes
    -----
    The larger likelihood is unbounded: an expert may collapse on a few rows. Starts that end so lose to any regular
    one, in the data and in the replicates alike.

    References
    ----------
    McLachlan, G. J. (1987). On bootstrapping the likelihood ratio test statistic for the number of components in a
    normal mixture. Journal of the Royal Statistical Society C 36, 318-324.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.selection import n_experts_test
    >>> X, y = load_faithful(return_X_y=True)
    >>> one = SoftmaxMoERegressor(n_experts=1, random_state=0).fit(X, y)
    >>> n_experts_test(one, X, y, n_resamples=4, random_state=0)
    NExpertsTest(1 against 2: statistic=..., p_value=0.2, B=4)
    """
    check_number(n_resamples, "n_resamples", 1, integer=True)
    seed, n_jobs = check_seed(random_state), check_n_jobs(n_jobs)
    smaller, X = _without_formula(_smaller(model, X, y, n_experts, sample_weight), X)
    if not smaller.gate_.nested:
        raise ValueError(
            f"model: with {type(smaller.gate_).__name__} more experts do not contain fewer, and the difference of the "
            "log-likelihoods is no test statistic; compare them by BIC or cross-validation (select_n_experts)."
        )
    loglik_where_fitted(smaller.fitted_, "model", X, y, sample_weight)
    data = smaller.fitted_.blocks(X, y, sample_weight).source
    whole = data.whole()
    draw = responses(smaller.fitted_, whole.X, whole.y, data.single.weight)
    end, fresh = attempt(_fresh(smaller), X, y, sample_weight)
    if fresh is None:
        raise ValueError(f"the model with {smaller.n_experts + 1} experts cannot be fitted to these data: {end.status}")
    larger = grow(smaller, fresh, X, y, sample_weight, np.random.default_rng(0))
    _warn_of_fits(smaller, larger)
    pairs = replicate(Pairs(smaller, draw).run, n_resamples, seed, n_jobs)
    resampled, small, large = map(np.array, zip(*pairs, strict=True))
    n_uncertified = int(np.sum(~small)), int(np.sum(~large))
    if n_uncertified[0]:
        message = (
            f"{n_uncertified[0]} of {n_resamples} refits with {smaller.n_experts} experts are not certified maxima"
        )
        warnings.warn(message, ConvergenceWarning, stacklevel=2)
    statistic = _statistic(smaller, larger)
    p_value = float((1 + np.sum(~(resampled < statistic))) / (n_resamples + 1))
    return NExpertsTest(statistic, p_value, resampled, n_uncertified, smaller, larger)


class Pairs(NamedTuple):
    """All that a worker needs to run any replicate."""

    smaller: BaseEstimator
    draw: object  # rng -> X, y

    def run(self, seed, i):
        """Return the statistic of replicate i, and whether its fits are certified."""
        rng = rng_of(seed, i)
        X, y = self.draw(rng)
        end, small = attempt(warm(frozen(self.smaller), self.smaller.params_), X, y)
        if small is None:
            return np.nan, False, False
        _, fresh = attempt(_fresh(self.smaller).set_params(random_state=int(rng.integers(2**31))), X, y)
        if fresh is None:
            return np.nan, end.certified, False
        large = grow(small, fresh, X, y, None, rng)
        return _statistic(small, large), small.converged_, large.converged_


def _smaller(model, X, y, n_experts, sample_weight):
    """Return the fit with k experts: the model itself, or a clone that is fitted here."""
    model = getattr(model, "best_estimator_", model)
    if not isinstance(model, MixtureEstimator):
        raise TypeError(f"model must be a mixture of experts such as MoERegressor, got {model!r}.")
    n_experts = model.n_experts if n_experts is None else n_experts
    check_number(n_experts, "n_experts", 1, integer=True)
    if _is_fitted(model) and n_experts_of(model.params_) == n_experts:
        return model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # said below, with the number of experts
        return clone(model).set_params(n_experts=n_experts).fit(X, y, sample_weight)


def _without_formula(model, X):
    """Return the fitted model and its rows with the columns that its formula makes: drawn data have no others."""
    if model.formula is None:
        return model, X
    plain = frozen(model)
    plain.fitted_, X = model.fitted_.without_formula(X)
    return plain, X


def _is_fitted(model):
    try:
        check_is_fitted(model)
    except NotFittedError:
        return False
    return True


def _fresh(smaller):
    """Return an estimator of one more expert that begins where estimators do."""
    larger = frozen(smaller, smaller.n_experts + 1)
    if resolve_start(smaller.start, smaller.gate_).needs_rows:
        return larger
    return larger.set_params(start="auto", n_init="auto")


def _statistic(smaller, larger):
    """Twice the difference; the larger model contains the smaller, so less than zero is rounding."""
    return max(0.0, 2.0 * (larger.loglik_ - smaller.loglik_))


def _warn_of_fits(smaller, larger):
    for model in (smaller, larger):
        if not model.converged_:
            message = f"the fit with {model.n_experts} experts is not a certified maximum: {model.status_}"
            warnings.warn(message, ConvergenceWarning, stacklevel=3)
