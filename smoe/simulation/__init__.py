"""Simulation: known truths, studies of many fits to their data, losses, and the rates at which these fall."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smoe.simulation._near_truth import near_truth
    from smoe.simulation.cells import Record, as_params
    from smoe.simulation.density import DensityError, density_error, selected_experts
    from smoe.simulation.losses import LOSSES
    from smoe.simulation.rates import Rate, StudyResult
    from smoe.simulation.store import Store
    from smoe.simulation.study import ComparisonStudy, ConvergenceStudy
    from smoe.simulation.truth import Truth
    from smoe.simulation.voronoi import parameter_errors, rbar, voronoi_cells, voronoi_loss

__all__ = [
    "LOSSES",
    "ComparisonStudy",
    "ConvergenceStudy",
    "DensityError",
    "Rate",
    "Record",
    "Store",
    "StudyResult",
    "Truth",
    "as_params",
    "density_error",
    "near_truth",
    "parameter_errors",
    "rbar",
    "selected_experts",
    "voronoi_cells",
    "voronoi_loss",
]

_HOMES = {
    "cells": ("Record", "as_params"),
    "density": ("DensityError", "density_error", "selected_experts"),
    "losses": ("LOSSES",),
    "_near_truth": ("near_truth",),
    "rates": ("Rate", "StudyResult"),
    "store": ("Store",),
    "study": ("ComparisonStudy", "ConvergenceStudy"),
    "truth": ("Truth",),
    "voronoi": ("parameter_errors", "rbar", "voronoi_cells", "voronoi_loss"),
}


def __getattr__(name):
    """Load things when they are first asked for: most need a compiler, which takes a while to import."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"smoe.simulation.{module}"), name)
    raise AttributeError(f"module 'smoe.simulation' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
