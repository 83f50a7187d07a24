"""Simulation: known truths, and how far a fit is from them in density and in parameters."""

from smoe.simulation.density import DensityError, density_error
from smoe.simulation.truth import Truth
from smoe.simulation.voronoi import parameter_errors, rbar, voronoi_cells, voronoi_loss

__all__ = ["DensityError", "Truth", "density_error", "parameter_errors", "rbar", "voronoi_cells", "voronoi_loss"]
