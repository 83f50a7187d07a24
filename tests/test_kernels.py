"""The compiled kernels against obvious twins."""

import math
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from numba import njit
from scipy.special import entr
from scipy.stats import norm

import naive
from smoe._kernels import elementary
from smoe._kernels import posterior as kernels
from smoe._kernels.designs import predictors, standard_rows
from smoe._kernels.gaussian import gaussian_log_prob
from smoe._kernels.groups import group_sums
from smoe._kernels.moments import covariance_weights, weighted_grams, weighted_lines
from smoe._kernels.regression import least_squares
from smoe.experts import GaussianExpert, GaussianExpertParams
from smoe.gates import LinearGateParams, SoftmaxGate
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams
from smoe.rows import ArraySource, Blocks, Scaling


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
    Z[-1] = 1.0
    wanted = np.einsum("ci,ai,bi->cab", weights, Z, Z)
    np.testing.assert_allclose(weighted_grams(weights, Z), wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("m", [1, 513, 1200])
@pytest.mark.parametrize("p", [1, 4, 7, 50])  # alone, four at a time, all by BLAS
def test_weighted_lines(m, p, rng):
    resp, parts, Z = rng.uniform(size=(3, m)), rng.normal(size=(2, 3, m)), rng.normal(size=(p, m))
    wanted = np.einsum("ki,aki,pi->akp", resp, parts, Z)
    np.testing.assert_allclose(weighted_lines(resp, parts, Z), wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_covariance_weights(k, rng):
    proba, weight = rng.dirichlet(np.ones(k), 30).T.copy(), rng.uniform(size=30)
    wanted = [-weight * proba[i] * proba[j] for i in range(k) for j in range(i + 1, k)]
    np.testing.assert_allclose(covariance_weights(proba, weight), np.reshape(wanted, (-1, 30)), rtol=1e-14)


@pytest.mark.parametrize("k", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("p", [1, 3])
def test_information_of_a_linear_gate(k, p, rng):
    """Sum over rows of w (diag(pi) - pi pi') x zz'."""
    proba, weight, Z = rng.dirichlet(np.ones(k), 30).T.copy(), rng.uniform(size=30), rng.normal(size=(p, 30))
    wanted = sum(
        w * np.kron(np.diag(pi) - np.outer(pi, pi), np.outer(z, z))
        for pi, w, z in zip(proba.T, weight, Z.T, strict=True)
    )
    found = SoftmaxGate().information(Z, None, proba, weight)
    np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-13)


def test_information_is_assembled_for_those_who_ask(monkeypatch, rng):
    model, X, y = MixtureOfExperts(SoftmaxGate(), GaussianExpert()), rng.normal(size=(30, 1)), rng.normal(size=30)
    blocks, params = Blocks.plain(model, X, y), model.init_params(3, 1, 1)
    with_it = blocks.sum(model.statistics, params)
    monkeypatch.setattr(SoftmaxGate, "assembled", None)
    without = blocks.sum(model.statistics, params, False)
    assert without.gate_information is None and with_it.gate_information.shape == (6, 6)
    assert without.loglik == with_it.loglik


@njit(error_model="numpy")
def log_of(x, out):
    for i in range(len(x)):
        out[i] = elementary.log(x[i])


def test_log_is_accurate():
    x = np.concatenate([np.logspace(-300, 300, 100_001), np.linspace(0.5, 2.0, 100_001), [1.0, 2.0, 0.5]])
    found = np.empty_like(x)
    log_of(x, found)
    np.testing.assert_allclose(found, np.log(x), rtol=5e-16, atol=1e-16)
    log_of(np.array([np.nan, 2.0]), found)
    assert np.isnan(found[0]) and found[1] == np.log(2.0)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_row_that_is_no_number_makes_the_log_likelihood_none(k):
    """One bad row among good ones, with its NaN first among the experts, or last."""
    model, scaling = MixtureOfExperts(SoftmaxGate(), GaussianExpert()), Scaling.identity(np.arange(1), np.arange(1))
    params = model.init_params(k, 1, 1)
    source = ArraySource(np.linspace(-1, 1, 600)[:, None], np.where(np.arange(600) == 70, np.nan, 0.5))
    blocks = Blocks(model, source, scaling)
    assert np.isnan(blocks.sum(model.statistics, params).loglik)
    for bad in {0, k - 1}:
        log_density = np.zeros((k, 3))
        log_density[bad, 1] = np.nan
        loglik = run_posterior(np.zeros((k, 3)), log_density)[2]
        np.testing.assert_array_equal(np.isnan(loglik), [False, True, False])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ["C", "F", "steps"])
@pytest.mark.parametrize("n, d", [(1, 1), (700, 3), (300, 40)])
def test_standard_rows(n, d, order, dtype, rng):
    X = rng.normal(size=(2 * n, 2 * d)).astype(dtype)[::2, ::2] if order == "steps" else rng.normal(size=(n, d))
    X = X if order == "steps" else np.asarray(X, dtype=dtype, order=order)
    columns, shift, scale = rng.permutation(d)[: max(1, d - 1)], rng.normal(size=d), rng.uniform(1, 2, d)
    shift, scale, low = shift[: len(columns)], scale[: len(columns)], n // 3
    found = standard_rows(X, low, n, columns, shift, 1 / scale)
    wanted = np.concatenate([((X[low:, columns] - shift) / scale).T, np.ones((1, n - low))])
    np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("m", [1, 512, 1100])
@pytest.mark.parametrize("k, d", [(1, 0), (2, 1), (3, 2), (5, 4), (2, 7), (3, 30)])
def test_predictors(k, d, m, rng):
    coef, intercept, Z = rng.normal(size=(k, d)), rng.normal(size=k), np.ones((d + 1, m))
    Z[:-1] = rng.normal(size=(d, m))
    wanted = [[math.fsum([*(c * Z[:-1, row]), b]) for row in range(m)] for c, b in zip(coef, intercept, strict=True)]
    np.testing.assert_allclose(predictors(coef, intercept, Z), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rank", ["full", "deficient", "empty"])
def test_least_squares(rank, rng):
    X, y, weight = rng.normal(size=(40, 2)), rng.normal(size=40), rng.uniform(size=40)
    Z = np.vstack([X.T, np.ones(40)])
    if rank == "deficient":
        Z[1] = 2.0 * Z[0]
    weight = weight if rank != "empty" else np.zeros(40)
    moments = (weight * Z) @ Z.T, (weight * Z) @ y, weight @ y**2
    old = rng.normal(size=(1, 2)), rng.normal(size=1), np.array([0.7])
    coef, intercept, variance = least_squares(*(np.array([m]) for m in moments), *old, 1e-8, 1e-12)
    line = np.append(coef[0], intercept[0])
    if rank == "empty":
        np.testing.assert_array_equal([*line, variance[0]], [*old[0][0], old[1][0], 0.7])
        return
    best, _, _, _ = np.linalg.lstsq(Z.T * np.sqrt(weight)[:, None], y * np.sqrt(weight))
    np.testing.assert_allclose(Z.T @ line, Z.T @ best, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(variance[0], weight @ (y - Z.T @ best) ** 2 / weight.sum(), rtol=1e-9)
    if rank == "deficient":  # the direction without data keeps its coefficient
        np.testing.assert_allclose(line @ [2.0, -1.0, 0.0], [2.0, -1.0] @ old[0][0], rtol=1e-9)


def quiet_sum(blocks, visit, params):
    """Compiled kernels never warn, plain Python ones may."""
    with np.errstate(all="ignore"):
        return blocks.sum(visit, params)


@pytest.mark.parametrize("scale", [1.0, 800.0])
def test_a_fused_pass_at_the_edges(scale):
    """Scores of +-800, a density that underflows, a variance on its floor, an expert without rows."""
    gate = LinearGateParams(np.array([[scale], [-scale], [0.0]]), np.array([0.0, 0.0, -2000.0]))
    expert = GaussianExpertParams(np.zeros((3, 1)), np.array([0.0, 1.0, 3.0]), np.array([1e-8, 1.0, 1.0]))
    params = MoEParams(gate, expert)
    X, y = np.array([[1.0], [-1.0], [0.0], [1.0], [0.5]]), np.array([0.0, 1.0, 0.5, 1e6, 1e-4])
    model = MixtureOfExperts(SoftmaxGate(), GaussianExpert())
    blocks = Blocks(model, ArraySource(X, y), Scaling.identity(np.arange(1), np.arange(1)))
    rows, resp = [], []
    for x, response in zip(X, y, strict=True):  # in logs all the way, where probabilities would underflow
        scores = naive.linear_scores(x, gate)
        density = naive.gaussian_log_density(response, x, expert)
        joint = [s - naive.log_sum_exp(scores) + f for s, f in zip(scores, density, strict=True)]
        rows.append(naive.log_sum_exp(joint))
        resp.append(naive.softmax(joint))
    found = quiet_sum(blocks, model.statistics, params)
    np.testing.assert_allclose(found.loglik, math.fsum(rows), rtol=1e-12)
    np.testing.assert_allclose(found.expert.weight, np.sum(resp, axis=0), rtol=1e-12, atol=1e-300)
    curvature = quiet_sum(blocks, model.curvature, params)
    assert np.isfinite(curvature.information).all()
    nowhere = params._replace(expert=expert._replace(variance=np.full(3, 1e-300)))  # every density is zero
    found = quiet_sum(Blocks(model, ArraySource(X[:1], y[3:4]), blocks.scaling), model.statistics, nowhere)
    assert found.loglik == -np.inf
    proba = naive.softmax(naive.linear_scores(X[0], gate))
    np.testing.assert_allclose(found.expert.weight, proba, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("scale", [1.0, 800.0])
def test_a_fused_pass_of_two_experts_at_the_edges(scale):
    """Scores of +-800, a density that underflows, a variance on its floor; row by row, and one row without density."""
    gate = LinearGateParams(np.array([[scale], [0.0]]), np.array([0.3, 0.0]))
    expert = GaussianExpertParams(np.zeros((2, 1)), np.array([0.0, 1.0]), np.array([1e-8, 1.0]))
    model, params = MixtureOfExperts(SoftmaxGate(), GaussianExpert()), MoEParams(gate, expert)
    scaling = Scaling.identity(np.arange(1), np.arange(1))
    for x, response, weight in [(1.0, 0.0, 1.0), (-1.0, 1.0, 2.0), (0.0, 0.5, 1.0), (1.0, 1e6, 3.0), (0.5, 1e-4, 1.0)]:
        blocks = Blocks(model, ArraySource(np.array([[x]]), np.array([response]), np.array([weight])), scaling)
        scores = naive.linear_scores([x], gate)
        joint = [
            s - naive.log_sum_exp(scores) + f
            for s, f in zip(scores, naive.gaussian_log_density(response, [x], expert), strict=True)
        ]
        proba, resp = np.array(naive.softmax(scores)), np.array(naive.softmax(joint))
        found = quiet_sum(blocks, model.statistics, params)
        np.testing.assert_allclose(found.loglik, weight * naive.log_sum_exp(joint), rtol=1e-12)
        np.testing.assert_allclose(found.expert.weight, weight * resp, rtol=1e-12, atol=1e-300)
        np.testing.assert_allclose(found.gate_score.intercept, weight * (resp - proba), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(found.gate_information[1, 1], weight * proba[0] * proba[1], rtol=1e-12, atol=1e-300)
    nowhere = params._replace(expert=expert._replace(variance=np.full(2, 1e-300)))  # every density is zero
    for one_weight in (np.array([2.0, 2.0]), None):
        blocks = Blocks(model, ArraySource(np.array([[0.1], [0.2]]), np.array([1e6, 1e6]), one_weight), scaling)
        found = quiet_sum(blocks, model.statistics, nowhere)
        proba = np.sum([naive.softmax(naive.linear_scores([x], gate)) for x in (0.1, 0.2)], axis=0)
        assert found.loglik == -np.inf
        np.testing.assert_allclose(found.expert.weight, proba * (1.0 if one_weight is None else 2.0), atol=1e-15)
        np.testing.assert_array_equal(found.gate_score.intercept, 0.0)


@pytest.mark.parametrize("k", [2, 3])
def test_large_scores_do_not_swallow_the_densities(k):
    """A gate that separates may have scores beyond 1/eps: rows then have the log density of the expert chosen."""
    gate = LinearGateParams(1e30 * np.arange(k, dtype=float)[:, None], np.zeros(k))
    expert = GaussianExpertParams(np.zeros((k, 1)), np.arange(k, dtype=float), np.linspace(0.5, 1.0, k))
    model, params = MixtureOfExperts(SoftmaxGate(), GaussianExpert()), MoEParams(gate, expert)
    X, y = np.array([[-2.0], [-1.0], [1.0], [3.0]]), np.array([0.3, 0.1, 0.7, 5.0])
    blocks = Blocks(model, ArraySource(X, y), Scaling.identity(np.arange(1), np.arange(1)))
    chosen = np.array([0, 0, k - 1, k - 1])
    wanted = norm.logpdf(y, chosen, np.sqrt(expert.variance[chosen]))
    block = blocks.take(slice(None))
    np.testing.assert_allclose(model.posterior(block, params)[2], wanted, rtol=1e-13)
    np.testing.assert_allclose(model.posterior(block, params)[1], np.eye(k)[chosen].T)
    np.testing.assert_allclose(blocks.sum(model.statistics, params).loglik, wanted.sum(), rtol=1e-13)


@pytest.mark.parametrize("m", [1, 7, 500])
def test_entropies(m, rng):
    proba, weight = rng.dirichlet([0.1, 1.0, 3.0], m).T.copy(), rng.uniform(size=m)
    proba[0, 0] = 0.0
    np.testing.assert_allclose(kernels.entropies(proba, weight), entr(proba) @ weight, rtol=1e-12, atol=1e-14)


def test_the_slopes_of_the_log_ratio_have_all_digits():
    """Against the series where it converges fast, and the closed forms in higher precision elsewhere."""
    j = np.arange(1, 60)
    for u in (0.0, 1e-12, -0.05, 0.0999, 0.1001, -0.3, 0.3):
        terms = (-1.0) ** j / (j + 1.0)
        slope, bend = terms @ (j * u ** (j - 1)), terms[1:] @ (j[1:] * (j[1:] - 1) * u ** (j[1:] - 2))
        np.testing.assert_allclose(elementary.ratio_slopes(np.array([u]))[:, 0], [slope, bend], rtol=2e-13)
    u = np.array([0.7, 50.0, 1e6, -0.99])
    wide = u.astype(np.longdouble)
    slope = (1 / (1 + wide) - np.log1p(wide) / wide) / wide
    bend = -(1 / (1 + wide) ** 2 + 2 * slope) / wide
    np.testing.assert_allclose(elementary.ratio_slopes(u), [slope.astype(float), bend.astype(float)], rtol=1e-14)


def test_group_sums(rng):
    values, first = rng.normal(size=(3, 12)), np.array([0, 1, 5, 11])
    wanted = [[row[a:b].sum() for a, b in zip(first, [*first[1:], 12], strict=True)] for row in values]
    np.testing.assert_allclose(group_sums(values, first), wanted, rtol=1e-14)
    values[1, 3] = -np.inf
    assert group_sums(values, first)[1].tolist().count(-np.inf) == 1


FAULTS = """
import resource
import numpy as np
from smoe._kernels import posterior

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def fill():
    for array in [np.empty(2**17) for _ in range(3)]:
        array.fill(1.0)

fill()
before = pages()
for _ in range(50):
    fill()
print((pages() - before) * resource.getpagesize() / (50 * 3 * 2**20))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators keep what is freed, or never do")
@pytest.mark.parametrize("settings", [{}, {"MALLOC_TRIM_THRESHOLD_": "65536"}], ids=["alone", "as in workers of dask"])
def test_freed_memory_is_kept(settings):
    """Arrays as large as those of a pass do not come from the system page by page, again and again."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env=os.environ | settings, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 0.25
