"""Experts that are alike: slopes are pulled towards their average."""

import numpy as np

from smoe.params import flatten, unflatten
from smoe.penalties import Penalty
from smoe.penalties.base import zeros_like


class SimilarSlopes(Penalty):
    r"""Half the squared distance of the experts' slopes from their average, per row.

    .. math:: P = \frac{n \alpha}{2} \sum_i |a_i - \bar a|^2
    """

    words = "penalty on different slopes"

    def __init__(self, alpha=0.1):
        self.alpha = alpha

    def value(self, model, params, sums, n):
        slopes = params.expert.coef
        return 0.5 * n * self.alpha * float(((slopes - slopes.mean(axis=0)) ** 2).sum())

    def gradient(self, model, params, sums, n):
        slopes, zero = params.expert.coef, zeros_like(params)
        pull = n * self.alpha * (slopes - slopes.mean(axis=0))
        return zero._replace(expert=zero.expert._replace(coef=pull))

    def curvature(self, model, params, sums, n):
        # A quadratic: its second derivative is the gradient of each unit vector.
        def column(unit):
            return flatten(self.gradient(model, unit, sums, n))

        return np.column_stack([column(unit) for unit in _units(params)])


def _units(params):
    """Yield parameters that are one in one entry and zero elsewhere, in flat order."""
    for row in np.eye(flatten(params).size):
        yield unflatten(row, params)
