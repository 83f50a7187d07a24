"""Missing values: where they are, in words."""

import numpy as np

__all__ = ["is_missing", "missing_entries", "missing_in_words"]

_ADVICE = "smoe.rows.drop_missing leaves such rows out of X, y and what else has rows"


def is_missing(entry):
    """Whether this is None, NaN, or what pandas has for them."""
    return entry is None or type(entry).__name__ in ("NAType", "NaTType") or entry != entry


def missing_entries(values):
    """Return which entries are None, NaN, NaT or pandas' NA, shaped like the values: an array, a frame, a series."""
    values = np.asarray(values)
    if values.dtype.kind in "fc":
        return np.isnan(values)
    if values.dtype.kind in "mM":
        return np.isnat(values)
    if values.dtype.kind != "O":
        return np.zeros(values.shape, dtype=bool)
    return np.reshape([bool(is_missing(entry)) for entry in values.ravel()], values.shape).astype(bool)


def missing_in_words(values, argument):
    """Return what is missing, the column that misses most first, and what to do; nothing if nothing is missing.

    Parameters
    ----------
    values : array-like of shape (n,) or (n, d)
    argument : {"X", "y"}
        What they are.
    """
    lost = missing_entries(values)
    if lost.ndim not in (1, 2) or not lost.any():
        return ""
    if lost.ndim == 1 or argument == "y":
        rows, where = lost.reshape(len(lost), -1).any(axis=1), ""
    else:
        column = int(lost.sum(axis=0).argmax())
        rows, names = lost[:, column], getattr(values, "columns", None)
        where = f"column {column if names is None or callable(names) else repr(list(names)[column])} "
        others = int(lost.any(axis=0).sum()) - 1
        where += f"(and {others} more) " if others else ""
    advice = f"{_ADVICE}, or impute them: sklearn.impute, in a pipeline" if argument == "X" else _ADVICE
    return f"Input {argument} contains NaN: {where}in {rows.sum()} rows, the first is row {rows.argmax()}. {advice}."
