"""A pull of the gate towards equal probabilities."""

from typing import NamedTuple

import numpy as np

from smoe.params import MoEParams, flatten
from smoe.penalties.base import Penalty, zeros_like
from smoe.validation import check_number

__all__ = ["Pull"]

_TINY = 1e-300


class PullSums(NamedTuple):
    """Sums over rows of the mean log probability, its derivative and minus its second one."""

    value: float
    slope: NamedTuple
    bend: np.ndarray


class Pull(Penalty):
    r"""The log probabilities of all experts on all rows, as if few rows more belonged to each expert alike.

    .. math:: P = -\frac{\delta}{k} \sum_n w_n \sum_i \log \pi_i(x_n), \qquad
              \delta = \text{strength} \cdot \frac{\text{terms of the gate}}{n}

    It goes to infinity wherever a probability goes to zero, so a gate that separates the data has finite coefficients;
    it is convex for scores that are linear, and does not depend on the units or the rotation of X, nor on the numbering
    of the experts. The gate must be dense: a sparse one has probabilities of zero.

    Parameters
    ----------
    strength : float, default=1.0
        One is as much as one row for each term of the gate's scores.

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
    >>> model = SoftmaxMoERegressor(3, penalty=Pull(), random_state=0).fit(X, y)
    >>> bool(abs(model.gate_coef_).max() < 1.0)
    True
    """

    words = "pull of the gate"

    def __init__(self, strength=1.0):
        self.strength = strength

    def check(self, gate):
        check_number(self.strength, "Pull: strength", 0.0)
        if not gate.smooth:
            raise ValueError(f"penalty: Pull needs a dense gate, {type(gate).__name__} has probabilities of zero.")

    def sums(self, model, block, params, curved):
        gate, Z, weight = model.gate, block.gate_Z, block.weight
        proba = model.gate_proba(block, params)
        equal = np.full(proba.shape, 1.0 / len(proba))
        value = float(weight @ np.log(np.maximum(proba, _TINY)).mean(axis=0)) * len(Z)
        slope = gate.pullback(Z, params.gate, len(Z) * weight * (equal - proba))
        bend = gate.log_information(Z, params.gate, proba, equal, len(Z) * weight)
        return PullSums(value, slope, bend)

    def value(self, model, params, sums, n):
        return -self.strength / n * sums.value

    def gradient(self, model, params, sums, n):
        scaled = type(sums.slope)(*(-self.strength / n * field for field in sums.slope))
        return MoEParams(scaled, zeros_like(params).expert)

    def curvature(self, model, params, sums, n):
        size, n_gate = flatten(params).size, flatten(params.gate).size
        out = np.zeros((size, size))
        out[:n_gate, :n_gate] = self.strength / n * sums.bend
        return out
