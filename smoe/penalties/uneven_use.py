"""Uneven use of the experts."""

from typing import NamedTuple

import numpy as np

from smoe.params import MoEParams, flatten, unflatten
from smoe.penalties.base import Penalty, zeros_like
from smoe.validation import check_number

__all__ = ["UnevenUse"]


class UseSums(NamedTuple):
    """Each expert's importance, the sum of its probabilities, and its first and second derivatives by the gate."""

    importance: np.ndarray  # (n_experts,)
    slope: np.ndarray  # (n_experts, n_gate_entries)
    bend: np.ndarray | None  # (n_experts, n_gate_entries, n_gate_entries)


class UnevenUse(Penalty):
    r"""The importance loss of sparse mixtures of experts.

    .. math:: P = \lambda\, n\, CV^2

    with CV the coefficient of variation of the experts' importance, the sum of their probabilities over the rows.

    Parameters
    ----------
    weight : float, default=1.0
        The factor :math:`\lambda`.

    References
    ----------
    Shazeer, N. et al. (2017). Outrageously large neural networks: the sparsely-gated mixture-of-experts layer. ICLR.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_engel
    >>> from smoe.penalties import UnevenUse
    >>> X, y = load_engel(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, penalty=UnevenUse(0.1), n_init=5, random_state=0).fit(X, y)
    >>> model.converged_
    True
    """

    words = "penalty on uneven use"
    equivariant = True
    moves_estimates = True

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def check(self, gate):
        check_number(self.weight, "UnevenUse: weight", 0.0)

    def sums(self, model, block, params, curved):
        gate, Z = model.gate, block.gate_Z
        proba = model.gate_proba(block, params)
        toward = block.weight * proba[:, None] * (np.eye(len(proba))[:, :, None] - proba)
        pulled = gate.pullback(Z, params.gate, toward)
        slope = np.array([flatten(type(pulled)(*(field[j] for field in pulled))) for j in range(len(proba))])
        bend = np.array([_bend(gate, Z, j, proba, block.weight) for j in range(len(proba))]) if curved else None
        return UseSums(proba @ block.weight, slope, bend)

    def value(self, model, params, sums, n):
        share = sums.importance / n
        return self.weight * n * float(len(share) * share @ share - 1.0)

    def _slopes(self, sums, n):
        """Derivatives of the penalty by the importance."""
        return 2.0 * self.weight * len(sums.importance) * sums.importance / n

    def gradient(self, model, params, sums, n):
        return MoEParams(unflatten(self._slopes(sums, n) @ sums.slope, params.gate), zeros_like(params).expert)

    def curvature(self, model, params, sums, n):
        size, n_gate = flatten(params).size, sums.slope.shape[1]
        out, factor = np.zeros((size, size)), 2.0 * self.weight * len(sums.importance) / n
        out[:n_gate, :n_gate] = factor * sums.slope.T @ sums.slope
        if sums.bend is not None:
            out[:n_gate, :n_gate] += np.tensordot(self._slopes(sums, n), sums.bend, 1)
        return out


def _bend(gate, Z, j, proba, weight):
    """The second derivative of expert j's importance by the parameters of scores that are linear."""
    first, second = np.triu_indices(len(proba), 1)
    mine = np.arange(len(proba)) == j
    own = (mine[first, None] - proba[first]) * (mine[second, None] - proba[second])
    return gate.assemble(weight * proba[j] * (own + proba[first] * proba[second]), Z, len(proba))
