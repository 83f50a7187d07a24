"""Families of positive numbers with a dispersion: the derivatives once for all of them."""

import math
from typing import NamedTuple

import numpy as np

from smoe.families.base import Family, Support, tight_scale
from smoe.fields import Field
from smoe.validation import check_number

__all__ = ["Dispersed", "DispersionParams"]


class DispersionParams(NamedTuple):
    """Slopes ``coef`` (n_experts, n_features), ``intercept`` and ``dispersion`` (n_experts,)."""

    coef: np.ndarray
    intercept: np.ndarray
    dispersion: np.ndarray


class Dispersed(Family):
    r"""Densities of a positive response with a dispersion :math:`\phi` and a log link.

    .. math:: \log f(y) = c(\phi) - \frac{D(y, \eta)}{\phi} + h(y)

    A family implements ``distance(y, eta)``, D; ``slopes(y, eta)``, its first and second derivative by the predictor
    and the mean of the second; ``normaliser(phi)``, c and its two derivatives; and ``measure(y)``, h.

    The likelihood grows without bound as an expert passes through a few points and its dispersion goes to zero, so the
    dispersion has a floor; a fit that ends on it says so.

    Parameters
    ----------
    floor : float, default=1e-8
        Smallest dispersion.
    """

    support = Support(0.0)
    units = "positive"
    bounded = False
    Params = DispersionParams

    def __init__(self, floor: float = 1e-8) -> None:
        self.floor = floor

    @property
    def fields(self):
        """The dispersion, which the floor bounds below."""
        return {"dispersion": Field(lower=self.floor)}

    def check(self):
        check_number(self.floor, f"{self.name}: floor", np.finfo(float).tiny, high=1e6)

    def start(self):
        return [0.25]

    def start_at(self, rows, eta, weight):
        if rows is None:
            return super().start_at(rows, eta, weight)
        return [tight_scale(2.0 * self.distance(rows.y, eta[0]), weight, self.floor)]

    def unit(self, phi):
        return np.sqrt(np.minimum(phi[0], 1.0))  # under a log link, a step of one is a long one whatever the noise

    def log_prob(self, rows, eta, phi):
        return self.normaliser(phi[0])[0] - self.distance(rows.y, eta[0]) / phi[0] + self.measure(rows.y)

    def link(self, rows):
        return np.log(rows.y)

    def distance(self, y, eta):
        """Return D."""
        raise self._missing("distance")

    def slopes(self, y, eta):
        """Return the first and second derivative of D by the predictor, and the mean of the second."""
        raise self._missing("slopes")

    def normaliser(self, phi):
        """Return c and its two derivatives, here those of a normal density."""
        return -0.5 * np.log(2.0 * math.pi * phi), -0.5 / phi, 0.5 / phi**2

    def measure(self, y):
        """Return h."""
        return -np.log(y)

    def derivatives(self, rows, eta, phi):
        phi, far = phi[0], self.distance(rows.y, eta[0])
        (_, slope, bend), (first, second, _) = self.normaliser(phi), self.slopes(rows.y, eta[0])
        both = -first / phi**2
        own = slope + far / phi**2, 2.0 * far / phi**3 - bend
        return np.array([-first / phi, own[0]]), np.array([[second / phi, both], [both, own[1]]])

    def information(self, rows, eta, phi, second):
        _, slope, bend = self.normaliser(phi[0])
        expected = np.zeros_like(second)
        expected[0, 0] = self.slopes(rows.y, eta[0])[2] / phi[0]
        expected[1, 1] = -(bend + 2.0 * slope / phi[0])
        return expected

    def change_units(self, params, y_shift, y_scale):
        return params._replace(intercept=params.intercept + np.log(y_scale))

    def mean(self, rows, eta, phi):
        return np.exp(eta[0])

    def mean_slopes(self, rows, eta, phi):
        mean = self.mean(rows, eta, phi)
        return np.array([mean, np.zeros_like(mean)])
