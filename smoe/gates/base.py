"""The contract of a gate: scores, their pullback, and what the density does not depend on."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from smoe._kernels.designs import predictors
from smoe._kernels.moments import covariance_weights, weighted_grams
from smoe.params import flatten

__all__ = ["Gate", "LinearGate", "LinearGateParams"]


class Gate(BaseEstimator):
    r"""Mixing weights :math:`\pi_k(x) = \mathrm{softmax}(s(x))_k`, over a support that may depend on x.

    A gate holds hyper-parameters only. Arrays have the rows on the last axis: a design Z is (n_terms, m), scores,
    probabilities and weights R are (n_experts, m).

    Attributes
    ----------
    lower : dict
        Fields of the parameters that are bounded below, with their bound.
    smooth : bool
        Whether the log-likelihood is twice differentiable in the parameters.
    remark : str
        What users must know about the estimates, added to ``status_``.
    balance : float
        Weight of the `penalty` on uneven use of the experts; zero for none.
    default_solver : str
        Name of the solver that ``solver="auto"`` means.
    centred : bool
        Whether a shift of X can be undone by the parameters, so that fits may work on centred columns.
    linear : bool
        Whether x enters through ``coef @ x`` alone, so that fits may work on linear combinations of nearly collinear
        columns. A gate that declares it leaves its slopes in ``coef`` to them.
    """

    lower = {}
    remark = ""
    smooth = True
    balance = 0.0
    default_solver = "em_newton"
    centred = True
    linear = False

    def check(self, n_experts):
        """Raise ValueError or TypeError for settings that make no sense with this many experts."""

    def diagnosis(self, params):
        """Return in words what is wrong with parameters at which a solver gave up, or nothing."""
        return ""

    def init_params(self, n_experts, n_features):
        """Return parameters of a flat gate: every expert equally likely everywhere."""
        raise TypeError(f"{type(self).__name__} must implement init_params.")

    def scores(self, Z, params):
        """Return the scores (n_experts, m); -inf takes an expert off a row's support."""
        raise TypeError(f"{type(self).__name__} must implement scores.")

    def sparse_proba(self, Z, params):
        """Return probabilities and indices of the only experts that matter, both (top_k, m); None for a dense gate."""
        return None

    def pullback(self, Z, params, R):
        """Return the derivative of the sum of R * scores by the parameters, shaped like them.

        R may have leading axes; the fields then have them too. This one derivative serves EM (R = old responsibilities
        minus new probabilities) and maximum likelihood (R = responsibilities minus probabilities).
        """
        raise TypeError(f"{type(self).__name__} must implement pullback.")

    def row_pullback(self, Z, params, R):
        """Return the derivative of each row's sum of R * scores, (n_entries, m), entries in flat order.

        Here row after row, which works for every gate; a gate that has more to say overrides it.
        """
        rows = [self.pullback(Z[:, [i]], params, R[:, [i]]) for i in range(R.shape[1])]
        return np.array([flatten(row) for row in rows]).T.reshape(flatten(params).size, -1)

    def n_selected(self, n_experts):
        """Return how many experts have a positive probability on each row."""
        return n_experts

    def penalty(self, importance):
        r"""Return the penalty on uneven use, and its slope in the importance (sums of probabilities, (n_experts,)).

        :math:`\lambda n\, CV^2`, with CV the coefficient of variation of the importance and n its sum.
        """
        n, k = importance.sum(), len(importance)
        share = importance / n
        return self.balance * n * (k * share @ share - 1.0), 2.0 * self.balance * k * share

    def free(self, params):
        """Return parameters-shaped booleans: False where the gate's convention pins an entry."""
        return type(params)(*(np.ones(np.shape(field), dtype=bool) for field in params))

    def units(self, params):
        """Return parameters-shaped natural units, in which solvers and certificates measure steps."""
        return type(params)(*(np.ones(np.shape(field)) for field in params))

    def canonical(self, params):
        """Return the representative of all parameters with the same density. Idempotent."""
        return params

    def unscale(self, params, shift, scale):
        """Return parameters for x from those for (x - shift) / scale."""
        raise TypeError(f"{type(self).__name__} must implement unscale.")


class LinearGateParams(NamedTuple):
    """Slopes ``coef`` (n_experts, n_features) and ``intercept`` (n_experts,) of a gate's linear scores."""

    coef: np.ndarray
    intercept: np.ndarray


@lru_cache
def _pairs(n_experts):
    """The matrix that makes symmetric ones with rows summing to zero from their pairs i < j in row-major order."""
    first, second = np.triu_indices(n_experts, 1)
    pair, out = np.arange(len(first)), np.zeros((n_experts, n_experts, len(first)))
    out[first, second, pair] = out[second, first, pair] = 1.0
    out[first, first, pair] = out[second, second, pair] = -1.0
    return out.reshape(n_experts**2, -1)


class LinearGate(Gate):
    """What gates with scores b1_i'x + b0_i share; the last expert's row is pinned to zero."""

    def init_params(self, n_experts, n_features):
        """Return zero slopes and intercepts."""
        return LinearGateParams(np.zeros((n_experts, n_features)), np.zeros(n_experts))

    def scores(self, Z, params):
        """Return b1_i'x + b0_i."""
        return predictors(params.coef, params.intercept, Z)

    def pullback(self, Z, params, R):
        """Return the sums of R x' and of R."""
        sums = R @ Z.T
        return LinearGateParams(sums[..., :-1], sums[..., -1])

    def row_pullback(self, Z, params, R):
        """Return the derivative of each row's sum of R * scores, (n_entries, m)."""
        return (R[:, None] * Z).reshape(-1, Z.shape[1])

    def information(self, Z, params, proba, weight, resp=None):
        """Return the sum over rows of weight J'(diag p - p p')J, with J the derivative of the scores.

        With ``resp`` the same of the responsibilities is subtracted, which makes it the gate's block of the observed
        information.
        """
        weights = covariance_weights(proba, weight)
        if resp is not None:
            weights -= covariance_weights(resp, weight)
        return self.assemble(weights, Z, len(proba))

    def assemble(self, weights, Z, n_experts):
        """Return the information matrix in flat order from the weights of the pairs i < j of experts, row by row."""
        return self.assembled(weighted_grams(weights, Z), n_experts)

    def assembled(self, grams, n_experts):
        """Return the same from the pairs' sums (n_pairs, n_terms, n_terms).

        Adding one number to every score changes nothing, so the blocks of the pairs give those of the diagonal.
        """
        p = grams.shape[-1]
        blocks = (_pairs(n_experts) @ grams.reshape(-1, p * p)).reshape(n_experts, n_experts, p, p)
        return blocks.transpose(0, 2, 1, 3).reshape(n_experts * p, -1)

    def free(self, params):
        """Every row but the last."""
        free = super().free(params)
        free.coef[-1], free.intercept[-1] = False, False
        return free

    def canonical(self, params):
        """Subtract the last expert's row, which leaves every probability as it is."""
        return LinearGateParams(params.coef - params.coef[-1], params.intercept - params.intercept[-1])

    def unscale(self, params, shift, scale):
        """Carry the shift in the intercepts and the scale in the slopes."""
        coef = params.coef / scale
        return LinearGateParams(coef, params.intercept - coef @ shift)
