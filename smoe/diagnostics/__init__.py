"""Whether a fit is to be believed."""

from smoe.diagnostics.diagnosis import Diagnosis, diagnose
from smoe.diagnostics.rootogram import Rootogram, rootogram

__all__ = ["Diagnosis", "Rootogram", "diagnose", "rootogram"]
