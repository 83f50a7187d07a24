"""The contract of a family: the density of y given linear predictors, point by point."""

import math
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from smoe.validation import check_response

__all__ = ["Family", "LinearParams", "Pointwise", "ScaleParams", "Support", "tight_scale"]

_STEP = 1e-3  # of differences of five points
_MEDIAN_SQUARE = 0.2  # the closest 1/k holds alien rows and overfitted ones; the scale matters little, EM corrects it
_SMALLEST = 1e-6  # a start may be tight, but must not begin as a spike


def tight_scale(squares, weight, floor=0.0):
    """Return robust means (n_experts,) of squared residuals (n_experts, m) over the closest rows of each, for starts.

    Its closest rows are those with the smallest squares that have one n_experts-th of the weight.
    """
    half = weight.sum() / (2 * len(squares))
    median = np.array([_low_quantile(s, weight, half) for s in squares])
    return np.maximum(median / _MEDIAN_SQUARE, max(floor, _SMALLEST))


def _low_quantile(values, weight, total):
    """The value up to which the smallest values have this total weight."""
    order = np.argsort(values)
    position = np.searchsorted(np.cumsum(weight[order]), total)
    return values[order[min(position, len(order) - 1)]]


class Pointwise(NamedTuple):
    """Log densities (n_experts, m), and what `Family.derivatives` and `Family.information` return."""

    log_prob: np.ndarray
    first: np.ndarray
    second: np.ndarray
    information: np.ndarray

    def first_of(self, size):
        """Return the derivatives by the first entries alone: the others are given."""
        first, second, information = self.first[:size], self.second[:size, :size], self.information[:size, :size]
        return Pointwise(self.log_prob, first, second, information)


class Support(NamedTuple):
    """Which responses a family takes.

    Attributes
    ----------
    low, high : float
        y lies between them.
    closed : tuple of two bool
        Whether y may equal them.
    kind : {"real", "integers", "classes", "vectors"}
        What y is; it chooses the class of predictive distributions (`smoe.distribution.DISTRIBUTIONS`).

    Examples
    --------
    >>> from smoe.families import Support
    >>> counts = Support(0.0, closed=(True, False), kind="integers")
    >>> counts.contains([-1.0, 0.0, 1.5, 2.0])
    array([False,  True, False,  True])
    >>> print(counts)
    whole numbers of at least 0
    """

    low: float = -math.inf
    high: float = math.inf
    closed: tuple = (False, False)
    kind: str = "real"

    @property
    def bounded(self):
        """Whether there is a real number outside."""
        return self.kind == "integers" or self.low > -math.inf or self.high < math.inf

    def contains(self, y):
        """Return whether numbers y lie in the support, an array of y's shape."""
        y = np.asarray(y, dtype=float)
        whole = self.kind == "integers"
        left, right = (closed or whole for closed in self.closed)
        inside = ((y >= self.low) if left else (y > self.low)) & ((y <= self.high) if right else (y < self.high))
        return inside & np.isfinite(y) & (np.floor(y) == y) if whole else inside

    def __str__(self):
        kind = "whole numbers" if self.kind == "integers" else "numbers"
        low = "" if self.low == -math.inf else f" {'of at least' if self.closed[0] else 'above'} {self.low:g}"
        high = "" if self.high == math.inf else f" {'of at most' if self.closed[1] else 'below'} {self.high:g}"
        return f"{kind}{low}{' and' if low and high else ''}{high}"


class LinearParams(NamedTuple):
    """Slopes ``coef`` (n_experts, n_features) and ``intercept`` (n_experts,) of a family without other parameters."""

    coef: np.ndarray
    intercept: np.ndarray


class ScaleParams(NamedTuple):
    """Slopes ``coef`` (n_experts, n_features), ``intercept`` and ``scale`` (n_experts,)."""

    coef: np.ndarray
    intercept: np.ndarray
    scale: np.ndarray


class Family(BaseEstimator):
    r"""Density :math:`f(y; \eta, \phi)` of a response given linear predictors and numbers of its own, point by point.

    A family knows nothing of covariates, experts or weights; `smoe.experts.LinearExpert` makes experts of it. Methods
    take `smoe.features.Rows` (``rows.y``, for counts of successes ``rows.trials``, and ``rows.event``, all (m,)), the
    predictors ``eta`` (n_predictors, n_experts, m), offset included, and ``phi``, a list of the family's own
    parameters number by number, each (n_experts, 1) or of a shape that broadcasts. They return (n_experts, m).

    ``log_prob``, ``link``, ``mean``, ``variance`` and ``sample`` must be there; ``cdf`` and ``ppf`` for predictive
    distributions. Derivatives are taken by differences unless ``derivatives`` gives them.

    Attributes
    ----------
    support : Support
        Which responses it takes.
    units : {"affine", "positive", "none"}
        What a fit may do to y: shift and scale it, scale it only, or nothing. Unless it is "none", ``change_units``
        says what becomes of the parameters.
    bounded : bool
        Whether log densities have an upper bound; else experts may collapse onto few rows, and are charged for it.
    n_predictors : int
        Number of linear predictors.
    takes_trials : bool
        Whether y counts successes in ``rows.trials`` trials.
    takes_events : bool
        Whether rows may be right-censored: where ``rows.event`` is zero, ``log_prob`` is the log survival function.
    largest : float
        Predictors are kept below it in size: by default at 300, so that exponentials and the squares of these stay in
        float64.
    fields : dict of str to smoe.fields.Field
        Its own parameters.
    Params : type
        Named tuple of ``coef``, ``intercept`` and its own parameters, in this order.
    axes : tuple of str
        Axes of ``coef`` and ``intercept`` besides those of experts and features: ("predictor",) if there are several.
    gauge : str or None
        The axis of predictors along which only differences count, where one more is zero, as of classes.
    classes : array-like or None
        Labels of the codes that it sees in place of classes.
    axis_labels : dict of str to list of str
        What the places along such an axis are called; numbers if it is not there.
    concave : bool
        Whether one expert has one maximum, as where the log density is concave: it then needs one start.
    rows_per_term : int
        Rows for each coefficient that starts take a first line through.
    """

    support = Support()
    units = "none"
    bounded = True
    n_predictors = 1
    takes_trials = False
    takes_events = False
    largest = 300.0
    fields: dict = {}
    Params: type = LinearParams
    gauge = None
    classes: Any = None
    concave = False
    axis_labels: dict = {}
    rows_per_term = 1

    @property
    def axes(self):
        """The axis of predictors, if there are several."""
        return ("predictor",) if self.n_predictors > 1 else ()

    @property
    def name(self):
        """What summaries call it."""
        return type(self).__name__

    def check(self):
        """Raise ValueError or TypeError for settings that make no sense."""

    def bind(self, y):
        """Return the family that knows what it must know of the response as users pass it: itself."""
        return self

    def read(self, y):
        """Return the response as floats."""
        return check_response(y)

    def write(self, y):
        """Return responses (m,) or (q, m) as users pass them: what undoes ``read``."""
        return np.asarray(y).T

    def start(self):
        """Return where its own parameters begin: a number each, or an array along axes of its own."""
        return [max(field.lower, 0.0) + 1.0 for field in self.fields.values()]

    def start_at(self, rows, eta, weight):
        """Return where they begin beside given predictors: an array (n_experts, ...) each, a number if it is shared."""
        fields = zip(self.fields.values(), self.start(), strict=True)
        k = eta.shape[1]
        return [np.array(v) if field.shared else np.full((k, *np.shape(v)), v) for field, v in fields]

    def unit(self, phi):
        """Return the natural unit of the predictors, a number or (n_experts, 1): the noise in them."""
        return 1.0

    def log_prob(self, rows, eta, phi):
        """Return the log densities."""
        raise self._missing("log_prob")

    def link(self, rows):
        """Return a rough predictor (m,) of each response, for starts; or one of each predictor, (n_predictors, m)."""
        raise self._missing("link")

    def mean(self, rows, eta, phi):
        """Return the means of y."""
        raise self._missing("mean")

    def residual(self, rows, eta, phi):
        """Return by what rows of one expert may be told apart where it is split in two: distances from the means."""
        return rows.y - self.mean(rows, eta, phi)

    def variance(self, rows, eta, phi):
        """Return the variances of y."""
        raise self._missing("variance")

    def sample(self, rows, eta, phi, rng):
        """Draw y (m,), given the predictors (n_predictors, m) and own parameters (m,) of each row's expert."""
        raise self._missing("sample")

    def cdf(self, rows, eta, phi, upper=False):
        """Return the distribution functions at y, or with ``upper`` one minus them."""
        raise self._missing("cdf")

    def ppf(self, rows, q, eta, phi, upper=False):
        """Return the points with mass q below them, or with ``upper`` above them."""
        raise self._missing("ppf")

    def change_units(self, params, y_shift, y_scale):
        """Return parameters for y from those for (y - y_shift) / y_scale."""
        return params

    def derivatives(self, rows, eta, phi):
        """Return first derivatives by (eta, phi), (s, n_experts, m), and minus the second ones, (s, s, n_experts, m).

        Here by differences of five points: to some 1e-9 and 1e-6 of the size of the log densities.
        """
        at = [np.array(np.broadcast_to(a, eta.shape[1:])) for a in (*eta, *phi)]

        def value(*moves):
            moved = list(at)
            for i, steps in moves:
                moved[i] = moved[i] + steps * step[i]
            return self.log_prob(rows, np.array(moved[: len(eta)]), moved[len(eta) :])

        step = [_STEP * np.ones_like(a) for a in at]
        sizes = [np.size(value) for value in self.start()]
        fields = [f for f, size in zip(self.fields.values(), sizes, strict=True) for _ in range(size)]
        for i, field in enumerate(fields, len(eta)):  # stay within the bounds
            step[i] = np.minimum(_STEP, np.minimum(at[i] - field.lower, field.upper - at[i]) / 3.0)
        here, size = value(), len(at)
        first, second = np.empty((size, *here.shape)), np.empty((size, size, *here.shape))
        for i in range(size):
            far, near = [[value((i, s * j)) for s in (-1, 1)] for j in (2, 1)]
            first[i] = (8 * (near[1] - near[0]) - (far[1] - far[0])) / (12 * step[i])
            second[i, i] = -(16 * (near[0] + near[1]) - (far[0] + far[1]) - 30 * here) / (12 * step[i] ** 2)
            for j in range(i):
                mixed = [sum(a * b * value((i, a * r), (j, b * r)) for a in (-1, 1) for b in (-1, 1)) for r in (1, 2)]
                second[i, j] = second[j, i] = (mixed[1] / 4 - 4 * mixed[0]) / (12 * step[i] * step[j])
        return first, second

    def information(self, rows, eta, phi, second):
        """Return what the M-step takes for minus the second derivatives: positive definite ones are safe.

        Here the observed ones; a family whose log density is not concave gives their expectation.
        """
        return second

    def pointwise(self, rows, eta, phi):
        """Return log densities, derivatives and information together, as ``Pointwise``: what each pass asks for.

        A family in which they have much in common does better than to ask its methods one by one.
        """
        first, second = self.derivatives(rows, eta, phi)
        return Pointwise(self.log_prob(rows, eta, phi), first, second, self.information(rows, eta, phi, second))

    def mean_slopes(self, rows, eta, phi):
        """Return the derivatives of the means by (eta, phi), (s, n_experts, m), here by differences."""
        at = [np.array(np.broadcast_to(a, eta.shape[1:])) for a in (*eta, *phi)]

        def mean(i, move):
            moved = [a + move if i == j else a for j, a in enumerate(at)]
            return self.mean(rows, np.array(moved[: len(eta)]), moved[len(eta) :])

        values = [[mean(i, j * _STEP) for j in (-2, -1, 1, 2)] for i in range(len(at))]
        return np.array([(8 * (v[2] - v[1]) - (v[3] - v[0])) / (12 * _STEP) for v in values])

    def _missing(self, method):
        return TypeError(f"{type(self).__name__} must implement {method}.")
