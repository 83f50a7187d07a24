"""Gates of routers that choose experts at random or by mass: what they are in the limits, and by enumeration."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

import naive
from helpers import assert_close, assert_derivative, from_python, quietly, random_gate
from smoe import MoERegressor
from smoe._kernels import top_p
from smoe._kernels.top_p import keep_mass
from smoe.datasets import make_moe
from smoe.features import design
from smoe.gates import (
    ConditionalPoissonTopKGate,
    MaskedSoftmaxGate,
    PlackettLuceTopKGate,
    SoftmaxGate,
    TopKGate,
    TopPGate,
)
from smoe.params import flatten

mass_line, mass_loglik, others_breaks = map(from_python, (top_p.mass_line, top_p.mass_loglik, top_p.others_breaks))


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
        (TopPGate(0.0), 3, "p must be a number of at least"),
        (PlackettLuceTopKGate(2), 11, "n_experts=11 is more than 10, .*; use ConditionalPoissonTopKGate"),
    ],
)
def test_settings_that_make_no_sense(gate, n_experts, words):
    with pytest.raises(ValueError, match=words):
        gate.check(n_experts)


@pytest.mark.parametrize("p", [1.0, 0.2, 0.15])
def test_top_p_at_the_ends(five, p):
    params, Z = five
    wanted = SoftmaxGate() if p == 1.0 else TopKGate(1)
    np.testing.assert_array_equal(proba(TopPGate(p), params, Z), proba(wanted, params, Z))


def test_top_p_is_the_smallest_set(five):
    params, Z = five
    for dense, found in zip(proba(SoftmaxGate(), params, Z).T, proba(TopPGate(0.7), params, Z).T, strict=True):
        inside = found > 0
        assert dense[inside].sum() >= 0.7 > dense[inside].sum() - dense[inside].min()
        assert dense[inside].min() > dense[~inside].max(initial=0.0)
        np.testing.assert_allclose(found[inside], dense[inside] / dense[inside].sum(), rtol=1e-12)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.95])
def test_break_points_of_mass(five, p):
    """Between two levels of the score of an expert the set does not change, across each it does."""
    params, Z = five
    scores, k = SoftmaxGate().scores(Z, params), 5
    levels, states = np.empty((12, 100)), np.empty((13, 100), np.int64)
    counts, gate, joint = np.empty(100, np.int64), np.empty((k, 100)), np.empty((k, 100))
    others_breaks(scores, np.zeros((k, 100)), 2, p, levels, states, counts, gate, joint)
    for row in range(100):
        own = levels[: counts[row], row]
        assert np.all(np.diff(own) > 0)
        cuts = np.concatenate([[own[0] - 5.0], own, [own[-1] + 5.0]])
        for low, high, state in zip(cuts[:-1], cuts[1:], states[: len(own) + 1, row], strict=True):
            moved = np.repeat(scores[:, [row]], 2, axis=1)
            moved[2] = [0.999 * low + 0.001 * high, 0.001 * low + 0.999 * high]
            inside = np.isfinite(keep_mass(moved, p))
            assert np.all(inside[2] == (state >= k)) and np.all(inside.sum(axis=0) == state % k + (state >= k))
    assert (counts.max() > 1) == (p > 0.2)


@pytest.mark.parametrize("p", [0.2, 0.6, 0.9])
@pytest.mark.parametrize("i", [0, 4])
def test_the_likelihood_along_a_line_of_mass(five, p, i, rng):
    """What the sweep adds up is the likelihood and its slope at t = 0, and the likelihood far away."""
    params, Z = five
    scores, k, m = SoftmaxGate().scores(Z, params), 5, 100
    log_density, weight, u = rng.normal(size=(k, m)), rng.uniform(0.5, 2.0, m), rng.normal(size=m)
    u[:3] = 0.0
    levels, states = np.empty((12, m)), np.empty((13, m), np.int64)
    counts, gate, joint = np.empty(m, np.int64), np.empty((k, m)), np.empty((k, m))
    at, terms = np.empty((12, m)), np.zeros((3, 12, m))
    others_breaks(scores, log_density, i, p, levels, states, counts, gate, joint)
    c = np.array(mass_line(scores[i], log_density[i], weight, u, levels, states, counts, gate, joint, at, terms))

    def along(t):
        passed = at <= t
        return (c + (np.where(passed, np.sign(u), 0.0) * terms).sum(axis=(1, 2))) @ [1.0, t, t * t]

    def exact(t):
        moved = scores.copy()
        moved[i] += t * u
        return mass_loglik(moved, log_density, weight, p)

    assert along(0.0) == pytest.approx(exact(0.0), rel=1e-12)
    h = 1e-4 if np.abs(at).min() > 2e-4 else 0.5 * np.abs(at).min()
    slopes = [(f(h) - f(-h)) / (2 * h) for f in (along, exact)]
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-6, abs=1e-6)
    last = np.abs(at[np.isfinite(at)]).max() + 1.0
    far = [-last, last]
    assert [along(t) for t in far] == pytest.approx([exact(t) for t in far], rel=1e-9)
    for row in range(3, 13):  # of one row each piece is exact where it is closest to t = 0
        weight = np.eye(m)[row]
        c = np.array(mass_line(scores[i], log_density[i], weight, u, levels, states, counts, gate, joint, at, terms))
        for t in at[np.isfinite(at[:, row]), row]:
            assert along(t + np.sign(t) * 1e-9) == pytest.approx(exact(t + np.sign(t) * 1e-9), abs=1e-6)


def test_relaxed_top_p(five, rng):
    params, Z = five
    gate = TopPGate(0.7)
    np.testing.assert_allclose(proba(gate.relaxed(1e9), params, Z), proba(SoftmaxGate(), params, Z), rtol=1e-6)
    np.testing.assert_allclose(proba(gate.relaxed(1e-9), params, Z), proba(gate, params, Z), atol=1e-9)
    R = rng.normal(size=(5, 100))
    for width in (1.0, 0.1):
        relaxed = gate.relaxed(width)
        wanted = naive.gradient(lambda at, g=relaxed: (R * g.scores(Z, at)).sum(), params)
        assert_derivative(flatten(relaxed.pullback(Z, params, R)), wanted, 1e-7)


MASK = np.array([[True, False, True], [True, True, False], [True, False, True], [True, True, True]])


@pytest.fixture
def masked(rng):
    gate = MaskedSoftmaxGate(MASK)
    params = random_gate(gate, 4, 3, rng)
    return gate, params, design(rng.normal(size=(3, 60)))


def test_a_masked_gate_is_a_softmax_gate_with_zeros(masked, rng):
    gate, params, Z = masked
    estimated = MASK.copy()
    estimated[-1, 0] = False  # the reference of the feature that enters every score
    assert np.array_equal(params.coef != 0, estimated)
    np.testing.assert_allclose(gate.scores(Z, params), SoftmaxGate().scores(Z, params), rtol=1e-12)
    p, weight, R = proba(gate, params, Z), rng.uniform(0.5, 2.0, 60), rng.normal(size=(4, 60))
    for one, other in zip(gate.pullback(Z, params, R)[:2], SoftmaxGate().pullback(Z, params, R), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)
    own = np.arange(28).reshape(4, 7)[:, :4].ravel()
    found, wanted = (g.information(Z, params, p, weight, p[::-1].copy()) for g in (gate, SoftmaxGate()))
    np.testing.assert_allclose(found[np.ix_(own, own)], wanted, atol=1e-10)
    assert not np.delete(found, own, axis=0).any()


def test_masks_leave_free_what_is_identified(masked, rng):
    gate, params, Z = masked
    J = naive.gradient(lambda at: log_softmax(gate.scores(Z, at), axis=0), params).reshape(28, -1)
    free = flatten(gate.free(params)) > 0
    assert np.linalg.matrix_rank(J[free]) == free.sum() == 3 + 2 + 3 + 3
    order, shift, scale = rng.permutation(4), rng.normal(size=3), rng.uniform(0.5, 2.0, 3)
    moved = gate.canonical(gate.permute(params, order))
    np.testing.assert_allclose(proba(gate, moved, Z), proba(gate, params, Z)[order], rtol=1e-12)
    assert_close(gate.canonical(gate.permute(moved, np.argsort(order))), params, atol=1e-12)
    users = gate.unscale(params, shift, scale)
    there = design(Z[:-1] * scale[:, None] + shift[:, None])
    np.testing.assert_allclose(proba(gate, users, there), proba(gate, params, Z), rtol=1e-9)
    assert users.intercept[-1] == 0.0
    swapped = gate.beside(params, 1, 3)
    assert np.array_equal(swapped.allowed[-1] > 0, MASK[1]) and not swapped.coef[~(swapped.allowed > 0)].any()


def test_masked_fits():
    """Kept out of one score a feature restricts nothing; kept out of all it is not there."""
    moe = make_moe(400, n_features=2, n_experts=2, random_state=3)
    X, y = moe.data + [3.0, -7.0], moe.target

    def fit(gate, **settings):
        return MoERegressor(2, gate=gate, n_init=4, random_state=0, **settings).fit(X, y)

    for mask, other in [({0: [1]}, fit("softmax")), ({0: [1], 1: 1}, fit("softmax", gate_features=[1]))]:
        model = fit(MaskedSoftmaxGate(mask))
        assert model.converged_ and model.n_parameters_ == other.n_parameters_
        assert model.loglik_ == pytest.approx(other.loglik_, abs=1e-7)
        slopes = np.diff(model.gate_coef_[:, -other.gate_coef_.shape[1] :], axis=0)
        np.testing.assert_allclose(slopes, np.diff(other.gate_coef_, axis=0), rtol=1e-5)
        errors = [m.standard_errors_.gate.intercept[0] for m in (model, other)]
        assert errors[0] == pytest.approx(errors[1], rel=1e-5)
        assert np.isnan(model.standard_errors_.gate.intercept[1]) or model.standard_errors_.gate.intercept[1] == 0


@pytest.mark.parametrize(
    "mask, error, words",
    [
        (np.ones((2, 3), dtype=bool), ValueError, "mask has shape"),
        (np.ones((3, 2)), TypeError, "mask must be a boolean array"),
        ({3: [0]}, ValueError, "mask names expert 3"),
        ({0: [2]}, ValueError, "mask gives expert 0 the features"),
        ({"0": [0]}, TypeError, "by their numbers"),
    ],
)
def test_masks_that_make_no_sense(mask, error, words):
    gate = MaskedSoftmaxGate(mask)
    with pytest.raises(error, match=words):
        gate.init_params(3, 2)
