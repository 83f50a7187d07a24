"""What several pictures share."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from smoe.texts import printable

__all__ = ["MARKERS", "PALETTE", "check_axes", "expert_styles", "legend_above", "literal", "new_axes"]


def check_axes(axes, n, argument="axes"):
    """Return n matplotlib axes as a list. Raise TypeError or ValueError for anything else."""
    many = list(np.ravel(np.asarray(axes, dtype=object)))
    if not all(isinstance(ax, Axes) for ax in many):
        raise TypeError(f"{argument} must be matplotlib axes, {n} of them, got {axes!r}.")
    if len(many) != n:
        raise ValueError(f"{argument} must be {n} matplotlib axes, got {len(many)}.")
    return many


# Okabe and Ito's colours, the darkest first and without yellow: for all eyes, and in grey with these markers.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("-", (0, (6, 2)), (0, (6, 2, 1.5, 2)), (0, (5, 1, 1, 1, 1, 1)))  # and these in grey print


def expert_styles(n_experts):
    """Return colour and dashes of the line of each expert; no two are the same."""
    if n_experts <= len(PALETTE):
        colours = PALETTE[:n_experts]
    else:
        colours = 0.85 * plt.get_cmap("turbo")(np.linspace(0.03, 0.97, n_experts))[:, :3]  # dark enough for white paper
    return [{"color": c, "ls": _DASHES[k % len(_DASHES)]} for k, c in enumerate(colours)]


def literal(text):
    """Return a name as matplotlib is to draw it: what stands between dollar signs is no formula."""
    return printable(text).replace("$", r"\$")


def new_axes():
    """Two axes, one above the other, that share the horizontal one."""
    _, axes = plt.subplots(2, 1, sharex=True, figsize=(7, 6.5), height_ratios=(3, 1), layout="constrained")
    return axes


def legend_above(axis, size="small", **settings):
    """Inside it would cover what is drawn."""
    where = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.2}
    axis.legend(**where, fontsize=size, title_fontsize=size, alignment="left", frameon=False, **settings)
