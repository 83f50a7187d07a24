"""Increasing functions of a response, and the moments of a response whose transform has a location and a scale."""

import math

import numpy as np
from scipy.special import expit, logit, roots_legendre

from smoe.families.base import Support

__all__ = ["BoxCox", "Log", "Logit", "SquareRoot", "Transform"]

_NODES, _WEIGHTS = roots_legendre(64)
_NODES = 0.5 * (_NODES + 1.0)  # on [0, 1]; weights are normalised later
_TAIL = 1e-20  # what integrals leave out on either side


class Transform:
    r"""A function g with :math:`g(Y) = \eta + \sigma \epsilon`, given that this lies above g's lowest value.

    Moments of Y are sums over 64 Gauss-Legendre points between tails of 1e-20: good to seven digits and more, for log
    odds whose noise has a scale of 3 to five.

    Attributes
    ----------
    low : float
        The lowest value of g; a normal distribution is cut off there.
    support : Support
        Where g is defined.
    units : str
        "positive" if g of c y is a line in g of y, which ``rescaled`` then returns; else "none".
    largest : float
        Locations are kept below it in size.
    """

    name = ""
    low = -math.inf
    support = Support(0.0)
    units = "positive"
    largest = math.inf

    def mean(self, noise, location, scale):
        """Return E(Y)."""
        _, share, y = self._points(noise, location, scale)
        return (share * y).sum(axis=0)

    def variance(self, noise, location, scale):
        """Return Var(Y)."""
        _, share, y = self._points(noise, location, scale)
        return (share * (y - (share * y).sum(axis=0)) ** 2).sum(axis=0)

    def mean_slopes(self, noise, location, scale):
        """Return the derivatives of E(Y) by location and scale: covariances with the scores."""
        u, share, y = self._points(noise, location, scale)
        away, slope = share * (y - (share * y).sum(axis=0)), noise.log_density(u)[1]
        return -np.array([(away * slope).sum(axis=0), (away * u * slope).sum(axis=0)]) / scale

    def _points(self, noise, location, scale):
        """Return points of the noise, (64, n_experts, m), what share of the mass each stands for, and Y there."""
        cut = self.low > -math.inf
        inside = noise.log_survival((self.low - location) / scale)[0] if cut else 0.0 * location
        low, high = (noise.inverse_log_survival(inside + tail) for tail in (np.log1p(-_TAIL), math.log(_TAIL)))
        place, weight = (_NODES**2, _WEIGHTS * _NODES) if cut else (_NODES, _WEIGHTS)  # Y may have a root at the bound
        u = low + np.multiply.outer(place, high - low)
        share = weight[:, None, None] * np.exp(noise.log_density(u)[0] - inside)
        return u, share / share.sum(axis=0), self.inverse(location + scale * u)


class Log(Transform):
    """The logarithm: moments have closed forms."""

    name = "Log"
    largest = 300.0  # so that exponentials and their squares stay in float64

    def forward(self, y):
        """Return g(y)."""
        return np.log(y)

    def inverse(self, z):
        """Return the y with g(y) = z."""
        with np.errstate(over="ignore"):
            return np.exp(z)

    def log_slope(self, y):
        """Return log g'(y)."""
        return -np.log(y)

    def rescaled(self, c):
        """Return the line (slope, intercept) that g(c y) is in g(y)."""
        return 1.0, math.log(c)

    def mean(self, noise, location, scale):
        return self.inverse(location + noise.log_mgf(scale)[0])

    def variance(self, noise, location, scale):
        one, two = noise.log_mgf(scale)[0], noise.log_mgf(2.0 * scale)[0]
        with np.errstate(over="ignore"):
            share = np.expm1(two - 2.0 * np.where(np.isfinite(one), one, 0.0))
            return self.inverse(location + one) ** 2 * share

    def mean_slopes(self, noise, location, scale):
        mean = self.mean(noise, location, scale)
        return np.array([mean, mean * noise.log_mgf(scale)[1]])


class Logit(Transform):
    """The log odds of a share."""

    name = "Logit"
    support = Support(0.0, 1.0)
    units = "none"

    def forward(self, y):
        return logit(y)

    def inverse(self, z):
        return expit(z)

    def log_slope(self, y):
        return -np.log(y) - np.log1p(-y)


class SquareRoot(Transform):
    """The square root."""

    name = "SquareRoot"
    low = 0.0

    def forward(self, y):
        return np.sqrt(y)

    def inverse(self, z):
        return np.maximum(z, 0.0) ** 2

    def log_slope(self, y):
        return -0.5 * np.log(y) - math.log(2.0)

    def rescaled(self, c):
        return math.sqrt(c), 0.0


class BoxCox(Transform):
    r"""The power :math:`(y^\lambda - 1) / \lambda` with a positive exponent."""

    name = "BoxCox"

    def __init__(self, exponent):
        self.exponent, self.low = exponent, -1.0 / exponent

    def forward(self, y):
        return np.expm1(self.exponent * np.log(y)) / self.exponent

    def inverse(self, z):
        with np.errstate(divide="ignore"):  # of the lowest value
            return np.exp(np.log1p(np.maximum(self.exponent * z, -1.0)) / self.exponent)

    def log_slope(self, y):
        return (self.exponent - 1.0) * np.log(y)

    def rescaled(self, c):
        return c**self.exponent, math.expm1(self.exponent * math.log(c)) / self.exponent
