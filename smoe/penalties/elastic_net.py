"""Absolute values and squares of slopes: columns without effect drop out."""

from copy import copy
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from smoe.params import MoEParams, flatten, unflatten
from smoe.penalties.base import Penalty
from smoe.penalties.groups import excess, moved, pull, second_derivative
from smoe.validation import check_number

__all__ = ["ElasticNet", "check_group", "slope_places"]


class ElasticNet(Penalty):
    r"""The elastic net on the slopes of the gate and of the experts; the lasso by default.

    .. math:: P = n \Big(\alpha_g \sum_i \mathrm{pen}(\beta_{1i}) + \alpha_e \sum_i \mathrm{pen}(a_i / \sigma_i)\Big),
              \qquad \mathrm{pen}(v) = \sum_j f_j \Big(\rho |v_j| + \frac{1 - \rho}{2} v_j^2\Big)

    over slopes by columns of mean zero and variance one (divisor n), with :math:`\rho` the ``l1_ratio``. Intercepts and
    variances are free of it. Slopes that do not earn their weight are exactly zero, and ``n_parameters_`` (so AIC, BIC)
    counts the others. All rows of the gate are penalised, so the fit does not depend on which expert is last:
    ``gate_coef_`` has the shift of each column that makes the penalty least, under the lasso one with a zero row. For
    an even number of experts that shift is one of several with the same penalty.

    With ``group="experts"`` it is the group lasso: a column's slopes in all experts (and classes) are zero together or
    not at all, and so are its slopes in all rows of the gate. Euclidean lengths take the place of absolute values,

    .. math:: \rho \sum_j f_j \Big(\alpha_g \sqrt{\textstyle\sum_i \beta_{1ij}^2}
              + \alpha_e \sqrt{\textstyle\sum_i (a_{ij} / \sigma_i)^2}\Big),

    without factors for the number of experts, and the gate's shift is the mean of its rows.

    One normal expert is scikit-learn's ``ElasticNet(alpha=alpha_expert * variance, l1_ratio)`` on standardised columns
    with ``scaled=False``, at the fitted variance.

    Parameters
    ----------
    alpha_expert, alpha_gate : float, default=0.0
        The weights per row.
    l1_ratio : float, default=1.0
        The share of absolute values, from 0 (ridge) to 1 (lasso).
    scaled : bool, default=True
        Whether slopes of normal experts are measured in their expert's standard deviation, so that the units of y fall
        out (the scaled lasso); else in the units of y. Families without a variance know no difference.
    penalty_factor : array-like of shape (n_features,), default=None
        Factors f of the columns of X: zero for a column that is free of the penalty, infinity for one that is left out.
        They are not rescaled. None for ones.
    group : {None, "experts"}, default=None
        Whether slopes drop out one by one, or those of a column in all experts together.

    References
    ----------
    Staedler, N., Buehlmann, P. and van de Geer, S. (2010). l1-penalization for mixture regression models. TEST 19,
    209-256.

    Yuan, M. and Lin, Y. (2006). Model selection and estimation in regression with grouped variables. Journal of the
    Royal Statistical Society B 68, 49-67.

    Zou, H. and Hastie, T. (2005). Regularization and variable selection via the elastic net. Journal of the Royal
    Statistical Society B 67, 301-320.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.penalties import ElasticNet
    >>> X, y = load_diabetes(return_X_y=True)
    >>> net = ElasticNet(alpha_expert=0.1, alpha_gate=0.05)
    >>> model = SoftmaxMoERegressor(2, penalty=net, n_init=5, random_state=0).fit(X, y)
    >>> model.converged_, int((model.expert_coef_ != 0).sum()) < 20
    (True, True)
    >>> net.set_params(group="experts")
    ElasticNet(alpha_expert=0.1, alpha_gate=0.05, group='experts')
    >>> model = SoftmaxMoERegressor(2, penalty=net, n_init=5, random_state=0).fit(X, y)
    >>> sorted(set((model.expert_coef_ != 0).sum(axis=0).tolist()))  # a column is in both experts, or in none
    [0, 2]
    """

    words = "elastic net"
    moves_estimates = True
    kinked = True
    keeps_columns = True
    default_solver = "proximal_newton"
    _unit, _gate_factor, _expert_factor, centres = 1.0, 1.0, 1.0, True  # of a penalty that is bound to no data
    _gate = None

    def __init__(
        self,
        alpha_expert: float = 0.0,
        alpha_gate: float = 0.0,
        l1_ratio: float = 1.0,
        scaled: bool = True,
        penalty_factor: ArrayLike | None = None,
        group: str | None = None,
    ) -> None:
        self.alpha_expert = alpha_expert
        self.alpha_gate = alpha_gate
        self.l1_ratio = l1_ratio
        self.scaled = scaled
        self.penalty_factor = penalty_factor
        self.group = group

    def check(self, gate):
        self.check_weights()
        self._check_gate(gate)

    def check_weights(self):
        """Raise ValueError or TypeError for weights that make no sense."""
        check_number(self.alpha_expert, "ElasticNet: alpha_expert", 0.0)
        check_number(self.alpha_gate, "ElasticNet: alpha_gate", 0.0)
        check_number(self.l1_ratio, "ElasticNet: l1_ratio", 0.0, high=1.0)
        check_group(self)

    def _check_gate(self, gate):
        """Raise ValueError for gates whose slopes are no log odds."""
        estimated = {name for name, field in gate.fields.items() if not field.fixed}
        if estimated != {"coef", "intercept"} or not gate.smooth:
            raise ValueError(
                f"penalty: {type(self).__name__} needs a softmax gate or a tree of such, not {type(gate).__name__}; "
                "Ridge takes others."
            )

    def bind(self, model, scaling):
        """Return the penalty that knows the columns and the unit of y."""
        self._check_expert(model.expert)
        out, d = copy(self), 1 + int(max([-1, *scaling.gate.columns, *scaling.expert.columns]))
        factor = np.ones(d) if self.penalty_factor is None else self._checked_factor(d)
        out._gate_factor, out._expert_factor = factor[scaling.gate.columns], factor[scaling.expert.columns]
        out._unit = 1.0 if self.scaled else float(scaling.y_scale)
        out.centres = model.gate.fields["coef"].gauge == "expert"
        out._gate = model.gate
        return out

    def _check_expert(self, expert):
        """Raise ValueError for experts whose slopes have no coordinate descent."""
        bounded = any(field.bounded for field in expert.fields.values())
        if bounded and not hasattr(expert, "variance_given"):
            raise ValueError(
                f"penalty: {type(self).__name__} takes experts 'gaussian', 'poisson', 'binomial', 'multinomial', not "
                f"{expert.name}; Ridge takes all."
            )

    def _checked_factor(self, d):
        try:
            factor = np.asarray(self.penalty_factor, dtype=float)
        except (TypeError, ValueError):
            factor = np.zeros(0)
        if factor.ndim != 1 or len(factor) < d or not np.all(factor >= 0):
            raise ValueError(
                f"ElasticNet: penalty_factor must be one number, zero or more, for each column of X, "
                f"got {self.penalty_factor!r}."
            )
        return factor

    def weights(self, params):
        """Return the weights per row of absolute values and of squares, each in flat order."""
        gate, expert, size = slope_places(params)
        l1, l2, unit = np.zeros(size), np.zeros(size), self._per_unit(params.expert)
        l1[gate], l2[gate] = self._of_factor(self.alpha_gate, self._gate_factor)
        own = self._of_factor(self.alpha_expert, self._expert_factor)
        l1[expert], l2[expert] = own[0] * unit, own[1] * unit**2
        return l1, l2

    def _of_factor(self, alpha, factor):
        """Return both weights of slopes with these factors; one that is left out has no square to be added up."""
        out = np.isinf(factor)
        finite = alpha * np.where(out, 0.0, factor)
        return np.where(out, np.inf, self.l1_ratio * finite), (1.0 - self.l1_ratio) * finite

    def _scales(self, expert):
        return self.scaled and hasattr(expert, "variance")

    def _per_unit(self, expert):
        """By what slopes in working coordinates are multiplied, a number or one for each expert."""
        if not self._scales(expert):
            return self._unit
        return 1.0 / np.sqrt(np.broadcast_to(expert.variance, len(expert.intercept)))[:, None]

    def groups(self, params):
        """Return a number for each entry, in flat order, the same for those of one group; None if all stand alone.

        Slopes that the gate pins to zero are in no group.
        """
        if self.group is None:
            return None
        gate, expert, size = slope_places(params)
        out = np.arange(size)
        out[expert] = _by_column(expert)[:1]
        out[gate] = gate[:1]
        if not self.centres and set(params.gate._fields) == set(self._gate.fields):  # starts have simpler gates
            pinned = gate[~self._gate.free(params.gate).coef]
            out[pinned] = size + pinned
        return out

    def parts(self, params):
        """Return what absolute values (or lengths) and squares add up to per row, each in flat order."""
        flat = flatten(params)
        l1, l2 = self.weights(params)
        return flat * pull(flat, l1, self.groups(params)), (np.sqrt(0.5 * l2) * flat) ** 2

    def by_expert(self, params):
        """Return the same of the experts' slopes, summed for each expert, (2, n_experts)."""
        expert = slope_places(params)[1]
        return np.array([part[expert].reshape(len(expert), -1).sum(axis=1) for part in self.parts(params)])

    def on_unit_scale(self, params):
        """Return the same for variances of one, where the penalty depends on variances; else zeros.

        Lengths of groups depend on all variances: by squares that are nowhere less, and the same here.
        """
        if not self._scales(params.expert):
            return np.zeros((2, len(params.expert.intercept)))
        variance = np.broadcast_to(params.expert.variance, len(params.expert.intercept))
        values, squares = self.by_expert(params)
        if self.group is not None:
            values, squares = np.zeros_like(values), 0.5 * values + squares
        return np.array([values * np.sqrt(variance), squares * variance])

    def value(self, model, params, sums, n):
        return n * float(sum(part.sum() for part in self.parts(params)))

    def gradient(self, model, params, sums, n):
        """Return the derivative of the smooth part: of squares, and of variances in the units."""
        out = unflatten(n * self.weights(params)[1] * flatten(params), params)
        if not self._scales(params.expert):
            return out
        l1, l2 = self.by_expert(params)
        variance = params.expert.variance
        slope = -n * (0.5 * l1 + l2) / variance
        return out._replace(
            expert=out.expert._replace(variance=slope if np.ndim(variance) else np.asarray(slope.sum()))
        )

    def curvature(self, model, params, sums, n):
        """Return the second derivative of the same: of squares, and of all by variances."""
        l1, l2 = self.weights(params)
        out = np.diag(n * l2)
        if not self._scales(params.expert):
            return out
        rows, flat = slope_places(params)[1], flatten(params)
        who = np.repeat(np.arange(len(rows)), rows[0].size)
        variance = np.broadcast_to(params.expert.variance, len(rows))
        at = np.broadcast_to(unflatten(np.arange(len(l2)), params).expert.variance.astype(int), len(rows))
        rows = rows.ravel()
        own = np.equal.outer(who, np.arange(len(variance))).astype(float)
        finite = np.where(np.isinf(l1), 0.0, l1)
        slopes, first = flat[rows], (pull(flat, finite, self.groups(params)) + l2 * flat)[rows]
        bent = ((self._bend_of_lengths(params)[np.ix_(rows, rows)] + np.diag(l2[rows])) * slopes) @ own
        cross = -0.5 * n * (bent + own * first[:, None]) / variance
        np.add.at(out, np.ix_(rows, at), cross)
        np.add.at(out, np.ix_(at, rows), cross.T)
        both = 0.25 * (own.T * slopes) @ bent / np.outer(variance, variance)
        np.add.at(out, np.ix_(at, at), n * (both + np.diag(0.75 * own.T @ (slopes * first) / variance**2)))
        return out

    def kink_curvature(self, params, n):
        """Return the second derivative of lengths of groups that are not zero, by slopes."""
        return n * self._bend_of_lengths(params)

    def _bend_of_lengths(self, params):
        return second_derivative(flatten(params), self.weights(params)[0], self.groups(params))

    def steepest(self, params, score, n):
        """Return the steepest ascent from the score of all that is smooth: zero at entries that are held at zero."""
        flat, slope, l1, groups = flatten(params), flatten(score), n * self.weights(params)[0], self.groups(params)
        times = excess(slope, l1, groups)
        at_zero = np.where(times > 1.0, slope * (1.0 - 1.0 / np.maximum(times, 1.0)), 0.0)
        return unflatten(np.where(moved(flat, groups), slope - pull(flat, l1, groups), at_zero), params)

    def free(self, params, free, held):
        """Return which entries are free: all rows of the gate, and with ``held`` not what is held at zero."""
        l1, l2 = self.weights(params)
        coef, out = slope_places(params)[0], np.array(free)
        out[coef] |= (l1 + l2)[coef] > 0 if self.centres and len(coef) > 1 else False
        return out & ~(~moved(flatten(params), self.groups(params)) & (l1 > 0)) if held else out

    def n_redundant(self, params):
        """Return the number of the gate's columns all of whose rows count as free: one follows from the others."""
        coef, _, size = slope_places(params)
        return int(self.free(params, np.zeros(size, dtype=bool), True)[coef].all(axis=0).sum())

    def in_use(self, params, free):
        """Return which columns, of the gate and of the experts, have slopes that are not zero or not held there.

        Parameters
        ----------
        params : MoEParams
        free : ndarray of bool
            Which entries are, in flat order.
        """
        used = (flatten(params) != 0) | (free & (self.weights(params)[0] == 0))
        return [_by_column(used[places]).any(axis=0) for places in slope_places(params)[:2]]

    def pulls(self, params, score, n):
        """Return how far the score leads slopes away from where they are, the largest of each column, as ``in_use``."""
        slope = np.abs(flatten(self.steepest(params, score, n)))
        return [_by_column(slope[places]).max(axis=0, initial=0.0) for places in slope_places(params)[:2]]

    def n_slopes(self, params):
        """Return how many slopes are not zero, each freedom counted once, and how many there could be."""
        gate, expert, _ = slope_places(params)
        others = flatten(params) != 0
        shifted = others[gate].all(axis=0).sum() if self.centres and len(gate) > 1 else 0
        possible = gate.size - gate.shape[1] + expert.size
        return int(others[gate].sum() - shifted + others[expert].sum()), possible

    def n_choices(self, params):
        """Return how many slopes, or groups of them, are not zero, and how many there could be."""
        if self.group is None:
            return self.n_slopes(params)
        sides = [_by_column(flatten(params)[places] != 0).any(axis=0) for places in slope_places(params)[:2]]
        sides = sides if len(params.gate.coef) > 1 else sides[1:]
        return int(sum(side.sum() for side in sides)), sum(map(len, sides))

    def n_left(self, params):
        """Return how many slopes of each expert are not zero, (n_experts,)."""
        coef = params.expert.coef
        return (coef != 0).reshape(len(coef), -1).sum(axis=1)

    def largest_factor(self, params, score, n):
        """Return by what all weights must be multiplied for slopes of zero to be stationary.

        Parameters
        ----------
        params : MoEParams
            The maximum where all slopes with a weight are zero.
        score : MoEParams
            Of the log-likelihood.
        n : float
            Sum of the weights of the rows.
        """
        l1 = n * self.weights(params)[0]
        times = excess(flatten(score), l1, self.groups(params))
        return float(np.max(times[(l1 > 0) & np.isfinite(l1)], initial=0.0))

    def placed(self, gate, centred):
        """Return the gate's parameters with the slopes of others, which ``centred`` has placed."""
        return gate._replace(coef=centred.coef)

    def centred(self, params):
        """Return the parameters with the shift of each column of the gate at which the penalty is least.

        Of shifts that are as good the one at which the last possible row is zero. A tree has none: log odds there are
        those of branches, against the last one beside them.
        """
        if not self.centres:
            return params
        l1, l2 = (unflatten(side, params).gate.coef[0] for side in self.weights(params))
        coef = (_centred if self.group is None else _at_mean)(params.gate.coef, l1, l2)
        return params._replace(gate=params.gate._replace(coef=coef))


def check_group(penalty):
    """Raise ValueError unless its ``group`` is known."""
    if not (penalty.group is None or isinstance(penalty.group, str) and penalty.group == "experts"):
        raise ValueError(f"{type(penalty).__name__}: group must be None or 'experts', got {penalty.group!r}.")


def _at_mean(b, l1, l2):
    """Return the same for lengths of columns: their means are zero, or without weights their last numbers."""
    return b - np.where(l1 + l2 > 0, b.mean(axis=0), b[-1])


def _by_column(values):
    """Return numbers of slopes (n_predictors, n_features)."""
    return values.reshape(int(np.prod(values.shape[:-1])), values.shape[-1])


def slope_places(params):
    """Return where the slopes of the gate and of the experts are in flat order, and how many entries there are."""
    return _slopes(tuple((type(part), tuple(map(np.shape, part))) for part in params))


@lru_cache(maxsize=64)
def _slopes(parts):
    blank = MoEParams(*(kind(*map(np.zeros, shapes)) for kind, shapes in parts))
    size = flatten(blank).size
    places = unflatten(np.arange(size), blank)
    return *(part.coef.astype(int) for part in places), size


def _centred(b, l1, l2):
    """Return numbers (k, d) with the shift of each column that makes the sum of l1 |b| + l2 b^2 / 2 least.

    The shift takes some number to zero, or lies where the derivative, linear between such kinks, vanishes. A column
    without weights has its last number at zero.
    """
    k, squares = len(b), np.where(l2 > 0, l2, 1.0)
    l1 = np.where(np.isfinite(l1), l1, 0.0)
    n_below = np.arange(k + 1)[:, None]
    between = -(b.sum(axis=0) + l1 / squares * (k - 2.0 * n_below)) / k
    moved = b + np.concatenate([-b, np.where(l2 > 0, between, -b[-1])])[:, None]
    moved[np.arange(k), np.arange(k)] = 0.0
    size = (l1 * np.abs(moved) + (np.sqrt(0.5 * l2) * moved) ** 2).sum(axis=1)  # of steps too far for their squares
    good = size <= size.min(axis=0) * (1 + 1e-12)
    kink, column = k - 1 - np.argmax(good[k - 1 :: -1], axis=0), np.arange(b.shape[1])
    best = np.where(good[:k].any(axis=0), kink, np.argmin(size, axis=0))
    return moved[best, :, column].T
