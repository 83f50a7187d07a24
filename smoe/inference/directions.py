"""Which directions of the parameters are estimated at the root-n rate, with a normal limit."""

from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag, null_space, orth
from scipy.sparse.csgraph import connected_components

from smoe.params import copies, flatten, n_experts_of
from smoe.solvers.certificate import SEPARATES, usage
from smoe.solvers.separation import Limit, diverging, n_free_gate, newton_step, without_rows

__all__ = ["Directions", "root_n_directions", "separation"]

_APART = 1e-6  # share of a direction that is rounding


def root_n_directions(model, blocks, params, chart, curvature, certificate):
    r"""Return the `Directions`: estimated at the root-n rate, not estimated, and along which the likelihood jumps.

    A smooth gate that does not separate the data leaves every direction to the information matrix.

    A gate that separates has no finite maximum: it is known in the limit where it divides the rows, and the
    coefficients along the directions that diverge are not estimated, while the experts are, and all else in the gate.

    A top-K gate has a likelihood that jumps where two experts i and j change places at the edge of the support. The
    data locate such a jump at the rate 1/n, so that for root-n purposes the boundary
    :math:`(\beta_i - \beta_j)^\top z = 0` is known. What is left free are the differences along themselves,
    :math:`\delta_i - \delta_j \propto \beta_i - \beta_j`, that is how fast probabilities change across it, and all that
    concerns pairs of experts which never change places. That is what the experts' standard errors, and those of the
    mean where the support is known, have to allow for. The gate's own entries have no normal limit, the less so when
    few rows lie beyond a boundary. With one expert per row the likelihood depends on the boundaries alone.

    References
    ----------
    Chernozhukov, V. and Hong, H. (2004). Likelihood estimation and inference in a class of nonregular econometric
    models. Econometrica 72, 1445-1480.
    """
    n_gate, every = n_free_gate(chart, params), np.eye(chart.n_free)
    none = every[:, :0]
    if certificate.separates:
        limit = _limit(model, blocks, params, chart, curvature)
        null, lost = diverging(model, blocks, chart, limit), without_rows(model, blocks, chart, limit)
        return Directions(null_space(np.hstack([null, lost]).T), null, lost, none, _SEPARATED)
    if model.gate.smooth or model.gate.selects_all(n_experts_of(params)):
        return Directions(every, none, none, none, "")
    free = model.gate.kept_moves(params.gate, blocks)
    basis = block_diag(free, np.eye(chart.n_free - n_gate))
    return Directions(basis, none, none, every[:, :n_gate], _JUMPS)


class Directions(NamedTuple):
    """Bases in the chart's coordinates, (n_free, n_directions), and a note in words."""

    known: np.ndarray  # estimated at the root-n rate, if there is information
    diverging: np.ndarray  # where a gate separates the data
    lost: np.ndarray  # about which nothing is known in the limit of such a gate
    jumps: np.ndarray  # along which the likelihood jumps
    note: str


_SEPARATED = "the gate is known in the limit, what diverges has no standard error"

_JUMPS = (
    "the likelihood jumps where experts change places, and boundaries converge at the rate 1/n without a normal "
    "limit; the gate has no standard errors, those of the experts allow for its weights within the supports"
)


def _limit(model, blocks, params, chart, curvature):
    total = blocks.total_weight
    gradient = chart.gradient(model.score(params, curvature, total), params)
    step = newton_step(chart.information(model.information(params, curvature, total), params), gradient)
    return Limit.of(params, chart, step, usage(model, blocks, params)[1])


def separation(null, change, params, entries):
    """Say in words along which columns, and between which experts, a gate diverges.

    Parameters
    ----------
    null : array of shape (n_free, n_directions)
        The directions, in the chart's coordinates.
    change : array of shape (n_entries, n_free)
        What these do to the entries of the parameters.
    params : MoEParams
    entries : list of smoe.fields.Entry
    """
    (k, width), directions = copies(params.gate).shape, null.shape[1]
    d, n_lines = width - 1, k * width  # flat order: expert by expert, the intercept last
    if directions in (0, (k - 1) * width) or len(flatten(params.gate)) < n_lines:
        return SEPARATES
    unit = np.linalg.norm(change[:n_lines], axis=1)
    moves = orth(change[:n_lines] @ null / np.where(unit > 0, unit, 1.0)[:, None])
    projector = (moves @ moves.T).reshape(k, d + 1, k, d + 1)
    coupled = np.sqrt((projector**2).sum(axis=(0, 2)))
    columns = np.flatnonzero(np.diag(coupled) > _APART)
    n_parts, parts = connected_components(coupled[np.ix_(columns, columns)] > _APART)
    terms = [entry.label for entry in entries[: d + 1]]
    words = [_along(terms, columns[parts == i], projector) for i in range(n_parts)]
    what = "that coefficient diverges" if len(columns) == 1 and directions == 1 else "those coefficients diverge"
    return f"gate separates the data {_joined(words)}: {what}"


def _along(terms, columns, projector):
    """Name columns that diverge together, and the experts, in brackets those that move together."""
    k, d = len(projector), len(terms) - 1
    rows = projector[:, columns].reshape(k, -1)
    alike = np.abs(rows[:, None] - rows).max(axis=2) <= _APART
    together = [np.flatnonzero(alike[i]) for i in range(k) if alike[i].argmax() == i]
    experts = [str(one[0]) if len(one) == 1 else f"({', '.join(map(str, one))})" for one in together]
    named = [f"`{terms[j]}`" if j < d else "the intercept" for j in columns]
    return f"along {_joined(named)} between experts {_joined(experts)}"


def _joined(words):
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
