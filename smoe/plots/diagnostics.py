"""Pictures of what `smoe.diagnostics.diagnose` found. Bands say where a right model stays."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy.special import betainc, betaincinv
from scipy.stats import binom, norm

from smoe.diagnostics import Calibration, Diagnosis, Rootogram
from smoe.hints import Data
from smoe.plots._axes import check_axes, expert_styles, legend_above, literal
from smoe.validation import check_floats, check_instance, check_level, check_number

__all__ = [
    "plot_calibration",
    "plot_diagnostics",
    "plot_expert_load",
    "plot_pit",
    "plot_residual_qq",
    "plot_residuals",
    "plot_rootogram",
]

_DATA, _OTHER, _MODEL, _BAND = "#0072B2", "#E69F00", "0.15", "0.85"
_POINTS = 4000  # that are drawn; more make heavy files and black clouds
_ORDERS, _SIMULATIONS = 200, 1000  # order statistics and samples that the simultaneous band is found from
_QUANTILES = (0.1, 0.5, 0.9)


def plot_residual_qq(diagnosis: Diagnosis, coverage: float = 0.95, ax: Axes | None = None) -> Axes:
    """Draw ordered quantile residuals against normal quantiles, as departures would show under the model.

    Parameters
    ----------
    diagnosis : Diagnosis
    coverage : float, default=0.95
        Probability that all residuals of a right model with known parameters stay within the band; every order
        statistic has the same chance of leaving it. Residuals of the data of the fit stay within more often.
    ax : matplotlib Axes, default=None
        New ones when None.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Aldor-Noiman, S., Brown, L. D., Buja, A., Rolke, W. and Stine, R. A. (2013). The power to see: a new graphical test
    of normality. The American Statistician 67, 249-260.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.plots import plot_residual_qq
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> plot_residual_qq(model.diagnose(X, y)).get_ylabel()
    'quantile residual'
    """
    _check(diagnosis), check_level(coverage, "coverage")
    ax = _axes(ax)
    values = np.sort(diagnosis.residuals, axis=None)
    n = len(values)
    expected = norm.ppf((np.arange(1, n + 1) - 0.5) / n)
    orders, low, high = _qq_band(n, coverage)
    ax.fill_between(expected[orders - 1], low, high, color=_BAND, lw=0, label=f"{100 * coverage:g} % band")
    ends = expected[[0, -1]]
    ax.plot(ends, ends, color=_MODEL, lw=1, label="model")
    shown = _thinned_ends(n)
    ax.plot(expected[shown], values[shown], "o", color=_DATA, ms=3, mew=0, alpha=0.8, label="residuals")
    ax.set(xlabel="normal quantile", ylabel="quantile residual")
    legend_above(ax, ncols=3)
    return ax


def _qq_band(n, coverage):
    """Return order statistics 1..n and their limits, simultaneous at equal local levels."""
    lower = np.round(np.geomspace(1, (n + 1) / 2, min(n, _ORDERS))).astype(int)  # dense at the end
    orders = np.unique(np.concatenate([lower, n + 1 - lower]))
    rng, small = np.random.default_rng(0), np.empty(_SIMULATIONS)
    for i in range(_SIMULATIONS):
        level = betainc(orders, n + 1 - orders, _uniform_orders(orders, n, rng))
        small[i] = np.minimum(level, 1.0 - level).min()
    local = np.quantile(small, 1.0 - coverage)
    limits = betaincinv(orders, n + 1 - orders, local), betaincinv(n + 1 - orders, orders, local)
    return orders, norm.ppf(limits[0]), -norm.ppf(limits[1])


def _uniform_orders(orders, n, rng):
    """Draw order statistics of n uniform numbers: sums of exponential ones over their total."""
    steps = rng.gamma(np.diff(orders, prepend=0, append=n + 1))
    return np.cumsum(steps)[:-1] / steps.sum()


def _thinned_ends(n):
    """Indices of sorted values to draw: all of few, and of many the ends and every so many between them."""
    if n <= _POINTS:
        return np.arange(n)
    ends = np.arange(_POINTS // 4)
    return np.unique(np.concatenate([ends, np.linspace(0, n - 1, _POINTS // 2).astype(int), n - 1 - ends]))


def plot_pit(diagnosis: Diagnosis, n_bins: int | None = None, coverage: float = 0.95, ax: Axes | None = None) -> Axes:
    """Draw the histogram of the PIT values, flat if the model is right.

    A hump says that the predictive distribution is too wide, a bowl that it is too narrow, a slope that it is biased.
    The PIT values of whole numbers are randomised (`smoe.diagnostics.diagnose`), and flat as others are.

    Parameters
    ----------
    diagnosis : Diagnosis
    n_bins : int or None, default=None
        None for one bin per 40 rows, from 5 to 20.
    coverage : float, default=0.95
        Smallest probability (Bonferroni) that all bins of a right model with known parameters stay within the band.
    ax : matplotlib Axes, default=None
        New ones when None.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Gneiting, T., Balabdaoui, F. and Raftery, A. E. (2007). Probabilistic forecasts, calibration and sharpness. Journal
    of the Royal Statistical Society B 69, 243-268.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.plots import plot_pit
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> plot_pit(model.diagnose(X, y)).get_xlabel()
    'PIT value'
    """
    _check(diagnosis), check_level(coverage, "coverage")
    n = diagnosis.pit.size
    n_bins = int(np.clip(n // 40, 5, 20)) if n_bins is None else n_bins
    check_number(n_bins, "n_bins", 1, integer=True)
    ax = _axes(ax)
    tail = (1.0 - coverage) / (2.0 * n_bins)
    low, high = binom.ppf([tail, 1.0 - tail], n, 1.0 / n_bins) * n_bins / n
    density = np.histogram(diagnosis.pit.ravel(), n_bins, (0.0, 1.0))[0] * n_bins / n
    ax.axhspan(low, high, color=_BAND, lw=0, label=f"{100 * coverage:g} % band")
    ax.stairs(density, np.linspace(0.0, 1.0, n_bins + 1), baseline=None, color=_DATA, lw=2, label="PIT values")
    ax.axhline(1.0, color=_MODEL, lw=1, label="model")
    ax.set(xlabel="PIT value", ylabel="density", xlim=(0, 1), ylim=(0, None))
    legend_above(ax, ncols=3)
    return ax


def plot_residuals(
    diagnosis: Diagnosis, x: ArrayLike | None = None, name: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw quantile residuals against the fitted mean or any other number, with their running quantiles.

    Under the model the 10, 50 and 90 % quantiles are -1.28, 0 and 1.28 everywhere (dashed).

    Parameters
    ----------
    diagnosis : Diagnosis
    x : array-like of shape (n_samples,), default=None
        Such as a column of X, also one that the model does not see; None for the fitted mean.
    name : str or None, default=None
        What to call x.
    ax : matplotlib Axes, default=None
        New ones when None.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        x has not one number per residual.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.plots import plot_residuals
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> plot_residuals(model.diagnose(X, y), X[:, 0], "waiting").get_xlabel()
    'waiting'
    """
    _check(diagnosis)
    (n, *several), values = diagnosis.residuals.shape, diagnosis.residuals.ravel()
    if name is not None:
        check_instance(name, str, "name")
    name = name or (("fitted means, standardised" if several else "fitted mean") if x is None else "x")
    x = diagnosis.fitted if x is None else check_floats(x, "x")
    if several and x is diagnosis.fitted:
        x = ((x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)).ravel()
    elif x.shape != (n,):
        raise ValueError(f"x must have one number per residual, shape ({n},), got {x.shape}.")
    elif several:
        x = np.repeat(x, several)
    n = len(values)
    ax = _axes(ax)
    shown = np.arange(n) if n <= _POINTS else np.random.default_rng(0).choice(n, _POINTS, replace=False)
    ax.plot(x[shown], values[shown], "o", color=_DATA, ms=3, mew=0, alpha=0.5, label="residuals")
    place, lines = _running_quantiles(x, values)
    for k, (level, line) in enumerate(zip(_QUANTILES, lines, strict=True)):
        labels = ("10, 50, 90 % quantiles", "model") if k == 0 else (None, None)
        ax.plot(place, line, color=_OTHER, lw=2, label=labels[0])
        ax.axhline(norm.ppf(level), color=_MODEL, lw=1, ls="--", label=labels[1])
    ax.set(xlabel=literal(name), ylabel="quantile residual")
    legend_above(ax, ncols=3)
    return ax


def _running_quantiles(x, values):
    """Medians of x and quantiles of the values in groups of equal size, (n_groups,) and (3, n_groups)."""
    n_groups = int(np.clip(len(x) // 30, 1, 15))
    groups = np.array_split(np.argsort(x, kind="stable"), n_groups)
    return [np.median(x[g]) for g in groups], np.array([np.quantile(values[g], _QUANTILES) for g in groups]).T


def plot_expert_load(diagnosis: Diagnosis, ax: Axes | None = None) -> Axes:
    """Draw how much each expert is used: shares of rows by responsibility, and as the gate's first choice.

    Parameters
    ----------
    diagnosis : Diagnosis
    ax : matplotlib Axes, default=None
        New ones when None.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.plots import plot_expert_load
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> plot_expert_load(model.diagnose(X, y)).get_xlabel()
    'expert'
    """
    _check(diagnosis)
    ax = _axes(ax)
    k, n = np.arange(len(diagnosis.load)), len(diagnosis.pit)
    size = "small" if len(k) <= 6 else "xx-small"
    for bars in (
        ax.bar(k - 0.2, diagnosis.load / n, 0.4, color=_DATA, label="responsible for"),
        ax.bar(k + 0.2, diagnosis.first, 0.4, color=_OTHER, hatch="//", ec="white", label="first choice of the gate"),
    ):
        ax.bar_label(bars, fmt="{:.2f}", fontsize=size, padding=1, rotation=0 if len(k) <= 6 else 90)
    ax.set(
        xlabel="expert",
        ylabel="share of rows",
        xticks=k,
        ylim=(0, 1.12 * max(0.01, *diagnosis.load / n, *diagnosis.first)),
        xlim=k.mean() + max(len(k), 3) * np.array([-0.5, 0.5]),
    )
    legend_above(ax, ncols=2)
    return ax


def plot_rootogram(rootogram: Rootogram, ax: Axes | None = None) -> Axes:
    """Draw observed counts hanging from expected ones, on the scale of square roots.

    Bars end at zero where both agree. One that ends above zero says that the model expects more than there is, one that
    ends below that it expects fewer. On this scale deviations of all counts are comparable: under the model nearly all
    ends lie within one of zero (grey).

    Parameters
    ----------
    rootogram : Rootogram
        Of `smoe.diagnostics.rootogram`.
    ax : matplotlib Axes, default=None
        New ones when None.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Kleiber, C. and Zeileis, A. (2016). Visualizing count data regressions using rootograms. The American Statistician
    70, 296-303.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.diagnostics import Rootogram
    >>> from smoe.plots import plot_rootogram
    >>> counts = Rootogram(np.array([0.0, 1.0, 2.0, 3.0]), np.array([9, 4, 2.0]), np.array([8.0, 5.5, 1.2]))
    >>> plot_rootogram(counts).get_ylabel()
    'square root of the number of rows'
    """
    check_instance(rootogram, Rootogram, "rootogram", "as smoe.diagnostics.rootogram(model, X, y) returns it")
    ax = _axes(ax)
    ax.use_sticky_edges = False  # bars stand on what is expected, which would be the axis' end
    edges, (observed, expected) = rootogram.edges, np.sqrt([rootogram.observed, rootogram.expected])
    width = np.diff(edges)
    centre = edges[:-1] + 0.5 * (width - 1.0)
    ax.axhspan(-1.0, 1.0, color=_BAND, lw=0, zorder=0)
    ax.bar(centre, -observed, 0.9 * width, expected, color=_DATA, alpha=0.7, label="observed", zorder=1)
    ax.plot(centre, expected, "o-", color=_OTHER, ms=3, lw=1.5, label="expected", zorder=2)
    ax.axhline(0.0, color=_MODEL, lw=1, zorder=3)
    ax.set(xlabel="y", ylabel="square root of the number of rows")
    legend_above(ax, ncols=2)
    return ax


def plot_calibration(calibration: Calibration, classes: Sequence | None = None, ax: Axes | None = None) -> Axes:
    """Draw how often classes occur against how often the model says, bin by bin; points lie on the diagonal if right.

    Parameters
    ----------
    calibration : Calibration
        What `smoe.diagnostics.calibration` has returned. Lines span two standard deviations under the model.
    classes : list or None, default=None
        Labels to draw; None for all, or the second of two.
    ax : matplotlib Axes, default=None
        New ones when None.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Hosmer, D. W. and Lemeshow, S. (1980). Goodness of fit tests for the multiple logistic regression model.
    Communications in Statistics A 9, 1043-1069.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from smoe import MoEClassifier
    >>> from smoe.diagnostics import calibration
    >>> from smoe.plots import plot_calibration
    >>> X, y = load_iris(return_X_y=True)
    >>> plot_calibration(calibration(MoEClassifier(1).fit(X, y), X, y)).get_xlabel()
    'predicted probability'
    """
    check_instance(calibration, Calibration, "calibration", "as smoe.diagnostics.calibration(model, X, y) returns it")
    labels = calibration.classes.tolist()
    chosen = (labels[1:] if len(labels) == 2 else labels) if classes is None else classes
    if not isinstance(chosen, list | tuple) or not chosen or any(one not in labels for one in chosen):
        raise ValueError(f"classes must be a list of some of {labels}, got {classes!r}.")
    ax = _axes(ax)
    ax.plot([0, 1], [0, 1], color=_MODEL, lw=1, label="model")
    for one, style in zip(chosen, expert_styles(len(chosen)), strict=True):
        c = labels.index(one)
        x, y, error = calibration.predicted[c], calibration.observed[c], 2.0 * calibration.error[c]
        ends = np.minimum(error, x), np.minimum(error, 1.0 - x)
        ax.errorbar(x, y, ends, fmt="o-", color=style["color"], ms=4, lw=1, elinewidth=1, label=literal(str(one)))
    ax.set(xlabel="predicted probability", ylabel="observed share", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    legend_above(ax, ncols=4)
    return ax


def plot_diagnostics(
    diagnosis: Any, X: Data = None, y: ArrayLike | None = None, coverage: float = 0.95, axes: Any = None
) -> Figure:
    """Draw all of it: residuals against normal quantiles and against the mean, PIT values, use of the experts.

    Parameters
    ----------
    diagnosis : Diagnosis or MoERegressor
        What ``diagnose`` has returned, or a fitted estimator, which is asked for it: ``plot_diagnostics(model, X, y)``
        as in ``plot_fit``.
    X : array-like of shape (n_samples, n_features), default=None
    y : array-like of shape (n_samples,), default=None
        Rows for an estimator. A ``Diagnosis`` has its own: behind it these two places are for ``coverage`` and
        ``axes``.
    coverage : float, default=0.95
        Of the bands.
    axes : sequence of four matplotlib Axes, default=None
        New ones when None.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    TypeError
        An estimator without X and y, or something else that cannot be diagnosed.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.plots import plot_diagnostics
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> len(plot_diagnostics(model, X, y).axes)
    4
    """
    if isinstance(diagnosis, Diagnosis):
        coverage, axes = (coverage if X is None else X), (axes if y is None else y)
    elif X is None or y is None or not hasattr(diagnosis, "diagnose"):
        raise TypeError(
            "diagnosis must be a Diagnosis, as model.diagnose(X, y) returns it, or a fitted estimator with X and y; "
            f"got {type(diagnosis).__name__}."
        )
    else:
        diagnosis = diagnosis.diagnose(X, y)
    check_level(coverage, "coverage")
    if axes is None:
        axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")[1]
    qq, against, pit, load = check_axes(axes, 4)
    plot_residual_qq(diagnosis, coverage, qq)
    plot_residuals(diagnosis, ax=against)
    plot_pit(diagnosis, coverage=coverage, ax=pit)
    plot_expert_load(diagnosis, load)
    return qq.figure


def _check(diagnosis):
    check_instance(diagnosis, Diagnosis, "diagnosis", "pass model.diagnose(X, y)")


def _axes(ax):
    return plt.subplots(figsize=(5, 4), layout="constrained")[1] if ax is None else check_axes(ax, 1, "ax")[0]
