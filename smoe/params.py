"""Parameters are values: immutable named tuples of arrays, the expert always on axis 0.

A number without axes, or an array whose first axis has length one where others have one row per expert, is shared by
all experts. The flat order is expert by expert (its fields one after the other), then what is shared; information
matrices use it too.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, islice
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "Chart",
    "MoEParams",
    "chart_of",
    "coordinates",
    "copies",
    "flatten",
    "fold",
    "n_experts_of",
    "n_rows",
    "permute",
    "tree_scale",
    "tree_sum",
    "unflatten",
]


_NEAREST = 1e-13  # relative distance from a bound at which a value counts as on it
_ON_ROOT = 1e-12  # a square below it is on the bound
_SMALLEST_BEND = 1e-300
_LARGEST_LOG = 100.0  # a trial step may go far, its derivatives must not overflow


class MoEParams(NamedTuple):
    """Parameters of a mixture of experts: the gate's and the experts', each a named tuple of arrays."""

    gate: Any
    expert: Any


def n_experts_of(params: MoEParams) -> int:
    """Return the number of experts that the parameters describe.

    Parameters
    ----------
    params : MoEParams
    """
    return n_rows(params.expert)


def n_rows(part: Any) -> int:
    """Return the number of experts that a part of the parameters has rows for; one if all is shared."""
    return _n_rows(_shapes(part))


def _n_rows(shapes):
    return max((shape[0] for shape in shapes if shape), default=1)


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
        rows = _n_rows(shapes)
        if any(shape[:1] not in ((), (1,), (rows,)) for shape in shapes):
            raise ValueError(f"params must have their experts on axis 0 of every array, got the shapes {shapes}.")
        own = [shape[:1] == (rows,) for shape in shapes]
        widths = [math.prod(shape[1:]) if mine else 0 for shape, mine in zip(shapes, own, strict=True)]
        table = start + np.arange(rows * sum(widths)).reshape(rows, -1)
        start += table.size
        for shape, mine, width, end in zip(shapes, own, widths, accumulate(widths), strict=True):
            size = 0 if mine else math.prod(shape)
            places.append((table[:, end - width : end] if mine else start + np.arange(size)).reshape(shape))
            start += size
    return places, np.argsort(np.concatenate(places, axis=None))


def _layout_of(parts):
    return _layout(tuple([_shapes(part) for part in parts]))


def _shapes(part):
    """Return the shapes of the fields; numpy's own function takes its time for what is an array already."""
    return tuple([field.shape if isinstance(field, np.ndarray) else np.shape(field) for field in part])


def flatten(params: Any) -> np.ndarray:
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


def unflatten(flat: np.ndarray, like: Any) -> Any:
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


def copies(part: Any) -> np.ndarray:
    """Return where each expert's entries are in the flat order of a part, (n_experts, n_own): shared ones for each.

    Parameters
    ----------
    part : named tuple of arrays
    """
    return _copies(_shapes(part))


@lru_cache(maxsize=256)
def _copies(shapes):
    places, rows = _layout((shapes,))[0], _n_rows(shapes)
    own = [np.broadcast_to(p if p.ndim else p[None], (rows, *p.shape[1:])).reshape(rows, -1) for p in places]
    return np.concatenate(own, axis=1)


def fold(values: np.ndarray, part: Any, axis: int = 0) -> np.ndarray:
    """Add up derivatives by each expert's own copy of an entry that all share; nothing to do where none is shared.

    Parameters
    ----------
    values : array
        Along ``axis``: expert by expert, the entries that `copies` names.
    part : named tuple of arrays
    axis : int
    """
    place = _folding(_shapes(part))
    if place is None:
        return values
    out = np.zeros((place.max() + 1, *np.delete(values.shape, axis)))
    np.add.at(out, place, np.moveaxis(values, axis, 0))
    return np.moveaxis(out, 0, axis)


@lru_cache(maxsize=256)
def _folding(shapes):
    place = _copies(shapes).ravel()
    return None if np.array_equal(place, np.arange(len(place))) else place


def permute(params: Any, order: Sequence[int]) -> Any:
    """Relabel the experts: expert i of the result is expert ``order[i]``; what all share stays.

    Parameters
    ----------
    params : MoEParams or a part of it
    order : sequence of int
    """
    parts, order = _parts(params), _array(order, "order", None)
    n = n_rows(parts[-1])
    if order.ndim != 1 or order.dtype.kind not in "iu" or not np.all((order >= -n) & (order < n)):
        raise ValueError(f"order must hold numbers of experts from 0 to {n - 1}, got {order.tolist()!r}.")
    parts = [type(p)(*(np.asarray(a)[order] if np.shape(a)[:1] == (n,) else a for a in p)) for p in parts]
    return MoEParams(*parts) if _is_model(params) else parts[0]


def tree_sum(parts: Sequence) -> Any:
    """Add named tuples field by field; ``None`` stays ``None``.

    Parameters
    ----------
    parts : sequence of named tuples, arrays or None
        All of one kind.
    """
    first = parts[0]
    if first is None or len(parts) == 1:
        return first
    if type(first) is tuple:
        return tuple([tree_sum(fields) for fields in zip(*parts, strict=True)])
    if isinstance(first, tuple):
        return type(first)(*(tree_sum(fields) for fields in zip(*parts, strict=True)))
    return sum(parts[1:], first)


def tree_scale(part: Any, factor: float) -> Any:
    """Multiply named tuples field by field; ``None`` stays ``None``.

    Parameters
    ----------
    part : named tuple, array or None
    factor : float
    """
    if part is None:
        return None
    if isinstance(part, tuple):
        fields = [tree_scale(field, factor) for field in part]
        return tuple(fields) if type(part) is tuple else type(part)(*fields)
    return factor * part


class Chart:
    """Free, unconstrained and evenly scaled coordinates of the parameters, for optimisers and certificates.

    A value above an open bound c is moved to log(value - c), one between two bounds to its log odds, one that may lie
    on its lower bound c to the square root of value - c: a maximum on the bound is then an ordinary one, where the
    curvature says that the likelihood falls inwards. Entries that the gate's convention pins are left out, and each
    coordinate is measured in the unit that the family declares (an expert's coefficients in its residual sd).

    Parameters
    ----------
    like : MoEParams or a part of it
        Pinned entries keep its values.
    free, lower, unit : arrays in flat order
        Which entries are free, their lower bounds (minus infinity for none), and their units.
    upper, attained : arrays in flat order or None
        Upper bounds, and whether a value may lie on its lower bound; None for no such entry.
    tie : array of int in flat order or None
        Which entry each one equals. Only those that equal themselves have coordinates, and count as ``free``.
    """

    def __init__(
        self,
        like: Any,
        free: np.ndarray,
        lower: np.ndarray,
        unit: np.ndarray,
        upper: np.ndarray | None = None,
        attained: np.ndarray | None = None,
        tie: np.ndarray | None = None,
    ) -> None:
        if tie is not None:
            tied = free & (tie != np.arange(len(tie)))
            free, tie = free & ~tied, (np.flatnonzero(tied), tie[tied])
        self.like, self.free, self.lower, self.upper, self.unit, self.tie = like, free, lower, upper, unit, tie
        sides = [None if side is None else side.tobytes() for side in (lower, upper, attained)]
        self._where, self._maps = _maps_of(free.tobytes(), *sides)
        self._flat, self._unit = flatten(like), unit[self._where]
        self._recent, self._sloped = ((like, self._flat[self._where]),), (None, None)

    @property
    def n_free(self):
        """Number of free coordinates: the degrees of freedom of the model."""
        return len(self._where)

    def _free_entries(self, values, summed=False):
        """Return the free entries of parameters, or of a score, which are asked for several times in a row."""
        for seen, entries in self._recent:
            if seen is values:
                return entries
        flat = flatten(values)
        entries = (self._gathered(flat) if summed else flat)[self._where]
        self._recent = (*self._recent[-1:], (values, entries))
        return entries

    def _gathered(self, array):
        """Return derivatives with those by tied entries added to those by what they equal, along the first axis."""
        if self.tie is None:
            return array
        out, (tied, to) = np.array(array), self.tie
        np.add.at(out, to, out[tied])
        return out

    def spread(self, steps):
        """Return what small steps of the coordinates' entries do to all entries, (n_entries, ...)."""
        out = np.zeros((len(self._flat), *np.shape(steps)[1:]))
        out[self._where] = steps
        if self.tie is not None:
            tied, to = self.tie
            out[tied] = out[to]
        return out

    def pack(self, params):
        """Return the coordinates of the parameters."""
        values = self._free_entries(params)
        if self._maps:
            values = values.copy()
            for bounds in self._maps:
                values[bounds.at] = bounds.pack(values[bounds.at])
        return values / self._unit

    def unpack(self, theta):
        """Return the parameters at these coordinates; pinned entries keep the value that the chart was made with."""
        values = theta * self._unit
        for bounds in self._maps:
            values[bounds.at] = bounds.unpack(values[bounds.at])
        flat = self._flat.copy()
        flat[self._where] = values
        if self.tie is not None:
            tied, to = self.tie
            flat[tied] = flat[to]
        return unflatten(flat, self.like)

    def signs(self, theta):
        """Return -1 where a coordinate falls as its value grows, which ``slope`` takes for growing, else 1, or None."""
        out = None
        for bounds in self._maps:
            if isinstance(bounds, _ATTAINING):
                out = np.ones(len(theta)) if out is None else out
                out[bounds.at] = bounds.sign((theta * self._unit)[bounds.at])
        return out

    def slope(self, params):
        """Derivative of each free entry by its own coordinate."""
        if not self._maps:
            return self._unit
        if self._sloped[0] is not params:  # asked for several times in a row
            out, values = self._unit.copy(), self._free_entries(params)
            for bounds in self._maps:
                out[bounds.at] *= bounds.slope(values[bounds.at])
            self._sloped = params, out
        return self._sloped[1]

    def gradient(self, score, params):
        """Chain rule for a gradient shaped like the parameters."""
        return self._free_entries(score, summed=True) * self.slope(params)

    def information(self, information, params):
        """Chain rule for an expected information in flat order, or for one at a stationary point."""
        slope = self.slope(params)
        if self.tie is not None:
            information = self._gathered(self._gathered(information).T).T
        return information[self._where[:, None], self._where] * (slope[:, None] * slope)

    def uphill_information(self, information, score, params):
        """Return the same for a step that climbs: it ends on a bound that may be attained, where the score leads there.

        Without what the square root adds, such steps would go past the bound for ever.
        """
        out = self.information(information, params)
        for bounds in self._maps:
            if isinstance(bounds, _ATTAINING):
                i, score_here, values = bounds.at, self._free_entries(score, summed=True), self._free_entries(params)
                out[i, i] += np.maximum(-score_here[i] * bounds.bend(values[i]), 0.0) * self._unit[i] ** 2
        return out

    def off_bounds(self, theta, information, score, params):
        """Return coordinates in which entries on a bound that the score leads away from take a Newton step.

        The gradient by a coordinate vanishes on an attained bound, whichever way the function falls: a step along it
        would stay there for ever.
        """
        theta = theta.copy()
        for bounds in self._maps:
            if isinstance(bounds, _ATTAINING):
                at, places, values = bounds.at, self._where[bounds.at], self._free_entries(params)[bounds.at]
                on = values <= bounds.lower
                if not on.any():
                    continue
                slope = self._free_entries(score, summed=True)[at]
                leaves = on & (slope > 0)
                step = np.where(leaves, slope, 0.0) / np.maximum(information[places, places], _SMALLEST_BEND)
                theta[at] = np.where(leaves, bounds.pack(bounds.lower + step) / self._unit[at], theta[at])
        return theta

    def hessian(self, information, score, params):
        """Chain rule for a negative second derivative in flat order."""
        out = self.information(information, params)
        if self._maps:
            score, values = self._free_entries(score, summed=True), self._free_entries(params)
            for bounds in self._maps:
                i = bounds.at
                out[i, i] -= score[i] * bounds.bend(values[i]) * self._unit[i] ** 2
        return out


def coordinates(owner: Any, params: Any) -> tuple:
    """Return what the `Chart` of a gate's or of experts' parameters is made with: all but the parameters themselves.

    Parameters
    ----------
    owner : Gate or Expert
    params : named tuple of arrays
    """
    declared = owner.fields
    lower, upper, attained = _bounds(tuple([declared[name] for name in params._fields]), type(params), *_shapes(params))  # type: ignore[arg-type]
    return flatten(owner.free(params)) > 0, lower, flatten(owner.natural_units(params)), upper, attained


@lru_cache
def _bounds(fields, kind, *shapes):
    def flat(side):
        return flatten(kind(*(np.full(s, float(getattr(f, side))) for s, f in zip(shapes, fields, strict=True))))

    return flat("lower"), flat("upper"), flat("attained") > 0


def chart_of(owner: Any, params: Any) -> Chart:
    """Return the `Chart` of a gate's or of experts' parameters alone.

    Parameters
    ----------
    owner : Gate or Expert
    params : named tuple of arrays
    """
    return Chart(params, *coordinates(owner, params))


@lru_cache(maxsize=256)
def _maps_of(free, lower, upper, attained):
    """Return which entries are free, and the maps of bounded ones: an EM step makes several charts, all alike."""
    free = np.frombuffer(free, dtype=bool)
    lower, upper = (None if side is None else np.frombuffer(side)[free] for side in (lower, upper))
    attained = None if attained is None else np.frombuffer(attained, dtype=bool)
    return np.flatnonzero(free), _maps(lower, upper, attained, free)


def _maps(lower, upper, attained, free):
    """Return the maps of bounded entries, those that there are."""
    bounded = np.isfinite(lower)
    if not bounded.any():
        return []
    on = np.zeros(len(lower), dtype=bool) if attained is None else attained[free] & bounded
    both = np.zeros(len(lower), dtype=bool) if upper is None else np.isfinite(upper) & bounded
    kinds = (_Logs, ~on & ~both), (_Roots, on & ~both), (_LogOdds, ~on & both), (_Arcs, on & both)
    found = [(kind, np.flatnonzero(bounded & mask)) for kind, mask in kinds]
    return [kind(at, lower[at], None if upper is None else upper[at]) for kind, at in found if len(at)]


class _Logs(NamedTuple):
    """Values above an open bound, by the logarithm of their distance."""

    at: np.ndarray
    lower: np.ndarray
    upper: None

    def pack(self, values):
        return np.log(np.maximum(values - self.lower, _NEAREST * self.lower))  # no finite coordinate on the bound

    def unpack(self, theta):
        return self.lower + np.exp(np.minimum(theta, _LARGEST_LOG))

    def slope(self, values):
        return values - self.lower

    bend = slope


class _Roots(NamedTuple):
    """Values that may lie on their lower bound, by the square root of their distance."""

    at: np.ndarray
    lower: np.ndarray
    upper: None

    def pack(self, values):
        return np.sqrt(np.maximum(values - self.lower, 0.0))

    def unpack(self, theta):
        square = theta**2
        return self.lower + np.where(square < _ON_ROOT, 0.0, square)

    def slope(self, values):
        return 2.0 * self.pack(values)

    def bend(self, values):
        return np.full(len(values), 2.0)

    def sign(self, theta):
        return np.where(theta < 0, -1.0, 1.0)


class _Arcs(NamedTuple):
    """Values between two bounds that may lie on the lower one, by the arc whose squared sine is their share."""

    at: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    def _share(self, values):
        return np.clip((values - self.lower) / (self.upper - self.lower), 0.0, 1.0 - _NEAREST)

    def pack(self, values):
        return np.arcsin(np.sqrt(self._share(values)))

    def unpack(self, theta):
        square = np.sin(theta) ** 2
        return self.lower + (self.upper - self.lower) * np.where(square < _ON_ROOT, 0.0, square)

    def slope(self, values):
        share = self._share(values)
        return 2.0 * (self.upper - self.lower) * np.sqrt(share * (1.0 - share))

    def bend(self, values):
        return 2.0 * (self.upper - self.lower) * (1.0 - 2.0 * self._share(values))

    def sign(self, theta):
        return np.where(np.sin(2.0 * theta) < 0, -1.0, 1.0)


_ATTAINING = (_Roots, _Arcs)  # maps whose lower bound is an ordinary point


class _LogOdds(NamedTuple):
    """Values between two bounds, by their log odds."""

    at: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    def _share(self, values):
        return (values - self.lower) / (self.upper - self.lower)

    def pack(self, values):
        share = np.clip(self._share(values), _NEAREST, 1.0 - _NEAREST)
        return np.log(share) - np.log1p(-share)

    def unpack(self, theta):
        return self.lower + (self.upper - self.lower) / (1.0 + np.exp(-np.clip(theta, -_LARGEST_LOG, _LARGEST_LOG)))

    def slope(self, values):
        share = self._share(values)
        return (self.upper - self.lower) * share * (1.0 - share)

    def bend(self, values):
        return self.slope(values) * (1.0 - 2.0 * self._share(values))
