"""Slopes along a path of elastic nets."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from smoe.plots._axes import check_axes, expert_styles, legend_above
from smoe.selection import ElasticNetPath
from smoe.validation import check_instance

__all__ = ["plot_path"]


def plot_path(path: ElasticNetPath, axes: Any = None) -> Figure:
    """Draw the penalised slopes of gate and experts, per standard deviation of X, against the weight of the penalty.

    Weights fall to the right, on a logarithmic scale; the dashed line is the choice. Experts tell themselves apart by
    their lines; of classes each has as many as there are predictors.

    Parameters
    ----------
    path : ElasticNetPath
        From `smoe.selection.elastic_net_path`, or ``path_`` of a `smoe.MoERegressorPath`.
    axes : sequence of two matplotlib Axes, default=None
        For the gate and for the experts; new ones when None.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> from smoe import MoERegressor
    >>> from smoe.datasets import load_engel
    >>> from smoe.plots import plot_path
    >>> from smoe.selection import elastic_net_path
    >>> X, y = load_engel(return_X_y=True)
    >>> path = elastic_net_path(MoERegressor(1, random_state=0), X, y, n_alphas=3, eps=0.1, criterion="bic")
    >>> [axis.get_ylabel() for axis in plot_path(path).axes]
    ['gate: log odds per sd', 'experts: per sd']
    """
    path = getattr(path, "path_", path)
    check_instance(path, ElasticNetPath, "path", "what elastic_net_path returns")
    if axes is None:
        axes = plt.subplots(2, 1, sharex=True, figsize=(7, 6.5), layout="constrained")[1]
    axes = check_axes(axes, 2)
    size = path.alphas_.max(axis=1)
    order = np.argsort(-size)
    for axis, side, label in zip(axes, ("gate", "expert"), ("gate: log odds per sd", "experts: per sd"), strict=True):
        _lines(axis, size[order], path.slopes(side)[order] * path.scales(side))
        axis.axvline(size[path.best_index_], color="0.3", lw=1, ls="--", zorder=0)
        axis.axhline(0.0, color="0.6", lw=0.8, zorder=0)
        axis.set_ylabel(label)
        axis.spines[["top", "right"]].set_visible(False)
    if np.all(size > 0):
        axes[1].set_xscale("log")
    if not axes[1].xaxis_inverted():
        axes[1].invert_xaxis()
    axes[1].set_xlabel("weight per row (the larger of alpha_expert and alpha_gate)")
    n_experts = path.best_estimator_.fitted_.n_experts
    if n_experts > 1:
        legend_above(axes[0], ncols=min(n_experts, 4))
    return axes[0].figure


def _lines(axis, size, coef):
    """Draw a line for each slope that is not zero everywhere, (n_alphas, n_experts, ..., n_features)."""
    for k, style in enumerate(expert_styles(coef.shape[1])):
        lines = coef[:, k].reshape(len(size), -1)
        lines = lines[:, (lines != 0).any(axis=0)]
        axis.plot(size, lines, lw=1.2, **style)
        axis.plot([], [], label=f"expert {k}", **style)
