"""What is left of the logarithm of the gamma function after Stirling's formula, without loss of digits."""

import math

import numpy as np
from scipy.special import digamma, gammaln, zeta

__all__ = ["stirling"]

_FAR = 12.0  # from here on five terms of the series have all digits
_TERMS = np.array([1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360])
_HALF_LOG_TAU = 0.5 * math.log(2.0 * math.pi)


def stirling(x):
    r"""Return :math:`d = \log\Gamma(x) - (x - \frac12)\log x + x - \frac12\log 2\pi`, and :math:`x^2 d'` and :math:`x^3 d''`.

    All three are exact to rounding from small x > 0 to infinity, where they are 0, -1/12 and 1/6.
    """
    x = np.asarray(x, dtype=float)
    far = x >= _FAR
    u = 1.0 / np.where(far, x, 1.0) ** 2
    order = 2 * np.arange(len(_TERMS)) + 1
    series = [np.polyval((_TERMS * factor)[::-1], u) for factor in (1, -order, order * (order + 1))]
    out = np.array([series[0] / np.where(far, x, 1.0), *series[1:]])
    if not far.all():
        out[:, ~far] = _near(x[~far])
    return out


def _near(x):
    log = np.log(x)
    rest = gammaln(x) - (x - 0.5) * log + x - _HALF_LOG_TAU
    slope = digamma(x) - log + 0.5 / x
    return np.array([rest, x**2 * slope, x**3 * (zeta(2, x) - 1.0 / x - 0.5 / x**2)])
