"""A pull of the gate towards equal probabilities, and of classes towards their shares."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from smoe.params import flatten, n_experts_of, unflatten
from smoe.penalties.base import Penalty
from smoe.validation import check_floats, check_number

__all__ = ["Pull"]

_TINY = 1e-300


class PullSums(NamedTuple):
    """Sums over rows of log probabilities, their derivatives and minus their second ones in flat order."""

    value: float
    slope: np.ndarray
    bend: np.ndarray


class Pull(Penalty):
    r"""The log probabilities of all experts on all rows, as if few rows more belonged to each expert alike.

    .. math:: P = -\frac{\delta}{k} \sum_n w_n \sum_i \log \pi_i(x_n), \qquad
              \delta = \text{strength} \cdot \frac{\text{terms of the gate}}{n}

    It goes to infinity wherever a probability goes to zero, so a gate that separates the data has finite coefficients;
    it is convex for scores that are linear, and does not depend on the units or the rotation of X, nor on the numbering
    of the experts. The gate must be dense: a sparse one has probabilities of zero.

    With ``classes`` the experts of a classifier are pulled, too, as if few rows more, divided among them, had the
    classes in these shares q:

    .. math:: P_e = -\frac{\delta_e}{k} \sum_n w_n \sum_i \sum_c q_c \log P_i(c | x_n), \qquad
              \delta_e = \text{strength} \cdot \frac{\text{terms of a predictor}}{n}

    Then the gate may be sparse; a sparse one is not pulled.

    Parameters
    ----------
    strength : float, default=1.0
        One is as much as one row for each term of the gate's scores, and of an expert's predictors.
    classes : array-like of shape (n_classes,) or None, default=None
        Shares towards which experts of classes are pulled; None for the gate alone.

    References
    ----------
    Rigon, T. and Aliverti, E. (2023). Conjugate priors and bias reduction for logistic regression models. Statistics
    and Probability Letters 202, 109901, for two classes.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_engel
    >>> from smoe.penalties import Pull
    >>> X, y = load_engel(return_X_y=True)
    >>> model = SoftmaxMoERegressor(3, penalty=Pull(), n_init=5, random_state=0).fit(X, y)
    >>> bool(abs(model.gate_coef_).max() < 1.0)
    True
    """

    equivariant = True

    def __init__(self, strength: float = 1.0, classes: ArrayLike | None = None) -> None:
        self.strength = strength
        self.classes = classes

    @property
    def words(self):
        """What it is called."""
        return "pull of the gate" if self.classes is None else "pull of gate and experts"

    def check(self, gate):
        check_number(self.strength, "Pull: strength", 0.0)
        if self.classes is None and not gate.smooth:
            raise ValueError(f"penalty: Pull needs a dense gate, {type(gate).__name__} has probabilities of zero.")
        if self.classes is not None:
            shares = check_floats(self.classes, "Pull: classes")
            if shares.ndim != 1 or not np.all(shares >= 0) or not np.isclose(shares.sum(), 1.0):
                raise ValueError(f"Pull: classes must be shares that add up to one, got {self.classes!r}.")

    def sums(self, model, block, params, curved):
        parts = self._of_gate(model, block, params), self._of_experts(model, block, params)
        sizes = [flatten(part).size for part in params]
        bend = np.zeros((sum(sizes), sum(sizes)))
        for part, span in zip(parts, (slice(None, sizes[0]), slice(sizes[0], None)), strict=True):
            bend[span, span] = part.bend
        return PullSums(sum(part.value for part in parts), np.concatenate([part.slope for part in parts]), bend)

    def _of_gate(self, model, block, params):
        gate, Z, weight = model.gate, block.gate_Z, block.weight
        if not gate.smooth:
            size = flatten(params.gate).size
            return PullSums(0.0, np.zeros(size), np.zeros((size, size)))
        proba = model.gate_proba(block, params)
        equal = np.full(proba.shape, 1.0 / len(proba))
        value = float(weight @ np.log(np.maximum(proba, _TINY)).mean(axis=0)) * len(Z)
        slope = gate.pullback(Z, params.gate, len(Z) * weight * (equal - proba))
        return PullSums(value, flatten(slope), gate.log_information(Z, params.gate, proba, equal, len(Z) * weight))

    def _of_experts(self, model, block, params):
        if self.classes is None:
            size = flatten(params.expert).size
            return PullSums(0.0, np.zeros(size), np.zeros((size, size)))
        expert, each = model.expert, len(block.expert_Z) / n_experts_of(params)
        weight = each * block.spread(block.weight / block.sizes)
        value, stats = expert.expected_stats(block.rows, params.expert, np.asarray(self.classes, dtype=float), weight)
        slope = flatten(expert.score(stats, params.expert))
        return PullSums(value, slope, expert.m_information(stats, params.expert))

    def value(self, model, params, sums, n):
        return -self.strength / n * sums.value

    def gradient(self, model, params, sums, n):
        return unflatten(-self.strength / n * sums.slope, params)

    def curvature(self, model, params, sums, n):
        return self.strength / n * sums.bend
