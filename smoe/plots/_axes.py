"""What several pictures share."""

import matplotlib.pyplot as plt

from smoe.texts import printable

__all__ = ["MARKERS", "PALETTE", "legend_above", "literal", "new_axes"]

# Okabe and Ito's colours, the darkest first and without yellow: for all eyes, and in grey with these markers.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


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
