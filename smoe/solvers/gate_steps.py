"""The gate's part of an M-step."""

import math

import numpy as np
from scipy.linalg.lapack import dsyevd

__all__ = ["newton_gate_step"]

_RIDGE = 1e-9  # relative; keeps a separated gate's step finite
_SMALLEST = 1e-100  # of an information that has vanished, as a hard partition's has
_LONGEST = 10.0  # working coordinates have unit spread: a longer step leaves the region where the model holds


def newton_gate_step(chart, stats, params):
    """Return one Newton step (Fisher scoring) on the expected log-likelihood, in the gate's chart."""
    gradient = chart.gradient(stats.gate_score, params)
    if not gradient.size:
        return gradient
    values, vectors, _ = dsyevd(chart.information(stats.gate_information, params))  # numpy's eigh in half the time
    values = np.maximum(values, 0.0) + _RIDGE * max(values[-1], _SMALLEST)
    step = vectors @ ((vectors.T @ gradient) / values)
    length = math.sqrt(step @ step)
    return step * min(1.0, _LONGEST / length) if length > 0 else step
