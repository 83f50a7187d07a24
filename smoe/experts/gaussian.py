"""Gaussian experts with a linear mean, and a variance of their own or one that all share."""

from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

from smoe._kernels.designs import predictors
from smoe._kernels.gaussian import gaussian_log_prob, gaussian_row_scores
from smoe._kernels.moments import weighted_grams
from smoe._kernels.regression import curvature, least_squares, residual_moments
from smoe._kernels.top_k import chosen_lines
from smoe.experts.base import Expert
from smoe.families.base import tight_scale
from smoe.fields import Field
from smoe.validation import check_choice, check_number

__all__ = ["GaussianExpert", "GaussianExpertParams"]

_ELEMENT_RANK = 1e-8  # rows that nearly coincide do not define a line
RANK_TOL = 1e-13  # directions of an expert's Gram matrix below this share of the largest carry no information


class GaussianExpertParams(NamedTuple):
    """Slopes ``coef`` (n_experts, n_features), ``intercept`` and ``variance`` (n_experts,), or one number."""

    coef: np.ndarray
    intercept: np.ndarray
    variance: np.ndarray


class GaussianStats(NamedTuple):
    """Weighted moments of (z, y): additive over rows and sufficient for the M-step."""

    gram: np.ndarray
    cross: np.ndarray
    power: np.ndarray
    weight: np.ndarray


def _lines(params):
    """Coefficients on the design's terms: slopes, then the intercept."""
    return np.column_stack([params.coef, params.intercept])


def _variances(params):
    """One variance per expert, also if all share one."""
    own = np.ndim(params.variance)
    return params.variance if own else np.full(len(params.intercept), float(params.variance))


def _apart(params):
    """Parameters with a variance per expert, in arrays of one kind, for kernels that know no other."""
    return GaussianExpertParams(params.coef.copy(), params.intercept.copy(), _variances(params).copy())


class GaussianExpert(Expert):
    r"""Normal linear regression, one per expert.

    .. math:: f_i(y|x) = N(y;\; a_i^\top x + b_i,\; v_i)

    Variances are maximum-likelihood variances: sums of squares over total responsibility, not over degrees of freedom.
    The likelihood grows without bound as an expert passes through a few points and its variance goes to zero, so the
    variance has a floor; a fit that ends on it says so. A variance that all experts share cannot vanish while rows are
    left that no expert passes through: the likelihood is then bounded.

    Parameters
    ----------
    variance_floor : float, default=1e-8
        Smallest variance, as a share of the variance of y.
    variances : {"own", "shared"}, default="own"
        Whether every expert has a variance of its own, or all have the same.

    References
    ----------
    Jacobs, R. A., Jordan, M. I., Nowlan, S. J. and Hinton, G. E. (1991). Adaptive mixtures of local experts. Neural
    Computation 3, 79-87.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.experts import GaussianExpert, GaussianExpertParams
    >>> from smoe.features import Rows, design
    >>> expert = GaussianExpert()
    >>> params = GaussianExpertParams(np.array([[1.0]]), np.array([0.0]), np.array([1.0]))
    >>> expert.mean(Rows(design(np.array([[0.0, 2.0]]))), params)
    array([[0., 2.]])
    """

    exact_m_step = True
    concave = True
    linear = True
    variances = "own"  # of derived classes that have no such setting

    def __init__(self, variance_floor: float = 1e-8, variances: str = "own") -> None:
        self.variance_floor = variance_floor
        self.variances = variances

    @property
    def fields(self):
        """Slopes and intercepts, and variances, which the floor bounds below."""
        return {
            "coef": Field(("expert", "feature")),
            "intercept": Field(),
            "variance": Field(() if self._shared else ("expert",), lower=self.variance_floor),
        }

    def check(self):
        """Refuse a floor that is no positive number, and unknown words."""
        check_number(self.variance_floor, "variance_floor", np.finfo(float).tiny, high=1e6)
        check_choice(self.variances, "variances", ("own", "shared"))

    @property
    def _shared(self):
        return self.variances == "shared"

    def _kept(self, variance):
        """Return variances as the parameters hold them, given equal ones if they are shared."""
        return np.asarray(variance[0]) if self._shared else variance

    def in_terms_of(self, fields, params):
        """Return the parameters by name, with a scale for families that have one in place of a variance."""
        own = params._asdict()
        return own | {"scale": np.sqrt(own.pop("variance"))} if "scale" in fields else own

    def chance_terms(self, n_features):
        """Return the number of slopes, and the intercept; None if the likelihood is bounded."""
        return None if self._shared else n_features + 1

    def init_params(self, n_experts, n_features):
        """Return flat lines through zero with variance one."""
        variance = self._kept(np.ones(n_experts))
        return GaussianExpertParams(np.zeros((n_experts, n_features)), np.zeros(n_experts), variance)

    def from_elements(self, rows, weight, elements):
        """Return the lines through few rows each; the variance is a robust one over the closest 1/n_experts of y."""
        Z, y = rows.Z, rows.y
        lines = np.array([np.linalg.lstsq(Z[:, r].T, y[r], rcond=_ELEMENT_RANK)[0] for r in elements])
        variance = tight_scale((y - lines @ Z) ** 2, weight, self.variance_floor)
        coef, intercept = lines[:, :-1].copy(), lines[:, -1].copy()  # kernels are compiled for each kind of array
        return GaussianExpertParams(coef, intercept, np.median(variance) if self._shared else variance)

    def mean(self, rows, params):
        """Return a_i'x + b_i, (n_experts, m)."""
        return predictors(params.coef, params.intercept, rows.Z)

    def mean_scores(self, rows, params):
        """Return d(a_i'x + b_i) / d(a_i, b_i, v_i) for each row, (n_experts, n_terms + 1, m)."""
        own = np.concatenate([rows.Z, np.zeros((1, rows.Z.shape[1]))])
        return np.broadcast_to(own, (len(params.intercept), *own.shape))

    def mean_of(self, rows, params, chosen):
        """Return the means of each row's chosen experts only, (top_k, m)."""
        return chosen_lines(_lines(params), rows.Z, chosen)

    def variance(self, rows, params):
        """Return v_i for each row, (n_experts, m)."""
        return np.broadcast_to(_variances(params)[:, None], (len(params.intercept), rows.Z.shape[1]))

    def log_prob(self, rows, params):
        """Return the log densities, (n_experts, m)."""
        return gaussian_log_prob(self.mean(rows, params), rows.y, _variances(params))

    def _standard(self, rows, params):
        return (rows.y - self.mean(rows, params)) / np.sqrt(_variances(params))[:, None]

    def cdf(self, rows, params, upper=False):
        """Return the distribution functions at y, or with ``upper`` one minus them, (n_experts, m)."""
        z = self._standard(rows, params)
        return ndtr(-z if upper else z)

    def log_cdf(self, rows, params, upper=False):
        """Return the logarithms of ``cdf``, also where it is zero in floating point."""
        z = self._standard(rows, params)
        return log_ndtr(-z if upper else z)

    def ppf(self, rows, q, params, upper=False):
        """Return the points with mass q below them, or with ``upper`` above them, (n_experts, m)."""
        z = -ndtri(q) if upper else ndtri(q)
        return self.mean(rows, params) + z * np.sqrt(_variances(params))[:, None]

    def normal(self, rows, params):
        """Return means and standard deviations, (n_experts, m)."""
        mean = self.mean(rows, params)
        return mean, np.broadcast_to(np.sqrt(_variances(params))[:, None], mean.shape)

    def sample(self, rows, label, params, rng):
        """Draw y for each row from the expert named by its label."""
        mean = np.take_along_axis(self.mean(rows, params), label[None], axis=0)[0]
        return rng.normal(mean, np.sqrt(_variances(params)[label]))

    def suffstats(self, rows, params, resp):
        """Return the moments of (z, y) weighted by resp."""
        Z, y = rows.Z, rows.y
        gram = weighted_grams(resp, Z)
        return GaussianStats(gram, (resp * y) @ Z.T, resp @ y**2, gram[:, -1, -1].copy())

    def m_step(self, stats, params):
        """Return weighted least squares and the ML variance.

        Directions in which an expert has no data keep their coefficients; an expert without rows keeps everything.
        """
        gram, cross, power, weight = stats
        found = least_squares(gram, cross, power, *_apart(params), self.variance_floor, RANK_TOL)
        if not self._shared:
            return GaussianExpertParams(*found)
        _, square = residual_moments(gram, cross, power, *found[:2])
        pooled = square.sum() / weight.sum() if weight.sum() > 0 else float(params.variance)
        return GaussianExpertParams(*found[:2], np.asarray(max(pooled, self.variance_floor)))

    def variance_given(self, stats, params, values=0.0, squares=0.0):
        r"""Return the variances for these lines that maximise the expected log-likelihood less a penalty on the scale.

        .. math:: -\frac{N_i}{2} \log v_i - \frac{S_i}{2 v_i} - \frac{p_i}{\sqrt{v_i}} - \frac{q_i}{v_i}

        with p the ``values`` and q the ``squares``, numbers or one for each expert.
        """
        _, square = residual_moments(*stats[:3], *_apart(params)[:2])
        parts = np.broadcast_arrays(stats.weight, square + 2.0 * squares, values)
        weight, square, values = (part.sum() for part in parts) if self._shared else parts
        root = values + np.sqrt(values**2 + 4.0 * weight * square)  # of v: weight v - values sqrt(v) - square = 0
        with np.errstate(all="ignore"):
            found = np.where(weight > 0, (0.5 * root / weight) ** 2, params.variance)
        return np.maximum(found, self.variance_floor)

    def score(self, stats, params):
        """Return the gradient of the expected log-likelihood whose moments these are."""
        v = _variances(params)
        pull, square = residual_moments(*stats[:3], *_apart(params)[:2])
        slope = pull / v[:, None]
        own = 0.5 * (square / v - stats.weight) / v
        return GaussianExpertParams(slope[:, :-1], slope[:, -1], np.asarray(own.sum()) if self._shared else own)

    def pullback(self, rows, params, resp):
        """Return the sum of resp times the gradient of log f_i."""
        if type(self).row_scores is not GaussianExpert.row_scores:  # of a derived family with a density of its own
            return super().pullback(rows, params, resp)
        v, left = _variances(params), rows.y - self.mean(rows, params)
        pull = (resp * left) @ rows.Z.T / v[:, None]
        own = 0.5 * ((resp * left**2).sum(axis=1) / v - resp.sum(axis=1)) / v
        return GaussianExpertParams(pull[:, :-1], pull[:, -1], np.asarray(own.sum()) if self._shared else own)

    def row_scores(self, rows, params):
        """Return d log f_i / d(a_i, b_i, v_i) for each row, (n_experts, n_terms + 1, m)."""
        return gaussian_row_scores(self.mean(rows, params), rows.Z, rows.y, _variances(params))

    def curvature(self, rows, params, resp, stats):
        """Return the sum over rows of resp times -d2 log f_i, (n_experts, n_terms + 1, n_terms + 1)."""
        return curvature(*stats, *_apart(params))

    def natural_units(self, params):
        """Coefficients are measured in the residual standard deviation of their expert."""
        sd, ones = np.sqrt(_variances(params)), np.ones(np.shape(params.variance))
        return GaussianExpertParams(np.broadcast_to(sd[:, None], params.coef.shape), sd, ones)

    def unscale(self, params, shift, scale, y_shift, y_scale):
        """Return parameters for (x, y) from those for ((x - shift) / scale, (y - y_shift) / y_scale)."""
        coef = y_scale * (params.coef / scale)
        intercept = y_scale * params.intercept + y_shift - coef @ shift
        return GaussianExpertParams(coef, intercept, params.variance * y_scale**2)
