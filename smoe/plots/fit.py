"""Fits to one covariate."""

import numpy as np

from smoe.plots._axes import legend_above, literal, new_axes
from smoe.validation import check_mixture

__all__ = ["plot_fit"]

_GRID = 400
_MARGIN = 0.03


def plot_fit(estimator, X, y, coverage=0.9, feature=None, axes=None, mean_coverage=None):
    """Draw data, experts, gate and prediction band of a fit with one covariate.

    Parameters
    ----------
    estimator : MoERegressor
        Fitted.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    coverage : float, default=0.9
        Coverage of the pointwise prediction band (equal tails).
    feature : int, str or None, default=None
        The column on the horizontal axis; the others are held at their medians. Not needed when there is one.
    axes : sequence of two matplotlib Axes, default=None
        For the fit and for the gate; new ones when None.
    mean_coverage : float or None, default=None
        Also draw the pointwise confidence band of the mean with this coverage (``mean_interval``).

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.plots import plot_fit
    >>> X, y = load_faithful(return_X_y=True)
    >>> figure = plot_fit(SoftmaxMoERegressor(2, random_state=0).fit(X, y), X, y)
    >>> [axis.get_ylabel() for axis in figure.axes]
    ['y', 'gate probability']
    """
    estimator = check_mixture(estimator, "estimator")
    names = list(getattr(estimator, "feature_names_in_", [f"x{j}" for j in range(estimator.n_features_in_)]))
    x_name, y_name = "x" if len(names) == 1 and names == ["x0"] else None, getattr(y, "name", None) or "y"
    column = _column(feature, names)
    estimator.score_samples(X, y)  # says what is wrong with them
    values = np.asarray(X, dtype=float)
    grid, rows = _grid_rows(X, values, column)
    if axes is None:
        axes = new_axes()
    top, bottom = axes
    colours = [f"C{k}" for k in range(estimator.n_experts)]
    _draw_fit(top, estimator, values[:, column], y, grid, rows, coverage, colours)
    if mean_coverage is not None:
        _draw_mean_band(top, estimator, grid, rows, mean_coverage)
    _draw_gate(bottom, estimator, grid, rows, colours)
    top.set_ylabel(literal(y_name))
    bottom.set_xlabel(literal(x_name or names[column]))
    return top.figure


def _column(feature, names):
    if feature is None and len(names) == 1:
        return 0
    if feature in names:
        return names.index(feature)
    if isinstance(feature, int | np.integer) and 0 <= feature < len(names):
        return int(feature)
    raise ValueError(f"feature={feature!r}: choose the column for the horizontal axis, one of {names} or its index.")


def _grid_rows(X, values, column):
    """Return the grid and rows of the same kind as X in which only one column varies."""
    low, high = values[:, column].min(), values[:, column].max()
    margin = _MARGIN * (high - low)
    grid = np.linspace(low - margin, high + margin, _GRID)
    rows = np.tile(np.median(values, axis=0), (_GRID, 1))
    rows[:, column] = grid
    if not hasattr(X, "columns"):
        return grid, rows
    kind, values = type(X), dict(zip(X.columns, rows.T, strict=True))
    return grid, kind(values, columns=X.columns) if hasattr(X, "iloc") else kind(values)


def _draw_fit(axis, estimator, x, y, grid, rows, coverage, colours):
    low, high = estimator.predict_interval(rows, coverage).T
    axis.fill_between(grid, low, high, color="0.88", label=f"{100 * coverage:g} % prediction band", zorder=0)
    axis.scatter(x, np.asarray(y), s=14, color="0.35", alpha=0.7, linewidths=0, label="data")
    proba, lines = estimator.gate_proba(rows), estimator.expert_predict(rows)
    for k, colour in enumerate(colours):
        active = np.where(proba[:, k] > 0.02, lines[:, k], np.nan)
        axis.plot(grid, active, color=colour, lw=2, label=f"expert {k}")
    axis.plot(grid, estimator.predict(rows), color="k", lw=1.5, ls="--", label="mean")
    legend_above(axis, ncols=2)


def _draw_mean_band(axis, estimator, grid, rows, coverage):
    low, high = estimator.mean_interval(rows, coverage).T
    label = f"{100 * coverage:g} % band of the mean"
    axis.fill_between(grid, low, high, color="k", alpha=0.25, lw=0, label=label)
    legend_above(axis, ncols=2)


def _draw_gate(axis, estimator, grid, rows, colours):
    proba = estimator.gate_proba(rows)
    for k, colour in enumerate(colours):
        axis.plot(grid, proba[:, k], color=colour, lw=2, label=f"expert {k}")
    axis.set_ylim(-0.03, 1.03)
    axis.set_ylabel("gate probability")
