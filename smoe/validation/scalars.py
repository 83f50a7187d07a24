"""Numbers and words."""

import math
import numbers

import numpy as np

from smoe.texts import with_article

__all__ = ["check_choice", "check_floats", "check_index", "check_level", "check_number"]


def check_number(value, argument, low, integer=False, high=math.inf):
    """Raise unless the value is a finite number (an integer if asked) from ``low`` to ``high``."""
    kind, words = (numbers.Integral, "an integer") if integer else (numbers.Real, "a number")
    if not isinstance(value, kind) or isinstance(value, bool | np.bool_):
        raise TypeError(f"{argument} must be {words}, got {value!r}.")
    if not (integer or _is_finite(value)) or not low <= value <= high:
        most = "" if high == math.inf else f" and at most {high:g}"
        raise ValueError(f"{argument} must be {words} of at least {low}{most}, got {_shortened(value)}.")


def _is_finite(value):
    """Whether a number is finite as a float64: whole numbers and fractions may be too large."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _shortened(value):
    """Return the value in words; Python does not print integers of thousands of digits."""
    if isinstance(value, numbers.Integral) and abs(value) > 10**100:
        return "an integer of more than 100 digits"
    return repr(value)


def check_index(value, argument, n, owner, what):
    """Return the number of one of n things as an int; the owner and what it has are for messages."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool | np.bool_):
        raise TypeError(f"{argument} must be the number of {with_article(what)}, an integer; got {value!r}.")
    if not 0 <= value < n:
        raise ValueError(f"{argument}={value}: {owner} has {what}s 0 to {n - 1}.")
    return int(value)


def check_floats(values, argument):
    """Return numbers as an array of floats. Raise for anything else, also for strings that float() would read."""
    try:
        if values is None or np.asarray(values).dtype.kind in "US":
            raise TypeError("strings")
        out = np.asarray(values, dtype=float)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{argument} must be numeric (a number or an array of numbers), got {values!r}.") from None
    refuse_masked(values, argument)
    return out


def refuse_masked(values, argument):
    """Raise for masked entries: to NumPy's functions they are numbers like all others."""
    if np.ma.isMaskedArray(values) and np.ma.is_masked(values):
        raise ValueError(
            f"{argument} has masked entries, whose numbers would count: it must not have any. "
            "Leave out the rows that they are in."
        )


def check_level(value, argument):
    """Return one probability as a float. Raise unless it lies in (0, 1)."""
    level = check_floats(value, argument)
    if level.ndim:
        raise ValueError(f"{argument} must be one number between 0 and 1, got {value!r}.")
    if not 0 < level < 1:
        raise ValueError(f"{argument} must lie strictly between 0 and 1, got {value!r}.")
    return float(level)


def check_choice(value, argument, choices):
    """Raise ValueError unless the value is one of these words."""
    if not isinstance(value, str) or value not in choices:
        names = [repr(name) for name in choices]
        last = " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
        raise ValueError(f"{argument}={value!r} is not known; choose {last}.")
