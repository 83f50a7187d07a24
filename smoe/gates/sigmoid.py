"""The normalised sigmoid gate."""

import numpy as np
from scipy.special import log_expit, logit

from smoe._kernels.predictor_gates import log_sigmoids
from smoe.gates.base import Gate, LinearGateParams
from smoe.gates.predictors import PredictorGate

__all__ = ["NormalisedSigmoidGate"]

_SOFTMAX = -8.0  # below this level a sigmoid is an exponential to three digits
_START = -1.0
_LARGEST_SHARE = 0.9  # of a sigmoid, when masses are set


class NormalisedSigmoidGate(PredictorGate):
    r"""Sigmoids of linear predictors, divided by their sum: affinities that saturate.

    .. math:: \pi_i(x) = \frac{\sigma(u_i)}{\sum_j \sigma(u_j)}, \qquad
              u_i = \beta_{1i}^\top x + \beta_{0i}, \quad \sigma(u) = \frac{1}{1 + e^{-u}}

    No convention is needed: different sigmoids are told apart by their bends, and no row is pinned. But only by these.
    Where all of them are small the gate is the softmax gate of the same predictors, and the level of the intercepts is
    as good as lost: data that a softmax gate describes send it to minus infinity, and ``status_`` says so. A mixture
    with k experts is in general none of those with k + 1. The unnormalised sum of sigmoids is no mixture.

    References
    ----------
    Nguyen, H., Ho, N. and Rinaldo, A. (2024). Sigmoid gating is more sample efficient than softmax gating in mixture of
    experts. NeurIPS, for the gate without normalisation.

    DeepSeek-AI (2024). DeepSeek-V3 technical report, arXiv:2412.19437, for the normalised one.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.features import design
    >>> from smoe.gates import LinearGateParams, NormalisedSigmoidGate
    >>> gate = NormalisedSigmoidGate()
    >>> params = LinearGateParams(np.array([[5.0], [0.0]]), np.zeros(2))
    >>> scores = gate.scores(design(np.array([[-2.0, 0.0, 2.0]])), params)
    >>> (np.exp(scores) / np.exp(scores).sum(axis=0)).round(3)  # at most two thirds for the first
    array([[0.   , 0.5  , 0.667],
           [1.   , 0.5  , 0.333]])
    """

    linear = True
    names_limits = True

    def init_params(self, n_experts, n_features):
        """Return zero slopes and small sigmoids."""
        return LinearGateParams(np.zeros((n_experts, n_features)), np.full(n_experts, _START))

    def link(self, u, params):
        """Return the logarithms of the sigmoids."""
        return log_sigmoids(u)[0]

    def slopes(self, u, params):
        """Return 1 - sigmoid on the diagonal."""
        return log_sigmoids(u)[1]

    def jet(self, u, params):
        """Return both."""
        return log_sigmoids(u)

    def bends(self, u, params, R):
        """Return minus R sigmoid (1 - sigmoid) for pairs of a predictor with itself."""
        k = len(u)
        out = np.zeros((k * (k + 1) // 2, u.shape[1]))
        value, slopes = log_sigmoids(u)
        out[np.cumsum([0, *range(k, 1, -1)])] = -R * slopes[np.arange(k), np.arange(k)] * np.exp(value)
        return out

    def free(self, params):
        """All entries, but none of a single expert."""
        return type(params)(*(field & (len(params.intercept) > 1) for field in Gate.free(self, params)))

    def canonical(self, params):
        """Return the parameters; a single expert has no gate."""
        return params if len(params.intercept) > 1 else self.init_params(*params.coef.shape)

    def diagnosis(self, params):
        """Say when the gate is on its way to a softmax gate."""
        if len(params.intercept) > 1 and np.max(params.intercept) < _SOFTMAX:
            return "the sigmoids vanish while their ratios stay: the data prefer the limit, a softmax gate"
        return ""

    def log_mass(self, params):
        """Return the logarithms of the sigmoids where the features are zero."""
        return log_expit(params.intercept)

    def with_log_mass(self, params, log_mass):
        """Return the parameters with other sigmoids where the features are zero, small enough to be ones."""
        log_mass = np.asarray(log_mass, dtype=float)
        excess = max(0.0, log_mass.max() - np.log(_LARGEST_SHARE))
        return params._replace(intercept=logit(np.exp(log_mass - excess)))
