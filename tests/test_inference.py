"""Covariances of three kinds against closed forms, naive derivatives and an independent optimiser."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import log_expit, logsumexp
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning

import naive
from helpers import INFORMED, Problem, assert_close, assert_derivative, quietly, random_expert, random_gate
from naive import SOFTMAX_GAUSSIAN as twin
from smoe import DenseToSparseMoERegressor, SoftmaxMoERegressor, TopKMoERegressor
from smoe.blocks import Blocks
from smoe.datasets import load_engel, load_ethanol, load_faithful, load_mcycle, make_moe
from smoe.experts import EXPERTS, GaussianExpertParams
from smoe.gates import GATES, LinearGateParams, RelaxedTopKGate, TopKGate
from smoe.gates.base import Gate
from smoe.inference import covariance
from smoe.inference.directions import _free_of_jumps
from smoe.inference.rows import cluster_products, mean_gradient, row_scores, score_products
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, flatten, permute
from smoe.scaling import Scaling
from smoe.solvers import Certificate
from smoe.starts import FromParams

KINDS = ("observed", "sandwich", "cluster")


@pytest.fixture(scope="module")
def line():
    rng = np.random.default_rng(0)
    X = rng.normal(3.0, 2.0, (80, 2))
    return X, X @ [1.0, -2.0] + 5 + rng.standard_t(6, 80) * (0.5 + 0.2 * np.abs(X[:, 0]))


@pytest.fixture(scope="module")
def moe():
    return make_moe(150, n_features=1, n_experts=2, random_state=3)


@pytest.fixture(scope="module")
def fitted(moe):
    model = SoftmaxMoERegressor(2, random_state=0).fit(moe.data, moe.target)
    assert model.converged_
    return model


def groups_of(n, n_groups=30):
    return np.random.default_rng(1).integers(n_groups, size=n)


def robust(model, kind, X, y, **more):
    groups = {"groups": groups_of(len(y))} if kind == "cluster" else {}
    return model.covariance(kind, X, y, **groups, **more)


# One expert: closed forms ---------------------------------------------------------------------------------------------


def test_one_expert_is_least_squares(line):
    X, y = line
    model = SoftmaxMoERegressor(1, random_state=0).fit(X, y)
    Z = np.column_stack([X, np.ones(len(y))])
    residual = y - Z @ np.linalg.lstsq(Z, y, rcond=None)[0]
    v, bread = np.mean(residual**2), np.linalg.inv(Z.T @ Z)
    own = slice(3, None)  # the gate comes first
    wanted = np.zeros((4, 4))
    wanted[:3, :3], wanted[3, 3] = v * bread, 2 * v**2 / len(y)
    np.testing.assert_allclose(model.covariance_[own, own], wanted, rtol=1e-9, atol=1e-12)
    assert np.isnan(model.covariance_[:3]).all() and np.isnan(model.covariance_[:, :3]).all()
    root = np.column_stack([(residual[:, None] * Z) @ bread, (residual**2 - v) / len(y)])
    hc0 = model.covariance("sandwich", X, y)
    np.testing.assert_allclose(hc0.matrix[own, own], root.T @ root, rtol=1e-7, atol=1e-12)
    alone = model.covariance("cluster", X, y, groups=[f"row {i}" for i in range(len(y))])
    np.testing.assert_allclose(alone.matrix, hc0.matrix, rtol=1e-12)
    assert hc0.names == alone.names == model.summary().names
    assert hc0.reason == ""


# Against naive derivatives --------------------------------------------------------------------------------------------


def naive_covariances(twin, params, X, y, weight, free, unit):
    """The three kinds from differences of the naive log-likelihood."""
    places = [place for place, f in zip(naive.entries(params), free, strict=True) if f]
    H = -naive.hessian(lambda p: twin.loglik(p, X, y, weight), params, step=1e-2, unit=unit[free], places=places)
    steps = np.where(free, unit, 1.0)
    scores = naive.gradient(lambda p: twin.row_loglik(p, X, y), params, step=1e-2, unit=steps)[free]
    bread = np.linalg.inv(H)
    sums = np.array([np.bincount(groups_of(len(y)), weight * row) for row in scores])
    return {
        "observed": bread,
        "sandwich": bread @ (scores * weight) @ scores.T @ bread,
        "cluster": bread @ sums @ sums.T @ bread,
    }


def test_covariances_are_those_of_naive_derivatives(moe):
    X, y = moe.data[:70], moe.target[:70]
    weight = np.random.default_rng(0).integers(1, 4, len(y)) * 1.0
    model = SoftmaxMoERegressor(2, random_state=0).fit(X, y, weight)
    errors = flatten(model.standard_errors_)
    free = np.isfinite(errors)
    np.testing.assert_array_equal(~free, [False, False, True, True] + 6 * [False])  # the last gate is pinned
    wanted = naive_covariances(twin, model.params_, X, y, weight, free, errors)
    scale = np.outer(errors[free], errors[free])
    for kind in KINDS:
        found = robust(model, kind, X, y, sample_weight=weight)
        np.testing.assert_allclose(found.matrix[np.ix_(free, free)] / scale, wanted[kind] / scale, rtol=0, atol=1e-5)
        np.testing.assert_allclose(flatten(found.standard_errors)[free] ** 2, np.diag(wanted[kind]), rtol=1e-5)
    assert_close(model.covariance("observed", X, y, sample_weight=weight).matrix, model.covariance_, rtol=1e-6)


def test_a_learned_temperature_has_covariances_too():
    gate = GATES["activation_dense_to_sparse"]("tanh")
    truth = make_moe(10, 1, 2, random_state=0).params.expert
    params = MoEParams(
        gate.init_params(2, 1)._replace(coef=np.array([[6.0], [-3.0]]), temperature=np.array(0.4)), truth
    )
    moe = make_moe(600, params=params, gate=gate, random_state=0)
    model = DenseToSparseMoERegressor(2, activation="tanh", random_state=0).fit(moe.data, moe.target)
    errors = flatten(model.standard_errors_)
    free = np.isfinite(errors)
    assert free.sum() == model.n_parameters_ == 10
    block = Blocks.plain(model._model, moe.data, moe.target)
    rows = naive.gradient(lambda p: block.map(lambda b, q: model._model.posterior(b, q)[2], p), model.params_, 1e-4)
    found = row_scores(model._model, block.take(slice(None)), model.params_)
    np.testing.assert_allclose(found[free], rows[free], rtol=1e-6, atol=1e-6 * np.abs(rows).max())
    sandwich = model.covariance("sandwich", moe.data, moe.target).standard_errors
    np.testing.assert_allclose(flatten(sandwich)[free] / errors[free], 1.0, atol=0.5)  # the model is right


@pytest.mark.parametrize("name", INFORMED)
def test_derivatives_row_by_row(name, rng):
    gate, expert = GATES[name](), EXPERTS["gaussian"]()
    params = MoEParams(random_gate(gate, 3, 2, rng), random_expert(expert, 3, 2, rng))
    model, X = MixtureOfExperts(gate, expert), rng.normal(size=(7, 2))
    block = Blocks.plain(model, X, rng.normal(size=7)).take(slice(None))
    R = rng.normal(size=(3, 7))
    rows = gate.row_pullback(block.gate_Z, params.gate, R)
    np.testing.assert_allclose(rows, Gate.row_pullback(gate, block.gate_Z, params.gate, R), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(rows.sum(axis=1), flatten(gate.pullback(block.gate_Z, params.gate, R)), rtol=1e-11)
    slopes = naive.gradient(lambda p: model.mean(block, p), params)
    assert_derivative(mean_gradient(model, block, params), slopes, tol=1e-8)
    scores = naive.gradient(lambda p: model.posterior(block, p)[2], params, 1e-4)
    assert_derivative(row_scores(model, block, params), scores, tol=1e-7)


def test_the_relaxed_gate_has_derivatives_of_its_own(rng):
    gate = RelaxedTopKGate(top_k=2, width=0.7)
    params, Z, R = random_gate(gate, 4, 1, rng), np.vstack([rng.normal(size=5), np.ones(5)]), rng.normal(size=(4, 5))
    rows = gate.row_pullback(Z, params, R)
    np.testing.assert_allclose(rows.sum(axis=1), flatten(gate.pullback(Z, params, R)), rtol=1e-10, atol=1e-12)


def test_sums_do_not_depend_on_the_pieces(monkeypatch):
    problem = Problem("softmax", "gaussian", n=60, weighted=True)
    model, blocks, params = problem.model, problem.blocks, problem.truth
    groups = groups_of(60, 9)
    scores = row_scores(model, problem.block, params) * problem.weight
    whole = score_products(model, blocks, params)
    np.testing.assert_allclose(whole, (scores / problem.weight) @ scores.T, rtol=1e-11)
    sums = np.array([np.bincount(groups, row) for row in scores])
    for numbers in (1, 21 * 4, 21 * 7, 2**20):
        monkeypatch.setattr("smoe.inference.rows._NUMBERS", numbers)
        np.testing.assert_allclose(score_products(model, blocks, params), whole, rtol=1e-11)
        np.testing.assert_allclose(cluster_products(model, blocks, params, groups), sums @ sums.T, rtol=1e-10)


# Against an independent optimiser -------------------------------------------------------------------------------------


class Coordinates(NamedTuple):
    theta: np.ndarray


def in_other_coordinates(theta, x, y, centre, sd):
    """Log-likelihood by gate log odds of expert 1, regression on (x - centre) / sd, and log standard deviations."""
    z = (x - centre) / sd
    odds, (a0, b0, s0), (a1, b1, s1) = theta[0] * z + theta[1], theta[2:5], theta[5:8]
    first = log_expit(-odds) + norm.logpdf(y, a0 * z + b0, np.exp(s0))
    second = log_expit(odds) + norm.logpdf(y, a1 * z + b1, np.exp(s1))
    return logsumexp([first, second], axis=0).sum()


@pytest.mark.parametrize("load", [load_engel, load_faithful, load_mcycle])
def test_standard_errors_agree_with_another_optimiser(load):
    X, y = load(return_X_y=True)
    x, y = X[:, 0], y / y.std()
    model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    centre, sd = x.mean(), x.std()

    def loss(theta):
        return -in_other_coordinates(theta, x, y, centre, sd)

    g, b = model.gate_coef_[0, 0], model.gate_intercept_[0]
    start = [-g * sd, -b - g * centre]
    for a, b, v in zip(model.expert_coef_[:, 0], model.expert_intercept_, model.expert_variance_, strict=True):
        start += [a * sd, b + a * centre, np.log(v) / 2]
    found = minimize(loss, np.array(start) * 1.05, method="BFGS", options={"gtol": 1e-7})
    np.testing.assert_allclose(-found.fun, model.loglik_, rtol=0, atol=1e-5)
    unit = np.repeat([1.0, 0.1], [2, 6])
    V = np.linalg.inv(naive.hessian(lambda t: loss(t.theta), Coordinates(found.x), step=0.02, unit=unit))
    slope, sds = np.eye(8), np.exp(found.x[[4, 7]])
    slope[[0, 2, 5]] /= sd
    slope[[1, 3, 6], [0, 2, 5]] = -centre / sd
    slope[4, 4], slope[7, 7] = 2 * sds**2
    wanted = np.sqrt(np.diag(slope @ V @ slope.T))
    errors = flatten(model.standard_errors_)
    np.testing.assert_allclose(errors[np.isfinite(errors)], wanted, rtol=1e-3)


# Weights, columns, frames ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_weight_two_is_the_row_twice(moe, kind):
    X, y = moe.data, moe.target
    weight = np.random.default_rng(0).integers(0, 3, len(y))
    again, groups = np.repeat(np.arange(len(y)), weight), groups_of(len(y))
    own, other = ({"groups": g} if kind == "cluster" else {} for g in (groups, groups[again]))
    weighted = SoftmaxMoERegressor(2, random_state=0).fit(X, y, weight)
    repeated = SoftmaxMoERegressor(2, random_state=0).fit(X[again], y[again])
    one = weighted.covariance(kind, X, y, sample_weight=weight, **own)
    two = repeated.covariance(kind, X[again], y[again], **other)
    assert_close(one.standard_errors, two.standard_errors, rtol=1e-5)


def test_aliased_columns_change_nothing(line):
    X, y = line
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "sum": X.sum(axis=1)})
    with pytest.warns(ConvergenceWarning, match="linear combinations"):
        model = SoftmaxMoERegressor(2, gate_features=[], random_state=0).fit(frame, y)
    plain = SoftmaxMoERegressor(2, gate_features=[], random_state=0).fit(X, y)
    for kind in KINDS:
        found, wanted = robust(model, kind, frame, y), robust(plain, kind, X, y)
        assert "expert 0: sum, expert 1: sum" in found.reason and not wanted.reason
        assert np.isnan(found.standard_errors.expert.coef[:, 2]).all()
        np.testing.assert_allclose(found.standard_errors.expert.coef[:, :2], wanted.standard_errors.expert.coef, 1e-6)
        assert_close(found.standard_errors.gate, wanted.standard_errors.gate, rtol=1e-6)
    assert found.names[:3] == ["gate 0: intercept", "gate 1: intercept", "expert 0: a"]
    np.testing.assert_allclose(model.mean_interval(frame), plain.mean_interval(X), rtol=1e-7)


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
        one = SoftmaxMoERegressor(1, expert_features=[1], random_state=0).fit(X[rows], y[rows])
        for field in ("coef", "intercept", "variance"):
            own, alone = getattr(found.standard_errors.expert, field)[k], getattr(one.standard_errors_.expert, field)[0]
            np.testing.assert_allclose(own, alone, rtol=2e-2)
    assert "gate separates" in str(model.summary())
    inside = np.isfinite(quietly(model.mean_interval, X)).all(axis=1)
    assert 0 < inside.sum() <= len(y)


def test_singular_directions_are_named(moe):
    fit = SoftmaxMoERegressor(2, random_state=0).fit(moe.data, moe.target)
    (coef, intercept), expert = fit.params_
    twice = [0, 1, 1]  # the second expert as two equal halves
    gate = LinearGateParams(coef[twice], intercept[twice] + np.log([2.0, 1.0, 1.0]))
    params = MoEParams(gate, type(expert)(*(field[twice] for field in expert)))
    blocks = Blocks(fit._model, moe.data, moe.target, None, Scaling.identity([0], [0]))
    names = [f"{side} {k}: {e}" for side, es in (("gate", "ab"), ("expert", "abv")) for k in range(3) for e in es]
    found = covariance(fit._model, blocks, params, Certificate(False, "singular", False, True), names)
    errors = found.standard_errors
    assert_close(permute(errors.expert, [0]), permute(fit.standard_errors_.expert, [0]), rtol=1e-5)
    assert np.isnan([field[1:] for field in errors.expert[1:]]).all() and np.isnan(errors.gate.coef).all()
    assert "expert 1: a" in found.reason and "expert 2: v" in found.reason and "gate 1: a" in found.reason
    assert "expert 0" not in found.reason
    lost = covariance(fit._model, blocks, params, Certificate(False, "not there yet", False), names)
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


# Top-K gates ----------------------------------------------------------------------------------------------------------


def test_top_1_is_a_regression_in_each_region():
    moe = make_moe(200, gate=TopKGate(1), random_state=1)
    model = TopKMoERegressor(2, top_k=1, n_init=2, random_state=0).fit(moe.data, moe.target)
    assert model.converged_ and "1/n" in model.covariance().reason
    assert np.isnan(flatten(model.standard_errors_.gate)).all()
    label = model.predict_expert(moe.data)
    for k in range(2):
        rows = label == k
        one = SoftmaxMoERegressor(1, random_state=0).fit(moe.data[rows], moe.target[rows])
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
    basis = _free_of_jumps(gate, Blocks.plain(model, X), params)
    assert basis.shape == (6, 6 - len({tuple(sorted(pair)) for pair in jumps})) and len(jumps) >= 2
    for move in basis.T:
        step = 1e-3 * np.append(move, [0.0, 0.0]).reshape(4, 2)
        moved = LinearGateParams(params.coef + step[:, :1], params.intercept + step[:, 1])
        for i, j in jumps:
            np.testing.assert_allclose(crossing(moved, i, j), crossing(params, i, j), rtol=1e-10)
    assert _free_of_jumps(TopKGate(1), Blocks.plain(model, X), params).shape == (6, 0)


def test_all_experts_selected_is_the_softmax_gate(moe, fitted):
    model = TopKMoERegressor(2, top_k=2, random_state=0).fit(moe.data, moe.target)
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
    half = SoftmaxMoERegressor(2, random_state=0).fit(moe.data, moe.target)
    y = np.append(moe.target, moe.target + 500.0)
    gate, expert = half.params_
    far = GaussianExpertParams(expert.coef, expert.intercept + 500.0 - 40.0 * expert.coef[:, 0], expert.variance)
    coef = np.vstack([gate.coef - 3.0, gate.coef])
    shift = np.append(gate.intercept + 60.0, gate.intercept - 40.0 * gate.coef[:, 0])
    start = MoEParams(
        LinearGateParams(coef, shift - shift[-1]),
        GaussianExpertParams(*(np.concatenate(pair) for pair in zip(expert, far, strict=True))),
    )
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
