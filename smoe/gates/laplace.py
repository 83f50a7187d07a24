"""The Laplace gate: weights that fall with the distance from a centre."""

from typing import NamedTuple

import numpy as np

from smoe._kernels.laplace import laplace_information, laplace_pull, laplace_scores
from smoe.fields import Field
from smoe.gates.base import Gate
from smoe.validation import check_number

__all__ = ["LaplaceGate", "LaplaceGateParams"]

_FAR = 30.0  # standard deviations: centres beyond are on their way


class LaplaceGateParams(NamedTuple):
    """Centres ``centre`` (n_experts, n_features), ``intercept`` (n_experts,), and what all share.

    The ``metric`` (1, n_features) is one over the variance of each column in the fit, and fixed; ``sharpness`` is a
    number.
    """

    centre: np.ndarray
    intercept: np.ndarray
    metric: np.ndarray
    sharpness: np.ndarray


class LaplaceGate(Gate):
    r"""Each expert has a centre, from which its weight falls exponentially with the distance.

    .. math:: \pi_i(x) \propto \exp(\beta_{0i} - \lambda \rho_i), \qquad
              \rho_i = \sqrt{\textstyle\sum_j D_j (x_j - w_{ij})^2 + \varepsilon^2}

    Distances are in standard deviations of the columns: the metric D is fixed by the fit and reported with it, so that
    the model does not depend on the units of X. Without the smoothing :math:`\varepsilon` the likelihood has a kink
    wherever a centre meets a row.

    Log odds between two experts change by at most twice the sharpness :math:`\lambda` per standard deviation, and with
    one feature they are constant outside the centres. Not identified: one number added to all intercepts (the last one
    is zero). Two limits have no maximum in the model, and ``status_`` says so: centres that run off, each in its
    direction, leave linear scores whose slopes are :math:`\lambda` long; a sharpness of zero or equal centres are a
    constant gate.

    Parameters
    ----------
    sharpness : float or "learn", default="learn"
        By how much weights fall, on the log scale, per standard deviation: a positive number, or "learn". One is the
        gate of the reference, in these units.
    smoothing : float, default=0.1
        Epsilon, in standard deviations.

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
    >>> params = LaplaceGateParams(np.array([[-1.0], [1.0]]), np.zeros(2), np.ones((1, 1)), np.array(1.0))
    >>> gate.scores(design(np.array([[-3.0, 0.0, 1.0]])), params).round(3)
    array([[-2., -1., -2.],
           [-4., -1., -0.]])
    """

    fields = {
        "centre": Field(("expert", "feature")),
        "intercept": Field(),
        "metric": Field(("feature",), lower=0.0, attained=True, fixed=True),
        "sharpness": Field((), lower=0.0),
    }
    default_start = "softmax"
    names_limits = True

    def __init__(self, sharpness: float | str = "learn", smoothing: float = 0.1) -> None:
        self.sharpness = sharpness
        self.smoothing = smoothing

    @property
    def learns(self):
        """Whether the sharpness is to be learned."""
        return isinstance(self.sharpness, str)

    def check(self, n_experts):
        """Raise an error for a sharpness that is neither "learn" nor a positive number, or a smoothing that is none."""
        if self.learns and self.sharpness != "learn":
            raise ValueError(f"sharpness must be a positive number or 'learn', got {self.sharpness!r}.")
        if not self.learns:
            check_number(self.sharpness, "sharpness", 1e-6, high=1e6)
        check_number(self.smoothing, "smoothing", 1e-6, high=1e6)

    def diagnosis(self, params):
        """Say when the centres are on their way to infinity."""
        if np.abs(params.centre * np.sqrt(params.metric)).max(initial=0.0) > _FAR:
            return "centres run off: the data prefer a limit in which only their directions are left"
        return ""

    def init_params(self, n_experts, n_features):
        """Return centres at zero."""
        sharpness = np.array(1.0 if self.learns else float(self.sharpness))
        zeros = np.zeros((n_experts, n_features)), np.zeros(n_experts)
        return LaplaceGateParams(*zeros, np.ones((1, n_features)), sharpness)

    def _distances(self, Z, params):
        """Distances (n_experts, m), and derivatives of the scores by centre and intercept, (n_experts, p, m)."""
        out = np.ones((len(params.centre), *Z.shape))
        out[:, :-1] = Z[:-1] - params.centre[:, :, None]
        weighted = out[:, :-1] * params.metric[0][:, None]
        rho = np.sqrt((out[:, :-1] * weighted).sum(axis=1) + self.smoothing**2)
        out[:, :-1] = weighted * (params.sharpness / rho)[:, None]
        return rho, out

    def _seen(self, params):
        """Return what distances depend on, in arrays of one kind."""
        sharpness, smoothing = float(params.sharpness), float(self.smoothing)
        return np.array(params.centre, dtype=float), np.array(params.metric[0], dtype=float), sharpness, smoothing

    def scores(self, Z, params):
        """Return the intercepts minus the distances times the sharpness."""
        centre, *others = self._seen(params)
        return laplace_scores(np.ascontiguousarray(Z), centre, np.array(params.intercept, dtype=float), *others)

    def pullback(self, Z, params, R):
        """Return the derivative of the sum of R * scores."""
        lead, stacked = R.shape[:-2], np.ascontiguousarray(R).reshape(-1, *R.shape[-2:])
        own, shared = laplace_pull(stacked, np.ascontiguousarray(Z), *self._seen(params))
        own, metric = own.reshape(*R.shape[:-1], len(Z)), np.zeros((*lead, *params.metric.shape))
        return LaplaceGateParams(own[..., :-1], own[..., -1], metric, shared.reshape(lead))

    def row_pullback(self, Z, params, R):
        """Return the derivative of each row's sum of R * scores, (n_entries, m)."""
        rho, slopes = self._distances(Z, params)
        own = (R[:, None] * slopes).reshape(-1, Z.shape[1])
        return np.concatenate([own, np.zeros((params.metric.size, Z.shape[1])), -(R * rho).sum(axis=0)[None]])

    def information(self, Z, params, proba, weight, resp=None):
        """Return the sum over rows of weight J'(diag p - p p')J, with J the derivative of the scores.

        With ``resp`` the same of the responsibilities is subtracted, and the curvature of the scores times
        (resp - p): minus the second derivative of the observed log-likelihood.
        """
        observed, proba = resp is not None, np.ascontiguousarray(proba)
        resp = np.ascontiguousarray(resp) if observed else proba
        return laplace_information(np.ascontiguousarray(Z), *self._seen(params), proba, resp, weight, observed)

    def free(self, params):
        """All centres, all intercepts but the last, and the sharpness if it is learned; nothing of a single expert."""
        free = super().free(params)
        free.intercept[-1] = False
        free = free._replace(sharpness=np.array(self.learns))
        return free if len(params.intercept) > 1 else type(free)(*(np.zeros_like(field) for field in free))

    def canonical(self, params):
        """Pin the last intercept to zero; a single expert has no gate."""
        if len(params.centre) == 1:
            return self.init_params(*params.centre.shape)._replace(metric=params.metric)
        return params._replace(intercept=params.intercept - params.intercept[-1])

    def _at_zero(self, params):
        return params.sharpness * np.sqrt((params.metric * params.centre**2).sum(axis=1) + self.smoothing**2)

    def log_mass(self, params):
        """Return the scores where the features are zero."""
        return params.intercept - self._at_zero(params)

    def with_log_mass(self, params, log_mass):
        """Return the parameters with other scores where the features are zero."""
        return params._replace(intercept=log_mass + self._at_zero(params))

    def breaks(self, params):
        """Return the centres of one feature, and where the weights of two experts are equal between them."""
        (i, j), centre = np.triu_indices(len(params.centre), 1), params.centre[:, 0]
        shift = (params.intercept[i] - params.intercept[j]) / (params.sharpness * np.sqrt(params.metric[0, 0]))
        return np.concatenate([centre, *(0.5 * (centre[i] + centre[j] + side * shift) for side in (-1.0, 1.0)), [0.0]])

    def unscale(self, params, shift, scale):
        """Move the centres, and carry the scale in the metric."""
        return params._replace(centre=shift + scale * params.centre, metric=params.metric / scale**2)
