"""The tree of a gate: which rows go where."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smoe.gates import TreeGate
from smoe.gates.splits import log_odds
from smoe.hints import Data, Model, Names
from smoe.plots._axes import check_axes, expert_styles, literal
from smoe.validation import check_mixture

__all__ = ["plot_tree"]

_NODE = {"boxstyle": "round,pad=0.3", "fc": "white", "ec": "0.6"}


def plot_tree(model: Model, X: Data = None, names: Names | None = None, ax: Axes | None = None) -> Figure:
    """Draw the tree of a fit with a tree gate: experts as leaves, log odds of the branches at the nodes.

    A node with two branches shows the log odds of the left one. With X branches are as wide as the share of rows that
    goes down them, which is written beside them.

    Parameters
    ----------
    model : MoERegressor or FittedMixture
        With a `smoe.gates.TreeGate`.
    X : array-like of shape (n_samples, n_features), default=None
    names : list of str, default=None
        Names of the columns of X, None for those of the fit.
    ax : matplotlib Axes, default=None
        New ones when None.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    TypeError
        Another gate.

    Examples
    --------
    >>> from smoe import MoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.plots import plot_tree
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = MoERegressor(3, gate="tree", n_init=5, random_state=0).fit(X, y)
    >>> [text.get_text() for text in plot_tree(model, X).axes[0].texts if "expert" in text.get_text()]
    ['expert 0', 'expert 1', 'expert 2']
    """
    fit = check_mixture(model, "model")
    gate, params = fit.model.gate, fit.params.gate
    if not isinstance(gate, TreeGate):
        raise TypeError(f"model must have a TreeGate, got {gate!r}.")
    (axis,) = [plt.subplots(figsize=(max(6.4, 2.2 * fit.n_experts), 4.8))[1]] if ax is None else check_axes(ax, 1, "ax")
    names = [entry.label for entry in fit.entries(names) if entry.part == "gate" and entry.feature is not None]
    names = names[: len(fit.gate_columns)]
    rows = gate.rows(params)
    load = None if X is None else fit.gate_proba(X).mean(axis=0)[[row[0] for row in rows]]
    _draw(axis, gate.root(fit.n_experts), rows, names, load, expert_styles(fit.n_experts))
    axis.set_axis_off()
    axis.margins(0.1, 0.15)
    return axis.figure  # type: ignore[return-value]


def _draw(axis, node, rows, names, load, styles, low=0, depth=0):
    """Draw what is below a node whose first leaf is ``low``; return where it stands."""
    if not node.children:
        expert = rows[low][0]
        axis.text(low, -depth, f"expert {expert}", ha="center", va="top", color=styles[expert]["color"], weight="bold")
        return low
    edges = np.cumsum([low, *(child.n_leaves for child in node.children)])
    at = [
        _draw(axis, child, rows, names, load, styles, first, depth + 1)
        for child, first in zip(node.children, edges, strict=False)
    ]
    here = float(np.mean(at))
    for place, first, stop in zip(at, edges[:-1], edges[1:], strict=True):
        _branch(axis, (here, -depth), (place, -depth - 1), None if load is None else load[first:stop].sum())
    odds = [literal(log_odds(*rows[stop - 1][1:], names)) for stop in edges[1:-1]]
    axis.text(here, -depth, "\n".join(odds), ha="center", va="center", size="small", bbox=_NODE)
    return here


def _branch(axis, start, end, share):
    width = 1.5 if share is None else 1.0 + 9.0 * share
    axis.plot(*zip(start, end, strict=True), color="0.75", lw=width, solid_capstyle="round", zorder=0)
    if share is not None:
        middle = (0.4 * a + 0.6 * b for a, b in zip(start, end, strict=True))
        axis.text(*middle, f"{share:.0%}", ha="center", va="center", size="small")
