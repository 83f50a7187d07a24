"""A known mixture of experts that data are drawn from."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from smoe.experts import resolve_expert
from smoe.features import Roles
from smoe.fields import expand, n_features_of
from smoe.gates import GATES, Gate
from smoe.hints import Model, Seed
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, n_experts_of
from smoe.registry import resolve
from smoe.rows import ArraySource, Blocks, Scaling, by_group
from smoe.settings import described
from smoe.simulation._covariates import resolve_covariates
from smoe.validation import check_floats, check_generator, check_mixture, check_number, check_params

__all__ = ["Truth"]


class Truth:
    r"""A mixture of experts with known parameters, and the law of its covariates.

    .. math:: x \sim P_X, \qquad y \mid x \sim \sum_{j=1}^{k_*} \pi_j(x)\, f_j(y|x)

    Any gate and any family of experts. Nothing random is kept: the same generator state gives the same data.

    Parameters
    ----------
    model : MixtureOfExperts, str, Gate, or pair (gate, expert)
        Names come from ``smoe.gates.GATES`` and ``smoe.experts.EXPERTS``; a gate alone goes with Gaussian experts.
    params : MoEParams
        The gate's and the experts' parameters, arrays with the experts on axis 0; variances, not standard deviations.
    covariates : str, frozen distribution or callable, default="uniform"
        * "uniform": iid uniform on :math:`[0, 1]^d`; "normal": iid standard normal;
        * "grid": the fixed design ``linspace(0, 1, n)``, for one feature only, and not iid;
        * a frozen univariate distribution of scipy.stats: iid columns; a multivariate one: iid rows;
        * a callable ``covariates(n, rng)`` that returns (n, n_features). Define it in a module if the truth is to
          travel to other processes.
    group_size : int, default=1
        More than one for panels: so many rows, one after the other, have the same x and come from one expert. X then
        has one more column, the last, with the number of the group, for ``group_feature=-1`` of the fitter.

    Raises
    ------
    ValueError, TypeError
        Parameters that do not belong to the model, or are not finite; the message names the argument.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.experts import GaussianExpertParams
    >>> from smoe.gates import LinearGateParams
    >>> from smoe.params import MoEParams
    >>> from smoe.simulation import Truth
    >>> gate = LinearGateParams(coef=[[25.0], [0.0]], intercept=[-8.0, 0.0])
    >>> expert = GaussianExpertParams(coef=[[-20.0], [20.0]], intercept=[15.0, -5.0], variance=[0.09, 0.16])
    >>> truth = Truth("softmax", MoEParams(gate, expert))
    >>> X, y = truth.draw(200, np.random.default_rng(0))
    >>> X.shape, y.shape, truth.n_experts
    ((200, 1), (200,), 2)
    """

    def __init__(self, model: Any, params: MoEParams, covariates: Any = "uniform", group_size: int = 1) -> None:
        check_number(group_size, "group_size", 1, integer=True)
        self.group_size = int(group_size)
        self.model = _resolved_model(model)
        self.params = check_params(self.model, params)
        self.covariates = covariates
        self._covariates = resolve_covariates(covariates)
        if isinstance(covariates, str) and covariates == "grid":
            self.draw_covariates(1, None)  # refuses more than one feature at once

    @classmethod
    def from_estimator(cls, estimator: Model, covariates: Any = "uniform") -> "Truth":
        """Return the truth that a fitted estimator describes, for a study at estimated parameters.

        Columns that the gate or the experts do not see get coefficient zero, which is the same density.

        Parameters
        ----------
        estimator : MoERegressor or FittedMixture
            Fitted.
        covariates : as for the class, default="uniform"
            The law of *all* columns of X that the estimator was fitted on.

        Examples
        --------
        >>> from scipy import stats
        >>> from smoe import SoftmaxMoERegressor
        >>> from smoe.datasets import load_faithful
        >>> from smoe.simulation import Truth
        >>> fitted = SoftmaxMoERegressor(2, random_state=0).fit(*load_faithful(return_X_y=True))
        >>> Truth.from_estimator(fitted, stats.norm(71, 14))
        Truth(SoftmaxGate(), GaussianExpert(), n_experts=2, n_features=1)
        """
        fit = check_mixture(estimator, "estimator")
        fields, d = fit.model.fields, fit.columns.count
        gate = expand(fit.params.gate, fields.gate, fit.gate_columns, d)
        expert = expand(fit.params.expert, fields.expert, fit.expert_columns, d)
        return cls(fit.model, MoEParams(gate, expert), covariates)

    @property
    def n_experts(self) -> int:
        """Number of experts."""
        return n_experts_of(self.params)

    @property
    def n_features(self) -> int:
        """Number of columns of X."""
        return n_features_of(self.params.expert, self.model.expert.fields)

    @property
    def covariate_law(self) -> Any:
        """The frozen univariate law of each column, the limit of a grid's; None for rows and callables."""
        return self._covariates.law

    def draw_covariates(self, n: int, rng: Seed) -> np.ndarray:
        """Draw x, (n, n_features)."""
        check_number(n, "n", 1, integer=True)
        rng = check_generator(rng, "rng")
        X = check_floats(self._covariates.draw(n, self.n_features, rng), "covariates: what they draw")
        if X.shape != (n, self.n_features):
            raise ValueError(f"covariates must give an array of shape {(n, self.n_features)}, got {X.shape}.")
        return X

    def draw(self, n: int, rng: Seed) -> tuple[np.ndarray, np.ndarray]:
        """Draw covariates and responses.

        Parameters
        ----------
        n : int
            Number of rows.
        rng : Generator, RandomState, int or None
            A generator goes on from where it stands.

        Returns
        -------
        X : ndarray of shape (n, n_features), or (n, n_features + 1) with groups
        y : ndarray of shape (n,) or (n, q)
        """
        check_number(n, "n", 1, integer=True)
        rng = check_generator(rng, "rng")
        X = self._with_groups(self.draw_covariates(-(-int(n) // self.group_size), rng), int(n))
        y = self._blocks(X).map_rows(lambda b, p: self.model.sample(b, p, rng)[0], self.params)
        return X, np.ascontiguousarray(y.T)

    @property
    def roles(self) -> Roles:
        """Which column of what it draws is the number of the group, if there are any."""
        return Roles(group=self.n_features if self.group_size > 1 else None)

    def _with_groups(self, X, n):
        if self.group_size == 1:
            return X
        group = np.arange(n) // self.group_size
        return np.column_stack([X[group], group])

    def _blocks(self, X, y=None):
        columns = np.arange(self.n_features)
        source = by_group(ArraySource(X, y), self.roles.group, columns)
        return Blocks(self.model, source, Scaling.identity(columns, columns), self.roles)

    def loglik(self, X: ArrayLike, y: ArrayLike) -> float:
        """Return the truth's log-likelihood (natural logarithm, total over rows); a fit below it is no maximum."""
        X, y = check_floats(X, "X"), self.model.expert.read(y)
        if np.isnan(X).any():
            raise ValueError("X contains NaN.")
        n_columns = self.n_features + len(self.roles.columns)
        if X.ndim != 2 or X.shape[1] != n_columns:
            raise ValueError(f"X must have shape (n, {n_columns}), got {X.shape}.")
        if len(y) != len(X):
            raise ValueError(f"y must have shape {(len(X), *y.shape[1:])}, got {y.shape}.")
        return float(self._blocks(X, y).sum(self.model.loglik, self.params))

    def describe(self) -> dict:
        """Return model, parameters and covariates as a dict that JSON can hold: equal for equal truths.

        Functions are described by their module and name; covariates that are a function also by a few rows.
        """
        return {
            "gate": described(self.model.gate),
            "expert": described(self.model.expert),
            "params": described(self.params),
            "covariates": self._covariates.describe(self.n_features),
        } | ({"group_size": self.group_size} if self.group_size > 1 else {})

    def __repr__(self):
        gate, expert = self.model.gate, self.model.expert
        return f"Truth({gate!r}, {expert!r}, n_experts={self.n_experts}, n_features={self.n_features})"


def _resolved_model(model):
    """Return a MixtureOfExperts of clones."""
    if isinstance(model, MixtureOfExperts):
        gate, expert = model.gate, model.expert
    elif isinstance(model, tuple | list):
        if len(model) != 2:
            raise ValueError(f"model as a pair must be (gate, expert), got {len(model)} entries.")
        gate, expert = model
    else:
        gate, expert = model, "gaussian"
    gate = resolve(gate, GATES, Gate, "gate" if isinstance(model, tuple | list) else "model")
    return MixtureOfExperts(gate, resolve_expert(expert))
