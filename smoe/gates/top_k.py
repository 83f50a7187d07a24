"""The top-K sparse softmax gate."""

import numpy as np

from smoe._kernels.posterior import softmax
from smoe._kernels.relaxed_top_k import add_relaxed_covariance, pull_relaxed, relax
from smoe._kernels.top_k import gather, keep_chosen, top_k_experts
from smoe.gates.base import Gate, LinearGate, LinearGateParams
from smoe.gates.sparse import SparseGate
from smoe.gates.top_k_moves import best_of_lines, kept_moves, midway, sharpened, tie_winners
from smoe.penalties.uneven_use import UnevenUse
from smoe.validation import check_choice, check_number

__all__ = ["RelaxedTopKGate", "TopKGate"]


class TopKGate(SparseGate):
    r"""Softmax over the experts of highest rank, zero for the others.

    .. math:: \pi_i(x) = \frac{\exp(s_i)\, 1\{i \in S(x)\}}{\sum_{j \in S(x)} \exp(s_j)},
              \qquad s_i = \beta_{1i}^\top x + \beta_{0i}

    where S(x) are the ``top_k`` experts of highest rank. Ties go to the larger score, then to the lower index: ranks by
    slope tie wherever all features are zero, and numbering the experts anew must not change the density there. With
    ``top_k=1`` every row is routed to one expert: a partition by a multiclass linear separator, one regression per
    region. With ``top_k`` equal to the number of experts this is the softmax gate.

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
    balance : float, default=0.0
        Weight of a penalty on uneven use of the experts (the importance loss of Shazeer et al.): fits then maximise
        the log-likelihood minus ``balance`` times n times the squared coefficient of variation of the experts' summed
        probabilities. For users who see experts collapse; log-likelihoods are reported without it.

    References
    ----------
    Nguyen, H., Akbarian, P., Yan, F. and Ho, N. (2024). Statistical perspective of top-K sparse softmax gating mixture
    of experts. ICLR.

    Shazeer, N. et al. (2017). Outrageously large neural networks: the sparsely-gated mixture-of-experts layer. ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.features import design
    >>> from smoe.gates import LinearGateParams, TopKGate
    >>> gate = TopKGate(top_k=1)
    >>> params = LinearGateParams(np.array([[1.0], [0.0]]), np.array([0.0, 0.0]))
    >>> gate.scores(design(np.array([[-1.0, 2.0]])), params)
    array([[-inf,   2.],
           [  0., -inf]])
    """

    def __init__(self, top_k: int = 2, rank_by: str = "score", balance: float = 0.0) -> None:
        self.top_k = top_k
        self.rank_by = rank_by
        self.balance = balance

    def penalties(self):
        """Return the penalty on uneven use, if there is one."""
        return (UnevenUse(self.balance),) if self.balance else ()

    @property
    def centred(self):
        """Ranks by slope change when x is shifted; ranks by score do not."""
        return self.rank_by == "score"

    def check(self, n_experts):
        """Raise ValueError or TypeError for settings that make no sense with this many experts."""
        check_number(self.top_k, "top_k", 1, integer=True)
        if self.top_k > n_experts:
            raise ValueError(f"top_k={self.top_k} is larger than n_experts={n_experts}.")
        check_choice(self.rank_by, "rank_by", ("score", "slope"))
        check_number(self.balance, "balance", 0.0)

    def n_selected(self, n_experts):
        """Return top_k."""
        return min(self.top_k, n_experts)

    def ranking(self, scores, params):
        """Return what experts are ranked by, (n_experts, m)."""
        return scores if self.rank_by == "score" else scores - params.intercept[:, None]

    def chosen(self, Z, params):
        """Return the experts of each row, (top_k, m), and all scores, (n_experts, m)."""
        scores = super().scores(Z, params)
        ranks, top_k = self.ranking(scores, params), self.n_selected(len(scores))
        if self.rank_by == "score":
            return top_k_experts(ranks, top_k), scores
        first = self.tie_order(params)
        return first[top_k_experts(ranks[first], top_k)], scores

    def tie_order(self, params):
        """Return the experts in the order in which equal ranks are resolved, (n_experts,).

        Where slopes tie, the larger score is the larger intercept.
        """
        n_experts = len(params.intercept)
        return np.arange(n_experts) if self.rank_by == "score" else np.argsort(-params.intercept, kind="stable")

    def scores(self, Z, params):
        """Return the scores of the experts chosen, -inf for the others."""
        chosen, scores = self.chosen(Z, params)
        return keep_chosen(scores, chosen)

    def sparse_proba(self, Z, params):
        """Return probabilities and indices of the experts chosen, both (top_k, m)."""
        if self.top_k >= len(params.intercept):
            return None
        chosen, scores = self.chosen(Z, params)
        proba = np.empty(chosen.shape)
        softmax(gather(scores, chosen), proba)
        return proba, chosen

    def idle(self, params, low, high):
        """Return the same with one expert more that no row selects; not possible if several are ranked by slope."""
        out = super().idle(params, low, high)
        if self.rank_by == "slope":  # a mean is not the largest of several
            out.coef[-1], out.intercept[-1] = params.coef.mean(axis=0), params.intercept[0]
        return out

    def kept_moves(self, params, blocks):
        """Return an orthonormal basis of moves of the free entries that leave the active boundaries where they are."""
        return kept_moves(self, params, blocks)

    def sharpened(self, Z, params):
        """Return the same choices of experts at a scale of the scores at which a relaxed gate of width one is wide."""
        return sharpened(self, Z, params)

    def midway(self, params, blocks):
        """Return the same partition with boundaries midway between the rows next to them."""
        return midway(self, params, blocks)

    def tie_winners(self, params):
        """Return parameters in which one expert after the other wins ties, where nothing but that depends on them."""
        return tie_winners(self, params)

    def search_lines(self, block, log_density, params, n_lines, rng):
        """Return parameters of higher exact log-likelihood along random lines, or the same."""
        return best_of_lines(self, block, log_density, params, n_lines, rng)

    def relaxed(self, width):
        """Return the smooth gate that becomes this one as the width goes to zero."""
        return RelaxedTopKGate(self.top_k, self.rank_by, self.balance, width)

    def held(self):
        """Return this gate with no free entry: the likelihood is smooth in what is left."""
        return HeldTopKGate(self.top_k, self.rank_by, self.balance)

    def canonical(self, params):
        """Pin the last expert's row to zero; at ``top_k=1`` also scale the slopes to length one."""
        params = super().canonical(params)
        length = np.linalg.norm(params.coef)
        if self.top_k > 1 or length == 0.0:
            return params
        return LinearGateParams(params.coef / length, params.intercept / length)


class RelaxedTopKGate(TopKGate):
    r"""A smooth stand-in for the top-K gate, from which the support search comes down.

    Weights are proportional to :math:`\exp(s_i)\,\mathrm{sigmoid}((r_i - t)/w)` with r the ranks and t midway between
    the ranks of the last expert in and the first one out: the dense softmax for a wide w, top-K for w towards zero, and
    continuous in the parameters in between. Needs ``top_k`` smaller than the number of experts.

    Parameters
    ----------
    top_k, rank_by, balance
        Those of `TopKGate`.
    width : float, default=1.0
        w, in units of the scores.
    """

    smooth = True
    row_pullback = Gate.row_pullback

    def __init__(self, top_k: int = 2, rank_by: str = "score", balance: float = 0.0, width: float = 1.0) -> None:
        super().__init__(top_k, rank_by, balance)
        self.width = width

    def _relaxed(self, Z, params):
        """Return the relaxed scores, their derivative by the ranking, and the experts' shares of the threshold."""
        scores = LinearGate.scores(self, Z, params)
        return relax(scores, self.ranking(scores, params), self.top_k, float(self.width))

    def scores(self, Z, params):
        """Return the relaxed scores, finite everywhere."""
        return self._relaxed(Z, params)[0]

    def pullback(self, Z, params, R):
        """Return the derivative of the sum of R * scores."""
        _, bend, share = self._relaxed(Z, params)
        stacked = np.ascontiguousarray(R).reshape(-1, *R.shape[-2:])
        sums = pull_relaxed(stacked, bend, share, Z).reshape(*R.shape[:-1], len(Z))
        # Ranks by slope do not move with the intercepts.
        return LinearGateParams(sums[..., :-1], sums[..., -1] if self.rank_by == "score" else R.sum(axis=-1))

    def information(self, Z, params, proba, weight, resp=None):
        """Return the information as if ranks moved with the intercepts, which is exact for ranks by score."""
        _, bend, share = self._relaxed(Z, params)
        k, m = proba.shape
        weights = np.zeros((k * (k - 1) // 2, m))
        add_relaxed_covariance(1.0, proba, bend, share, weight, weights)
        if resp is not None:
            add_relaxed_covariance(-1.0, resp, bend, share, weight, weights)
        return self.assemble(weights, Z, k)


class HeldTopKGate(TopKGate):
    """A top-K gate none of whose entries is free."""

    smooth = True

    def free(self, params):
        return LinearGateParams(*(np.zeros(np.shape(field), dtype=bool) for field in params))
