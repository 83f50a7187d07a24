"""What several pictures share."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

__all__ = ["check_axes", "legend_above", "new_axes"]


def check_axes(axes, n, argument="axes"):
    """Return n matplotlib axes as a list. Raise TypeError or ValueError for anything else."""
    many = list(np.ravel(np.asarray(axes, dtype=object)))
    if not all(isinstance(ax, Axes) for ax in many):
        raise TypeError(f"{argument} must be matplotlib axes, {n} of them, got {axes!r}.")
    if len(many) != n:
        raise ValueError(f"{argument} must be {n} matplotlib axes, got {len(many)}.")
    return many


def new_axes():
    """Two axes, one above the other, that share the horizontal one."""
    _, axes = plt.subplots(2, 1, sharex=True, figsize=(7, 6.5), height_ratios=(3, 1), layout="constrained")
    return axes


def legend_above(axis, **settings):
    """Inside it would cover what is drawn."""
    where = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.2}
    axis.legend(**where, fontsize="small", title_fontsize="small", alignment="left", frameon=False, **settings)
