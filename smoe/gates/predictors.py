"""What gates share whose scores are smooth functions of linear predictors, one for each expert."""

import itertools

import numpy as np

from smoe._kernels.designs import predictors
from smoe._kernels.moments import weighted_grams
from smoe.fields import n_own_fixed
from smoe.gates.base import LinearGate
from smoe.params import n_rows

__all__ = ["PredictorGate"]


class PredictorGate(LinearGate):
    r"""Scores :math:`s(u)` of the linear predictors :math:`u_b = \beta_{1b}^\top x + \beta_{0b}`.

    A gate of this kind says what the scores are (`link`), and their first and second derivatives by the predictors
    (`slopes`, `bends`); the chain rule is here. Fields of its own beside slopes and intercepts are fixed.
    """

    nested = False

    def link(self, u, params):
        """Return the scores (n_experts, m) at these predictors (n_experts, m)."""
        raise TypeError(f"{type(self).__name__} must implement link.")

    def slopes(self, u, params):
        """Return the derivative of each score by each predictor, (n_predictors, n_experts, m)."""
        raise TypeError(f"{type(self).__name__} must implement slopes.")

    def bends(self, u, params, R):
        """Return the second derivative of the sum of R * scores by pairs of predictors, (n_experts, n_experts, m)."""
        raise TypeError(f"{type(self).__name__} must implement bends.")

    def sloping(self, params):
        """Return which predictors have slopes at all, 0 or 1, (n_experts,)."""
        return np.ones(n_rows(params))

    def _predictors(self, Z, params):
        return predictors(params.coef * self.sloping(params)[:, None], params.intercept, Z)

    def _terms(self, Z, params):
        """The derivative of each predictor by its own slopes and intercept, 0 or 1 times Z, (n_experts, n_terms)."""
        terms = np.ones((n_rows(params), len(Z)))
        terms[:, :-1] *= self.sloping(params)[:, None]
        return terms

    def _shaped(self, params, own):
        """Put derivatives by slopes and intercepts (..., n_experts, n_terms) in shape; nothing is fixed by data."""
        lead = own.shape[:-2]
        fixed = {name: np.zeros((*lead, *np.shape(array))) for name, array in params._asdict().items()}
        return params._replace(**{**fixed, "coef": own[..., :-1], "intercept": own[..., -1]})

    def scores(self, Z, params):
        """Return the scores of the rows."""
        return self.link(self._predictors(Z, params), params)

    def pullback(self, Z, params, R):
        """Return the derivative of the sum of R * scores."""
        slopes = self.slopes(self._predictors(Z, params), params)
        pulled = np.einsum("blm,...lm->...bm", slopes, R)
        return self._shaped(params, (pulled @ Z.T) * self._terms(Z, params))

    def row_pullback(self, Z, params, R):
        """Return the derivative of each row's sum of R * scores, (n_entries, m)."""
        slopes = self.slopes(self._predictors(Z, params), params)
        own = np.einsum("blm,lm->bm", slopes, R)[:, None] * Z * self._terms(Z, params)[:, :, None]
        return _widened(own, n_own_fixed(params, self.fields)).reshape(-1, Z.shape[1])

    def information(self, Z, params, proba, weight, resp=None):
        """Return the sum over rows of weight J'(diag p - p p')J, with J the derivative of the scores.

        With ``resp`` the same of the responsibilities is subtracted, and the curvature of the scores times
        (resp - p): minus the second derivative of the observed log-likelihood.
        """
        u = self._predictors(Z, params)
        slopes = self.slopes(u, params)
        pairs = list(itertools.combinations_with_replacement(range(len(u)), 2))
        weights = _covariances(slopes, proba, pairs)
        if resp is not None:
            bends = self.bends(u, params, resp - proba)
            weights -= _covariances(slopes, resp, pairs) + np.array([bends[pair] for pair in pairs])
        return self._spread(weighted_grams(weights * weight, Z), pairs, params)

    def _spread(self, grams, pairs, params):
        """Return the matrix in flat order from the blocks (n_pairs, n_terms, n_terms) of pairs b <= c."""
        k, terms = n_rows(params), grams.shape[1]
        width = terms + n_own_fixed(params, self.fields)
        out, own = np.zeros((k, width, k, width)), self._terms(np.empty((terms, 0)), params)
        for (b, c), gram in zip(pairs, grams, strict=True):
            out[b, :terms, c, :terms] = gram * np.outer(own[b], own[c])
            out[c, :terms, b, :terms] = out[b, :terms, c, :terms].T
        return out.reshape(k * width, k * width)

    def unscale(self, params, shift, scale):
        """Carry the shift in the intercepts and the scale in the slopes."""
        coef = params.coef * self.sloping(params)[:, None] / scale
        return params._replace(coef=coef, intercept=params.intercept - coef @ shift)


def _covariances(slopes, proba, pairs):
    """Entries of A (diag p - p p') A' for pairs of predictors, (n_pairs, m)."""
    weighted = slopes * proba
    mean = weighted.sum(axis=1)
    out = [(slopes[b] * weighted[c]).sum(axis=0) - mean[b] * mean[c] for b, c in pairs]
    return np.array(out).reshape(-1, proba.shape[1])


def _widened(own, n_fixed):
    """Add zeros for fixed entries, which come after an expert's slopes and intercept, (n_experts, n_own, m)."""
    return np.pad(own, ((0, 0), (0, n_fixed), (0, 0)))
