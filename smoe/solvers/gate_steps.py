"""The gate's part of an M-step."""

import numpy as np

from smoe.params import flatten, unflatten

__all__ = ["move", "newton_gate_step"]

_RIDGE = 1e-9  # relative; keeps a separated gate's step finite
_LONGEST = 10.0  # working coordinates have unit spread: a longer step leaves the region where the model holds


def newton_gate_step(gate, stats, params):
    """Return the flat direction of one Newton step on the expected log-likelihood, zero where the gate is pinned."""
    free = flatten(gate.free(params)).astype(bool)
    direction = np.zeros(len(free))
    if not free.any():
        return direction
    gradient = flatten(stats.gate_score)[free]
    values, vectors = np.linalg.eigh(stats.gate_information[np.ix_(free, free)])
    values = np.maximum(values, 0.0) + _RIDGE * max(values[-1], 1e-300)
    step = vectors @ ((vectors.T @ gradient) / values)
    length = np.linalg.norm(step)
    direction[free] = step * min(1.0, _LONGEST / length) if length > 0 else step
    return direction


def move(params, direction, t):
    """Return gate parameters a step further."""
    return unflatten(flatten(params) + t * direction, params)
