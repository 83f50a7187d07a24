"""smoe: statistical mixtures of experts.

Estimators live here; gates, experts, solvers and starts in modules of their own: ``smoe.gates``, ``smoe.experts``,
``smoe.solvers``, ``smoe.starts``; how many experts and which features in ``smoe.selection``; scores in
``smoe.metrics``; data in ``smoe.datasets``, pictures in ``smoe.plots``. ``import smoe`` is enough: modules load when
they are first used.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smoe.estimators import (
        DenseToSparseMoERegressor,
        JointGaussianMoERegressor,
        MoEClassifier,
        MoERegressor,
        SoftmaxMoERegressor,
        TopKMoERegressor,
        load,
    )
    from smoe.selection import MoEClassifierPath, MoEClassifierSelect, MoERegressorPath, MoERegressorSelect
    from smoe.versions import show_versions

try:
    __version__ = version("smoe")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"

_MODULES = {
    "DenseToSparseMoERegressor": "smoe.estimators",
    "JointGaussianMoERegressor": "smoe.estimators",
    "MoEClassifier": "smoe.estimators",
    "MoEClassifierPath": "smoe.selection",
    "MoEClassifierSelect": "smoe.selection",
    "MoERegressor": "smoe.estimators",
    "MoERegressorPath": "smoe.selection",
    "MoERegressorSelect": "smoe.selection",
    "SoftmaxMoERegressor": "smoe.estimators",
    "TopKMoERegressor": "smoe.estimators",
    "load": "smoe.estimators",
    "show_versions": "smoe.versions",
}

__all__ = [
    "DenseToSparseMoERegressor",
    "JointGaussianMoERegressor",
    "MoEClassifier",
    "MoEClassifierPath",
    "MoEClassifierSelect",
    "MoERegressor",
    "MoERegressorPath",
    "MoERegressorSelect",
    "SoftmaxMoERegressor",
    "TopKMoERegressor",
    "load",
    "show_versions",
]


# Modules for users; the others are inner parts.
_PUBLIC_MODULES = (
    "constraints",
    "datasets",
    "diagnostics",
    "distribution",
    "experts",
    "families",
    "features",
    "fields",
    "fitted",
    "gates",
    "inference",
    "metrics",
    "mixture",
    "params",
    "penalties",
    "plots",
    "rows",
    "selection",
    "simulation",
    "solvers",
    "starts",
)


def __getattr__(name):
    """Load estimators and modules when they are first asked for: the compiler they need takes a while to import."""
    if name in __all__:
        return getattr(import_module(_MODULES[name]), name)
    if name in _PUBLIC_MODULES:
        return import_module(f"smoe.{name}")
    raise AttributeError(f"module 'smoe' has no attribute {name!r}")


def __dir__():
    return sorted([*__all__, *_PUBLIC_MODULES, "__version__"])
