"""smoe: statistical mixtures of experts.

Estimators live here; gates, experts, solvers and starts in modules of their own: ``smoe.gates``, ``smoe.experts``,
``smoe.solvers``, ``smoe.starts``; data in ``smoe.datasets``, pictures in ``smoe.plots``.
"""

from importlib.metadata import PackageNotFoundError, version

from smoe.estimators import MoERegressor
from smoe.named import DenseToSparseMoERegressor, SoftmaxMoERegressor, TopKMoERegressor

try:
    __version__ = version("smoe")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"

__all__ = ["DenseToSparseMoERegressor", "MoERegressor", "SoftmaxMoERegressor", "TopKMoERegressor"]
