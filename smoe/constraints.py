"""What experts must have in common, or must be: slopes that all share, slopes that are known, experts that are."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from smoe.features import choose_columns
from smoe.fields import check_part
from smoe.hints import ColumnSpec, Data
from smoe.params import copies, flatten, unflatten

__all__ = ["Constraints"]


class Constraints(BaseEstimator):
    r"""Slopes that all experts share, slopes that are known, and experts that are known.

    .. math:: \eta_k = \alpha_k + x_{\mathrm{free}}^\top \beta_k + x_{\mathrm{shared}}^\top \gamma
        + x_{\mathrm{fixed}}^\top c

    with one :math:`\gamma` for all experts and given :math:`c`, in the units of X and of the linear predictor. They are
    constraints of maximum likelihood: each counts in degrees of freedom, standard errors and tests, which are those of
    the constrained model. Variances that all Gaussian experts share are ``GaussianExpert(variances="shared")``.

    Intercepts can be neither shared nor fixed, but for those of known experts. The gate is not touched.

    Parameters
    ----------
    shared : None, int, str, slice, callable or list, default=None
        Columns whose slope is the same in every expert, chosen as ``expert_features`` are. Of families with several
        linear predictors, as many slopes are shared as there are predictors.
    fixed : dict of int or str to float, or None, default=None
        Slopes that are known, by column: the same number in every expert and for every predictor.
    frozen : list of dict, or None, default=None
        Experts that are known, each a dict of all its parameters in the user's units, by the names and with the shapes
        of the fields of ``params_.expert`` (``{"coef": [0.0], "intercept": 0.0, "variance": 4.0}``), such as a
        background of which the rest is to be told. They are counted in ``n_experts`` and come first; what is shared
        or fixed concerns the others.

    Raises
    ------
    ValueError
        From ``fit``: a column that experts do not see, that is both shared and fixed, or that is constant or a linear
        combination of others and has a known slope; known experts that lack a parameter, or are more than there are.

    References
    ----------
    Grün, B. and Leisch, F. (2008). FlexMix version 2: finite mixtures with concomitant variables and varying and
    constant parameters. Journal of Statistical Software 28(4).

    Examples
    --------
    Two rates of food expenditure with one slope:

    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.constraints import Constraints
    >>> from smoe.datasets import load_engel
    >>> X, y = load_engel(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, constraints=Constraints(shared=[0]), random_state=0).fit(X, y)
    >>> free = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> bool(model.expert_coef_[0, 0] == model.expert_coef_[1, 0]), free.n_parameters_ - model.n_parameters_
    (True, 1)
    """

    def __init__(self, shared: ColumnSpec = None, fixed: dict | None = None, frozen: list[dict] | None = None) -> None:
        self.shared = shared
        self.fixed = fixed
        self.frozen = frozen

    @property
    def n_frozen(self) -> int:
        """Number of experts that are known."""
        return 0 if self.frozen is None else len(self.frozen)

    def check(self, n_experts: int) -> None:
        """Raise ValueError or TypeError for settings that make no sense with so many experts."""
        if self.frozen is None:
            return
        if not isinstance(self.frozen, list | tuple) or not all(isinstance(one, dict) for one in self.frozen):
            raise TypeError(
                f"constraints.frozen must be a list of dicts, one for each known expert, got {self.frozen!r}."
            )
        if self.n_frozen > n_experts:
            raise ValueError(
                f"constraints.frozen: {self.n_frozen} known experts, and n_experts={n_experts} counts them."
            )

    def resolved(self, X: Data, names: Any, n_columns: int, seen: np.ndarray, taken: Sequence[int]) -> "Constraints":
        """Return the constraints that know their columns, as positions among those that experts see.

        Parameters
        ----------
        X : array or data frame
            As users pass it.
        names : array of str, or None
        n_columns : int
        seen : array of int
            The columns that experts see.
        taken : list of int
            Columns with other roles.
        """
        out, place = copy(self), {int(column): i for i, column in enumerate(seen)}

        def places(spec, argument):
            columns = choose_columns(spec, X, names, n_columns, argument, taken)
            lost = [column for column in map(int, columns) if column not in place]
            if lost:
                known = lost if names is None else [str(names[column]) for column in lost]
                raise ValueError(f"{argument}: experts do not see {known}; add them to expert_features.")
            return [place[column] for column in map(int, columns)]

        out._shared = [] if self.shared is None else places(self.shared, "constraints.shared")
        out._fixed = {}
        for column, value in self._checked_fixed().items():
            (at,) = places([column], "constraints.fixed")
            if at in out._shared or at in out._fixed:
                raise ValueError(f"constraints.fixed: {column!r} is named twice, or shared as well.")
            out._fixed[at] = value
        return out

    def _checked_fixed(self):
        """Return fixed slopes as floats."""
        if self.fixed is None:
            return {}
        if not isinstance(self.fixed, dict):
            raise TypeError(f"constraints.fixed must be a dict of columns to slopes, got {self.fixed!r}.")
        try:
            found = {column: float(value) for column, value in self.fixed.items()}
        except (TypeError, ValueError):
            found = {None: np.nan}
        if not np.isfinite(list(found.values())).all():
            raise ValueError(f"constraints.fixed must hold finite numbers, got {self.fixed!r}.")
        return found

    def bind(self, model: Any, scaling: Any) -> "Constraints":
        """Return the constraints in the working coordinates of a ``scaling``: positions of columns, slopes there."""
        out, kept = copy(self), scaling.expert.kept
        if lost := [at for at in self._fixed if not kept[at]]:
            raise ValueError(
                f"constraints.fixed: column {lost[0]} of those that experts see is constant or a linear combination of "
                "others, so that its slope means nothing."
            )
        out._field = next(name for name, field in model.expert.fields.items() if field.feature_axis is not None)
        blank = model.expert.init_params(1, len(kept))
        slopes = np.zeros(np.shape(getattr(blank, out._field)))
        for at, value in self._fixed.items():
            slopes[..., at] = value
        y_units = -scaling.y_shift / scaling.y_scale, 1.0 / scaling.y_scale
        there = scaling.expert.from_units(model.expert, blank._replace(**{out._field: slopes}), *y_units)
        order, values = np.cumsum(kept) - 1, getattr(there, out._field)[0]
        out._at = [int(order[at]) for at in self._shared if kept[at]]
        out._values = {int(order[at]): values[..., order[at]] for at in self._fixed}
        if self.n_frozen:
            user = self._known_experts(model.expert, len(kept))
            if np.any(getattr(user, out._field)[..., ~kept]):
                raise ValueError("constraints.frozen: slopes of columns that are constant or combinations of others.")
            out._experts = scaling.expert.from_units(model.expert, user, *y_units)
        return out

    def _known_experts(self, expert, n_features):
        """Return the parameters of the known experts in the user's units."""
        blank, fields = expert.init_params(self.n_frozen, n_features), expert.fields
        if shared := [name for name, field in fields.items() if field.shared]:
            raise ValueError(f"constraints.frozen: all experts share {', '.join(shared)}; let each have its own.")
        for i, one in enumerate(self.frozen):
            if missing := set(fields) ^ set(one):
                raise ValueError(f"constraints.frozen[{i}] must have {', '.join(fields)}; see {sorted(missing)}.")
        rows = {name: [one[name] for one in self.frozen] for name in fields}
        return check_part(type(blank)(**rows), blank, fields, "constraints.frozen")

    def words(self, names: Sequence[str]) -> str:
        """Return what is constrained, in words; names are those of the columns that experts see."""
        shared = ", ".join(f"{names[at]}" for at in sorted(self._shared))
        fixed = ", ".join(f"{names[at]} at {value:g}" for at, value in sorted(self._fixed.items()))
        known = ", ".join(map(str, range(self.n_frozen)))
        parts = ("shared slopes of", shared), ("fixed slopes of", fixed), ("known experts", known)
        return "; ".join(f"{what} {which}" for what, which in parts if which)

    def by_index(self, columns: np.ndarray) -> "Constraints":
        """Return the constraints with their columns as indices, given those that experts see."""
        fixed = {columns[at]: value for at, value in self._fixed.items()}
        return Constraints([columns[at] for at in self._shared], fixed, self.frozen)

    def applied(self, free: np.ndarray, expert: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return which entries are free, and the entry that each of them equals, in flat order.

        Parameters
        ----------
        free : array of bool
            Which would be; the experts' entries come last.
        expert : named tuple of arrays
            Parameters of the experts.
        """
        size = flatten(expert).size
        slopes = len(free) - size + getattr(unflatten(np.arange(size), expert), self._field).astype(int)
        free, tie, m = free.copy(), np.arange(len(free)), self.n_frozen
        for at in self._at:
            tie[slopes[m:, ..., at]] = slopes[m : m + 1, ..., at]
        for at in self._values:
            free[slopes[..., at]] = False
        free[len(free) - size + copies(expert)[:m]] = False
        return free, tie

    def settled(self, expert: Any) -> Any:
        """Return the experts with what is known, and with the middle of what is shared."""
        slopes, m = np.array(getattr(expert, self._field)), self.n_frozen
        for at in self._at if m < len(slopes) else ():
            slopes[m:, ..., at] = np.median(slopes[m:, ..., at], axis=0)
        for at, value in self._values.items():
            slopes[..., at] = value
        expert = expert._replace(**{self._field: slopes})
        if not m:
            return expert
        return type(expert)(*(np.concatenate([one, a[m:]]) for one, a in zip(self._experts, expert, strict=True)))
