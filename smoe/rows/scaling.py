"""The coordinates that fits work in: centred and scaled columns, without those that repeat what is there already.

Columns that are nearly collinear are made uncorrelated too: X and X A then give the same fit.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from smoe._kernels.designs import rotate, standard_rows
from smoe.fields import expand, map_features, restrict
from smoe.params import MoEParams
from smoe.rows.columns import Looked, Wanted, gram, look, mean_and_scale, observed_mean_and_scale
from smoe.rows.rotation import is_well_conditioned, triangular
from smoe.rows.source import Source
from smoe.threads import driving

__all__ = ["Scaling", "View", "standardise", "wanted_of"]

_DOUBLE = 1e-13  # rounding of a column, relative to its size: with less, its coefficient cannot hold three digits
_SINGLE = float(np.finfo(np.float32).eps)  # the same, if its numbers were rounded to float32
_NONE = np.zeros((0, 0))


class View(NamedTuple):
    """How the gate or the experts see X: the columns chosen, which of these are used, with which shift and scale.

    Those that are not ``kept`` are aliased (constant, or linear combinations of earlier ones) and get coefficient zero.
    ``rotation`` is None if the standardised columns z are well
    conditioned, else an upper triangular R with z = R'q and working coordinates q that are uncorrelated.
    """

    chosen: np.ndarray
    kept: np.ndarray
    shift: np.ndarray
    scale: np.ndarray
    rotation: np.ndarray | None = None

    @property
    def columns(self):
        """The columns of X that are used."""
        return self.chosen[self.kept]

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
        return View(self.chosen, kept, self.shift[left], self.scale[left])

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

    @property
    def plain(self):
        """The coordinates that leave the same columns in the user's units."""
        return self.identity(self.gate.chosen, self.expert.chosen)

    @classmethod
    def identity(cls, gate_columns, expert_columns):
        """Return the coordinates that leave everything in the user's units."""
        gate = _plain_view(gate_columns)
        return cls(gate, gate if np.array_equal(gate_columns, expert_columns) else _plain_view(expert_columns))


def _plain_view(columns):
    n = len(columns)
    return View(np.asarray(columns), np.ones(n, dtype=bool), np.zeros(n), np.ones(n))


def _view(source, columns, moments, centred, linear, n_threads, every=False):
    shift, scale, constant, products, size = mean_and_scale(moments, centred)
    kept = ~constant
    view = View(columns, kept, shift[kept], scale[kept])
    if every:
        return view
    products = products[np.ix_(kept, kept)]
    noise = np.where(moments.single[kept], _SINGLE, _DOUBLE) * size[kept]
    if is_well_conditioned(products, noise):
        return view

    def next_gram(left, factor):
        return gram(source, view.taken(left)._replace(rotation=factor), centred, n_threads)

    left, factor = triangular(products, noise, next_gram)
    view = view.taken(left)
    return view._replace(rotation=factor) if linear and not is_well_conditioned(factor.T @ factor) else view


@driving
def standardise(
    model: Any,
    source: Source,
    gate_columns: np.ndarray,
    expert_columns: np.ndarray,
    n_threads: int = 1,
    looked: Looked | None = None,
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
    looked : Looked or None, default=None
        What a `Survey` says of the columns, if somebody has looked at all rows: it saves passes.

    Raises
    ------
    ValueError
        A value is NaN or infinite, or the spread of y is not a number that float64 can square.
    """
    free = model.constraints is None and all(penalty.equivariant for penalty in model.active_penalties)
    centred, linear = model.gate.centred, (free and model.gate.linear, free and model.expert.linear)
    wanted = wanted_of(model, gate_columns, expert_columns)
    every = not wanted.products
    if looked is None:
        looked = look(source, *wanted, n_threads=n_threads)
    y_shift, y_scale = _units_of_response(model.expert, source, looked.y)
    expert = _view(source, expert_columns, looked.X.of(expert_columns), True, linear[1], n_threads, every)
    same = centred and np.array_equal(gate_columns, expert_columns)
    if same and linear[0] == linear[1]:
        return Scaling(expert, expert, y_shift, y_scale)
    gate = _view(source, gate_columns, looked.X.of(gate_columns), centred, linear[0], n_threads, every)
    return Scaling(expert if same and gate.rotation is expert.rotation else gate, expert, y_shift, y_scale)


def wanted_of(model: Any, gate_columns: np.ndarray, expert_columns: np.ndarray) -> Wanted:
    """Return what `standardise` must know of the rows for a fit of this model.

    Parameters
    ----------
    model : MixtureOfExperts
    gate_columns, expert_columns : array of int
        The columns that gate and experts see.
    """
    response = model.expert.units != "none" and not model.expert.takes_missing
    every = any(penalty.keeps_columns for penalty in model.active_penalties)
    return Wanted(np.union1d(gate_columns, expert_columns), response, not every)


def _units_of_response(expert, source, moments):
    """Return shift and scale of y, as far as its family allows them: mean and standard deviation, or the mean alone.

    Of several responses each has its own; those that must keep one scale share the root mean square of theirs.
    """
    units = expert.units
    if units == "none":
        return 0.0, 1.0
    if expert.takes_missing:
        shift, scale, constant = observed_mean_and_scale(source)
    else:
        shift, scale, constant, *_ = mean_and_scale(moments)
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
