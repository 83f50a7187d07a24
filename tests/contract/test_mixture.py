"""One pass of the model, for every gate with every family."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import kstest

import naive
import smoe.fused
import smoe.rows.blocks
from helpers import (
    PAIRS,
    SMOOTH_PAIRS,
    Problem,
    assert_close,
    assert_derivative,
    estimable,
    lower_of,
    perturbed,
    sampled,
)
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, flatten, n_experts_of, permute, unflatten
from smoe.rows import ArraySource, Blocks

pairs = pytest.mark.parametrize("gate, expert", PAIRS)
smooth_pairs = pytest.mark.parametrize("gate, expert", SMOOTH_PAIRS)


@pairs
@pytest.mark.parametrize("k, d", [(1, 1), (2, 1), (4, 2)])
def test_posterior_equals_its_twin(gate, expert, k, d):
    problem = Problem(gate, expert, k=k, d=d, weighted=True)
    params = problem.near_truth()
    proba, resp, loglik = problem.model.posterior(problem.block, params)
    X, y = problem.X, problem.y
    np.testing.assert_allclose(proba.T, problem.twin.proba(params, X), rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(resp.T, problem.twin.resp(params, X, y), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(loglik, problem.twin.row_loglik(params, X, y), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(problem.model.loglik(problem.block, params), problem.loglik(params), rtol=1e-11)
    np.testing.assert_allclose(problem.model.gate_proba(problem.block, params), proba, rtol=1e-15)


@smooth_pairs
def test_score_is_the_derivative_of_the_loglik_and_of_q(gate, expert):
    problem = Problem(gate, expert, weighted=True)
    params, model, X, y = problem.near_truth(), problem.model, problem.X, problem.y
    wanted = problem.twin.score(params, X, y, problem.weight, step=1e-4)
    statistics = model.statistics(problem.block, params)
    np.testing.assert_allclose(statistics.loglik, problem.loglik(params), rtol=1e-11)
    own = estimable(params, model.fields)
    assert_derivative(flatten(model.score(params, statistics, problem.blocks.total_weight))[own], wanted[own], 1e-7)
    if hasattr(model.expert, "row_scores"):
        gradient = model.gradient(problem.block, params)
        np.testing.assert_allclose(gradient.loglik, statistics.loglik, rtol=1e-11)
        assert_derivative(flatten(gradient.score)[own], wanted[own], 1e-7)
    resp = problem.twin.resp(params, X, y)
    expected = naive.gradient(lambda p: problem.twin.q(p, resp, X, y, problem.weight), params, step=1e-4)
    assert_derivative(expected[own], wanted[own], 1e-7)


@smooth_pairs
@pytest.mark.parametrize("k, d", sampled([(2, 1), (3, 2), (1, 1)], 2))
def test_curvature_is_the_second_derivative(gate, expert, k, d):
    if k == 3 and (gate not in ("softmax", "tree", "ordered") or expert not in ("gaussian", "poisson", "multinomial")):
        pytest.skip("naive second derivatives are slow; two experts have all there is")
    if k == 3 and gate != "softmax":
        d = 1
    problem = Problem(gate, expert, n=15, k=k, d=d, weighted=True)
    params = problem.near_truth()
    found = problem.model.curvature(problem.block, params)
    np.testing.assert_allclose(found.loglik, problem.loglik(params), rtol=1e-11)
    score = problem.twin.score(params, problem.X, problem.y, problem.weight, step=1e-4)
    own = estimable(params, problem.model.fields)
    assert_derivative(flatten(found.score)[own], score[own], 1e-7)
    hessian = problem.twin.hessian(params, problem.X, problem.y, problem.weight)
    assert_derivative(
        found.information[np.ix_(own, own)], -hessian[np.ix_(own, own)], 5e-6
    )  # what second differences of logarithms are good for


@pairs
def test_gate_information_is_that_of_the_gate(gate, expert):
    problem = Problem(gate, expert, weighted=True)
    params, model, block = problem.near_truth(), problem.model, problem.block
    assert model.statistics(block, params, gate_information=False).gate_information is None
    if gate in [pair[0] for pair in SMOOTH_PAIRS]:
        proba = problem.twin.proba(params, problem.X).T
        wanted = model.gate.information(block.gate_Z, params.gate, proba, block.weight)
        np.testing.assert_allclose(model.statistics(block, params).gate_information, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [1, 30, 511, 512, 1100])
@pytest.mark.parametrize("k, d", [(1, 1), (2, 1), (2, 3), (3, 1), (3, 2), (5, 0), (4, 7)])
def test_a_fused_pass_is_the_composed_one(n, k, d, weighted, monkeypatch):
    problem = Problem("softmax", "gaussian", n=n, k=k, d=d, weighted=weighted)
    params, model = problem.near_truth(), problem.model
    assert smoe.fused.applies(model, problem.block)
    fused = model.statistics(problem.block, params), model.curvature(problem.block, params)
    first_order = model.statistics(problem.block, params, gate_information=False)
    assert first_order.gate_information is None
    assert_close(first_order._replace(gate_information=fused[0].gate_information), fused[0], rtol=0, atol=0)
    monkeypatch.setattr(smoe.fused, "applies", lambda model, block: False)
    assert_close(fused[0], model.statistics(problem.block, params), rtol=1e-11, atol=1e-10)
    assert_close(fused[1], model.curvature(problem.block, params), rtol=1e-10, atol=1e-9)


@pairs
def test_results_do_not_depend_on_the_number_of_threads(gate, expert, monkeypatch):
    for size in ("_FEWEST", "_SHORT", "_LONG"):
        monkeypatch.setattr(smoe.rows.blocks, size, 64)
    problem = Problem(gate, expert, n=1000, weighted=True)
    params, model = problem.near_truth(), problem.model
    columns = problem.model, ArraySource(problem.X, problem.y, problem.weight), problem.scaling
    one, three = Blocks(*columns), Blocks(*columns).shared_by(3)
    for a, b in zip(flat(one.sum(model.statistics, params)), flat(three.sum(model.statistics, params)), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.map(model.mean, params), three.map(model.mean, params))


def flat(values):
    """The arrays of nested named tuples."""
    return [leaf for part in values for leaf in flat(part)] if isinstance(values, tuple) else [values]


@smooth_pairs
@pytest.mark.parametrize("cached", [True, False])
def test_many_blocks_are_one(gate, expert, cached, monkeypatch):
    problem = Problem(gate, expert, n=50, weighted=True)
    params, model, visits = problem.near_truth(), problem.model, []
    whole = model.statistics(problem.block, params), model.curvature(problem.block, params)
    rows = model.posterior(problem.block, params)[1]
    for size in ("_FEWEST", "_SHORT", "_LONG"):
        monkeypatch.setattr(smoe.rows.blocks, size, 7)
    monkeypatch.setattr(smoe.rows.blocks, "_CACHED", 10**6 if cached else 0)
    blocks = problem.blocks
    assert [s.stop - s.start for s in blocks.slices] == [7] * 7 + [1]
    for _ in range(2):  # the second time from the cache
        assert_close(blocks.sum(model.statistics, params), whole[0], rtol=1e-10, atol=1e-10)
        assert_close(blocks.sum(model.curvature, params), whole[1], rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(
            blocks.map(lambda b, p: model.posterior(b, p)[1], params), rows, rtol=1e-12, atol=1e-300
        )
    blocks.sum(lambda block, p, extra: visits.append(extra) or 0.0, params, "passed on")
    assert visits == ["passed on"] * 8


@pairs
def test_blocks_take_any_rows(gate, expert):
    problem, rows = Problem(gate, expert, weighted=True), np.array([3, 1, 3])
    block, blocks = problem.block, problem.blocks
    taken = blocks.take(rows)
    for name in ("gate_Z", "expert_Z", "y", "weight"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(block, name)[..., rows])
    assert len(blocks) == len(problem.y)
    np.testing.assert_allclose(blocks.total_weight, problem.weight.sum())


@pairs
def test_permuting_leaves_the_loglik(gate, expert):
    problem, order = Problem(gate, expert, k=4), np.array([2, 0, 3, 1])
    params = problem.near_truth()
    moved = permute(params, order)
    moved = moved._replace(gate=problem.model.gate.canonical(moved.gate))
    before, after = (problem.model.posterior(problem.block, p) for p in (params, moved))
    np.testing.assert_allclose(after[2], before[2], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(after[1], before[1][order], rtol=1e-9, atol=1e-13)


@pairs
def test_mean_and_std_are_those_of_the_density(gate, expert):
    problem = of_numbers(Problem(gate, expert, n=3, d=1))
    params, support = problem.near_truth(), problem.model.expert.support
    mean, std = problem.model.mean_and_std(problem.block, params)
    grid, step = np.linspace(-60, 60, 120001), 1e-3
    if support.kind == "integers":
        grid, step = np.arange(100_000.0), 1.0
    elif support.low == 0.0:
        s = np.linspace(-40, 12, 120001)
        grid, step = np.exp(s), np.exp(s) * (s[1] - s[0])
    for row in range(3):
        density = np.exp(row_density(problem, params, row, grid)) * step
        moments = [(density * grid**power).sum() for power in range(3)]
        wanted = [1.0, mean[row], std[row] ** 2 + mean[row] ** 2]
        np.testing.assert_allclose(moments, wanted, rtol=1e-7, atol=1e-7)  # heavy tails go on beyond the grid


def of_numbers(problem):
    """Skip vectors: there is no grid of them."""
    if problem.model.expert.support.kind == "vectors":
        pytest.skip("responses are vectors")
    return problem


def row_density(problem, params, row, y):
    """Log density at one row's x for many y."""
    block = Blocks(problem.model, ArraySource(np.repeat(problem.X[[row]], len(y), axis=0), y), problem.scaling).take(
        slice(None)
    )
    return problem.model.posterior(block, params)[2]


@pairs
def test_sample_follows_the_density(gate, expert):
    problem = of_numbers(Problem(gate, expert, n=400, d=1, spread=2.0))
    params, model = problem.truth, problem.model
    if model.expert.units != "affine":
        pytest.skip("the grid is that of responses anywhere on the line")
    y, label = model.sample(problem.block, params, np.random.default_rng(7))
    mean, std = model.mean_and_std(problem.block, params)
    low, high = (mean + sign * 12 * std for sign in (-1, 1))
    uniform = []
    for row in range(len(y)):
        grid = np.linspace(low[row], min(y[row], high[row]), 4001)
        uniform.append(np.trapezoid(np.exp(row_density(problem, params, row, grid)), grid))
    assert kstest(uniform, "uniform").pvalue > 1e-3
    proba = problem.twin.proba(params, problem.X)
    assert np.all(proba[np.arange(len(y)), label] > 0)
    spread = np.sqrt((proba * (1 - proba)).sum(axis=0))
    assert np.all(np.abs(np.bincount(label, minlength=3) - proba.sum(axis=0)) <= 4 * spread + 1e-9)


@pairs
def test_far_rows_have_no_nan(gate, expert):
    problem = Problem(gate, expert)
    if problem.model.expert.units != "affine":
        pytest.skip("a far y is outside the support")
    problem.y = (problem.y.T + 1e6 * np.where(np.arange(len(problem.y)) % 2, 1.0, -1.0)).T
    params = problem.near_truth()
    proba, resp, loglik = problem.model.posterior(problem.block, params)
    assert np.all(np.isfinite(loglik)) and np.all(np.isfinite(proba))
    np.testing.assert_allclose(resp.sum(axis=0), 1, rtol=1e-14)
    np.testing.assert_allclose(loglik, problem.twin.row_loglik(params, problem.X, problem.y), rtol=1e-10)
    assert np.all(np.isfinite(flatten(problem.model.statistics(problem.block, params).expert)))


def given(scores, log_density):
    """A model whose scores and log densities are given numbers."""
    gate = SimpleNamespace(scores=lambda Z, params: np.array(scores, dtype=float))
    expert = SimpleNamespace(log_prob=lambda rows, params: np.array(log_density, dtype=float))
    block = SimpleNamespace(gate_Z=None, rows=None, summed=lambda values: values)
    with np.errstate(invalid="ignore"):  # compiled kernels never warn, plain Python ones may
        return MixtureOfExperts(gate, expert).posterior(block, MoEParams(None, None))


INF = np.inf


@pytest.mark.parametrize(
    "scores, log_density, resp, loglik",
    [
        ([800, -800], [-1, -2], [1, 0], -1),
        ([-800, 800], [-1, -2], [0, 1], -2),
        ([800, 800], [-1, -1], [0.5, 0.5], -1),
        ([-800, -800], [-1, -1], [0.5, 0.5], -1),
        ([0, 0], [-1e5, -1e5], [0.5, 0.5], -1e5),
        ([0, 0], [-INF, -3], [0, 1], -3 + np.log(0.5)),
        ([np.log(3), 0], [-INF, -INF], [0.75, 0.25], -INF),
        ([-INF, 0], [0, -5], [0, 1], -5),
        ([-INF, 0], [0, -INF], [0, 1], -INF),
        ([800, 0], [-1e6, 0], [0, 1], -800),
        ([1e5, 0], [-1e5, 0], [0.5, 0.5], np.log(2) - 1e5),
    ],
)
def test_edges(scores, log_density, resp, loglik):
    found = given([[s] for s in scores], [[f] for f in log_density])
    np.testing.assert_allclose(found[1][:, 0], resp, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(found[2][0], loglik, rtol=1e-12)
    np.testing.assert_allclose(found[0].sum(), 1, rtol=1e-14)


# Parameters and their charts -----------------------------------------------------------------------------------------


@pairs
def test_flat_order(gate, expert):
    problem = Problem(gate, expert)
    wanted = [naive.value_at(problem.truth, place) for place in naive.entries(problem.truth)]
    np.testing.assert_array_equal(flatten(problem.truth), wanted)
    assert_close(unflatten(flatten(problem.truth), problem.truth), problem.truth, rtol=0, atol=0)
    assert n_experts_of(problem.truth) == 3


@pairs
def test_chart_is_a_roundtrip(gate, expert):
    problem = Problem(gate, expert)
    chart, other = problem.model.chart(problem.truth), problem.near_truth()
    assert chart.n_free == chart.free.sum() == len(chart.pack(other))
    assert_close(chart.unpack(chart.pack(other)), other, rtol=1e-11, atol=1e-12)
    theta = chart.pack(problem.truth) + problem.rng.normal(size=chart.n_free)
    signs = chart.signs(theta)  # of roots: both lead to one value
    wanted = theta if signs is None else theta * signs
    np.testing.assert_allclose(chart.pack(chart.unpack(theta)), wanted, rtol=1e-9, atol=1e-9)
    for name, bound in lower_of(problem.model.expert).items():
        assert np.all(getattr(chart.unpack(theta - 50).expert, name) >= bound)


@smooth_pairs
def test_chart_carries_derivatives(gate, expert):
    problem = Problem(gate, expert, n=25, k=2, d=1, weighted=True)
    model, block, chart = problem.model, problem.block, problem.model.chart(problem.truth)
    at = chart.unpack(chart.pack(problem.near_truth()) + 0.1)
    theta, curvature = chart.pack(at), model.curvature(block, at)
    n, h = len(theta), 1e-4

    def gradient(theta):
        params = chart.unpack(theta)
        return chart.gradient(model.curvature(block, params).score, params)

    unit = h * np.eye(n)
    slope = [
        (model.loglik(block, chart.unpack(theta + u)) - model.loglik(block, chart.unpack(theta - u))) for u in unit
    ]
    assert_derivative(chart.gradient(curvature.score, at), np.array(slope) / (2 * h), 1e-6)
    bend = np.array([gradient(theta + u) - gradient(theta - u) for u in unit]) / (2 * h)
    assert_derivative(chart.hessian(curvature.information, curvature.score, at), -bend, 1e-6)


@pairs
def test_nothing_is_written_into_parameters_or_data(gate, expert):
    problem = Problem(gate, expert, weighted=True)  # its parameters refuse to be written to
    for array in (problem.X, problem.y, problem.weight):
        array.setflags(write=False)
    block = problem.block
    names = "gate_Z", "expert_Z", "y", "weight"
    before = [np.array(getattr(block, name)) for name in names]
    problem.model.statistics(block, problem.truth, gate_information=False)
    problem.model.mean(block, problem.truth)
    perturbed(problem.truth.expert, lower_of(problem.model.expert), problem.rng)
    for name, was in zip(names, before, strict=True):
        np.testing.assert_array_equal(getattr(block, name), was)
