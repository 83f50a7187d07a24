"""Gates of routers that choose experts at random or by mass: what they are in the limits, and by enumeration."""

import numpy as np
import pytest
from scipy.special import softmax

import naive
from helpers import quietly, random_gate
from smoe import MoERegressor
from smoe.datasets import make_moe
from smoe.features import design
from smoe.gates import (
    ConditionalPoissonTopKGate,
    PlackettLuceTopKGate,
    SoftmaxGate,
    TopKGate,
)


def proba(gate, params, Z):
    return softmax(gate.scores(Z, params), axis=0)


@pytest.fixture
def five(rng):
    return random_gate(SoftmaxGate(), 5, 2, rng), design(rng.normal(size=(2, 100)))


@pytest.mark.parametrize("top_k", range(1, 6))
def test_routers_in_the_limit(five, top_k):
    params, Z = five
    hard, dense = proba(TopKGate(top_k), params, Z), proba(SoftmaxGate(), params, Z)
    for gate in (ConditionalPoissonTopKGate(top_k, 1e7), PlackettLuceTopKGate(top_k, 1e-9)):
        np.testing.assert_allclose(proba(gate, params, Z), hard, atol=1e-7)
    np.testing.assert_allclose(proba(ConditionalPoissonTopKGate(top_k, 0.0), params, Z), dense, atol=1e-14)
    twice = params._replace(coef=2 * params.coef, intercept=2 * params.intercept)
    for gate in (ConditionalPoissonTopKGate(top_k, 1.0), PlackettLuceTopKGate(top_k, 0.5)):
        wanted = {1: proba(SoftmaxGate(), twice, Z), 5: dense}.get(top_k)
        if wanted is not None:
            np.testing.assert_allclose(proba(gate, params, Z), wanted, atol=1e-13)


@pytest.mark.parametrize("top_k, setting", [(2, 0.3), (3, 4.0), (4, 1.0)])
def test_routers_by_enumeration(five, top_k, setting):
    params, Z = five
    for gate, twin in [
        (ConditionalPoissonTopKGate(top_k, setting), naive.conditional_poisson_scores),
        (PlackettLuceTopKGate(top_k, setting), naive.plackett_luce_scores),
    ]:
        wanted = [twin(x, params, top_k, setting) for x in Z[:-1, :10].T]
        np.testing.assert_allclose(gate.scores(Z[:, :10], params), np.transpose(wanted), rtol=1e-12, atol=1e-12)


def test_two_drawn_of_a_softmax(five):
    """pi_i = sum_j p_i^2 p_j / (p_i + p_j) (1 / (1 - p_i) + 1 / (1 - p_j))."""
    params, Z = five
    p = proba(SoftmaxGate(), params, Z)
    terms = p[:, None] ** 2 * p / (p[:, None] + p) * (1 / (1 - p[:, None]) + 1 / (1 - p))
    wanted = terms.sum(axis=1) - np.einsum("iim->im", terms)
    np.testing.assert_allclose(proba(PlackettLuceTopKGate(2), params, Z), wanted, atol=1e-13)


@pytest.mark.parametrize(
    "gate", [ConditionalPoissonTopKGate(2, 20.0), PlackettLuceTopKGate(3, 0.05), ConditionalPoissonTopKGate(4, 2.0)]
)
@pytest.mark.parametrize("share", [[0.4, 0.3, 0.2, 0.1], [0.9, 0.05, 0.04, 0.01]])
def test_masses_are_as_told(gate, share):
    params = gate.with_log_mass(gate.init_params(4, 1), np.log(share))
    np.testing.assert_allclose(proba(gate, params, design(np.zeros((1, 1))))[:, 0], share, rtol=1e-9)
    np.testing.assert_allclose(gate.log_mass(params), np.log(share), rtol=1e-9)


@pytest.mark.parametrize("gate", ["conditional_poisson", "plackett_luce"])
def test_a_smooth_router_is_fitted(gate):
    moe = make_moe(600, n_experts=3, gate=gate, random_state=1)
    model = quietly(MoERegressor(3, gate=gate, n_init=4, random_state=0).fit, moe.data, moe.target)
    assert model.converged_ and model.loglik_ >= moe.loglik
    assert np.isfinite(model.standard_errors_.gate.coef[:-1]).all() and str(model.summary())
    assert model.n_parameters_ == 4 + 9 and model.diagnose(moe.data, moe.target) is not None


@pytest.mark.parametrize(
    "gate, n_experts, words",
    [
        (ConditionalPoissonTopKGate(4), 3, "top_k=4 is larger"),
        (ConditionalPoissonTopKGate(2, -0.5), 3, "sharpness must be a number of at least 0"),
        (PlackettLuceTopKGate(2, 0.0), 3, "temperature must be a number of at least"),
        (PlackettLuceTopKGate(2), 11, "n_experts=11 is more than 10; use ConditionalPoissonTopKGate"),
    ],
)
def test_settings_that_make_no_sense(gate, n_experts, words):
    with pytest.raises(ValueError, match=words):
        gate.check(n_experts)
