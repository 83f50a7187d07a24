"""What a fit says about its parameters, and how surely."""

from smoe.inference.bootstrap import bootstrap
from smoe.inference.bootstrap_result import BootstrapResult
from smoe.inference.covariance import Covariance, covariance
from smoe.inference.delta import DeltaMethod
from smoe.inference.effects import marginal_effects
from smoe.inference.likelihood_ratio import LikelihoodRatioTest, likelihood_ratio_test
from smoe.inference.membership import Classification, Membership, classification_table, membership
from smoe.inference.summary import Summary
from smoe.inference.table import Table, compare_fits
from smoe.inference.wald import WaldTest, equal_coefficients, no_effect

__all__ = [
    "BootstrapResult",
    "Classification",
    "Covariance",
    "DeltaMethod",
    "LikelihoodRatioTest",
    "Membership",
    "Summary",
    "Table",
    "WaldTest",
    "bootstrap",
    "classification_table",
    "compare_fits",
    "covariance",
    "equal_coefficients",
    "likelihood_ratio_test",
    "marginal_effects",
    "membership",
    "no_effect",
]
