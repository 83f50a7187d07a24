"""Whether a fit is to be believed."""

from smoe.diagnostics.calibration import Calibration, calibration
from smoe.diagnostics.diagnosis import Diagnosis, diagnose
from smoe.diagnostics.rootogram import Rootogram, rootogram

__all__ = ["Calibration", "Diagnosis", "Rootogram", "calibration", "diagnose", "rootogram"]
