"""Whether classes occur as often as the model says."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2

from smoe.hints import Data, Model
from smoe.validation import check_mixture, check_number

__all__ = ["Calibration", "calibration"]

_ROWS, _MOST = 40, 10  # rows of a bin, and bins, by default
_EXPECTED = 1.0  # rows of a class that a bin should expect for the test


class Calibration(NamedTuple):
    """Predicted and observed shares of each class, in bins of rows of similar probability.

    `smoe.plots.plot_calibration` draws it.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
    predicted : ndarray of shape (n_classes, n_bins)
        Mean probability of the class in each bin: bins have equal numbers of rows, ordered by that probability.
    observed : ndarray of shape (n_classes, n_bins)
        Share of rows with the class.
    error : ndarray of shape (n_classes, n_bins)
        Standard deviation of ``observed`` under the model.
    p_values : ndarray of shape (n_classes,)
        Of the chi-squared test that all bins agree. On the data of the fit they are too large.
    """

    classes: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray
    error: np.ndarray
    p_values: np.ndarray


def calibration(model: Model, X: Data, y: ArrayLike, n_bins: int | None = None) -> Calibration:
    r"""Compare how often each class occurs with how often the model says it does.

    .. math:: \mathrm{predicted}_b = \frac{1}{n_b} \sum_{n \in b} \hat P(c | x_n), \qquad
              \mathrm{observed}_b = \frac{1}{n_b} \sum_{n \in b} 1\{y_n = c\}

    Parameters
    ----------
    model : MoEClassifier or FittedMixture
        Fitted.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        Labels; of rows other than those of the fit, if there are any.
    n_bins : int or None, default=None
        None for one bin per 40 rows, at most 10.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        The family's responses are no classes, or y holds others.

    References
    ----------
    Hosmer, D. W. and Lemeshow, S. (1980). Goodness of fit tests for the multiple logistic regression model.
    Communications in Statistics A 9, 1043-1069.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from smoe import MoEClassifier
    >>> from smoe.diagnostics import calibration
    >>> X, y = load_iris(return_X_y=True)
    >>> found = calibration(MoEClassifier(1).fit(X, y), X, y)
    >>> found.observed.shape
    (3, 3)
    """
    fit = check_mixture(model)
    if (kind := fit.model.expert.support.kind) != "classes":
        raise ValueError(f"calibration is of classes; this family's responses are {kind}.")
    codes = fit.blocks(X, y).source.whole().y
    if n_bins is not None:
        check_number(n_bins, "n_bins", 1, integer=True, high=len(codes))
    return calibrated(fit.predict_proba(X), codes, fit.model.expert.classes, n_bins)


def calibrated(proba, codes, classes, n_bins=None):
    """Return the `Calibration` of probabilities (n_samples, n_classes) for codes of classes."""
    n, n_classes = proba.shape
    n_bins = int(np.clip(n // _ROWS, 1, _MOST)) if n_bins is None else n_bins
    found = [_of_class(p, codes == c, n_bins) for c, p in enumerate(proba.T)]
    predicted, observed, error = map(np.array, zip(*(parts[:3] for parts in found), strict=True))
    return Calibration(np.asarray(classes), predicted, observed, error, np.array([parts[3] for parts in found]))


def _of_class(proba, hit, n_bins):
    """Return predicted and observed shares of one class, their errors under the model, and the p-value."""
    bins = np.array_split(np.argsort(proba, kind="stable"), n_bins)
    size = np.array([len(rows) for rows in bins])
    expected, count, variance = (
        np.array([values[rows].sum() for rows in bins]) for values in (proba, hit.astype(float), proba * (1 - proba))
    )
    tested = np.minimum(expected, size - expected) >= _EXPECTED
    statistic = ((count - expected)[tested] ** 2 / variance[tested]).sum()
    p_value = chi2.sf(statistic, tested.sum()) if tested.any() else np.nan
    return expected / size, count / size, np.sqrt(variance) / size, p_value
