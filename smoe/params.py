"""Parameters are values: immutable named tuples of arrays, the expert always on axis 0.

An array without axes is a number that all experts share. The flat order is expert by expert (its fields one after the
other), then the shared numbers; information matrices use it too.
"""

import math
from functools import lru_cache
from itertools import accumulate, islice
from typing import NamedTuple

import numpy as np

__all__ = ["Chart", "MoEParams", "flatten", "n_experts_of", "permute", "tree_sum", "unflatten"]


_NEAREST = 1e-13  # relative distance from a bound at which a value counts as on it
_LARGEST_LOG = 100.0  # a trial step may go far, its derivatives must not overflow


class MoEParams(NamedTuple):
    """Parameters of a mixture of experts: the gate's and the experts', each a named tuple of arrays."""

    gate: NamedTuple
    expert: NamedTuple


def n_experts_of(params):
    """Return the number of experts that the parameters describe.

    Parameters
    ----------
    params : MoEParams
    """
    return len(params.expert[0])


def _is_model(params):
    return isinstance(params, MoEParams)


def _parts(params):
    parts = params if _is_model(params) else (params,)
    for part in parts:
        if not hasattr(part, "_fields"):
            raise TypeError(f"params must be MoEParams or a named tuple of arrays, got {part!r}.")
    return parts


@lru_cache(maxsize=256)
def _layout(parts):
    """Return where the entries of each field are in flat order, shaped like the field, and the way back.

    ``parts`` are the shapes of the fields, part by part. The way back is an index into all fields, one after the other.
    """
    places, start = [], 0
    for shapes in parts:
        sizes = {shape[0] for shape in shapes if shape}
        if len(sizes) != 1:
            raise ValueError(f"params must have the experts on axis 0 of every field, got the shapes {list(shapes)}.")
        [n_rows] = sizes
        widths = [math.prod(shape[1:]) if shape else 0 for shape in shapes]
        table = start + np.arange(n_rows * sum(widths)).reshape(n_rows, -1)
        start += table.size
        for shape, width, end in zip(shapes, widths, accumulate(widths), strict=True):
            places.append(table[:, end - width : end].reshape(shape) if shape else np.array(start))
            start += not shape
    return places, np.argsort(np.concatenate(places, axis=None))


def _layout_of(parts):
    return _layout(tuple([tuple([np.shape(field) for field in part]) for part in parts]))


def flatten(params):
    """Return all entries of the parameters as one vector in flat order.

    Parameters
    ----------
    params : MoEParams or a part of it
    """
    parts = _parts(params)
    fields = [field for part in parts for field in part]
    try:
        return np.concatenate(fields, axis=None, dtype=float)[_layout_of(parts)[1]]
    except TypeError:
        raise TypeError(f"params must hold arrays of numbers, got {params!r}.") from None


def _array(values, argument, dtype=float):
    try:
        return np.asarray(values, dtype=dtype)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{argument} must be one array of numbers, got {values!r}.") from None


def unflatten(flat, like):
    """Undo `flatten`: parameters shaped as ``like`` from a vector in flat order.

    Parameters
    ----------
    flat : array of shape (n_entries,)
    like : MoEParams or a part of it
    """
    parts = _parts(like)
    flat = _array(flat, "flat")
    if flat.shape != (n := sum(np.size(field) for part in parts for field in part),):
        raise ValueError(f"flat must have shape ({n},), one number for each entry of like, got {flat.shape}.")
    fields = iter([flat[place] if place.ndim else np.asarray(flat[place]) for place in _layout_of(parts)[0]])
    out = [type(part)(*islice(fields, len(part))) for part in parts]
    return MoEParams(*out) if _is_model(like) else out[0]


def permute(params, order):
    """Relabel the experts: expert i of the result is expert ``order[i]``.

    Parameters
    ----------
    params : MoEParams or a part of it
    order : sequence of int
    """
    parts, order = _parts(params), _array(order, "order", None)
    n = len(parts[-1][0])
    if order.ndim != 1 or order.dtype.kind not in "iu" or not np.all((order >= -n) & (order < n)):
        raise ValueError(f"order must hold numbers of experts from 0 to {n - 1}, got {order.tolist()!r}.")
    parts = [type(part)(*(np.asarray(a)[order] if np.ndim(a) else a for a in part)) for part in parts]
    return MoEParams(*parts) if _is_model(params) else parts[0]


def tree_sum(parts):
    """Add named tuples field by field; ``None`` stays ``None``.

    Parameters
    ----------
    parts : sequence of named tuples, arrays or None
        All of one kind.
    """
    first = parts[0]
    if first is None or len(parts) == 1:
        return first
    if isinstance(first, tuple):
        return type(first)(*(tree_sum(fields) for fields in zip(*parts, strict=True)))
    return sum(parts[1:], first)


class Chart:
    """Free, unconstrained and evenly scaled coordinates of the parameters, for optimisers and certificates.

    A field bounded below by c is moved to log(value - c), entries that the gate's convention pins are left out, and
    each coordinate is measured in the unit that the family declares (an expert's coefficients in its residual sd).

    Parameters
    ----------
    like : MoEParams or a part of it
        Pinned entries keep its values.
    free, lower, unit : arrays in flat order
        Which entries are free, their lower bounds (minus infinity for none), and their units.
    """

    def __init__(self, like, free, lower, unit):
        self.like, self.free, self.lower, self.unit = like, free, lower, unit
        self._where = np.flatnonzero(free)
        self._flat, self._unit, self._lower = flatten(like), unit[free], lower[free]
        self._bounded = np.flatnonzero(np.isfinite(self._lower))
        self._recent = ()

    @property
    def n_free(self):
        """Number of free coordinates: the degrees of freedom of the model."""
        return len(self._where)

    def _free_entries(self, values):
        """Return the free entries of parameters or of a score, which are asked for several times in a row."""
        for seen, entries in self._recent:
            if seen is values:
                return entries
        entries = flatten(values)[self._where]
        self._recent = (*self._recent[-1:], (values, entries))
        return entries

    def pack(self, params):
        """Return the coordinates of the parameters."""
        values, bounded = self._free_entries(params), self._bounded
        if len(bounded):
            values, low = values.copy(), self._lower[bounded]
            gap = np.maximum(values[bounded] - low, _NEAREST * low)  # a value on its bound has no finite coordinate
            values[bounded] = np.log(gap)
        return values / self._unit

    def unpack(self, theta):
        """Return the parameters at these coordinates; pinned entries keep the value that the chart was made with."""
        values, bounded = theta * self._unit, self._bounded
        if len(bounded):
            values[bounded] = self._lower[bounded] + np.exp(np.minimum(values[bounded], _LARGEST_LOG))
        flat = self._flat.copy()
        flat[self._where] = values
        return unflatten(flat, self.like)

    def slope(self, params):
        """Derivative of each free entry by its own coordinate."""
        bounded = self._bounded
        if not len(bounded):
            return self._unit
        out = self._unit.copy()
        out[bounded] *= self._free_entries(params)[bounded] - self._lower[bounded]
        return out

    def gradient(self, score, params):
        """Chain rule for a gradient shaped like the parameters."""
        return self._free_entries(score) * self.slope(params)

    def information(self, information, params):
        """Chain rule for an expected information in flat order, or for one at a stationary point."""
        slope = self.slope(params)
        return information[self._where[:, None], self._where] * (slope[:, None] * slope)

    def hessian(self, information, score, params):
        """Chain rule for a negative second derivative in flat order."""
        bounded, out = self._bounded, self.information(information, params)
        if len(bounded):
            bend = self._free_entries(score)[bounded] * self.slope(params)[bounded] * self._unit[bounded]
            out[bounded, bounded] -= bend
        return out
