"""The coordinates that fits work in: centred and scaled columns, without those that repeat what is there already."""

import math
from typing import NamedTuple

import numpy as np

from smoe._kernels.designs import standard_rows
from smoe._kernels.moments import weighted_grams
from smoe.fields import expand, restrict
from smoe.params import MoEParams
from smoe.threads import driving, spread

__all__ = ["Scaling", "View", "standardise"]

_BLOCK = 16384
_SHARED = 12  # columns from which threads gain: with fewer they wait for one another (measured)
_CONSTANT = 1e-13  # spread, relative to the largest value, that is rounding and no information
_ALIASED = 1e-11  # share of a column's variance that the columns before it leave unexplained


class View(NamedTuple):
    """How the gate or the experts see X: the columns used, their shift and scale.

    ``kept`` says which of the chosen features these columns are; the others are aliased (constant, or linear
    combinations of earlier ones) and get coefficient zero.
    """

    columns: np.ndarray
    shift: np.ndarray
    scale: np.ndarray
    kept: np.ndarray

    def design(self, X, low, high):
        """Return working coordinates and a row of ones, (n_features + 1, high - low), of these rows of X."""
        return standard_rows(X, low, high, self.columns, self.shift, 1.0 / self.scale)

    @property
    def raw(self):
        """What a kernel needs to make the design: columns, shift and one over scale."""
        return self.columns, self.shift, 1.0 / self.scale


class Scaling(NamedTuple):
    """The working coordinates of a fit: both views of X, and the shift and scale of y."""

    gate: View
    expert: View
    y_shift: float = 0.0
    y_scale: float = 1.0

    def to_units(self, model, params):
        """Return parameters in the user's units from parameters in working coordinates."""
        gate = model.gate.unscale(params.gate, self.gate.shift, self.gate.scale)
        expert = model.expert.unscale(params.expert, self.expert.shift, self.expert.scale, self.y_shift, self.y_scale)
        return MoEParams(
            expand(gate, model.gate.fields, self.gate.kept, len(self.gate.kept)),
            expand(expert, model.expert.fields, self.expert.kept, len(self.expert.kept)),
        )

    def to_user(self, model, params):
        """Return parameters in the user's units and in the gate's canonical form."""
        user = self.to_units(model, params)
        return user._replace(gate=model.gate.canonical(user.gate))

    def loglik_offset(self, total_weight):
        """Return what the log-likelihood in working coordinates exceeds that in the user's units by."""
        return total_weight * math.log(self.y_scale)

    def from_units(self, model, params):
        """Return parameters in working coordinates from parameters in the user's units."""
        g, e = self.gate, self.expert
        gate = restrict(params.gate, model.gate.fields, g.kept)
        expert = restrict(params.expert, model.expert.fields, e.kept)
        back = -self.y_shift / self.y_scale, 1.0 / self.y_scale
        return MoEParams(
            model.gate.unscale(gate, -g.shift / g.scale, 1.0 / g.scale),
            model.expert.unscale(expert, -e.shift / e.scale, 1.0 / e.scale, *back),
        )

    @classmethod
    def identity(cls, gate_columns, expert_columns):
        """Return the coordinates that leave everything in the user's units."""
        gate = _plain_view(gate_columns)
        return cls(gate, gate if np.array_equal(gate_columns, expert_columns) else _plain_view(expert_columns))


def _plain_view(columns):
    n = len(columns)
    return View(np.asarray(columns), np.zeros(n), np.ones(n), np.ones(n, dtype=bool))


def _visited(visit, X, columns, weight, shift, unit, n_threads):
    """Return visit(Z, share) block by block: (X - shift) / unit by columns and a row of ones; shares of weight."""
    total = weight.sum()

    def one(low):
        high = min(low + _BLOCK, len(X))
        return visit(standard_rows(X, low, high, columns, shift, 1.0 / unit), weight[low:high] / total)

    return list(spread(one, range(0, len(X), _BLOCK), n_threads if len(columns) >= _SHARED else 1))


def _size(Z, share):
    """Largest absolute value and mean of each column."""
    return np.array([np.maximum(Z[:-1].max(axis=1), -Z[:-1].min(axis=1)), Z[:-1] @ share])


def _gram(Z, share):
    return weighted_grams(share[None], Z)[0]


def _mean_and_scale(X, weight, columns, centred=True, n_threads=1):
    """Weighted means and ML standard deviations of the columns, which ones are constant, and what is left of them.

    That is the Gram matrix of the standardised columns. No value overflows.
    """
    zero, one = np.zeros(len(columns)), np.ones(len(columns))
    sizes = _visited(_size, X, columns, weight, zero, one, n_threads)
    largest, mean = np.max([size[0] for size in sizes], axis=0), sum(size[1] for size in sizes)
    unit = np.where(largest > 0, largest, 1.0)
    gram = sum(_visited(_gram, X, columns, weight, mean, unit, n_threads))
    mean = mean / unit
    rest = gram[:-1, -1]  # rounding of the mean
    gram, mean = gram[:-1, :-1] - np.outer(rest, rest), mean + rest
    sd = np.sqrt(np.maximum(gram.diagonal(), 0.0))
    constant = sd <= _CONSTANT
    if not centred:
        gram = gram + np.outer(mean, mean)
        sd = np.where(constant, np.sqrt(gram.diagonal()), sd)
        constant, mean = largest == 0, zero
    return unit * mean, unit * sd, constant, gram / np.outer(*2 * [np.where(constant, 1.0, sd)])


def _independent(gram):
    """Return which columns, in order, are not linear combinations of those before them (Cholesky, row by row)."""
    d = len(gram)
    kept, factor = np.zeros(d, dtype=bool), np.zeros((d, d))
    for j in range(d):
        done = np.flatnonzero(kept)
        for i in done:
            factor[j, i] = (gram[j, i] - factor[j, done[done < i]] @ factor[i, done[done < i]]) / factor[i, i]
        left = gram[j, j] - factor[j, done] @ factor[j, done]
        if left > _ALIASED * max(gram[j, j], 1e-300):
            kept[j], factor[j, j] = True, np.sqrt(left)
    return kept


def _view(X, weight, columns, centred, n_threads):
    shift, scale, constant, gram = _mean_and_scale(X, weight, columns, centred, n_threads)
    kept = _independent(gram) & ~constant
    return View(columns[kept], shift[kept], scale[kept], kept)


@driving
def standardise(model, X, y, weight, gate_columns, expert_columns, n_threads=1):
    """Return the working coordinates of a fit of this model.

    Raises
    ------
    ValueError
        The spread of y, or of a column, is not a number that float64 can square.
    """
    centred = model.gate.centred
    y_shift, y_scale = _units_of_response(model.expert.units, y, weight, n_threads)
    gate = _view(X, weight, gate_columns, centred, n_threads)
    same = centred and np.array_equal(gate_columns, expert_columns)
    expert = gate if same else _view(X, weight, expert_columns, True, n_threads)
    return Scaling(gate, expert, y_shift, y_scale)


def _units_of_response(units, y, weight, n_threads):
    """Return shift and scale of y, as far as its family allows them: mean and standard deviation, or the mean alone."""
    if units == "none":
        return 0.0, 1.0
    shift, scale, constant, _ = _mean_and_scale(y[:, None], weight, np.arange(1), n_threads=n_threads)
    if units == "positive":
        return 0.0, shift[0]
    y_shift, y_scale = shift[0], scale[0]
    if constant[0]:
        y_scale = max(abs(y_shift), 1.0) * 1e-8  # the experts' variances end on the floor and say so
    with np.errstate(over="ignore", under="ignore"):
        if not 1e-290 < y_scale**2 < 1e290:
            raise ValueError(
                f"y has a standard deviation of {y_scale:.3g}, whose square leaves the range of float64; rescale y."
            )
    return y_shift, y_scale
