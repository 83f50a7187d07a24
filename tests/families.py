"""Families of counts, positive numbers, classes and vectors for tests: point-wise densities, the chain rule once."""

from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import digamma, gammainc, gammaincc, gammainccinv, gammaincinv, gammaln, polygamma

import smoe.experts
from smoe.experts import Expert, Support
from smoe.families import Multinomial
from smoe.fields import Field
from smoe.params import Chart, flatten, unflatten


class Stats(NamedTuple):
    pull: np.ndarray
    bend: np.ndarray
    weight: np.ndarray


class Line(NamedTuple):
    coef: np.ndarray
    intercept: np.ndarray


class SizedLine(NamedTuple):
    coef: np.ndarray
    intercept: np.ndarray
    size: np.ndarray


class LinearExpert(Expert):
    """Linear predictors eta (n_predictors, k, m) and own numbers phi (n_own, k, 1) of a point-wise log density.

    ``jet`` gives its first, and minus its second derivatives by all of these.
    """

    units, exact_m_step = "none", False
    n_predictors, own, Params = 1, (), Line

    @property
    def lower(self):
        return dict.fromkeys(self.own, 0.0)

    @property
    def fields(self):
        several = ("predictor",) if self.n_predictors > 1 else ()
        lines = {"coef": Field(("expert", *several, "feature")), "intercept": Field(("expert", *several))}
        return {**lines, **{name: Field(lower=0.0) for name in self.own}}

    def init_params(self, n_experts, n_features):
        some = () if self.n_predictors == 1 else (self.n_predictors,)
        own = (np.full(n_experts, 3.0) for _ in self.own)
        return self.Params(np.zeros((n_experts, *some, n_features)), np.zeros((n_experts, *some)), *own)

    def predictors(self, Z, params):
        coef, intercept, *own = params
        if coef.ndim == 2:
            coef, intercept = coef[:, None], intercept[:, None]
        eta = np.einsum("kqd,dm->qkm", coef, Z[:-1]) + intercept.T[:, :, None]
        return eta, np.array([np.asarray(field)[:, None] for field in own]).reshape(len(own), len(coef), 1)

    def log_prob(self, rows, params):
        Z, y = rows.Z, rows.y
        return self.point(y, *self.predictors(Z, params))

    def mean(self, rows, params):
        Z = rows.Z
        return np.exp(self.predictors(Z, params)[0][0])

    def mean_scores(self, rows, params):
        Z = rows.Z
        own = np.zeros((len(self.own), Z.shape[1]))
        return np.array([np.concatenate([mu * Z, own]) for mu in self.mean(rows, params)])

    def _rows(self, slopes, Z):
        q, k, m = self.n_predictors, *slopes.shape[1:]
        lines = (slopes[:q].transpose(1, 0, 2)[:, :, None] * Z[:-1]).reshape(k, -1, m)
        return np.concatenate([lines, slopes.transpose(1, 0, 2)], axis=1)

    def row_scores(self, rows, params):
        Z, y = rows.Z, rows.y
        return self._rows(self.jet(y, *self.predictors(Z, params))[0], Z)

    def suffstats(self, rows, params, resp):
        Z, y = rows.Z, rows.y
        slopes, bends = self.jet(y, *self.predictors(Z, params))
        pull = np.einsum("kem,km->ke", self._rows(slopes, Z), resp)
        d = len(Z) - 1
        terms = [(a, j) for a in range(self.n_predictors) for j in range(d)] + [(a, d) for a in range(len(slopes))]
        bend = [[np.einsum("km,km,m,m->k", resp, bends[a, b], Z[i], Z[j]) for b, j in terms] for a, i in terms]
        return Stats(pull, np.transpose(bend, (2, 0, 1)), resp.sum(axis=1))

    def score(self, stats, params):
        return unflatten(stats.pull.ravel(), params)

    def curvature(self, rows, params, resp, stats):
        return stats.bend

    def m_step(self, stats, params):
        """One damped Newton step, in the logarithms of what is bounded."""
        bounds = {n: np.full(np.shape(f), self.lower.get(n, -np.inf)) for n, f in params._asdict().items()}
        lower = flatten(type(params)(**bounds))
        chart = Chart(params, np.ones(len(lower), bool), lower, np.ones(len(lower)))
        slope = chart.slope(params).reshape(len(params[0]), -1)
        out = chart.pack(params).reshape(slope.shape)
        for k in np.flatnonzero(stats.weight > 0):
            value, vector = np.linalg.eigh(stats.bend[k] * np.outer(slope[k], slope[k]))
            step = vector @ (
                (vector.T @ (stats.pull[k] * slope[k])) / np.maximum(np.abs(value), 1e-8 * abs(value).max())
            )
            out[k] += step * min(1.0, 0.3 / max(np.linalg.norm(step), 1e-300))
        moved = chart.unpack(out.ravel())
        empty = stats.weight == 0
        return type(params)(
            *(np.where(empty.reshape(-1, *[1] * (f.ndim - 1)), old, f) for f, old in zip(moved, params, strict=True))
        )

    def unscale(self, params, shift, scale, y_shift, y_scale):
        coef = params.coef / scale
        return params._replace(coef=coef, intercept=params.intercept - coef @ shift)

    def from_elements(self, rows, weight, elements):
        Z, y = rows.Z, rows.y
        params, target = self.init_params(len(elements), len(Z) - 1), self.link(y)
        for k, some in enumerate(elements):
            line = np.linalg.lstsq(Z[:, some].T, target[some], rcond=1e-8)[0]
            at = (k,) if params.coef.ndim == 2 else (k, 0)
            params.coef[at], params.intercept[at] = line[:-1], line[-1]
        return params

    def sample(self, rows, label, params, rng):
        Z = rows.Z
        eta, phi = self.predictors(Z, params)
        return self.draw(eta[:, label, np.arange(len(label))], phi[:, label, 0], rng)


class PoissonExpert(LinearExpert):
    support = Support(0.0, kind="integers")

    def point(self, y, eta, phi):
        return y * eta[0] - np.exp(eta[0]) - gammaln(y + 1)

    def jet(self, y, eta, phi):
        mu = np.exp(eta)
        return y - mu, mu[None]

    def variance(self, rows, params):
        return self.mean(rows, params)

    def law(self, rows, params):
        return stats.poisson(self.mean(rows, params))

    def cdf(self, rows, params, upper=False):
        y = rows.y
        law = self.law(rows, params)
        return law.sf(y) if upper else law.cdf(y)

    def log_cdf(self, rows, params, upper=False):
        y = rows.y
        law = self.law(rows, params)
        return law.logsf(y) if upper else law.logcdf(y)

    def ppf(self, rows, q, params, upper=False):
        law = self.law(rows, params)
        return law.isf(q) if upper else law.ppf(q)

    def link(self, y):
        return np.log(y + 0.5)

    def draw(self, eta, phi, rng):
        return rng.poisson(np.exp(eta[0])).astype(float)


class NegativeBinomialExpert(PoissonExpert):
    """Variance mu + mu**2 / size."""

    own, Params = ("size",), SizedLine

    def point(self, y, eta, phi):
        (eta,), (r,) = eta, phi
        t = np.logaddexp(np.log(r), eta)
        return gammaln(y + r) - gammaln(r) - gammaln(y + 1) + r * (np.log(r) - t) + y * (eta - t)

    def jet(self, y, eta, phi):
        (eta,), (r,) = eta, phi
        mu = np.exp(eta)
        total, u = r + mu, (y - mu) / (r + mu)
        slope = np.array([r * u, digamma(y + r) - digamma(r) + np.log(r / total) - u])
        both = -mu * (y - mu) / total**2
        far = -polygamma(1, y + r) + polygamma(1, r) - mu / (r * total) - u / total
        return slope, np.array([[r * mu * (r + y) / total**2, both], [both, far]])

    def variance(self, rows, params):
        mean = self.mean(rows, params)
        return mean + mean**2 / params.size[:, None]

    def law(self, rows, params):
        size = params.size[:, None]
        return stats.nbinom(size, size / (size + self.mean(rows, params)))

    def draw(self, eta, phi, rng):
        return rng.poisson(rng.gamma(phi[0], np.exp(eta[0]) / phi[0])).astype(float)


class GammaExpert(LinearExpert):
    support, units = Support(0.0), "positive"
    own, Params = ("size",), SizedLine

    def point(self, y, eta, phi):
        (eta,), (a,) = eta, phi
        return a * (np.log(a) - eta) + (a - 1) * np.log(y) - a * y * np.exp(-eta) - gammaln(a)

    def jet(self, y, eta, phi):
        (eta,), (a,) = eta, phi
        u = y * np.exp(-eta)
        slope = np.array([a * (u - 1), np.log(a) + 1 - eta + np.log(y) - u - digamma(a)])
        far = np.broadcast_to(polygamma(1, a) - 1 / a, u.shape)
        return slope, np.array([[a * u, 1 - u], [1 - u, far]])

    def variance(self, rows, params):
        return self.mean(rows, params) ** 2 / params.size[:, None]

    def cdf(self, rows, params, upper=False):
        y = rows.y
        size = params.size[:, None]
        return (gammaincc if upper else gammainc)(size, size * np.maximum(y, 0.0) / self.mean(rows, params))

    def ppf(self, rows, q, params, upper=False):
        size = params.size[:, None]
        return (gammainccinv if upper else gammaincinv)(size, q) * self.mean(rows, params) / size

    def unscale(self, params, shift, scale, y_shift, y_scale):
        params = super().unscale(params, shift, scale, y_shift, y_scale)
        return params._replace(intercept=params.intercept + np.log(y_scale))

    def link(self, y):
        return np.log(y)

    def draw(self, eta, phi, rng):
        return rng.gamma(phi[0], np.exp(eta[0]) / phi[0])


def three_classes():
    """Multinomial experts of three classes."""
    return smoe.experts.LinearExpert(Multinomial(range(3)))


class Plane(NamedTuple):
    """Slopes (k, q, d), intercepts (k, q), covariance matrices (k, q, q)."""

    coef: np.ndarray
    intercept: np.ndarray
    cov: np.ndarray


class VectorNormalExpert(Expert):
    """Normal vectors with linear means: what predictive distributions ask of them."""

    support = Support(kind="vectors")

    def mean(self, rows, params):
        Z = rows.Z
        return params.coef @ Z[:-1] + params.intercept[:, :, None]

    def variance(self, rows, params):
        Z = rows.Z
        return np.repeat(params.cov[..., None], Z.shape[1], axis=-1)

    def normal(self, rows, params):
        return self.mean(rows, params), self.variance(rows, params)

    def log_prob(self, rows, params):
        y = rows.y
        apart = y - self.mean(rows, params)
        return np.array([stats.multivariate_normal(cov=c).logpdf(a.T) for c, a in zip(params.cov, apart, strict=True)])

    def sample(self, rows, label, params, rng):
        row = np.arange(len(label))
        noise = np.linalg.cholesky(params.cov)[label] @ rng.normal(size=(len(label), params.cov.shape[1], 1))
        return (self.mean(rows, params)[label, :, row] + noise[..., 0]).T
