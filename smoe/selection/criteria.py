"""What a number of experts is judged by. Smaller is better."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import theilslopes

from smoe import criteria
from smoe.validation import check_choice, check_floats

__all__ = ["CRITERIA", "SlopeHeuristic", "information_criteria", "slope_heuristic"]

CRITERIA = ("bic", "aic", "icl", "cv", "slope", "jump")

_FEWEST = 5  # numbers of experts below which a slope cannot be told from the bend
_FIT = 3  # the fewest models on a line


class SlopeHeuristic(NamedTuple):
    """The estimated slope, the criterion -2 l + 4 slope df of each model (smaller is better), and the choice."""

    slope: float
    values: np.ndarray
    chosen: int


def information_criteria(fit, X, y, sample_weight):
    """Return AIC, BIC and ICL of a fit on its own data; the last two charge for chance lines (see ``smoe.chance``)."""
    bic = fit.bic + 2.0 * fit.certificate.price
    entropy = criteria.icl(fit, X, y, sample_weight) - criteria.bic(fit, X, y, sample_weight)
    return fit.aic, bic, bic + entropy


def slope_heuristic(loglik: ArrayLike, df: ArrayLike, method: str = "slope") -> SlopeHeuristic:
    r"""Choose among models by a penalty whose constant the data give.

    .. math:: \hat k = \arg\min_k\; -2 \ell_k + 4 \hat\kappa\, \mathrm{df}_k

    For models that are large enough the log-likelihood grows linearly in the degrees of freedom, with the minimal
    penalty :math:`\kappa` as its slope, and twice that is the optimal one. The factor two is that of AIC and BIC.

    Parameters
    ----------
    loglik : array-like of shape (n_models,)
        Maximised log-likelihoods (natural logarithm, total over rows), from the smallest model to the largest.
    df : array-like of shape (n_models,)
        Degrees of freedom, increasing.
    method : {"slope", "jump"}, default="slope"
        "slope" fits lines through the largest 3, 4, ... models (Theil and Sen's median of slopes) and takes the choice
        on which most of these agree, the one from more models at a tie. "jump" takes the constant at which the
        dimension chosen by :math:`-\ell + \kappa\, \mathrm{df}` falls most.

    Returns
    -------
    SlopeHeuristic
        ``slope``, ``values`` (n_models,) and ``chosen``, the index of the model.

    Raises
    ------
    ValueError
        Fewer than five models, or log-likelihoods that do not rise among the largest: the range is too short.

    References
    ----------
    Birge, L. and Massart, P. (2007). Minimal penalties for Gaussian model selection. Probability Theory and Related
    Fields 138, 33-73.

    Baudry, J.-P., Maugis, C. and Michel, B. (2012). Slope heuristics: overview and implementation. Statistics and
    Computing 22, 455-470.

    Examples
    --------
    >>> from smoe.selection import slope_heuristic
    >>> found = slope_heuristic([-900, -500, -400, -397, -394, -391, -388], [3, 8, 13, 18, 23, 28, 33])
    >>> round(found.slope, 3), found.chosen
    (0.6, 2)
    """
    loglik, df = check_floats(loglik, "loglik"), check_floats(df, "df")
    check_choice(method, "method", ("slope", "jump"))
    if loglik.ndim != 1 or loglik.shape != df.shape or not np.all(np.diff(df) > 0):
        raise ValueError("loglik and df must be of one length, and df must increase.")
    if not (np.isfinite(loglik).all() and np.isfinite(df).all()):
        raise ValueError("loglik and df must be finite.")
    if len(df) < _FEWEST:
        raise ValueError(
            f"the slope heuristic needs at least {_FEWEST} numbers of experts, some of them well above the one to be "
            f"found; got {len(df)}. Give a longer range, or choose another criterion."
        )
    slope = _plateau(loglik, df) if method == "slope" else _jump(loglik, df)
    if not slope > 0:
        raise ValueError(
            "the log-likelihood does not rise with the degrees of freedom among the largest models, so there is no "
            "slope to estimate: give a longer range, or choose another criterion."
        )
    values = -2.0 * loglik + 4.0 * slope * df
    return SlopeHeuristic(float(slope), values, int(np.argmin(values)))


def _plateau(loglik, df):
    """Return the slope on whose choice most lines through the largest models agree."""
    slopes = [theilslopes(loglik[-m:], df[-m:])[0] for m in range(_FIT, len(df) + 1)]
    choices = [int(np.argmin(-loglik + 2.0 * max(slope, 0.0) * df)) for slope in slopes]
    votes = np.bincount(choices)
    most = max(choices, key=lambda choice: (votes[choice], max(np.flatnonzero(np.equal(choices, choice)))))
    return np.median([slope for slope, choice in zip(slopes, choices, strict=True) if choice == most])


def _jump(loglik, df):
    """Return the constant at which the dimension that it chooses falls most."""
    constant, chosen, falls = 0.0, int(np.argmax(loglik)), []
    while chosen > 0:
        ratio = (loglik[chosen] - loglik[:chosen]) / (df[chosen] - df[:chosen])
        constant = max(float(ratio.min()), constant)
        smaller = int(np.flatnonzero(ratio <= ratio.min())[0])
        falls.append((df[chosen] - df[smaller], constant))
        chosen = smaller
    return max(falls, default=(0.0, 0.0))[1]
