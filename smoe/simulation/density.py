"""The distance between two conditional densities, averaged over the covariates."""

from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.special import roots_legendre

from smoe.blocks import Blocks
from smoe.simulation.truth import Truth
from smoe.validation import check_choice, check_generator, check_instance, check_number

__all__ = ["DensityError", "density_error"]

_NODES = 8  # Gauss-Legendre nodes of a panel
# Panel edges around each component, in its standard deviations. What is outside weighs less than 1e-22.
_EDGES = np.array([0.7, 1.4, 2.1, 2.8, 3.6, 4.5, 5.6, 7.0, 10.0])
_EDGES = np.concatenate([-_EDGES[::-1], [0.0], _EDGES])
_PANELS = 16  # of the rule over x, in its distribution function
_TAILS = 10.0 ** -np.arange(2, 11)  # further edges there, for laws with tails
_DRAWS = 1000
_CHUNK = 32  # rows of x at a time: bounds the memory and stays in the cache
_BISECTIONS = 30


class DensityError(NamedTuple):
    """A distance averaged over covariates; the standard error of the average is 0.0 where no draws were needed."""

    value: float
    standard_error: float


def density_error(fitted, truth, *, model=None, distance="hellinger", n_covariates=None, rng=None):
    r"""Return the average over x of the distance between the fitted and the true density of y given x.

    .. math::
        E_X[h(p_X, q_X)], \quad h^2 = 1 - \int \sqrt{p q}\,dy = \tfrac12 \int (\sqrt p - \sqrt q)^2\,dy
        \qquad\text{or}\qquad E_X\left[\tfrac12 \int |p - q|\,dy\right]

    It is h that is averaged, not its square. Both distances lie between 0 and 1, depend on the densities only (not on
    what is not identified), and can see a fit that is far off in parameters and right in density.

    Parameters
    ----------
    fitted : MoEParams
        Fitted parameters.
    truth : Truth
        The truth; the average is over its covariates.
    model : MixtureOfExperts, str, Gate, or pair (gate, expert), default=None
        The model of the fit, None for the truth's. A fit with more selected experts than the truth needs it.
    distance : {"hellinger", "tv"}, default="hellinger"
        Hellinger distance or total variation.
    n_covariates : int, default=None
        Number of covariates, None for a rule of some 150 to 300 nodes, or for 1,000 draws.
    rng : Generator, RandomState or int, default=None
        Draws the covariates; needed where they have several columns or are a callable's.

    Returns
    -------
    DensityError
        ``value``, and the Monte Carlo ``standard_error`` of the average over x. With one feature of a known univariate
        law ("uniform", "normal", "grid" in its limit, any frozen distribution) the average is Gauss-Legendre quadrature
        in the distribution function of x and the standard error is 0.0; the average is then good to some four digits at
        least. For one x the integral over y is accurate to about 1e-10.

    Raises
    ------
    ValueError, TypeError
        An unknown distance, missing generator, or parameters that do not belong to the model.

    Notes
    -----
    The integral over y is a fixed Gauss-Legendre rule on panels laid around every component's mean in units of its
    standard deviation, made for densities with tails like the normal's. The second form of h does not cancel, so that
    small distances are accurate too. Total variation adds up differences of distribution functions between the points
    where the densities cross.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.experts import GaussianExpertParams
    >>> from smoe.gates import LinearGateParams
    >>> from smoe.params import MoEParams
    >>> from smoe.simulation import Truth, density_error
    >>> gate = LinearGateParams(np.zeros((1, 1)), np.zeros(1))
    >>> def normal(mean, variance):
    ...     return MoEParams(gate, GaussianExpertParams(np.zeros((1, 1)), np.array([mean]), np.array([variance])))
    >>> truth = Truth("softmax", normal(0.0, 1.0))
    >>> density_error(normal(1.0, 1.0), truth).value  # sqrt(1 - exp(-1/8))
    0.3427...
    """
    check_instance(truth, Truth, "truth")
    check_choice(distance, "distance", ("hellinger", "tv"))
    if n_covariates is not None:
        check_number(n_covariates, "n_covariates", 1, integer=True)
    other = Truth(truth.model if model is None else model, fitted, truth.covariates)
    if other.n_features != truth.n_features:
        raise ValueError(f"fitted has {other.n_features} features, truth has {truth.n_features}.")
    X, weight = _covariates(truth, other, n_covariates, rng)
    between = _hellinger if distance == "hellinger" else _total_variation
    pieces = [X[low : low + _CHUNK] for low in range(0, len(X), _CHUNK)]
    h = np.concatenate([between(_Slice(other, piece), _Slice(truth, piece)) for piece in pieces])
    if weight is not None:
        return DensityError(float(weight @ h), 0.0)
    spread = h.std(ddof=1) if len(h) > 1 else np.nan
    return DensityError(float(h.mean()), float(spread / np.sqrt(len(h))))


# Over x ---------------------------------------------------------------------------------------------------------------


def _covariates(truth, other, n_covariates, rng):
    """Return nodes and weights of a quadrature over x, or draws and None."""
    if truth.n_features == 1 and truth.covariate_law is not None:
        u, weight = _levels(truth, other, n_covariates)
        return truth.covariate_law.ppf(u)[:, None], weight
    if rng is None:
        raise TypeError("rng must be a numpy generator to draw these covariates, got None.")
    return truth.draw_covariates(n_covariates or _DRAWS, check_generator(rng, "rng")), None


def _levels(truth, other, n_covariates):
    """Nodes and weights on (0, 1); panels end where scores cross, which is where a top-K gate jumps."""
    panels = _PANELS if n_covariates is None else max(1, n_covariates // _NODES)
    edges = [np.linspace(0.0, 1.0, panels + 1)]
    if n_covariates is None:
        law = truth.covariate_law
        low, high = law.support()
        edges += [_TAILS] * bool(np.isinf(low)) + [1.0 - _TAILS] * bool(np.isinf(high))
        edges += [law.cdf(_crossings(params.gate)) for params in (truth.params, other.params)]
    edges = np.unique(np.concatenate(edges))
    nodes, weight = _panel_rule(edges[None])
    return nodes[0], weight[0]


def _crossings(gate):
    """Return the x at which two linear scores, or two slopes, are equal."""
    i, j = np.triu_indices(len(gate.intercept), 1)
    tilt, gap = gate.coef[i, 0] - gate.coef[j, 0], gate.intercept[i] - gate.intercept[j]
    return np.append(-gap[tilt != 0] / tilt[tilt != 0], 0.0)


# Over y ---------------------------------------------------------------------------------------------------------------


class _Slice:
    """A conditional mixture at given rows x."""

    def __init__(self, truth, X):
        model, params = truth.model, truth.params
        block = Blocks.plain(model, X).take(slice(None))
        self.expert, self.params, self.Z = model.expert, params.expert, block.expert_Z
        self.proba = model.gate_proba(block, params)  # (k, m)
        self.mean = self.expert.mean(self.Z, self.params)
        self.sd = np.sqrt(self.expert.variance(self.Z, self.params))

    def edges(self):
        """Panel edges around each component, (k * n_edges, m); those of idle components coincide with another's."""
        busy = self.proba.argmax(axis=0)[None]
        mean, sd = (np.where(self.proba > 0, v, np.take_along_axis(v, busy, axis=0)) for v in (self.mean, self.sd))
        return (mean[:, None] + sd[:, None] * _EDGES[:, None]).reshape(-1, self.proba.shape[1])

    def density(self, y, rows=slice(None)):
        """Density at y (m, n), row i of it given x of row ``rows[i]``."""
        Z = np.repeat(self.Z[:, rows], y.shape[1], axis=1)
        log_prob = self.expert.log_prob(Z, y.ravel(), self.params)
        return np.einsum("km,kmn->mn", self.proba[:, rows], np.exp(log_prob).reshape(len(log_prob), *y.shape))

    def cdf(self, y, rows):
        """Distribution function at y (m,), each given x of the row named."""
        return (self.proba[:, rows] * self.expert.cdf(self.Z[:, rows], y, self.params)).sum(axis=0)


@cache
def _rule():
    return roots_legendre(_NODES)


def _panel_rule(edges):
    """Gauss-Legendre nodes and weights (m, n) on the panels between edges (m, n_edges) in increasing order."""
    root, weight = _rule()
    half = 0.5 * np.diff(edges, axis=1)[:, :, None]
    centre = 0.5 * (edges[:, 1:] + edges[:, :-1])[:, :, None]
    return (centre + half * root).reshape(len(edges), -1), (half * weight).reshape(len(edges), -1)


def _common_edges(p, q):
    return np.sort(np.concatenate([p.edges(), q.edges()]), axis=0).T


def _hellinger(p, q):
    """Hellinger distances, (m,)."""
    y, weight = _panel_rule(_common_edges(p, q))
    gap = np.sqrt(p.density(y)) - np.sqrt(q.density(y))
    return np.sqrt(0.5 * np.einsum("mn,mn,mn->m", weight, gap, gap))


def _total_variation(p, q):
    """Half the sum of |change of F_p - F_q| between the points where the densities cross, (m,)."""
    y, _ = _panel_rule(_common_edges(p, q))
    above = p.density(y) > q.density(y)
    row, left = np.nonzero(above[:, 1:] != above[:, :-1])
    roots = _roots(p, q, row, y[row, left], y[row, left + 1], above[row, left])
    every = np.arange(len(y))
    rows = np.concatenate([every, row, every])
    points = np.concatenate([np.full(len(y), -np.inf), roots, np.full(len(y), np.inf)])
    order = np.lexsort((points, rows))
    rows, points = rows[order], points[order]
    steps = np.abs(np.diff(p.cdf(points, rows) - q.cdf(points, rows)))
    return 0.5 * np.bincount(rows[1:], np.where(np.diff(rows) == 0, steps, 0.0), len(y))


def _roots(p, q, row, low, high, above):
    """Where the densities cross, by bisection: the total variation is flat there."""
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        before = (p.density(middle[:, None], row) > q.density(middle[:, None], row))[:, 0] == above
        low, high = np.where(before, middle, low), np.where(before, high, middle)
    return 0.5 * (low + high)
