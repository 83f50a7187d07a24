"""Gaussian experts of several responses at once, with covariance matrices of a model that is chosen."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from smoe._kernels.covariances import unit_lower
from smoe._kernels.designs import predictors
from smoe._kernels.moments import weighted_grams
from smoe._kernels.regression import least_squares
from smoe.experts.axes import chain_jet, chain_of_axes, estimate_axes, planes
from smoe.experts.base import Expert, Support
from smoe.experts.covariances import COVARIANCES, by_axes, contrasts, estimate, letters_of, n_pairs
from smoe.experts.gaussian import RANK_TOL, GaussianExpert
from smoe.families.base import tight_scale
from smoe.fields import Field
from smoe.params import copies, fold, unflatten
from smoe.texts import printable
from smoe.validation import check_choice, check_number, check_responses, names_of_responses

__all__ = ["MultivariateGaussianExpert", "MultivariateGaussianParams"]

_ELEMENT_RANK = 1e-8  # rows that nearly coincide do not define a line
_LOG_TAU = np.log(2.0 * np.pi)
_SHRINK = 2.0**-600  # keeps squares of distances within float64
_RANGE = 1e-100, 1e100  # of variances: so do their squares


class MultivariateGaussianParams(NamedTuple):
    """Means and covariance matrices of experts with q responses.

    What all experts share has length one on its first axis, or is a number; what a model does not have is empty.

    Attributes
    ----------
    coef : array of shape (n_experts, q, n_features)
        Slopes of each response.
    intercept : array of shape (n_experts, q)
    variance : array of shape (n_experts or 1, q), (n_experts,) or ()
        Innovation variances: of each response given those before it. One number per expert (or for all) is the volume,
        the q-th root of the determinant; of spherical matrices that is the variance. Of models with axes of their own
        (EEV, VEV) these are eigenvalues.
    shape : array of shape (n_experts or 1, q - 1 or 0)
        All innovation variances, or eigenvalues, but the last over the volume, where these are modelled apart.
    regression : array of shape (n_experts or 1, n_pairs or 0)
        Coefficients of the residual of each response on the residuals of those before it: of 1 on 0, of 2 on 0, of 2 on
        1, ...
    angle : array of shape (n_experts or 1, n_pairs or 0)
        Of models with axes of their own, in radians: the axes of the responses are turned in the plane of 0 and 1, of 0
        and 2, ..., of 1 and 2, ...
    """

    coef: np.ndarray
    intercept: np.ndarray
    variance: np.ndarray
    shape: np.ndarray
    regression: np.ndarray
    angle: np.ndarray

    @property
    def covariance(self):
        """Covariance matrices of the responses given x, (n_experts, q, q)."""
        variances, T = chain_of(self)
        root = np.linalg.inv(T) * np.sqrt(variances)[:, None]
        return root @ np.swapaxes(root, 1, 2)


class MultivariateGaussianStats(NamedTuple):
    """Weighted moments of (z, y): additive over rows and sufficient for the M-step."""

    gram: np.ndarray  # (n_experts, n_terms, n_terms)
    cross: np.ndarray  # (n_experts, q, n_terms)
    power: np.ndarray  # (n_experts, q, q)
    weight: np.ndarray  # (n_experts,)


def _per_expert(field, k):
    """Return a field with a first axis of all experts, flat behind it, (n_experts, n)."""
    if not np.ndim(field):
        return np.full((k, 1), float(field))
    flat = np.reshape(field, (len(field), -1))
    return flat if len(field) == k else np.repeat(flat, k, axis=0)


def _own(params):
    """Return each expert's parameters of the innovation variances, (n_experts, n); their squares are in float64."""
    k = len(params.intercept)
    own, ratios = _per_expert(params.variance, k), _per_expert(params.shape, k)
    own = np.concatenate([own, ratios], axis=1) if ratios.shape[1] else own
    return np.minimum(np.maximum(own, _RANGE[0]), _RANGE[1])


def _contrasts(params):
    """Return the matrix (q, n) that makes logarithms of innovation variances of those of their parameters."""
    letters = "VEI" if params.shape.shape[1] else ("VVI" if np.ndim(params.variance) == 2 else "VII")
    return contrasts(letters, params.intercept.shape[1])


def _has_axes(params):
    return params.angle.shape[1] > 0


def _spread(params):
    """Return innovation variances, or eigenvalues, (n_experts, q)."""
    own = _own(params)
    return own if np.ndim(params.variance) == 2 else np.clip(np.exp(np.log(own) @ _contrasts(params).T), *_RANGE)


def chain_of(params):
    """Return innovation variances (n_experts, q), and T (n_experts, q, q), which makes innovations of residuals."""
    k, q = params.intercept.shape
    if _has_axes(params):
        return chain_of_axes(_spread(params), _per_expert(params.angle, k))
    return _spread(params), unit_lower(_per_expert(params.regression, k), q)


def _own_slopes(params):
    """Return the derivatives of log variances (or eigenvalues) and regressions (or angles) by the model's own."""
    k, q = params.intercept.shape
    psi, n_slopes = _own(params), max(params.regression.shape[1], params.angle.shape[1])
    n_logs = psi.shape[1]
    out = np.zeros((k, q + n_pairs(q), n_logs + n_slopes))
    out[:, :q, :n_logs] = _contrasts(params) / psi[:, None]
    out[:, q : q + n_slopes, n_logs:] = np.eye(n_slopes)
    return out


def _chain_jet(params, variances, T):
    return chain_jet(_spread(params), _per_expert(params.angle, len(T)), variances, T)


def _slopes(params, variances, T):
    """Return the derivatives of (log d, all regressions) by the model's own covariance parameters."""
    own = _own_slopes(params)
    return _chain_jet(params, variances, T)[0] @ own if _has_axes(params) else own


def _jet(params, variances, T):
    """Return the same, and the second derivatives."""
    first, psi = _own_slopes(params), _own(params)
    bend = np.zeros((*first.shape, first.shape[-1]))
    logs = np.arange(psi.shape[1])
    bend[:, : T.shape[1], logs, logs] = -_contrasts(params) / psi[:, None] ** 2
    if not _has_axes(params):
        return first, bend
    by_axes, twice = _chain_jet(params, variances, T)
    bend = np.einsum("kca,kaij->kcij", by_axes, bend) + np.einsum("kcab,kai,kbj->kcij", twice, first, first)
    return by_axes @ first, bend


class MultivariateGaussianExpert(Expert):
    r"""Normal linear regression of q responses at once, one per expert.

    .. math:: f_i(y|x) = N_q(y;\; A_i x + b_i,\; \Sigma_i)

    The covariance matrices are chains of regressions, see ``smoe.experts.covariances``: ``variance`` holds innovation
    variances, each response given those before it, and ``regression`` the coefficients. ``params.covariance``, and
    ``expert_covariance_`` of an estimator, are the matrices themselves. They are maximum-likelihood estimates: sums of
    squares and products over total responsibility, not over degrees of freedom.

    With a volume of its own an expert may shrink onto few rows, and the likelihood grows without bound as its matrix
    becomes singular; with equal volumes (EII, EEI, EVI, EEE, EVV) all matrices would have to. Innovation variances have
    a floor, and a fit that ends on it says so. It does so, too, where a response is a linear combination of others,
    which must be left out.

    Parameters
    ----------
    covariance : str, default="full"
        Model of the covariance matrices. "full" (VVV), "diag" (VVI), "spherical" (VII) are each expert's own, "tied"
        (EEE) is full and the same for all. Three letters say whether volume, shape and orientation are equal (E), vary
        (V), or are those of the unit matrix (I): EII, VII, EEI, VEI, EVI, VVI, EEE, VEE, EVV, VVV, EEV, VEV.
    variance_floor : float, default=1e-8
        Smallest innovation variance, as a share of the variance of the response; of spherical models as a share of the
        mean variance of the responses.
    responses : list of str or None, default=None
        Names of the responses; None for those of y, or else y0, y1, ... One response given as a flat y (n_samples,) is
        left to `GaussianExpert`, with variances that are shared where volumes are.

    Notes
    -----
    Shape and orientation are those of the chain: "VEE" has proportional matrices, "EVV" equal determinants, as in
    mclust. "EEV" and "VEV" have eigenvalues, or their ratios, that are equal, and axes of each expert's own: ``angle``
    holds how they are turned. Where two eigenvalues are equal, their axes are not identified. Models whose axes alone
    are equal (EVE, VVE) are not offered.

    EEV, VEV and the spherical models follow changes of units of all responses together, the others of each; VVV, EEE,
    VEE and EVV follow linear maps of y, too: the maxima, not the numbers in ``variance`` and ``regression``, which
    depend on the order of the responses.

    References
    ----------
    Celeux, G. and Govaert, G. (1995). Gaussian parsimonious clustering models. Pattern Recognition 28, 781-793.

    Pourahmadi, M. (1999). Joint mean-covariance models with applications to longitudinal data: unconstrained
    parameterisation. Biometrika 86, 677-690.

    Dang, U. J., Punzo, A., McNicholas, P. D., Ingrassia, S. and Browne, R. P. (2017). Multivariate response and
    parsimony for Gaussian cluster-weighted models. Journal of Classification 34, 4-34.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe import MoERegressor
    >>> from smoe.experts import MultivariateGaussianExpert
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(size=(200, 1))
    >>> Y = X @ [[1.0, -1.0]] + rng.normal(size=(200, 2)) @ [[0.3, 0.2], [0.0, 0.1]]
    >>> model = MoERegressor(1, expert=MultivariateGaussianExpert("full"), random_state=0).fit(X, Y)
    >>> model.predict(X[:3]).shape, model.n_parameters_
    ((3, 2), 7)
    """

    support = Support(kind="vectors")
    concave = True
    linear = True

    def __init__(
        self, covariance: str = "full", variance_floor: float = 1e-8, responses: Sequence[str] | None = None
    ) -> None:
        self.covariance = covariance
        self.variance_floor = variance_floor
        self.responses = responses

    # What it is -------------------------------------------------------------------------------------------------------

    def check(self):
        """Refuse unknown models, a floor that is no positive number, and responses without names."""
        check_choice(self.covariance, "covariance", COVARIANCES)
        check_number(self.variance_floor, "variance_floor", np.finfo(float).tiny, high=1e6)
        names = self.responses
        if names is not None and (
            not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names)
        ):
            raise ValueError(f"responses must be None or a list of names, one per column of y, got {names!r}.")

    @property
    def letters(self):
        """Three letters: whether volume, shape and orientation are equal (E), vary (V) or are trivial (I)."""
        return letters_of(self.covariance)

    @property
    def units(self):
        """Each response may be shifted and scaled, or with equal variances all by the same factor."""
        return "similar" if self.letters[1] == "I" or by_axes(self.letters) else "affine"

    @property
    def n_responses(self):
        """Number of responses, q."""
        if self.responses is None:
            raise ValueError(f"{self.name} knows no responses yet: bind it to y, or name them by responses=[...].")
        return len(self.responses)

    @property
    def fields(self):
        """Slopes and intercepts, innovation variances with their floor, and the regressions between responses."""
        volume, shape, orientation = self.letters
        first = {"E": (), "V": ("expert",), "I": ()}
        apart = by_axes(self.letters)
        several, ratios = (("axis" if apart else "response",), "I") if volume == shape else ((), shape)
        turned = Field((*first[orientation], "plane" if apart else "pair"))
        return {
            "coef": Field(("expert", "response", "feature")),
            "intercept": Field(("expert", "response")),
            "variance": Field((*first[volume], *several), lower=self.variance_floor),
            "shape": Field((*first[ratios], "ratio"), lower=0.0),
            "regression": Field(("pair",)) if apart else turned,
            "angle": turned if apart else Field(("plane",)),
        }

    @property
    def axis_labels(self):
        """Names of the responses, of their axes, and of pairs of them."""
        names = list(self.responses)
        axes = [f"axis {j}" for j in range(len(names))]
        pairs = [f"{names[j]} on {names[i]}" for j in range(len(names)) for i in range(j)]
        turned = [f"{names[i]} to {names[j]}" for i, j in planes(len(names))]
        ratios = (axes if by_axes(self.letters) else names)[:-1]
        return {"response": names, "axis": axes, "ratio": ratios, "pair": pairs, "plane": turned}

    def bind(self, y):
        """Return the experts that know the names of the responses; for a flat y `GaussianExpert`."""
        if self.responses is not None:
            return self
        names = names_of_responses(y)
        if names is None:
            return GaussianExpert(self.variance_floor, "shared" if self.letters[0] == "E" else "own")
        return type(self)(self.covariance, self.variance_floor, names)

    def read(self, y):
        """Return the responses as floats, (n_samples, q)."""
        return check_responses(y, self.responses)

    def chance_terms(self, n_features):
        """Return the coefficients of a hyperplane on which few rows may lie; None if the likelihood is bounded.

        It is one of a response, or with regressions between them one of a response given all others.
        """
        volume, shape, orientation = self.letters
        if volume == "E":
            return None
        return n_features + 1 + (self.n_responses - 1 if orientation != "I" else 0)

    # Parameters -------------------------------------------------------------------------------------------------------

    def init_params(self, n_experts, n_features):
        """Return flat means of zero with unit covariance matrices."""
        q = self.n_responses
        lines = np.zeros((n_experts, q, n_features)), np.zeros((n_experts, q))
        return self._made(*lines, np.ones((n_experts, q)), np.zeros((n_experts, n_pairs(q))))

    def _made(self, coef, intercept, variances, slopes):
        """Return parameters from innovation variances (n_experts, q) and regressions, or eigenvalues and angles.

        They are taken as far as the model has them.
        """
        volume, shape, orientation = self.letters
        k, q = intercept.shape
        rows = {"E": 1, "V": k, "I": 1}
        ratio = np.ones((1, 0))
        if shape == "I":
            variance = variances[:, 0]
        elif volume == shape:
            variance = variances
        else:
            variance = np.exp(np.log(variances).mean(axis=1))
            ratio = (variances / variance[:, None])[:, :-1]
        variance = np.array(variance[: rows[volume]])
        variance = variance if variance.ndim > 1 or volume == "V" else variance[0]
        slopes = slopes if orientation != "I" else slopes[:, :0]
        ratio, slopes = (np.array(field[: rows[letter]]) for field, letter in ((ratio, shape), (slopes, orientation)))
        none = np.zeros((1, 0))
        turned = (none, slopes) if by_axes(self.letters) else (slopes, none)
        return MultivariateGaussianParams(coef, intercept, np.asarray(variance), ratio, *turned)

    def from_elements(self, rows, weight, elements):
        """Return the planes through few rows each; variances are robust ones over the closest 1/n_experts of y."""
        Z, y = rows.Z, rows.y
        lines = np.array([np.linalg.lstsq(Z[:, r].T, y[:, r].T, rcond=_ELEMENT_RANK)[0].T for r in elements])
        squares = (y - lines @ Z) ** 2
        variances = np.column_stack([tight_scale(one, weight, self.variance_floor) for one in squares.swapaxes(0, 1)])
        if self.letters[0] == "E":
            variances = np.repeat(np.median(variances, axis=0)[None], len(lines), axis=0)
        if self.letters[1] == "I":
            variances = np.repeat(variances.mean(axis=1)[:, None], variances.shape[1], axis=1)
        slopes = np.zeros((len(lines), n_pairs(len(y))))
        return self._made(lines[..., :-1].copy(), lines[..., -1].copy(), variances, slopes)

    def natural_units(self, params):
        """Coefficients are measured in the standard deviation of their response given all others."""
        variances, T = chain_of(params)
        sd = 1.0 / np.sqrt(np.einsum("kji,kji->ki", T, T / variances[..., None]))
        row, column = np.tril_indices(params.intercept.shape[1], -1)
        slopes = np.sqrt(variances[:, row] / np.diagonal(params.covariance, axis1=1, axis2=2)[:, column])
        return params._replace(
            coef=np.broadcast_to(sd[..., None], params.coef.shape),
            intercept=sd,
            variance=np.ones(np.shape(params.variance)),
            shape=np.ones(params.shape.shape),
            regression=slopes[: len(params.regression), : params.regression.shape[1]],
            angle=np.ones(params.angle.shape),
        )

    def at_bound(self, params):
        """Return which experts have a singular matrix: an innovation variance, or eigenvalue, on its floor."""
        return self._lost(params).any(axis=1)

    def _lost(self, params):
        """Return which innovation variances, or eigenvalues, are on their floor, (n_experts, q)."""
        variances = _spread(params)
        if np.shape(params.shape)[1]:  # at equal volumes one response may vanish while another grows
            variances = np.minimum(variances, variances / np.exp(np.log(variances).mean(axis=1, keepdims=True)))
        return variances <= self.variance_floor * (1 + 1e-2)

    def remark_on_floor(self, params):
        """Say in words which responses have lost their variance given those before them (or axes), or nothing."""
        lost = self._lost(params).any(axis=0)
        labels = self.axis_labels["axis" if by_axes(self.letters) else "response"]
        names = [name for name, gone in zip(labels, lost, strict=True) if gone]
        return f"none is left of {', '.join(map(printable, names))}" if names else ""

    def unscale(self, params, shift, scale, y_shift, y_scale):
        """Return parameters for (x, y) from those for ((x - shift) / scale, (y - y_shift) / y_scale)."""
        k, q = params.intercept.shape
        y_scale = np.broadcast_to(y_scale, q)
        coef = y_scale[:, None] * (params.coef / scale)
        intercept = y_scale * params.intercept + y_shift - coef @ shift
        row, column = np.tril_indices(q, -1)
        volume = np.exp(2.0 * np.log(y_scale).mean())
        ratio = (y_scale**2 / volume)[: params.shape.shape[1]]
        return MultivariateGaussianParams(
            coef,
            intercept,
            np.asarray(params.variance * (y_scale**2 if np.ndim(params.variance) == 2 else volume)),
            params.shape * ratio,
            params.regression * (y_scale[row] / y_scale[column])[: params.regression.shape[1]],
            params.angle,
        )

    # Densities --------------------------------------------------------------------------------------------------------

    def mean(self, rows, params):
        """Return A_i x + b_i, (n_experts, q, m)."""
        k, q, d = params.coef.shape
        flat = predictors(np.ascontiguousarray(params.coef).reshape(k * q, d), params.intercept.ravel(), rows.Z)
        return flat.reshape(k, q, -1)

    def mean_of(self, rows, params, chosen):
        """Return the means of each row's chosen experts, (top_k, q, m)."""
        return np.take_along_axis(self.mean(rows, params), chosen[:, None], axis=0)

    def mean_scores(self, rows, params):
        """Return the gradient of each mean by expert i's own entries, (n_experts, q, n_own, m)."""
        k, q, d = params.coef.shape
        lines = _places(params)[0]
        out = np.zeros((k, q, copies(params).shape[1], rows.Z.shape[1]))
        for j in range(q):
            out[:, j, lines[j]] = rows.Z
        return out

    def variance(self, rows, params):
        """Return the covariance matrices of each row, (n_experts, q, q, m)."""
        covariance = params.covariance[..., None]
        return np.broadcast_to(covariance, (*covariance.shape[:-1], rows.Z.shape[1]))

    def normal(self, rows, params):
        """Return means and covariance matrices."""
        return self.mean(rows, params), self.variance(rows, params)

    def _innovations(self, rows, params, variances, T):
        """Return the residuals of each response given x and those before it, in standard deviations (k, q, m)."""
        return (T / np.sqrt(variances)[..., None]) @ (rows.y - self.mean(rows, params))

    def log_prob(self, rows, params):
        """Return the log densities, (n_experts, m)."""
        variances, T = chain_of(params)
        squares = (self._innovations(rows, params, variances, T) ** 2).sum(axis=1)
        return -0.5 * (squares + (np.log(variances) + _LOG_TAU).sum(axis=1)[:, None])

    def residual(self, rows, params):
        """Return by what rows of one expert may be told apart: the sum of its innovations, (n_experts, m)."""
        return self._innovations(rows, params, *chain_of(params)).sum(axis=1)

    def sample(self, rows, label, params, rng):
        """Draw responses (q, m) for each row from the expert named by its label."""
        variances, T = chain_of(params)
        root = np.linalg.inv(T) * np.sqrt(variances)[:, None]
        mean = self.mean(rows, params)[label, :, np.arange(len(label))]
        noise = rng.normal(size=mean.shape)
        return (mean + np.einsum("mij,mj->mi", root[label], noise)).T

    # Fits -------------------------------------------------------------------------------------------------------------

    def suffstats(self, rows, params, resp):
        """Return the moments of (z, y) weighted by resp."""
        p = len(rows.Z)
        both = weighted_grams(resp, np.concatenate([rows.y, rows.Z]))
        gram, cross, power = both[:, -p:, -p:], both[:, :-p, -p:], both[:, :-p, :-p]
        return MultivariateGaussianStats(*map(np.ascontiguousarray, (gram, cross, power)), both[:, -1, -1].copy())

    def m_step(self, stats, params):
        """Return weighted least squares and the covariance matrices of highest likelihood.

        Directions in which an expert has no data keep their coefficients; an expert without rows keeps everything.
        """
        coef, intercept = self._lines(stats, params)
        moved = params._replace(coef=coef, intercept=intercept)
        scatter = _residual_moments(stats, moved)[1]
        return self._made(coef, intercept, *self._covariances(scatter, stats.weight, params))

    def _covariances(self, scatter, weight, params):
        if by_axes(self.letters):
            before = _spread(params), params.angle
            return estimate_axes(self.letters[0], scatter, weight, before, self.variance_floor)
        variances, T = chain_of(params)
        row, column = np.tril_indices(T.shape[1], -1)
        return estimate(self.letters, scatter, weight, (variances, -T[:, row, column]), self.variance_floor)

    def _lines(self, stats, params):
        """Return slopes and intercepts, response by response."""
        coef, intercept = np.array(params.coef), np.array(params.intercept)
        one = np.ones(len(intercept))
        for j in range(intercept.shape[1]):
            here = np.ascontiguousarray(stats.cross[:, j]), np.ascontiguousarray(stats.power[:, j, j])
            start = np.ascontiguousarray(params.coef[:, j]), np.ascontiguousarray(params.intercept[:, j])
            coef[:, j], intercept[:, j], _ = least_squares(stats.gram, *here, *start, one, 0.0, RANK_TOL)
        return coef, intercept

    def score(self, stats, params):
        """Return the gradient of the expected log-likelihood whose moments these are."""
        return unflatten(fold(_gradient(stats, params).ravel(), params), params)

    def row_scores(self, rows, params):
        """Return the gradient of log f_i by expert i's own entries for each row, (n_experts, n_own, m)."""
        variances, T = chain_of(params)
        apart = rows.y - self.mean(rows, params)
        steps = T @ apart
        k, q, m = steps.shape
        slope = np.swapaxes(T, 1, 2) @ (steps / variances[..., None])
        lines = (slope[:, :, None] * rows.Z[:-1]).reshape(k, -1, m)
        logs = 0.5 * (steps**2 / variances[..., None] - 1.0)
        row, column = np.tril_indices(q, -1)
        slopes = steps[:, row] * apart[:, column] / variances[:, row, None]
        own = np.swapaxes(_slopes(params, variances, T), 1, 2) @ np.concatenate([logs, slopes], axis=1)
        return np.concatenate([lines, slope, own], axis=1)

    def curvature(self, rows, params, resp, stats):
        """Return the sum over rows of resp times -d2 log f_i, (n_experts, n_own, n_own)."""
        return _curvature(stats, params)


def _residual_moments(stats, params):
    """Return the sums of w e z' (n_experts, q, n_terms), and of w e e' (n_experts, q, q), of the residuals e."""
    B = np.concatenate([params.coef, params.intercept[..., None]], axis=-1)
    pull = stats.cross - B @ stats.gram
    half = stats.power - B @ np.swapaxes(stats.cross, 1, 2)
    square = half - pull @ np.swapaxes(B, 1, 2)
    return pull, 0.5 * (square + np.swapaxes(square, 1, 2))


def _places(params):
    """Return where each response's line (q, n_terms), and then covariance parameters, are among an expert's own."""
    _, q, d = params.coef.shape
    lines = np.column_stack([np.arange(q * d).reshape(q, d), q * d + np.arange(q)])
    return lines, np.arange(lines.size, copies(params).shape[1])


class _At(NamedTuple):
    """Moments of residuals at some parameters, and what derivatives are made of."""

    variances: np.ndarray  # d, (n_experts, q)
    T: np.ndarray
    pull: np.ndarray  # sums of w e z'
    square: np.ndarray  # sums of w e e'
    scatter: np.ndarray  # sums of w T e e'
    squares: np.ndarray  # sums of w (T e)^2 / d, (n_experts, q)
    slope: np.ndarray  # the gradient by log d and all regressions, (n_experts, q + n_pairs)


def _at(stats, params):
    variances, T = chain_of(params)
    pull, square = _residual_moments(stats, params)
    scatter = T @ square
    squares = np.einsum("kij,kij->ki", scatter, T) / variances
    row, column = np.tril_indices(T.shape[1], -1)
    steps = scatter[:, row, column] / variances[:, row]
    slope = np.concatenate([0.5 * (squares - stats.weight[:, None]), steps], axis=1)
    return _At(variances, T, pull, square, scatter, squares, slope)


def _gradient(stats, params):
    """Return the gradient by each expert's own entries, (n_experts, n_own)."""
    at = _at(stats, params)
    k, q, d = params.coef.shape
    lines = np.swapaxes(at.T, 1, 2) @ (at.T @ at.pull / at.variances[..., None])
    own = np.einsum("kc,kcn->kn", at.slope, _slopes(params, at.variances, at.T))
    return np.concatenate([lines[..., :-1].reshape(k, q * d), lines[..., -1], own], axis=1)


def _curvature(stats, params):
    """Return minus the second derivatives, (n_experts, n_own, n_own).

    With u = T e, a line's slope is T' (u / d) z', that of log d_j (u_j^2 / d_j - 1) / 2, that of a regression
    u_j e_l / d_j; the chain rule leads from there to the model's own parameters.
    """
    at = _at(stats, params)
    lines, own = _places(params)
    lines, k = lines.ravel(), len(at.T)
    out = np.zeros((k, own[-1] + 1, own[-1] + 1))
    scaled = at.T / at.variances[..., None]
    out[:, lines[:, None], lines] = np.einsum("kja,kjb,kst->kasbt", at.T, scaled, stats.gram).reshape(k, lines.size, -1)
    first, second = _jet(params, at.variances, at.T)
    across = _lines_by_chain(at, scaled).reshape(k, lines.size, -1) @ first
    out[:, lines[:, None], own] = across
    out[:, own[:, None], lines] = np.swapaxes(across, 1, 2)
    bend = np.swapaxes(first, 1, 2) @ _by_chain(at) @ first
    out[:, own[:, None], own] = bend - np.einsum("kc,kcij->kij", at.slope, second)
    return out


def _lines_by_chain(at, scaled):
    """Return minus the derivatives of the lines' gradient by log d and all regressions, (n_experts, q, n_terms, .)."""
    q = at.variances.shape[1]
    row, column = np.tril_indices(q, -1)
    precision = 1.0 / at.variances[:, row]
    steps = at.T @ at.pull
    logs = np.einsum("kja,kjt->katj", scaled, steps)
    slopes = np.einsum("kna,knt,kn->katn", at.T[:, row], at.pull[:, column], precision)
    slopes += np.einsum("na,knt,kn->katn", np.eye(q)[column], steps[:, row], precision)
    return np.concatenate([logs, slopes], axis=-1)


def _by_chain(at):
    """Return minus the second derivatives by log d and all regressions."""
    k, q = at.variances.shape
    row, column = np.tril_indices(q, -1)
    out = np.zeros((k, q + len(row), q + len(row)))
    logs, slopes = np.arange(q), np.arange(q, q + len(row))
    out[:, logs, logs] = 0.5 * at.squares
    out[:, row, slopes] = out[:, slopes, row] = at.slope[:, q:]
    same = (row[:, None] == row) / at.variances[:, row][..., None]
    out[:, q:, q:] = same * at.square[:, column[:, None], column]
    return out
