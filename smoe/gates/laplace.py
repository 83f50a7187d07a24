"""The Laplace gate: weights that fall with the distance from a centre."""

import itertools
from typing import NamedTuple

import numpy as np

from smoe.fields import Field
from smoe.gates.base import Gate
from smoe.validation import check_number

__all__ = ["LaplaceGate", "LaplaceGateParams"]


class LaplaceGateParams(NamedTuple):
    """Centres ``centre`` (n_experts, n_features), ``intercept`` (n_experts,) and the ``metric`` (1, n_features), fixed.

    The metric is the squared sharpness over the variance of each column in the fit.
    """

    centre: np.ndarray
    intercept: np.ndarray
    metric: np.ndarray


class LaplaceGate(Gate):
    r"""Each expert has a centre, from which its weight falls exponentially with the distance.

    .. math:: \pi_i(x) \propto \exp(\beta_{0i} - \rho_i), \qquad
              \rho_i = \sqrt{\textstyle\sum_j D_j (x_j - w_{ij})^2 + \varepsilon^2}

    Distances are in units of the columns' standard deviations over the ``sharpness``: the metric D is fixed by the fit
    and reported with it, so that the model does not depend on the units of X. Without the smoothing :math:`\varepsilon`
    the likelihood has a kink wherever a centre meets a row.

    Log odds between two experts change by at most two sharpnesses per standard deviation: unlike the softmax gate this
    one cannot be steep, and with one feature it is constant outside the centres. Not identified: one number added to
    all intercepts (the last one is zero). Equal centres are a constant gate; a centre that runs off in one direction
    leaves only that direction, and ``status_`` then names singular information or a gate that grows.

    Parameters
    ----------
    sharpness : float, default=1.0
        By how much weights fall, on the log scale, per standard deviation.
    smoothing : float, default=0.05
        Epsilon.

    References
    ----------
    Han, X., Nguyen, H., Harris, C., Ho, N. and Saria, S. (2024). FuseMoE: mixture-of-experts transformers for
    fleximodal fusion. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.features import design
    >>> from smoe.gates import LaplaceGate, LaplaceGateParams
    >>> gate = LaplaceGate(smoothing=1e-6)
    >>> params = LaplaceGateParams(np.array([[-1.0], [1.0]]), np.zeros(2), np.ones((1, 1)))
    >>> gate.scores(design(np.array([[-3.0, 0.0, 1.0]])), params).round(3)
    array([[-2., -1., -2.],
           [-4., -1., -0.]])
    """

    fields = {
        "centre": Field(("expert", "feature")),
        "intercept": Field(),
        "metric": Field(("feature",), lower=0.0, attained=True, fixed=True),
    }
    default_start = "softmax"

    def __init__(self, sharpness=1.0, smoothing=0.05):
        self.sharpness = sharpness
        self.smoothing = smoothing

    def check(self, n_experts):
        """Raise an error for a sharpness or a smoothing that is no positive number."""
        for name in ("sharpness", "smoothing"):
            check_number(getattr(self, name), name, 1e-6, high=1e6)

    def init_params(self, n_experts, n_features):
        """Return centres at zero."""
        metric = np.full((1, n_features), float(self.sharpness) ** 2)
        return LaplaceGateParams(np.zeros((n_experts, n_features)), np.zeros(n_experts), metric)

    def _distances(self, Z, params):
        """Distances (n_experts, m), and minus their derivatives by centre and (intercept) one, (n_experts, p, m)."""
        out = np.ones((len(params.centre), *Z.shape))
        out[:, :-1] = Z[:-1] - params.centre[:, :, None]
        weighted = out[:, :-1] * params.metric[0][:, None]
        rho = np.sqrt((out[:, :-1] * weighted).sum(axis=1) + self.smoothing**2)
        out[:, :-1] = weighted / rho[:, None]
        return rho, out

    def scores(self, Z, params):
        """Return the intercepts minus the distances."""
        return params.intercept[:, None] - self._distances(Z, params)[0]

    def pullback(self, Z, params, R):
        """Return the derivative of the sum of R * scores."""
        sums = np.einsum("...km,kpm->...kp", R, self._distances(Z, params)[1])
        return LaplaceGateParams(sums[..., :-1], sums[..., -1], np.zeros((*R.shape[:-2], *params.metric.shape)))

    def row_pullback(self, Z, params, R):
        """Return the derivative of each row's sum of R * scores, (n_entries, m)."""
        own = (R[:, None] * self._distances(Z, params)[1]).reshape(-1, Z.shape[1])
        return np.concatenate([own, np.zeros((params.metric.size, Z.shape[1]))])

    def information(self, Z, params, proba, weight, resp=None):
        """Return the sum over rows of weight J'(diag p - p p')J, with J the derivative of the scores.

        With ``resp`` the same of the responsibilities is subtracted, and the curvature of the scores times
        (resp - p): minus the second derivative of the observed log-likelihood.
        """
        rho, slopes = self._distances(Z, params)
        k, p, _ = slopes.shape
        out = np.zeros((k, p, k, p))
        for i, j in itertools.combinations_with_replacement(range(k), 2):
            both = _covariance(proba, i, j) - (0.0 if resp is None else _covariance(resp, i, j))
            out[i, :, j] = (slopes[i] * (both * weight)) @ slopes[j].T
            out[j, :, i] = out[i, :, j].T
        if resp is not None:
            for i, change in enumerate(weight * (resp - proba) / rho):
                bend = np.diag(change.sum() * params.metric[0]) - (slopes[i, :-1] * change) @ slopes[i, :-1].T
                out[i, :-1, i, :-1] += bend
        return np.pad(out.reshape(k * p, k * p), (0, params.metric.size))

    def free(self, params):
        """All centres and all intercepts but the last; nothing of a single expert."""
        free = super().free(params)
        free.intercept[-1] = False
        return free if len(params.intercept) > 1 else type(free)(*(np.zeros_like(field) for field in free))

    def canonical(self, params):
        """Pin the last intercept to zero; a single expert has no gate."""
        centre = params.centre if len(params.centre) > 1 else np.zeros(params.centre.shape)
        return params._replace(centre=centre, intercept=params.intercept - params.intercept[-1])

    def _at_zero(self, params):
        return np.sqrt((params.metric * params.centre**2).sum(axis=1) + self.smoothing**2)

    def log_mass(self, params):
        """Return the scores where the features are zero."""
        return params.intercept - self._at_zero(params)

    def with_log_mass(self, params, log_mass):
        """Return the parameters with other scores where the features are zero."""
        return params._replace(intercept=log_mass + self._at_zero(params))

    def breaks(self, params):
        """Return the centres of one feature, and where the weights of two experts are equal between them."""
        (i, j), centre = np.triu_indices(len(params.centre), 1), params.centre[:, 0]
        shift = (params.intercept[i] - params.intercept[j]) / np.sqrt(params.metric[0, 0])
        return np.concatenate([centre, *(0.5 * (centre[i] + centre[j] + side * shift) for side in (-1.0, 1.0)), [0.0]])

    def unscale(self, params, shift, scale):
        """Move the centres, and carry the scale in the metric."""
        return params._replace(centre=shift + scale * params.centre, metric=params.metric / scale**2)


def _covariance(proba, i, j):
    return (proba[i] if i == j else 0.0) - proba[i] * proba[j]
