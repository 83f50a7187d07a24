"""What a fit says about its parameters, and how surely."""

from smoe.inference.covariance import standard_errors
from smoe.inference.summary import summary_text

__all__ = ["standard_errors", "summary_text"]
