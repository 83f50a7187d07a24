"""Inference where not everything is estimated: gates that separate, singular directions, top-K gates."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import block_diag
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning

import naive
from helpers import assert_close, quietly
from smoe import SoftmaxMoERegressor, TopKMoERegressor
from smoe.datasets import load_ethanol, make_moe
from smoe.experts import EXPERTS, GaussianExpertParams
from smoe.fields import Entry
from smoe.gates import GATES, LinearGateParams, TopKGate
from smoe.gates.top_k_moves import kept_moves
from smoe.inference import bootstrap, covariance
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, flatten, permute, unflatten
from smoe.rows import ArraySource, Blocks, Scaling
from smoe.solvers import Certificate
from smoe.starts import FromParams


class Coordinates(NamedTuple):
    theta: np.ndarray


@pytest.fixture(scope="module")
def moe():
    return make_moe(150, n_features=1, n_experts=2, random_state=3)


@pytest.fixture(scope="module")
def fitted(moe):
    return SoftmaxMoERegressor(2, n_init=6, random_state=0).fit(moe.data, moe.target)


# What is not estimated ------------------------------------------------------------------------------------------------


def test_separated_gates_leave_the_experts():
    X, y = load_ethanol(return_X_y=True)
    settings = {"gate_features": [1], "expert_features": [1], "random_state": 0}
    model = quietly(SoftmaxMoERegressor(2, **settings).fit, X, y)
    assert model.standard_errors_ is None and model.covariance_ is None
    with pytest.warns(ConvergenceWarning, match="not a certified maximum: .*gate separates"):
        found = model.covariance()
    assert "gate separates" in found.reason
    assert np.isnan(flatten(found.standard_errors.gate)).all()
    resp = model.responsibilities(X, y)
    assert np.minimum(resp, 1 - resp).max() < 1e-2
    for k, rows in enumerate((resp > 0.5).T):  # two regressions, each on rows of its own
        one = SoftmaxMoERegressor(1, expert_features=[1], n_init=6, random_state=0).fit(X[rows], y[rows])
        for field in ("coef", "intercept", "variance"):
            own, alone = getattr(found.standard_errors.expert, field)[k], getattr(one.standard_errors_.expert, field)[0]
            np.testing.assert_allclose(own, alone, rtol=2e-2)
    assert "gate separates" in str(model.summary())
    inside = np.isfinite(quietly(model.mean_interval, X)).all(axis=1)
    assert 0 < inside.sum() <= len(y)


def test_singular_directions_are_named(moe):
    fit = SoftmaxMoERegressor(2, n_init=6, random_state=0).fit(moe.data, moe.target)
    (coef, intercept), expert = fit.params_
    twice = [0, 1, 1]  # the second expert as two equal halves
    gate = LinearGateParams(coef[twice], intercept[twice] + np.log([2.0, 1.0, 1.0]))
    params = MoEParams(gate, type(expert)(*(field[twice] for field in expert)))
    blocks = Blocks(fit.fitted_.model, ArraySource(moe.data, moe.target), Scaling.identity([0], [0]))
    names = [
        Entry(side, k, e, (), None, e) for side, es in (("gate", "ab"), ("expert", "abv")) for k in range(3) for e in es
    ]
    found = covariance(fit.fitted_.model, blocks, params, Certificate(False, "singular", False, True), names)
    errors = found.standard_errors
    assert_close(permute(errors.expert, [0]), permute(fit.standard_errors_.expert, [0]), rtol=1e-5)
    assert np.isnan([field[1:] for field in errors.expert[1:]]).all() and np.isnan(errors.gate.coef).all()
    assert "expert 1: a" in found.reason and "expert 2: v" in found.reason and "gate 1: a" in found.reason
    assert "expert 0" not in found.reason
    lost = covariance(fit.fitted_.model, blocks, params, Certificate(False, "not there yet", False), names)
    assert np.isnan(flatten(lost.standard_errors)).all() and "not there yet" in lost.reason


def test_uncertified_fits_have_no_numbers(moe):
    model = quietly(SoftmaxMoERegressor(2, max_iter=1, solver="em", n_init=1).fit, moe.data, moe.target)
    assert not model.converged_
    with pytest.warns(ConvergenceWarning, match="inference after a fit that is not a certified maximum"):
        band = model.mean_interval(moe.data)
    assert np.isnan(band).all()
    with pytest.warns(ConvergenceWarning) as record:
        assert np.isnan(model.wald_test("expert 0: x0").p_value)
    assert any("no Wald test" in str(w.message) for w in record)
    assert "-" in str(model.summary()).split("expert 0")[1]


# Gates that separate some rows ----------------------------------------------------------------------------------------


class Dummy(NamedTuple):
    """Two lines, and a dummy of six rows that all belong to the upper one: x is (n, 2), the dummy comes second."""

    X: np.ndarray
    y: np.ndarray


def rare(n=300, gap=1.0, seed=0):
    rng = np.random.default_rng(seed)
    x, dummy = rng.normal(size=n), (np.arange(n) < 6).astype(float)
    upper = (rng.random(n) < 1 / (1 + np.exp(-0.3 - 1.2 * x))) | (dummy > 0)
    y = np.where(upper, gap + x, -gap - 0.5 * x) + 0.5 * rng.normal(size=n)
    return Dummy(np.column_stack([x, dummy]), y)


def limit_loglik(theta, data):
    """Log-likelihood where the rows of the dummy belong to the upper line; theta is gate, lower line, upper line."""
    x, dummy = data.X.T
    log_f = [norm.logpdf(data.y, a * x + b, np.sqrt(v)) for a, b, v in (theta[2:5], theta[5:8])]
    score = theta[0] * x + theta[1]
    both = np.logaddexp(score + log_f[0], log_f[1]) - np.logaddexp(score, 0.0)
    return np.where(dummy > 0, log_f[1], both).sum()


@pytest.fixture(scope="module")
def separated():
    data = rare()
    return data, quietly(SoftmaxMoERegressor(2, expert_features=[0], n_init=6, random_state=0).fit, *data)


def test_one_dummy_that_separates_takes_its_own_coefficient_only(separated):
    data, model = separated
    words = "gate separates the data along `x1` between experts 0 and 1: that coefficient diverges"
    assert not model.converged_ and model.status_ == words and model.standard_errors_ is None
    with pytest.warns(ConvergenceWarning, match="not a certified maximum: .*along `x1`"):
        found = model.covariance()
    assert found.reason.startswith(words) and "do not determine" not in found.reason
    known = np.array([0, 2, 6, 7, 8, 9, 10, 11])  # not the dummy's coefficient, nor what is pinned
    theta = flatten(model.params_)[known]
    H = -naive.hessian(lambda c: limit_loglik(c.theta, data), Coordinates(theta), step=1e-3)
    V = np.linalg.inv(H)
    np.testing.assert_allclose(found.matrix[np.ix_(known, known)], V, rtol=2e-4, atol=1e-7)
    assert np.isnan(np.delete(flatten(found.standard_errors), known)).all()
    rows = limit_scores(theta, data, 1e-5)
    robust = quietly(model.covariance, "sandwich", *data).matrix[np.ix_(known, known)]
    np.testing.assert_allclose(robust, V @ rows.T @ rows @ V, rtol=1e-3, atol=1e-7)


def limit_scores(theta, data, step):
    """Each row's score by differences, (n, 8)."""
    out = np.zeros((len(data.y), len(theta)))
    for i, own in enumerate(Dummy(data.X[[i]], data.y[[i]]) for i in range(len(data.y))):
        for j, move in enumerate(step * np.eye(len(theta))):
            out[i, j] = (limit_loglik(theta + move, own) - limit_loglik(theta - move, own)) / (2 * step)
    return out


def test_what_inherits_the_errors_of_a_separated_gate(separated):
    data, model = separated
    found = quietly(model.covariance)
    assert np.isfinite(quietly(model.mean_interval, data.X)).all()  # also where the dummy is one: the limit is known
    test = quietly(model.wald_test, "gate 0: x0")
    error = found.standard_errors.gate.coef[0, 0]
    np.testing.assert_allclose(test.statistic, (model.gate_coef_[0, 0] / error) ** 2, rtol=1e-8)
    with pytest.warns(ConvergenceWarning) as record:
        assert np.isnan(model.wald_test("gate 0: x1").p_value)
    assert any("no Wald test: gate separates the data along `x1`" in str(w.message) for w in record)
    slope = quietly(model.delta_method, lambda p: p.gate.coef[0])
    np.testing.assert_allclose(slope.std_err, [error, np.nan], rtol=1e-8)
    told = model.diagnose(*data).problems[0]
    assert "along `x1`" in told and "model.covariance() has the standard errors of all else" in told
    lines = str(model.summary()).split("gate 0")[1].splitlines()
    assert lines[1].split()[2] != "-" and lines[2].split()[2] == "-"
    boot = quietly(bootstrap, model, *data, n_resamples=60, random_state=0)
    spread = boot.standard_errors().expert
    np.testing.assert_allclose(spread.coef, found.standard_errors.expert.coef, rtol=0.35)


def test_directions_that_separate_are_told_apart():
    """Three experts: no row of the first dummy has a choice, those of the second have one between two experts."""
    rng = np.random.default_rng(0)
    n = 600
    x, a, b = rng.normal(size=n), np.zeros(n), np.zeros(n)
    a[:8], b[8:20] = 1.0, 1.0
    label = np.where(rng.random(n) < 1 / (1 + np.exp(-x)), 2, rng.integers(0, 2, n))
    label[:8], label[8:20] = 0, np.tile([1, 2], 6)
    y = np.choose(label, [-6 - x, x, 6 + 0.5 * x]) + 0.5 * rng.normal(size=n)
    frame = pd.DataFrame({"x": x, "a": a, "b": b})
    model = quietly(SoftmaxMoERegressor(3, expert_features=["x"], n_init=6, random_state=0).fit, frame, y)
    assert model.status_ == (
        "gate separates the data along `a` between experts 0, 1 and 2 and along `b` between experts 0 and (1, 2): "
        "those coefficients diverge"
    )
    error = quietly(model.covariance).standard_errors
    np.testing.assert_array_equal(np.isnan(error.gate.coef[:2]), [[False, True, True], [False, True, False]])
    assert np.isfinite(flatten(error.expert)).all() and np.isfinite(error.gate.intercept[:2]).all()
    # six rows of b against six behind two well separated experts: the log odds of one to one, given x
    assert 0.5 < error.gate.coef[1, 2] < 0.8


def test_the_other_coding_of_a_dummy_takes_the_intercept_too():
    data = rare()
    X = np.column_stack([data.X[:, 0], 1.0 - data.X[:, 1]])
    model = quietly(SoftmaxMoERegressor(2, expert_features=[0], n_init=6, random_state=0).fit, X, data.y)
    assert "along `x1` and the intercept between experts 0 and 1: those coefficients" in model.status_
    error, other = quietly(model.covariance), quietly(SoftmaxMoERegressor(2, expert_features=[0]).fit, *data)
    other = quietly(other.covariance).standard_errors
    np.testing.assert_allclose(error.standard_errors.gate.coef[0], [other.gate.coef[0, 0], np.nan], rtol=1e-5)
    assert_close(error.standard_errors.expert, other.expert, rtol=1e-5)
    both = quietly(model.delta_method, lambda p: p.gate.coef[0, 1] + p.gate.intercept[0])
    np.testing.assert_allclose(both.std_err, other.gate.intercept[0], rtol=1e-5)


def test_an_expert_without_a_row_of_the_dummy_has_no_slope_on_it():
    data = rare()
    model = quietly(SoftmaxMoERegressor(2, n_init=6, random_state=0).fit, *data)
    found = quietly(model.covariance)
    np.testing.assert_array_equal(np.isnan(found.standard_errors.expert.coef), [[False, True], [False, False]])
    assert np.isfinite(found.standard_errors.expert.intercept).all()
    assert "do not determine 1 direction(s) which involve expert 0: x1" in found.reason


@pytest.mark.parametrize("slope", [-25.0, -60.0, -1e3, -1e6])
def test_separation_is_seen_however_far_the_gate_has_gone(separated, slope):
    data, model = separated
    coef = model.gate_coef_.copy()
    coef[0, 1] = slope
    start = model.params_._replace(gate=model.params_.gate._replace(coef=coef))
    again = quietly(SoftmaxMoERegressor(2, expert_features=[0], start=start).fit, *data)
    assert again.status_ == model.status_
    own, wanted = (quietly(m.covariance).standard_errors for m in (again, model))
    assert_close(own, wanted, rtol=1e-5)


def test_a_small_probability_that_is_estimated_is_no_separation():
    """Expert 0 takes one row in 200: its gate is poorly known, but known."""
    rng = np.random.default_rng(1)
    n = 1200
    x = rng.normal(size=n)
    lower = (np.arange(n) % 200) == 0
    y = np.where(lower, -8.0, x) + 0.3 * rng.normal(size=n)
    model = SoftmaxMoERegressor(2, gate_features=[], n_init=6, random_state=0).fit(x[:, None], y)
    assert model.converged_
    np.testing.assert_allclose(model.standard_errors_.gate.intercept[0], np.sqrt(1 / 6 + 1 / 1194), rtol=1e-3)


# Top-K gates ----------------------------------------------------------------------------------------------------------


def test_top_1_is_a_regression_in_each_region():
    moe = make_moe(200, gate=TopKGate(1), random_state=1)
    model = TopKMoERegressor(2, top_k=1, n_init=2, random_state=0).fit(moe.data, moe.target)
    assert model.converged_ and "1/n" in model.covariance().reason
    assert np.isnan(flatten(model.standard_errors_.gate)).all()
    label = model.predict_expert(moe.data)
    for k in range(2):
        rows = label == k
        one = SoftmaxMoERegressor(1, n_init=6, random_state=0).fit(moe.data[rows], moe.target[rows])
        for kind in ("observed", "sandwich"):
            own = model.covariance(kind, moe.data, moe.target).standard_errors.expert
            alone = one.covariance(kind, moe.data[rows], moe.target[rows]).standard_errors.expert
            assert_close(permute(own, [k]), alone, rtol=1e-6)
        band = model.mean_interval(moe.data)[rows]
        np.testing.assert_allclose(band, one.mean_interval(moe.data[rows]), rtol=1e-6)


def crossing(params, i, j):
    (coef, intercept) = params
    return -(intercept[i] - intercept[j]) / (coef[i, 0] - coef[j, 0])


def test_moves_that_leave_the_boundaries(rng):
    gate = TopKGate(2)
    params = LinearGateParams(np.array([[-3.0], [0.5], [2.5], [0.0]]), np.array([0.3, 0.8, -0.6, 0.0]))
    X = np.linspace(-2, 2, 4001)[:, None]
    model = MixtureOfExperts(gate, EXPERTS["gaussian"]())
    chosen = np.sort(gate.chosen(np.vstack([X.T, np.ones(4001)]), params)[0], axis=0)
    jumps = [set(a) ^ set(b) for a, b in zip(chosen.T[:-1], chosen.T[1:], strict=True) if set(a) != set(b)]
    basis = kept_moves(gate, params, Blocks.plain(model, X))
    assert basis.shape == (6, 6 - len({tuple(sorted(pair)) for pair in jumps})) and len(jumps) >= 2
    for move in basis.T:
        step = 1e-3 * np.append(move, [0.0, 0.0]).reshape(4, 2)
        moved = LinearGateParams(params.coef + step[:, :1], params.intercept + step[:, 1])
        for i, j in jumps:
            np.testing.assert_allclose(crossing(moved, i, j), crossing(params, i, j), rtol=1e-10)
    assert kept_moves(TopKGate(1), params, Blocks.plain(model, X)).shape == (6, 0)


def test_all_experts_selected_is_the_softmax_gate(moe, fitted):
    model = TopKMoERegressor(2, top_k=2, n_init=6, random_state=0).fit(moe.data, moe.target)
    assert_close(model.standard_errors_, fitted.standard_errors_, rtol=1e-4)


def test_a_penalty_leaves_no_standard_errors():
    moe = make_moe(60, gate=TopKGate(1), random_state=1)
    model = quietly(TopKMoERegressor(2, top_k=1, balance=0.1, n_init=2, random_state=0).fit, moe.data, moe.target)
    found = quietly(model.covariance)
    assert np.isnan(flatten(found.standard_errors)).all() and found.reason


def test_a_gate_that_separates_groups_of_experts():
    """Two clusters of x far apart, two experts in each: as two fits, and the division is not estimated."""
    moe = make_moe(300, n_features=1, n_experts=2, random_state=3)
    X = np.vstack([moe.data, moe.data + 40.0])
    half = SoftmaxMoERegressor(2, n_init=6, random_state=0).fit(moe.data, moe.target)
    y = np.append(moe.target, moe.target + 500.0)
    gate, expert = half.params_
    far = GaussianExpertParams(expert.coef, expert.intercept + 500.0 - 40.0 * expert.coef[:, 0], expert.variance)
    coef = np.vstack([gate.coef - 3.0, gate.coef])
    shift = np.append(gate.intercept + 60.0, gate.intercept - 40.0 * gate.coef[:, 0])
    start = MoEParams(
        LinearGateParams(coef, shift - shift[-1]),
        GaussianExpertParams(*(np.concatenate(pair) for pair in zip(expert, far, strict=True))),
    )
    start = permute(start, [0, 2, 1, 3])
    start = start._replace(gate=GATES["softmax"]().canonical(start.gate))
    model = quietly(SoftmaxMoERegressor(4, start=FromParams(start)).fit, X, y)
    assert "gate separates" in model.status_
    found = quietly(model.covariance)
    for k in range(2):
        both = permute(found.standard_errors.expert, [2 * k, 2 * k + 1])
        np.testing.assert_allclose(both.coef, half.standard_errors_.expert.coef, rtol=1e-3)
        np.testing.assert_allclose(both.variance, half.standard_errors_.expert.variance, rtol=1e-3)
    gate = found.standard_errors.gate
    assert np.isnan([gate.coef[:2, 0], gate.intercept[:2]]).all() and np.isnan(gate.coef[3])
    np.testing.assert_allclose(gate.coef[2], half.standard_errors_.gate.coef[0], rtol=1e-3)
    difference = quietly(model.delta_method, lambda p: p.gate.coef[0, 0] - p.gate.coef[1, 0])
    np.testing.assert_allclose(difference.std_err, half.standard_errors_.gate.coef[0, 0], rtol=1e-3)


def test_top_2_allows_for_the_weights_within_the_supports():
    """Along moves that keep the boundaries the log-likelihood is smooth: its differences give the experts' errors."""
    gate = LinearGateParams(np.array([[-3.0], [0.0], [0.0]]), np.array([0.3, 1.2, 0.0]))
    lines = np.array([[1.0], [-2.0], [1.5]]), np.array([-0.6, 0.0, 0.9]), np.array([0.25, 0.16, 0.36])
    truth = MoEParams(gate, GaussianExpertParams(*lines))
    moe = make_moe(400, params=truth, gate=TopKGate(2), random_state=0)
    model = TopKMoERegressor(3, top_k=2, start=FromParams(truth), n_init=1).fit(moe.data, moe.target)
    base, blocks = flatten(model.params_), Blocks.plain(model.fitted_.model, moe.data, moe.target)
    moves = kept_moves(TopKGate(2), model.params_.gate, blocks)
    assert moves.shape == (4, 3) and model.converged_
    basis = block_diag(np.vstack([moves, np.zeros((2, 3))]), np.eye(9))

    def loglik(coordinates):
        return blocks.sum(model.fitted_.model.loglik, unflatten(base + basis @ coordinates.theta, model.params_))

    V = np.linalg.inv(-naive.hessian(loglik, Coordinates(np.zeros(12)), step=2e-3))
    found = model.standard_errors_
    np.testing.assert_allclose(flatten(found.expert), np.sqrt(np.diag(V))[3:], rtol=1e-4)
    held = covariance_given_the_gate(model, blocks)
    assert np.all(flatten(found.expert) >= held * (1 - 1e-9)) and np.any(flatten(found.expert) > held * 1.001)
    assert np.isnan(flatten(found.gate)).all() and np.isfinite(model.mean_interval(moe.data)).all()
    with pytest.warns(ConvergenceWarning, match="no Wald test: the likelihood jumps"):
        assert np.isnan(model.wald_test("gate 0: x0").statistic)


def covariance_given_the_gate(model, blocks):
    information = blocks.sum(model.fitted_.model.curvature, model.params_).information[6:, 6:]
    return np.sqrt(np.diag(np.linalg.inv(information)))
