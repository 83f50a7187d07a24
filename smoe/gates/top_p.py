"""The top-p gate: as few experts as hold a given share of the softmax mass."""

import numpy as np
from scipy.special import expit, log_expit, softmax

from smoe._kernels.top_p import keep_mass, search_mass_lines
from smoe.gates.base import LinearGate, LinearGateParams
from smoe.gates.predictors import PredictorGate
from smoe.gates.sparse import SparseGate
from smoe.gates.top_k import TopKGate
from smoe.gates.top_k_moves import drawn_lines
from smoe.validation import check_number

__all__ = ["TopPGate"]

_REACH = 30.0  # how far a line goes, in root mean square change of the score
_SMALLEST = 1e-6
_ROUNDING = 1e-12


class TopPGate(SparseGate):
    r"""Softmax over the likeliest experts that hold a share p of the mass, zero for the others.

    .. math:: \pi_i(x) = \frac{e^{s_i}\, 1\{i \in S(x)\}}{\sum_{j \in S(x)} e^{s_j}}, \qquad
              s_i = \beta_{1i}^\top x + \beta_{0i}

    where S(x) is the smallest set of experts of largest softmax probability whose sum is at least p; ties go to the
    lower index. Rows that are hard to tell get more experts, clear ones a single one: ``(model.gate_proba(X) >
    0).sum(axis=1)`` counts them. With p = 1 this is the softmax gate, with p of at most 1/k, for k experts, the top-1
    gate.

    The likelihood jumps where a row changes its experts; solvers that need derivatives refuse it,
    `smoe.solvers.SupportSearch` fits it. Not identified: one vector added to every slope and one number to every
    intercept (the last expert's row is pinned to zero), and, where only one expert is ever selected, the scale of the
    scores (slopes are then reported with length one). Otherwise the scale is identified, by where the sets change. p is
    a setting: the likelihood jumps in it as well, compare fits by BIC or on rows held out. Boundaries are where masses
    are equal to p, so that they hold the gate as a whole: it has no standard errors unless all rows have all experts.

    Parameters
    ----------
    p : float, default=0.8
        Above zero and at most one.

    References
    ----------
    Huang, Q. et al. (2024). Harder tasks need more experts: dynamic routing in MoE models. ACL, arXiv:2403.07652.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.features import design
    >>> from smoe.gates import LinearGateParams, TopPGate
    >>> params = LinearGateParams(np.array([[1.0], [0.0]]), np.zeros(2))
    >>> scores = TopPGate(0.8).scores(design(np.array([[-2.0, 1.0, 2.0]])), params)
    >>> (np.exp(scores) / np.exp(scores).sum(axis=0)).round(3)  # of 0.88, 0.73 and 0.88 for the likelier one
    array([[0.   , 0.731, 1.   ],
           [1.   , 0.269, 0.   ]])
    """

    _idle_gap = 40.0  # the mass of an idle expert counts, too

    def __init__(self, p: float = 0.8) -> None:
        self.p = p

    def check(self, n_experts):
        """Raise ValueError or TypeError unless p is above zero and at most one."""
        check_number(self.p, "p", _SMALLEST, high=1.0)

    def n_selected(self, n_experts):
        """Return the largest number of experts of a row: one if p is so small, else all of them."""
        return 1 if self._top_1(n_experts) else n_experts

    def selects_all(self, n_experts):
        """Whether every row has all experts."""
        return n_experts == 1 or self.p >= 1.0

    def _top_1(self, n_experts):
        return self.p * n_experts <= 1.0

    def scores(self, Z, params):
        """Return the scores of the experts that are in, -inf for the others."""
        scores = super().scores(Z, params)
        return scores if self.selects_all(len(scores)) else keep_mass(scores, float(self.p))

    def canonical(self, params):
        """Pin the last expert's row to zero; where one expert is selected also scale the slopes to length one."""
        return (TopKGate(1) if self._top_1(len(params.intercept)) else LinearGate()).canonical(params)

    # What the support search asks for ---------------------------------------------------------------------------------

    def search_lines(self, block, log_density, params, n_lines, rng):
        """Return parameters of higher exact log-likelihood along random lines, or the same."""
        lines = np.column_stack(params)
        reach = _REACH * (np.std(lines @ block.gate_Z) if self._top_1(len(lines)) else 1.0)
        settings = float(self.p), float(reach), *drawn_lines(lines.shape, n_lines, rng)
        search_mass_lines(lines, block.gate_Z, np.ascontiguousarray(log_density), block.weight, *settings)
        return LinearGateParams(lines[:, :-1].copy(), lines[:, -1].copy())

    def sharpened(self, Z, params):
        """Return the same choices at another scale, if that changes nothing."""
        return TopKGate(1).sharpened(Z, params) if self._top_1(len(params.intercept)) else params

    def midway(self, params, blocks):
        """Return the same choices of experts with boundaries midway between the rows next to them."""
        return TopKGate(1).midway(params, blocks) if self._top_1(len(params.intercept)) else params

    def kept_moves(self, params, blocks):
        """Return an orthonormal basis of moves of the free entries that leave the active boundaries where they are."""
        n_free = params.coef[:-1].size + len(params.intercept) - 1
        dropped = blocks.sum(lambda block, at: block.weight @ np.isneginf(self.scores(block.gate_Z, at)).any(0), params)
        return np.zeros((n_free, 0)) if dropped > 0 else np.eye(n_free)

    def relaxed(self, width):
        """Return the smooth gate that becomes this one as the width goes to zero."""
        return RelaxedTopPGate(self.p, width)

    def held(self):
        """Return this gate with no free entry: the likelihood is smooth in what is left."""
        return HeldTopPGate(self.p)


class RelaxedTopPGate(PredictorGate):
    r"""A smooth stand-in for the top-p gate, from which the support search comes down.

    Weights are proportional to :math:`e^{s_i} \sigma((p - C_i)/w)`, with :math:`C_i = \sum_{j \ne i} p_j\,
    \sigma((s_j - s_i)/w)` the softmax mass before expert i: softmax for a wide w, top-p for w towards zero.

    Parameters
    ----------
    p : float
    width : float
        w.
    """

    def __init__(self, p=0.8, width=1.0):
        self.p = p
        self.width = width

    def _before(self, u):
        """Return the softmax, the sigmoids of (j, i), zero for j = i, and the masses before each expert."""
        proba = softmax(u, axis=0)
        ahead = expit((u[:, None] - u) / self.width)
        ahead[np.arange(len(u)), np.arange(len(u))] = 0.0
        return proba, ahead, (proba[:, None] * ahead).sum(axis=0)

    def link(self, u, params):
        """Return the relaxed scores."""
        return u + log_expit((self.p - self._before(u)[2]) / self.width)

    def slopes(self, u, params):
        """Return the derivative of each score by each predictor, (n_experts, n_experts, m)."""
        proba, ahead, mass = self._before(u)
        steep = proba[:, None] * ahead * (1.0 - ahead) / self.width
        change, own = proba[:, None] * (ahead - mass) + steep, np.arange(len(u))
        change[own, own] -= steep.sum(axis=0)
        out = change * (-expit((mass - self.p) / self.width) / self.width)
        out[own, own] += 1.0
        return out


class HeldTopPGate(TopPGate):
    """A top-p gate none of whose entries is free."""

    smooth = True

    def free(self, params):
        return LinearGateParams(*(np.zeros(np.shape(field), dtype=bool) for field in params))
