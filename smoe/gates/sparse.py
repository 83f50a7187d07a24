"""What gates share that select experts by their scores: the likelihood jumps where a row changes its experts."""

import numpy as np

from smoe.gates.base import LinearGate, LinearGateParams
from smoe.gates.softmax import SoftmaxGate

__all__ = ["SparseGate"]


class SparseGate(LinearGate):
    """Softmax over a support that depends on the scores, fitted by `smoe.solvers.SupportSearch`.

    For that a gate of this kind has ``search_lines``, ``relaxed``, ``held`` and ``kept_moves``.
    """

    smooth = False
    linear = True
    default_solver = "support_search"
    _idle_gap = 10.0  # how far below all others the score of an expert lies that is never selected

    def dense(self):
        """Return the softmax gate."""
        return SoftmaxGate()

    def scores_without(self, Z, params, lost):
        """Return the scores of all other experts, from which a row's are chosen by the same rule."""
        return self.scores(Z, self.permute(params, [i for i in range(len(params.intercept)) if i != lost]))

    def apart(self, params, i, rng):
        """Return parameters in which the slopes of expert i and of its copy, the last one, differ."""
        coef = params.coef.copy()
        shift = rng.normal(size=coef.shape[1]) * max(np.linalg.norm(coef), 1.0) / len(coef)
        coef[i], coef[-1] = coef[i] + shift, coef[-1] - shift
        return params._replace(coef=coef)

    def steeper(self, params, group, i, j, level, factor):
        """Return parameters with a multiple of (score i - score j - level) added to the scores of a group (a mask).

        With i in the group and j outside it, the border between them moves to that level, and is steeper.
        """
        coef = params.coef + factor * np.multiply.outer(group, params.coef[i] - params.coef[j])
        intercept = params.intercept + factor * group * (params.intercept[i] - params.intercept[j] - level)
        return params._replace(coef=coef, intercept=intercept)

    def idle(self, params, low, high):
        """Return the same probabilities with one expert more that no row selects.

        Parameters
        ----------
        params : LinearGateParams
        low, high : float
            The smallest and the largest score of the rows.
        """
        out = self.permute(params, [*range(len(params.intercept)), 0])
        coef, intercept = out.coef.copy(), out.intercept.copy()
        coef[-1], intercept[-1] = 0.0, low - (high - low) - self._idle_gap
        return LinearGateParams(coef, intercept)

    def sharpened(self, Z, params):
        """Return the same choices of experts at a scale of the scores at which a relaxed gate of width one is wide."""
        return params

    def midway(self, params, blocks):
        """Return the same choices of experts with boundaries midway between the rows next to them."""
        return params

    def tie_winners(self, params):
        """Return parameters in which one expert after the other wins ties, where nothing but that depends on them."""
        return []
