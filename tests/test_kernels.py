"""The compiled kernels against obvious twins."""

import math

import numpy as np
import pytest
from numba import njit
from scipy.stats import norm

import naive
from smoe._kernels import elementary
from smoe._kernels import posterior as kernels
from smoe._kernels.gaussian import gaussian_log_prob
from smoe._kernels.moments import covariance_weights, weighted_grams


@njit(error_model="numpy")  # not cached: it would go stale when the kernel that it calls changes
def exp_of(x, out):
    for i in range(len(x)):
        out[i] = elementary.exp(x[i])


def vector_exp(x):
    out = np.empty(len(x))
    exp_of(np.asarray(x, dtype=float), out)
    return out


def test_exp_is_accurate():
    x = np.concatenate([np.linspace(-708, 0, 200_001), -np.logspace(-300, 2.8, 20_000), [0.0, -0.0]])
    x = np.concatenate([x, np.log(2) * np.arange(-1020.5, 0)])  # where the reduction changes its integer
    np.testing.assert_allclose(vector_exp(x), np.exp(x), rtol=5e-16, atol=0)
    assert vector_exp([0.0])[0] == 1.0


def test_exp_below_the_smallest_normal_number_is_zero():
    x = np.linspace(-745, -708, 1001)
    np.testing.assert_allclose(vector_exp(x), np.exp(x), rtol=0, atol=3.4e-308)
    np.testing.assert_array_equal(vector_exp([-745.2, -1e4, -1e300, -np.inf]), 0.0)


def test_exp_of_nan_is_nan():
    assert np.isnan(vector_exp([-1.0, np.nan])[1])


@pytest.mark.parametrize("m", [1, 255, 256, 257, 1000])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_softmax(m, k, rng):
    scores = rng.normal(0, 10, (k, m))
    scores[-1, ::3] = 700.0
    if k > 1:
        scores[0, ::5] = -np.inf
    proba = np.empty_like(scores)
    kernels.softmax(scores, proba)
    wanted = [naive.softmax(column) for column in scores.T.tolist()]
    np.testing.assert_allclose(proba, np.transpose(wanted), rtol=1e-14, atol=1e-300)


def run_posterior(scores, log_density):
    proba, resp = np.empty_like(scores), np.empty_like(scores)
    loglik = np.empty(scores.shape[1])
    kernels.posterior(scores, log_density, proba, resp, loglik)
    return proba, resp, loglik


@pytest.mark.parametrize("m", [1, 255, 256, 257, 1000])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_posterior(m, k, rng):
    scores, log_density = rng.normal(0, 5, (k, m)), rng.normal(-50, 30, (k, m))
    before = scores.copy(), log_density.copy()
    proba, resp, loglik = run_posterior(scores, log_density)
    for row in range(m):
        p = naive.softmax(scores[:, row].tolist())
        joint = [math.log(a) + b for a, b in zip(p, log_density[:, row], strict=True)]
        np.testing.assert_allclose(proba[:, row], p, rtol=1e-13, atol=1e-300)
        np.testing.assert_allclose(resp[:, row], naive.softmax(joint), rtol=1e-12, atol=1e-300)
        np.testing.assert_allclose(loglik[row], naive.log_sum_exp(joint), rtol=1e-13)
    np.testing.assert_array_equal(scores, before[0])
    np.testing.assert_array_equal(log_density, before[1])


def test_posterior_without_any_density_keeps_the_gate(rng):
    scores, log_density = rng.normal(size=(3, 300)), np.full((3, 300), -np.inf)
    log_density[:, 150:] = 0.0
    proba, resp, loglik = run_posterior(scores, log_density)
    np.testing.assert_allclose(resp, proba, rtol=1e-14)
    np.testing.assert_array_equal(loglik[:150], -np.inf)
    np.testing.assert_allclose(loglik[150:], 0, atol=1e-14)


def test_gaussian_log_prob(rng):
    mean, y, variance = rng.normal(0, 3, (3, 50)), rng.normal(0, 3, 50), np.array([1e-8, 1.0, 1e8])
    wanted = norm.logpdf(y, mean, np.sqrt(variance)[:, None])
    np.testing.assert_allclose(gaussian_log_prob(mean.copy(), y, variance), wanted, rtol=1e-12)


@pytest.mark.parametrize("m", [0, 1, 511, 512, 513, 1500])
@pytest.mark.parametrize("p", [1, 2, 5])
def test_weighted_grams(m, p, rng):
    weights, Z = rng.normal(size=(3, m)), rng.normal(size=(p, m))
    wanted = np.einsum("ci,ai,bi->cab", weights, Z, Z)
    np.testing.assert_allclose(weighted_grams(weights, Z), wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_covariance_weights(k, rng):
    proba, weight = rng.dirichlet(np.ones(k), 30).T.copy(), rng.uniform(size=30)
    wanted = [-weight * proba[i] * proba[j] for i in range(k) for j in range(i + 1, k)]
    np.testing.assert_allclose(covariance_weights(proba, weight), np.reshape(wanted, (-1, 30)), rtol=1e-14)
