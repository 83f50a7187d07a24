"""Whether a fit is to be believed."""

from smoe.diagnostics.diagnosis import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose"]
