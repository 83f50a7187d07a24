"""What is left of logarithms after their leading terms, without loss of digits."""

import math

import numpy as np
from scipy.special import digamma, gammaln, zeta

__all__ = ["log_ratio", "remainder", "stirling"]

_FAR = 12.0  # from here on five terms of the series have all digits
_POWERS = 2 * np.arange(6)
_TERMS = np.array([1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360])
_SERIES = np.column_stack([_TERMS, -(_POWERS + 1) * _TERMS, (_POWERS + 1) * (_POWERS + 2) * _TERMS])
_SMALL = 0.1
_LOG_RATIO = np.array([(-1.0) ** j / (j + 1) for j in range(16)])[::-1]
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


def log_ratio(u, order=0):
    """Return log(1 + u) / u, or its first or second derivative; all are smooth where u is zero."""
    u = np.asarray(u, dtype=float)
    small = np.abs(u) < _SMALL
    at, some = np.where(small, u, 0.0), np.where(small, 1.0, u)
    log, share = np.log1p(some), some / (1.0 + some)
    far = log / some if order == 0 else (share - log) / some**2
    if order == 2:
        far = -2.0 * far / some - (share / some) ** 2 / some
    return np.where(small, np.polyval(np.polyder(_LOG_RATIO, order), at), far)


def _near(x):
    log = np.log(x)
    rest = gammaln(x) - (x - 0.5) * log + x - _HALF_LOG_TAU
    slope = digamma(x) - log + 0.5 / x
    return np.array([rest, x**2 * slope, x**3 * (zeta(2, x) - 1.0 / x - 0.5 / x**2)])
