"""One estimator per gate: `MoERegressor` with the gate fixed and its settings in the constructor."""

from smoe.estimators import MoERegressor
from smoe.gates import SoftmaxGate, TopKGate

__all__ = ["SoftmaxMoERegressor", "TopKMoERegressor"]


class SoftmaxMoERegressor(MoERegressor):
    r"""Softmax-gated mixture of experts: `MoERegressor` with the gate fixed to `smoe.gates.SoftmaxGate`.

    .. math:: p(y|x) = \sum_i \frac{\exp(\beta_{1i}^\top x + \beta_{0i})}{\sum_j \exp(\beta_{1j}^\top x + \beta_{0j})}
              \, N(y;\; a_i^\top x + b_i, v_i)

    Parameters and attributes are those of `MoERegressor`, without ``gate``.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_mcycle
    >>> X, y = load_mcycle(return_X_y=True)
    >>> model = SoftmaxMoERegressor(n_experts=2, random_state=0).fit(X, y)
    >>> round(model.loglik_, 4)
    -614.5367
    """

    def __init__(
        self,
        n_experts=2,
        *,
        expert="gaussian",
        gate_features=None,
        expert_features=None,
        solver="auto",
        start="auto",
        n_init="auto",
        max_iter=None,
        tol=1e-8,
        variance_floor=None,
        random_state=None,
        n_jobs=None,
        verbose=0,
        warm_start=False,
    ):
        super().__init__(
            n_experts,
            expert=expert,
            gate_features=gate_features,
            expert_features=expert_features,
            solver=solver,
            start=start,
            n_init=n_init,
            max_iter=max_iter,
            tol=tol,
            variance_floor=variance_floor,
            random_state=random_state,
            n_jobs=n_jobs,
            verbose=verbose,
            warm_start=warm_start,
        )

    def _resolved_gate(self):
        return SoftmaxGate()


class TopKMoERegressor(MoERegressor):
    r"""Top-K sparse mixture of experts: `MoERegressor` with the gate fixed to `smoe.gates.TopKGate`.

    .. math:: p(y|x) = \sum_{i \in S(x)} \frac{\exp(s_i)}{\sum_{j \in S(x)} \exp(s_j)}\, N(y;\; a_i^\top x + b_i, v_i),
              \qquad s_i = \beta_{1i}^\top x + \beta_{0i}

    with S(x) the ``top_k`` experts of highest rank; ``top_k=1`` is a partition of the x space with one regression per
    region. The default solver is `smoe.solvers.SupportSearch`.

    Parameters
    ----------
    n_experts : int, default=4
        Number of experts.
    top_k : int, default=2
        Number of experts per row, at most ``n_experts``.
    rank_by : {"score", "slope"}, default="score"
        Rank the full score or the slope part alone, see `smoe.gates.TopKGate`. Ties go to the expert of lower index.
    balance : float, default=0.0
        Weight of a penalty on uneven use of the experts, see `smoe.gates.TopKGate`; ``loglik_`` is reported without it.
    expert, gate_features, ... :
        The other parameters are those of `MoERegressor`, without ``gate``.

    Notes
    -----
    Attributes are those of `MoERegressor`. ``converged_`` says that no line of the support search raises the
    log-likelihood and that the experts' score vanishes: a local maximum of a function with jumps. When more experts are
    fitted than there are, the density converges only if enough are selected: with k true experts, K of them
    selected, and k' > k fitted, ``top_k = K + k' - k`` is always enough; with fewer the log-likelihood stays below the
    truth's however many rows there are.

    Examples
    --------
    >>> from smoe import TopKMoERegressor
    >>> from smoe.datasets import make_moe
    >>> from smoe.gates import TopKGate
    >>> moe = make_moe(600, n_experts=2, gate=TopKGate(1), random_state=0)
    >>> model = TopKMoERegressor(2, top_k=1, random_state=0).fit(moe.data, moe.target)
    >>> model.loglik_ >= moe.loglik
    True
    """

    def __init__(
        self,
        n_experts=4,
        *,
        top_k=2,
        rank_by="score",
        balance=0.0,
        expert="gaussian",
        gate_features=None,
        expert_features=None,
        solver="auto",
        start="auto",
        n_init="auto",
        max_iter=None,
        tol=1e-8,
        variance_floor=None,
        random_state=None,
        n_jobs=None,
        verbose=0,
        warm_start=False,
    ):
        super().__init__(
            n_experts,
            expert=expert,
            gate_features=gate_features,
            expert_features=expert_features,
            solver=solver,
            start=start,
            n_init=n_init,
            max_iter=max_iter,
            tol=tol,
            variance_floor=variance_floor,
            random_state=random_state,
            n_jobs=n_jobs,
            verbose=verbose,
            warm_start=warm_start,
        )
        self.top_k = top_k
        self.rank_by = rank_by
        self.balance = balance

    def _resolved_gate(self):
        return TopKGate(self.top_k, self.rank_by, self.balance)
