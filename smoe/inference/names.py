"""What the entries of the parameters are called, in flat order."""

import numpy as np

__all__ = ["entry_names", "is_bounded"]


def entry_names(params, gate_columns, expert_columns):
    """Return names such as "gate 0: x1", "expert 1: variance" and "gate: temperature".

    Parameters
    ----------
    params : MoEParams
    gate_columns, expert_columns : list of str
        Names of the features that gate and experts see.
    """
    return _part_names("gate", params.gate, gate_columns) + _part_names("expert", params.expert, expert_columns)


def _part_names(side, part, columns):
    fields = {name: np.shape(field) for name, field in part._asdict().items()}
    own = [name for field, shape in fields.items() if shape for name in _field_names(field, shape[1:], columns)]
    n_experts = next(shape[0] for shape in fields.values() if shape)
    shared = [f"{side}: {field}" for field, shape in fields.items() if not shape]
    return [f"{side} {k}: {name}" for k in range(n_experts) for name in own] + shared


def _field_names(field, shape, columns):
    """Names of what one expert owns of a field: its slopes are called after the features."""
    if field == "coef" and shape == (len(columns),):
        return list(columns)
    return [field + "".join(f"[{i}]" for i in index) for index in np.ndindex(shape)]


def is_bounded(names, gate, expert):
    """Return which entries are bounded below by zero, which is then no hypothesis on them."""
    bounded = {"gate": set(gate.lower), "expert": set(expert.lower)}
    split = [name.split(": ", 1) for name in names]
    return np.array([term.split("[")[0] in bounded[part.split()[0]] for part, term in split])
