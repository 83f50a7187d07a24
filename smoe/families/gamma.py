"""Gamma responses."""

import math

import numpy as np
from scipy.special import gammainc, gammaincc, gammainccinv, gammaincinv

from smoe.families.dispersed import Dispersed
from smoe.families.stirling import stirling

__all__ = ["Gamma"]


class Gamma(Dispersed):
    r"""Gamma regression with a log link.

    .. math:: f(y) = \frac{(s/\mu)^s}{\Gamma(s)}\, y^{s-1} e^{-sy/\mu}, \qquad \log \mu = a^\top x + b, \qquad
              s = \frac{1}{\phi}

    so that the variance is :math:`\phi \mu^2`. The dispersion is the maximum-likelihood one, not Pearson's. Responses
    are positive numbers, in any unit: it moves the intercepts alone. Two experts of shapes s and s + 1 and the same
    :math:`\phi\mu` can hardly be told from one.

    Parameters
    ----------
    floor : float, default=1e-8
        Smallest dispersion: the likelihood has no bound where it vanishes, and a fit that ends on the floor says so.

    References
    ----------
    McCullagh, P. and Nelder, J. A. (1989). Generalized Linear Models, 2nd ed., chapter 8. Chapman and Hall.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe import MoERegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (500, 1))
    >>> y = rng.gamma(4.0, np.exp(1.0 + 2.0 * X[:, 0]) / 4.0)
    >>> model = MoERegressor(1, expert="gamma").fit(X, y)
    >>> model.expert_coef_.round(1), model.expert_dispersion_.round(2)
    (array([[2.]]), array([0.24]))
    """

    concave = True  # by the coefficients, whose maximum does not depend on the dispersion

    def distance(self, y, eta):
        log = np.log(y) - eta
        return np.expm1(log) - log

    def slopes(self, y, eta):
        ratio = y * np.exp(-eta)
        return 1.0 - ratio, ratio, 1.0

    def normaliser(self, phi):
        rest, slope, bend = stirling(1.0 / phi)
        # log s - psi(s) is s^-1 / 2 - d'(s), with d what is left after Stirling's formula
        own = -0.5 / phi + slope, 0.5 / phi**2 - (bend + 2.0 * slope) / phi
        return -0.5 * np.log(phi) - 0.5 * math.log(2.0 * math.pi) - rest, *own

    def variance(self, rows, eta, phi):
        return phi[0] * np.exp(2.0 * eta[0])

    def cdf(self, rows, eta, phi, upper=False):
        at = np.maximum(rows.y, 0.0) * np.exp(-eta[0]) / phi[0]
        return (gammaincc if upper else gammainc)(1.0 / phi[0], at)

    def ppf(self, rows, q, eta, phi, upper=False):
        return (gammainccinv if upper else gammaincinv)(1.0 / phi[0], q) * phi[0] * np.exp(eta[0])

    def sample(self, rows, eta, phi, rng):
        return rng.gamma(1.0 / phi[0], phi[0] * np.exp(eta[0]))
