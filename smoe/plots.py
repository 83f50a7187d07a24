"""Pictures. The only module that imports matplotlib; install it with ``pip install smoe[plots]``."""

from itertools import groupby

import numpy as np
from sklearn.utils.validation import check_is_fitted

from smoe.validation import check_levels

try:
    import matplotlib.pyplot as plt
except ImportError as error:
    raise ImportError("smoe.plots needs matplotlib: pip install smoe[plots]") from error

__all__ = ["plot_fit", "plot_rates"]

_GRID = 400
_MARGIN = 0.03


def plot_fit(estimator, X, y, coverage=0.9, feature=None, axes=None):
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
    check_is_fitted(estimator)
    names = list(getattr(estimator, "feature_names_in_", [f"x{j}" for j in range(estimator.n_features_in_)]))
    x_name, y_name = "x" if len(names) == 1 and names == ["x0"] else None, getattr(y, "name", None) or "y"
    column = _column(feature, names)
    values = np.asarray(X, dtype=float)
    grid, rows = _grid_rows(X, values, column)
    if axes is None:
        axes = _new_axes()
    top, bottom = axes
    colours = [f"C{k}" for k in range(estimator.n_experts)]
    _draw_fit(top, estimator, values[:, column], y, grid, rows, coverage, colours)
    _draw_gate(bottom, estimator, grid, rows, colours)
    top.set_ylabel(y_name)
    bottom.set_xlabel(x_name or names[column])
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
    return grid, type(X)(rows, columns=X.columns) if hasattr(X, "columns") and hasattr(X, "iloc") else rows


def _new_axes():
    _, axes = plt.subplots(2, 1, sharex=True, figsize=(7, 6.5), height_ratios=(3, 1), layout="constrained")
    return axes


def _draw_fit(axis, estimator, x, y, grid, rows, coverage, colours):
    low, high = estimator.predict_interval(rows, coverage).T
    axis.fill_between(grid, low, high, color="0.88", label=f"{100 * coverage:g} % prediction band", zorder=0)
    axis.scatter(x, np.asarray(y), s=14, color="0.35", alpha=0.7, linewidths=0, label="data")
    proba, lines = estimator.gate_proba(rows), estimator.expert_predict(rows)
    for k, colour in enumerate(colours):
        active = np.where(proba[:, k] > 0.02, lines[:, k], np.nan)
        axis.plot(grid, active, color=colour, lw=2, label=f"expert {k}")
    axis.plot(grid, estimator.predict(rows), color="k", lw=1.5, ls="--", label="mean")
    _legend_above(axis, ncols=2)


def _legend_above(axis, **settings):
    """Inside it would cover what is drawn."""
    where = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.2}
    axis.legend(**where, fontsize="small", title_fontsize="small", alignment="left", frameon=False, **settings)


def _draw_gate(axis, estimator, grid, rows, colours):
    proba = estimator.gate_proba(rows)
    for k, colour in enumerate(colours):
        axis.plot(grid, proba[:, k], color=colour, lw=2, label=f"expert {k}")
    axis.set_ylim(-0.03, 1.03)
    axis.set_ylabel("gate probability")


def plot_rates(result, losses=None, theory=None, center="median", n_min=None, band=0.8, axes=None):
    """Draw losses against the number of rows on log scales, with fitted and theoretical slopes.

    Below them, by size, the shares of fits that are less likely than the truth (or raised an error) and of those
    without certificate: they say how far the losses are those of maximum-likelihood estimates.

    Parameters
    ----------
    result : StudyResult
    losses : str, list of str or None, default=None
        Which of ``result.losses``; None for all.
    theory : float, dict or None, default=None
        Theoretical slope of all losses, or of some by name, such as ``{"D2": -0.5}``.
    center : {"median", "mean"}, default="median"
    n_min : int or None, default=None
        Smallest size used for the fitted slopes.
    band : float, default=0.8
        Share of fits within the band of each size (equal tails).
    axes : sequence of two matplotlib Axes, default=None
        For the losses and for the shares; new ones when None.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ValueError
        An unknown loss, or one that has no rate.

    Examples
    --------
    >>> from smoe.plots import plot_rates
    >>> from smoe.simulation import Record, StudyResult
    >>> def record(n, replication):
    ...     losses = {"D1": (1 + 0.1 * replication) / n**0.5}
    ...     return Record(n, replication, [0, n, replication], {}, 0.0, 0.0, 0.0, 1, True, "converged", 0.1, losses)
    >>> result = StudyResult([record(n, r) for n in (100, 1000, 10000) for r in range(5)])
    >>> figure = plot_rates(result, theory=-0.5)
    >>> [axis.get_ylabel() for axis in figure.axes]
    ['median loss', 'share of fits']
    """
    losses = result.losses if losses is None else [losses] if isinstance(losses, str) else list(losses)
    if not losses:
        raise ValueError("losses: there is none to draw; run the study with losses, or see StudyResult.with_losses.")
    slopes = theory if isinstance(theory, dict) else dict.fromkeys(losses, theory)
    tail = (1.0 - float(check_levels(band, "band"))) / 2.0
    top, bottom = _new_axes() if axes is None else axes
    for k, loss in enumerate(losses):
        rate = result.rate(loss, center, n_min)
        _draw_loss(top, result.values(loss), tail, rate, f"C{k}")
        _draw_rate(top, loss, rate, slopes.get(loss), f"C{k}")
    top.set(xscale="log", yscale="log", ylabel=f"{center} loss")
    _legend_above(top, title=f"{100 * rate.confidence:g} % intervals; band: {100 * band:g} % of fits")
    _draw_shares(bottom, result)
    return top.figure


def _draw_loss(axis, values, tail, rate, colour):
    """Centers and quantile band of a loss by size."""
    middle = {"median": np.median, "mean": np.mean}[rate.center]
    low, high = np.transpose([np.quantile(v, [tail, 1.0 - tail]) for v in values.values()])
    axis.fill_between(list(values), low, high, color=colour, alpha=0.15, linewidth=0)
    axis.plot(list(values), [middle(v) for v in values.values()], ".", color=colour, ms=5, alpha=0.7)


def _draw_rate(axis, loss, rate, theory, colour):
    """The fitted line, and a line of the theoretical slope through its middle."""
    ends = np.array([rate.n_min, rate.n_max], dtype=float)
    low, high = rate.interval
    label = f"{loss}: slope {rate.slope:.3f} ({low:.3f} to {high:.3f})"
    if theory is not None:
        label += f", theory {theory:g} (dashed)"
    axis.plot(ends, rate.at(ends), color=colour, lw=2, label=label)
    if theory is not None:
        middle = np.sqrt(ends.prod())
        axis.plot(ends, rate.at(middle) * (ends / middle) ** theory, color=colour, ls="--")


def _draw_shares(axis, result):
    """Shares by size; the legend has them over all fits."""
    sizes, below, uncertified = [], [], []
    for n, records in groupby(result.records, key=lambda record: record.n):
        records = list(records)
        sizes.append(n)
        below.append(np.mean([record.below_truth for record in records]))
        uncertified.append(np.mean([not record.converged for record in records]))
    label = f"below the truth's likelihood: {100 * result.share_below_truth:.1f} %"
    axis.plot(sizes, below, "o-", color="C3", ms=3, label=label)
    axis.plot(sizes, uncertified, "s-", color="0.4", ms=3, label=f"uncertified: {100 * result.share_uncertified:.1f} %")
    axis.set(xscale="log", ylim=(-0.05, 1.05), xlabel="number of rows n", ylabel="share of fits")
    _legend_above(axis, ncols=2)


def _legend_above(axis, **settings):
    """Inside it would cover what is drawn."""
    where = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.2}
    axis.legend(**where, fontsize="small", title_fontsize="small", alignment="left", frameon=False, **settings)
