"""The distance between two conditional densities, averaged over the covariates."""

from typing import Any, NamedTuple

import numpy as np

from smoe.distribution.components import Components
from smoe.distribution.nodes import panel_rule, row_sums
from smoe.hints import Seed
from smoe.params import MoEParams
from smoe.rows import Blocks
from smoe.simulation.truth import Truth
from smoe.validation import check_choice, check_generator, check_instance, check_number

__all__ = ["DensityError", "density_error", "selected_experts"]

_NODES = 8  # of a panel
_PANELS = 16  # of the rule over x, in its distribution function
_TAILS = 10.0 ** -np.arange(2, 11)  # further edges there, for laws with tails
_DRAWS = 1000
_BISECTIONS = 30


class DensityError(NamedTuple):
    """A distance averaged over covariates; the standard error of the average is 0.0 where no draws were needed."""

    value: float
    standard_error: float


def density_error(
    fitted: MoEParams,
    truth: Truth,
    *,
    model: Any = None,
    distance: str = "hellinger",
    n_covariates: int | None = None,
    rng: Seed = None,
) -> DensityError:
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
        An unknown distance, missing generator, parameters that do not belong to the model, or families whose responses
        are of two kinds, or neither real nor whole numbers.

    Notes
    -----
    The integral over y is a fixed Gauss-Legendre rule on panels laid around every normal component's mean in units of
    its standard deviation, and between quantiles of every component of another family. The second form of h does not
    cancel, so that small distances are accurate too. Total variation adds up differences of distribution functions
    between the points where the densities cross. For whole numbers integrals are sums over all that matter, up to
    16,384 of them; of more some stand for their neighbours.

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
    _check_kinds(other.model.expert.support.kind, truth.model.expert.support.kind)
    X, weight = _covariates(truth, other, n_covariates, rng)
    between = _hellinger if distance == "hellinger" else _total_variation
    h = np.minimum(between(*(_components(one, X) for one in (other, truth))), 1.0)  # beyond is rounding
    if weight is not None:
        return DensityError(float(weight @ h), 0.0)
    spread = h.std(ddof=1) if len(h) > 1 else np.nan
    return DensityError(float(h.mean()), float(spread / np.sqrt(len(h))))


def selected_experts(fitted: MoEParams, truth: Truth, *, model: Any = None, rng: Seed = 0) -> np.ndarray:
    """Return which fitted experts have a positive probability at some of the truth's covariates.

    Parameters
    ----------
    fitted : MoEParams
    truth : Truth
        The truth, whose covariates are looked at: at some 150 to 300 nodes between which no score of a single feature
        crosses another, or at 1,000 draws.
    model : MixtureOfExperts, str, Gate, or pair (gate, expert), default=None
        The model of the fit, None for the truth's.
    rng : Generator, RandomState or int, default=0
        Draws the covariates where they have several columns or are a callable's.

    Returns
    -------
    ndarray of bool of shape (k,)
        For ``selected`` of `voronoi_loss`: an expert that is selected nowhere is no part of the density.
    """
    check_instance(truth, Truth, "truth")
    other = Truth(truth.model if model is None else model, fitted, truth.covariates)
    X, _ = _covariates(truth, other, None, rng)
    blocks = Blocks.plain(other.model, X)
    return blocks.map_rows(other.model.gate_proba, other.params).max(axis=1) > 0


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
        edges += [law.cdf(t.model.gate.breaks(t.params.gate)) for t in (truth, other)]
    edges = np.unique(np.concatenate(edges))
    nodes, weight = panel_rule(edges[None])
    return nodes[0], weight[0]


# Over y ---------------------------------------------------------------------------------------------------------------


def _check_kinds(*kinds):
    """Raise unless both densities are of real numbers, or both of whole numbers."""
    if kinds[0] != kinds[1]:
        raise ValueError(f"responses of the fitted family are {kinds[0]}, those of the truth {kinds[1]}.")
    if kinds[0] not in ("real", "integers"):
        raise ValueError(f"density_error is for families of real or of whole numbers, not of {kinds[0]}.")


def _components(truth, X):
    """Return the conditional mixtures at rows x."""
    return Components(truth.model, Blocks.plain(truth.model, X).take(slice(None)), truth.params)


def _densities(parts, y):
    """Return both densities at y (m, n)."""
    with np.errstate(under="ignore"):
        return [np.exp(part.logpdf_at(y)) for part in parts]


def _hellinger(p, q):
    """Hellinger distances, (m,)."""

    def visit(_, parts, y, weight):
        p, q = _densities(parts, y)
        gap = np.sqrt(p) - np.sqrt(q)
        return 0.5 * np.einsum("mn,mn,mn->m", weight, gap, gap)

    return np.sqrt(row_sums([p, q], visit))


def _total_variation(p, q):
    """Half the sum or integral of |p - q|, (m,)."""
    whole = p.support.kind == "integers"

    def visit(_, parts, y, weight):
        p, q = _densities(parts, y)
        return 0.5 * (weight * np.abs(p - q)).sum(axis=1) if whole else _crossed(*parts, y, p > q)

    return row_sums([p, q], visit)


def _crossed(p, q, y, above):
    """Half the sum of |change of F_p - F_q| between the points where the densities cross, (m,)."""
    row, left = np.nonzero(above[:, 1:] != above[:, :-1])
    roots = _roots(p.rows(row), q.rows(row), y[row, left], y[row, left + 1], above[row, left])
    every = np.arange(len(y))
    rows = np.concatenate([every, row, every])
    points = np.concatenate([np.full(len(y), -np.inf), roots, np.full(len(y), np.inf)])
    order = np.lexsort((points, rows))
    rows, points = rows[order], points[order]
    steps = np.abs(np.diff(p.rows(rows).cdf(points) - q.rows(rows).cdf(points)))
    return 0.5 * np.bincount(rows[1:], np.where(np.diff(rows) == 0, steps, 0.0), len(y))


def _roots(p, q, low, high, above):
    """Where the densities cross, by bisection: the total variation is flat there."""
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        before = (p.logpdf(middle) > q.logpdf(middle)) == above
        low, high = np.where(before, middle, low), np.where(before, high, middle)
    return 0.5 * (low + high)
