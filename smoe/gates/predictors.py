"""What gates share whose scores are smooth functions of linear predictors, one for each expert."""

from functools import partial

import numpy as np

from smoe._kernels.designs import predictors
from smoe._kernels.moments import weighted_grams
from smoe._kernels.predictor_gates import pair_covariances, pulled, spread_blocks
from smoe.fields import Field, n_own_fixed
from smoe.gates.base import Evaluated, LinearGate
from smoe.params import n_rows

__all__ = ["PredictorGate"]


class PredictorGate(LinearGate):
    r"""Scores :math:`s(u)` of the linear predictors :math:`u_b = \beta_{1b}^\top x + \beta_{0b}`.

    A gate of this kind says what the scores are (`link`), and their first and second derivatives by the predictors
    (`slopes`, `bends`); the chain rule is here. Fields of its own beside slopes and intercepts are fixed.
    """

    fields = {"coef": Field(("expert", "feature")), "intercept": Field()}
    log_linear = False
    nested = False
    default_start = "softmax"

    def link(self, u, params):
        """Return the scores (n_experts, m) at these predictors (n_experts, m)."""
        raise TypeError(f"{type(self).__name__} must implement link.")

    def slopes(self, u, params):
        """Return the derivative of each score by each predictor, (n_predictors, n_experts, m)."""
        raise TypeError(f"{type(self).__name__} must implement slopes.")

    def jet(self, u, params):
        """Return the scores and their slopes, which may have much in common."""
        return self.link(u, params), self.slopes(u, params)

    def bends(self, u, params, R):
        """Return the second derivatives of the sum of R * scores by pairs b <= c of predictors, (n_pairs, m)."""
        raise TypeError(f"{type(self).__name__} must implement bends.")

    def sloping(self, params):
        """Return which predictors have slopes at all, (n_experts,)."""
        return np.ones(n_rows(params), dtype=bool)

    def _predictors(self, Z, params):
        return predictors(self._sloped(params), params.intercept, Z)

    def _sloped(self, params):
        return np.where(self.sloping(params)[:, None], params.coef, 0.0)

    def _shaped(self, params, own):
        """Put derivatives by slopes and intercepts (..., n_experts, n_terms) in shape; those by the rest are zero."""
        lead = own.shape[:-2]
        fixed = {name: np.zeros((*lead, *np.shape(array))) for name, array in params._asdict().items()}
        coef = own[..., :-1] * self.sloping(params)[:, None]
        return params._replace(**{**fixed, "coef": coef, "intercept": own[..., -1]})

    def scores(self, Z, params):
        """Return the scores of the rows."""
        return self.link(self._predictors(Z, params), params)

    def evaluated(self, Z, params):
        """Return what one pass asks for, with slopes that are computed once."""
        u = self._predictors(Z, params)
        scores, slopes = self.jet(u, params)
        methods = self._pullback, partial(self._information, u)
        return Evaluated(scores, *(partial(method, slopes, Z, params) for method in methods))

    def _slopes_at(self, Z, params):
        return self.slopes(self._predictors(Z, params), params)

    def pullback(self, Z, params, R):
        """Return the derivative of the sum of R * scores."""
        return self._pullback(self._slopes_at(Z, params), Z, params, R)

    def _pullback(self, slopes, Z, params, R):
        return self._shaped(params, pulled(R, slopes) @ Z.T)

    def row_pullback(self, Z, params, R):
        """Return the derivative of each row's sum of R * scores, (n_entries, m)."""
        own = pulled(R, self._slopes_at(Z, params))[:, None] * Z
        own[:, :-1] *= self.sloping(params)[:, None, None]
        own = np.pad(own, ((0, 0), (0, n_own_fixed(params, self.fields)), (0, 0)))
        return own.reshape(-1, Z.shape[1])

    def information(self, Z, params, proba, weight, resp=None):
        """Return the sum over rows of weight J'(diag p - p p')J, with J the derivative of the scores.

        With ``resp`` the same of the responsibilities is subtracted, and the curvature of the scores times
        (resp - p): minus the second derivative of the observed log-likelihood.
        """
        u = self._predictors(Z, params)
        return self._information(u, self.slopes(u, params), Z, params, proba, weight, resp)

    def _information(self, u, slopes, Z, params, proba, weight, resp=None):
        weights = pair_covariances(slopes, proba, weight)
        if resp is not None:
            weights -= pair_covariances(slopes, resp, weight)
            weights -= self.bends(u, params, weight * (resp - proba))
        return self._spread(Z, params, weights)

    def _spread(self, Z, params, weights):
        return spread_blocks(weighted_grams(weights, Z), self.sloping(params), n_own_fixed(params, self.fields))

    def unscale(self, params, shift, scale):
        """Carry the shift in the intercepts and the scale in the slopes."""
        coef = self._sloped(params) / scale
        return params._replace(coef=coef, intercept=params.intercept - coef @ shift)
