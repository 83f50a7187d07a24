"""Responses with heavy tails."""

import math
from typing import NamedTuple

import numpy as np
from numpy.polynomial.polynomial import polyder
from scipy.special import bernoulli, digamma, gammaln, ndtr, ndtri, stdtr, stdtrit, zeta

from smoe._kernels.pointwise import student_pointwise
from smoe.families.base import Family, Pointwise, ScaleParams, tight_scale
from smoe.families.stirling import log_ratio, log_ratio_slopes
from smoe.fields import Field
from smoe.validation import check_number

__all__ = ["StudentT", "StudentTParams"]

_START = 0.1  # 1 / df
_FAR = 0.05  # 1 / df up to which series are exact
_NORMAL = 1e-9  # 1 / df up to which distribution functions are the normal ones
_ORDER = np.arange(1, 20)  # of the expansion of log(Gamma(x + 1/2) / Gamma(x) / sqrt(x)) in 1/(2x)
_STIRLING = np.append(0.0, (2.0**-_ORDER - 2.0) * bernoulli(20)[2:] / (_ORDER * (_ORDER + 1.0)) * 2.0**_ORDER)
_SLOPE, _BEND = polyder(_STIRLING), polyder(_STIRLING, 2)


class StudentTParams(NamedTuple):
    """Slopes ``coef`` (n_experts, n_features), ``intercept``, ``scale`` and ``inverse_df`` (n_experts,)."""

    coef: np.ndarray
    intercept: np.ndarray
    scale: np.ndarray
    inverse_df: np.ndarray


class StudentT(Family):
    r"""Student's t around a line: regression that outliers do not pull.

    .. math:: f(y) = \frac{\Gamma(\frac{\nu + 1}{2})}{\Gamma(\frac{\nu}{2}) \sqrt{\pi \nu}\, s}
        \Big(1 + \frac{(y - \eta)^2}{\nu s^2}\Big)^{-\frac{\nu + 1}{2}}, \qquad \eta = a^\top x + b

    The parameter is ``inverse_df`` = 1/df: at zero, an ordinary point that a maximum may lie on, the density is the
    normal one with variance s². The location is the median; it is the mean where df > 1, and stands for it where none
    exists. The variance is s² df / (df - 2), infinite for df of at most 2.

    The likelihood grows without bound as an expert passes through a few points and its scale goes to zero, so the scale
    has a floor; a fit that ends on it says so.

    Parameters
    ----------
    df : "learn", "shared" or float, default="learn"
        Degrees of freedom: one per expert to be estimated, one that all experts share, or a number, with infinity for
        normal experts. Below 1 is legitimate, and a maximum of some data.
    floor : float, default=1e-4
        Smallest scale, as a share of the standard deviation of y.

    References
    ----------
    Lange, K. L., Little, R. J. A. and Taylor, J. M. G. (1989). Robust statistical modeling using the t distribution.
    JASA 84, 881-896.
    Chamroukhi, F. (2016). Robust mixture of experts modeling using the t distribution. Neural Networks 79, 20-36.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe import MoERegressor
    >>> from smoe.families import StudentT
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (500, 1))
    >>> y = 1.0 + 2.0 * X[:, 0] + 0.1 * rng.standard_t(3, 500)
    >>> model = MoERegressor(1, expert=StudentT()).fit(X, y)
    >>> model.expert_coef_.round(1), (1 / model.params_.expert.inverse_df).round()
    (array([[2.]]), array([3.]))
    """

    units = "affine"
    bounded = False
    largest = math.inf

    def __init__(self, df: float | str = "learn", floor: float = 1e-4) -> None:
        self.df = df
        self.floor = floor

    @property
    def _learnt(self):
        return isinstance(self.df, str)

    @property
    def Params(self):
        """Named tuple of the parameters: without ``inverse_df`` if df is given."""
        return StudentTParams if self._learnt else ScaleParams

    @property
    def fields(self):
        """The scale, which the floor bounds below, and 1/df, which may be zero."""
        scale = {"scale": Field(lower=self.floor)}
        axes = () if self.df == "shared" else ("expert",)
        return {**scale, "inverse_df": Field(axes, lower=0.0, attained=True)} if self._learnt else scale

    def check(self):
        check_number(self.floor, "StudentT: floor", np.finfo(float).tiny, high=1e6)
        if self._learnt and self.df not in ("learn", "shared"):
            raise ValueError(f"StudentT: df must be 'learn', 'shared' or a number, got {self.df!r}.")
        if not self._learnt and self.df != math.inf:
            check_number(self.df, "StudentT: df", 1e-2)

    def start(self):
        return [1.0, _START][: 1 + self._learnt]

    def start_at(self, rows, eta, weight):
        own = super().start_at(rows, eta, weight)
        if rows is not None:
            own[0] = np.sqrt(tight_scale((rows.y - eta[0]) ** 2, weight, self.floor**2))
        return own

    def unit(self, phi):
        return phi[0]

    def link(self, rows):
        return rows.y

    def _own(self, phi):
        """Return the scale and 1/df."""
        return phi if self._learnt else (phi[0], np.asarray(1.0 / self.df))

    def _squares(self, rows, eta, scale):
        z = (rows.y - eta[0]) / scale
        return z, z**2

    def log_prob(self, rows, eta, phi):
        scale, kappa = self._own(phi)
        _, square = self._squares(rows, eta, scale)
        u = kappa * square
        return _constant(kappa) - np.log(scale) - 0.5 * (square * log_ratio(u) + np.log1p(u))

    def derivatives(self, rows, eta, phi):
        scale, kappa = self._own(phi)
        z, square = self._squares(rows, eta, scale)
        more = 1.0 / (1.0 + kappa * square)
        pull, weight = (1.0 + kappa) * more, (1.0 + kappa) * more**2
        first = [pull * z / scale, (pull * square - 1.0) / scale]
        second = [[weight * (1.0 - kappa * square) / scale**2, 2.0 * weight * z / scale**2]]
        second += [[second[0][1], (2.0 * weight * square + pull * square - 1.0) / scale**2]]
        if self._learnt:
            (slope, bend), (ratio_slope, ratio_bend) = _constant_slopes(kappa), log_ratio_slopes(kappa * square)
            first.append(slope - 0.5 * (square**2 * ratio_slope + square * more))
            across = (square - 1.0) * more**2 / scale
            second[0].append(across * z)
            second[1].append(across * square)
            own = 0.5 * (square**3 * ratio_bend - (square * more) ** 2) - bend
            second.append([across * z, across * square, own])
        return np.array(first), np.array(second)

    def information(self, rows, eta, phi, second):
        """Return the weights of EM for the line, and expected second derivatives, the last to some per cent."""
        scale, kappa = self._own(phi)
        _, square = self._squares(rows, eta, scale)
        out = np.zeros_like(second)
        out[0, 0] = (1.0 + kappa) / (1.0 + kappa * square) / scale**2
        for i, expected in enumerate(_expected(scale, kappa)[: len(phi)], 1):
            out[i, i] = expected
        return out

    def pointwise(self, rows, eta, phi):
        scale, kappa = (np.broadcast_to(own, (eta.shape[1], 1))[:, 0].copy() for own in self._own(phi))
        constants = np.column_stack([_constant(kappa), *_constant_slopes(kappa)])
        expected = np.column_stack(_expected(scale, kappa))
        here = student_pointwise(rows.y, np.ascontiguousarray(eta[0]), scale, kappa, constants, expected)
        return Pointwise(*here) if self._learnt else Pointwise(*here).first_of(2)

    def mean(self, rows, eta, phi):
        return eta[0]

    def mean_slopes(self, rows, eta, phi):
        out = np.zeros((1 + len(phi), *eta.shape[1:]))
        out[0] = 1.0
        return out

    def variance(self, rows, eta, phi):
        scale, kappa = self._own(phi)
        share = 1.0 - 2.0 * np.broadcast_to(kappa, np.shape(eta[0]))
        return scale**2 * np.divide(1.0, share, out=np.full(share.shape, math.inf), where=share > 0)

    def cdf(self, rows, eta, phi, upper=False):
        """Return the distribution functions at y, or with ``upper`` one minus them."""
        scale, kappa = self._own(phi)
        z, _ = self._squares(rows, eta, scale)
        z = -z if upper else z
        return np.where(kappa > _NORMAL, stdtr(1.0 / np.maximum(kappa, _NORMAL), z), ndtr(z))

    def ppf(self, rows, q, eta, phi, upper=False):
        """Return the points with mass q below them, or with ``upper`` above them."""
        scale, kappa = self._own(phi)
        z = np.where(kappa > _NORMAL, stdtrit(1.0 / np.maximum(kappa, _NORMAL), q), ndtri(q))
        return eta[0] + scale * (-z if upper else z)

    def sample(self, rows, eta, phi, rng):
        scale, kappa = self._own(phi)
        half = 0.5 / np.maximum(np.broadcast_to(kappa, eta[0].shape), _NORMAL)
        return eta[0] + scale * rng.normal(size=eta[0].shape) / np.sqrt(rng.gamma(half) / half)

    def change_units(self, params, y_shift, y_scale):
        moved = params.intercept * y_scale + y_shift
        return params._replace(coef=params.coef * y_scale, intercept=moved, scale=params.scale * y_scale)


def _expected(scale, kappa):
    """Return what is expected of minus the second derivatives by the scale and by 1/df, the latter to some per cent."""
    return 2.0 / (1.0 + 3.0 * kappa) / scale**2, 3.5 / (1.0 + math.sqrt(3.5) * kappa) ** 2


def _constant(kappa):
    """Return the logarithm of the density's constant at scale one."""
    return _by_size(kappa, _exact_constant, (_STIRLING,))[0] - 0.5 * math.log(2.0 * math.pi)


def _constant_slopes(kappa):
    """Return its first two derivatives by 1/df."""
    return _by_size(kappa, _exact_slopes, (_SLOPE, _BEND))


def _by_size(kappa, exact, coefficients):
    """Return exact values where 1/df is not small, and of series elsewhere: each where it is asked for."""
    kappa = np.asarray(kappa)
    far = kappa > _FAR
    if far.all():
        return exact(kappa)
    series = [_series(kappa, each) for each in coefficients]
    if not far.any():
        return series
    values = exact(np.maximum(kappa, _FAR))
    return [np.where(far, value, other) for value, other in zip(values, series, strict=True)]


def _exact_constant(kappa):
    half = 0.5 / kappa
    return [gammaln(half + 0.5) - gammaln(half) - 0.5 * np.log(half)]


def _exact_slopes(kappa):
    df = 1.0 / kappa
    half = 0.5 * df
    one = 0.5 * (digamma(half + 0.5) - digamma(half) - kappa)
    two = 0.25 * (zeta(2.0, half + 0.5) - zeta(2.0, half)) + 0.5 * kappa**2  # trigammas
    return [-(df**2) * one, df**4 * two + 2.0 * df**3 * one]


def _series(kappa, coefficients):
    return np.minimum(kappa, _FAR)[..., None] ** np.arange(len(coefficients)) @ coefficients
