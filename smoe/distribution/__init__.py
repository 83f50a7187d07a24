"""The distribution of y given x: what `predict_distribution` returns."""

from smoe.distribution.base import DISTRIBUTIONS, ConditionalMixture
from smoe.distribution.classes import ClassMixture
from smoe.distribution.integers import IntegerMixture
from smoe.distribution.real import RealMixture
from smoe.distribution.regions import HighestDensityIntegers, HighestDensityRegions
from smoe.distribution.vectors import VectorMixture

__all__ = [
    "DISTRIBUTIONS",
    "ClassMixture",
    "ConditionalMixture",
    "HighestDensityIntegers",
    "HighestDensityRegions",
    "IntegerMixture",
    "RealMixture",
    "VectorMixture",
]
