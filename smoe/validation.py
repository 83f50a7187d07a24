"""Checks of what users pass, with messages that say what to do."""

import numbers

import numpy as np
from sklearn.utils.validation import check_array, column_or_1d

__all__ = ["check_experts", "check_level", "check_levels", "check_number", "check_response", "check_weights"]


def check_response(y):
    """Return the response (n_samples,) as floats; refuse more than one column."""
    if y.ndim > 1 and y.shape[1] != 1:
        raise ValueError(f"one response is modelled: y must have shape (n_samples,), got {y.shape}.")
    return column_or_1d(y, warn=True).astype(np.float64, copy=False)


def check_weights(sample_weight, n_samples):
    """Return weights (n_samples,) as floats.

    Raises
    ------
    ValueError
        Wrong length, a negative, NaN or infinite weight, or no positive one.
    """
    if sample_weight is None:
        return np.broadcast_to(1.0, n_samples)  # takes no memory
    if isinstance(sample_weight, numbers.Real):
        sample_weight = np.full(n_samples, float(sample_weight))
    weight = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weight.shape != (n_samples,):
        raise ValueError(f"sample_weight must have shape ({n_samples},), got {weight.shape}.")
    tiny = np.finfo(float).tiny
    if np.any((weight > 0) & (weight < tiny)):
        raise ValueError(f"sample_weight has positive weights below {tiny:.1e}, which float64 cannot divide by; use 0.")
    if np.any(weight < 0):
        raise ValueError(f"sample_weight must not be negative; the smallest is {weight.min()}.")
    if not np.any(weight > 0):
        raise ValueError("sample_weight is zero for every row; at least one must be positive.")
    return weight


def check_experts(n_experts, n_rows):
    """Refuse a number of experts that is no positive integer, or larger than the number of rows."""
    check_number(n_experts, "n_experts", 1, integer=True)
    if n_experts > n_rows:
        raise ValueError(f"n_experts={n_experts} is larger than the number of rows with positive weight, {n_rows}.")


def check_number(value, argument, low, integer=False):
    """Refuse anything but a finite number (an integer if asked) of at least ``low``."""
    kind, words = (numbers.Integral, "an integer") if integer else (numbers.Real, "a number")
    if not isinstance(value, kind) or isinstance(value, bool | np.bool_):
        raise TypeError(f"{argument} must be {words}, got {value!r}.")
    if not (isinstance(value, numbers.Integral) or np.isfinite(value)) or value < low:  # numpy knows no huge integers
        raise ValueError(f"{argument} must be {words} of at least {low}, got {value!r}.")


def check_levels(q, argument="q"):
    """Return probabilities as an array of no or one axis; refuse any outside (0, 1)."""
    levels = np.asarray(q, dtype=float)
    if levels.ndim > 1 or not np.all((levels > 0) & (levels < 1)):
        raise ValueError(f"{argument} must lie strictly between 0 and 1, got {q!r}.")
    return levels


def check_level(value, argument):
    """Return one probability as a float; refuse what is none, or outside (0, 1)."""
    level = check_levels(value, argument)
    if level.ndim:
        raise ValueError(f"{argument} must be one number between 0 and 1, got {value!r}.")
    return float(level)
