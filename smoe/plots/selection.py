"""How many experts: the path of a selection, and the dendrogram of one over-fitted mixture."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator
from scipy.cluster import hierarchy

from smoe.plots._axes import legend_above

__all__ = ["plot_dendrogram", "plot_selection"]

_NAMES = {"aic": "AIC", "bic": "BIC", "icl": "ICL", "cv": "cross-validation", "slope": "slope", "jump": "jump"}
_LINEAR = 10.0  # differences of criteria up to here are drawn to scale, larger ones by their logarithm


def plot_selection(selection, criteria=("aic", "bic", "icl"), axes=None):
    """Draw criteria and log-likelihood against the number of experts.

    Each criterion is drawn as its distance from its smallest value, to scale up to ten and logarithmically above.
    Hollow markers are fits that are no certified maxima; the dashed line is the choice.

    Parameters
    ----------
    selection : Selection
        From `smoe.selection.select_n_experts`, or ``selection_`` of a `smoe.selection.MoERegressorSelect`.
    criteria : sequence of str, default=("aic", "bic", "icl")
        Columns of the table, drawn beside the one that chose.
    axes : sequence of two matplotlib Axes, default=None
        For the criteria and for the log-likelihood; new ones when None.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.plots import plot_selection
    >>> from smoe.selection import select_n_experts
    >>> X, y = load_faithful(return_X_y=True)
    >>> found = select_n_experts(SoftmaxMoERegressor(random_state=0), X, y, (1, 2))
    >>> [axis.get_ylabel() for axis in plot_selection(found).axes]
    ['above its minimum', 'log-likelihood']
    """
    selection = getattr(selection, "selection_", selection)
    table = selection.table
    if axes is None:
        axes = _two_panels(share=True)
    top, bottom = axes
    names = [name for name in criteria if name != selection.criterion]
    curves = {_NAMES[name]: table[name] for name in names}
    curves[_NAMES.get(selection.criterion, selection.criterion)] = table["criterion"]
    sizes, good = np.array(table["n_experts"]), np.array(table["converged"], dtype=bool)
    for position, (label, values) in enumerate(curves.items()):
        chosen = position == len(curves) - 1
        style = {"color": "k" if chosen else f"C{position}", "lw": 2 if chosen else 1.4, "zorder": 3 if chosen else 2}
        label = f"{label} (chooses {selection.n_experts_})" if chosen else label
        _path(top, sizes, np.subtract(values, min(values)), good, label, style)
    top.set_yscale("symlog", linthresh=_LINEAR, linscale=1.0)
    top.set_ylim(bottom=-0.06 * _LINEAR)
    top.set_ylabel("above its minimum")
    _path(bottom, sizes, table["loglik"], good, None, {"color": "0.3", "lw": 1.6})
    bottom.set_ylabel("log-likelihood")
    _finish(top, bottom, selection.n_experts_)
    if not good.all():
        top.plot([], [], "o", mfc="white", mec="0.3", label="no certified maximum")
    legend_above(top, ncols=3)
    return top.figure


def plot_dendrogram(tree, axes=None):
    """Draw the dendrogram of an over-fitted mixture, and the log-likelihood along its path.

    Parameters
    ----------
    tree : Dendrogram
        From `smoe.selection.dendrogram`. Heights that fall are drawn level with the one before.
    axes : sequence of two matplotlib Axes, default=None
        For the tree and for the log-likelihood; new ones when None.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import make_moe
    >>> from smoe.plots import plot_dendrogram
    >>> from smoe.selection import dendrogram
    >>> moe = make_moe(1000, n_experts=2, random_state=3)
    >>> model = SoftmaxMoERegressor(4, random_state=1).fit(moe.data, moe.target)
    >>> [axis.get_ylabel() for axis in plot_dendrogram(dendrogram(model, moe.data, moe.target)).axes]
    ['height', 'log-likelihood']
    """
    if axes is None:
        axes = _two_panels(share=False)
    top, bottom = axes
    linkage, first = tree.linkage, len(tree.levels)
    heights = np.concatenate([[0.0], linkage[:, 2], [1.1 * linkage[-1, 2]]])
    cut = 0.5 * (heights[first - tree.n_experts] + heights[first - tree.n_experts + 1])
    hierarchy.dendrogram(linkage, ax=top, color_threshold=cut, above_threshold_color="0.4")
    top.axhline(cut, color="k", ls="--", lw=1, label=f"cut: {tree.n_experts} experts")
    top.tick_params(axis="x", labelsize="medium")
    top.set_xlabel("expert of the over-fitted mixture")
    top.set_ylabel("height")
    top.spines[["top", "right"]].set_visible(False)
    legend_above(top)
    sizes = np.array(tree.levels)
    _path(bottom, sizes, tree.loglik, np.ones(len(sizes), dtype=bool), None, {"color": "0.3", "lw": 1.6})
    bottom.invert_xaxis()
    bottom.set_ylabel("log-likelihood")
    _finish(bottom, bottom, tree.n_experts)
    return top.figure


def _two_panels(share):
    _, axes = plt.subplots(2, 1, sharex=share, figsize=(7, 6), height_ratios=(2, 1), layout="constrained")
    return axes


def _path(axis, sizes, values, good, label, style):
    """A line with full markers where fits are certified, hollow ones elsewhere."""
    values = np.asarray(values, dtype=float)
    values = np.where(np.isfinite(values), values, np.nan)  # an infinite price is left out
    axis.plot(sizes, values, marker="o", ms=6, label=label, **style)
    hollow = {"color": style["color"], "zorder": style.get("zorder", 2) + 0.5}
    axis.plot(sizes[~good], values[~good], "o", ms=6, mfc="white", **hollow)


def _finish(top, bottom, chosen):
    for axis in {top, bottom}:
        axis.axvline(chosen, color="0.6", ls="--", lw=1, zorder=0)
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    bottom.set_xlabel("number of experts")
