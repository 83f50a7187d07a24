"""Scores of predicted distributions: log-likelihood, CRPS, pinball loss. All see through pipelines and searches."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from smoe.criteria import loglik
from smoe.estimators import MixtureEstimator
from smoe.fitted import FittedMixture
from smoe.hints import Data
from smoe.validation import check_floats, check_response, check_weights, fit_of

__all__ = ["crps", "crps_scorer", "mean_loglik_scorer", "pinball", "pinball_scorer"]


def mean_loglik_scorer(estimator: Any, X: Data, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    r"""Return the mean log-likelihood of the rows, greater is better: the log score.

    .. math:: \sum_i w_i \log p(y_i|x_i) \Big/ \sum_i w_i

    Give it as ``scoring=`` to scikit-learn's searches and ``cross_val_score``.

    Parameters
    ----------
    estimator : estimator, Pipeline or fitted search
        Fitted; the last step is a mixture of experts.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    sample_weight : array-like of shape (n_samples,), default=None

    Returns
    -------
    float
        In natural logarithms of densities per unit of y.

    Raises
    ------
    TypeError
        There is no mixture of experts at the end, or the response was transformed on the way to it.

    Examples
    --------
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.metrics import mean_loglik_scorer
    >>> X, y = load_faithful(return_X_y=True)
    >>> pipe = make_pipeline(StandardScaler(), SoftmaxMoERegressor(2, random_state=0))
    >>> cross_val_score(pipe, X, y, cv=3, scoring=mean_loglik_scorer).round(2)
    array([-0.56, -0.35, -0.37])
    """
    model, X = _mixture(estimator, X)
    weight = check_weights(sample_weight, len(y))  # type: ignore[arg-type]
    return loglik(model, X, y, weight) / float(weight.sum())


def crps(estimator: Any, X: Data, y: ArrayLike) -> np.ndarray:
    r"""Return the continuous ranked probability score of each row, smaller is better.

    .. math:: \int \big(F(t|x) - 1\{t \ge y\}\big)^2 \, dt = E|Y - y| - \tfrac12 E|Y - Y'|

    It is in units of y, and the absolute error where the prediction is a point. For normal experts it is exact [1]_,
    for whole numbers it is the sum over them (the ranked probability score), for other families an integral by
    quadrature.

    Parameters
    ----------
    estimator : estimator, Pipeline or fitted search
        Fitted; the last step is a mixture of experts.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)

    Returns
    -------
    ndarray of shape (n_samples,)

    Raises
    ------
    TypeError
        There is no mixture of experts at the end, or the response was transformed on the way to it.

    References
    ----------
    .. [1] Grimit, E. P., Gneiting, T., Berrocal, V. J. and Johnson, N. A. (2006). The continuous ranked probability
       score for circular variables and its application to mesoscale forecast ensemble verification. Quarterly Journal
       of the Royal Meteorological Society 132, 2925-2942.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.metrics import crps
    >>> X, y = load_faithful(return_X_y=True)
    >>> crps(SoftmaxMoERegressor(2, random_state=0).fit(X, y), X, y)[:3].round(3)
    array([0.461, 0.137, 0.583])
    """
    model, X = _mixture(estimator, X)
    distribution = model.predict_distribution(X)
    if distribution.kind == "vectors":
        raise TypeError("crps scores one response: ask predict_distribution(X).marginal(j).crps(y[:, j]) for each.")
    return distribution.crps(check_response(check_floats(y, "y")))


def crps_scorer(estimator: Any, X: Data, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Return minus the mean `crps` of the rows, greater is better.

    Parameters
    ----------
    estimator : estimator, Pipeline or fitted search
        Fitted; the last step is a mixture of experts.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    sample_weight : array-like of shape (n_samples,), default=None

    Returns
    -------
    float

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.metrics import crps_scorer
    >>> X, y = load_faithful(return_X_y=True)
    >>> round(crps_scorer(SoftmaxMoERegressor(2, random_state=0).fit(X, y), X, y), 3)
    -0.202
    """
    scores = crps(estimator, X, y)
    return -float(np.average(scores, weights=check_weights(sample_weight, len(scores))))


def pinball(y: ArrayLike, quantiles: ArrayLike, q: ArrayLike) -> np.ndarray:
    r"""Return the pinball (quantile, check) loss of each row and level, smaller is better.

    .. math:: \max\{q\,(y - \hat y_q),\; (q - 1)(y - \hat y_q)\}

    Parameters
    ----------
    y : array-like of shape (n_samples,)
    quantiles : array-like of shape (n_samples,) or (n_samples, n_q)
        Predicted, as ``predict_quantiles`` returns them.
    q : float or array-like of shape (n_q,)
        Their levels.

    Returns
    -------
    ndarray of the shape of quantiles

    Raises
    ------
    ValueError
        Shapes that do not match, or levels that are not between 0 and 1.

    Examples
    --------
    >>> from smoe.metrics import pinball
    >>> pinball([1.0, 4.0], [2.0, 2.0], 0.9)
    array([0.1, 1.8])
    """
    y, quantiles, q = check_response(check_floats(y, "y")), check_floats(quantiles, "quantiles"), check_floats(q, "q")
    if not np.all((q >= 0) & (q <= 1)):
        raise ValueError(f"q must hold levels between 0 and 1, got {q}.")
    if q.ndim > 1 or quantiles.shape != (len(y), *q.shape):
        wanted = (len(y), *q.shape)
        raise ValueError(
            f"quantiles must have a row for each y and a column for each level, {wanted}; it has the "
            f"shape {quantiles.shape}."
        )
    error = (y if q.ndim == 0 else y[:, None]) - quantiles
    return np.maximum(q * error, (q - 1.0) * error)


def pinball_scorer(
    estimator: Any, X: Data, y: ArrayLike, sample_weight: ArrayLike | None = None, q: ArrayLike = (0.1, 0.5, 0.9)
) -> float:
    """Return minus the mean `pinball` loss of the predicted quantiles, greater is better.

    Parameters
    ----------
    estimator : estimator, Pipeline or fitted search
        Fitted; the last step is a mixture of experts.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    sample_weight : array-like of shape (n_samples,), default=None
    q : float or array-like of shape (n_q,), default=(0.1, 0.5, 0.9)
        Levels strictly between 0 and 1; ``functools.partial(pinball_scorer, q=0.95)`` is a scorer for another.

    Returns
    -------
    float

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.metrics import pinball_scorer
    >>> X, y = load_faithful(return_X_y=True)
    >>> round(pinball_scorer(SoftmaxMoERegressor(2, random_state=0).fit(X, y), X, y), 4)
    -0.0891
    """
    model, X = _mixture(estimator, X)
    loss = pinball(y, model.predict_quantiles(X, q), q)
    return -float(np.average(loss.reshape(len(loss), -1).mean(axis=1), weights=check_weights(sample_weight, len(loss))))


def _mixture(estimator, X):
    """Return the mixture of experts at the end of pipelines and searches, and X as it gets it."""
    while not isinstance(estimator, MixtureEstimator | FittedMixture):
        check_is_fitted(estimator)
        if isinstance(estimator, Pipeline):
            X, estimator = estimator[:-1].transform(X) if len(estimator) > 1 else X, estimator[-1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            raise TypeError(
                f"{type(estimator).__name__} has no predicted distribution: the last step must be a mixture of "
                "experts, such as MoERegressor, fitted to y as it is."
            )
    return fit_of(estimator) if isinstance(estimator, MixtureEstimator) else estimator, X
