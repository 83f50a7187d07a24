"""Positive responses whose logarithm is normal."""

import numpy as np
from scipy.special import ndtr, ndtri

from smoe.families.dispersed import Dispersed

__all__ = ["LogNormal"]


class LogNormal(Dispersed):
    r"""Normal regression of log y, as a density of y.

    .. math:: f(y) = \frac{1}{y}\, N(\log y;\; a^\top x + b,\; \phi)

    Log-likelihoods hold the Jacobian 1/y and can be compared with those of other families of y. The mean is
    :math:`\exp(a^\top x + b + \phi/2)`, the median :math:`\exp(a^\top x + b)`.

    Parameters
    ----------
    floor : float, default=1e-8
        Smallest dispersion, the variance of log y: the likelihood has no bound where it vanishes, and a fit that ends
        on the floor says so.

    References
    ----------
    Crow, E. L. and Shimizu, K. (eds.) (1988). Lognormal Distributions: Theory and Applications. Dekker.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe import MoERegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (500, 1))
    >>> y = np.exp(1.0 + 2.0 * X[:, 0] + 0.5 * rng.normal(size=500))
    >>> model = MoERegressor(1, expert="log_normal").fit(X, y)
    >>> model.expert_coef_.round(1), model.expert_dispersion_.round(2)
    (array([[2.]]), array([0.22]))
    """

    def distance(self, y, eta):
        return 0.5 * (np.log(y) - eta) ** 2

    def slopes(self, y, eta):
        return eta - np.log(y), np.ones_like(eta), 1.0

    def mean(self, rows, eta, phi):
        return np.exp(eta[0] + 0.5 * phi[0])

    def mean_slopes(self, rows, eta, phi):
        mean = self.mean(rows, eta, phi)
        return np.array([mean, 0.5 * mean])

    def variance(self, rows, eta, phi):
        return self.mean(rows, eta, phi) ** 2 * np.expm1(phi[0])

    def cdf(self, rows, eta, phi, upper=False):
        with np.errstate(divide="ignore"):
            z = (np.log(np.maximum(rows.y, 0.0)) - eta[0]) / np.sqrt(phi[0])
        return ndtr(-z if upper else z)

    def ppf(self, rows, q, eta, phi, upper=False):
        return np.exp(eta[0] + np.sqrt(phi[0]) * (-ndtri(q) if upper else ndtri(q)))

    def sample(self, rows, eta, phi, rng):
        return np.exp(rng.normal(eta[0], np.sqrt(phi[0])))
