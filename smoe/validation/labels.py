"""Responses that are classes: labels of one kind, and the codes 0, 1, ... that fits see."""

import warnings

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from smoe.validation.missing import missing_entries
from smoe.validation.scalars import refuse_masked

__all__ = ["check_labels", "codes_of", "find_classes"]


def check_labels(y):
    """Return labels (n_samples,), none missing.

    Raises
    ------
    ValueError
        More than one column, missing labels, labels of several kinds, or numbers that are no labels.
    """
    refuse_masked(y, "y")
    try:
        labels = np.asarray(y)
    except ValueError:  # lists of several lengths
        raise ValueError("y must have shape (n_samples,), one label per row; its entries differ in length.") from None
    if labels.ndim == 0 or labels.ndim > 1 and labels.shape[1:] != (1,):
        raise ValueError(f"one class per row is modelled: y must have shape (n_samples,), got {labels.shape}.")
    labels = column_or_1d(labels, warn=True)
    if labels.dtype == object:
        _refuse_missing(labels)
    elif labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError("y contains NaN or infinity: every row needs a class.")
    check_classification_targets(labels)
    return labels


def _refuse_missing(labels):
    if (lost := missing_entries(labels)).any():
        raise ValueError(
            f"y has no class in {lost.sum()} rows (None or NaN), the first is row {lost.argmax()}: "
            "smoe.rows.drop_missing(X, y) leaves them out."
        )
    kinds = {str if isinstance(label, str) else float for label in labels}
    if len(kinds) > 1:
        raise ValueError("y mixes strings and numbers: labels must be of one kind.")


def find_classes(y):
    """Return the classes that occur, in the order of a category's levels or else sorted.

    Warns
    -----
    UserWarning
        Levels of a category that do not occur are left out.
    """
    labels = check_labels(y)
    levels = _levels(y)
    if levels is None:
        return np.unique(labels)
    present = set(labels.tolist())
    unused = [level for level in levels.tolist() if level not in present]
    if unused:
        warnings.warn(f"levels {unused} of y do not occur and are left out of the classes", UserWarning, stacklevel=4)
    return levels[[level in present for level in levels.tolist()]]


def _levels(y):
    """Return the levels of an ordered category, or None: the order of others says nothing."""
    kind = getattr(y, "dtype", None)
    if getattr(kind, "name", "") != "category":
        return None
    levels = np.asarray(kind.categories)
    return levels if kind.ordered else np.sort(levels)


def codes_of(y, classes):
    """Return the places of labels among the classes, floats (n_samples,).

    Raises
    ------
    ValueError
        A label that is none of the classes.
    """
    labels = check_labels(y)
    place = {label: code for code, label in enumerate(classes.tolist())}
    found = [place.get(label, -1) for label in labels.tolist()]
    codes = np.array(found, dtype=float)
    if np.any(codes < 0):
        first = labels.tolist()[int(np.argmax(codes < 0))]
        raise ValueError(f"y holds {first!r}, which is none of the classes of the fit, {classes.tolist()}.")
    return codes
