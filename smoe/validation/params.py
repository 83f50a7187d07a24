"""Parameters: named tuples of arrays, of the shapes that a model gives them."""

import numpy as np

from smoe.params import MoEParams

__all__ = ["check_fields", "check_params"]


def check_params(model, params, argument="params"):
    """Return the parameters of a model as float arrays.

    Parameters
    ----------
    model : MixtureOfExperts
    params : MoEParams
        With the same features for the gate and for the experts.
    argument : str
        What to call them in messages.

    Raises
    ------
    ValueError, TypeError
        Parameters that do not belong to the model, or are not finite.
    """
    if not isinstance(params, MoEParams):
        raise TypeError(f"{argument} must be MoEParams(gate, expert), got {type(params).__name__}.")
    for side, part in params._asdict().items():
        if not hasattr(part, "_fields"):
            raise TypeError(f"{argument}.{side} must be a named tuple of arrays, got {type(part).__name__}.")
    shape = np.shape(params.expert[0])
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"{argument}.expert.coef must have shape (n_experts, n_features), got {shape}.")
    k, d = shape
    model.gate.check(k)
    model.expert.check()
    parts = []
    for side, wanted in model.init_params(k, d, d)._asdict().items():
        name, part = f"{argument}.{side}", getattr(params, side)
        if type(part) is not type(wanted):
            raise TypeError(f"{name} must be {type(wanted).__name__} for this model, got {type(part).__name__}.")
        parts.append(check_fields(part, wanted, getattr(model, side).lower, name))
    return MoEParams(*parts)


def check_fields(part, wanted, lower, name):
    """Return one part of the parameters as float arrays with the shapes of another; fields in ``lower`` positive."""
    fields = {}
    for field, like in wanted._asdict().items():
        value = _as_floats(getattr(part, field), f"{name}.{field}")
        if value.shape != np.shape(like):
            raise ValueError(f"{name}.{field} must have shape {np.shape(like)}, got {value.shape}.")
        if not np.all(np.isfinite(value)):
            raise ValueError(f"{name}.{field} must be finite, got {value.tolist()}.")
        if field in lower and not np.all(value > 0):
            raise ValueError(f"{name}.{field} must be positive, got {value.tolist()}.")
        fields[field] = value
    return type(part)(**fields)


def _as_floats(value, name):
    """Return a field as an array of its own."""
    try:
        return np.array(value, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be an array of numbers, got {value!r}.") from None
