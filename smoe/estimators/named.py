"""One estimator per gate: `MoERegressor` with the gate fixed and its settings in the constructor."""

import inspect
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np

from smoe.estimators.regressor import MoERegressor
from smoe.gates import ActivationDenseToSparseGate, DenseToSparseGate, Gate, SoftmaxGate, TopKGate
from smoe.solvers import Annealing

__all__ = ["DenseToSparseMoERegressor", "SoftmaxMoERegressor", "TopKMoERegressor"]

# Where the settings that all have, and the attributes, begin and end in the docstring of `MoERegressor`.
_SHARED = {"parameters": ("expert : ", "\nAttributes\n"), "attributes": ("gate_coef_ : ", "\nNotes\n")}


def _documented(cls):
    """Put the descriptions that `MoERegressor` has where the docstring says {parameters} and {attributes}."""
    if cls.__doc__ is None:  # python -OO
        return cls
    doc, base = inspect.cleandoc(cls.__doc__), inspect.getdoc(MoERegressor)
    for section, ends in _SHARED.items():
        first, last = map(base.index, ends)
        doc = doc.replace(f"{{{section}}}", base[first:last].rstrip())
    cls.__doc__ = doc
    return cls


@dataclass(eq=False, repr=False)
@_documented
class SoftmaxMoERegressor(MoERegressor):
    r"""Softmax-gated mixture of experts: `MoERegressor` with the gate fixed to `smoe.gates.SoftmaxGate`.

    .. math:: p(y|x) = \sum_i \frac{\exp(\beta_{1i}^\top x + \beta_{0i})}{\sum_j \exp(\beta_{1j}^\top x + \beta_{0j})}
              \, N(y;\; a_i^\top x + b_i, v_i)

    Parameters
    ----------
    n_experts : int, default=2
        Number of experts.
    {parameters}

    Attributes
    ----------
    {attributes}

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_mcycle
    >>> X, y = load_mcycle(return_X_y=True)
    >>> model = SoftmaxMoERegressor(n_experts=2, random_state=0).fit(X, y)
    >>> round(model.loglik_, 4)
    -614.5367
    """

    gate: ClassVar[Gate] = SoftmaxGate()  # no setting any more


@dataclass(eq=False, repr=False)
@_documented
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
    {parameters}

    Attributes
    ----------
    {attributes}

    Notes
    -----
    ``converged_`` says that no line of the support search raises the
    log-likelihood and that the experts' score vanishes: a local maximum of a function with jumps. When more experts are
    fitted than there are, the density converges only if enough are selected: with k true experts, K of them selected,
    and k' > k fitted, the theory asks for ``top_k = K + k' - k``; with fewer the log-likelihood stays below the truth's
    however many rows there are. Even then a truth lies in the model only if the expert that is fitted twice is
    selected on every row: the additional one has some weight wherever it is selected. Measured with 4 experts, 3 of
    them selected, fitted to 3 experts with 2 selected (4,000 rows, 1 feature), the truth's log-likelihood was reached
    in 9 of 10 random truths.

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

    n_experts: int = 4
    _: KW_ONLY
    top_k: int = 2
    rank_by: str = "score"
    balance: float = 0.0
    gate: ClassVar[Gate]

    @property
    def gate(self) -> Gate:  # type: ignore[override]
        """The gate with these settings."""
        return TopKGate(self.top_k, self.rank_by, self.balance)


@dataclass(eq=False, repr=False)
@_documented
class DenseToSparseMoERegressor(MoERegressor):
    r"""Dense-to-sparse mixture of experts: a softmax gate with a temperature, and with an activation if wanted.

    .. math:: \pi_i(x) = \mathrm{softmax}_i\!\left(\frac{g(\beta_{1i}^\top x) + \beta_{0i}}{\tau}\right)

    The gate is `smoe.gates.DenseToSparseGate` without an activation, `smoe.gates.ActivationDenseToSparseGate` with one;
    their documentation says what is not identified.

    Parameters
    ----------
    n_experts : int, default=2
        Number of experts.
    temperature : float or "learn", default="learn"
        A positive number, or "learn". Without an activation, or with a positively homogeneous one, the temperature is
        not estimable: it is reported as one, ``status_`` says so, and ``gate_effective_coef_`` and
        ``gate_effective_intercept_`` are what to read.
    activation : None, str or pair of callables, default=None
        A name from ``smoe.gates.ACTIVATIONS`` or (function, derivative). With an activation the gate is not equivariant
        to shifting X.
    anneal : None, (float, int) or Annealing, default=None
        Come down from a high temperature: (first temperature, number of stages), see `smoe.solvers.Annealing`.
    {parameters}

    Attributes
    ----------
    temperature_ : float
        The temperature: fixed, learned, or the representative.
    gate_effective_coef_ : ndarray of shape (n_experts, n_gate_features)
        Slopes over temperature.
    gate_effective_intercept_ : ndarray of shape (n_experts,)
        Intercepts over temperature.
    {attributes}

    Examples
    --------
    >>> from smoe import DenseToSparseMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = DenseToSparseMoERegressor(2, temperature=0.5, random_state=0).fit(X, y)
    >>> model.temperature_, round(model.loglik_, 4)
    (0.5, -96.0516)
    """

    _: KW_ONLY
    temperature: float | str = "learn"
    activation: None | str | tuple = None
    anneal: None | tuple | Annealing = None
    gate: ClassVar[Gate]

    @property
    def gate(self) -> Gate:  # type: ignore[override]
        """The gate with these settings."""
        if self.activation is None:
            return DenseToSparseGate(self.temperature)
        return ActivationDenseToSparseGate(self.activation, self.temperature)

    def _resolved_solver(self, model):
        solver = super()._resolved_solver(model)
        if self.anneal is None:
            return solver
        anneal = self.anneal
        if isinstance(anneal, tuple | list) and len(anneal) == 2:
            anneal = Annealing(*anneal, solver=solver)
        if not isinstance(anneal, Annealing):
            raise TypeError(f"anneal must be None, (tau_start, n_stages) or an Annealing object, got {self.anneal!r}.")
        anneal.check()
        anneal.check_gate(model.gate)
        return anneal

    @property
    def temperature_(self) -> float:
        """The temperature."""
        return float(self.params_.gate.temperature)

    @property
    def gate_effective_coef_(self) -> np.ndarray:
        """Slopes over temperature."""
        return self.params_.gate.coef / self.params_.gate.temperature

    @property
    def gate_effective_intercept_(self) -> np.ndarray:
        """Intercepts over temperature."""
        return self.params_.gate.intercept / self.params_.gate.temperature
