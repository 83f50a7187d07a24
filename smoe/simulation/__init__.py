"""Simulation: known truths, studies of many fits to their data, losses, and the rates at which these fall."""

from smoe.simulation.cells import Record, as_params
from smoe.simulation.density import DensityError, density_error
from smoe.simulation.losses import LOSSES
from smoe.simulation.near_truth import near_truth
from smoe.simulation.rates import Rate, StudyResult
from smoe.simulation.store import Store
from smoe.simulation.study import ConvergenceStudy
from smoe.simulation.truth import Truth
from smoe.simulation.voronoi import parameter_errors, rbar, voronoi_cells, voronoi_loss

__all__ = [
    "LOSSES",
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
    "voronoi_cells",
    "voronoi_loss",
]
