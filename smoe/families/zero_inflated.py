"""Counts with more zeros than their family has."""

from typing import NamedTuple

import numpy as np

from smoe._kernels.pointwise import zero_inflated_pointwise
from smoe.families.base import Family, Pointwise, Support
from smoe.families.negative_binomial import NegativeBinomial
from smoe.families.poisson import Poisson
from smoe.fields import Field

__all__ = [
    "ZeroInflated",
    "ZeroInflatedNegativeBinomial",
    "ZeroInflatedPoisson",
    "ZeroShareAlphaParams",
    "ZeroShareParams",
]

_START = 0.1
_LEAST = 1e-12  # of a share in a denominator


class ZeroShareParams(NamedTuple):
    """Slopes ``coef`` (n_experts, n_features), ``intercept`` and ``zero_share`` (n_experts,)."""

    coef: np.ndarray
    intercept: np.ndarray
    zero_share: np.ndarray


class ZeroShareAlphaParams(NamedTuple):
    """Slopes ``coef`` (n_experts, n_features), ``intercept``, ``alpha`` and ``zero_share`` (n_experts,)."""

    coef: np.ndarray
    intercept: np.ndarray
    alpha: np.ndarray
    zero_share: np.ndarray


class ZeroInflated(Family):
    r"""Counts of a family, with a share of zeros besides.

    .. math:: P(0) = \omega + (1 - \omega) f(0), \qquad P(y) = (1 - \omega) f(y) \text{ for } y > 0

    with f the family's probabilities. The mean is :math:`(1 - \omega)` times the family's. A share of zero is an
    ordinary point, where the family itself is, and a maximum may lie there. Not identified: the share of an expert all
    of whose counts are zero; and the shares of two experts with the same counts, which trade against the gate.

    Subclasses state the family, ``base``, and ``Params``.

    References
    ----------
    Lambert, D. (1992). Zero-inflated Poisson regression, with an application to defects in manufacturing. Technometrics
    34, 1-14.
    """

    support = Support(0.0, closed=(True, False), kind="integers")

    @property
    def base(self):
        """The family of the counts."""
        raise self._missing("base")

    @property
    def largest(self):
        """As for the counts."""
        return self.base.largest

    @property
    def fields(self):
        """The counts' own, and the share of zeros."""
        return {**self.base.fields, "zero_share": Field(lower=0.0, upper=1.0, attained=True)}

    def check(self):
        self.base.check()

    def start(self):
        return [*self.base.start(), _START]

    def start_at(self, rows, eta, weight):
        return [*self.base.start_at(rows, eta, weight), np.full(eta.shape[1], _START)]

    def link(self, rows):
        return self.base.link(rows)

    def _zero(self, rows, eta, own, share):
        """Return log probabilities of the counts, where y is zero, their probability there, the density, their part."""
        log_prob, none = self.base.log_prob(rows, eta, own), rows.y == 0
        count = np.where(none, np.exp(np.where(none, log_prob, 0.0)), 0.0)
        density = np.where(none, share + (1.0 - share) * count, 1.0)
        part = np.where(none, (1.0 - share) * count / np.maximum(density, _LEAST), 1.0)
        return log_prob, none, count, density, part

    def log_prob(self, rows, eta, phi):
        *own, share = phi
        log_prob, none, _, density, _ = self._zero(rows, eta, own, share)
        with np.errstate(divide="ignore"):
            return np.where(none & (share > 0), np.log(density), np.log1p(-share) + log_prob)

    def derivatives(self, rows, eta, phi):
        *own, share = phi
        _, none, count, density, part = self._zero(rows, eta, own, share)
        first, second = self.base.derivatives(rows, eta, own)
        density, rest = np.maximum(density, _LEAST), np.maximum(1.0 - share, _LEAST)
        slope = np.where(none, (1.0 - count) / density, -1.0 / rest)
        inner = part * second - part * (1.0 - part) * first[:, None] * first
        across = np.where(none, count / density**2, 0.0) * first
        corner = np.concatenate([across, (slope**2)[None]])[None]
        return np.concatenate([part * first, slope[None]]), np.concatenate(
            [np.concatenate([inner, across[:, None]], axis=1), corner]
        )

    def information(self, rows, eta, phi, second):
        """Return what the counts' family takes where counts made a zero, complete data's for the share."""
        *own, share = phi
        *_, part = self._zero(rows, eta, own, share)
        size = len(second) - 1
        out = np.zeros_like(second)
        out[:size, :size] = part * self.base.information(rows, eta, own, self.base.derivatives(rows, eta, own)[1])
        out[size, size] = (1.0 - part) / np.maximum(share, _LEAST) ** 2 + part / np.maximum(1.0 - share, _LEAST) ** 2
        return out

    def pointwise(self, rows, eta, phi):
        *own, share = phi
        counts = [np.ascontiguousarray(part) for part in self.base.pointwise(rows, eta, own)]
        return Pointwise(*zero_inflated_pointwise(rows.y, share[:, 0].copy(), *counts))

    def mean(self, rows, eta, phi):
        return (1.0 - phi[-1]) * self.base.mean(rows, eta, phi[:-1])

    def mean_slopes(self, rows, eta, phi):
        *own, share = phi
        slopes = (1.0 - share) * self.base.mean_slopes(rows, eta, own)
        return np.concatenate([slopes, -self.base.mean(rows, eta, own)[None]])

    def variance(self, rows, eta, phi):
        *own, share = phi
        return (1.0 - share) * (self.base.variance(rows, eta, own) + share * self.base.mean(rows, eta, own) ** 2)

    def cdf(self, rows, eta, phi, upper=False):
        """Return the distribution functions at y, or with ``upper`` one minus them."""
        *own, share = phi
        inner = (1.0 - share) * self.base.cdf(rows, eta, own, upper)
        return np.where(rows.y < 0, float(upper), inner if upper else share + inner)

    def ppf(self, rows, q, eta, phi, upper=False):
        """Return the smallest numbers at which the distribution function is at least q."""
        *own, share = phi
        rest = np.maximum(1.0 - share, _LEAST)
        inner = np.clip((q if upper else q - share) / rest, 0.0, 1.0)
        zero = q >= rest if upper else q <= share
        return np.where(zero, 0.0, self.base.ppf(rows, np.where(zero, 0.5, inner), eta, own, upper))

    def sample(self, rows, eta, phi, rng):
        *own, share = phi
        count = self.base.sample(rows, eta, own, rng)
        return np.where(rng.random(count.shape) < share, 0.0, count)


class ZeroInflatedPoisson(ZeroInflated):
    r"""Poisson counts with a share of zeros besides (ZIP); see `ZeroInflated` for the formula.

    Examples
    --------
    >>> from smoe import MoERegressor
    >>> from smoe.datasets import load_biochemists
    >>> X, y = load_biochemists(return_X_y=True)
    >>> model = MoERegressor(1, expert="zero_inflated_poisson").fit(X, y)
    >>> round(model.loglik_, 3), model.params_.expert.zero_share.round(3)
    (-1620.784, array([0.157]))
    """

    Params = ZeroShareParams

    @property
    def base(self):
        """Poisson counts."""
        return Poisson()


class ZeroInflatedNegativeBinomial(ZeroInflated):
    r"""Negative binomial counts with a share of zeros besides (ZINB); see `ZeroInflated` for the formula.

    Examples
    --------
    >>> from smoe import MoERegressor
    >>> from smoe.datasets import load_biochemists
    >>> X, y = load_biochemists(return_X_y=True)
    >>> model = MoERegressor(1, expert="zero_inflated_negative_binomial").fit(X, y)
    >>> round(model.loglik_, 3), model.params_.expert.zero_share.round(3)
    (-1560.958, array([0.]))
    """

    Params = ZeroShareAlphaParams

    @property
    def base(self):
        """Negative binomial counts, each expert's alpha to be estimated."""
        return NegativeBinomial()
