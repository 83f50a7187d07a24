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
from helpers import INFORMED, Problem, assert_close, assert_derivative, estimable, random_expert, random_gate
from naive import SOFTMAX_GAUSSIAN as twin
from smoe import DenseToSparseMoERegressor, SoftmaxMoERegressor
from smoe.datasets import load_engel, load_faithful, load_mcycle, make_moe
from smoe.experts import EXPERTS
from smoe.gates import GATES, RelaxedTopKGate
from smoe.gates.base import Gate
from smoe.inference.rows import cluster_products, mean_gradient, row_scores, score_products
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, flatten
from smoe.rows import Blocks

KINDS = ("observed", "sandwich", "cluster")


@pytest.fixture(scope="module")
def line():
    rng = np.random.default_rng(0)
    X = rng.normal(3.0, 2.0, (80, 2))
    return X, X @ [1.0, -2.0] + 5 + rng.standard_t(6, 80) * (0.5 + 0.2 * np.abs(X[:, 0]))


@pytest.fixture(scope="module")
def moe():
    return make_moe(150, n_features=1, n_experts=2, random_state=3)


def groups_of(n, n_groups=45):
    return np.random.default_rng(1).permutation(np.arange(n) % n_groups)


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
    block = Blocks.plain(model.fitted_.model, moe.data, moe.target)
    rows = naive.gradient(
        lambda p: block.map(lambda b, q: model.fitted_.model.posterior(b, q)[2], p), model.params_, 1e-4
    )
    found = row_scores(model.fitted_.model, block.take(slice(None)), model.params_)
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
    own = estimable(params, model.fields)
    slopes = naive.gradient(lambda p: model.mean(block, p), params)
    assert_derivative(mean_gradient(model, block, params)[own], slopes[own], tol=1e-8)
    scores = naive.gradient(lambda p: model.posterior(block, p)[2], params, 1e-4)
    assert_derivative(row_scores(model, block, params)[own], scores[own], tol=1e-7)


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


@pytest.fixture(scope="module")
def survey(moe):
    """Rows that stand for thousands of others each."""
    weight = np.random.default_rng(4).uniform(500.0, 9000.0, len(moe.target))
    with pytest.warns(UserWarning, match="on 150 rows, cannot be counts"):
        model = SoftmaxMoERegressor(2, random_state=0).fit(moe.data, moe.target, weight)
    return model, weight


def test_sampling_weights_have_the_sandwich_of_their_squares(moe, survey):
    (model, weight), X, y = survey, moe.data, moe.target
    free = np.isfinite(flatten(model.standard_errors_))
    unit = np.where(free, flatten(model.standard_errors_) * np.sqrt(weight.mean()), 1.0)
    places = [place for place, f in zip(naive.entries(model.params_), free, strict=True) if f]
    H = -naive.hessian(lambda p: twin.loglik(p, X, y, weight), model.params_, step=1e-2, unit=unit[free], places=places)
    scores = naive.gradient(lambda p: twin.row_loglik(p, X, y), model.params_, step=1e-2, unit=unit)[free]
    bread = np.linalg.inv(H)
    wanted = bread @ (scores * weight**2) @ scores.T @ bread
    found = model.covariance("sandwich", X, y, sample_weight=weight, weights="sampling")
    matrix = found.matrix[np.ix_(free, free)]
    scale = np.sqrt(np.diag(wanted))
    np.testing.assert_allclose(matrix / np.outer(scale, scale), wanted / np.outer(scale, scale), rtol=0, atol=2e-5)
    alone = model.covariance("cluster", X, y, groups=np.arange(len(y)), sample_weight=weight)
    assert_close(found.standard_errors, alone.standard_errors, rtol=1e-9)
    frequency = model.covariance("sandwich", X, y, sample_weight=weight).standard_errors.expert.coef
    assert np.all(found.standard_errors.expert.coef > 30 * frequency)
    assert "sampling weights" in str(model.summary(covariance=found)) and "sampling weights" in repr(found)


def test_the_scale_of_sampling_weights_does_not_matter(moe, survey):
    (model, weight), X, y = survey, moe.data, moe.target
    scaled = weight * len(y) / weight.sum()
    other = SoftmaxMoERegressor(2, random_state=0).fit(X, y, scaled)  # without a warning
    kinds = {"sandwich": {}, "cluster": {"groups": groups_of(len(y))}}
    for kind, own in kinds.items():
        own |= {"weights": "sampling", "correction": True}
        one = model.covariance(kind, X, y, sample_weight=weight, **own).standard_errors
        two = other.covariance(kind, X, y, sample_weight=scaled, **own).standard_errors
        assert_close(one, two, rtol=1e-4)
    equal = model.covariance("sandwich", X, y, sample_weight=weight, weights="sampling")
    again = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    plain = [again.covariance("sandwich", X, y, weights=w).standard_errors for w in ("frequency", "sampling")]
    assert_close(*plain)
    assert not np.allclose(equal.standard_errors.expert.coef, plain[0].expert.coef, rtol=1e-3)


def test_which_weights_are_no_numbers_of_rows(line):
    X, y = line
    model, rng = SoftmaxMoERegressor(1), np.random.default_rng(0)
    fractions, whole = rng.uniform(0.5, 1.5, len(y)), rng.integers(1, 100_000, len(y))
    for weight in (None, fractions, 3.7 * fractions, 0.3 * fractions, whole, whole * 1.0, np.full(len(y), 1e-9)):
        assert "cannot be" not in str(model.fit(X, y, weight).summary())
    for weight in (4.3 * fractions, 0.2 * fractions, 1e9 * fractions, whole / 7):
        with pytest.warns(UserWarning, match="sample_weight counts rows, and these weights, which add up to"):
            model.fit(X, y, weight)
        assert "AIC, BIC and observed standard errors" in str(model.summary())


def test_corrections_for_few_groups(line):
    X, y = line
    model, groups = SoftmaxMoERegressor(1).fit(X, y), groups_of(len(y))
    pairs = {"sandwich": ({}, 80), "cluster": ({"groups": groups}, 45)}
    for kind, (own, n) in pairs.items():
        plain, corrected = (model.covariance(kind, X, y, correction=c, **own) for c in (False, True))
        ratio = flatten(corrected.standard_errors.expert) / flatten(plain.standard_errors.expert)
        np.testing.assert_allclose(ratio, np.sqrt(n / (n - 1)), rtol=1e-12)
    assert "45 groups, times G / (G - 1)" in str(model.summary(covariance=corrected))
    weight = np.arange(len(y)) % 3.0
    weighted = SoftmaxMoERegressor(1).fit(X, y, weight)
    for weights, n in (("frequency", weight.sum()), ("sampling", (weight > 0).sum())):
        own = {"sample_weight": weight, "weights": weights}
        plain, corrected = (weighted.covariance("sandwich", X, y, correction=c, **own) for c in (False, True))
        ratio = corrected.standard_errors.expert.coef / plain.standard_errors.expert.coef
        np.testing.assert_allclose(ratio, np.sqrt(n / (n - 1)), rtol=1e-12)


def test_few_groups_are_worth_a_warning(line, moe):
    X, y = line
    model = SoftmaxMoERegressor(1).fit(X, y)
    with pytest.warns(UserWarning, match="39 groups for 4 free parameters: clustered standard errors need some 40"):
        found = model.covariance("cluster", X, y, groups=groups_of(80, 39))
    assert np.isfinite(found.standard_errors.expert.coef).all()
    model.covariance("cluster", X, y, groups=groups_of(80, 40))
    weight = (groups_of(80, 45) < 20) * 1.0
    with pytest.warns(UserWarning, match="20 groups for 4"):  # the others have no row that counts
        kept = SoftmaxMoERegressor(1).fit(X, y, weight)
        assert "20 groups" in kept.covariance("cluster", X, y, groups=groups_of(80, 45), sample_weight=weight).label
    wide = SoftmaxMoERegressor(1).fit(np.random.default_rng(0).normal(size=(80, 43)), y)
    with pytest.warns(UserWarning, match="45 groups for 45 free parameters"):
        X = np.random.default_rng(0).normal(size=(80, 43))
        wide.covariance("cluster", X, y, groups=groups_of(80))


@pytest.mark.parametrize(
    "error, words, kind, settings",
    [
        (ValueError, "weights must be one of 'frequency', 'sampling', got 'survey'", "sandwich", {"weights": "survey"}),
        (ValueError, "kind='observed' takes weights for numbers of rows", "observed", {"weights": "sampling"}),
        (ValueError, "correction is for kind='sandwich' and 'cluster'", "observed", {"correction": True}),
        (TypeError, "correction must be True, False or 'df', got 'G'", "sandwich", {"correction": "G"}),
    ],
)
def test_wrong_weights_and_corrections(line, error, words, kind, settings):
    model = SoftmaxMoERegressor(1).fit(*line)
    with pytest.raises(error, match=words):
        model.covariance(kind, *line, **settings)


def test_mixed_labels_of_groups_are_refused_in_words(line):
    model = SoftmaxMoERegressor(1).fit(*line)
    with pytest.raises(ValueError, match="labels of one kind, none missing: all text or all numbers") as caught:
        model.covariance("cluster", *line, groups=np.array(["a", 1.0] * 40, dtype=object))
    assert "instances of" not in str(caught.value)


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
