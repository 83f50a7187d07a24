"""Fits against one covariate."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from smoe.hints import Data, Model
from smoe.plots._axes import check_axes, expert_styles, legend_above, literal, new_axes
from smoe.plots._curves import OTHERS, Curves, chosen_column, curves
from smoe.validation import check_choice, check_level, check_mixture, with_codes

__all__ = ["plot_fit"]

_VISIBLE = 0.02  # gate probability from which an expert is drawn
_IN_LEGEND = 6  # so many experts fit into a legend; more are numbered beside their lines


def plot_fit(
    estimator: Model,
    X: Data,
    y: ArrayLike | None,
    coverage: float = 0.9,
    feature: int | str | None = None,
    axes: Any = None,
    mean_coverage: float | None = None,
    others: str = "near",
) -> Figure:
    """Draw data, experts, gate and prediction band of a fit against one covariate.

    Parameters
    ----------
    estimator : MoERegressor or FittedMixture
        Fitted.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    coverage : float, default=0.9
        Coverage of the pointwise prediction band (equal tails).
    feature : int, str or None, default=None
        The column on the horizontal axis. Not needed when there is one.
    axes : sequence of two matplotlib Axes, default=None
        For the fit and for the gate; new ones when None.
    mean_coverage : float or None, default=None
        Also draw the pointwise confidence band of the mean with this coverage (``mean_interval``).
    others : {"near", "average", "median"}, default="near"
        What the other columns are, if there are any; the picture says it. "near": at each point the predicted
        distributions of the rows whose value of the feature is nearest are averaged, each with its own other columns.
        The band then holds the data if the model is right, however the columns depend on each other. "average": all
        rows are set to the value (partial dependence), which shows the effect of the feature alone but, where columns
        depend on each other, rows that do not exist. "median": the others stand at their medians.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ValueError
        The family's responses are not numbers; no such feature, or none chosen among several; unknown ``others``.

    Notes
    -----
    The band of whole numbers is drawn as the steps that it has. An expert is drawn where the gate gives it at least
    2 %. With averages the mean of an expert is that of rows weighted by their gate probability, and the band has
    the quantiles of the averaged distribution. The band of the mean is then averaged too, and wider than need be.

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
    fit = check_mixture(estimator, "estimator")
    if (kind := fit.model.expert.support.kind) not in ("real", "integers"):
        hint = ": see predict_distribution(X).marginal(j) for one of them" if kind == "vectors" else ""
        raise ValueError(f"plot_fit draws responses that are numbers; those of {fit.model.expert!r} are {kind}{hint}.")
    for name, level in (("coverage", coverage), ("mean_coverage", 0.5 if mean_coverage is None else mean_coverage)):
        check_level(level, name)
    fit, X = fit.without_formula(X)
    names = fit.columns.named()
    x_name, y_name = "x" if len(names) == 1 and names == ["x0"] else None, getattr(y, "name", None) or "y"
    column = chosen_column(feature, names)
    check_choice(others, "others", OTHERS)
    check_level(coverage, "coverage")
    fit.score_samples(X, y)  # says what is wrong with them
    X = with_codes(X, fit.roles.group)
    found = curves(fit, X, column, others, coverage, mean_coverage)
    top, bottom = new_axes() if axes is None else check_axes(axes, 2)
    styles = expert_styles(fit.n_experts)
    step = "mid" if kind == "integers" else None
    _draw_fit(top, found, np.asarray(X, dtype=float)[:, column], y, styles, (coverage, mean_coverage), step)
    _draw_gate(bottom, found, styles)
    few = len(styles) <= _IN_LEGEND
    if not few:
        _number(top, bottom, found, styles)
    legend_above(
        top, ncols=3 if few else 4, title=OTHERS[others].format(literal(names[column])) if len(names) > 1 else None
    )
    top.set_ylabel(literal(y_name))
    bottom.set_xlabel(literal(x_name or names[column]))
    return top.figure


def _draw_fit(axis, found: Curves, x, y, styles, levels, step):
    label = f"{100 * levels[0]:g} % prediction band"
    axis.fill_between(found.grid, *found.band, color="0.88", label=label, zorder=0, step=step)
    alpha = np.clip(700 / len(x), 0.15, 0.7)  # many points are a cloud
    axis.scatter(x, np.asarray(y), s=14, color="0.35", alpha=alpha, linewidths=0, label="data")
    for k, style in enumerate(styles):
        line = np.where(found.proba[:, k] > _VISIBLE, found.lines[:, k], np.nan)
        label = f"expert {k}" if len(styles) <= _IN_LEGEND else None
        axis.plot(found.grid, line, lw=2.2, label=label, **style)
    axis.plot(found.grid, found.mean, color="k", lw=1.6, ls=":", label="mean")
    if found.mean_band is not None:
        label = f"{100 * levels[1]:g} % band of the mean"
        axis.fill_between(found.grid, *found.mean_band, color="k", alpha=0.25, lw=0, label=label)


def _draw_gate(axis, found, styles):
    for k, style in enumerate(styles):
        axis.plot(found.grid, found.proba[:, k], lw=2, label=f"expert {k}", **style)
    axis.set_ylim(-0.03, 1.03)
    axis.set_ylabel("gate probability")


def _number(top, bottom, found, styles):
    """Write the number of each expert where the gate likes it most."""
    for k, style in enumerate(styles):
        at = int(
            np.median(np.flatnonzero(found.proba[:, k] > 0.99 * found.proba[:, k].max()))
        )  # of a plateau the middle
        if found.proba[at, k] > _VISIBLE:
            for axis, height in ((top, found.lines[at, k]), (bottom, found.proba[at, k])):
                box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": style["color"], "lw": 1.5}
                axis.text(found.grid[at], height, str(k), ha="center", va="center", fontsize="small", bbox=box)
