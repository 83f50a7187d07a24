"""What several pictures share."""

import matplotlib.pyplot as plt

__all__ = ["legend_above", "new_axes"]


def new_axes():
    """Two axes, one above the other, that share the horizontal one."""
    _, axes = plt.subplots(2, 1, sharex=True, figsize=(7, 6.5), height_ratios=(3, 1), layout="constrained")
    return axes


def legend_above(axis, **settings):
    """Inside it would cover what is drawn."""
    where = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.2}
    axis.legend(**where, fontsize="small", title_fontsize="small", alignment="left", frameon=False, **settings)
