"""The distributions of y given x under a mixture of experts, for many rows at once."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from smoe.distribution.components import Components
from smoe.hints import Seed
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, n_experts_of
from smoe.rows import Blocks
from smoe.validation import check_floats, check_generator, check_level, check_number

__all__ = ["DISTRIBUTIONS", "ConditionalMixture", "LineMixture"]

DISTRIBUTIONS: dict[str, type] = {}  # the class of each kind of response


class ConditionalMixture:
    r"""Distributions of y given x, one for each row of X.

    .. math:: p(y|x) = \sum_{k=1}^{K} \pi_k(x)\, f_k(y|x)

    ``MoERegressor.predict_distribution`` makes them. What they offer beyond the methods below depends on the responses
    that the family of experts knows, ``expert.support.kind``: this class makes an instance of `RealMixture`,
    `IntegerMixture`, `ClassMixture` or `VectorMixture`.

    The rows are the batch. ``mixture[i]``, ``mixture[10:20]``, ``mixture[mask]`` are the distributions of one or of
    some rows, and ``for`` goes through them one by one. Rows are visited block by block, so that memory beyond the
    result does not grow with them.

    Parameters
    ----------
    model : MixtureOfExperts
        Gate and family of experts.
    params : MoEParams
        Parameters in the units of X and y.
    blocks : Blocks
        The rows of X, in the same units. They are not copied here; ``predict_distribution`` copies X, so that later
        changes of X do not matter.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> mixture = model.predict_distribution(X)
    >>> len(mixture), mixture.mean().shape
    (272, (272,))
    >>> mixture[3].gate_proba().round(3)
    array([[0.934, 0.066]])
    """

    kind: str | None = None

    def __init_subclass__(cls, kind=None):
        if kind is not None:
            cls.kind, DISTRIBUTIONS[kind] = kind, cls

    def __new__(cls, model=None, *_, **__):
        """Make an instance of the class for the kind of response."""
        if cls is not ConditionalMixture:
            return object.__new__(cls)
        return object.__new__(DISTRIBUTIONS[model.expert.support.kind])

    def __init__(self, model: MixtureOfExperts, params: MoEParams, blocks: Blocks) -> None:
        self._model, self._params, self._blocks = model, params, blocks

    if TYPE_CHECKING:  # the kind of response says what else there is

        def __getattr__(self, name: str) -> Any: ...  # noqa: D105

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._blocks)

    def __repr__(self):
        kind = "" if self.kind == "real" else f", kind={self.kind!r}"
        return f"ConditionalMixture(n_samples={len(self)}, n_experts={n_experts_of(self._params)}{kind})"

    def __getitem__(self, rows: Any) -> "ConditionalMixture":
        """Return the distributions of some rows: an index, a slice, indices or a mask."""
        if not isinstance(rows, slice):
            rows = np.atleast_1d(np.arange(len(self))[rows])
        return self._of(self._blocks.select(rows))

    def _of(self, blocks):
        return type(self)(self._model, self._params, blocks)

    def gate_proba(self) -> np.ndarray:
        """Return the gate's probability of each expert, (n_samples, n_experts)."""
        return self._blocks.map(self._model.gate_proba, self._params).T

    def mean(self) -> np.ndarray:
        """Return the means, (n_samples,)."""
        return self._blocks.map(self._model.mean, self._params)

    def var(self) -> np.ndarray:
        """Return the variances: within and between the experts, (n_samples,); infinite where float64 ends."""
        with np.errstate(over="ignore"):
            return self.std() ** 2

    def std(self) -> np.ndarray:
        """Return the standard deviations, (n_samples,)."""
        return self.mean_and_std()[1]

    def mean_and_std(self) -> tuple[np.ndarray, np.ndarray]:
        """Return both, in one pass over the rows."""
        return tuple(self._blocks.map(self._model.mean_and_std, self._params))

    def cov(self) -> np.ndarray:
        """Return the variances as covariance matrices of one response, (n_samples, 1, 1)."""
        return self.var()[:, None, None]

    def pdf(self, y: ArrayLike) -> np.ndarray:
        """Return the densities at y, per unit of y, or the probabilities of y where it is counted or a class."""
        return np.exp(self.logpdf(y))

    def sample(self, size: int | None = None, random_state: Seed = None) -> np.ndarray:
        """Draw responses.

        Parameters
        ----------
        size : int or None, default=None
            Draws for each row; None for one, without an axis for it.
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, size)
            Vectors have their coordinates on one more axis, the last.
        """
        rng = check_generator(random_state)
        model, alone = self._model, self._blocks.shared_by(1)  # one stream, whatever the number of threads
        if size is None:
            return alone.map(lambda block, params: model.sample(block, params, rng)[0], self._params).T
        check_number(size, "size", 1, integer=True)

        def visit(block, params):
            return np.array([model.sample(block, params, rng)[0] for _ in range(size)])

        return np.moveaxis(alone.map(visit, self._params), -1, 0)

    def _visit(self, function):
        """Return function(components of a block), joined along the last axis."""
        return self._blocks.map(lambda block, params: function(Components(self._model, block, params)), self._params)

    def _visit_rows(self, function):
        """Return function(components, slice of the rows) of each block, joined along the last axis."""

        def visit(block, params):
            return function(Components(self._model, block, params), slice(block.low, block.high))

        return self._blocks.map(visit, self._params)


class LineMixture(ConditionalMixture):
    """What distributions of real and of whole numbers share: tails, quantiles, intervals, scores."""

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the natural logarithms of the densities or probabilities at y; minus infinity outside the support."""
        return self._map(Components.logpdf, self._grid(y, "y"))

    def cdf(self, y: ArrayLike) -> np.ndarray:
        """Return the probabilities of at most y."""
        return self._map(Components.cdf, self._grid(y, "y"))

    def sf(self, y: ArrayLike) -> np.ndarray:
        """Return the probabilities of more than y, accurate where they are small."""
        return self._map(Components.cdf, self._grid(y, "y"), True)

    def logcdf(self, y: ArrayLike) -> np.ndarray:
        """Return the natural logarithms of the probabilities of at most y."""
        return self._map(Components.logcdf, self._grid(y, "y"))

    def logsf(self, y: ArrayLike) -> np.ndarray:
        """Return the natural logarithms of the probabilities of more than y."""
        return self._map(Components.logcdf, self._grid(y, "y"), True)

    def median(self) -> np.ndarray:
        """Return the medians, (n_samples,)."""
        return self.ppf(0.5)

    def interval(self, coverage: float) -> np.ndarray:
        """Return the equal-tailed intervals that hold y with probability ``coverage``, (n_samples, 2).

        Intervals of whole numbers include both ends, and hold y with at least this probability.
        """
        tail = 0.5 * (1.0 - check_level(coverage, "coverage"))
        return np.column_stack([self.ppf(tail), self.isf(tail)])

    def _map(self, method, values, *args):
        """Return method(components, column, ...) for each column of values (n_samples or 1, g) or for its only one."""
        columns = values if values.ndim == 2 else values[:, None]

        def visit(part, rows):
            some = columns[rows] if len(columns) > 1 else columns
            return np.array([method(part, np.array(np.broadcast_to(c, len(part))), *args) for c in some.T])

        if not columns.shape[1]:
            return np.empty((len(self), 0))
        out = self._visit_rows(visit)
        return out.T if values.ndim == 2 else out[0]

    def _grid(self, values, name):
        """Return values as floats of shape (1,), (n,), (1, g) or (n, g)."""
        n, values = len(self), check_floats(values, name)
        if np.isnan(values).any():
            raise ValueError(f"{name} must be numbers, and contains NaN.")
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
