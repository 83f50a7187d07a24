"""Pictures. The only package that imports matplotlib; install it with ``pip install smoe[plots]``."""

try:
    import matplotlib.pyplot as plt
except ImportError as error:
    raise ImportError("smoe.plots needs matplotlib: pip install smoe[plots]") from error

from smoe.plots.coefficients import plot_coefficients
from smoe.plots.diagnostics import (
    plot_calibration,
    plot_diagnostics,
    plot_expert_load,
    plot_pit,
    plot_residual_qq,
    plot_residuals,
    plot_rootogram,
)
from smoe.plots.fit import plot_fit
from smoe.plots.path import plot_path
from smoe.plots.rates import plot_rates
from smoe.plots.selection import plot_dendrogram, plot_selection
from smoe.plots.tree import plot_tree

__all__ = [
    "plot_calibration",
    "plot_coefficients",
    "plot_dendrogram",
    "plot_diagnostics",
    "plot_expert_load",
    "plot_fit",
    "plot_path",
    "plot_pit",
    "plot_rates",
    "plot_residual_qq",
    "plot_residuals",
    "plot_rootogram",
    "plot_selection",
    "plot_tree",
    "plt",
]
