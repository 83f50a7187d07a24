"""What a fit says about its parameters, and how surely."""

from smoe.inference.covariance import Covariance, covariance
from smoe.inference.delta import DeltaMethod
from smoe.inference.summary import Summary
from smoe.inference.wald import WaldTest, equal_coefficients, no_effect

__all__ = ["Covariance", "DeltaMethod", "Summary", "WaldTest", "covariance", "equal_coefficients", "no_effect"]
