"""Counts whose variance exceeds their mean."""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import betainc, betaincc, pdtr, pdtrc
from scipy.stats import nbinom, poisson

from smoe._kernels.pointwise import negative_binomial_pointwise
from smoe.families.base import Family, LinearParams, Pointwise, Support
from smoe.families.poisson import LOG_FACTORIALS, log_factorial
from smoe.families.stirling import log_ratio, log_ratio_slopes, remainder, stirling
from smoe.fields import Field
from smoe.validation import check_number

__all__ = ["AlphaParams", "NegativeBinomial"]

_LEAST = 1e-8  # a smaller alpha is taken for zero where only its inverse can be used


class AlphaParams(NamedTuple):
    """Slopes ``coef`` (n_experts, n_features), ``intercept`` and ``alpha`` (n_experts,)."""

    coef: np.ndarray
    intercept: np.ndarray
    alpha: np.ndarray


class NegativeBinomial(Family):
    r"""Negative binomial regression with a log link (NB2).

    .. math:: f(y) = \frac{\Gamma(y + 1/\alpha)}{\Gamma(1/\alpha)\, y!}\,
              \frac{(\alpha\mu)^y}{(1 + \alpha\mu)^{y + 1/\alpha}}, \qquad \log \mu = a^\top x + b + \log t

    with t the exposure, if there is one. The variance is :math:`\mu + \alpha\mu^2`; R's ``theta`` is
    :math:`1/\alpha`. At :math:`\alpha = 0` this is `Poisson`, and a maximum may lie there: counts that vary less than
    Poisson ones then have an alpha of exactly zero, without a standard error. The likelihood is bounded.

    Parameters
    ----------
    alpha : "learn" or float, default="learn"
        Each expert's own, to be estimated, or one number of at least zero for all.

    References
    ----------
    Cameron, A. C. and Trivedi, P. K. (2013). Regression Analysis of Count Data, 2nd ed., chapter 3. Cambridge
    University Press.

    Loader, C. (2000). Fast and accurate computation of binomial probabilities: the arrangement of the density here.

    Examples
    --------
    >>> from smoe import MoERegressor
    >>> from smoe.datasets import load_biochemists
    >>> X, y = load_biochemists(return_X_y=True)
    >>> model = MoERegressor(1, expert="negative_binomial").fit(X, y)
    >>> round(model.loglik_, 4), model.expert_alpha_.round(4)
    (-1560.9583, array([0.4416]))
    """

    support = Support(0.0, closed=(True, False), kind="integers")
    largest = 230.0  # derivatives by alpha have cubes of the mean

    def __init__(self, alpha: float | str = "learn") -> None:
        self.alpha = alpha

    @property
    def _learned(self):
        return isinstance(self.alpha, str)

    @property
    def fields(self):
        """Alpha, which may be zero, unless it is given."""
        return {"alpha": Field(lower=0.0, attained=True)} if self._learned else {}

    @property
    def Params(self):
        """Slopes, intercepts and, unless it is given, alpha."""
        return AlphaParams if self._learned else LinearParams

    def check(self):
        if not self._learned:
            check_number(self.alpha, "NegativeBinomial: alpha", 0.0, high=1e6)
        elif self.alpha != "learn":
            raise ValueError(f"NegativeBinomial: alpha must be 'learn' or a number, got {self.alpha!r}.")

    def start(self):
        return [0.3] if self._learned else []

    def _alpha(self, phi):
        return phi[0] if self._learned else float(self.alpha)

    def log_prob(self, rows, eta, phi):
        y, mu, a = rows.y, np.exp(eta[0]), self._alpha(phi)
        none = -mu * log_ratio(a * mu)
        if _few(y, a):
            return _sums(y, a)[0] + y * (eta[0] - np.log1p(a * mu)) + none - log_factorial(y)
        return np.where(y > 0, _far_log_prob(np.maximum(y, 1.0), eta[0], a), none)

    def derivatives(self, rows, eta, phi):
        y, mu, a = rows.y, np.exp(eta[0]), self._alpha(phi)
        c = 1.0 / (1.0 + a * mu)
        first, second = [(y - mu) * c], mu * (1.0 + a * y) * c**2
        if not self._learned:
            return np.array(first), second[None, None]
        both = mu * (y - mu) * c**2
        own, bend = _by_alpha(y, mu, a)
        return np.array([*first, own]), np.array([[second, both], [both, -bend]])

    def information(self, rows, eta, phi, second):
        mu, a = np.exp(eta[0]), self._alpha(phi)
        expected = np.zeros_like(second)
        expected[0, 0] = mu / (1.0 + a * mu)
        if self._learned:
            expected[1, 1] = 0.5 * expected[0, 0] ** 2  # exact as alpha vanishes, and near it elsewhere
        return expected

    def pointwise(self, rows, eta, phi):
        a = self._alpha(phi)
        if not _few(rows.y, a):
            return super().pointwise(rows, eta, phi)
        alpha, size = np.broadcast_to(a, (eta.shape[1], 1))[:, 0].copy(), 1 + len(phi)
        here = Pointwise(*negative_binomial_pointwise(rows.y, np.ascontiguousarray(eta[0]), alpha, LOG_FACTORIALS))
        return here if size == 2 else here.first_of(size)

    def link(self, rows):
        return np.log(rows.y + 0.5)

    def mean(self, rows, eta, phi):
        return np.exp(eta[0])

    def mean_slopes(self, rows, eta, phi):
        mean = np.exp(eta[0])
        return np.array([mean, np.zeros_like(mean)][: 1 + len(phi)])

    def variance(self, rows, eta, phi):
        mean = np.exp(eta[0])
        return mean * (1.0 + self._alpha(phi) * mean)

    def cdf(self, rows, eta, phi, upper=False):
        """Return the distribution functions at y, or with ``upper`` one minus them."""
        count, mu, a = np.floor(rows.y), np.exp(eta[0]), self._alpha(phi)
        at, far = np.maximum(count, 0.0), np.maximum(a, _LEAST)
        tail, limit = (betaincc, pdtrc) if upper else (betainc, pdtr)
        inside = np.where(a < _LEAST, limit(at, mu), tail(1.0 / far, at + 1.0, 1.0 / (1.0 + far * mu)))
        return np.where(count < 0, float(upper), inside)

    def ppf(self, rows, q, eta, phi, upper=False):
        """Return the smallest numbers at which the distribution function is at least q."""
        mu, a = np.exp(eta[0]), self._alpha(phi)
        far = np.maximum(a, _LEAST)
        law = nbinom(1.0 / far, 1.0 / (1.0 + far * mu))
        found = law.isf(q) if upper else law.ppf(q)
        return np.where(a < _LEAST, (poisson.isf if upper else poisson.ppf)(q, mu), found)

    def sample(self, rows, eta, phi, rng):
        a = np.broadcast_to(self._alpha(phi), eta[0].shape)
        far = np.maximum(a, _LEAST)
        return rng.poisson(np.exp(eta[0]) * np.where(a < _LEAST, 1.0, far * rng.gamma(1.0 / far))).astype(float)


def _few(y, a):
    """Whether sums over all smaller counts are looked up: there are few counts, and one alpha for an expert's rows."""
    alone = np.ndim(a) == 0 or np.shape(a)[-1] == 1
    return alone and y.size and y.min() >= 0 and y.max() < len(LOG_FACTORIALS)


def _sums(y, a):
    """Return the sums over j < y of log(1 + a j), and of its derivatives by a, (n_experts, m) each."""
    j, at = np.arange(y.max()), y.astype(np.intp)
    share = j / (1.0 + a * j)
    zero = np.zeros((*share.shape[:-1], 1))
    terms = np.log1p(a * j), share, -(share**2)
    return [np.concatenate([zero, np.cumsum(term, axis=-1)], axis=-1)[..., at] for term in terms]


def _far_log_prob(y, eta, a):
    """Return log densities of counts of any size, arranged so that no large terms cancel (Loader's way)."""
    mu, r = np.exp(eta), 1.0 / np.maximum(a, _LEAST)
    c = 1.0 / (1.0 + a * mu)
    ratio = np.log1p(a * y) + np.log(c)
    w, v = _excess(a * (y - mu) * c, ratio), _excess((mu - y) * c / y, eta - np.log(y) + ratio)
    smooth = remainder(y + r) - remainder(r) - remainder(y) - 0.5 * np.log(2.0 * math.pi * y)
    return smooth - 0.5 * np.log1p(a * y) + (y - mu) * c * (w - v)


def _excess(u, log):
    """Return log(1 + u) / u - 1, with the logarithm for where u is far from zero."""
    near = np.abs(u) < 0.5
    return np.where(near, log_ratio(np.where(near, u, 0.0)), log / np.where(near, 1.0, u)) - 1.0


def _by_alpha(y, mu, a):
    """Return the first two derivatives of the log density by alpha, also where it is zero."""
    t = a * mu
    e = 1.0 / (1.0 + t)
    first, second = _sums(y, a)[1:] if _few(y, a) else _far_sums(y, a)
    slope, bend = log_ratio_slopes(t)
    return first - y * mu * e - mu**2 * slope, second + y * (mu * e) ** 2 - mu**3 * bend


def _far_sums(y, a):
    """Return the two derivatives of these sums, for counts of any size."""
    u, r = a * y, 1.0 / np.maximum(a, _LEAST)
    c, x = 1.0 / (1.0 + u), y + r
    (_, s, b), (_, sx, bx) = stirling(r), stirling(x)
    slope, bend = log_ratio_slopes(u)
    first = y * (y - 0.5) * c + y**2 * slope + s - sx * c**2
    second = y**3 * bend - (y - 0.5) * y**2 * c**2 + 2.0 * y * sx * c**3
    return first, second - r * (2.0 * s + b) + x * (2.0 * sx + bx) * c**4
