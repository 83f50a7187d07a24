"""Experts: families behind linear predictors, and those with more to say. A new family is one file and one line."""

from functools import partial

from smoe.experts.base import Expert, Support
from smoe.experts.gaussian import GaussianExpert, GaussianExpertParams
from smoe.experts.joint_gaussian import JointGaussianExpert, JointGaussianParams
from smoe.experts.linear import LinearExpert
from smoe.experts.multivariate_gaussian import MultivariateGaussianExpert, MultivariateGaussianParams
from smoe.families import FAMILIES, Family
from smoe.registry import resolve


def _linear(family):
    return LinearExpert(family())


EXPERTS = {
    "gaussian": GaussianExpert,
    "multivariate_gaussian": MultivariateGaussianExpert,
    **{name: partial(_linear, family) for name, family in FAMILIES.items()},
}


def resolve_expert(choice, argument="expert"):
    """Return experts of their own for a name, an `Expert` or a `smoe.families.Family`."""
    return resolve(LinearExpert(choice) if isinstance(choice, Family) else choice, EXPERTS, Expert, argument)


__all__ = [
    "EXPERTS",
    "Expert",
    "GaussianExpert",
    "GaussianExpertParams",
    "JointGaussianExpert",
    "JointGaussianParams",
    "LinearExpert",
    "MultivariateGaussianExpert",
    "MultivariateGaussianParams",
    "Support",
    "resolve_expert",
]
