"""Families: densities of y given linear predictors, point by point. A new family is one file and one line here."""

from smoe.families.base import Family, LinearParams, Support
from smoe.families.poisson import Poisson

FAMILIES = {"poisson": Poisson}

__all__ = ["FAMILIES", "Family", "LinearParams", "Poisson", "Support"]
