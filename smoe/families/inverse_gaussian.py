"""Inverse Gaussian responses."""

import numpy as np
from scipy.stats import invgauss

from smoe.families.dispersed import Dispersed

__all__ = ["InverseGaussian"]


class InverseGaussian(Dispersed):
    r"""Inverse Gaussian regression with a log link.

    .. math:: f(y) = \frac{1}{\sqrt{2\pi\phi y^3}} \exp\Big(-\frac{(y - \mu)^2}{2\phi\mu^2 y}\Big), \qquad
              \log \mu = a^\top x + b

    so that the variance is :math:`\phi\mu^3`. Responses are positive numbers; in units c times as large, dispersions
    are c times as large.

    Parameters
    ----------
    floor : float, default=1e-8
        Smallest dispersion, for y in units of its mean: the likelihood has no bound where it vanishes, and a fit that
        ends on the floor says so.

    References
    ----------
    Tweedie, M. C. K. (1957). Statistical properties of inverse Gaussian distributions. Annals of Mathematical
    Statistics 28, 362-377.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe import MoERegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (500, 1))
    >>> y = rng.wald(np.exp(1.0 + 2.0 * X[:, 0]), 4.0)
    >>> model = MoERegressor(1, expert="inverse_gaussian").fit(X, y)
    >>> model.expert_coef_.round(1), model.expert_dispersion_.round(2)
    (array([[2.1]]), array([0.24]))
    """

    def distance(self, y, eta):
        return 0.5 * (y * np.exp(-eta) - 1.0) ** 2 / y

    def slopes(self, y, eta):
        inverse = np.exp(-eta)
        return inverse * (1.0 - y * inverse), inverse * (2.0 * y * inverse - 1.0), inverse

    def measure(self, y):
        return -1.5 * np.log(y)

    def change_units(self, params, y_shift, y_scale):
        params = super().change_units(params, y_shift, y_scale)
        return params._replace(dispersion=params.dispersion / y_scale)

    def variance(self, rows, eta, phi):
        return phi[0] * np.exp(3.0 * eta[0])

    def _law(self, eta, phi):
        return invgauss(np.exp(eta[0]) * phi[0], scale=1.0 / phi[0])

    def cdf(self, rows, eta, phi, upper=False):
        law = self._law(eta, phi)
        return law.sf(rows.y) if upper else law.cdf(rows.y)

    def ppf(self, rows, q, eta, phi, upper=False):
        law = self._law(eta, phi)
        return law.isf(q) if upper else law.ppf(q)

    def sample(self, rows, eta, phi, rng):
        return rng.wald(np.exp(eta[0]), 1.0 / phi[0])
