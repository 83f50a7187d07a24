"""The distribution of y given x under a mixture of experts, for many rows at once."""

import numpy as np

from smoe.distribution.components import Components
from smoe.distribution.regions import HighestDensityRegions
from smoe.params import n_experts_of
from smoe.validation import check_floats, check_generator, check_level, check_number

__all__ = ["ConditionalMixture"]


class ConditionalMixture:
    r"""Distributions of y given x, one for each row of X.

    .. math:: p(y|x) = \sum_{k=1}^{K} \pi_k(x)\, f_k(y|x)

    ``MoERegressor.predict_distribution`` makes them. Names are those of ``scipy.stats``. The rows are the batch: an
    argument y or q may be

    * one number, used for every row: the result is (n_samples,);
    * an array (n_samples,), a value for each row: the result is (n_samples,);
    * an array (n_samples, g), or (1, g) for the same g values in every row: the result is (n_samples, g).

    Rows are visited block by block, so that memory beyond the result does not grow with them.

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
    between the smallest and the largest mean [1]_, and each is found. Other families have quantiles only.

    References
    ----------
    .. [1] Carreira-Perpinan, M. A. and Williams, C. K. I. (2003). On the number of modes of a Gaussian mixture. In:
       Scale Space Methods in Computer Vision, LNCS 2695, 625-640.
    .. [2] Hyndman, R. J. (1996). Computing and graphing highest density regions. The American Statistician 50, 120-126.

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

    def __init__(self, model, params, blocks):
        self._model, self._params, self._blocks = model, params, blocks

    def __len__(self):
        """Return the number of rows."""
        return len(self._blocks)

    def __repr__(self):
        return f"ConditionalMixture(n_samples={len(self)}, n_experts={n_experts_of(self._params)})"

    def mean(self):
        """Return the means, (n_samples,)."""
        return self._blocks.map(self._model.mean, self._params)

    def var(self):
        """Return the variances: within and between the experts, (n_samples,); infinite where float64 ends."""
        with np.errstate(over="ignore"):
            return self.std() ** 2

    def std(self):
        """Return the standard deviations, (n_samples,)."""
        return self._blocks.map(self._model.mean_and_std, self._params)[1]

    def pdf(self, y):
        """Return the densities at y, per unit of y; shapes as the class says."""
        return np.exp(self.logpdf(y))

    def logpdf(self, y):
        """Return the natural logarithms of the densities at y."""
        return self._map(Components.logpdf, self._grid(y, "y"))

    def cdf(self, y):
        """Return the probabilities of at most y."""
        return self._map(Components.cdf, self._grid(y, "y"))

    def sf(self, y):
        """Return the probabilities of more than y, accurate where they are small."""
        return self._map(Components.cdf, self._grid(y, "y"), True)

    def logcdf(self, y):
        """Return the natural logarithms of the probabilities of at most y."""
        return self._map(Components.logcdf, self._grid(y, "y"))

    def logsf(self, y):
        """Return the natural logarithms of the probabilities of more than y."""
        return self._map(Components.logcdf, self._grid(y, "y"), True)

    def ppf(self, q):
        """Return the q-quantiles: the y with ``cdf(y) = q``; minus infinity for q = 0, infinity for q = 1.

        Lower tails are solved from below and upper ones from above, so that both stay accurate; a q close to 1 is
        better given to ``isf`` as 1 - q.
        """
        return self._map(Components.ppf, self._levels(q))

    def isf(self, q):
        """Return the y with ``sf(y) = q``."""
        return self._map(Components.ppf, self._levels(q), True)

    def median(self):
        """Return the medians, (n_samples,)."""
        return self.ppf(0.5)

    def interval(self, coverage):
        """Return the equal-tailed intervals that hold y with probability ``coverage``, (n_samples, 2)."""
        tail = 0.5 * (1.0 - check_level(coverage, "coverage"))
        return np.column_stack([self.ppf(tail), self.isf(tail)])

    def hdr(self, coverage):
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

        Raises
        ------
        NotImplementedError
            The experts' family is not normal.
        """
        coverage, parts = check_level(coverage, "coverage"), {}

        def visit(block, params):
            edges, count, level = Components(self._model, block, params).regions(coverage)
            parts[block.low] = edges
            return np.array([count, level])

        count, level = self._blocks.map(visit, self._params)
        start = np.concatenate([[0], np.cumsum(count.astype(np.int64))])
        return HighestDensityRegions(np.concatenate([parts[low] for low in sorted(parts)]), start, level)

    def mode(self):
        """Return the highest points of the densities, (n_samples,); of equally high ones the smallest."""
        return self._blocks.map(lambda block, params: Components(self._model, block, params).mode(), self._params)

    def sample(self, size=None, random_state=None):
        """Draw responses.

        Parameters
        ----------
        size : int or None, default=None
            Draws for each row; None for one, without an axis for it.
        random_state : int, Generator, RandomState or None, default=None

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, size)
        """
        rng = check_generator(random_state)
        model, alone = self._model, self._blocks.shared_by(1)  # one stream, whatever the number of threads
        if size is None:
            return alone.map(lambda block, params: model.sample(block, params, rng)[0], self._params)
        check_number(size, "size", 1, integer=True)

        def visit(block, params):
            return np.array([model.sample(block, params, rng)[0] for _ in range(size)])

        return alone.map(visit, self._params).T

    def _map(self, method, values, *args):
        """Return method(components, column, ...) for each column of values (n_samples or 1, g) or for its only one."""
        columns = values if values.ndim == 2 else values[:, None]

        def visit(block, params):
            part = Components(self._model, block, params)
            rows = columns[block.low : block.high] if len(columns) > 1 else columns
            return np.array([method(part, np.array(np.broadcast_to(c, len(block))), *args) for c in rows.T])

        if not columns.shape[1]:
            return np.empty((len(self), 0))
        out = self._blocks.map(visit, self._params)
        return out.T if values.ndim == 2 else out[0]

    def _grid(self, values, name):
        """Return values as floats of shape (1,), (n,), (1, g) or (n, g)."""
        n, values = len(self), check_floats(values, name)
        if np.isnan(values).any():
            raise ValueError(f"{name} contains NaN.")
        if values.ndim == 0:
            return values[None]
        if values.ndim == 1 and len(values) != n:
            raise ValueError(
                f"{name} must be a number, or have shape ({n},), (1, g) or ({n}, g), got {values.shape}; "
                f"for the same values in every row pass {name}[None, :]."
            )
        if values.ndim > 2 or len(values) not in (1, n):
            raise ValueError(f"{name} must be a number, or have shape ({n},), (1, g) or ({n}, g), got {values.shape}.")
        return values

    def _levels(self, q):
        q = self._grid(q, "q")
        if not np.all((q >= 0) & (q <= 1)):
            raise ValueError(f"q must lie between 0 and 1, got values from {q.min()} to {q.max()}.")
        return q
