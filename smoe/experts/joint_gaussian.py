"""Gaussian laws of x and y together, one per expert: y is linear in x, and values of x may be missing."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from smoe._kernels.covariances import chain
from smoe._kernels.moments import weighted_grams
from smoe.experts.base import Expert, Support
from smoe.experts.gaussian import GaussianExpert, GaussianExpertParams
from smoe.experts.multivariate_gaussian import (
    MultivariateGaussianExpert,
    MultivariateGaussianParams,
    MultivariateGaussianStats,
)
from smoe.experts.observed import completed, observed_log_prob, patterns
from smoe.features import Rows
from smoe.params import copies

__all__ = ["JointGaussianExpert", "JointGaussianParams"]

# The fields of either part that are not always empty; the names of those of x here.
_OF_X = {"intercept": "centre", "variance": "x_variance", "shape": "x_shape"}
_OF_X |= {"regression": "x_regression", "angle": "x_angle"}
_OF_Y = ("coef", "intercept", "variance", "regression")
_AXES = {"response": "covariate", "axis": "x_axis", "ratio": "x_ratio", "pair": "x_pair", "plane": "x_plane"}
_NONE = np.zeros((1, 0))


class JointGaussianParams(NamedTuple):
    """Laws of x with d features, and of q responses given x.

    Covariance matrices are chains of regressions, as those of `MultivariateGaussianParams`; what all experts share has
    length one on its first axis, or is a number.

    Attributes
    ----------
    centre : array of shape (n_experts, d)
        Means of x.
    x_variance, x_shape, x_regression, x_angle : arrays
        The covariance matrices of x: the fields of `MultivariateGaussianParams`.
    coef : array of shape (n_experts, q, d)
        Slopes of each response.
    intercept : array of shape (n_experts, q)
    variance : array of shape (n_experts, q)
        Innovation variances of the responses given x: of each response given those before it.
    regression : array of shape (n_experts, n_pairs)
        Regression coefficients of responses on those before them.
    """

    centre: np.ndarray
    x_variance: np.ndarray
    x_shape: np.ndarray
    x_regression: np.ndarray
    x_angle: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    variance: np.ndarray
    regression: np.ndarray

    @property
    def of_x(self):
        """The laws of x, as experts without features."""
        coef = np.zeros((*np.shape(self.centre), 0))
        return MultivariateGaussianParams(coef, *self[:5])

    @property
    def of_y(self):
        """The laws of y given x."""
        return MultivariateGaussianParams(*self[5:8], _NONE, self.regression, _NONE)

    @classmethod
    def joined(cls, x, y):
        """Return the parameters from those of both parts."""
        return cls(*(getattr(x, name) for name in _OF_X), *(getattr(y, name) for name in _OF_Y))

    def law(self):
        """Return means (n_experts, q + d) and covariance matrices of the responses and, after them, the features."""
        inner, between = self.of_x.covariance, self.of_y.covariance
        across = self.coef @ inner
        outer = across @ np.swapaxes(self.coef, 1, 2) + between
        mean = np.einsum("kqd,kd->kq", self.coef, self.centre) + self.intercept
        return np.concatenate([mean, self.centre], axis=1), np.block(
            [[outer, across], [np.swapaxes(across, 1, 2), inner]]
        )


class JointGaussianStats(NamedTuple):
    """Expected weighted moments of (y, x, 1): additive over rows and sufficient for the M-step."""

    gram: np.ndarray  # (n_experts, q + d + 1, q + d + 1)


class JointGaussianExpert(Expert):
    r"""Normal laws of x and y together: the experts of `smoe.JointGaussianMoERegressor`.

    .. math:: f_i(x, y) = N_d(x;\; c_i, \Gamma_i)\; N_q(y;\; A_i x + b_i,\; \Sigma_i)

    What is a response to solvers is the vector of the q responses and, after them, the d features, so that
    log-likelihoods are those of x and y together. A feature that is missing in a row (NaN) is integrated out:
    densities are those of what is observed, statistics the expected ones given that, and scores theirs by Fisher's
    identity. This is right where values are missing at random.

    Parameters
    ----------
    covariance : str, default="full"
        Model of the covariance matrices of x, as in `MultivariateGaussianExpert`. Those of y given x are each expert's
        own.
    variance_floor : float, default=1e-8
        Smallest innovation variance, as a share of the variance of its column.
    features, responses : tuple of str
        Their names.
    flat : bool, default=False
        Whether y is one response, in a flat array.

    References
    ----------
    Ghahramani, Z. and Jordan, M. I. (1994). Supervised learning from incomplete data via an EM approach. Advances in
    Neural Information Processing Systems 6, 120-127.

    Ingrassia, S., Minotti, S. C. and Vittadini, G. (2012). Local statistical modeling via a cluster-weighted approach
    with elliptical distributions. Journal of Classification 29, 363-401.
    """

    support = Support(kind="vectors")
    takes_missing = True
    concave = True

    def __init__(
        self,
        covariance: str = "full",
        variance_floor: float = 1e-8,
        features: Sequence[str] = (),
        responses: Sequence[str] = (),
        flat: bool = False,
    ) -> None:
        self.covariance = covariance
        self.variance_floor = variance_floor
        self.features = features
        self.responses = responses
        self.flat = flat

    # What it is -------------------------------------------------------------------------------------------------------

    @property
    def of_x(self):
        """The experts whose responses are the features."""
        return MultivariateGaussianExpert(self.covariance, self.variance_floor, list(self.features))

    @property
    def of_y(self):
        """The experts of y given x."""
        return MultivariateGaussianExpert("full", self.variance_floor, list(self.responses))

    @property
    def expert_of_y(self):
        """The same as users know them: plain `GaussianExpert` if y is flat."""
        return GaussianExpert(self.variance_floor) if self.flat else self.of_y

    @property
    def kind_of_x(self):
        """What a Gaussian gate calls the covariance matrices of x."""
        letters = self.of_x.letters
        return "tied" if "V" not in letters else "diag" if letters[2] == "I" else "full"

    def check(self):
        """Refuse unknown models and a floor that is no positive number."""
        self.of_x.check()

    @property
    def units(self):
        """Each column may be shifted and scaled, or with equal variances the features all by the same factor."""
        return self.of_x.units

    @property
    def similar(self):
        """The columns that share a scale if any do: the features."""
        return slice(len(self.responses), None)

    @property
    def rows_per_term(self):
        """Rows that define a hyperplane."""
        return len(self.features) + 1

    @property
    def fields(self):
        """Those of both parts."""
        x, y = self.of_x.fields, self.of_y.fields
        own = {new: x[old]._replace(axes=tuple(_AXES.get(a, a) for a in x[old].axes)) for old, new in _OF_X.items()}
        own |= {name: y[name] for name in _OF_Y}
        return own | {"coef": own["coef"]._replace(axes=("expert", "response", "covariate"))}

    @property
    def axis_labels(self):
        """Names of the features, of the responses, and of pairs of them."""
        labels = {_AXES[axis]: names for axis, names in self.of_x.axis_labels.items()}
        return labels | self.of_y.axis_labels

    def chance_terms(self, n_features):
        """Return the coefficients of a hyperplane in (x, y)."""
        return len(self.features) + len(self.responses)

    # Parameters -------------------------------------------------------------------------------------------------------

    def init_params(self, n_experts, n_features):
        """Return centres and lines of zero with unit covariance matrices."""
        x, y = self.of_x.init_params(n_experts, 0), self.of_y.init_params(n_experts, len(self.features))
        return JointGaussianParams.joined(x, y)

    def from_elements(self, rows, weight, elements):
        """Return experts about few rows each; a missing value counts as the mean of its column."""
        x, y = self._parts_of(np.nan_to_num(rows.y))
        x, y = (part.from_elements(some, weight, elements) for part, some in ((self.of_x, x), (self.of_y, y)))
        return JointGaussianParams.joined(x, y)

    def natural_units(self, params):
        """Return those of both parts."""
        return self._joined("natural_units", params)

    def at_bound(self, params):
        """Return which experts have a singular covariance matrix: an innovation variance on its floor."""
        return self.of_x.at_bound(params.of_x) | self.of_y.at_bound(params.of_y)

    def remark_on_floor(self, params):
        """Say which columns have lost their variance."""
        parts = (self.of_x, params.of_x), (self.of_y, params.of_y)
        return "; ".join(filter(None, (part.remark_on_floor(own) for part, own in parts)))

    def unscale(self, params, shift, scale, y_shift, y_scale):
        """Return parameters for the user's columns from those for (column - y_shift) / y_scale."""
        q, p = len(self.responses), len(self.responses) + len(self.features)
        y_shift, y_scale = np.broadcast_to(y_shift, p), np.broadcast_to(y_scale, p)
        none = np.zeros(0)
        x = self.of_x.unscale(params.of_x, none, none, y_shift[q:], y_scale[q:])
        y = self.of_y.unscale(params.of_y, y_shift[q:], y_scale[q:], y_shift[:q], y_scale[:q])
        return JointGaussianParams.joined(x, y)

    def _joined(self, method, params, *stats):
        """Return what both parts make of their parameters, and of their statistics if there are any."""
        pairs = zip((self.of_x, self.of_y), (params.of_x, params.of_y), *stats, strict=True)
        return JointGaussianParams.joined(*(getattr(part, method)(*reversed(own)) for part, *own in pairs))

    # Densities --------------------------------------------------------------------------------------------------------

    def _parts_of(self, columns):
        """Return rows without missing values as the laws of x see them, and as those of y given x do."""
        q = len(self.responses)
        one = np.ones((1, columns.shape[1]))
        x = np.ascontiguousarray(columns[q:])
        return Rows(one, x), Rows(np.concatenate([x, one]), np.ascontiguousarray(columns[:q]))

    def mean(self, rows, params):
        """Return the means, (n_experts, q + d, m)."""
        mean = params.law()[0][..., None]
        return np.broadcast_to(mean, (*mean.shape[:2], rows.Z.shape[1]))

    def log_prob(self, rows, params):
        """Return the log densities of what is observed, (n_experts, m)."""
        out, law = np.empty((len(params.centre), rows.y.shape[1])), None
        for here, pattern in patterns(rows.y):
            some = rows.y[:, here]
            if pattern.all():
                x, y = self._parts_of(some)
                out[:, here] = self.of_x.log_prob(x, params.of_x) + self.of_y.log_prob(y, params.of_y)
            else:
                law = law or params.law()
                out[:, here] = observed_log_prob(some, pattern, *law)
        return out

    def sample(self, rows, label, params, rng):
        """Draw columns (q + d, m) from the experts named by the labels."""
        x = self.of_x.sample(rows, label, params.of_x, rng)
        y = self.of_y.sample(Rows(np.concatenate([x, np.ones((1, len(label)))])), label, params.of_y, rng)
        return np.concatenate([y, x])

    def place(self, params, observed):
        """Return the means and covariance matrices of some features (a mask)."""
        return params.centre[:, observed], params.of_x.covariance[:, observed][:, :, observed]

    def given(self, params, observed):
        """Return the parameters of ``expert_of_y`` given some features (a mask)."""
        own = params.of_y if observed.all() else self._regressed(params, observed)
        return GaussianExpertParams(own.coef[:, 0], own.intercept[:, 0], own.variance[:, 0]) if self.flat else own

    def _regressed(self, params, observed):
        q = len(self.responses)
        mean, covariance = params.law()
        known = q + np.flatnonzero(observed)
        inner, across = covariance[:, known[:, None], known], covariance[:, :q][:, :, known]
        coef = np.swapaxes(np.linalg.solve(inner, np.swapaxes(across, 1, 2)), 1, 2)
        intercept = mean[:, :q] - np.einsum("kqd,kd->kq", coef, mean[:, known])
        left = covariance[:, :q, :q] - coef @ np.swapaxes(across, 1, 2)
        variance, slopes = chain(np.ascontiguousarray(left), np.finfo(float).tiny)
        return MultivariateGaussianParams(coef, intercept, variance, _NONE, slopes, _NONE)

    # Fits -------------------------------------------------------------------------------------------------------------

    def suffstats(self, rows, params, resp):
        """Return the moments of (y, x, 1) that are expected given what is observed, weighted by resp."""
        size, law = len(rows.y) + 1, None
        total = np.zeros((len(resp), size, size))
        for here, pattern in patterns(rows.y):
            own = np.ascontiguousarray(resp[:, here])
            if pattern.all():
                total += weighted_grams(own, _with_ones(rows.y[:, here]))
                continue
            law = law or params.law()
            filled, spread = completed(rows.y[:, here], pattern, *law)
            for k, columns in enumerate(filled):
                total[k] += weighted_grams(own[k : k + 1], _with_ones(columns))[0]
            total[:, :-1, :-1] += own.sum(axis=1)[:, None, None] * spread
        return JointGaussianStats(total)

    def _stats_of_parts(self, stats):
        """Return the statistics of the laws of x, and of y given x."""
        q, gram = len(self.responses), stats.gram
        weight = gram[:, -1, -1]
        x = gram[:, -1:, -1:], gram[:, q:-1, -1:], gram[:, q:-1, q:-1], weight
        y = gram[:, q:, q:], gram[:, :q, q:], gram[:, :q, :q], weight
        return tuple(MultivariateGaussianStats(*map(np.ascontiguousarray, part)) for part in (x, y))

    def m_step(self, stats, params):
        """Return the maximiser of the expected log-likelihood: moments of x, least squares of y on x."""
        return self._joined("m_step", params, self._stats_of_parts(stats))

    def score(self, stats, params):
        """Return the gradient of the expected log-likelihood, and at its own parameters of the observed one."""
        return self._joined("score", params, self._stats_of_parts(stats))

    def row_scores(self, rows, params):
        """Return the gradient of log f_i by expert i's own entries for each row, (n_experts, n_own, m).

        Where values are missing it is the expected one of all values, given those that are observed.
        """
        out = np.empty((*copies(params).shape, rows.y.shape[1]))
        for here, pattern in patterns(rows.y):
            if pattern.all():
                out[..., here] = self._complete_row_scores(rows.y[:, here], params)
                continue
            filled, spread = completed(rows.y[:, here], pattern, *params.law())
            for k, one in self._each(params):
                rest = self._score_of_moments(spread[k], one)
                out[k][:, here] = self._complete_row_scores(filled[k], one)[0] + rest[:, None]
        return out

    def curvature(self, rows, params, resp, stats):
        r"""Return the sum over rows of resp times -d2 log f_i, (n_experts, n_own, n_own).

        That is the expectation for all values less the covariance of their score, given what is observed (Louis 1982).
        """
        x, y = self._stats_of_parts(stats)
        x, y = self.of_x.curvature(None, params.of_x, None, x), self.of_y.curvature(None, params.of_y, None, y)
        n = x.shape[1]
        out = np.zeros((len(x), n + y.shape[1], n + y.shape[1]))
        out[:, :n, :n], out[:, n:, n:] = x, y
        for here, pattern in patterns(rows.y):
            if pattern.all():
                continue
            filled, spread = completed(rows.y[:, here], pattern, *params.law())
            for k, one in self._each(params):
                out[k] -= self._lost_information(filled[k], spread[k], resp[k, here], one)
        return out

    def _each(self, params):
        """Yield the number of each expert and its parameters alone."""
        for k in range(len(params.centre)):
            yield k, self.permute(params, [k])

    def _complete_row_scores(self, columns, params):
        x, y = self._parts_of(columns)
        return np.concatenate([self.of_x.row_scores(x, params.of_x), self.of_y.row_scores(y, params.of_y)], axis=1)

    def _score_of_moments(self, moments, one):
        """Return what second moments (p, p) about the filled values add to the score of one expert."""
        score = self.score(JointGaussianStats(np.pad(moments, (0, 1))[None]), one)
        return np.concatenate([np.ravel(field) for field in score])

    def _lost_information(self, columns, spread, weight, one):
        """Return the weighted sum of the covariances of the scores of all values, given those that are observed.

        Scores are quadratic in the values, so that their differences along the axes of the spread are exact: with
        z = filled + L e and e standard normal, the slope by e_a has the variance of its square, and the bend by e_a and
        e_b half of that of its.
        """
        axes = _root(spread)
        if not len(axes):  # what is missing follows from what is there
            return 0.0
        moved = np.concatenate([columns + side[:, None] for side in (*axes, *-axes)], axis=1)
        up, down = np.split(self._complete_row_scores(moved, one)[0], 2, axis=1)
        slopes = 0.5 * (up - down)
        total = (slopes * np.tile(weight, len(axes))) @ slopes.T
        for i, a in enumerate(axes):
            for j, b in enumerate(axes[: i + 1]):
                bend = self._score_of_moments(np.outer(a, b) + np.outer(b, a), one)
                total += (0.5 if i == j else 1.0) * weight.sum() * np.outer(bend, bend)
        return total


def _with_ones(columns):
    return np.concatenate([columns, np.ones((1, columns.shape[1]))])


def _root(spread):
    """Return vectors (n, p) whose outer products add up to a covariance matrix."""
    values, vectors = np.linalg.eigh(spread)
    used = values > np.finfo(float).eps * max(values[-1], 0.0)
    return (vectors[:, used] * np.sqrt(values[used])).T
