"""Inference where not everything is estimated: gates that separate, singular directions, top-K gates."""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.linalg import block_diag
from sklearn.exceptions import ConvergenceWarning

import naive
from helpers import assert_close, quietly
from smoe import SoftmaxMoERegressor, TopKMoERegressor
from smoe.blocks import Blocks
from smoe.datasets import load_ethanol, make_moe
from smoe.experts import EXPERTS, GaussianExpertParams
from smoe.fields import Entry
from smoe.gates import GATES, LinearGateParams, TopKGate
from smoe.gates.top_k_moves import kept_moves
from smoe.inference import covariance
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, flatten, permute, unflatten
from smoe.scaling import Scaling
from smoe.solvers import Certificate
from smoe.starts import FromParams


class Coordinates(NamedTuple):
    theta: np.ndarray


@pytest.fixture(scope="module")
def moe():
    return make_moe(150, n_features=1, n_experts=2, random_state=3)


@pytest.fixture(scope="module")
def fitted(moe):
    return SoftmaxMoERegressor(2, random_state=0).fit(moe.data, moe.target)


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
    names = [
        Entry(side, k, e, (), None, e) for side, es in (("gate", "ab"), ("expert", "abv")) for k in range(3) for e in es
    ]
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
    basis = kept_moves(gate, params, Blocks.plain(model, X))
    assert basis.shape == (6, 6 - len({tuple(sorted(pair)) for pair in jumps})) and len(jumps) >= 2
    for move in basis.T:
        step = 1e-3 * np.append(move, [0.0, 0.0]).reshape(4, 2)
        moved = LinearGateParams(params.coef + step[:, :1], params.intercept + step[:, 1])
        for i, j in jumps:
            np.testing.assert_allclose(crossing(moved, i, j), crossing(params, i, j), rtol=1e-10)
    assert kept_moves(TopKGate(1), params, Blocks.plain(model, X)).shape == (6, 0)


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
    base, blocks = flatten(model.params_), Blocks.plain(model._model, moe.data, moe.target)
    moves = kept_moves(TopKGate(2), model.params_.gate, blocks)
    assert moves.shape == (4, 3) and model.converged_
    basis = block_diag(np.vstack([moves, np.zeros((2, 3))]), np.eye(9))

    def loglik(coordinates):
        return blocks.sum(model._model.loglik, unflatten(base + basis @ coordinates.theta, model.params_))

    V = np.linalg.inv(-naive.hessian(loglik, Coordinates(np.zeros(12)), step=2e-3))
    found = model.standard_errors_
    np.testing.assert_allclose(flatten(found.expert), np.sqrt(np.diag(V))[3:], rtol=1e-4)
    held = covariance_given_the_gate(model, blocks)
    assert np.all(flatten(found.expert) >= held * (1 - 1e-9)) and np.any(flatten(found.expert) > held * 1.001)
    assert np.isnan(flatten(found.gate)).all() and np.isfinite(model.mean_interval(moe.data)).all()
    with pytest.warns(ConvergenceWarning, match="no Wald test: top-K"):
        assert np.isnan(model.wald_test("gate 0: x0").statistic)


def covariance_given_the_gate(model, blocks):
    information = blocks.sum(model._model.curvature, model.params_).information[6:, 6:]
    return np.sqrt(np.diag(np.linalg.inv(information)))
