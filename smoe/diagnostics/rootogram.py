"""Observed and expected numbers of rows with each count."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from smoe.hints import Data, Model
from smoe.validation import check_floats, check_mixture, check_number

__all__ = ["Rootogram", "rootogram"]

_BINS = 60  # of the default width, at most
_WIDEST = 2**53  # whole numbers beyond are not all float64's
_ROWS = 4096  # at a time: bounds the memory


class Rootogram(NamedTuple):
    """Numbers of rows by count; `smoe.plots.plot_rootogram` draws them.

    Attributes
    ----------
    edges : ndarray of shape (n_bins + 1,)
        Bin j holds the whole numbers from ``edges[j]`` to ``edges[j + 1] - 1``.
    observed : ndarray of shape (n_bins,)
        How many rows have such a y.
    expected : ndarray of shape (n_bins,)
        How many rows the model expects to: the sum over rows of the probability given their x.
    """

    edges: np.ndarray
    observed: np.ndarray
    expected: np.ndarray


def rootogram(model: Model, X: Data, y: ArrayLike | None, width: int | None = None) -> Rootogram:
    r"""Compare how often each count was observed with how often the model expects it.

    .. math:: E_j = \sum_{n} \hat P(y = j \,|\, x_n)

    Too many zeros, or a tail that is too thin, show at a glance in `smoe.plots.plot_rootogram`.

    Parameters
    ----------
    model : MoERegressor or FittedMixture
        Fitted, with a family of whole numbers.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    width : int or None, default=None
        How many counts share a bin; None for one, or for as many as make 60 bins enough.

    Returns
    -------
    Rootogram

    Raises
    ------
    ValueError
        The family's responses are not whole numbers, or y is not.

    References
    ----------
    Kleiber, C. and Zeileis, A. (2016). Visualizing count data regressions using rootograms. The American Statistician
    70, 296-303.
    """
    mixture = check_mixture(model).predict_distribution(X)
    y = check_floats(y, "y")
    if mixture.kind != "integers":
        raise ValueError(f"a rootogram needs a family of whole numbers; this one's responses are {mixture.kind}.")
    if y.shape != (len(mixture),):
        raise ValueError(f"y must have shape ({len(mixture)},), got {y.shape}.")
    if not np.all(np.isfinite(y) & (y == np.floor(y))):
        raise ValueError("y must hold whole numbers.")
    edges = _edges(y, width)
    observed = np.histogram(y, edges - 0.5)[0].astype(float)
    parts = (_expected(mixture[low : low + _ROWS], edges) for low in range(0, len(y), _ROWS))
    return Rootogram(edges, observed, sum(parts))


def _edges(y, width):
    """Return the first numbers of the bins, and the number after the last; bins start at zero if y is nearly there."""
    low, high = y.min(), y.max()
    low = 0.0 if 0 <= low <= 0.5 * high else low
    if width is None:
        width = np.ceil((high - low + 1.0) / _BINS)
    else:
        check_number(width, "width", 1, integer=True, high=_WIDEST)
    return low + width * np.arange(np.floor((high - low) / width) + 2.0)


def _expected(mixture, edges):
    """Return the expected numbers of rows in each bin."""
    if edges[1] - edges[0] == 1:
        return mixture.pmf(edges[None, :-1]).sum(axis=0)
    return np.diff(mixture.cdf(edges[None] - 1.0), axis=1).sum(axis=0)
