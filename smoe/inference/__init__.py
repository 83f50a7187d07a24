"""What a fit says about its parameters, and how surely."""

from smoe.inference.bootstrap import bootstrap
from smoe.inference.bootstrap_result import BootstrapResult
from smoe.inference.covariance import standard_errors
from smoe.inference.likelihood_ratio import LikelihoodRatioTest, likelihood_ratio_test
from smoe.inference.number_of_experts import NExpertsTest, n_experts_test
from smoe.inference.summary import summary_text

__all__ = [
    "BootstrapResult",
    "LikelihoodRatioTest",
    "NExpertsTest",
    "bootstrap",
    "likelihood_ratio_test",
    "n_experts_test",
    "standard_errors",
    "summary_text",
]
