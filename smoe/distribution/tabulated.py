"""Mixtures whose probabilities, or also means and covariance matrices of normals, are numbers, row by row."""

from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

from smoe.distribution.base import ConditionalMixture
from smoe.experts.base import Expert, Support
from smoe.gates.base import Gate
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams
from smoe.rows import ArraySource, Blocks, Scaling

__all__ = ["given_earlier", "normal_log_density", "tabulated"]

_LOG_TAU = np.log(2.0 * np.pi)


def tabulated(scores, means, covariances):
    """Return the mixtures with scores (k, n), means (k, q, n), covariance matrices (k, q, q, n).

    The numbers become the columns of X, so that rows are visited and chosen as ever.
    """
    k, q, n = means.shape
    table = np.concatenate([scores, means.reshape(-1, n), covariances.reshape(-1, n)])
    model = MixtureOfExperts(_TableGate(), _NormalTable() if q == 1 else _NormalVectorTable())
    places = _Places(np.zeros((k, q)))
    return ConditionalMixture(model, MoEParams(places, places), Blocks.plain(model, np.ascontiguousarray(table.T)))


def given_earlier(model, params, blocks):
    """Return the distributions of y given x and the rows of its group that come before; the mixtures if there are none.

    Their scores become columns of X, beside those that experts see.
    """
    if not blocks.source.grouped:
        return ConditionalMixture(model, params, blocks)
    source = blocks.source.single
    scores = blocks.map_rows(model.scores_given_earlier, params)
    k, d = len(scores), source.n_features
    scaling = Scaling.identity(np.arange(d, d + k), blocks.scaling.expert.columns)
    rows = Blocks(model, ArraySource(np.hstack([source.X, scores.T])), scaling, blocks.roles)
    tabulated_gate = model._replace(gate=_TableGate())
    return ConditionalMixture(tabulated_gate, params._replace(gate=_Places(np.zeros((k, 1)))), rows)


def normal_log_density(apart, covariance):
    """Return log densities (n,) of normal vectors that are ``apart`` (n, q) from their means."""
    factor = np.linalg.cholesky(covariance)
    z = np.linalg.solve(factor, apart[..., None])[..., 0]
    spread = np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(axis=-1)
    return -0.5 * (z**2).sum(axis=-1) - spread - 0.5 * apart.shape[-1] * _LOG_TAU


class _Places(NamedTuple):
    """A number of experts and of coordinates, (n_experts, q), as a shape."""

    shape_of: np.ndarray


class _TableGate(Gate):
    """Scores are the first columns."""

    def scores(self, Z, params):
        return np.array(Z[: len(params.shape_of)])


class _NormalVectorTable(Expert):
    """Normal vectors whose means and covariance matrices are the columns after the scores."""

    support = Support(kind="vectors")

    def mean(self, rows, params):
        Z = rows.Z
        k, q = params.shape_of.shape
        return Z[k : k + k * q].reshape(k, q, -1)

    def variance(self, rows, params):
        Z = rows.Z
        k, q = params.shape_of.shape
        return Z[k + k * q : -1].reshape(k, q, q, -1)

    def normal(self, rows, params):
        return self.mean(rows, params), self.variance(rows, params)

    def log_prob(self, rows, params):
        apart = np.moveaxis(rows.y - self.mean(rows, params), 1, -1)
        return normal_log_density(apart, np.moveaxis(self.variance(rows, params), -1, 1))

    def sample(self, rows, label, params, rng):
        own = label, slice(None), np.arange(len(label))
        covariance = self.variance(rows, params)[label, :, :, np.arange(len(label))]
        noise = rng.normal(size=(len(label), covariance.shape[1], 1))
        return self.mean(rows, params)[own].T + (np.linalg.cholesky(covariance) @ noise)[..., 0].T


class _NormalTable(Expert):
    """The same of one coordinate."""

    def _parts(self, rows, params):
        k = len(params.shape_of)
        return rows.Z[k : 2 * k], rows.Z[2 * k : -1]

    def mean(self, rows, params):
        return self._parts(rows, params)[0]

    def variance(self, rows, params):
        return self._parts(rows, params)[1]

    def normal(self, rows, params):
        mean, variance = self._parts(rows, params)
        return mean, np.sqrt(variance)

    def _standard(self, rows, params):
        mean, sd = self.normal(rows, params)
        return (rows.y - mean) / sd

    def log_prob(self, rows, params):
        return -0.5 * (self._standard(rows, params) ** 2 + np.log(self.variance(rows, params)) + _LOG_TAU)

    def cdf(self, rows, params, upper=False):
        z = self._standard(rows, params)
        return ndtr(-z if upper else z)

    def log_cdf(self, rows, params, upper=False):
        z = self._standard(rows, params)
        return log_ndtr(-z if upper else z)

    def ppf(self, rows, q, params, upper=False):
        mean, sd = self.normal(rows, params)
        return mean + (-ndtri(q) if upper else ndtri(q)) * sd

    def sample(self, rows, label, params, rng):
        mean, sd = self.normal(rows, params)
        row = np.arange(len(label))
        return rng.normal(mean[label, row], sd[label, row])
