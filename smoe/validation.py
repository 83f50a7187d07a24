"""Checks of what users pass, with messages that say what to do."""

import numbers

import numpy as np
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d

__all__ = [
    "check_experts",
    "check_floats",
    "check_groups",
    "check_level",
    "check_mixture",
    "check_number",
    "check_response",
    "check_weights",
    "may_count_rows",
]

_FAR = 4.0


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


def may_count_rows(weight):
    """Whether positive weights may be numbers of rows, or add up to about theirs.

    Standard errors of weights that do neither are wrong by a factor of two or more. Equal weights are left alone.
    """
    n, first = len(weight), weight[0]
    if not weight.strides[0] or n / _FAR <= weight.sum() <= n * _FAR or np.all(weight == first):
        return True
    return bool(np.all(weight == np.round(weight)))


def check_mixture(model, argument="model"):
    """Return a fitted mixture of experts; refuse what is none. A selection stands for its best estimator."""
    model = getattr(model, "best_estimator_", model)
    if isinstance(model, type) or not hasattr(model, "responsibilities"):
        raise TypeError(f"{argument} must be a fitted estimator such as MoERegressor, got {type(model).__name__}.")
    check_is_fitted(model)
    if model.n_experts != (fitted := len(model.params_.expert[0])):
        raise ValueError(
            f"{argument} was fitted with {fitted} experts, and n_experts={model.n_experts} set since: fit again."
        )
    return model


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


def check_floats(values, argument):
    """Return numbers as an array of floats; refuse anything else, also strings that float() would read."""
    try:
        if np.asarray(values).dtype.kind in "US":
            raise TypeError("strings")
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(f"{argument} must be numeric (a number or an array of numbers), got {values!r}.") from None


def check_level(value, argument):
    """Return one probability as a float; refuse what is none, or outside (0, 1)."""
    level = check_floats(value, argument)
    if level.ndim:
        raise ValueError(f"{argument} must be one number between 0 and 1, got {value!r}.")
    if not 0 < level < 1:
        raise ValueError(f"{argument} must lie strictly between 0 and 1, got {value!r}.")
    return float(level)


def check_groups(groups, n_samples):
    """Return the number of each row's group, (n_samples,), from labels of any one kind."""
    groups = np.asarray(groups)
    if groups.shape != (n_samples,):
        raise ValueError(f"groups must have shape ({n_samples},), a label for each row, got {groups.shape}.")
    if groups.dtype.kind == "f" and np.isnan(groups).any():
        raise ValueError("groups has NaN; give every row a label, or leave the rows out.")
    try:
        return np.unique(groups, return_inverse=True)[1]
    except TypeError:
        raise ValueError(
            "groups must have labels of one kind, none missing: all text or all numbers; fill or leave out the rest."
        ) from None
