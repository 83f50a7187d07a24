"""What an array of parameters is: declared once by the gate or family that owns it, so that nobody goes by its name."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "Entry",
    "Field",
    "averaged",
    "check_part",
    "entries",
    "expand",
    "map_features",
    "n_features_of",
    "n_own_fixed",
    "relabelled",
    "restrict",
]

_TINY = 1e-300


class Field(NamedTuple):
    """What one array of parameters is.

    Attributes
    ----------
    axes : tuple of str
        What its axes are: "expert" first if every expert has its own; "feature" is an axis along the features that the
        gate or the experts see; other names ("predictor", "output") are the owner's. A field without "expert" is shared
        by all experts: a number if it has no other axes, else an array whose first axis has length one.
    lower, upper : float
        Values lie between them. Solvers work on coordinates without bounds.
    attained : bool
        Whether a value may lie on the lower bound, as a maximum may: the model there is an ordinary one. An open bound
        is approached only, and an expert on one that is a floor has collapsed.
    fixed : bool
        Whether no fit ever estimates it, such as a place in a tree: derivatives by it are zero.
    gauge : str or None
        The axis along which only differences count: of experts, the last of which is zero, or of predictors, beside
        which there is one more of zeros. Penalties that treat all alike look at deviations from their mean.
    """

    axes: tuple = ("expert",)
    lower: float = -math.inf
    upper: float = math.inf
    attained: bool = False
    fixed: bool = False
    gauge: str | None = None

    @property
    def shared(self):
        """Whether all experts share it."""
        return "expert" not in self.axes

    @property
    def bounded(self):
        """Whether it has a bound: no hypothesis of a slope that is zero, and an interval that respects it."""
        return math.isfinite(self.lower) or math.isfinite(self.upper)

    @property
    def feature_axes(self):
        """The array's axes along the features."""
        return [axis + self.shared for axis, name in enumerate(self.axes) if name == "feature"]

    @property
    def feature_axis(self):
        """The first of the array's axes along the features, or None."""
        return next(iter(self.feature_axes), None)

    def along_gauge(self, array):
        """Return an array with the axis of the gauge first, the others flat behind it."""
        axis = self.axes.index(self.gauge) + self.shared
        return np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)

    def centring(self, n):
        """Return the matrix (n, n) whose quadratic form is the sum of squares about the mean along the gauge."""
        if self.gauge is None:
            return np.eye(n)
        return np.eye(n) - 1.0 / (n + (self.gauge != "expert"))

    def moved(self, array):
        """Return a view with the features on the last axis; None for a field without features."""
        return None if self.feature_axis is None else np.moveaxis(np.asarray(array), self.feature_axis, -1)


class Entry(NamedTuple):
    """One number among the parameters: whose it is, its field and place there, and how it is called.

    ``expert`` is None for what all experts share, ``feature`` the position of its feature among those that the part
    sees, or None.
    """

    part: str
    expert: int | None
    field: str
    index: tuple  # type: ignore[assignment]  # hides the method of tuples
    feature: int | None
    label: str

    @property
    def section(self):
        """The heading that it stands under: "gate 0", "expert 1", or "gate" for what all share."""
        return self.part if self.expert is None else f"{self.part} {self.expert}"

    @property
    def name(self):
        """The full name, such as "gate 0: x1", "expert 1: variance" and "gate: temperature"."""
        return f"{self.section}: {self.label}"


def entries(part: str, params: Any, fields: dict, columns: Sequence[str], labels: dict | None = None) -> list[Entry]:
    """Return the entries of a gate's or a family's parameters in flat order.

    Parameters
    ----------
    part : {"gate", "expert"}
    params : named tuple of arrays
    fields : dict of str to Field
    columns : list of str
        Names of the features that it sees.
    labels : dict of str to list of str, or None
        What the places along other axes are called; numbers if it is not there.
    """
    labels = labels or {}
    slopes = next((name for name in params._fields if fields[name].feature_axis is not None), None)
    own = [name for name in params._fields if not fields[name].shared]
    common = [name for name in params._fields if fields[name].shared]
    n_experts = len(getattr(params, own[0])) if own else 0
    found = [
        _entry(part, k, name, index, fields[name], columns, labels, name == slopes)
        for k in range(n_experts)
        for name in own
        for index in np.ndindex(np.shape(getattr(params, name))[1:])
    ]
    return found + [
        _entry(part, None, name, index[1:], fields[name], columns, labels, name == slopes)
        for name in common
        for index in np.ndindex(np.shape(getattr(params, name)))
    ]


def _entry(part, expert, name, index, field, columns, labels, slopes):
    """Slopes, the first field of features, are called after these alone, other entries after their field."""
    axes = [axis for axis in field.axes if axis != "expert"]
    feature = index[axes.index("feature")] if "feature" in axes else None
    named = [labels[axis][i] for axis, i in zip(axes, index, strict=True) if axis in labels]
    if slopes and feature is not None and len(named) == len(axes) - 1:
        return Entry(part, expert, name, index, feature, " ".join([str(columns[feature]), *map("[{}]".format, named)]))
    if named and len(named) == len(axes):
        return Entry(part, expert, name, index, feature, " ".join([name, *map("[{}]".format, named)]))
    places = [str(columns[i]) if axis == "feature" else str(i) for axis, i in zip(axes, index, strict=True)]
    return Entry(part, expert, name, index, feature, name + "".join(f"[{place}]" for place in places))


def expand(params: Any, fields: dict, columns: np.ndarray, n_features: int) -> Any:
    """Return parameters for all features, with zeros for those that are not among the columns.

    Parameters
    ----------
    params : named tuple of arrays
    fields : dict of str to Field
    columns : array of int
        Which of the features those of the parameters are.
    n_features : int
    """

    def widened(view):
        out = np.zeros((*view.shape[:-1], n_features))
        out[..., columns] = view
        return out

    return map_features(params, fields, widened)


def averaged(params: Any, fields: dict, groups: Sequence, load: np.ndarray) -> Any:
    """Return parameters with one expert per group: the mean of its members, weighted by their load.

    Parameters
    ----------
    params : named tuple of arrays
    fields : dict of str to Field
    groups : sequence of sequences of int
    load : array of shape (n_experts,)
    """
    member = np.zeros((len(groups), len(load)))
    for row, group in zip(member, groups, strict=True):
        share = np.maximum(load[list(group)], _TINY)
        row[list(group)] = share / share.sum()
    return _by_field(lambda field, array: array if field.shared else np.tensordot(member, array, 1), params, fields)


def relabelled(params: Any, fields: dict, order: Sequence[int]) -> Any:
    """Return parameters whose expert i is expert ``order[i]``; some may be left out or repeated, what all share stays.

    With one expert shapes alone do not tell its own arrays from shared ones, and fields do.

    Parameters
    ----------
    params : named tuple of arrays
    fields : dict of str to Field
    order : sequence of int
    """
    order = np.asarray(order, dtype=int)
    return _by_field(lambda field, array: array if field.shared else np.asarray(array)[order], params, fields)


def restrict(params: Any, fields: dict, columns: np.ndarray) -> Any:
    """Return parameters for these of the features alone.

    Parameters
    ----------
    params : named tuple of arrays
    fields : dict of str to Field
    columns : array of int
    """
    return map_features(params, fields, lambda view: view[..., columns])


def map_features(params: Any, fields: dict, function: Callable) -> Any:
    """Return the parameters with a function applied along every axis of features, this being the last.

    Parameters
    ----------
    params : named tuple of arrays
    fields : dict of str to Field
    function : callable
        Of an array with its features on the last axis.
    """

    def mapped(field, array):
        for axis in field.feature_axes:
            array = np.ascontiguousarray(np.moveaxis(function(np.moveaxis(np.asarray(array), axis, -1)), -1, axis))
        return array

    return _by_field(mapped, params, fields)


def n_features_of(params: Any, fields: dict) -> int:
    """Return the number of features that the parameters have coefficients for.

    Parameters
    ----------
    params : named tuple of arrays
    fields : dict of str to Field
    """
    shapes = [
        (fields[name].feature_axis, np.shape(array)) for name, array in params._asdict().items() if name in fields
    ]
    return next((shape[axis] for axis, shape in shapes if axis is not None and len(shape) > axis), 0)


def n_own_fixed(params: Any, fields: dict) -> int:
    """Return how many fixed entries each expert has of its own.

    Parameters
    ----------
    params : named tuple of arrays
    fields : dict of str to Field
    """
    own = [np.shape(getattr(params, name))[1:] for name, field in fields.items() if field.fixed and not field.shared]
    return sum(math.prod(shape) for shape in own)


def _by_field(function, params, fields):
    return type(params)(*(function(fields[name], array) for name, array in params._asdict().items()))


def check_part(part: Any, wanted: Any, fields: dict, name: str) -> Any:
    """Return parameters as float arrays. Raise unless they have the shapes of the wanted ones and respect their bounds.

    Parameters
    ----------
    part, wanted : named tuple of arrays
    fields : dict of str to Field
    name : str
        How the part is called in messages.

    Raises
    ------
    TypeError
        Another kind of parameters.
    ValueError
        Another shape, a value that is not finite or beyond a bound.
    """
    if type(part) is not type(wanted):
        raise TypeError(f"{name} must be {type(wanted).__name__} for this model, got {type(part).__name__}.")
    arrays = [
        _checked(value, np.shape(getattr(wanted, n)), fields[n], f"{name}.{n}") for n, value in part._asdict().items()
    ]
    return type(part)(*arrays)


def _checked(value, shape, field, name):
    try:
        value = np.array(value, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be an array of numbers, got {value!r}.") from None
    if value.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {value.shape}.")
    if not np.all(np.isfinite(value)):
        raise ValueError(f"{name} must be finite, got {value.tolist()}.")
    # A floor is a matter of a fit's units: what users give must respect the bound that the model itself has.
    low = min(field.lower, 0.0)
    if not np.all(value >= low if field.attained else value > low):
        words = (
            "positive" if low == 0 and not field.attained else f"{'at least' if field.attained else 'above'} {low:g}"
        )
        raise ValueError(f"{name} must be {words}, got {value.tolist()}.")
    if not np.all(value < field.upper):
        raise ValueError(f"{name} must be below {field.upper:g}, got {value.tolist()}.")
    return value
