"""What a fit says about its parameters, and how surely."""

from smoe.inference.bootstrap import bootstrap
from smoe.inference.bootstrap_result import BootstrapResult
from smoe.inference.covariance import standard_errors
from smoe.inference.summary import summary_text

__all__ = ["BootstrapResult", "bootstrap", "standard_errors", "summary_text"]
