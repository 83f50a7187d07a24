"""Rows without missing values."""

from typing import Any

import numpy as np

from smoe.validation import missing_entries

__all__ = ["drop_missing"]


def drop_missing(*arrays: Any) -> list:
    """Return arrays without the rows in which one of them has a missing value: the same rows are left out of all.

    Missing are NaN, None, NaT and pandas' NA. Rows are matched by their place, whatever the index of a frame.

    Parameters
    ----------
    *arrays : array-like of shape (n_samples,) or (n_samples, d), or None
        X, y, weights, labels of groups: arrays, series or frames of pandas or polars, lists. None stays None.

    Returns
    -------
    list
        Of the same kinds, lists as arrays.

    Raises
    ------
    ValueError
        They differ in length, or no row is complete.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.rows import drop_missing
    >>> X, y = drop_missing(np.array([[1.0], [2.0], [3.0]]), np.array([5.0, np.nan, 7.0]))
    >>> X.ravel(), y
    (array([1., 3.]), array([5., 7.]))
    """
    arrays = [_with_rows(array) for array in arrays]
    lengths = [len(array) for array in arrays if array is not None]
    if len(set(lengths)) > 1:
        raise ValueError(f"drop_missing: arrays must have as many rows as each other, got {lengths}.")
    lost = [missing_entries(array).reshape(len(array), -1).any(axis=1) for array in arrays if array is not None]
    kept = ~np.any(lost, axis=0)
    if not kept.any():
        raise ValueError("drop_missing: every row has a missing value; impute some columns, or leave them out.")
    return [None if array is None else _taken(array, kept) for array in arrays]


def _with_rows(array):
    if array is None or hasattr(array, "columns") or getattr(array, "ndim", 0):
        return array
    if not isinstance(array, list | tuple) and getattr(array, "shape", ()) == ():
        raise TypeError(f"drop_missing: arrays must have rows, got {array!r}.")
    try:
        return np.asarray(array)
    except ValueError:
        raise ValueError(
            "drop_missing: arrays must have one shape in all rows, got rows that differ in length."
        ) from None


def _taken(array, kept):
    if hasattr(array, "iloc"):
        return array.iloc[np.flatnonzero(kept)]
    return array.filter(kept) if hasattr(array, "filter") else array[kept]
