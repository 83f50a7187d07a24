"""The response: numbers, one or several per row, and continuous ones if they are to have normal densities."""

import numpy as np
from sklearn.utils.validation import check_array, column_or_1d

from smoe.validation.missing import is_missing, missing_in_words
from smoe.validation.scalars import refuse_masked

__all__ = [
    "FLOATS",
    "check_response",
    "check_responses",
    "names_of_responses",
    "refuse_not_finite",
    "remark_on_response",
]

FLOATS = [np.float64, np.float32]  # what is not copied
_BLOCK = 2**16  # numbers that are looked at in one go

_FAMILY = "Gaussian experts are for continuous responses"
_OTHERS = "for counts there is expert='poisson', for 0 and 1 expert='binomial', for classes MoEClassifier"
_KINDS = {"b": "booleans", "U": "strings", "S": "strings", "M": "dates", "m": "durations", "V": "records"}
_FEW = 10  # distinct values: a response with so few is not continuous
_TIES = 10  # rows per value, of whole numbers that are probably counts
_FEWEST, _SHARE, _RATIO = 5, 0.02, 2.0  # rows, share of them, and times the next most frequent: a value stands out


def check_response(y):
    """Return the response (n_samples,) as floats; float32 stays what it is.

    It is made numbers first and looked at then: None and pandas' NA are missing values, as NaN is.

    Raises
    ------
    ValueError
        More than one column, values that are missing or infinite, or no numbers: strings, booleans, dates, categories.
    """
    refuse_masked(y, "y")
    y = _floats(y)
    if y.ndim == 0 or y.ndim > 1 and y.shape[1:] != (1,):
        raise ValueError(
            f"one response is modelled: y must have shape (n_samples,), got {y.shape}; several at once are for "
            "expert='multivariate_gaussian'."
        )
    return column_or_1d(y, warn=True)


def check_responses(y, names):
    """Return several responses (n_samples, q) as floats; one may be flat.

    Parameters
    ----------
    y : array-like of shape (n_samples, q)
    names : list of str
        The responses. A data frame that has them in another order is refused.

    Raises
    ------
    ValueError
        Another number or order of columns, or what `check_response` refuses.
    """
    refuse_masked(y, "y")
    given, q = getattr(y, "columns", None), len(names)
    values = _floats(y)
    values = values[:, None] if values.ndim == 1 and q == 1 else values
    if values.ndim != 2 or values.shape[1] != q:
        raise ValueError(f"y must have shape (n_samples, {q}), one column for each of {names}, got {values.shape}.")
    given = list(names) if given is None else list(map(str, given))
    if given != list(names) and sorted(given) == sorted(names):
        raise ValueError(f"y must have its columns in the order of the fit, {names}, got {given}.")
    return np.ascontiguousarray(values)


def _floats(y):
    y = check_array(
        _as_numbers(y), dtype=FLOATS, ensure_2d=False, allow_nd=True, ensure_min_samples=0, ensure_all_finite=False
    )
    refuse_not_finite(y, "y")
    return y


def refuse_not_finite(values, name, given=None, missing=False):
    """Raise ValueError if a number is NaN (unless some may be missing) or infinite, and say where."""
    if not values.ndim:
        return
    wrong_if = np.isinf if missing else lambda numbers: ~np.isfinite(numbers)
    for low in range(0, len(values), step := max(1, _BLOCK // max(values[:1].size, 1))):
        wrong = np.argwhere(wrong_if(values[low : low + step]))
        if len(wrong):
            why = "" if missing else missing_in_words(values if given is None else given, name)
            row, *column = wrong[0]
            place = f"row {low + row}" + (f", column {column[0]}" if values[:1].size > 1 else "")
            raise ValueError(why or f"Input {name} contains infinity in {place}: mend it, or leave the row out.")


def names_of_responses(y):
    """Return the names of several responses: those of a frame's columns, or y0, y1, ...; None for one that is flat."""
    columns = getattr(y, "columns", None)
    if columns is not None and not callable(columns):
        return list(map(str, columns))
    try:
        shape = np.asarray(y).shape
    except ValueError:  # lists of several lengths
        return None
    return [f"y{j}" for j in range(shape[1])] if len(shape) == 2 and shape[1] else None


def _as_numbers(y):
    """Return an array of numbers with NaN for what is missing."""
    if getattr(getattr(y, "dtype", None), "name", "") == "category":
        raise _not_continuous("categories")
    try:
        values = np.asarray(y)
    except ValueError:  # lists of several lengths
        raise ValueError("y must have shape (n_samples,), one number per row; its entries differ in length.") from None
    if values.dtype.kind in _KINDS:
        raise _not_continuous(_KINDS[values.dtype.kind], values)
    return _objects_as_numbers(values) if values.dtype == object else values


def _objects_as_numbers(values):
    entries = [np.nan if is_missing(entry) else entry for entry in values.ravel()]
    present = [entry for entry in entries if entry is not np.nan]
    for kind, name in ((str | bytes, "strings"), (bool | np.bool_, "booleans")):
        if any(isinstance(entry, kind) for entry in present):
            raise _not_continuous(name, np.array([entry for entry in present if isinstance(entry, kind)][:1]))
    try:
        return np.array(entries, dtype=np.float64).reshape(values.shape)
    except (TypeError, ValueError, OverflowError) as error:
        if any(isinstance(entry, complex) for entry in present):
            raise ValueError("Complex data not supported: y must be real.") from None
        raise ValueError(f"y must have shape (n_samples,), one number per row: {error}.") from None


def _not_continuous(kind, values=None):
    """Return the error for a response that is no numbers."""
    if kind == "strings":
        first = values.ravel()[:1].tolist()
        kind += f" (could not convert string to float: {first[0] if first else ''!r})"
    hint = "; for the numbers 0 and 1 pass y.astype(float)" if kind == "booleans" else ""
    return ValueError(f"y holds {kind}: {_FAMILY}; {_OTHERS}{hint}.")


def remark_on_response(y, family=_FAMILY):
    """Return a sentence on a response that is not continuous, or nothing.

    Parameters
    ----------
    y : array of shape (n_samples,)
    """
    values, count = np.unique(y, return_counts=True)
    most = int(count.argmax())
    if len(values) <= _FEW and len(y) > 2 * len(values):
        what = f"y takes {len(values)} value" + "s" * (len(values) > 1)
    elif len(values) > _FEW and count[most] >= max(_FEWEST, _SHARE * len(y), _RATIO * np.sort(count)[-2]):
        what = f"{count[most]} of {len(y)} responses are exactly {values[most]:g}"
    elif len(y) > _TIES * len(values) and values[0] >= 0 and np.all(values == np.floor(values)):
        what = f"y holds whole numbers only, {len(values)} of them"
    else:
        return ""
    return f"{what}: {family}; {_OTHERS}"
