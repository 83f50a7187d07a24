"""Responses with heavy tails."""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri, stdtr
from scipy.stats import t as student

from smoe.families.base import Family, Support, tight_scale
from smoe.families.dispersed import DispersionParams
from smoe.families.stirling import log_ratio, stirling
from smoe.fields import Field
from smoe.validation import check_number

__all__ = ["StudentT", "TailParams"]

_LEAST = 1e-8  # a smaller kappa is taken for zero where only its inverse can be used


class TailParams(NamedTuple):
    """Slopes ``coef`` (n_experts, n_features), ``intercept``, ``dispersion`` and ``kappa`` (n_experts,)."""

    coef: np.ndarray
    intercept: np.ndarray
    dispersion: np.ndarray
    kappa: np.ndarray


class StudentT(Family):
    r"""Linear regression with Student's t errors, which rows far away hardly disturb.

    .. math:: y = a^\top x + b + \sqrt{v}\, t_\nu, \qquad \nu = \frac{1}{\kappa}

    with the dispersion v, the square of the scale: the variance is :math:`v / (1 - 2\kappa)`, and infinite from
    :math:`\nu = 2` downwards. ``predict`` gives the location :math:`a^\top x + b`, also where there is no mean
    (:math:`\nu \le 1`). At :math:`\kappa = 0` errors are normal, and a maximum may lie there: kappa is then exactly
    zero, without a standard error. The likelihood grows without bound as the dispersion of an expert through a few rows
    vanishes, with learned degrees of freedom already for one expert; so the dispersion has a floor, and a fit that ends
    on it says so.

    Parameters
    ----------
    df : "learn" or float, default="learn"
        Degrees of freedom: each expert's own, to be estimated, or one positive number for all.
    floor : float, default=1e-8
        Smallest dispersion, as a share of the variance of y.

    References
    ----------
    Chamroukhi, F. (2016). Robust mixture of experts modeling using the t distribution. Neural Networks 79, 20-36.

    Examples
    --------
    >>> from smoe import MoERegressor
    >>> from smoe.datasets import load_engel
    >>> X, y = load_engel(return_X_y=True)
    >>> model = MoERegressor(1, expert="student_t").fit(X, y)
    >>> round(model.loglik_, 2), (1 / model.expert_kappa_).round(2)
    (-1404.33, array([3.25]))
    """

    support = Support()
    units = "affine"
    bounded = False

    def __init__(self, df="learn", floor=1e-8):
        self.df = df
        self.floor = floor

    @property
    def _learned(self):
        return isinstance(self.df, str)

    @property
    def fields(self):
        """The dispersion, which the floor bounds below, and kappa, which may be zero, unless it is given."""
        own = {"dispersion": Field(lower=self.floor)}
        return {**own, "kappa": Field(lower=0.0, attained=True)} if self._learned else own

    @property
    def Params(self):
        """Slopes, intercepts, dispersion and, unless it is given, kappa."""
        return TailParams if self._learned else DispersionParams

    def check(self):
        check_number(self.floor, "StudentT: floor", np.finfo(float).tiny, high=1e6)
        if not self._learned:
            check_number(self.df, "StudentT: df", 1e-3, high=1e12)
        elif self.df != "learn":
            raise ValueError(f"StudentT: df must be 'learn' or a number, got {self.df!r}.")

    def start(self):
        return [0.25, 0.1] if self._learned else [0.25]

    def start_at(self, rows, eta, weight):
        own = super().start_at(rows, eta, weight)
        if rows is not None:
            own[0] = tight_scale((rows.y - eta[0]) ** 2, weight, self.floor)
        return own

    def unit(self, phi):
        return np.sqrt(phi[0])

    def _kappa(self, phi):
        return phi[1] if self._learned else 1.0 / float(self.df)

    def log_prob(self, rows, eta, phi):
        v, kappa = phi[0], self._kappa(phi)
        far = (rows.y - eta[0]) ** 2 / v
        tail = np.log1p(kappa * far) + far * log_ratio(kappa * far)
        return _constant(kappa)[0] - 0.5 * (np.log(2.0 * math.pi * v) + tail)

    def derivatives(self, rows, eta, phi):
        v, kappa = phi[0], self._kappa(phi)
        e = rows.y - eta[0]
        far = e**2 / v
        c = 1.0 / (1.0 + kappa * far)
        w, bent = (1.0 + kappa) * c, kappa * far * c  # the weight that EM gives a row, and how far it is in the tail
        first = [w * e / v, 0.5 * (w * far - 1.0) / v]
        both = w * (1.0 - bent) * e / v**2
        second = [[w * (1.0 - 2.0 * bent) / v, both], [both, (w * far * (1.0 - 0.5 * bent) - 0.5) / v**2]]
        if self._learned:
            _, slope, bend = _constant(kappa)
            u, pull = kappa * far, 0.5 * (far - 1.0) * c**2 / v
            first.append(slope - 0.5 * far * (c + far * log_ratio(u, 1)))
            own = 0.5 * far**2 * (far * log_ratio(u, 2) - c**2) - bend
            cross = [2.0 * e * pull, far * pull]
            second = [[*second[0], cross[0]], [*second[1], cross[1]], [*cross, own]]
        return np.array(first), np.array(second)

    def information(self, rows, eta, phi, second):
        v, kappa = phi[0], self._kappa(phi)
        out = np.zeros_like(second)
        out[0, 0] = (1.0 + kappa) / (v + kappa * (rows.y - eta[0]) ** 2)  # EM's weights: such a step always climbs
        out[1, 1] = 0.5 / (v**2 * (1.0 + 3.0 * kappa))
        if self._learned:
            out[1, 2] = out[2, 1] = 1.0 / (v * (1.0 + kappa) * (1.0 + 3.0 * kappa))
            out[2, 2] = 3.5 / (1.0 + 1.87 * kappa) ** 2  # within some percent
        return out

    def link(self, rows):
        return rows.y

    def mean(self, rows, eta, phi):
        return eta[0]

    def mean_slopes(self, rows, eta, phi):
        slope = np.ones_like(eta[0])
        return np.array([slope, *(np.zeros_like(slope) for _ in phi)])

    def variance(self, rows, eta, phi):
        left = np.broadcast_to(1.0 - 2.0 * self._kappa(phi), eta[0].shape)
        return np.where(left > 0, phi[0] / np.where(left > 0, left, 1.0), np.inf)

    def change_units(self, params, y_shift, y_scale):
        return params._replace(
            coef=y_scale * params.coef,
            intercept=y_scale * params.intercept + y_shift,
            dispersion=y_scale**2 * params.dispersion,
        )

    def cdf(self, rows, eta, phi, upper=False):
        kappa, z = self._kappa(phi), (rows.y - eta[0]) / np.sqrt(phi[0])
        z = -z if upper else z
        return np.where(kappa < _LEAST, ndtr(z), stdtr(1.0 / np.maximum(kappa, _LEAST), z))

    def ppf(self, rows, q, eta, phi, upper=False):
        kappa = self._kappa(phi)
        z = np.where(kappa < _LEAST, ndtri(q), student.ppf(q, 1.0 / np.maximum(kappa, _LEAST)))
        return eta[0] + (-z if upper else z) * np.sqrt(phi[0])

    def sample(self, rows, eta, phi, rng):
        kappa = np.broadcast_to(self._kappa(phi), eta[0].shape)
        df = 1.0 / np.maximum(kappa, _LEAST)
        return eta[0] + np.sqrt(phi[0]) * rng.normal(size=eta[0].shape) / np.sqrt(rng.chisquare(df) / df)


def _constant(kappa):
    """Return what does not depend on y, without that of the normal density, and its two derivatives by kappa."""
    x = 0.5 / np.maximum(kappa, _LEAST)
    (d, s, b), (dy, sy, by), share = stirling(x), stirling(x + 0.5), 1.0 / (1.0 + kappa)
    value = 0.5 * (log_ratio(kappa) - 1.0) + dy - d
    slope = 0.5 * log_ratio(kappa, 1) + 2.0 * (s - share**2 * sy)
    bend = 0.5 * log_ratio(kappa, 2) + 4.0 * share**3 * (sy + x * (2.0 * sy + by)) - 4.0 * x * (2.0 * s + b)
    return value, slope, bend
