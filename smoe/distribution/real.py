"""Distributions of responses that are real numbers."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from smoe._kernels.normal_modes import normal_modes
from smoe._kernels.normal_regions import normal_regions
from smoe.distribution.base import LineMixture
from smoe.distribution.components import chunks
from smoe.distribution.peaks import searched_modes, searched_regions
from smoe.distribution.quantiles import real_quantiles
from smoe.distribution.regions import HighestDensityRegions
from smoe.distribution.scores import crps, entropy
from smoe.validation import check_level

__all__ = ["RealMixture"]

_CHUNK = 512  # rows whose modes and regions are searched at a time


class RealMixture(LineMixture, kind="real"):
    r"""Distributions of a real y given x, one for each row of X.

    .. math:: p(y|x) = \sum_{k=1}^{K} \pi_k(x)\, f_k(y|x)

    Names are those of ``scipy.stats``. An argument y or q may be

    * one number, used for every row: the result is (n_samples,);
    * an array (n_samples,), a value for each row: the result is (n_samples,);
    * an array (n_samples, g), or (1, g) for the same g values in every row: the result is (n_samples, g).

    ``MoERegressor.predict_distribution`` makes them; see `ConditionalMixture` for what all kinds of responses share.

    Parameters
    ----------
    model : MixtureOfExperts
        Gate and family of experts.
    params : MoEParams
        Parameters in the units of X and y.
    blocks : Blocks
        The rows of X, in the same units.

    Notes
    -----
    Quantiles, modes and highest-density regions are those of the fitted density: they say nothing of the uncertainty
    of its parameters. For normal experts modes and regions are exact: a mixture of K normals has at most K modes, all
    between the smallest and the largest mean [1]_, and each is found. For other families the density is searched on a
    grid that follows the experts' quantiles, and the turning points found there are refined: a peak that is narrower
    than the grid, and no expert's own, may be missed.

    References
    ----------
    .. [1] Carreira-Perpinan, M. A. and Williams, C. K. I. (2003). On the number of modes of a Gaussian mixture. In:
       Scale Space Methods in Computer Vision, LNCS 2695, 625-640.
    .. [2] Hyndman, R. J. (1996). Computing and graphing highest density regions. The American Statistician 50, 120-126.
    .. [3] Gneiting, T. and Raftery, A. E. (2007). Strictly proper scoring rules, prediction, and estimation. Journal of
       the American Statistical Association 102, 359-378.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> mixture = model.predict_distribution([[66.0]])
    >>> mixture.mean().round(2), mixture.cdf(3.0).round(2)
    (array([3.05]), array([0.5]))
    >>> mixture.interval(0.8).round(1)
    array([[2. , 4.2]])
    >>> mixture.hdr(0.8).of(0).round(1)
    array([[1.8, 2.5],
           [3.5, 4.4]])
    """

    def ppf(self, q: ArrayLike) -> np.ndarray:
        """Return the q-quantiles: the y with ``cdf(y) = q``; the ends of the support for q = 0 and q = 1.

        Lower tails are solved from below and upper ones from above, so that both stay accurate; a q close to 1 is
        better given to ``isf`` as 1 - q.
        """
        return self._map(real_quantiles, self._levels(q))

    def isf(self, q: ArrayLike) -> np.ndarray:
        """Return the y with ``sf(y) = q``."""
        return self._map(real_quantiles, self._levels(q), True)

    def hdr(self, coverage: float) -> HighestDensityRegions:
        r"""Return the highest-density regions: the smallest sets that hold y with probability ``coverage``.

        .. math:: \{y: p(y|x) \ge c(x)\} \quad\text{with}\quad P(p(Y|x) \ge c(x)) = \text{coverage}

        Parameters
        ----------
        coverage : float
            Strictly between 0 and 1.

        Returns
        -------
        HighestDensityRegions
            For each row one interval, or several where the density has several modes.
        """
        coverage, parts = check_level(coverage, "coverage"), {}

        def visit(components, rows):
            edges, count, level = _regions(components, coverage)
            parts[rows.start] = edges
            return np.array([count, level])

        count, level = self._visit_rows(visit)
        start = np.concatenate([[0], np.cumsum(count.astype(np.int64))])
        return HighestDensityRegions(np.concatenate([parts[low] for low in sorted(parts)]), start, level)

    def mode(self) -> np.ndarray:
        """Return the highest points of the densities, (n_samples,); of equally high ones the smallest."""
        return self._visit(_modes)

    def entropy(self) -> np.ndarray:
        r"""Return the differential entropies :math:`-\int p \log p \, dy` in nats, (n_samples,), by quadrature."""
        return self._visit(entropy)

    def crps(self, y: ArrayLike) -> np.ndarray:
        r"""Return the continuous ranked probability scores of y, in units of y (smaller is better).

        .. math:: \int (F(t|x) - 1\{t \ge y\})^2 \, dt

        In closed form for normal experts, by quadrature for other families, whose mean must be finite.
        """
        return self._map(crps, self._grid(y, "y"))


def _modes(components):
    if components.normal is not None:
        return normal_modes(components.proba, *components.normal)
    return np.concatenate([searched_modes(part) for part in chunks(components, _CHUNK)])


def _regions(components, coverage):
    """Return edges (n_intervals, 2) row after row, their number for each row, and the densities there, (m,)."""
    if components.normal is None:
        parts = [searched_regions(part, coverage) for part in chunks(components, _CHUNK)]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]
    drop = 0.5 * ndtri(0.5 * (1.0 - coverage)) ** 2  # from the tail: 1 + coverage may round to 2
    edges, count, level = normal_regions(components.proba, *components.normal, coverage, drop)
    if np.isnan(level).any():
        raise ArithmeticError("the highest-density region of a row was not found.")
    there = np.arange(edges.shape[1]) < count[:, None]
    return edges.transpose(2, 1, 0)[there], count, np.exp(level)
