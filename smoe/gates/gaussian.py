"""The Gaussian (localised) gate, fitted to y given x: a softmax gate with quadratic features."""

from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from smoe.fields import Field
from smoe.gates.base import Evaluated, LinearGate, LinearGateParams
from smoe.validation import check_choice

__all__ = ["GaussianGate", "GaussianGateParams", "SphericalGateParams"]

_KINDS = ("full", "diag", "spherical", "tied")


class GaussianGateParams(NamedTuple):
    """Slopes ``coef`` (n_experts, n_features), ``intercept`` (n_experts,), and coefficients of products of features.

    ``curvature`` is (n_experts, n_features, n_features) with those of :math:`x_i x_j`, i <= j, and zeros below the
    diagonal, or (n_experts, n_features) with those of the squares.
    """

    coef: np.ndarray
    intercept: np.ndarray
    curvature: np.ndarray


class SphericalGateParams(NamedTuple):
    """Slopes, intercepts, and ``curvature`` (n_experts,), coefficients of the sum over features of ``metric`` x².

    The metric (1, n_features) is one over the variance of each column in the fit, and fixed.
    """

    coef: np.ndarray
    intercept: np.ndarray
    curvature: np.ndarray
    metric: np.ndarray


class GaussianGate(LinearGate):
    r"""Each expert has a place in x: weights proportional to Gaussian densities, fitted to y given x.

    .. math:: \pi_i(x) \propto \alpha_i \, N(x;\, c_i, \Gamma_i) \propto
              \exp\big(w_i + h_i^\top x - \tfrac12\, x^\top P_i\, x\big), \qquad P_i = \Gamma_i^{-1},\quad h_i = P_i c_i

    The likelihood of y given x is exactly that of a softmax gate on features and their products: all products for
    ``"full"``, squares for ``"diag"``, their sum for ``"spherical"``; with ``"tied"`` the quadratic cancels, and this
    *is* the softmax gate. It is concave in EM's step, bounded, and has no covariance that could collapse.

    Not identified: one number added to all :math:`w_i`, one vector to all :math:`h_i`, one symmetric matrix to all
    :math:`P_i`. So no centre and no covariance is estimated, differences between experts are: reported are coefficients
    against the last expert, whose row is zero. Nor need any covariance be positive definite at the maximum: a matrix
    that is large enough, added to all, makes them so, and changes nothing. `gaussians` returns one such representative,
    for pictures.

    Borders between experts are quadrics. The fit to x and y together, a mixture model of x whose centres and
    covariances are estimated, is another estimator, `smoe.JointGaussianMoERegressor`.

    Parameters
    ----------
    covariance : {"full", "diag", "spherical", "tied"}, default="full"
        What the covariances are. "spherical" is meant for columns divided by their standard deviations.
    fit : {"conditional"}, default="conditional"
        What is maximised: the likelihood of y given x. That of x and y together, "joint", is refused here.

    References
    ----------
    Xu, L., Jordan, M. I. and Hinton, G. E. (1995). An alternative model for mixtures of experts. Advances in Neural
    Information Processing Systems 7, 633-640, for the fit to x and y together.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.features import design
    >>> from smoe.gates import GaussianGate, GaussianGateParams
    >>> gate = GaussianGate("diag")
    >>> params = GaussianGateParams(np.zeros((2, 1)), np.array([4.0, 0.0]), np.array([[-1.0], [0.0]]))
    >>> gate.scores(design(np.array([[-2.0, 0.0, 3.0]])), params)
    array([[ 0.,  4., -5.],
           [ 0.,  0.,  0.]])
    """

    def __init__(self, covariance: str = "full", fit: str = "conditional") -> None:
        self.covariance = covariance
        self.fit = fit

    @property
    def fields(self):
        """What each array of the parameters is."""
        quadratic = {
            "full": {"curvature": Field(("expert", "feature", "feature"), gauge="expert")},
            "diag": {"curvature": Field(("expert", "feature"), gauge="expert")},
            "spherical": {"curvature": Field(), "metric": Field(("feature",), 0.0, attained=True, fixed=True)},
        }
        return {**LinearGate.fields, **quadratic.get(self.covariance, {})}

    @property
    def linear(self):
        """Whether linear combinations of columns leave the kind of covariance as it is."""
        return self.covariance in ("full", "tied")

    @property
    def default_start(self):
        """Quadratic scores cost more than linear ones: they begin where these end."""
        return "elemental" if self.covariance == "tied" else "softmax"

    def check(self, n_experts):
        """Raise ValueError for an unknown kind of covariance, or a fit that another estimator makes."""
        check_choice(self.covariance, "covariance", _KINDS)
        if isinstance(self.fit, str) and self.fit == "joint":
            raise ValueError(
                "fit='joint': centres and covariances are estimated together with a law of x by "
                f"JointGaussianMoERegressor(n_experts={n_experts}, covariance={self.covariance!r})."
            )
        check_choice(self.fit, "fit", ("conditional",))

    def inside(self, n_features):
        """Return the gate with the next simpler covariances; of one feature all are one gate."""
        simpler = {"full": "diag", "diag": "spherical"}.get(self.covariance)
        return GaussianGate(simpler) if simpler and n_features > 1 else None

    def of_inside(self, params):
        """Return the parameters with the curvature that the gate inside has, or none."""
        own = self.init_params(*params.coef.shape)
        out = own._replace(coef=params.coef, intercept=params.intercept)
        if isinstance(params, SphericalGateParams):
            return out._replace(curvature=params.curvature[:, None] * params.metric)
        if isinstance(params, GaussianGateParams):
            return out._replace(curvature=params.curvature[:, :, None] * np.eye(params.coef.shape[1]))
        return out

    def init_params(self, n_experts, n_features):
        """Return zeros."""
        linear = LinearGateParams(np.zeros((n_experts, n_features)), np.zeros(n_experts))
        if self.covariance == "tied":
            return linear
        if self.covariance == "spherical":
            return SphericalGateParams(*linear, np.zeros(n_experts), np.ones((1, n_features)))
        return GaussianGateParams(*linear, np.zeros((n_experts, *[n_features] * (1 + (self.covariance == "full")))))

    def _terms(self, Z, params):
        """The features, ones, and the products or squares, rows in the order of an expert's entries."""
        X = Z[:-1]
        if self.covariance == "full":
            return np.concatenate([Z, (X[:, None] * X).reshape(-1, X.shape[1])])
        if self.covariance == "diag":
            return np.concatenate([Z, X**2])
        return np.concatenate([Z, params.metric @ X**2]) if self.covariance == "spherical" else Z

    def _own(self, params):
        """The entries of each expert, (n_experts, n_own)."""
        own = [params.coef, params.intercept, *params[2:3]]
        return np.concatenate([field.reshape(len(params.intercept), -1) for field in own], axis=1)

    def evaluated(self, Z, params):
        """Return what one pass asks for, with products that are computed once."""
        terms = self._terms(Z, params)
        methods = self._pullback, self._information
        return Evaluated(self._own(params) @ terms, *(partial(method, terms, params) for method in methods))

    def scores(self, Z, params):
        """Return the quadratic scores."""
        return self._own(params) @ self._terms(Z, params)

    def pullback(self, Z, params, R):
        """Return the derivative of the sum of R * scores."""
        return self._pullback(self._terms(Z, params), params, R)

    def _pullback(self, terms, params, R):
        sums, d = R @ terms.T, params.coef.shape[1]
        out = {"coef": sums[..., :d], "intercept": sums[..., d]}
        if self.covariance != "tied":
            out["curvature"] = sums[..., d + 1 :].reshape(*R.shape[:-2], *params.curvature.shape)
        if self.covariance == "spherical":
            out["metric"] = np.zeros((*R.shape[:-2], *params.metric.shape))
        return params._replace(**out)

    def row_pullback(self, Z, params, R):
        """Return the derivative of each row's sum of R * scores, (n_entries, m)."""
        own = (R[:, None] * self._terms(Z, params)).reshape(-1, Z.shape[1])
        return np.concatenate([own, np.zeros((self._n_fixed(params), Z.shape[1]))])

    def _n_fixed(self, params):
        return params.metric.size if self.covariance == "spherical" else 0

    def information(self, Z, params, proba, weight, resp=None):
        """Return that of a softmax gate on features and products."""
        return self._information(self._terms(Z, params), params, proba, weight, resp)

    def _information(self, terms, params, proba, weight, resp=None):
        own = super().information(terms, params, proba, weight, resp)
        return np.pad(own, (0, self._n_fixed(params)))

    def free(self, params):
        """Every row but the last, without what is below the diagonal and what is fixed."""
        free = super().free(params)
        if self.covariance == "tied":
            return free
        if self.covariance == "full":
            free.curvature[:] = np.triu(free.curvature)
        free.curvature[-1] = False
        return free._replace(metric=np.zeros(params.metric.shape, dtype=bool)) if self._n_fixed(params) else free

    def canonical(self, params):
        """Subtract the last expert's row; carry what is below the diagonal above it."""
        out = params._replace(coef=params.coef - params.coef[-1], intercept=params.intercept - params.intercept[-1])
        if self.covariance == "tied":
            return out
        curvature = params.curvature - params.curvature[-1]
        if self.covariance == "full":
            curvature = np.triu(curvature) + np.tril(curvature, -1).swapaxes(1, 2)
        return out._replace(curvature=curvature)

    def _matrices(self, params):
        """The quadratic terms as x' M x, (n_experts, n_features, n_features), M symmetric."""
        d = params.coef.shape[1]
        if self.covariance == "tied":
            return np.zeros((len(params.coef), d, d))
        if self.covariance == "full":
            return 0.5 * (params.curvature + params.curvature.swapaxes(1, 2))
        squares = params.curvature if self.covariance == "diag" else params.curvature[:, None] * params.metric
        return squares[:, :, None] * np.eye(d)

    def unscale(self, params, shift, scale):
        """Carry shift and scale in all terms."""
        coef, matrix = params.coef / scale, self._matrices(params) / np.outer(scale, scale)
        turned = matrix @ shift
        out = {"coef": coef - 2.0 * turned, "intercept": params.intercept - coef @ shift + turned @ shift}
        if self.covariance == "full":
            out["curvature"] = params.curvature / np.outer(scale, scale)
        elif self.covariance == "diag":
            out["curvature"] = params.curvature / scale**2
        elif self.covariance == "spherical":
            out["metric"] = params.metric / scale**2
        return params._replace(**out)

    def breaks(self, params):
        """Return the x of one feature at which two scores, or two slopes, are equal."""
        bend, terms = self._matrices(params)[:, 0, 0], np.column_stack([params.coef[:, 0], params.intercept])
        i, j = np.triu_indices(len(bend), 1)
        gaps = np.column_stack([bend, terms])[i] - np.column_stack([bend, terms])[j]
        roots = [x.real for gap in gaps for poly in (gap, np.polyder(gap)) for x in np.roots(poly) if x.imag == 0]
        return np.append(roots, 0.0)

    def from_gaussians(self, weights, centres, covariances):
        r"""Return the parameters of the gate that such a mixture of normal laws of x is: what undoes ``gaussians``.

        Parameters
        ----------
        weights : array of shape (n_experts,)
        centres : array of shape (n_experts, n_features)
        covariances : array of shape (n_experts, n_features, n_features)
            Of this gate's kind; "spherical" ones are taken in the units that they are given in.

        Returns
        -------
        GaussianGateParams, SphericalGateParams or LinearGateParams
        """
        precision = np.linalg.inv(covariances)
        coef = np.einsum("kij,kj->ki", precision, centres)
        logdet = np.linalg.slogdet(precision)[1]
        linear = coef, np.log(weights) + 0.5 * (logdet - (coef * centres).sum(axis=1))
        if self.covariance == "tied":
            return self.canonical(LinearGateParams(*linear))
        squares = -0.5 * np.diagonal(precision, axis1=1, axis2=2)
        if self.covariance == "full":
            curvature = -np.triu(precision, 1) + squares[:, :, None] * np.eye(coef.shape[1])
            return self.canonical(GaussianGateParams(*linear, curvature))
        if self.covariance == "diag":
            return self.canonical(GaussianGateParams(*linear, squares))
        return self.canonical(SphericalGateParams(*linear, squares[:, 0], np.ones((1, coef.shape[1]))))

    def gaussians(self, params):
        r"""Return weights, centres and covariances that give these probabilities, one choice of many.

        The last expert's precision is the identity, or c times it with the smallest c that makes all smallest
        eigenvalues at least one; its centre is zero.

        Parameters
        ----------
        params : GaussianGateParams, SphericalGateParams or LinearGateParams

        Returns
        -------
        weights : ndarray of shape (n_experts,)
        centres : ndarray of shape (n_experts, n_features)
        covariances : ndarray of shape (n_experts, n_features, n_features)
        """
        params = self.canonical(params)
        precision = -2.0 * self._matrices(params)
        smallest = np.linalg.eigvalsh(precision).min(initial=0.0)
        precision = precision + (1.0 - smallest) * np.eye(params.coef.shape[1])
        covariance = np.linalg.inv(precision)
        centre = np.einsum("kij,kj->ki", covariance, params.coef)
        log_weight = params.intercept + 0.5 * (params.coef * centre).sum(axis=1)
        return softmax(log_weight - 0.5 * np.linalg.slogdet(precision)[1]), centre, covariance
