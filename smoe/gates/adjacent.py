"""The gate of adjacent logits: softmax scores with one slope vector, times the place of the expert."""

from typing import NamedTuple

import numpy as np

from smoe.fields import Field
from smoe.gates.base import Gate, LinearGateParams
from smoe.gates.ordered import chain
from smoe.params import n_rows

__all__ = ["AdjacentGate", "AdjacentGateParams"]


class AdjacentGateParams(NamedTuple):
    """The experts' ``intercept`` and ``place``, (n_experts,), and the slopes ``coef`` (1, n_features) of all."""

    intercept: np.ndarray
    place: np.ndarray
    coef: np.ndarray


class AdjacentGate(Gate):
    r"""Softmax with shared slopes: each step along the experts' places has the same effect on the log odds.

    .. math:: \pi_i(x) = \mathrm{softmax}_i\big(\beta_{0i} + l_i\, a^\top x\big), \qquad
              \log\frac{\pi_{(l)}(x)}{\pi_{(l-1)}(x)} = c_l + a^\top x

    for experts at the places l = 0, ..., K - 1. It is the softmax gate whose slopes are equidistant along one
    direction, with d + K - 1 parameters in place of (d + 1)(K - 1); with two experts it is the softmax gate. Unlike the
    intervals of the ordered gate an expert in the middle may have any share, and may be left without a region.

    Not identified: one number added to all intercepts, so that the last is zero; and the direction: -a with the places
    reversed is the same gate. Expert 0 has a lower place than the last expert. Which of the other experts has which
    place is part of the model; fits look for it among many starts. Places have no standard error. Slopes that separate
    the rows have no maximum, as those of the softmax gate.

    References
    ----------
    Goodman, L. A. (1979). Simple models for the analysis of association in cross-classifications having ordered
    categories. JASA 74, 537-552.

    Anderson, J. A. (1984). Regression and ordered categorical variables. JRSS B 46, 1-30, where places are estimated.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.features import design
    >>> from smoe.gates import AdjacentGate, AdjacentGateParams
    >>> params = AdjacentGateParams(np.array([0.0, 1.0, 0.0]), np.arange(3.0), np.array([[2.0]]))
    >>> np.exp(AdjacentGate().scores(design(np.array([[-1.0, 0.0]])), params)).round(3)
    array([[1.   , 1.   ],
           [0.368, 2.718],
           [0.018, 1.   ]])
    """

    fields = {"intercept": Field(), "place": Field(fixed=True), "coef": Field(("feature",))}
    exchangeable = False
    nested = False
    linear = True
    log_linear = True
    default_start = "softmax"

    def init_params(self, n_experts, n_features):
        """Return a flat gate: no slopes, and each expert at the place of its number."""
        return AdjacentGateParams(np.zeros(n_experts), np.arange(float(n_experts)), np.zeros((1, n_features)))

    def softmax(self, params):
        """Return the parameters of the softmax gate that this gate is.

        Parameters
        ----------
        params : AdjacentGateParams
        """
        return LinearGateParams(params.place[:, None] * params.coef, params.intercept)

    def scores(self, Z, params):
        """Return the intercepts plus the places times the index."""
        return params.intercept[:, None] + params.place[:, None] * (params.coef @ Z[:-1])

    def pullback(self, Z, params, R):
        """Return the derivative of the sum of R * scores."""
        along = np.tensordot(R, params.place, ((-2,), (0,))) @ Z[:-1].T
        return AdjacentGateParams(R.sum(axis=-1), np.zeros(R.shape[:-1]), along[..., None, :])

    def row_pullback(self, Z, params, R):
        """Return the derivative of each row's sum of R * scores, (n_entries, m)."""
        own = np.stack([R, np.zeros_like(R)], axis=1).reshape(2 * len(R), -1)
        return np.concatenate([own, (params.place @ R) * Z[:-1]])

    def information(self, Z, params, proba, weight, resp=None):
        """Return the sum over rows of weight J'(diag p - p p')J, with J the derivative of the scores.

        With ``resp`` the same of the responsibilities is subtracted, which makes it the gate's block of the observed
        information.
        """
        out = _spread_of_places(Z, params.place, proba, weight)
        return out if resp is None else out - _spread_of_places(Z, params.place, resp, weight)

    # What is not identified ------------------------------------------------------------------------------------------

    def free(self, params):
        """Every intercept but the last, and the slopes if there are two places."""
        free = super().free(params)
        free.intercept[-1] = False
        free.coef[:] = np.ptp(params.place) > 0
        return free

    def canonical(self, params):
        """Let places go from 0 to n_experts - 1 and expert 0 have a lower one than the last; its intercept is zero."""
        place, k = params.place - params.place[0], n_rows(params)
        apart = place[place != 0]  # the last of these decides where the last expert is a copy of the first
        span = np.ptp(place)
        unit = np.copysign(span / max(k - 1, 1), apart[-1]) if span else 1.0
        place, coef = place / unit, params.coef * (unit if span else 0.0)
        return AdjacentGateParams(params.intercept - params.intercept[-1], place - place.min(), coef)

    def permute(self, params, order):
        """Relabel the experts, each of which keeps its place; where one is left out the others close ranks."""
        moved, left = super().permute(params, order), set(range(n_rows(params))) - set(np.asarray(order).tolist())
        return _in_ranks(moved) if left else moved

    def beside(self, params, lost, host):
        """Return the parameters without one expert, and with one more, the last, next to the one that it divides."""
        return _in_ranks(super().beside(params, lost, host))

    def merge(self, params, groups, load):
        """Return parameters with one expert per group, in the order of their mean places."""
        return _in_ranks(super().merge(params, groups, load))

    def apart(self, params, i, rng):
        """Return parameters in which no two experts have one place."""
        return _in_ranks(params)

    def flat(self, params, share):
        """Return parameters like these whose probabilities are the shares (n_experts,) everywhere."""
        return params._replace(coef=np.zeros_like(params.coef), intercept=np.log(share))

    def gathered(self, params, overlap):
        """Return the parameters with experts that share most, by overlap (n_experts, n_experts), next to each other."""
        return params._replace(place=chain(overlap))

    def log_mass(self, params):
        """Return the intercepts."""
        return params.intercept

    def with_log_mass(self, params, log_mass):
        """Return the parameters with other intercepts."""
        return params._replace(intercept=np.asarray(log_mass, dtype=float))

    def breaks(self, params):
        """Return the x of one feature at which two scores are equal."""
        i, j = np.triu_indices(n_rows(params), 1)
        tilt = (params.place[i] - params.place[j]) * params.coef[0, 0]
        gap = params.intercept[i] - params.intercept[j]
        return np.append(-gap[tilt != 0] / tilt[tilt != 0], 0.0)

    def unscale(self, params, shift, scale):
        """Carry the shift in the intercepts and the scale in the slopes; the last intercept stays as it is."""
        coef = params.coef / scale
        return params._replace(
            coef=coef, intercept=params.intercept - (params.place - params.place[-1]) * (coef @ shift)
        )


def _in_ranks(params):
    """Return the parameters with the places 0, 1, ... in the same order, and slopes that span as much as before."""
    place = np.argsort(np.argsort(params.place, kind="stable"), kind="stable").astype(float)
    return params._replace(place=place, coef=params.coef * (np.ptp(params.place) / max(len(place) - 1, 1)))


def _spread_of_places(Z, place, proba, weight):
    """Return the sum over rows of weight J'(diag p - p p')J in flat order."""
    weighted, deviation = proba * weight, place[:, None] - place @ proba
    n = 2 * len(place)
    out = np.zeros((n + len(Z) - 1, n + len(Z) - 1))
    out[:n:2, :n:2] = np.diag(weighted.sum(axis=1)) - weighted @ proba.T
    out[:n:2, n:] = (weighted * deviation) @ Z[:-1].T
    out[n:, :n:2] = out[:n:2, n:].T
    out[n:, n:] = (Z[:-1] * (weighted * deviation**2).sum(axis=0)) @ Z[:-1].T
    return out
