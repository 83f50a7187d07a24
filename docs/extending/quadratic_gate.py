"""A gate with curved borders: scores that are quadratic in each feature."""

from typing import NamedTuple

import numpy as np

from smoe.fields import Field
from smoe.gates import LinearGate


class QuadraticGateParams(NamedTuple):
    """Slopes and curvatures (n_experts, n_features), and intercepts (n_experts,)."""

    coef: np.ndarray
    square: np.ndarray
    intercept: np.ndarray


class QuadraticGate(LinearGate):
    r"""Localised mixing weights: those of Gaussian kernels with centres and widths of their own.

    .. math:: \pi_i(x) \propto \alpha_i \prod_j N(x_j;\; c_{ij}, h_{ij}^2) \propto \exp(s_i(x)), \qquad
              s_i(x) = \sum_j (\beta_{ij} x_j + \gamma_{ij} x_j^2) + \beta_{0i}

    Centres and widths are not identified, log odds are: one vector added to every slope, one to every curvature and one
    number to every intercept leave the density as it is. The last expert's row is pinned to zero.
    """

    fields = {**LinearGate.fields, "square": Field(("expert", "feature"))}

    def init_params(self, n_experts, n_features):
        zeros = np.zeros((n_experts, n_features))
        return QuadraticGateParams(zeros, zeros.copy(), np.zeros(n_experts))

    def _terms(self, Z):
        """The features, their squares, and the row of ones."""
        return np.concatenate([Z[:-1], Z[:-1] ** 2, Z[-1:]])

    def scores(self, Z, params):
        return np.column_stack(params) @ self._terms(Z)

    def pullback(self, Z, params, R):
        sums = R @ self._terms(Z).T
        d = len(Z) - 1
        return QuadraticGateParams(sums[..., :d], sums[..., d:-1], sums[..., -1])

    def information(self, Z, params, proba, weight, resp=None):
        return super().information(self._terms(Z), params, proba, weight, resp)

    def free(self, params):
        free = QuadraticGateParams(*(np.ones(np.shape(field), dtype=bool) for field in params))
        for field in free:
            field[-1] = False
        return free

    def canonical(self, params):
        return QuadraticGateParams(*(field - field[-1] for field in params))

    def unscale(self, params, shift, scale):
        square = params.square / scale**2
        coef = params.coef / scale - 2 * square * shift
        intercept = params.intercept - (params.coef / scale) @ shift + square @ shift**2
        return QuadraticGateParams(coef, square, intercept)
