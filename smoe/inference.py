"""Standard errors from the observed information, and the summary table."""

import numpy as np
from scipy.stats import norm

from smoe.params import flatten, unflatten
from smoe.solvers.certificate import LARGEST, SINGULAR

__all__ = ["standard_errors", "summary_text"]


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


def summary_text(title, header, tables):
    """Return a summary as text.

    Parameters
    ----------
    title : str
    header : list of (str, str)
        Facts on the fit.
    tables : list of (str, list of str, array, array or None)
        A heading, the names of the entries, estimates and standard errors.
    """
    width = max(len(name) for name, _ in header)
    lines = [title, "=" * len(title), *(f"{name:<{width}}  {value}" for name, value in header)]
    label = max((len(name) for _, names, _, _ in tables for name in names), default=0) + 2
    for heading, names, estimates, errors in tables:
        lines += [
            "",
            f"{heading:<{label}}{'estimate':>12}{'std. err.':>12}{'z':>9}{'p':>9}{'[2.5 %':>12}{'97.5 %]':>12}",
        ]
        errors = np.full(len(names), np.nan) if errors is None else errors
        lines += [_row(n, e, s, label) for n, e, s in zip(names, estimates, errors, strict=True)]
    return "\n".join(lines)


def _row(name, estimate, error, label):
    start = f"  {name:<{label - 2}}{estimate:>12.5g}"
    if not np.isfinite(error):
        return start + f"{'-':>12}{'-':>9}{'-':>9}{'-':>12}{'-':>12}"
    z, half = estimate / error, norm.ppf(0.975) * error
    return start + f"{error:>12.4g}{z:>9.2f}{2 * norm.sf(abs(z)):>9.2g}{estimate - half:>12.5g}{estimate + half:>12.5g}"
