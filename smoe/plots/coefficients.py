"""Slopes with their confidence intervals, side by side."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from smoe.hints import Data, Model, Names
from smoe.inference import Covariance
from smoe.inference.estimates import summary
from smoe.plots._axes import check_axes, expert_styles, legend_above
from smoe.validation import check_mixture

__all__ = ["plot_coefficients"]

_MARKERS = "osD^vP"


def plot_coefficients(
    estimator: Model,
    X: Data = None,
    names: Names | None = None,
    *,
    coverage: float = 0.95,
    covariance: Covariance | None = None,
    axes: Any = None,
) -> Figure:
    """Draw the slopes of gate and experts with their confidence intervals (a forest plot).

    Each column of X has a row, of classes or responses one for each, and each expert a mark in it. What has no standard
    error is a mark without a line; what is zero by the gate's convention, such as its last expert, is not drawn.

    Parameters
    ----------
    estimator : MoERegressor or FittedMixture
        Fitted.
    X : array-like of shape (n_samples, n_features), default=None
        Rows whose standard deviations put slopes on one scale, mostly those of the fit; None draws slopes per unit of
        X, which cannot be compared from column to column.
    names : list of str or None, default=None
        What to call the columns of X; None for their names in the data, or else x0, x1, ...
    coverage : float, default=0.95
        Of the confidence intervals.
    covariance : Covariance or None, default=None
        What ``covariance(...)`` has returned, a robust one for example; None for that of the fit.
    axes : sequence of two matplotlib Axes, default=None
        For the gate and for the experts; new ones when None.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_engel
    >>> from smoe.plots import plot_coefficients
    >>> X, y = load_engel(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> [axis.get_xlabel() for axis in plot_coefficients(model, X).axes]
    ['gate: log odds per standard deviation', 'experts: y per standard deviation']
    """
    fit = check_mixture(estimator, "estimator")
    names = fit.columns.named(names)
    table = summary(fit, names, coverage=coverage, covariance=covariance)
    found = dict(zip(table.names, table.table[:, [0, 4, 5]], strict=True))
    scale = np.ones(len(names)) if X is None else fit.blocks(X).source.whole().X.std(axis=0)
    scale_of_y = "y" if fit.model.expert.units in ("affine", "similar") else "linear predictor"
    per = "unit of x" if X is None else "standard deviation"
    sides = {"gate": fit.gate_columns, "expert": fit.expert_columns}
    drawn = [_slopes(fit, names, side, columns, scale, found) for side, columns in sides.items()]
    if axes is None:
        rows = max(len(labels) * max(len(series), 1) for labels, series in drawn)
        axes = plt.subplots(1, 2, figsize=(9, 1.8 + 0.22 * rows), layout="constrained")[1]
    axes = check_axes(axes, 2)
    styles = expert_styles(fit.n_experts)
    words = f"gate: log odds per {per}", f"experts: {scale_of_y} per {per}"
    for axis, part, label in zip(axes, drawn, words, strict=True):
        _forest(axis, *part, styles=styles)
        axis.set_xlabel(label)
    legend_above(axes[1], ncols=min(fit.n_experts, 4), title=f"{100 * coverage:g} % confidence intervals")
    return axes[0].figure


def _slopes(fit, names, side, columns, scale, found):
    """Return the rows' labels and, by expert (None for all), estimates and intervals (n_rows, 3) of what is not pinned.

    A gate that is not linear in its columns has none: centres, for instance, are not on the scale of log odds.
    """
    linear = fit.model.gate.linear if side == "gate" else True
    entries = [
        entry
        for entry, pinned in zip(fit.entries(names), fit.pinned, strict=True)
        if linear and entry.part == side and entry.feature is not None and not pinned
    ]
    labels = list(dict.fromkeys(entry.label for entry in entries))
    series = {entry.expert: np.full((len(labels), 3), np.nan) for entry in entries}
    for entry in entries:
        series[entry.expert][labels.index(entry.label)] = scale[columns[entry.feature]] * found[entry.name]
    return labels, series


def _forest(axis, names, series, styles):
    """Draw estimates and intervals by expert and row, the first row on top."""
    places, step = np.arange(len(names)), 0.7 / max(len(series), 1)
    axis.axvline(0.0, color="0.6", lw=1, zorder=0)
    for i, (k, rows) in enumerate(series.items()):
        at = places + step * (i - 0.5 * (len(series) - 1))
        estimate, low, high = rows.T
        colour, label = ("0.2", "all experts") if k is None else (styles[k]["color"], f"expert {k}")
        axis.hlines(at, low, high, color=colour, lw=2)
        axis.plot(estimate, at, _MARKERS[i % len(_MARKERS)], color=colour, ms=6, label=label)
    axis.set_yticks(places, names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    for place in places[:-1]:
        axis.axhline(place + 0.5, color="0.9", lw=0.8, zorder=0)
    axis.spines[["top", "right"]].set_visible(False)
