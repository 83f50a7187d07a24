"""What experts must have in common, or must have: slopes that all share, and slopes that are known."""

from copy import copy

import numpy as np
from sklearn.base import BaseEstimator

from smoe.features import choose_columns
from smoe.params import flatten, unflatten

__all__ = ["Constraints"]


class Constraints(BaseEstimator):
    r"""Slopes that all experts share, and slopes that are known.

    .. math:: \eta_k = \alpha_k + x_{\mathrm{free}}^\top \beta_k + x_{\mathrm{shared}}^\top \gamma
        + x_{\mathrm{fixed}}^\top c

    with one :math:`\gamma` for all experts and given :math:`c`, in the units of X and of the linear predictor. They are
    constraints of maximum likelihood: each counts in degrees of freedom, standard errors and tests, which are those of
    the constrained model. Variances that all Gaussian experts share are ``GaussianExpert(variance="shared")``.

    Intercepts can be neither shared nor fixed. The gate is not touched.

    Parameters
    ----------
    shared : None, int, str, slice, callable or list, default=None
        Columns whose slope is the same in every expert, chosen as ``expert_features`` are. Of families with several
        linear predictors, as many slopes are shared as there are predictors.
    fixed : dict of int or str to float, or None, default=None
        Slopes that are known, by column: the same number in every expert and for every predictor.

    Raises
    ------
    ValueError
        From ``fit``: a column that experts do not see, that is both shared and fixed, or that is constant or a linear
        combination of others and fixed.

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

    def __init__(self, shared=None, fixed=None):
        self.shared = shared
        self.fixed = fixed

    def resolved(self, X, names, n_columns, seen, taken):
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

    def bind(self, model, scaling):
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
        return out

    def words(self, names):
        """Return what is constrained, in words; names are those of the columns that experts see."""
        shared = ", ".join(f"{names[at]}" for at in sorted(self._shared))
        fixed = ", ".join(f"{names[at]} at {value:g}" for at, value in sorted(self._fixed.items()))
        return "; ".join([*[f"shared slopes of {shared}"] * bool(shared), *[f"fixed slopes of {fixed}"] * bool(fixed)])

    def by_index(self, columns):
        """Return the constraints with their columns as indices, given those that experts see."""
        return Constraints([columns[at] for at in self._shared], {columns[at]: v for at, v in self._fixed.items()})

    def applied(self, free, expert):
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
        free, tie = free.copy(), np.arange(len(free))
        for at in self._at:
            tie[slopes[..., at]] = slopes[:1, ..., at]
        for at in self._values:
            free[slopes[..., at]] = False
        return free, tie

    def settled(self, expert):
        """Return the experts with what is fixed, and with the middle of what is shared."""
        slopes = np.array(getattr(expert, self._field))
        for at in self._at:
            slopes[..., at] = np.median(slopes[..., at], axis=0)
        for at, value in self._values.items():
            slopes[..., at] = value
        return expert._replace(**{self._field: slopes})
