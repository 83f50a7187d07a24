"""Distributions of responses that are whole numbers."""

import numpy as np
from numpy.typing import ArrayLike

from smoe.distribution.base import LineMixture
from smoe.distribution.likeliest import likeliest, likeliest_sets
from smoe.distribution.quantiles import integer_quantiles
from smoe.distribution.regions import HighestDensityIntegers
from smoe.distribution.scores import crps, entropy
from smoe.validation import check_level

__all__ = ["IntegerMixture"]


class IntegerMixture(LineMixture, kind="integers"):
    r"""Distributions of a whole number y given x, one for each row of X.

    .. math:: P(y|x) = \sum_{k=1}^{K} \pi_k(x)\, f_k(y|x), \qquad y \in \mathbb{Z}

    Shapes of arguments are those of `RealMixture`. Quantiles, medians, intervals, modes, regions and draws are whole
    numbers; the probability of any number that is not whole is zero.

    Parameters
    ----------
    model : MixtureOfExperts
        Gate and family of experts.
    params : MoEParams
        Parameters in the units of X.
    blocks : Blocks
        The rows of X, in the same units.

    Notes
    -----
    Sums over y visit every whole number that matters, up to 16,384 of them; of more they visit some that stand for
    their neighbours, and then are good to some four digits.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.rows import Blocks
    >>> from smoe.distribution import ConditionalMixture
    >>> from smoe.experts import Expert, Support
    >>> from smoe.gates import LinearGateParams, SoftmaxGate
    >>> from smoe.mixture import MixtureOfExperts
    >>> from smoe.params import MoEParams
    >>> from scipy.stats import poisson
    >>> from typing import NamedTuple
    >>> class Rates(NamedTuple):
    ...     rate: np.ndarray
    >>> class Poisson(Expert):  # what predictive distributions ask of a family
    ...     support = Support(0.0, kind="integers")
    ...
    ...     def mean(self, rows, params):
    ...         return params.rate[:, None] + 0 * rows.Z[0]
    ...
    ...     def log_prob(self, rows, params):
    ...         return poisson.logpmf(rows.y, params.rate[:, None])
    ...
    ...     def cdf(self, rows, params, upper=False):
    ...         return (poisson.sf if upper else poisson.cdf)(rows.y, params.rate[:, None])
    ...
    ...     def ppf(self, rows, q, params, upper=False):
    ...         return (poisson.isf if upper else poisson.ppf)(q, self.mean(rows, params))
    >>> model = MixtureOfExperts(SoftmaxGate(), Poisson())
    >>> gate = LinearGateParams(np.zeros((2, 1)), np.log([0.5, 0.5]))
    >>> counts = ConditionalMixture(model, MoEParams(gate, Rates(np.array([1.0, 9.0]))), Blocks.plain(model, np.eye(1)))
    >>> counts.pmf([[0, 1, 1.5]]).round(4)
    array([[0.184 , 0.1845, 0.    ]])
    >>> counts.median(), counts.interval(0.8)
    (array([3.]), array([[ 0., 11.]]))
    >>> counts.hdr(0.8).of(0)
    array([ 0.,  1.,  2.,  6.,  7.,  8.,  9., 10., 11.])
    """

    def pmf(self, y: ArrayLike) -> np.ndarray:
        """Return the probabilities of y, the same as ``pdf``."""
        return self.pdf(y)

    def logpmf(self, y: ArrayLike) -> np.ndarray:
        """Return the natural logarithms of the probabilities of y, the same as ``logpdf``."""
        return self.logpdf(y)

    def ppf(self, q: ArrayLike) -> np.ndarray:
        """Return the q-quantiles: the smallest whole numbers with ``cdf(y) >= q``; ends of the support for 0 and 1.

        A step of the distribution function that misses q by rounding has reached it. Levels close to 1 are better given
        to ``isf`` as 1 - q.
        """
        return self._map(integer_quantiles, self._levels(q))

    def isf(self, q: ArrayLike) -> np.ndarray:
        """Return the smallest whole numbers with ``sf(y) <= q``."""
        return self._map(integer_quantiles, self._levels(q), True)

    def mode(self) -> np.ndarray:
        """Return the most likely numbers, (n_samples,); of equally likely ones the smallest."""
        return self._visit(likeliest)

    def hdr(self, coverage: float) -> HighestDensityIntegers:
        """Return the smallest sets of whole numbers that hold y with probability at least ``coverage``.

        Parameters
        ----------
        coverage : float
            Strictly between 0 and 1.

        Returns
        -------
        HighestDensityIntegers
            For each row the most likely numbers; of equally likely ones the smaller come first.
        """
        coverage, parts = check_level(coverage, "coverage"), {}

        def visit(components, rows):
            runs, count, level = likeliest_sets(components, coverage)
            parts[rows.start] = runs
            return np.array([count, level])

        count, level = self._visit_rows(visit)
        start = np.concatenate([[0], np.cumsum(count.astype(np.int64))])
        return HighestDensityIntegers(np.concatenate([parts[low] for low in sorted(parts)]), start, level)

    def entropy(self) -> np.ndarray:
        r"""Return the entropies :math:`-\sum_y P(y) \log P(y)` in nats, (n_samples,)."""
        return self._visit(entropy)

    def crps(self, y: ArrayLike) -> np.ndarray:
        r"""Return the ranked probability scores of y (smaller is better).

        .. math:: \sum_{t \in \mathbb{Z}} (F(t|x) - 1\{t \ge y\})^2
        """
        return self._map(crps, self._grid(y, "y"))
