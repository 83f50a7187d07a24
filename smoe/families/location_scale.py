"""Families whose transformed response has a location and a scale: right censoring, and all derivatives, once."""

import math
from typing import Any

import numpy as np

from smoe.families.base import Family, Pointwise, ScaleParams, tight_scale
from smoe.fields import Field
from smoe.validation import check_number

__all__ = ["LocationScale"]


class LocationScale(Family):
    r"""Densities of a response that an increasing function g turns into location plus noise.

    .. math:: g(Y) = \eta + \sigma \epsilon, \qquad
        f(y) = \frac{g'(y)}{\sigma}\, f_\epsilon(u) \Big/ S_\epsilon(w), \qquad
        S(y) = S_\epsilon(u) \big/ S_\epsilon(w), \qquad u = \frac{g(y) - \eta}{\sigma}

    Where g is bounded below, :math:`w = (\inf g - \eta) / \sigma` and the noise is cut off there, so that densities
    have mass one; else :math:`S_\epsilon(w)` is one. A row whose event was not seen (``rows.event`` is zero) has the
    survival function S in place of f.

    A family names ``noise``, one of ``smoe.families.noise``, and ``g``, one of ``smoe.families.transforms``.

    Parameters
    ----------
    floor : float, default=1e-4
        Smallest scale: the likelihood has no bound where it vanishes, and a fit that ends on the floor says so.
    """

    bounded = False
    takes_events = True
    Params = ScaleParams
    noise: Any = None
    g: Any = None

    def __init__(self, floor: float = 1e-4) -> None:
        self.floor = floor

    @property
    def support(self):
        """Where g is defined."""
        return self.g.support

    @property
    def units(self):
        """What g allows."""
        return self.g.units

    @property
    def largest(self):
        """What g allows."""
        return self.g.largest

    @property
    def fields(self):
        """The scale, which the floor bounds below."""
        return {"scale": Field(lower=self.floor)}

    def check(self):
        check_number(self.floor, f"{self.name}: floor", np.finfo(float).tiny, high=1e6)

    def start(self):
        return [0.3]

    def start_at(self, rows, eta, weight):
        if rows is None:
            return super().start_at(rows, eta, weight)
        return [np.sqrt(tight_scale(self.residual(rows, eta, None) ** 2, weight, self.floor**2))]

    def unit(self, phi):
        return phi[0]

    def link(self, rows):
        return self.g.forward(rows.y)

    def residual(self, rows, eta, phi):
        """Return g(y) - eta: means may be infinite."""
        return self.g.forward(rows.y) - eta[0]

    # The density and its derivatives ----------------------------------------------------------------------------------

    def _noise_at(self, rows, eta, scale):
        """Return u, and there the log density of the noise, or of censored rows the log survival, with derivatives."""
        u = self.residual(rows, eta, None) / scale
        found = self.noise.log_density(u)
        if rows.event is not None:
            seen = rows.event > 0
            found = [np.where(seen, a, b) for a, b in zip(found, self.noise.log_survival(u), strict=True)]
        return u, found

    def _cut(self, eta, scale):
        """Return w, and there the log survival with derivatives; None if nothing is cut off."""
        if self.g.low == -math.inf:
            return None
        w = (self.g.low - eta[0]) / scale
        return w, self.noise.log_survival(w)

    def _log_mass(self, eta, scale):
        cut = self._cut(eta, scale)
        return 0.0 if cut is None else cut[1][0]

    def log_prob(self, rows, eta, phi):
        scale = phi[0]
        return self._value(rows, scale, self._noise_at(rows, eta, scale), self._cut(eta, scale))

    def derivatives(self, rows, eta, phi):
        scale = phi[0]
        return self._slopes(rows, scale, self._noise_at(rows, eta, scale), self._cut(eta, scale))

    def information(self, rows, eta, phi, second):
        """Return minus the second derivatives by (location, 1) / scale, in which log densities are concave.

        At the expert's own maximum they are those by location and scale. What is cut off is left out.
        """
        return _concave(rows, phi[0], self._noise_at(rows, eta, phi[0]))

    def pointwise(self, rows, eta, phi):
        scale = phi[0]
        noise, cut = self._noise_at(rows, eta, scale), self._cut(eta, scale)
        slopes = self._slopes(rows, scale, noise, cut)
        return Pointwise(self._value(rows, scale, noise, cut), *slopes, _concave(rows, scale, noise))

    def _value(self, rows, scale, noise, cut):
        mass = 0.0 if cut is None else cut[1][0]
        return noise[1][0] + _seen(rows) * (self.g.log_slope(rows.y) - np.log(scale)) - mass

    def _slopes(self, rows, scale, noise, cut):
        seen, (u, (_, slope, bend)) = _seen(rows), noise
        first, second = _by_location_and_scale(u, slope, bend, scale)
        first[1] -= seen / scale
        second[1, 1] -= seen / scale**2
        if cut is not None:
            w, (_, slope, bend) = cut
            for out, part in zip((first, second), _by_location_and_scale(w, slope, bend, scale), strict=True):
                out -= part
        return first, second

    # Distributions ----------------------------------------------------------------------------------------------------

    def mean(self, rows, eta, phi):
        return self.g.mean(self.noise, eta[0], phi[0])

    def mean_slopes(self, rows, eta, phi):
        return self.g.mean_slopes(self.noise, eta[0], phi[0])

    def variance(self, rows, eta, phi):
        return self.g.variance(self.noise, eta[0], phi[0])

    def cdf(self, rows, eta, phi, upper=False):
        """Return the distribution functions at y, or with ``upper`` one minus them."""
        y = np.clip(rows.y, self.support.low, self.support.high)
        with np.errstate(divide="ignore"):
            u = self.residual(rows.at(y), eta, None) / phi[0]
        log = np.minimum(self.noise.log_survival(u)[0] - self._log_mass(eta, phi[0]), 0.0)
        return np.exp(log) if upper else -np.expm1(log)

    def ppf(self, rows, q, eta, phi, upper=False):
        """Return the points with mass q below them, or with ``upper`` above them."""
        with np.errstate(divide="ignore"):
            return self._at_log_survival(np.log(q) if upper else np.log1p(-np.asarray(q)), eta, phi)

    def sample(self, rows, eta, phi, rng):
        return self._at_log_survival(-rng.exponential(size=eta[0].shape), eta, phi)

    def _at_log_survival(self, t, eta, phi):
        """Return the y with log S(y) = t."""
        scale = phi[0]
        return self.g.inverse(eta[0] + scale * self.noise.inverse_log_survival(t + self._log_mass(eta, scale)))

    def change_units(self, params, y_shift, y_scale):
        if self.units == "none":
            return params
        slope, intercept = self.g.rescaled(y_scale)
        moved = slope * params.intercept + intercept
        return params._replace(coef=slope * params.coef, intercept=moved, scale=slope * params.scale)


def _seen(rows):
    """Return whether each row's event was seen: all are, unless it is said."""
    return 1.0 if rows.event is None else rows.event


def _concave(rows, scale, noise):
    """Return minus the second derivatives by (location, 1) / scale, over the scale squared."""
    u, (_, _, bend) = noise
    own = -bend / scale**2
    across = u * own
    return np.array([[own, across], [across, u * across + _seen(rows) / scale**2]])


def _by_location_and_scale(u, slope, bend, scale):
    """Return first and minus second derivatives by (location, scale) of a function of u with these derivatives."""
    first = np.array([-slope, -u * slope]) / scale
    both = -(slope + u * bend)
    return first, np.array([[-bend, both], [both, -u * (u * bend + 2.0 * slope)]]) / scale**2
