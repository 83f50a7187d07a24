"""Residuals that are standard normal, and PIT values that are uniform, if the model is right."""

import numpy as np
from scipy.special import ndtri_exp

from smoe.validation import check_generator

__all__ = ["quantile_residuals", "varies"]

_ROUNDING = 1e-9


def quantile_residuals(distribution, y, random_state=None):
    """Return PIT values and quantile residuals, each computed from the nearer tail.

    Parameters
    ----------
    distribution : RealMixture or IntegerMixture
        Of y given x, one for each row. Of whole numbers the PIT values are drawn between the distribution function at
        y - 1 and that at y.
    y : array of shape (n_samples,)
    random_state : int, Generator, RandomState or None, default=None
        Draws them.

    Raises
    ------
    ValueError
        The responses are neither real nor whole numbers.
    """
    if distribution.kind not in ("real", "integers"):
        raise ValueError(f"quantile residuals need responses that are numbers; this family's are {distribution.kind}.")
    tails = distribution.logcdf(y), distribution.logsf(y)
    if distribution.kind == "integers":
        position = check_generator(random_state).spawn(1)[0].random(len(y))  # not the stream that `sample` draws y from
        before = distribution.logcdf(y - 1.0), distribution.logsf(y - 1.0)
        with np.errstate(divide="ignore"):
            at, off = np.log(position), np.log1p(-position)
        with np.errstate(invalid="ignore"):  # NaN is reported
            tails = [np.logaddexp(at + one, off + other) for one, other in zip(tails, before, strict=True)]
    lower, upper = np.maximum(tails, -np.finfo(float).max)
    below, near = lower < upper, ndtri_exp(np.minimum(lower, upper))
    return np.where(below, np.exp(lower), -np.expm1(upper)), np.where(below, near, -near)


def varies(values):
    """Whether values differ by more than rounding."""
    return values.std() > _ROUNDING * np.abs(values).max()
