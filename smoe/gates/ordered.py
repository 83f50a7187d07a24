"""The ordered gate: experts are levels of one index."""

from functools import partial
from typing import NamedTuple

import numpy as np

from smoe import cumulative
from smoe._kernels.moments import weighted_grams
from smoe._kernels.ordered import interval_slopes
from smoe._kernels.predictor_gates import pair_covariances, pulled, spread_blocks
from smoe.fields import Field
from smoe.gates.base import Evaluated, Gate
from smoe.params import n_rows

__all__ = ["OrderedGate", "OrderedGateParams"]

_CLOSED = 1e-4  # a gap below: the expert has nowhere more than a fourth of it
_OPEN = 50.0  # a gap above, beyond what the slopes span: what is on one side of it is out of reach
_SPAN = 10.0  # standard deviations of the index
_REACH = 2.0  # beyond the outer thresholds, when the interval of an outer expert is divided


class OrderedGateParams(NamedTuple):
    """The thresholds' ``gap`` and the experts' ``place``, (n_experts,), and the index, which all experts share.

    Places are counted from the lowest interval. An expert's gap is the length of its interval; the two outer intervals
    have none, their entry is one. The index has slopes ``coef`` (1, n_features) and ``intercept``, a number.
    """

    gap: np.ndarray
    place: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray


class OrderedGate(Gate):
    r"""Experts take over one after the other along one index: cumulative logits with one slope vector.

    .. math:: \pi_{(l)}(x) = F(\theta_l - \eta) - F(\theta_{l-1} - \eta), \qquad \eta = a^\top x + b, \quad
              F(u) = \frac{1}{1 + e^{-u}}

    for the expert at place l = 0, ..., K - 1, with thresholds :math:`\theta_{-1} = -\infty`, :math:`\theta_0 = 0`,
    :math:`\theta_l = \theta_{l-1} + g_l`, :math:`g_l > 0`, :math:`\theta_{K-1} = \infty`. The index :math:`\eta` is in
    units of the logistic's scale. It has d + K - 1 parameters, where a softmax gate has (d + 1)(K - 1); with two
    experts it is the softmax gate. Borders are parallel hyperplanes.

    Not identified: an intercept and a first threshold say the same, so that this threshold is zero; and the direction
    of the index: -a with the places reversed is the same gate. Expert 0 has a lower place than the last expert. Which
    of the other experts sits at which place is part of the model; fits look for it among many starts. Places have no
    standard error.

    Limits without a maximum, which ``status_`` names: a gap that vanishes takes its expert out of the model, a gap that
    grows puts those on one side of it out of reach of all rows; slopes that grow separate the rows.

    References
    ----------
    McCullagh, P. (1980). Regression models for ordinal data. JRSS B 42, 109-142, for the probabilities.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.features import design
    >>> from smoe.gates import OrderedGate, OrderedGateParams
    >>> gate = OrderedGate()
    >>> params = OrderedGateParams(np.array([1.0, 4.0, 1.0]), np.arange(3.0), np.array([[2.0]]), np.array(2.0))
    >>> np.exp(gate.scores(design(np.array([[-3.0, 0.0, 3.0]])), params)).round(3)
    array([[0.982, 0.119, 0.   ],
           [0.018, 0.762, 0.018],
           [0.   , 0.119, 0.982]])
    >>> gate.thresholds(params)
    array([-2.,  2.])
    """

    fields = {
        "gap": Field(lower=0.0),
        "place": Field(fixed=True),
        "coef": Field(("feature",)),
        "intercept": Field(()),
    }
    exchangeable = False
    linear = True
    names_limits = True
    default_start = "softmax"

    def init_params(self, n_experts, n_features):
        """Return a flat gate: no slopes, and each expert at the place of its number."""
        params = OrderedGateParams(
            np.ones(n_experts), np.arange(float(n_experts)), np.zeros((1, n_features)), np.zeros(())
        )
        return self.with_log_mass(params, np.zeros(n_experts))

    def thresholds(self, params):
        """Return the thresholds against an index without intercept, in order, (n_experts - 1,).

        Parameters
        ----------
        params : OrderedGateParams
        """
        n_thresholds = n_rows(params) - 1
        gaps = params.gap[_at_places(params)[1:-1]]
        return np.cumsum([-float(params.intercept), *gaps])[:n_thresholds]

    def with_thresholds(self, params, thresholds):
        """Return the parameters with other thresholds, in order.

        Parameters
        ----------
        params : OrderedGateParams
        thresholds : array of shape (n_experts - 1,)
        """
        gap = np.ones(n_rows(params))
        gap[_at_places(params)[1:-1]] = np.diff(thresholds)
        return params._replace(gap=gap, intercept=np.array(-thresholds[0] if len(thresholds) else 0.0))

    def diagnosis(self, params):
        """Say when a gap vanishes, or puts experts out of reach."""
        inner = _at_places(params)[1:-1]
        gap = params.gap[inner]
        if gap.min(initial=1.0) < _CLOSED:
            return f"the interval of expert {inner[np.argmin(gap)]} vanishes: the data prefer one expert fewer"
        if gap.max(initial=0.0) > _OPEN + _SPAN * np.abs(params.coef).sum():
            expert = inner[np.argmax(gap)]
            return f"the interval of expert {expert} grows: experts on one side of it are out of reach of all rows"
        return ""

    # Scores and derivatives: experts by place, parameters by index and inner gaps -------------------------------------

    def _cuts(self, Z, params):
        """Return the thresholds minus the index, (n_experts - 1, m), and the inner gaps."""
        gaps = params.gap[_at_places(params)[1:-1]]
        return self.thresholds(params)[:, None] - params.coef @ Z[:-1], gaps

    def _jet(self, Z, params):
        """Return the scores, and their derivatives by index and inner gaps, (n_terms, n_experts, m)."""
        at, index = _at_places(params), (params.coef @ Z[:-1])[0]
        return interval_slopes(index, self.thresholds(params), cumulative.inside(params.gap[at[1:-1]]), at)

    def evaluated(self, Z, params):
        """Return what one pass asks for, with derivatives that are computed once."""
        scores, slopes = self._jet(Z, params)
        methods = self._pullback, self._information
        return Evaluated(scores, *(partial(method, slopes, Z, params) for method in methods))

    def scores(self, Z, params):
        """Return the logarithms of the probabilities."""
        return self._jet(Z, params)[0]

    def pullback(self, Z, params, R):
        """Return the derivative of the sum of R * scores."""
        return self._pullback(self._jet(Z, params)[1], Z, params, R)

    def _pullback(self, slopes, Z, params, R):
        change, lead = pulled(R, slopes), R.shape[:-1]
        along, gap = change[..., 0, :] @ Z.T, np.zeros(lead)
        gap[..., _at_places(params)[1:-1]] = change[..., 1:, :].sum(axis=-1)
        return OrderedGateParams(gap, np.zeros(lead), along[..., None, :-1], along[..., -1])

    def row_pullback(self, Z, params, R):
        """Return the derivative of each row's sum of R * scores, (n_entries, m)."""
        slopes, k = pulled(R, self._jet(Z, params)[1]), len(R)
        own = np.zeros((k, 2, Z.shape[1]))
        own[_at_places(params)[1:-1], 0] = slopes[1:]
        return np.concatenate([own.reshape(2 * k, -1), slopes[0] * Z])

    def information(self, Z, params, proba, weight, resp=None):
        """Return the sum over rows of weight J'(diag p - p p')J, with J the derivative of the scores.

        With ``resp`` the same of the responsibilities is subtracted, and the curvature of the scores times
        (resp - p): minus the second derivative of the observed log-likelihood.
        """
        return self._information(self._jet(Z, params)[1], Z, params, proba, weight, resp)

    def _information(self, slopes, Z, params, proba, weight, resp=None):
        at, weights = _at_places(params), pair_covariances(slopes, proba, weight)
        if resp is not None:
            weights -= pair_covariances(slopes, resp, weight)
            bends = cumulative.bends((weight * (resp - proba))[at], *self._cuts(Z, params))
            weights += bends[np.triu_indices(len(bends))]
        return self._spread(weighted_grams(weights, Z), at)

    def _spread(self, grams, at):
        """Return the information in flat order from the pairs of index and gaps; the index alone has slopes."""
        p, k, n = grams.shape[1], len(at), max(len(at) - 1, 1)
        blocks = spread_blocks(grams, np.arange(n) == 0, 0)
        out, inner = np.zeros((2 * k + p, 2 * k + p)), np.arange(1, n)
        there = np.concatenate([2 * k + np.arange(p), 2 * at[1:-1]])
        here = np.concatenate([np.arange(p), inner * p + p - 1])
        out[np.ix_(there, there)] = blocks[np.ix_(here, here)]
        return out

    # What is not identified ------------------------------------------------------------------------------------------

    def free(self, params):
        """The index and the inner gaps; nothing of a single expert."""
        free, at = super().free(params), _at_places(params)
        free.gap[at[[0, -1]]] = False
        several = len(at) > 1
        return free._replace(coef=free.coef & several, intercept=np.array(several))

    def canonical(self, params):
        """Let expert 0 have a lower place than the last one; a single expert has no gate."""
        at, gap = _at_places(params), np.array(params.gap)
        if len(at) == 1:
            return self.init_params(1, params.coef.shape[1])
        gap[at[[0, -1]]] = 1.0
        place = np.argsort(at).astype(float)
        if place[0] < place[-1]:
            return params._replace(gap=gap, place=place)
        intercept = np.array(gap[at[1:-1]].sum() - params.intercept)
        return OrderedGateParams(gap, len(at) - 1.0 - place, -params.coef, intercept)

    def permute(self, params, order):
        """Relabel the experts, each of which keeps its interval.

        Copies of an expert divide its interval; the neighbours of one that is left out take half of its interval each.
        """
        order, at = np.asarray(order), _at_places(params)
        moved = super().permute(params._replace(place=np.argsort(at).astype(float)), order)
        if len(order) == len(at) == len(set(order.tolist())):
            return moved
        place = np.sort(moved.place)
        first, last = (np.searchsorted(place, place, side) for side in ("left", "right"))
        low, high = (edges[place.astype(int)] for edges in self._intervals(params))
        step, nth = (high - low) / (last - first), np.arange(len(place)) - first
        between = 0.5 * ((low + (nth + 1) * step)[:-1] + (low + nth * step)[1:])
        return self.canonical(self.with_thresholds(moved, between))

    def _intervals(self, params):
        """Return where the intervals begin and end, the outer ones not too far away."""
        inner = self.thresholds(params)
        edges = inner if len(inner) else np.zeros(1)
        return np.append(edges[0] - _REACH, inner), np.append(inner, edges[-1] + _REACH)

    def duplicate(self, params, i):
        """Return the same density with one expert more: two that divide the interval of expert i."""
        return self.permute(params, [*range(n_rows(params)), i])

    def flat(self, params, share):
        """Return parameters like these whose probabilities are the shares (n_experts,) everywhere."""
        return self.with_log_mass(params._replace(coef=np.zeros_like(params.coef)), np.log(share))

    def gathered(self, params, overlap):
        """Return the parameters with experts that share most, by overlap (n_experts, n_experts), next to each other."""
        return params._replace(place=chain(overlap))

    def log_mass(self, params):
        """Return the logarithms of the probabilities where the features are zero."""
        origin = np.zeros((params.coef.shape[1] + 1, 1))
        return self.scores(origin, params)[:, 0]

    def with_log_mass(self, params, log_mass):
        """Return the parameters with the thresholds that give these probabilities where the features are zero."""
        by_place = np.asarray(log_mass, dtype=float)[_at_places(params)]
        return self.with_thresholds(params, cumulative.log_odds_below(by_place))

    def breaks(self, params):
        """Return the x of one feature at which the index is at a threshold."""
        slope = params.coef[0, 0]
        return np.append(self.thresholds(params) / slope, 0.0) if slope else np.zeros(1)

    def unscale(self, params, shift, scale):
        """Carry the shift in the intercept and the scale in the slopes."""
        coef = params.coef / scale
        return params._replace(coef=coef, intercept=params.intercept - (coef @ shift)[0])


def chain(overlap):
    """Return places (n_experts,) where experts that share most, by overlap (n_experts, n_experts), are neighbours."""
    share = np.asarray(overlap) + np.transpose(overlap)
    vectors = np.linalg.eigh(np.diag(share.sum(axis=0)) - share)[1]  # the second one orders a chain
    return np.argsort(np.argsort(vectors[:, min(1, len(share) - 1)])).astype(float)


def _at_places(params):
    """Return the expert at each place; places count by their order alone."""
    return np.argsort(params.place, kind="stable")
