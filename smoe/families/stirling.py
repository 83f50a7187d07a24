"""What is left of logarithms after their leading terms, without loss of digits."""

import math

import numpy as np
from scipy.special import digamma, gammaln, zeta

from smoe._kernels.elementary import ratio_slopes

__all__ = ["log_ratio", "log_ratio_slopes", "remainder", "stirling"]

_FAR = 12.0  # from here on five terms of the series have all digits
_POWERS = 2 * np.arange(6)
_TERMS = np.array([1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360])
_SERIES = np.column_stack([_TERMS, -(_POWERS + 1) * _TERMS, (_POWERS + 1) * (_POWERS + 2) * _TERMS])
_SMALLEST = 1e-100
_HALF_LOG_TAU = 0.5 * math.log(2.0 * math.pi)


def stirling(x):
    r"""Return :math:`d(x)`, :math:`x^2 d'` and :math:`x^3 d''`, with d what Stirling's formula leaves.

    .. math:: d(x) = \log\Gamma(x) - (x - \tfrac12)\log x + x - \tfrac12\log 2\pi

    All three are exact to rounding from small x > 0 to infinity, where they are 0, -1/12 and 1/6.
    """
    x = np.asarray(x, dtype=float)
    far = x >= _FAR
    at = np.where(far, x, _FAR)
    out = np.moveaxis((1.0 / at[..., None]) ** _POWERS @ _SERIES, -1, 0)
    out[0] /= at
    if not far.all():
        out[:, ~far] = _near(x[~far])
    return out


def remainder(x):
    """Return the first of these alone."""
    x = np.asarray(x, dtype=float)
    at = np.maximum(x, _FAR)
    near = np.minimum(x, _FAR)
    far = np.polyval(_TERMS[::-1], 1.0 / at**2) / at
    return np.where(x >= _FAR, far, gammaln(near) - (near - 0.5) * np.log(near) + near - _HALF_LOG_TAU)


def log_ratio(u):
    """Return log(1 + u) / u, which is smooth where u is zero."""
    u = np.asarray(u, dtype=float)
    some = np.where(np.abs(u) < _SMALLEST, _SMALLEST, u)
    return np.log1p(some) / some


def log_ratio_slopes(u):
    """Return its first and its second derivative, (2, ...)."""
    u = np.ascontiguousarray(u, dtype=float)
    return ratio_slopes(u.reshape(-1)).reshape(2, *u.shape)


def _near(x):
    log = np.log(x)
    rest = gammaln(x) - (x - 0.5) * log + x - _HALF_LOG_TAU
    slope = digamma(x) - log + 0.5 / x
    return np.array([rest, x**2 * slope, x**3 * (zeta(2, x) - 1.0 / x - 0.5 / x**2)])
