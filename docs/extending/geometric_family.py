"""Counts with many zeros and a long tail: the geometric family."""

import numpy as np
from scipy.stats import geom

from smoe.families import Family, Support


class Geometric(Family):
    r"""Geometric regression: the number of failures before a success, with a log link for its mean.

    .. math:: f(y) = \frac{1}{1 + \mu} \Big(\frac{\mu}{1 + \mu}\Big)^y, \qquad \log \mu = a^\top x + b
    """

    support = Support(0.0, closed=(True, False), kind="integers")

    def log_prob(self, rows, eta, phi):
        return rows.y * eta[0] - (rows.y + 1.0) * np.logaddexp(0.0, eta[0])

    def link(self, rows):
        return np.log(rows.y + 0.5)

    def mean(self, rows, eta, phi):
        return np.exp(eta[0])

    def variance(self, rows, eta, phi):
        return np.exp(eta[0]) * (1.0 + np.exp(eta[0]))

    def _law(self, eta):
        return geom(1.0 / (1.0 + np.exp(eta[0])), loc=-1)

    def cdf(self, rows, eta, phi, upper=False):
        return self._law(eta).sf(rows.y) if upper else self._law(eta).cdf(rows.y)

    def ppf(self, rows, q, eta, phi, upper=False):
        return self._law(eta).isf(q) if upper else self._law(eta).ppf(q)

    def sample(self, rows, eta, phi, rng):
        return rng.geometric(1.0 / (1.0 + np.exp(eta[0]))) - 1.0
