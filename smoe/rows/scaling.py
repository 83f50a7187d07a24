"""The coordinates that fits work in: centred and scaled columns, without those that repeat what is there already.

Columns that are nearly collinear are made uncorrelated too: X and X A then give the same fit.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from smoe._kernels.designs import rotate, standard_rows
from smoe.fields import expand, map_features, restrict
from smoe.params import MoEParams
from smoe.rows.columns import Response, are_single, gram, mean_and_scale, observed_mean_and_scale
from smoe.rows.rotation import is_well_conditioned, triangular
from smoe.rows.source import Source
from smoe.threads import driving

__all__ = ["Scaling", "View", "standardise"]

_DOUBLE = 1e-13  # rounding of a column, relative to its size: with less, its coefficient cannot hold three digits
_SINGLE = float(np.finfo(np.float32).eps)  # the same, if its numbers were rounded to float32
_NONE = np.zeros((0, 0))


class View(NamedTuple):
    """How the gate or the experts see X: the columns used, their shift and scale, and their rotation.

    ``kept`` says which of the chosen features these columns are; the others are aliased (constant, or linear
    combinations of earlier ones) and get coefficient zero. ``rotation`` is None if the standardised columns z are well
    conditioned, else an upper triangular R with z = R'q and working coordinates q that are uncorrelated.
    """

    columns: np.ndarray
    shift: np.ndarray
    scale: np.ndarray
    kept: np.ndarray
    rotation: np.ndarray | None = None

    def design(self, X, low, high):
        """Return working coordinates and a row of ones, (n_features + 1, high - low), of these rows of X."""
        columns, shift, inverse, factor = self.raw
        Z = standard_rows(X, low, high, columns, shift, inverse)
        rotate(Z, factor, Z.shape[1])
        return Z

    def taken(self, left):
        """Return the view of some of these columns (indices); the others are aliased."""
        kept = np.zeros(len(self.kept), dtype=bool)
        kept[np.flatnonzero(self.kept)[left]] = True
        return View(self.columns[left], self.shift[left], self.scale[left], kept)

    @property
    def raw(self):
        """What a kernel needs to make the design: columns, shift, one over scale, and the rotation (or no numbers)."""
        return self.columns, self.shift, 1.0 / self.scale, _NONE if self.rotation is None else self.rotation

    def to_units(self, part, params, *y_units):
        """Return a gate's or experts' parameters in the user's units from those in working coordinates."""
        if self.rotation is not None:
            params = map_features(params, part.fields, self._unrotated)
        return expand(part.unscale(params, self.shift, self.scale, *y_units), part.fields, self.kept, len(self.kept))

    def _unrotated(self, slopes):
        flat = slopes.reshape(-1, slopes.shape[-1])
        return solve_triangular(self.rotation, flat.T).T.reshape(slopes.shape)

    def from_units(self, part, params, *y_units):
        """Undo ``to_units``, with the shift and the scale of the way back."""
        params = restrict(params, part.fields, self.kept)
        params = part.unscale(params, -self.shift / self.scale, 1.0 / self.scale, *y_units)
        if self.rotation is None:
            return params
        return map_features(params, part.fields, lambda a: a @ self.rotation.T)


class Scaling(NamedTuple):
    """The working coordinates of a fit: both views of X, and the shift and scale of y, or of each response (q,)."""

    gate: View
    expert: View
    y_shift: float | np.ndarray = 0.0
    y_scale: float | np.ndarray = 1.0

    def to_units(self, model, params):
        """Return parameters in the user's units from parameters in working coordinates."""
        expert = self.expert.to_units(model.expert, params.expert, self.y_shift, self.y_scale)
        return MoEParams(self.gate.to_units(model.gate, params.gate), expert)

    def to_user(self, model, params):
        """Return parameters in the user's units and in the gate's canonical form."""
        user = self.to_units(model, params)
        return user._replace(gate=model.user_canonical(user.gate))

    def loglik_offset(self, weight):
        """Return by how much a log-likelihood is larger than in the user's units, from the weight of the densities.

        That is one number, or one for each response.
        """
        return float(np.sum(weight * np.log(self.y_scale)))

    def from_units(self, model, params):
        """Return parameters in working coordinates from parameters in the user's units."""
        y_units = -self.y_shift / self.y_scale, 1.0 / self.y_scale
        expert = self.expert.from_units(model.expert, params.expert, *y_units)
        return MoEParams(self.gate.from_units(model.gate, params.gate), expert)

    def canonical(self, model, params):
        """Return the parameters with a gate that is canonical here and, as far as signs go, in the user's units.

        Shifts and scales leave signs as they are, rotations do not.
        """
        params = model.canonical(params)
        gate = params.gate
        if self.gate.rotation is not None and not model.gate.centred:
            user = model.gate.canonical(self.gate.to_units(model.gate, gate))
            gate = self.gate.from_units(model.gate, user)
        return params._replace(gate=gate)

    @property
    def growth(self):
        """By how much rounding grows on the way from the user's units to these coordinates."""
        return max(self.gate.growth, self.expert.growth, np.max(np.abs(self.y_shift) / self.y_scale))

    @classmethod
    def identity(cls, gate_columns, expert_columns):
        """Return the coordinates that leave everything in the user's units."""
        gate = _plain_view(gate_columns)
        return cls(gate, gate if np.array_equal(gate_columns, expert_columns) else _plain_view(expert_columns))


def _plain_view(columns):
    n = len(columns)
    return View(np.asarray(columns), np.zeros(n), np.ones(n), np.ones(n, dtype=bool))


def _view(source, columns, centred, linear, n_threads, sizes, every=False):
    sizes = None if sizes is None else sizes[0][:, columns]
    plain = _plain_view(columns)
    shift, scale, constant, moments, size = mean_and_scale(source, plain, centred, n_threads, sizes, not every)
    kept = ~constant
    view = View(columns[kept], shift[kept], scale[kept], kept)
    if every:
        return view
    moments = moments[np.ix_(kept, kept)]
    single = are_single(source, _plain_view(view.columns))
    noise = np.where(single, _SINGLE, _DOUBLE) * size[kept]
    if is_well_conditioned(moments, noise):
        return view

    def next_gram(left, factor):
        return gram(source, view.taken(left)._replace(rotation=factor), centred, n_threads)[0]

    left, factor = triangular(moments, noise, next_gram)
    view = view.taken(left)
    return view._replace(rotation=factor) if linear and not is_well_conditioned(factor.T @ factor) else view


@driving
def standardise(
    model: Any,
    source: Source,
    gate_columns: np.ndarray,
    expert_columns: np.ndarray,
    n_threads: int = 1,
    sizes: tuple | None = None,
) -> Scaling:
    """Return the working coordinates of a fit of this model to the rows of a source.

    Its gate says whether its columns may be shifted, gate, experts and penalties whether columns may be replaced by
    linear combinations, and the experts what may be done to y.

    Parameters
    ----------
    model : MixtureOfExperts
    source : Source
    gate_columns, expert_columns : array of int
        The columns that gate and experts see.
    n_threads : int, default=1
        Threads that share the rows.
    sizes : tuple of array or None, default=None
        What a `Survey` says of the columns, if somebody has looked at them: it saves passes.

    Raises
    ------
    ValueError
        A value is NaN or infinite, or the spread of y is not a number that float64 can square.
    """
    free = model.constraints is None and all(penalty.equivariant for penalty in model.active_penalties)
    centred, linear = model.gate.centred, (free and model.gate.linear, free and model.expert.linear)
    y_shift, y_scale = _units_of_response(model.expert, source, n_threads, sizes)
    every = any(penalty.keeps_columns for penalty in model.active_penalties)
    expert = _view(source, expert_columns, True, linear[1], n_threads, sizes, every)
    same = centred and np.array_equal(gate_columns, expert_columns)
    if same and linear[0] == linear[1]:
        return Scaling(expert, expert, y_shift, y_scale)
    gate = _view(source, gate_columns, centred, linear[0], n_threads, sizes, every)
    return Scaling(expert if same and gate.rotation is expert.rotation else gate, expert, y_shift, y_scale)


def _units_of_response(expert, source, n_threads, sizes):
    """Return shift and scale of y, as far as its family allows them: mean and standard deviation, or the mean alone.

    Of several responses each has its own; those that must keep one scale share the root mean square of theirs.
    """
    units = expert.units
    if units == "none":
        return 0.0, 1.0
    response = Response(source)
    plain = _plain_view(np.arange(response.n_features))
    if expert.takes_missing:
        shift, scale, constant = observed_mean_and_scale(response)
    else:
        sizes = None if sizes is None else sizes[1]
        shift, scale, constant, *_ = mean_and_scale(response, plain, n_threads=n_threads, sizes=sizes)
    if units == "positive":
        return 0.0, shift[0]
    if units == "similar":
        scale[expert.similar], constant[expert.similar] = _common(scale[expert.similar]), constant[expert.similar].all()
    scale = np.where(constant, np.maximum(np.abs(shift), 1.0) * 1e-8, scale)  # variances end on the floor and say so
    _refuse_extremes(scale)
    several = source.take(np.arange(1)).y.ndim > 1
    return (shift, scale) if several else (shift[0], scale[0])


def _common(scale):
    """Return the root mean square of the scales, for each of them."""
    largest = max(scale.max(), np.finfo(float).tiny)  # squares may leave float64
    return np.full(len(scale), largest * np.sqrt(np.mean((scale / largest) ** 2)))


def _refuse_extremes(scale):
    with np.errstate(over="ignore", under="ignore"):
        wrong = np.flatnonzero(~((scale**2 > 1e-290) & (scale**2 < 1e290)))
    if len(wrong):
        which = "y" if len(scale) == 1 else f"column {wrong[0]} of y"
        raise ValueError(
            f"{which} has a standard deviation of {scale[wrong[0]]:.3g}, whose square leaves the range of float64; "
            "rescale y."
        )
