"""Wald tests of linear restrictions."""

import numbers
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from smoe.inference.covariance import Covariance
from smoe.params import flatten, n_experts_of
from smoe.validation import check_floats, check_instance

__all__ = ["WaldTest", "equal_coefficients", "no_effect", "restriction_matrix", "wald_test"]

_DEPENDENT = 1e-8


class WaldTest(NamedTuple):
    """Statistic, its degrees of freedom, and the p value; NaN where ``reason`` says so."""

    statistic: float
    df: int
    p_value: float
    reason: str = ""


def wald_test(restriction, value, covariance):
    r"""Test :math:`R\theta = r` by :math:`(R\hat\theta - r)^\top (R V R^\top)^{-1} (R\hat\theta - r)`.

    Under the hypothesis it is asymptotically chi-squared with as many degrees of freedom as restrictions.

    Parameters
    ----------
    restriction : array, str, dict, or list of str or dict
        See `restriction_matrix`.
    value : float or array of shape (n_restrictions,)
    covariance : Covariance
    """
    R = restriction_matrix(restriction, covariance.names)
    value = check_floats(value, "r")
    if value.shape not in ((), (len(R),)) or not np.isfinite(value).all():
        raise ValueError(f"r must be a finite number or have shape ({len(R)},), got {value.tolist()!r}.")
    gradient = covariance.change.T @ R.T
    for row in np.flatnonzero(~gradient.any(axis=0)):
        raise ValueError(f"restriction {row} has only parameters that are pinned or aliased; there is nothing to test.")
    error = covariance.std_err(gradient)
    if np.isnan(error).any():
        return WaldTest(np.nan, len(R), np.nan, covariance.reason)
    left, sizes, right = np.linalg.svd(covariance.factor.T @ gradient / error, full_matrices=False)
    if len(R) > len(sizes) or sizes[-1] <= _DEPENDENT * sizes[0]:
        raise ValueError("the restrictions are linearly dependent; leave out those that follow from the others.")
    distance = (R @ flatten(covariance.params) - value) / error
    statistic = float(np.sum((right @ distance / sizes) ** 2))
    return WaldTest(statistic, len(R), float(chi2.sf(statistic, len(R))))


def restriction_matrix(restriction, names):
    """Return restrictions as a matrix (n_restrictions, n_entries) on the parameters in flat order.

    Parameters
    ----------
    restriction : array, str, dict, or list of str or dict
        A matrix (n_restrictions, n_entries) or one row of it; or what is to equal r: the name of an entry, a linear
        combination {name: factor}, or a list of such.
    names : list of str
        Names of the entries, those of ``summary().to_frame().index``.

    Raises
    ------
    ValueError
        A matrix of another width, not finite, or without rows; an unknown or ambiguous name.
    """
    rows = [restriction] if isinstance(restriction, str | dict) else restriction
    if isinstance(rows, list | tuple) and rows and all(isinstance(row, str | dict) for row in rows):
        return np.array([_named_row({row: 1.0} if isinstance(row, str) else row, names) for row in rows])
    try:
        R = np.atleast_2d(np.asarray(rows, dtype=float))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"R must be a matrix, names of parameters or dicts of them, got {restriction!r}.") from None
    if R.ndim != 2 or R.shape[1] != len(names) or not len(R):
        raise ValueError(
            f"R must have shape (n_restrictions, {len(names)}), a column for each row of summary().to_frame(); "
            f"got {np.shape(rows)}."
        )
    if not np.isfinite(R).all():
        raise ValueError("R must be finite.")
    return R


def _named_row(factors, names):
    row = np.zeros(len(names))
    for name, factor in factors.items():
        if names.count(name) != 1:
            what = "is the name of several parameters" if name in names else "is no parameter"
            raise ValueError(f"R: {name!r} {what}; the parameters are {names}.")
        if not isinstance(factor, numbers.Real) or not np.isfinite(factor):
            raise ValueError(f"R: the factor of {name!r} must be a finite number, got {factor!r}.")
        row[names.index(name)] = factor
    return row


def equal_coefficients(covariance: Covariance, i: int, j: int, part: str = "expert") -> list[dict[str, float]]:
    """Return the restrictions that two experts (or their gate rows) have equal slopes.

    Parameters
    ----------
    covariance : Covariance
    i, j : int
        The experts.
    part : {"expert", "gate"}, default="expert"
    """
    _check(covariance, part)
    n = n_experts_of(covariance.params)
    for argument, k in (("i", i), ("j", j)):
        if not isinstance(k, numbers.Integral):
            raise TypeError(f"{argument} must be the number of an expert, an integer; got {k!r}.")
    first, second = ([entry for entry in _slopes(covariance, part) if entry.expert == e] for e in (i, j))
    if i == j or not first or not second:
        raise ValueError(f"i={i!r} and j={j!r} must be two different experts of 0 to {n - 1}, with slopes.")
    return [{a.name: 1.0, b.name: -1.0} for a, b in zip(first, second, strict=True)]


def no_effect(covariance: Covariance, column: str, part: str = "gate") -> list[str]:
    """Return the restrictions that a covariate does nothing in the gate, or in the experts.

    Parameters
    ----------
    covariance : Covariance
    column : str
        Name of the covariate: "x0", "x1", ... for data without names.
    part : {"gate", "expert"}, default="gate"
    """
    _check(covariance, part)
    if not isinstance(column, str):
        raise ValueError(f"column must be the name of a covariate, got {column!r}.")
    free = covariance.change.any(axis=1)
    found = [entry.name for entry in _slopes(covariance, part, free) if entry.label == column]
    if not found:
        raise ValueError(f"column={column!r}: no estimated slope of it in the {part}.")
    return found


def _check(covariance, part):
    check_instance(covariance, Covariance, "covariance", "what model.covariance(...) returns")
    if not isinstance(part, str) or part not in ("gate", "expert"):
        raise ValueError(f"part must be 'gate' or 'expert', got {part!r}.")


def _slopes(covariance, part, free=None):
    """The slopes of the gate or of the experts, expert by expert; only the free ones on request."""
    free = np.ones(len(covariance.entries), dtype=bool) if free is None else free
    pairs = zip(covariance.entries, free, strict=True)
    return [entry for entry, is_free in pairs if is_free and entry.part == part and entry.feature is not None]
