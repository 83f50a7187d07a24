"""Families: densities of y given linear predictors, point by point. A new family is one file and one line here."""

from smoe.families.base import Family, LinearParams, Support
from smoe.families.multinomial import ClassFamily, Multinomial
from smoe.families.poisson import Poisson

FAMILIES = {"multinomial": Multinomial, "poisson": Poisson}

__all__ = ["FAMILIES", "ClassFamily", "Family", "LinearParams", "Multinomial", "Poisson", "Support"]
