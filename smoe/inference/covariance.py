"""Standard errors from the observed information."""

import numpy as np

from smoe.params import flatten, unflatten
from smoe.solvers.certificate import LARGEST, SINGULAR

__all__ = ["standard_errors"]


def standard_errors(model, blocks, params):
    """Return standard errors in the user's units, shaped like the parameters; NaN where an entry is not estimated.

    The inverse of the observed information, in the coordinates of ``model.chart(params)``, is carried to the user's
    units by an affine change. Returns None where the information is not positive definite, or too large to invert.
    """
    chart, scaling = model.chart(params), blocks.scaling
    if not model.gate.smooth or chart.n_free > LARGEST:
        return None
    curvature = blocks.sum(model.curvature, params)
    values, vectors = np.linalg.eigh(chart.hessian(curvature.information, curvature.score, params))
    if values.size and values[0] <= SINGULAR * values[-1]:
        return None
    user = scaling.to_units(model, params)
    change = [_moved(model, scaling, params, j) - flatten(user) for j in np.flatnonzero(chart.free)]
    root = np.reshape(change, (-1, flatten(user).size)).T @ (chart.slope(params)[:, None] * vectors / np.sqrt(values))
    largest = np.maximum(np.abs(root).max(axis=1, initial=0.0), np.finfo(float).tiny)
    error = largest * np.linalg.norm(root / largest[:, None], axis=1)  # squares of extreme units leave float64
    return unflatten(np.where(error > 0, error, np.nan), user)


def _moved(model, scaling, params, j):
    """The user's parameters after entry j of the working ones has moved by one."""
    flat = flatten(params)
    flat[j] += 1.0
    return flatten(scaling.to_units(model, unflatten(flat, params)))
