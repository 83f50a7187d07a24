"""The distribution of y given x: what `predict_distribution` returns."""

from smoe.distribution.conditional import ConditionalMixture
from smoe.distribution.regions import HighestDensityRegions

__all__ = ["ConditionalMixture", "HighestDensityRegions"]
