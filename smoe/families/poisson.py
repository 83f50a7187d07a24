"""Poisson counts."""

import numpy as np
from scipy.special import gammaln, pdtr, pdtrc
from scipy.stats import poisson

from smoe.families.base import Family, Support

__all__ = ["LOG_FACTORIALS", "Poisson", "log_factorial"]

LOG_FACTORIALS = gammaln(np.arange(1024) + 1.0)  # looking them up takes a tenth of the time


class Poisson(Family):
    r"""Poisson regression with a log link.

    .. math:: f(y) = \frac{\mu^y e^{-\mu}}{y!}, \qquad \log \mu = a^\top x + b + \log t

    with t the exposure, if there is one. Responses are whole numbers; they are neither shifted nor scaled.

    References
    ----------
    Wang, P., Puterman, M. L., Cockburn, I. and Le, N. (1996). Mixed Poisson regression models with covariate dependent
    rates. Biometrics 52, 381-400.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.families import Poisson
    >>> from smoe.features import Rows
    >>> rows = Rows(None, np.array([0.0, 3.0]))
    >>> Poisson().log_prob(rows, np.log([[[2.0, 2.0]]]), []).round(4)
    array([[-2.    , -1.7123]])
    """

    support = Support(0.0, closed=(True, False), kind="integers")
    concave = True

    def log_prob(self, rows, eta, phi):
        out = np.exp(eta[0])
        np.subtract(rows.y * eta[0], out, out=out)
        out -= log_factorial(rows.y)
        return out

    def link(self, rows):
        return np.log(rows.y + 0.5)

    def mean(self, rows, eta, phi):
        return np.exp(eta[0])

    variance = mean

    def derivatives(self, rows, eta, phi):
        mu = np.exp(eta[0])
        return (rows.y - mu)[None], mu[None, None]

    def mean_slopes(self, rows, eta, phi):
        return np.exp(eta)

    def cdf(self, rows, eta, phi, upper=False):
        """Return the distribution functions at y, or with ``upper`` one minus them."""
        count, mu = np.floor(rows.y), np.exp(eta[0])
        tail = pdtrc if upper else pdtr
        return np.where(count < 0, float(upper), tail(np.maximum(count, 0.0), mu))

    def ppf(self, rows, q, eta, phi, upper=False):
        """Return the smallest numbers at which the distribution function is at least q."""
        return (poisson.isf if upper else poisson.ppf)(q, np.exp(eta[0]))

    def sample(self, rows, eta, phi, rng):
        return rng.poisson(np.exp(eta[0])).astype(float)


def log_factorial(y):
    """Return log y!."""
    if y.size and y.max() < len(LOG_FACTORIALS) and y.min() >= 0:
        return LOG_FACTORIALS[y.astype(np.intp)]
    return gammaln(y + 1.0)
