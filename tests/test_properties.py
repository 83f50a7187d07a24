"""Identities that hold for any data: hypothesis draws the data, and shrinks what fails to something small."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import quietly
from smoe import DenseToSparseMoERegressor, MoERegressor, SoftmaxMoERegressor, TopKMoERegressor
from smoe.datasets import make_moe
from smoe.gates import GATES, LinearGateParams, TemperatureGateParams
from smoe.params import MoEParams

often = settings(max_examples=15, deadline=None, derandomize=True, database=None)
for_each_gate = settings(often, max_examples=3)
sizes = st.integers(40, 90)
seeds = st.integers(0, 10**6)
scales = st.floats(-3, 3).map(lambda power: 10.0**power)
shifts = st.floats(-100, 100)


def problem(seed, n, d, k=2):
    """Data with a truth that every expert takes part in: fits begin there, and find one maximum."""
    moe = make_moe(n, n_features=d, n_experts=k, min_share=0.2 / (k - 0.9), random_state=seed)
    return moe.data, moe.target, moe.params


def climbed(kind, params, *data, **settings):
    return quietly(kind(len(params.expert[0]), start=params, random_state=0, **settings).fit, *data)


def same(one, other, offset=0.0):
    """Two log-likelihoods of one maximum; where a gate separates the data, solvers stop on the way up."""
    np.testing.assert_allclose(one.loglik_, other.loglik_ + offset, rtol=1e-7, atol=1e-4)


def equal_weights(n, seed):
    return np.random.default_rng(seed).integers(1, 4, size=n)


@pytest.mark.parametrize("gate", GATES)
@for_each_gate
@given(seed=seeds, n=sizes, d=st.integers(1, 2), weighted=st.booleans())
def test_what_is_reported_is_what_the_rows_say(gate, seed, n, d, weighted):
    X, y, _ = problem(seed, n, d)
    weight = np.random.default_rng(seed).uniform(0.5, 2.0, n) if weighted else None
    model = quietly(MoERegressor(2, gate=gate, n_init=2, max_iter=8, random_state=0).fit, X, y, weight)
    np.testing.assert_allclose(model.loglik(X, y, weight), model.loglik_, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(model.aic(X, y, weight), model.aic_, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(model.gate_proba(X).sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(model.responsibilities(X, y).sum(axis=1), 1.0, rtol=1e-12)


def moved(params, scale, shift, y_scale, y_shift):
    """Parameters for (X * scale + shift, y * y_scale + y_shift), by hand."""
    gate, expert = params
    slope, line = gate.coef / scale, y_scale * expert.coef / scale
    return MoEParams(
        LinearGateParams(slope, gate.intercept - slope.sum(axis=1) * shift),
        type(expert)(
            line, y_scale * expert.intercept + y_shift - line.sum(axis=1) * shift, expert.variance * y_scale**2
        ),
    )


@often
@given(seed=seeds, n=sizes, d=st.integers(1, 2), scale=scales, shift=shifts, y_scale=scales, y_shift=shifts)
def test_units_change_nothing(seed, n, d, scale, shift, y_scale, y_shift):
    X, y, params = problem(seed, n, d)
    one = climbed(SoftmaxMoERegressor, params, X, y)
    units = scale, shift * scale, y_scale, y_shift * y_scale
    other = climbed(SoftmaxMoERegressor, moved(params, *units), X * units[0] + units[1], y * units[2] + units[3])
    same(other, one, -n * np.log(y_scale))
    if one.converged_:
        wanted = moved(one.params_, *units)
        np.testing.assert_allclose(other.expert_coef_, wanted.expert.coef, rtol=1e-4, atol=1e-5 * y_scale / scale)
        np.testing.assert_allclose(other.expert_variance_, wanted.expert.variance, rtol=1e-4)


@often
@given(seed=seeds, n=sizes, d=st.integers(1, 2))
def test_a_weight_is_a_number_of_rows(seed, n, d):
    X, y, params = problem(seed, n, d)
    weight = equal_weights(n, seed)
    weighted = climbed(SoftmaxMoERegressor, params, X, y, weight)
    repeated = climbed(SoftmaxMoERegressor, params, np.repeat(X, weight, axis=0), np.repeat(y, weight))
    same(weighted, repeated)
    np.testing.assert_allclose(weighted.bic_, repeated.bic_, rtol=1e-6, atol=1e-3)


@often
@given(seed=seeds, n=sizes, d=st.integers(1, 2))
def test_the_order_of_rows_and_columns_changes_nothing(seed, n, d):
    X, y, params = problem(seed, n, d)
    order, turned = np.random.default_rng(seed).permutation(n), np.arange(d)[::-1]
    one = climbed(SoftmaxMoERegressor, params, X, y)
    same(climbed(SoftmaxMoERegressor, params, X[order], y[order]), one)
    parts = (part._replace(coef=part.coef[:, turned]) for part in params)
    same(climbed(SoftmaxMoERegressor, MoEParams(*parts), X[:, turned], y), one)


@often
@given(seed=seeds, n=sizes, d=st.integers(1, 2), k=st.integers(2, 3))
def test_gates_that_are_the_softmax(seed, n, d, k):
    X, y, params = problem(seed, n, d, k)
    softmax = climbed(SoftmaxMoERegressor, params, X, y)
    same(climbed(TopKMoERegressor, params, X, y, top_k=k), softmax)
    warm = MoEParams(TemperatureGateParams(*params.gate, np.array(1.0)), params.expert)
    dense = climbed(DenseToSparseMoERegressor, warm, X, y, temperature=1.0)
    same(dense, softmax)
    np.testing.assert_allclose(dense.predict(X), softmax.predict(X), rtol=1e-3, atol=1e-3)


@often
@given(seed=seeds, n=sizes, d=st.integers(1, 3), weighted=st.booleans())
def test_one_expert_is_least_squares(seed, n, d, weighted):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, d)), rng.normal(size=n)
    weight = equal_weights(n, seed) if weighted else np.ones(n)
    model = SoftmaxMoERegressor(1, n_init=1, random_state=0).fit(X, y, weight)
    root, design = np.sqrt(weight), np.column_stack([X, np.ones(n)])
    line = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0]
    variance = weight @ (y - design @ line) ** 2 / weight.sum()
    np.testing.assert_allclose([*model.expert_coef_[0], model.expert_intercept_[0]], line, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(model.expert_variance_, variance, rtol=1e-8)
    assert model.converged_
    np.testing.assert_allclose(model.loglik_, -0.5 * weight.sum() * (np.log(2 * np.pi * variance) + 1), rtol=1e-9)
