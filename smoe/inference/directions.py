"""Which directions of the parameters are estimated at the root-n rate, with a normal limit."""

import numpy as np
from scipy.linalg import block_diag, null_space

from smoe.params import copies, flatten, n_experts_of

__all__ = ["is_partly_known", "root_n_directions"]


def root_n_directions(model, blocks, params, chart, certificate):
    r"""Return bases of directions: estimated at the root-n rate, not estimated, and along which the likelihood jumps.

    All are in the chart's coordinates, (n_free, n_directions), and come with a note in words. A smooth gate that does
    not separate the data leaves every direction to the information matrix.

    A gate that separates has no finite maximum: what divides groups of experts is known in the limit and its
    coefficients are not estimated, while the experts are, and the gate's differences within a group.

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
    n_gate, every = _n_free_gate(chart, params), np.eye(chart.n_free)
    if certificate.groups is not None:
        null = every[:, :n_gate] @ _between(certificate.groups, n_gate)
        return null_space(null.T), null, every[:, :0], _SEPARATED
    n_experts = n_experts_of(params)
    if model.gate.smooth or model.gate.n_selected(n_experts) == n_experts:
        return every, every[:, :0], every[:, :0], ""
    free = model.gate.kept_moves(params.gate, blocks)
    basis = block_diag(free, np.eye(chart.n_free - n_gate))
    return basis, every[:, :0], every[:, :n_gate], _JUMPS


_SEPARATED = "the gate separates the data: it is known in the limit, coefficients that diverge have no standard error"

_JUMPS = (
    "top-K: the likelihood jumps where experts change places, and boundaries converge at the rate 1/n without a normal "
    "limit; the gate has no standard errors, those of the experts allow for its weights within the supports"
)


def _n_free_gate(chart, params):
    return int(chart.free[: flatten(params.gate).size].sum())


def is_partly_known(chart, params, certificate):
    """Whether the gate is linear in what divides its groups, or divides each expert from each other."""
    groups, k, width = certificate.groups, n_experts_of(params), copies(params.gate).shape[1]
    return groups is None or len(set(groups)) == k or _n_free_gate(chart, params) == (k - 1) * width


def _between(groups, n_gate):
    """Return an orthonormal basis of the free gate entries' moves that a separating gate is indifferent to.

    Groups of experts move together; the group of the last expert, whose row is pinned, stays.
    """
    if len(set(groups)) == len(groups):
        return np.eye(n_gate)
    own = np.array([groups[:-1] == g for g in set(groups) - {groups[-1]}], dtype=float)
    return np.kron(own / np.linalg.norm(own, axis=1)[:, None], np.eye(n_gate // (len(groups) - 1))).T
