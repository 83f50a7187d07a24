"""Expert families. A new family is one file and one line here."""

from smoe.experts.base import Expert, Support
from smoe.experts.gaussian import GaussianExpert, GaussianExpertParams

EXPERTS = {"gaussian": GaussianExpert}

__all__ = ["EXPERTS", "Expert", "GaussianExpert", "GaussianExpertParams", "Support"]
