"""Simulation studies: data from known truths, fits at many sizes, rates of convergence."""

from smoe.simulation.cells import Record, as_params
from smoe.simulation.losses import LOSSES
from smoe.simulation.near_truth import near_truth
from smoe.simulation.rates import Rate, StudyResult
from smoe.simulation.store import Store
from smoe.simulation.study import ConvergenceStudy

__all__ = ["LOSSES", "ConvergenceStudy", "Rate", "Record", "Store", "StudyResult", "as_params", "near_truth"]
