"""Average marginal effects: what a covariate does to the mean of y, and to the mean of each expert."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from smoe.fields import Entry
from smoe.hints import Data, Model
from smoe.inference.covariance import Covariance
from smoe.inference.estimates import chosen_covariance
from smoe.inference.rows import mean_gradient, pieces
from smoe.inference.summary import Summary, coefficient_table
from smoe.params import flatten, fold
from smoe.validation import check_level, check_mixture, check_weights

__all__ = ["marginal_effects"]

_STEP = 2e-4  # in standard deviations; differences of five points are then exact to some 1e-10
# Factors of the means at five points in a row, for the derivative at the middle, the first and the last of them.
_FACTORS = np.array([[1, -8, 0, 8, -1], [-25, 48, -36, 16, -3], [3, -16, 36, -48, 25]]) / 12.0


def marginal_effects(
    model: Model,
    X: Data,
    *,
    features: Sequence[str] | None = None,
    sample_weight: ArrayLike | None = None,
    covariance: Covariance | None = None,
    coverage: float = 0.95,
) -> Summary:
    r"""Return average marginal effects on the mean of y given x, and on the mean of each expert.

    .. math:: \frac1n \sum_i \frac{\partial \mu(x_i)}{\partial x_j}, \qquad
              \frac1n \sum_i \frac{\partial E_k(y|x_i)}{\partial x_j}, \qquad
              \mu(x) = \sum_k \pi_k(x) E_k(y|x)

    The effect on the mean has two parts: what x does within the experts, and that it moves rows from one expert to
    another. The averages are over all rows, for experts too, whoever is responsible for a row. Standard errors are by
    the delta method, the rows being given. Columns of two values 0 and 1 have the difference of the means at 1 and at 0
    in place of a derivative, and so have levels of a category in a formula, against its first level; the table says
    which. With a formula effects are those of the columns of the data: all terms that a column takes part in move.

    Parameters
    ----------
    model : MoERegressor or FittedMixture
        Fitted.
    X : array-like of shape (n_samples, n_features)
        Rows to average over, mostly those of the fit, with their own offsets and exposures.
    features : list of str or None, default=None
        Columns whose effects are wanted, by name; None for all that gate or experts see.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the average.
    covariance : Covariance or None, default=None
        What ``model.covariance(...)`` has returned; None for that of the fit.
    coverage : float, default=0.95
        Of the confidence intervals.

    Returns
    -------
    Summary
        ``print`` it, or take ``to_frame()``, ``to_latex()`` or ``to_markdown()``. Rows are "mean of y: income",
        "expert 0: income", ...

    Raises
    ------
    ValueError
        A gate that jumps, whose mean has no derivative; classes, which have no mean; a mean that is infinite; or no
        such column.

    Warns
    -----
    ConvergenceWarning
        The fit is not certified.

    References
    ----------
    Bartus, T. (2005). Estimation of marginal effects using margeff. Stata Journal 5, 309-329.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_engel
    >>> from smoe.inference import marginal_effects
    >>> X, y = load_engel(as_frame=True, return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> marginal_effects(model, X).to_frame()[["estimate", "std_err"]].round(3)
                             estimate  std_err
    mean of foodexp: income     0.572    0.018
    expert 0: income            0.610    0.024
    expert 1: income            0.382    0.055
    """
    fit = check_mixture(model)
    check_level(coverage, "coverage")
    _refuse_without_derivative(fit)
    columns, replaced = _variables(fit, X)
    found = chosen_covariance(fit, covariance)
    n = len(next(iter(columns.values()), X))
    weight = check_weights(sample_weight, n)
    labels, estimates, gradients = [], [], []
    for name in _checked_names(features, columns):
        for label, points in _points(fit, name, columns[name], weight / weight.sum(), replaced):
            total = _total(fit, points)
            labels.append(label)
            estimates.append(total[0])
            gradients.append(total[1:])
    return _table(fit, labels, estimates, gradients, found, coverage, n)


def _refuse_without_derivative(fit):
    if fit.model.expert.support.kind == "classes":
        raise ValueError("marginal_effects are of the mean of y, which classes do not have.")
    if not fit.model.gate.smooth:
        raise ValueError(
            f"marginal_effects: the mean jumps behind {type(fit.model.gate).__name__}; it has no derivative."
        )


def _variables(fit, X):
    """Return the columns that effects may be of, by name, and what makes X of other values of one of them."""
    columns, design = fit.columns, fit.columns.design
    if design is not None:
        data = design.frame(X)
        return {name: data[name].to_numpy() for name in design.covariates}, lambda name, values: columns.check_rows(
            data.assign(**{name: values})
        )[0]
    X, names = columns.check_rows(X)[0], columns.named()
    seen = {names[j]: j for j in np.union1d(fit.gate_columns, fit.expert_columns)}

    def replaced(name, values):
        out = X.copy()
        out[:, seen[name]] = values
        return out

    return {name: X[:, j] for name, j in seen.items()}, replaced


def _checked_names(features, columns):
    if features is None:
        return list(columns)
    if not isinstance(features, list | tuple) or not features or not all(isinstance(name, str) for name in features):
        raise TypeError(f"features must be a list of names or None, got {features!r}.")
    for name in features:
        if name not in columns:
            raise ValueError(f"features: {name!r} is not among the covariates, {list(columns)}.")
    return features


def _points(fit, name, values, weight, replaced):
    """Yield the effects of a column: each a label and pairs of factors (n,) and rows, whose means they add up."""
    design = fit.columns.design
    levels = None if design is None else design.levels(name)
    if levels is None and set(np.unique(values).tolist()) == {0, 1}:
        levels = [False, True] if values.dtype == bool else [0, 1]
    if levels is not None:
        first, *others = levels
        for level in others:
            yield (
                f"{name} ({level} - {first})",
                [
                    (sign * weight, replaced(name, np.full(len(values), one, dtype=values.dtype)))
                    for sign, one in ((-1.0, first), (1.0, level))
                ],
            )
        return
    values = values.astype(float)
    step = _STEP * (values.std() or max(np.abs(values).max(), 1.0))
    first, kind = _places(values, step)
    yield (
        name,
        [
            (weight * _FACTORS[kind, m] / step, replaced(name, values + (first + m) * step))
            for m in range(len(_FACTORS.T))
        ],
    )


def _places(values, step):
    """Return where the five points begin, in steps, and which of them the value is: all lie within the range."""
    low, high = values - 2 * step < values.min(), values + 2 * step > values.max()
    if values.min() == values.max():
        return -2.0, np.zeros(len(values), dtype=int)
    return np.where(low, 0.0, np.where(high, -4.0, -2.0)), np.where(low, 1, np.where(high, 2, 0))


def _total(fit, points):
    """Return what `_averages` adds up to; a column that experts do not see has no effect on them, not even rounding."""
    total, seen, moves = 0.0, None, False
    for factor, rows in points:
        here = rows[:, [*fit.expert_columns, *fit.roles.columns]]
        seen = here if seen is None else seen
        moves |= not np.array_equal(seen, here)
        total = total + _averages(fit, rows, factor)
    if not moves:
        total[:, 1:] = 0.0
    return total


def _averages(fit, X, factor):
    """Return the means of y and of each expert, times the factors of the rows, added up, above their gradients.

    The array has the shape (1 + n_entries, 1 + n_experts), with an axis more for several responses.
    """
    model = fit.model

    def visit(block, p):
        total = 0.0
        for piece in pieces(block, p):
            own_means = model.expert.mean(piece.rows, p.expert)
            means = np.concatenate([model.mean(piece, p)[None], own_means])
            if not np.isfinite(means).all():
                raise ValueError("marginal_effects: the mean of an expert is infinite, as tails are too heavy.")
            gradient = mean_gradient(model, piece, p) @ piece.weight
            own = model.expert.mean_scores(piece.rows, p.expert) @ piece.weight
            slopes = np.concatenate([gradient[:, None], _own_gradients(own, p)], axis=1)
            total = total + np.concatenate([(means @ piece.weight)[None], slopes])
        return total

    return fit.blocks_of(X, None, factor).sum(visit, fit.params)


def _own_gradients(own, params):
    """Return the gradients of the experts' means from those by their own entries, (n_entries, n_experts, ...)."""
    own = own if own.ndim == 3 else own[:, None]
    k, q, n_own = own.shape
    apart = np.zeros((k, n_own, k, q))
    for i in range(k):
        apart[i, :, i] = own[i].T
    expert = fold(apart.reshape(k * n_own, k * q), params.expert).reshape(-1, k, q)
    found = np.concatenate([np.zeros((flatten(params.gate).size, k, q)), expert])
    return found if q > 1 else found[..., 0]


def _table(fit, labels, estimates, gradients, covariance, coverage, n):
    k, vectors = fit.n_experts, fit.model.expert.support.kind == "vectors"
    responses = fit.model.expert.axis_labels["response"] if vectors else [fit.response or "y"]
    sections = [("mean of " + ", ".join(responses), None), *(("expert", i) for i in range(k))]
    suffixes = [f" [{name}]" for name in responses] if vectors else [""]
    entries = [
        Entry(part, expert, "effect", (), None, label + suffix)
        for part, expert in sections
        for label in labels
        for suffix in suffixes
    ]
    shape = len(labels), 1 + k, len(suffixes)
    estimate = np.reshape(estimates, shape).swapaxes(0, 1).ravel()
    slopes = np.reshape(gradients, (len(labels), -1, *shape[1:])).transpose(1, 2, 0, 3).reshape(-1, estimate.size)
    error = covariance.std_err(covariance.change.T @ slopes)
    table = coefficient_table(estimate, np.where(error > 0, error, np.nan), np.zeros(len(entries), bool), coverage)
    facts = [("averages over", f"{n} rows"), ("standard errors", f"delta method, {covariance.label}")]
    return Summary("Average marginal effects", facts, entries, table, coverage, covariance.reason)
