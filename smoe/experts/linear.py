"""Experts from a family: linear predictors, and the chain rule once for all families."""

from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from smoe._kernels.designs import predictors
from smoe._kernels.gate_steps import damped_step
from smoe._kernels.moments import weighted_grams, weighted_lines
from smoe.experts.base import Evaluated, Expert
from smoe.families.base import Family
from smoe.fields import Field
from smoe.params import chart_of, fold, unflatten

__all__ = ["LinearExpert", "LinearStats"]

_LARGEST_OWN = 1e100  # of a family's own parameter: so do its cubes
_REACH = 3.0  # spreads of the links of all rows: what predictors of a start may differ by
_ELEMENT_RANK = 1e-8  # rows that nearly coincide do not define a line


class LinearStats(NamedTuple):
    """Sums over rows at the parameters of the pass: gradient and information by each expert's own entries."""

    pull: np.ndarray  # (n_experts, n_own)
    bend: np.ndarray  # (n_experts, n_own, n_own)
    weight: np.ndarray  # (n_experts,)


def _numbers(own):
    """Return a family's own parameters number by number, each (n_experts, 1) or without axes if all share it."""
    fields = [np.asarray(field) for field in own]
    return [
        column[:, None] if field.ndim else field
        for field in fields
        for column in (field.reshape(len(field), -1).T if field.ndim else [field])
    ]


@lru_cache
def _places(q, n_terms, n_all):
    """Return where the entries of q predictors (slopes, intercept) and of own parameters are in an expert's order."""
    d = n_terms - 1
    lines = [np.append(np.arange(a * d, (a + 1) * d), q * d + a) for a in range(q)]
    return lines, q * (d + 1) + np.arange(n_all - q)


def _element_line(Z, target, rows):
    """Return the line through few rows.

    One that leaves the targets far behind, as rows that are too near one another make it, is turned about the middle of
    its rows until it does not: links may be exponential.
    """
    line = np.linalg.lstsq(Z[:, rows].T, target[rows], rcond=_ELEMENT_RANK)[0]
    middle, reach = Z[:, rows].mean(axis=1), _REACH * max(np.ptp(target), 1.0)
    farthest = np.abs(line @ (Z - middle[:, None])).max()
    if farthest > reach:
        turned = line * (reach / farthest)
        turned[-1] += line @ middle - turned @ middle
        return turned
    return line


class LinearExpert(Expert):
    r"""Experts whose response depends on x through linear predictors alone.

    .. math:: f_i(y|x) = f(y;\; \eta_i, \phi_i), \qquad \eta_i = a_i^\top x + b_i + \text{offset}

    with a `smoe.families.Family` f. Predictors are kept within ``family.largest`` in size.

    Parameters
    ----------
    family : Family
        The density of y given predictors and numbers of its own.

    References
    ----------
    Jiang, W. and Tanner, M. A. (1999). Hierarchical mixtures-of-experts for exponential family regression models.
    Annals of Statistics 27, 987-1011.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.experts import LinearExpert
    >>> from smoe.families import LinearParams, Poisson
    >>> from smoe.features import Rows, design
    >>> expert = LinearExpert(Poisson())
    >>> params = LinearParams(np.array([[1.0]]), np.array([0.0]))
    >>> expert.mean(Rows(design(np.array([[0.0, 1.0]]))), params).round(3)
    array([[1.   , 2.718]])
    """

    linear = True
    exact_m_step = False

    def __init__(self, family: Family) -> None:
        self.family = family

    @property
    def name(self):
        """What summaries call it."""
        return self.family.name

    @property
    def support(self):
        """Which responses the family takes."""
        return self.family.support

    @property
    def units(self):
        """What a fit may do to y."""
        return self.family.units

    @property
    def takes_trials(self):
        """Whether y counts successes in trials."""
        return self.family.takes_trials

    @property
    def takes_events(self):
        """Whether rows may be right-censored."""
        return self.family.takes_events

    @property
    def fields(self):
        """Slopes and intercepts of the predictors, and the family's own parameters."""
        axes = self.family.axes
        coef = Field(("expert", *axes, "feature"), gauge=self.family.gauge)
        lines = {"coef": coef, "intercept": Field(("expert", *axes))}
        return {**lines, **self.family.fields}

    @property
    def concave(self):
        """Whether one expert has one maximum."""
        return self.family.concave

    @property
    def classes(self):
        """Labels of the codes that the family sees, or None."""
        return None if self.family.classes is None else np.asarray(self.family.classes)

    @property
    def axis_labels(self):
        """What the predictors are called."""
        return self.family.axis_labels

    @property
    def rows_per_term(self):
        """Rows for each coefficient that starts fit an expert to."""
        return self.family.rows_per_term

    def check(self):
        """Raise an error for what is not a family, or for its settings."""
        if not isinstance(self.family, Family):
            raise TypeError(f"family must be a Family such as smoe.families.Poisson(), got {self.family!r}.")
        self.family.check()

    def bind(self, y):
        """Return the experts whose family knows what it must know of the response."""
        bound = self.family.bind(y)
        return self if bound is self.family else type(self)(bound)

    def read(self, y):
        """Return the response as the family sees it."""
        return self.family.read(y)

    def write(self, y):
        """Return responses as users pass them."""
        return self.family.write(y)

    def init_params(self, n_experts, n_features):
        """Return flat predictors of zero, and the family's own parameters where they begin."""
        several = (self.family.n_predictors,) * len(self.family.axes)
        shape = n_experts, *several
        own = self.family.start_at(None, np.zeros((1, n_experts, 0)), None)
        return self.family.Params(np.zeros((*shape, n_features)), np.zeros(shape), *own)

    def from_elements(self, rows, weight, elements):
        """Return predictors through the links of few rows each, of the first ones as far as links are given."""
        params = self.init_params(len(elements), len(rows.Z) - 1)
        target = np.atleast_2d(self.family.link(rows) - (0.0 if rows.offset is None else rows.offset))
        lines = np.array([[_element_line(rows.Z, one, r) for one in target] for r in elements])
        first = (slice(None), slice(len(target))) if self.family.axes else ()
        lines = lines if self.family.axes else lines[:, 0]
        params.coef[first], params.intercept[first] = lines[..., :-1], lines[..., -1]
        own = self.family.start_at(rows, self._at(rows, params)[0], weight)
        return params._replace(**dict(zip(self.family.fields, own, strict=True)))

    def chance_terms(self, n_features):
        """Return the number of a mean's coefficients where densities grow without bound."""
        return None if self.family.bounded else n_features + 1

    def natural_units(self, params):
        """Coefficients are measured in the noise of their expert's predictors."""
        coef, intercept, *own = params
        unit = np.asarray(self.family.unit(_numbers(own)))
        sizes = [np.ones(np.shape(a)) * unit.reshape((-1,) + (1,) * (np.ndim(a) - 1)) for a in (coef, intercept)]
        return type(params)(*sizes, *(np.ones(np.shape(field)) for field in own))

    # Predictors and the family's own parameters ------------------------------------------------------------------

    def _at(self, rows, params):
        """Return predictors (n_predictors, n_experts, m), and own parameters that broadcast against (n_experts, m)."""
        coef, intercept, *own = params
        k, d = len(intercept), coef.shape[-1]
        flat = predictors(
            np.ascontiguousarray(coef).reshape(intercept.size, d), np.ascontiguousarray(intercept).ravel(), rows.Z
        )
        if rows.offset is not None:
            flat = flat + rows.offset
        eta = np.clip(flat, -self.family.largest, self.family.largest)
        eta = eta.reshape(k, intercept.size // k, flat.shape[-1]).transpose(1, 0, 2)
        return eta, _numbers(np.clip(field, -_LARGEST_OWN, _LARGEST_OWN) for field in own)

    def log_prob(self, rows, params):
        """Return the log densities, (n_experts, m)."""
        return self.family.log_prob(rows, *self._at(rows, params))

    def mean(self, rows, params):
        """Return the means of y, (n_experts, m)."""
        return self.family.mean(rows, *self._at(rows, params))

    def variance(self, rows, params):
        """Return the variances of y, (n_experts, m)."""
        return self.family.variance(rows, *self._at(rows, params))

    def residual(self, rows, params):
        """Return by what rows of one expert may be told apart, (n_experts, m)."""
        return self.family.residual(rows, *self._at(rows, params))

    def class_log_proba(self, rows, params):
        """Return the log probabilities of all classes, (n_experts, n_classes, m)."""
        return self.family.class_log_proba(*self._at(rows, params)).transpose(1, 0, 2)

    def cdf(self, rows, params, upper=False):
        """Return the distribution functions at y, or with ``upper`` one minus them, (n_experts, m)."""
        return self.family.cdf(rows, *self._at(rows, params), upper)

    def ppf(self, rows, q, params, upper=False):
        """Return the points with mass q below them, or with ``upper`` above them, (n_experts, m)."""
        return self.family.ppf(rows, q, *self._at(rows, params), upper)

    def sample(self, rows, label, params, rng):
        """Draw y for each row from the expert named by its label."""
        eta, phi = self._at(rows, params)
        each = np.arange(len(label))
        own = [np.broadcast_to(field, eta.shape[1:])[label, each] for field in phi]
        return self.family.sample(rows, eta[:, label, each], own, rng)

    # Derivatives ---------------------------------------------------------------------------------------------------

    def _own_rows(self, first, Z):
        """Return derivatives by each expert's own entries, (n_experts, n_own, m), from those by (eta, phi)."""
        k, m = first.shape[1:]
        by_expert, q = first.transpose(1, 0, 2), self.family.n_predictors
        slopes = (by_expert[:, :q, None] * Z[:-1]).reshape(k, -1, m)
        return np.concatenate([slopes, by_expert], axis=1)

    def _own_products(self, second, resp, Z):
        """Return the sums of resp times second derivatives, (n_experts, n_own, n_own)."""
        lines, own = _places(self.family.n_predictors, len(Z), len(second))
        size, n, k = len(lines) * len(Z) + len(own), len(lines), len(resp)
        out = np.empty((k, size, size))
        pairs = [(a, b) for a in range(n) for b in range(a + 1)]
        grams = weighted_grams(np.concatenate([resp * second[pair] for pair in pairs]), Z)
        for (a, b), block in zip(pairs, grams.reshape(len(pairs), k, *grams.shape[1:]), strict=True):
            out[:, lines[a][:, None], lines[b]] = out[:, lines[b][:, None], lines[a]] = block
        for j, row in enumerate(own):
            found = weighted_lines(resp, second[n + j, : n + j + 1], Z)
            for line, block in zip(lines, found, strict=False):
                out[:, line, row] = out[:, row, line] = block
            out[:, row, own[: j + 1]] = out[:, own[: j + 1], row] = found[n:, :, -1].T  # the last row is ones
        return out

    def row_scores(self, rows, params):
        """Return the gradient of log f_i by expert i's own entries, (n_experts, n_own, m)."""
        return self._own_rows(self.family.derivatives(rows, *self._at(rows, params))[0], rows.Z)

    def mean_scores(self, rows, params):
        """Return the gradient of expert i's mean by its own entries, (n_experts, n_own, m)."""
        return self._own_rows(self.family.mean_slopes(rows, *self._at(rows, params)), rows.Z)

    def suffstats(self, rows, params, resp):
        """Return sums of gradients and information matrices, for one Newton step."""
        return self.evaluated(rows, params).suffstats(resp)

    def evaluated(self, rows, params):
        """Return what one pass asks for, the family being asked once."""
        here, Z = self.family.pointwise(rows, *self._at(rows, params)), rows.Z
        return Evaluated(
            here.log_prob,
            partial(self._sums, Z, here.first, here.information),
            partial(self._own_rows, here.first, Z),
            lambda resp, stats: self._own_products(here.second, resp, Z),
        )

    def expected_stats(self, rows, params, shares, weight):
        """Return the mean log probability of classes in these shares, summed over experts and rows, and its statistics.

        Rows have the same weights (m,) for every expert.
        """
        value, first, second = self.family.expected(*self._at(rows, params), shares)
        resp = np.broadcast_to(weight, value.shape)
        return float((value @ weight).sum()), self._sums(rows.Z, first, second, resp)

    def pullback(self, rows, params, resp):
        """Return the sum of resp times the gradient of log f_i."""
        first = self.family.derivatives(rows, *self._at(rows, params))[0]
        return unflatten(fold(self._pull(rows.Z, first, resp).ravel(), params), params)

    def _pull(self, Z, first, resp):
        """Return the sums of resp times derivatives by each expert's own entries, (n_experts, n_own)."""
        sums = weighted_lines(resp, first, Z)
        slopes = sums[: self.family.n_predictors, :, :-1].transpose(1, 0, 2).reshape(len(resp), -1)
        return np.concatenate([slopes, sums[:, :, -1].T], axis=1)

    def _sums(self, Z, first, second, resp):
        """Return the `LinearStats` of derivatives by (eta, phi)."""
        return LinearStats(self._pull(Z, first, resp), self._own_products(second, resp, Z), resp.sum(axis=1))

    def score(self, stats, params):
        """Return the gradient of the expected log-likelihood at the parameters of the pass."""
        return unflatten(fold(stats.pull.ravel(), params), params)

    def curvature(self, rows, params, resp, stats):
        """Return the sum over rows of resp times minus the second derivative, (n_experts, n_own, n_own)."""
        return self._own_products(self.family.derivatives(rows, *self._at(rows, params))[1], resp, rows.Z)

    def m_information(self, stats, params):
        """Return the information that the M-step takes, in flat order."""
        k, size = stats.pull.shape
        out = np.zeros((k, size, k, size))
        out[np.arange(k), :, np.arange(k)] = stats.bend
        return fold(fold(out.reshape(k * size, -1), params), params, axis=1)

    def m_step(self, stats, params):
        """Return the end of one Newton step (damped, in coordinates without bounds) on the expected log-likelihood."""
        information = self.m_information(stats, params)
        chart, score = chart_of(self, params), self.score(stats, params)
        step = damped_step(chart.gradient(score, params), chart.uphill_information(information, score, params))
        return chart.unpack(chart.off_bounds(chart.pack(params) + step, information, score, params))

    def unscale(self, params, shift, scale, y_shift, y_scale):
        """Return parameters for (x, y) from those for ((x - shift) / scale, (y - y_shift) / y_scale)."""
        coef = params.coef / scale
        params = params._replace(coef=coef, intercept=params.intercept - coef @ shift)
        return self.family.change_units(params, y_shift, y_scale)
