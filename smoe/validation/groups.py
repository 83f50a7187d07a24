"""Groups of rows: labels of any one kind, and their numbers."""

import numpy as np

from smoe.features import choose_roles
from smoe.validation.missing import missing_entries
from smoe.validation.scalars import refuse_masked

__all__ = ["check_groups", "labels_of_groups", "with_codes"]


def check_groups(groups, n_samples, argument="groups"):
    """Return the number of each row's group, (n_samples,), in the order of their first rows, from labels of one kind.

    Raises
    ------
    ValueError
        Labels that are missing, of several kinds, or not one for each row.
    """
    labels = _checked(groups, n_samples, argument)
    try:
        _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    except TypeError:
        raise ValueError(f"{argument} {_ONE_KIND}.") from None
    place = np.empty(len(first), dtype=np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return place[codes]


def _checked(groups, n_samples, argument):
    refuse_masked(groups, argument)
    try:
        labels = np.asarray(groups)
    except ValueError:
        raise ValueError(f"{argument} must have shape ({n_samples},), a label for each row.") from None
    if labels.shape != (n_samples,):
        raise ValueError(f"{argument} must have shape ({n_samples},), a label for each row, got {labels.shape}.")
    if (lost := missing_entries(labels)).any():
        where = f"{lost.sum()} rows, the first is row {lost.argmax()}"
        if labels.dtype.kind == "O":
            raise ValueError(f"{argument} {_ONE_KIND} (missing in {where}).")
        raise ValueError(f"{argument} has NaN or NaT in {where}; give every row a label, or leave the rows out.")
    return labels


_ONE_KIND = "must have labels of one kind, none missing: all text or all numbers; fill or leave out the rest"


def labels_of_groups(X, column):
    """Return the labels that the numbers of `with_codes` stand for, or None where they stand for themselves."""
    if _holds_numbers(X):
        return None
    labels = np.asarray(_column(X, column))
    codes = check_groups(labels, len(labels), "group_feature")
    return labels[np.unique(codes, return_index=True)[1]]


def with_codes(X, spec):
    """Return X with the numbers of the groups in place of the labels in one column, unless these are floats already.

    Text, categories and long integers, which no matrix of floats can hold, so become numbers that it can.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), or data frame
    spec : None, int or str
        The column, by its index or name; None for no groups.
    """
    if spec is None or _holds_numbers(X):
        return X
    names = getattr(X, "columns", None)
    if names is None or callable(names):
        X, names = X if hasattr(X, "dtype") else np.array(X, dtype=object), None
    if np.ndim(X) != 2:
        return X
    if names is not None and len(set(names)) < len(names):
        return X
    column = choose_roles(X, names, np.shape(X)[1], group=spec).group
    values = _column(X, column)
    codes = check_groups(values, len(values), "group_feature").astype(float)
    if names is None:
        X = np.array(X, dtype=object if X.dtype.kind in "OUS" else float)
        X[:, column] = codes
        return X
    if hasattr(X, "with_columns"):
        return X.with_columns(type(values)(names[column], codes))
    X = X.copy(deep=False)
    X[names[column]] = codes
    return X


def _holds_numbers(X):
    return getattr(getattr(X, "dtype", None), "kind", "") == "f"


def _column(X, column):
    names = getattr(X, "columns", None)
    return X[:, column] if names is None or callable(names) else X[names[column]]
