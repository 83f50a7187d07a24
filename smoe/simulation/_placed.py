"""Truths of x and y together, starts and losses of fits to both: experts have places in x."""

import numpy as np
from scipy import stats
from scipy.special import logsumexp, softmax

from smoe.experts import GaussianExpert, GaussianExpertParams, JointGaussianExpert, JointGaussianParams
from smoe.gates import GaussianGate, LinearGateParams
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams
from smoe.simulation.density import density_error
from smoe.simulation.truth import Truth

__all__ = ["CurvedExpert", "Placed", "Places", "joint_density", "joint_start", "lines", "of_y", "places_loss"]

_GATE, _CENTRE_SD, _VARIANCE_SD = GaussianGate("full"), 0.005, 0.0005
_POWER = {1: 1.0, 2: 4.0, 3: 6.0}  # of centre and intercept, by the number of atoms; half of it for both variances


class Places:
    """A mixture of normal laws of x.

    Parameters
    ----------
    weights : array of shape (k,)
    centres : array of shape (k, d)
    covariances : array of shape (k, d, d)
    """

    def __init__(self, weights, centres, covariances):
        self.weights, self.centres, self.covariances = map(np.asarray, (weights, centres, covariances))

    def rvs(self, size, random_state):
        """Draw x, (size, d)."""
        label = random_state.choice(len(self.weights), size=size, p=self.weights)
        root = np.linalg.cholesky(self.covariances)[label]
        return self.centres[label] + np.einsum("nij,nj->ni", root, random_state.normal(size=root.shape[:2]))

    def logpdf(self, X):
        """Return the log density, (n,)."""
        laws = zip(self.weights, self.centres, self.covariances, strict=True)
        parts = [np.log(w) + np.atleast_1d(stats.multivariate_normal(c, v).logpdf(X)) for w, c, v in laws]
        return logsumexp(parts, axis=0)


class CurvedExpert(GaussianExpert):
    """Normal experts whose means have known coefficients of the squared feature: truths that lines do not reach."""

    def __init__(self, curvature=(0.0,)):
        super().__init__()
        self.curvature = curvature

    def mean(self, rows, params):
        """Return a_i x + b_i + c_i x^2, (n_experts, m)."""
        return super().mean(rows, params) + np.asarray(self.curvature)[:, None] * rows.Z[0] ** 2


class Placed(Truth):
    """A mixture of normal laws of x with a line on each: weights, centres, covariance matrices, experts.

    ``both`` says that likelihoods are those of x and y together, for joint fits.
    """

    def __init__(self, places, expert, curvature=None, both=True):
        family = GaussianExpert() if curvature is None else CurvedExpert(curvature)
        gate = _GATE.from_gaussians(places.weights, places.centres, places.covariances)
        super().__init__((_GATE, family), MoEParams(gate, expert), places)
        self.both = both

    def loglik(self, X, y):
        """Return the truth's log-likelihood, of x as well if joint fits are to be compared with it."""
        return super().loglik(X, y) + (float(self.covariates.logpdf(X).sum()) if self.both else 0.0)

    def describe(self):
        """Return also which likelihood it is."""
        return {**super().describe(), "both": self.both}


def lines():
    """Return the model that is fitted to y given x."""
    return MixtureOfExperts(_GATE, GaussianExpert())


def joint_start(truth, n_experts, n, rng, extra=None):
    """Return the truth's law of x and y with the published noise, its experts last; one in ``extra`` is halved.

    Centres, slopes and intercepts get noise 0.005 n^-0.083, variances the absolute value of one of 0.0005 n^-0.25. The
    truth's covariance matrices are diagonal.
    """
    places, expert, n_true = truth.covariates, truth.params.expert, truth.n_experts
    extra = rng.integers(n_true, size=n_experts - n_true) if extra is None else extra
    atoms = np.concatenate([extra, np.arange(n_true)]).astype(int)
    d = places.centres.shape[1]

    def moved(values):
        return values + _CENTRE_SD * n**-0.083 * rng.normal(size=values.shape)

    def wider(values):
        return values + _VARIANCE_SD * n**-0.25 * np.abs(rng.normal(size=values.shape))

    family = JointGaussianExpert("full", features=[f"x{j}" for j in range(d)], responses=["y"], flat=True)
    law = family.init_params(n_experts, 0)
    law = law._replace(
        centre=moved(places.centres[atoms]),
        x_variance=wider(np.diagonal(places.covariances[atoms], axis1=1, axis2=2)),
        coef=moved(expert.coef[atoms])[:, None],
        intercept=moved(expert.intercept[atoms])[:, None],
        variance=wider(expert.variance[atoms])[:, None],
    )
    weight = places.weights[atoms] / np.bincount(atoms)[atoms]
    return MoEParams(LinearGateParams(np.zeros((n_experts, 0)), np.log(weight / weight[-1])), law)


def of_y(params):
    """Return the law of y given x of a joint fit: a Gaussian gate and lines."""
    law = params.expert
    if not isinstance(law, JointGaussianParams):  # it is one already
        return params
    gate = _GATE.from_gaussians(softmax(params.gate.intercept), law.centre, law.of_x.covariance)
    return MoEParams(gate, GaussianExpertParams(law.coef[:, 0], law.intercept[:, 0], law.variance[:, 0]))


def joint_density(params, truth):
    """Return the Hellinger distance of the densities of y given x, averaged over a thousand draws of x."""
    return density_error(of_y(params), truth, model=lines(), rng=0).value


def places_loss(params, truth, flat=()):
    """Return the published Voronoi loss of centres, covariance matrices, slopes, intercepts and variances.

    On a split cell centre and intercept have the power r, covariance matrix and variance r/2; the slope has 2, of true
    experts in ``flat`` (those at zero) r/2.
    """
    law, places, expert = params.expert, truth.covariates, truth.params.expert
    if not isinstance(law, JointGaussianParams):  # the truth itself, on which losses are tried
        return 0.0
    weight = softmax(params.gate.intercept)
    fitted = law.centre, law.of_x.covariance, law.coef, law.intercept, law.variance
    true = places.centres, places.covariances, expert.coef, expert.intercept, expert.variance
    gaps = np.stack([_distances(*pair) for pair in zip(fitted, true, strict=True)])
    cell = gaps.sum(axis=0).argmin(axis=1)
    own = gaps[:, np.arange(len(cell)), cell]
    size = np.bincount(cell, minlength=truth.n_experts)[cell]
    r = np.array([_POWER[m] for m in size])
    slope = np.where(np.isin(cell, flat), 0.5 * r, 2.0)
    powers = np.where(size == 1, 1.0, np.stack([r, 0.5 * r, slope, r, 0.5 * r]))
    missed = np.abs(np.bincount(cell, weight, truth.n_experts) - places.weights)
    return float(weight @ (own**powers).sum(axis=0) + missed.sum())


def _distances(fitted, true):
    """Euclidean distances between all pairs, (n_fitted, n_true)."""
    one, other = (np.reshape(values, (len(values), -1)) for values in (fitted, true))
    return np.linalg.norm(one[:, None] - other, axis=2)
