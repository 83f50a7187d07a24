"""What a fit says about its parameters, and how surely."""

from smoe.inference.bootstrap import bootstrap
from smoe.inference.bootstrap_result import BootstrapResult
from smoe.inference.covariance import Covariance, covariance
from smoe.inference.delta import DeltaMethod
from smoe.inference.likelihood_ratio import LikelihoodRatioTest, likelihood_ratio_test
from smoe.inference.summary import Summary
from smoe.inference.table import Table, compare_fits
from smoe.inference.wald import WaldTest, equal_coefficients, no_effect

__all__ = [
    "BootstrapResult",
    "Covariance",
    "DeltaMethod",
    "LikelihoodRatioTest",
    "Summary",
    "Table",
    "WaldTest",
    "bootstrap",
    "compare_fits",
    "covariance",
    "equal_coefficients",
    "likelihood_ratio_test",
    "no_effect",
]
