"""What gates share that average top-K routing over a random choice of the experts."""

import numpy as np
from scipy.special import log_softmax

from smoe.gates.base import LinearGate
from smoe.gates.predictors import PredictorGate
from smoe.validation import check_number

__all__ = ["RandomTopKGate"]

_STEPS = 50
_CLOSE = 1e-12


class RandomTopKGate(PredictorGate):
    r"""Weights :math:`\pi_i = \sum_{S \ni i} P(S)\, e^{s_i} / \sum_{j \in S} e^{s_j}` of linear scores s.

    S are the ``top_k`` experts that a router draws, and the density of y given x is the mixture with the averaged
    weights. A gate of this kind says what they are, through `link`, `slopes` and `bends`.
    """

    fields = LinearGate.fields
    linear = True

    def check(self, n_experts):
        """Raise ValueError or TypeError for a top_k that makes no sense with this many experts."""
        check_number(self.top_k, "top_k", 1, integer=True)
        if self.top_k > n_experts:
            raise ValueError(f"top_k={self.top_k} is larger than n_experts={n_experts}.")

    def log_mass(self, params):
        """Return the logarithms of the weights where the features are zero."""
        return log_softmax(self.link(np.array(params.intercept, dtype=float)[:, None], params)[:, 0])

    def with_log_mass(self, params, log_mass):
        """Return the parameters whose weights where the features are zero are proportional to these, by Newton."""
        target = log_softmax(np.asarray(log_mass, dtype=float))
        params = params._replace(intercept=target / (1.0 + self.steepness))
        gap = target - self.log_mass(params)
        for _ in range(_STEPS):
            slopes = self.slopes(params.intercept[:, None], params)[:, :, 0].T
            step, t = np.linalg.lstsq(slopes - np.exp(target - gap) @ slopes, gap)[0], 1.0
            while t > _CLOSE:
                moved = params._replace(intercept=params.intercept + t * step)
                left = target - self.log_mass(moved)
                if np.abs(left).max() < np.abs(gap).max():
                    break
                t *= 0.5
            else:
                break
            params, gap = moved, left
        return params
