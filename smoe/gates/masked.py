"""The softmax gate in which some features do not enter some experts' scores."""

from typing import Any, NamedTuple

import numpy as np

from smoe.fields import Field
from smoe.gates.base import Gate
from smoe.gates.predictors import PredictorGate

__all__ = ["MaskedGateParams", "MaskedSoftmaxGate"]


class MaskedGateParams(NamedTuple):
    """Slopes ``coef`` and ``allowed``, one where there may be a slope: (n_experts, n_features); ``intercept``."""

    coef: np.ndarray
    intercept: np.ndarray
    allowed: np.ndarray


class MaskedSoftmaxGate(PredictorGate):
    r"""Softmax whose slopes are zero where a mask says so: structural zeros.

    .. math:: \pi_i(x) = \mathrm{softmax}_i\Big(\beta_{0i} + \sum_{j:\, m_{ij} = 1} \beta_{1ij} x_j\Big)

    What is not identified follows from the mask, column by column. A feature that enters every score has the gauge of
    the softmax gate: a number added to all its slopes changes nothing, and the last expert's is pinned to zero. A
    feature that is kept out of some score has none: the experts without it are the reference, with slopes of zero, and
    the slopes of *all* experts with it are free. So the mask means the same whichever expert comes last. It follows
    that a feature kept out of one score alone restricts nothing, it names the reference; kept out of two or more, the
    odds among these experts do not depend on it. One number added to all intercepts changes nothing; the last is zero.

    Rows of the mask belong to experts that differ by them, so that experts are not exchangeable: which expert of the
    data has which row is part of the model, and fits look for it among many starts. Reported experts are ordered by
    their mean as always, and ``gate_allowed_`` says which row each of them has. Masked slopes have no standard error,
    and are no free parameters.

    Parameters
    ----------
    mask : array-like of bool, shape (n_experts, n_features), or dict of int to list of int, or None, default=None
        Which of the gate's features may enter which expert's score; a dict names the features of some experts by their
        number among the gate's, the other experts having all. None is the softmax gate.

    References
    ----------
    Jordan, M. I. and Jacobs, R. A. (1994). Hierarchical mixtures of experts and the EM algorithm. Neural Computation
    6, 181-214, for the gate without a mask.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe import MoERegressor
    >>> from smoe.datasets import make_moe
    >>> from smoe.gates import MaskedSoftmaxGate
    >>> moe = make_moe(600, n_features=2, n_experts=2, random_state=3)
    >>> model = MoERegressor(2, gate=MaskedSoftmaxGate({0: [1]}), random_state=0).fit(moe.data, moe.target)
    >>> sorted(model.gate_allowed_.tolist())
    [[0.0, 1.0], [1.0, 1.0]]
    >>> model.n_parameters_, bool(np.all(model.gate_coef_[model.gate_allowed_ == 0] == 0.0))  # 8 and 3 of the gate
    (11, True)
    """

    fields = {**PredictorGate.fields, "allowed": Field(("expert", "feature"), fixed=True)}
    log_linear = True

    def __init__(self, mask: Any = None) -> None:
        self.mask = mask

    @property
    def exchangeable(self):
        """Whether all experts have the same features."""
        return self.mask is None

    def check(self, n_experts):
        """Raise ValueError or TypeError for a mask that does not fit this many experts."""
        self._allowed(n_experts)

    def _allowed(self, n_experts, n_features=None):
        """Return the mask as an array; of a dict, and of none, with as many columns as there are features."""
        if self.mask is None or isinstance(self.mask, dict):
            return self._listed(n_experts, n_features)
        mask = np.asarray(self.mask)
        if mask.dtype != bool or mask.ndim != 2:
            raise TypeError(f"mask must be a boolean array (n_experts, n_features) or a dict, got {self.mask!r}.")
        wanted = n_experts, mask.shape[1] if n_features is None else n_features
        if mask.shape != wanted:
            raise ValueError(
                f"mask has shape {mask.shape}, but there are {wanted[0]} experts and the gate has {wanted[1]} features "
                "that are not constant or a sum of others: give one row for each expert, one column for each feature."
            )
        return mask

    def _listed(self, n_experts, n_features):
        out = np.ones((n_experts, n_features or 0), dtype=bool)
        for expert, features in (self.mask or {}).items():
            features = np.atleast_1d(np.asarray(features, dtype=float if np.size(features) == 0 else None))
            whole = features.size == 0 or features.dtype.kind in "iu"
            if not isinstance(expert, int | np.integer) or not whole:
                raise TypeError(f"mask must name experts and features by their numbers, got {expert!r}: {features!r}.")
            if not 0 <= expert < n_experts:
                raise ValueError(f"mask names expert {expert}, but there are {n_experts}, counted from zero.")
            high = np.inf if n_features is None else n_features
            if np.any((features < 0) | (features >= high)):
                raise ValueError(
                    f"mask gives expert {expert} the features {features.tolist()}, but the gate has {n_features} that "
                    "are not constant or a sum of others, counted from zero."
                )
            if n_features is not None:
                out[expert] = np.isin(np.arange(n_features), features)
        return out

    def init_params(self, n_experts, n_features):
        """Return zero slopes and intercepts, and the mask."""
        zeros = np.zeros((n_experts, n_features)), np.zeros(n_experts)
        return MaskedGateParams(*zeros, self._allowed(n_experts, n_features).astype(float))

    def link(self, u, params):
        """Return the predictors."""
        return u

    def slopes(self, u, params):
        """Return one on the diagonal."""
        return np.repeat(np.eye(len(u))[:, :, None], u.shape[1], axis=2)

    def bends(self, u, params, R):
        """Return zeros."""
        return np.zeros((len(u) * (len(u) + 1) // 2, u.shape[1]))

    # What is not identified ------------------------------------------------------------------------------------------

    def free(self, params):
        """Slopes that the mask allows, of features in every score and of intercepts not the last expert's."""
        free = Gate.free(self, params)
        free.coef[:] = params.allowed > 0
        free.coef[-1, self._everywhere(params)] = False
        free.intercept[-1] = False
        return free

    def _everywhere(self, params):
        return (params.allowed > 0).all(axis=0)

    def canonical(self, params):
        """Subtract the last expert's slopes of features in every score, and its intercept."""
        coef = params.coef - np.where(self._everywhere(params), params.coef[-1], 0.0)
        return params._replace(coef=coef * params.allowed, intercept=params.intercept - params.intercept[-1])

    def unscale(self, params, shift, scale):
        """Carry the shift in the intercepts and the scale in the slopes; the last intercept stays zero."""
        moved = super().unscale(params, shift, scale)
        return moved._replace(intercept=moved.intercept - moved.intercept[-1])

    def flat(self, params, share):
        """Return parameters with this mask whose probabilities are the shares (n_experts,) everywhere."""
        return params._replace(coef=np.zeros_like(params.coef), intercept=np.log(share))

    def beside(self, params, lost, host):
        """Return the parameters with the lost expert's row of the mask beside a host whose share it divides."""
        out = super().beside(params, lost, host)
        allowed = np.array(out.allowed)
        allowed[-1] = params.allowed[lost]
        return out._replace(coef=out.coef * allowed, allowed=allowed)

    def merge(self, params, groups, load):
        """Raise ValueError: what a merged expert's mask would be is not defined."""
        raise ValueError(
            "experts of a MaskedSoftmaxGate cannot be merged, as the mask of what they become is not defined; fit a "
            "gate with fewer experts."
        )
