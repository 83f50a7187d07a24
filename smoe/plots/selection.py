"""How many experts: the path of a selection, and the dendrogram of one over-fitted mixture."""

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.cluster import hierarchy

from smoe.plots._axes import check_axes, expert_styles, legend_above, literal
from smoe.selection import Dendrogram, Selection
from smoe.validation import check_choice, check_instance

__all__ = ["plot_dendrogram", "plot_selection"]

_NAMES = {"aic": "AIC", "bic": "BIC", "icl": "ICL", "cv": "cross-validation", "slope": "slope", "jump": "jump"}
_LIFT = 0.03  # of the height of the tree, from a merge to a later one that is lower
_LINEAR = 10.0  # differences of criteria up to here are drawn to scale, larger ones by their logarithm


def plot_selection(selection: Selection, criteria: Sequence[str] = ("aic", "bic", "icl"), axes: Any = None) -> Figure:
    """Draw criteria and log-likelihood against the number of experts.

    Each criterion is drawn as its distance from its smallest value, to scale up to ten and logarithmically above.
    Hollow markers are fits that are no certified maxima; the dashed line is the choice.

    Parameters
    ----------
    selection : Selection
        From `smoe.selection.select_n_experts`, or ``selection_`` of a `smoe.MoERegressorSelect`.
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
    check_instance(selection, Selection, "selection", "what select_n_experts returns")
    if isinstance(criteria, str) or not isinstance(criteria, Iterable):
        raise TypeError(f"criteria must be a sequence of names, got {criteria!r}.")
    table, criteria = selection.table, list(criteria)
    for name in criteria:
        check_choice(name, "criteria", [name for name in _NAMES if name in (*table, selection.criterion)])
    top, bottom = _two_panels(share=True) if axes is None else check_axes(axes, 2)
    names = [name for name in criteria if name != selection.criterion]
    curves = {_NAMES[name]: table[name] for name in names}
    curves[_NAMES.get(selection.criterion, selection.criterion)] = table["criterion"]
    sizes, good = np.array(table["n_experts"]), np.array(table["converged"], dtype=bool)
    styles = [style | {"lw": 1.4, "zorder": 2} for style in expert_styles(len(names))]
    styles.append({"color": "k", "lw": 2, "zorder": 3})
    for style, (label, values) in zip(styles, curves.items(), strict=True):
        chosen = style is styles[-1]
        label = f"{literal(label)} (chooses {selection.n_experts_})" if chosen else label
        _path(top, sizes, np.subtract(values, min(values)), good, label, style)
    top.set_yscale("symlog", linthresh=_LINEAR, linscale=1.0)
    top.set_ylim(bottom=-0.06 * _LINEAR)
    top.set_ylabel("above its minimum")
    _path(bottom, sizes, table["loglik"], good, None, {"color": "0.3", "lw": 1.6})
    bottom.set_ylabel("log-likelihood")
    _finish(top, bottom, selection.n_experts_)
    if not good.all():
        top.plot([], [], "o", mfc="white", mec="0.3", label="no certified maximum")
    larger = top.get_ylim()[1] > _LINEAR
    if larger:
        top.axhline(_LINEAR, color="0.75", lw=0.8, zorder=0)
    legend_above(top, ncols=3, title=f"vertical axis: logarithmic above {_LINEAR:g} (grey line)" if larger else None)
    return top.figure


def plot_dendrogram(tree: Dendrogram, axes: Any = None) -> Figure:
    """Draw the dendrogram of an over-fitted mixture, and the log-likelihood along its path.

    Parameters
    ----------
    tree : Dendrogram
        From `smoe.selection.dendrogram`. The number at a merge is that of the experts that are left. A merge that is
        lower than one before it has a hollow circle and is drawn a little above that one.
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
    check_instance(tree, Dendrogram, "tree", "what smoe.selection.dendrogram returns")
    top, bottom = _two_panels(share=False) if axes is None else check_axes(axes, 2)
    _draw_tree(top, tree)
    top.set_xlabel("expert of the over-fitted mixture")
    top.set_ylabel("height")
    top.spines[["top", "right"]].set_visible(False)
    legend_above(top, title="numbers: experts left after a merge")
    sizes = np.array(tree.levels)
    _path(bottom, sizes, tree.loglik, np.ones(len(sizes), dtype=bool), None, {"color": "0.3", "lw": 1.6})
    bottom.invert_xaxis()
    bottom.set_ylabel("log-likelihood")
    _finish(bottom, bottom, tree.n_experts)
    return top.figure


def _draw_tree(axis, tree):
    """The tree, at each merge the number of experts that are left, and the cut if there is one."""
    first, linkage = len(tree.levels), tree.linkage
    fallen, top = tree.heights < linkage[:, 2], linkage[-1, 2]
    linkage[:, 2] += _LIFT * top * np.cumsum(fallen)  # level ones would hide each other
    n_merged = first - tree.n_experts
    leaves = hierarchy.dendrogram(linkage, ax=axis, link_color_func=_colours(tree, n_merged))["leaves"]
    _number_merges(axis, linkage, leaves, fallen)
    if n_merged:
        heights = np.append(linkage[:, 2], 1.1 * linkage[-1, 2])
        cut = 0.5 * (heights[n_merged - 1] + heights[n_merged])
        axis.axhline(cut, color="k", ls="--", lw=1, label=f"cut: {tree.n_experts} experts")
    else:
        axis.plot([], [], " ", label=f"no cut: all {first} experts stay apart")
    if fallen.any():
        axis.plot([], [], "o", mfc="white", mec="0.3", ls="", label="lower than a merge before it, drawn above that")
    axis.set_ylim(0.0, 1.15 * linkage[-1, 2])
    axis.tick_params(axis="x", labelsize="medium")


def _colours(tree, n_merged):
    """Return the colour of each merge: that of its group, and grey above the cut."""
    groups, styles = tree.groups[n_merged], expert_styles(tree.n_experts)
    owner = {expert: style["color"] for group, style in zip(groups, styles, strict=True) for expert in group}
    first = len(tree.levels)
    return lambda node: to_hex(owner[tree.merges[node - first][0][0]]) if node - first < n_merged else "0.5"


def _number_merges(axis, linkage, leaves, fallen):
    """Hollow circles are merges that are lower than one before them."""
    first = len(leaves)
    place = dict(zip(leaves, 5.0 + 10.0 * np.arange(first), strict=True))  # where scipy has them
    for step, (one, other, height, _) in enumerate(linkage):
        place[first + step] = 0.5 * (place[int(one)] + place[int(other)])
        box = {"boxstyle": "circle,pad=0.2", "fc": "white" if fallen[step] else "0.9", "ec": "0.3", "lw": 0.8}
        where = {"ha": "center", "va": "center", "fontsize": "x-small", "bbox": box}
        axis.text(place[first + step], height, str(first - 1 - step), **where)


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
