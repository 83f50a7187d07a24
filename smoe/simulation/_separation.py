"""How near to a truth a density comes whose copies of one expert are a given distance apart: rates without data."""

import time
from typing import NamedTuple

import numpy as np
from scipy.linalg import null_space
from scipy.optimize import least_squares

from smoe.inference.rows import row_scores
from smoe.params import MoEParams, flatten, n_experts_of, permute, unflatten
from smoe.rows import Blocks
from smoe.simulation.cells import Record

__all__ = ["SeparationCells", "smallest_distance"]

_X_NODES, _Y_NODES = 20, 200
_REACH = 8.0  # of y, beyond which the densities of the profiles' truths are nothing, or the same
_SPREADS = (0.5, 1.0, 2.0)  # powers of the separation: how far other parameters may go to make up for it
_LARGEST = 0.1  # separation at which minima are looked for
_MOST = 150


def smallest_distance(truth, copies, part, field, separation, n_starts=6):
    r"""Return the smallest Hellinger distance to the truth at which two copies of expert 0 differ so much.

    Expert 0 has ``copies`` of equal weight; the first two differ by twice the separation in the first entry of one
    array, and everything else is free: a least-squares problem in :math:`\sqrt p`, on a quadrature of x and y.

    Parameters
    ----------
    truth : Truth
        With one feature, of known law, and one response.
    copies : int
    part, field : str
        "gate" or "expert", and the name of the array. A variance is measured on the log scale.
    separation : float
    n_starts : int
        Starts of the search for the minimum; the smallest counts.

    Returns
    -------
    distance : float
        :math:`(\frac12 \int\int (\sqrt p - \sqrt{p^*})^2\,dy\,dP_X)^{1/2}`.
    params : MoEParams
        Where it is attained.
    """
    problem, path = _Problem(truth, copies), [separation]
    while path[-1] < _LARGEST:
        path.append(2.0 * path[-1])
    constraints = problem.separated(part, field)
    within, across = null_space(constraints), np.linalg.pinv(constraints)[:, 0]
    rng, size, ends = np.random.default_rng(0), len(problem.origin), []
    for apart in reversed(path):  # the minimum is found where it is easy, and followed
        origin = problem.origin + 2.0 * apart * across
        begins = [rng.normal(size=size) * apart ** rng.choice(_SPREADS, size=size) for _ in range(n_starts)]
        ends.append(_lowest(problem, origin, within, [begin @ within for begin in begins + _continued(ends, within)]))
    return float(np.sqrt(2.0 * ends[-1].cost)), problem.chart.unpack(origin + within @ ends[-1].x)


def _continued(ends, within):
    """Return where powers of the separation lead from the last minima, at half of it."""
    steps = [within @ end.x for end in ends[-2:]]
    if not steps:
        return []
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.nan_to_num(np.clip(np.abs(steps[-1] / steps[0]), 2.0**-4, 1.0), nan=0.5)
    return [0.5 * steps[-1], np.sqrt(0.5) * steps[-1], factor * steps[-1]]


def _lowest(problem, origin, within, begins):
    """Return the least squares of the lowest of all searches."""
    settings = {"method": "lm", "xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": _MOST}

    def gap(u):
        return problem.gap(origin + within @ u)

    def slope(u):
        return problem.slope(origin + within @ u) @ within

    with np.errstate(over="ignore", under="ignore"):
        return min((least_squares(gap, begin, slope, **settings) for begin in begins), key=lambda end: end.cost)


class _Problem:
    """Differences of root densities, and their derivatives, in the coordinates of a model with copies of expert 0."""

    def __init__(self, truth, copies):
        self.model, self.copies = truth.model, copies
        self.like = self._copied(truth.params)
        self.chart = self.model.chart(self.like)
        self.origin = self.chart.pack(self.like)
        x, x_weight = np.polynomial.legendre.leggauss(_X_NODES)
        y, y_weight = np.polynomial.legendre.leggauss(_Y_NODES)
        X = truth.covariate_law.ppf(0.5 * (1.0 + x))
        X, y = np.repeat(X, _Y_NODES)[:, None], np.tile(_REACH * y, _X_NODES)
        self.block = Blocks.plain(self.model, X, y).take(slice(None))
        weight = np.outer(0.5 * x_weight, _REACH * y_weight).ravel()
        self.root_weight = np.sqrt(0.5 * weight)
        self.true_root = self._root(self.like)

    def _copied(self, params):
        gate = self.model.gate
        order = [0] * self.copies + list(range(1, n_experts_of(params)))
        part = gate.permute(params.gate, order)
        mass = np.array(gate.log_mass(part))
        mass[: self.copies] -= np.log(self.copies)
        part = gate.canonical(gate.with_log_mass(part, mass))
        return MoEParams(part, permute(params.expert, order))

    def _root(self, params):
        return np.exp(0.5 * self.model.posterior(self.block, params)[2])

    def gap(self, theta):
        return self.root_weight * (self._root(self.chart.unpack(theta)) - self.true_root)

    def slope(self, theta):
        params = self.chart.unpack(theta)
        scores = row_scores(self.model, self.block, params)[self.chart.free] * self.chart.slope(params)[:, None]
        return (scores * (0.5 * self.root_weight * self._root(params))).T

    def _places(self, part, field):
        """Where the copies' first entries of an array are among the coordinates."""
        number = unflatten(np.arange(float(len(flatten(self.like)))), self.like)
        entries = np.reshape(getattr(getattr(number, part), field), (n_experts_of(self.like), -1))
        return (np.cumsum(self.chart.free) - 1)[entries[: self.copies, 0].astype(int)]

    def separated(self, part, field):
        """Linear constraints: the difference of the first two copies, and equal weights of all."""
        rows = np.zeros((self.copies, len(self.origin)))
        one, other = self._places(part, field)[:2]
        rows[0, one], rows[0, other] = 1.0, -1.0
        mass = self._places("gate", "intercept")
        for j in range(1, self.copies):
            rows[j, mass[0]], rows[j, mass[j]] = 1.0, -1.0
        return rows


class SeparationCells(NamedTuple):
    """Profiles by name as the cells of a study: "n" is one over the separation, losses are smallest distances.

    ``profiles`` has, by name, a truth, a number of copies, and pairs (part, field).
    """

    profiles: dict
    random_state: int = 0

    def run(self, n, replication):
        """Return the `Record` of one separation, 1/n; nothing in it is random."""
        clock, losses, where = time.perf_counter(), {}, {}
        for name, (truth, copies, fields) in self.profiles.items():
            for part, field in fields:
                distance, params = smallest_distance(truth, copies, part, field, 1.0 / n)
                losses.setdefault(name, {})[f"{part}_{field}"] = distance
                where.setdefault(name, {})[f"{part}_{field}"] = flatten(params).tolist()
        seed, seconds = [self.random_state, n, replication], time.perf_counter() - clock
        return Record(n, replication, seed, where, 0.0, 0.0, 0.0, 0, True, "converged", seconds, losses)
