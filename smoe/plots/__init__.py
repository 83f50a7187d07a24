"""Pictures. The only package that imports matplotlib; install it with ``pip install smoe[plots]``."""

try:
    import matplotlib.pyplot as plt
except ImportError as error:
    raise ImportError("smoe.plots needs matplotlib: pip install smoe[plots]") from error

from smoe.plots.fit import plot_fit
from smoe.plots.rates import plot_rates
from smoe.plots.selection import plot_dendrogram, plot_selection

__all__ = ["plot_dendrogram", "plot_fit", "plot_rates", "plot_selection", "plt"]
