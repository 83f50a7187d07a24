"""Parameters are values: immutable named tuples of arrays, the expert always on axis 0.

An array without axes is a number that all experts share. The flat order is expert by expert (its fields one after the
other), then the shared numbers; information matrices use it too.
"""

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
    """Return the number of experts that the parameters describe."""
    return len(params.expert[0])


def _is_model(params):
    return isinstance(params, MoEParams)


def flatten(params):
    """Return all entries of the parameters as one vector in flat order."""
    if _is_model(params):
        return np.concatenate([flatten(params.gate), flatten(params.expert)])
    arrays = [np.asarray(field, dtype=float) for field in params]
    rows = [a.reshape(len(a), -1) for a in arrays if a.ndim]
    shared = [np.ravel(a) for a in arrays if not a.ndim]
    return np.concatenate([np.concatenate(rows, axis=1).ravel(), *shared])


def unflatten(flat, like):
    """Undo `flatten`: parameters shaped as ``like`` from a vector in flat order."""
    if _is_model(like):
        size = flatten(like.gate).size
        return MoEParams(unflatten(flat[:size], like.gate), unflatten(flat[size:], like.expert))
    arrays = [np.asarray(field) for field in like]
    widths = [a[0].size if a.ndim else 0 for a in arrays]
    n_rows = next(len(a) for a in arrays if a.ndim)
    table = flat[: n_rows * sum(widths)].reshape(n_rows, -1)
    shared = iter(flat[table.size :])
    pieces = np.split(table, np.cumsum(widths)[:-1], axis=1)
    return type(like)(
        *(
            p.reshape(a.shape).copy() if a.ndim else np.asarray(next(shared))
            for p, a in zip(pieces, arrays, strict=True)
        )
    )


def permute(params, order):
    """Relabel the experts: expert i of the result is expert ``order[i]``."""
    if _is_model(params):
        return MoEParams(permute(params.gate, order), permute(params.expert, order))
    return type(params)(*(np.asarray(a)[order] if np.ndim(a) else a for a in params))


def tree_sum(parts):
    """Add named tuples field by field; ``None`` stays ``None``."""
    first = parts[0]
    if first is None or len(parts) == 1:
        return first
    if isinstance(first, tuple):
        return type(first)(*(tree_sum(fields) for fields in zip(*parts, strict=True)))
    return sum(parts[1:], first)


class Chart(NamedTuple):
    """Free, unconstrained and evenly scaled coordinates of the parameters, for optimisers and certificates.

    A field bounded below by c is moved to log(value - c), entries that the gate's convention pins are left out, and
    each coordinate is measured in the unit that the family declares (an expert's coefficients in its residual sd).
    """

    like: MoEParams
    free: np.ndarray
    lower: np.ndarray
    unit: np.ndarray

    @property
    def n_free(self):
        """Number of free coordinates: the degrees of freedom of the model."""
        return int(self.free.sum())

    @property
    def bounded(self):
        """Which entries are bounded below."""
        return np.isfinite(self.lower)

    def pack(self, params):
        """Return the coordinates of the parameters."""
        flat, low = flatten(params), self.lower[self.bounded]
        gap = np.maximum(flat[self.bounded] - low, _NEAREST * low)  # a value on its bound has no finite coordinate
        flat[self.bounded] = np.log(gap)
        return (flat / self.unit)[self.free]

    def unpack(self, theta):
        """Return the parameters at these coordinates; pinned entries keep the value that the chart was made with."""
        flat = flatten(self.like)
        values = theta * self.unit[self.free]
        bounded = self.bounded[self.free]
        values[bounded] = self.lower[self.free][bounded] + np.exp(np.minimum(values[bounded], _LARGEST_LOG))
        flat[self.free] = values
        return unflatten(flat, self.like)

    def slope(self, params):
        """Derivative of each free entry by its own coordinate."""
        return np.where(self.bounded, flatten(params) - self.lower, 1.0)[self.free] * self.unit[self.free]

    def gradient(self, score, params):
        """Chain rule for a gradient shaped like the parameters."""
        return flatten(score)[self.free] * self.slope(params)

    def hessian(self, information, score, params):
        """Chain rule for a negative second derivative in flat order."""
        slope = self.slope(params)
        out = information[np.ix_(self.free, self.free)] * np.outer(slope, slope)
        bend = np.where(self.bounded, flatten(score), 0.0)[self.free] * slope * self.unit[self.free]
        out[np.diag_indices_from(out)] -= bend
        return out
