"""The delta method: standard errors of functions of the parameters."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from smoe.inference.rows import mean_gradient, pieces
from smoe.params import flatten, unflatten
from smoe.validation import check_floats, check_level

__all__ = ["DeltaMethod", "delta_method", "mean_interval", "normal_quantile"]

_STEP = 2e-3  # in free coordinates; five-point differences are then exact to some 1e-11


@dataclass(frozen=True, eq=False)
class DeltaMethod:
    """A function of the parameters at the estimates, and its standard error.

    Attributes
    ----------
    estimate, std_err : float or ndarray
        Shaped like what the function returns; standard errors are NaN where ``reason`` says so.
    reason : str
        Why some standard errors are NaN, or nothing.
    """

    estimate: np.ndarray
    std_err: np.ndarray
    reason: str

    def interval(self, coverage: float = 0.95) -> np.ndarray:
        """Return the interval of this confidence (coverage), estimate -+ quantile * std_err, (..., 2)."""
        half = normal_quantile(coverage) * self.std_err
        return np.stack([self.estimate - half, self.estimate + half], axis=-1)


def normal_quantile(coverage):
    """Return the half width, in standard errors, of a normal interval."""
    return -ndtri((1.0 - check_level(coverage, "coverage")) / 2.0)


def delta_method(function, covariance):
    r"""Return the value of a function of the parameters with :math:`\sqrt{\nabla g^\top V\, \nabla g}`.

    The gradient is taken by five-point differences along coordinates of even scale.

    Parameters
    ----------
    function : callable
        Takes `smoe.params.MoEParams` in the user's units and returns a number or an array; smooth at the estimates.
    covariance : Covariance
    """
    if not callable(function):
        raise TypeError(f"function must be a callable that takes parameters, got {function!r}.")
    base = flatten(covariance.params)

    def at(move):
        return check_floats(function(unflatten(base + move, covariance.params)), "what function returns")

    estimate = check_floats(function(covariance.params), "what function returns")
    slopes = [_slope(at, column).ravel() for column in covariance.change.T]
    gradient = np.reshape(slopes, (len(slopes), estimate.size))
    if not (np.isfinite(estimate).all() and np.isfinite(gradient).all()):
        raise ValueError("function is not finite, or not smooth, at the estimates: the delta method needs both.")
    error = covariance.std_err(gradient).reshape(estimate.shape)
    reason = covariance.reason if np.isnan(error).any() else ""
    return DeltaMethod(_plain(estimate), _plain(error), reason)


def _plain(values):
    return values if values.ndim else values.item()


def _slope(at, column):
    """Derivative along a column; differences of equal values are exactly zero."""
    value = {j: at(j * _STEP * column) for j in (-2, -1, 1, 2)}
    with np.errstate(invalid="ignore"):  # of infinite values; they are refused later
        return (8.0 * (value[1] - value[-1]) - (value[2] - value[-2])) / (12.0 * _STEP)


def mean_interval(model, blocks, params, covariance, coverage):
    """Return the confidence interval of each row's mean of y given x, (n_samples, 2), or (n_samples, q, 2)."""
    width = normal_quantile(coverage)

    def band(block, p):
        mean = model.mean(block, p)
        if np.isinf(mean).any():
            raise ValueError("mean_interval: the mean of y is infinite, as tails are too heavy; ask for quantiles.")
        half = [mean[..., :0]]
        for piece in pieces(block, p):
            gradient = mean_gradient(model, piece, p)
            slopes = covariance.change.T @ gradient.reshape(len(gradient), -1)
            half.append(covariance.std_err(slopes, given_support=True).reshape(gradient.shape[1:]))
        half = width * np.concatenate(half, axis=-1)
        return np.array([mean - half, mean + half])

    return blocks.map(band, params).T
