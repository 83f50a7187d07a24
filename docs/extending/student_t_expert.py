"""Experts that outliers do not impress: linear regressions with Student-t noise."""

import numpy as np
from scipy.special import gammaln, stdtr, stdtrit

from smoe.experts import GaussianExpert


class StudentTExpert(GaussianExpert):
    r"""Student-t regression, one per expert, with known degrees of freedom.

    .. math:: f_i(y|x) = \frac{1}{\sqrt{v_i}}\, t_\nu\!\left(\frac{y - a_i^\top x - b_i}{\sqrt{v_i}}\right)

    The parameters are those of `smoe.experts.GaussianExpert`; ``variance`` holds :math:`v_i`, the squared *scale*. The
    variance of the noise is :math:`v_i\,\nu/(\nu - 2)`.

    Parameters
    ----------
    df : float, default=5.0
        The degrees of freedom :math:`\nu`, more than two.
    variance_floor : float, default=1e-8
        Smallest squared scale, as a share of the variance of y.

    References
    ----------
    Chamroukhi, F. (2016). Robust mixture of experts modeling using the t distribution. Neural Networks 79, 20-36.
    """

    exact_m_step = False  # a step up, with weights from the parameters before it

    def __init__(self, df=5.0, variance_floor=1e-8):
        self.variance_floor = variance_floor
        self.df = df

    def check(self):
        super().check()
        if not self.df > 2:
            raise ValueError(f"df must be larger than 2, got {self.df!r}.")

    def _noise(self, rows, params):
        """Residuals and squared scales, and the weight (df + 1) / (df + squared standardised residual)."""
        residual, v = rows.y - self.mean(rows, params), params.variance[:, None]
        return residual, v, (self.df + 1) / (self.df + residual**2 / v)

    def log_prob(self, rows, params):
        residual, v, _ = self._noise(rows, params)
        constant = gammaln((self.df + 1) / 2) - gammaln(self.df / 2) - 0.5 * np.log(np.pi * self.df * v)
        return constant - (self.df + 1) / 2 * np.log1p(residual**2 / (self.df * v))

    def cdf(self, rows, params, upper=False):
        residual, v, _ = self._noise(rows, params)
        return stdtr(self.df, (-residual if upper else residual) / np.sqrt(v))

    def log_cdf(self, rows, params, upper=False):
        return np.log(self.cdf(rows, params, upper))

    def ppf(self, rows, q, params, upper=False):
        z = stdtrit(self.df, q)
        return self.mean(rows, params) + (-z if upper else z) * np.sqrt(params.variance)[:, None]

    def normal(self, rows, params):
        """No normal densities: what is exact for those must not be used."""
        return None

    def variance(self, rows, params):
        return super().variance(rows, params) * self.df / (self.df - 2)

    def sample(self, rows, label, params, rng):
        location = np.take_along_axis(self.mean(rows, params), label[None], axis=0)[0]
        return location + np.sqrt(params.variance[label]) * rng.standard_t(self.df, len(label))

    def suffstats(self, rows, params, resp):
        """Moments in which far rows count less; the total responsibility is what it was."""
        weight = self._noise(rows, params)[2]
        return super().suffstats(rows, params, resp * weight)._replace(weight=resp.sum(axis=1))

    def row_scores(self, rows, params):
        residual, v, weight = self._noise(rows, params)
        slope = weight * residual / v
        return np.concatenate([slope[:, None] * rows.Z, (0.5 * (slope * residual - 1) / v)[:, None]], axis=1)

    def curvature(self, rows, params, resp, stats):
        residual, v, weight = self._noise(rows, params)
        z = residual**2 / v
        bend = weight**2 / (self.df + 1)  # minus the derivative of the weight by z
        line = resp * (weight - 2 * bend * z) / v
        both = resp * residual * (weight - bend * z) / v**2
        Z, p = rows.Z, len(rows.Z)
        out = np.empty((len(v), p + 1, p + 1))
        out[:, :p, :p] = (line[:, None] * Z) @ Z.T
        out[:, :p, p] = out[:, p, :p] = both @ Z.T
        out[:, p, p] = (resp * (weight * z - 0.5 - 0.5 * bend * z**2) / v**2).sum(axis=1)
        return out
