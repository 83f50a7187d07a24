"""The top-K sparse softmax gate."""

import numpy as np

from smoe._kernels.posterior import softmax
from smoe._kernels.top_k import gather, keep_chosen, top_k_experts
from smoe.gates.base import LinearGate, LinearGateParams
from smoe.validation import check_number

__all__ = ["TopKGate"]


class TopKGate(LinearGate):
    r"""Softmax over the experts of highest rank, zero for the others.

    .. math:: \pi_i(x) = \frac{\exp(s_i)\, 1\{i \in S(x)\}}{\sum_{j \in S(x)} \exp(s_j)},
              \qquad s_i = \beta_{1i}^\top x + \beta_{0i}

    where S(x) are the ``top_k`` experts of highest rank, ties going to the expert of lower index. With ``top_k=1``
    every row is routed to one expert: a partition by a multiclass linear separator, one regression per region. With
    ``top_k`` equal to the number of experts this is the softmax gate.

    The likelihood is piecewise smooth, with jumps where a row changes its experts; solvers that need derivatives
    refuse it, `smoe.solvers.SupportSearch` fits it. Not identified: one vector added to every slope and one number to
    every intercept (the last expert's row is pinned to zero), and at ``top_k=1`` the scale of the scores (slopes are
    reported with length one).

    Parameters
    ----------
    top_k : int, default=2
        Number of experts per row.
    rank_by : {"score", "slope"}, default="score"
        Rank the full score, as sparse mixtures of experts do, or :math:`\beta_{1i}^\top x` alone, the intercept being
        added afterwards, as in the text of the reference.

    References
    ----------
    Nguyen, H., Akbarian, P., Yan, F. and Ho, N. (2024). Statistical perspective of top-K sparse softmax gating mixture
    of experts. ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.gates import LinearGateParams, TopKGate
    >>> gate = TopKGate(top_k=1)
    >>> params = LinearGateParams(np.array([[1.0], [0.0]]), np.array([0.0, 0.0]))
    >>> gate.scores(gate.design(np.array([[-1.0, 2.0]])), params)
    array([[-inf,   2.],
           [  0., -inf]])
    """

    smooth = False
    default_solver = "support_search"

    def __init__(self, top_k=2, rank_by="score"):
        self.top_k = top_k
        self.rank_by = rank_by

    @property
    def centred(self):
        """Ranks by slope change when x is shifted; ranks by score do not."""
        return self.rank_by == "score"

    def check(self, n_experts):
        """Raise ValueError or TypeError for settings that make no sense with this many experts."""
        check_number(self.top_k, "top_k", 1, integer=True)
        if self.top_k > n_experts:
            raise ValueError(f"top_k={self.top_k} is larger than n_experts={n_experts}.")
        if self.rank_by not in ("score", "slope"):
            raise ValueError(f"rank_by={self.rank_by!r} is not known; choose 'score' or 'slope'.")

    def chosen(self, Z, params):
        """Return the experts of each row, (top_k, m), and all scores, (n_experts, m)."""
        scores = super().scores(Z, params)
        ranks = scores if self.rank_by == "score" else scores - params.intercept[:, None]
        return top_k_experts(np.ascontiguousarray(ranks), self.top_k), scores

    def scores(self, Z, params):
        """Return the scores of the experts chosen, -inf for the others."""
        chosen, scores = self.chosen(Z, params)
        return keep_chosen(scores, chosen)

    def sparse_proba(self, Z, params):
        """Return probabilities and indices of the experts chosen, both (top_k, m)."""
        if self.top_k == len(params.intercept):
            return None
        chosen, scores = self.chosen(Z, params)
        proba = np.empty(chosen.shape)
        softmax(gather(scores, chosen), proba)
        return proba, chosen

    def canonical(self, params):
        """Pin the last expert's row to zero; at ``top_k=1`` also scale the slopes to length one."""
        params = super().canonical(params)
        length = np.linalg.norm(params.coef)
        if self.top_k > 1 or length == 0.0:
            return params
        return LinearGateParams(params.coef / length, params.intercept / length)
