"""Gates with curved borders, centres, saturating scores, levels: the gates that they are equal to, and in the limit."""

import numpy as np
import pytest
from scipy.special import expit, log_softmax
from scipy.stats import multivariate_normal
from sklearn.preprocessing import PolynomialFeatures

from contract import test_gates as battery
from helpers import Problem, assert_close, quietly, random_gate, sampled
from smoe import MoERegressor, SoftmaxMoERegressor
from smoe.datasets import load_engel, load_ethanol, load_faithful, make_moe
from smoe.features import design
from smoe.gates import (
    GATES,
    AdjacentGate,
    AdjacentGateParams,
    GaussianGate,
    LaplaceGate,
    LinearGateParams,
    NormalisedSigmoidGate,
    OrderedGate,
    OrderedGateParams,
    SoftmaxGate,
)
from smoe.places import moves
from smoe.pool import duplicated
from smoe.starts import FromParams

KINDS = ("full", "diag", "spherical", "tied")
PROMISES = [
    battery.test_pullback_is_the_derivative,
    battery.test_pullback_takes_leading_axes,
    battery.test_information_is_the_variance_of_the_scores,
    battery.test_canonical_keeps_probabilities,
    battery.test_canonical_params_differ_in_free_entries_only,
    battery.test_free_pins_exactly_what_the_density_does_not_need,
    battery.test_unscale_keeps_probabilities,
]


@pytest.mark.parametrize("test", PROMISES)
@pytest.mark.parametrize("kind", KINDS[1:])
def test_every_covariance_keeps_the_contract(kind, test, monkeypatch, rng):
    monkeypatch.setitem(GATES, kind, lambda: GaussianGate(kind))
    sizes = [3, 2] if "leading" not in test.__name__ else []
    test(kind, *sizes, rng)


def log_proba(gate, params, Z):
    return log_softmax(gate.scores(Z, params), axis=0)


@pytest.mark.parametrize("kind", KINDS)
def test_gaussians_give_the_same_probabilities(kind, rng):
    gate, X = GaussianGate(kind), rng.normal(size=(2, 30))
    params = random_gate(gate, 3, 2, rng)
    weights, centres, covariances = gate.gaussians(params)
    laws = [multivariate_normal(c, S) for c, S in zip(centres, covariances, strict=True)]
    wanted = np.log(weights)[:, None] + [law.logpdf(X.T) for law in laws]
    np.testing.assert_allclose(log_proba(gate, params, design(X)), log_softmax(wanted, axis=0), rtol=1e-8, atol=1e-9)


@pytest.fixture(scope="module")
def island():
    """Two features, one of them nearly a copy of the other, and rows whose expert has a place in the middle."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    X[:, 1] = X[:, 0] + 0.3 * X[:, 1]
    inside = rng.random(400) < 1 / (1 + np.exp(4 * (X**2).sum(axis=1) - 3))
    return X, np.where(inside, 3 + X[:, 0], -X[:, 1]) + 0.3 * rng.normal(size=400)


@pytest.mark.parametrize("kind, degree", [("full", 2), ("tied", 1)])
def test_a_gaussian_gate_is_a_softmax_gate_on_products(island, kind, degree):
    X, y = island
    model = MoERegressor(2, gate=GaussianGate(kind), random_state=0).fit(X, y)
    terms = PolynomialFeatures(degree, include_bias=False).fit_transform(X)
    softmax = SoftmaxMoERegressor(2, expert_features=[0, 1], random_state=0).fit(terms, y)
    assert model.converged_ and softmax.converged_
    assert model.loglik_ == pytest.approx(softmax.loglik_, abs=1e-6) and model.n_parameters_ == softmax.n_parameters_
    found = [model.gate_coef_[0]]
    if kind == "full":
        found.append(model.gate_curvature_[0][np.triu_indices(2)])
        assert np.isfinite(model.standard_errors_.gate.curvature[0][np.triu_indices(2)]).all()
    np.testing.assert_allclose(np.concatenate(found), softmax.gate_coef_[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "gate",
    sampled(
        [GaussianGate("full"), "tree", "adjacent", LaplaceGate(), GaussianGate("spherical"), "sigmoid", "ordered"], 3
    ),
)
def test_fits_do_not_depend_on_units(island, gate):
    X, y = island
    first = quietly(MoERegressor(2, gate=gate, n_init=3, random_state=0).fit, X, y)
    A, shift = np.diag([10.0, 0.2]), np.array([3.0, -50.0])
    there = quietly(MoERegressor(2, gate=gate, n_init=3, random_state=0).fit, X @ A + shift, y)
    assert there.converged_ == first.converged_  # where there is no maximum, fits end on the way
    assert there.loglik_ == pytest.approx(first.loglik_, abs=1e-5 if first.converged_ else 1e-3)
    np.testing.assert_allclose(there.gate_proba(X @ A + shift), first.gate_proba(X), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("load", sampled([load_faithful, load_engel, load_ethanol]))
def test_maxima_are_nested(load):
    X, y = load(return_X_y=True)
    constant = quietly(SoftmaxMoERegressor(2, gate_features=[], random_state=0).fit, X, y)
    logliks = [constant.loglik_]
    for gate in (GaussianGate("tied"), GaussianGate("diag"), GaussianGate("full")):
        logliks.append(quietly(MoERegressor(2, gate=gate, random_state=0).fit, X, y).loglik_)
    assert np.all(np.diff(logliks) > -1e-4)


@pytest.mark.parametrize("outer, inner", [("full", "diag"), ("diag", "spherical"), ("spherical", None)])
def test_gates_contain_the_one_inside(outer, inner, rng):
    gate, X = GaussianGate(outer), rng.normal(size=(2, 30))
    inside = gate.inside(2) or SoftmaxGate()
    assert getattr(inside, "covariance", None) == inner and gate.inside(1) is None
    params = random_gate(inside, 3, 2, rng)
    if inner == "spherical":
        params = params._replace(metric=np.array([[0.5, 2.0]]))
    found = log_proba(gate, gate.of_inside(params), design(X))
    np.testing.assert_allclose(found, log_proba(inside, params, design(X)), rtol=1e-12, atol=1e-13)


def test_a_larger_gate_ends_no_lower_than_the_one_inside():
    X, y = load_engel(return_X_y=True)
    softmax = quietly(SoftmaxMoERegressor(3, random_state=0).fit, X, y)
    model = quietly(MoERegressor(3, gate=GaussianGate("spherical"), random_state=0).fit, X, y)
    assert model.loglik_ > softmax.loglik_ - 0.01
    assert any(record.start == "Inside" for record in model.starts_)


def test_small_sigmoids_are_a_softmax_gate(rng):
    params, Z = random_gate(SoftmaxGate(), 3, 2, rng), design(rng.normal(size=(2, 30)))
    small = params._replace(intercept=params.intercept - 20.0)
    found = log_proba(NormalisedSigmoidGate(), small, Z)
    np.testing.assert_allclose(found, log_proba(SoftmaxGate(), params, Z), atol=1e-6)


def test_limits_are_named():
    sigmoid = random_gate(NormalisedSigmoidGate(), 2, 1, np.random.default_rng(0))
    vanishing = sigmoid._replace(intercept=np.array([-12.0, -11.0]))
    laplace = LaplaceGate().init_params(2, 1)
    running = laplace._replace(centre=np.array([[-80.0], [1.0]]))
    assert "softmax gate" in NormalisedSigmoidGate().diagnosis(vanishing)
    assert "centres run off" in LaplaceGate().diagnosis(running)
    assert not NormalisedSigmoidGate().diagnosis(sigmoid) and not LaplaceGate().diagnosis(laplace)
    ordered = OrderedGateParams(np.ones(4), np.array([3.0, 1.0, 0.0, 2.0]), np.array([[2.0]]), np.array(0.0))
    assert not OrderedGate().diagnosis(ordered) and not OrderedGate().diagnosis(OrderedGate().init_params(1, 1))
    for gap, words in [(1e-6, "expert 3 vanishes"), (100.0, "expert 3 grows")]:
        assert words in OrderedGate().diagnosis(ordered._replace(gap=np.array([1.0, 1.0, 1.0, gap])))


def test_sigmoids_that_vanish_are_not_certified():
    """Data from a softmax gate: the level of the sigmoids has no maximum, and their limit is the softmax gate."""
    moe = make_moe(400, random_state=4)
    softmax = SoftmaxMoERegressor(2, random_state=0).fit(moe.data, moe.target)
    begin = softmax.params_._replace(gate=LinearGateParams(softmax.gate_coef_, softmax.gate_intercept_ - 12.0))
    model = quietly(MoERegressor(2, gate="sigmoid", start=FromParams(begin)).fit, moe.data, moe.target)
    assert model.loglik_ == pytest.approx(softmax.loglik_, abs=1e-4)
    assert not model.converged_ and "softmax gate" in model.status_


def test_adjacent_logits_are_a_softmax_gate(rng):
    gate, Z = AdjacentGate(), design(rng.normal(size=(2, 30)))
    params = random_gate(gate, 4, 2, rng)._replace(place=np.array([1.0, 0.0, 3.0, 2.0]))
    wanted = SoftmaxGate().scores(Z, gate.softmax(params))
    np.testing.assert_allclose(gate.scores(Z, params), wanted, rtol=1e-12, atol=1e-12)
    odds = np.diff(gate.scores(Z, params)[[1, 0, 3, 2]], axis=0)  # of each place against the one below
    np.testing.assert_allclose(np.diff(odds, axis=1)[1:], np.diff(odds, axis=1)[:1].repeat(2, axis=0), atol=1e-12)


def test_ranks_close_where_an_expert_is_left_out(rng):
    gate, Z = AdjacentGate(), design(rng.normal(size=(1, 30)))
    params = AdjacentGateParams(np.array([0.5, 1.0, -1.0, 0.0]), np.array([2.0, 0.0, 1.0, 3.0]), np.array([[2.0]]))
    left = gate.permute(params, [0, 1, 3])
    np.testing.assert_array_equal(left.place, [1.0, 0.0, 2.0])
    np.testing.assert_allclose(left.coef, [[3.0]])  # the outer experts are as far apart as they were
    double = gate.duplicate(params, 1)
    wanted, found = (np.exp(log_proba(gate, p, Z)) for p in (params, double))
    np.testing.assert_allclose(found[[1, 4]].sum(axis=0), wanted[1], rtol=1e-12)
    assert sorted(gate.apart(double, 1, rng).place) == sorted(gate.beside(params, 0, 1).place.tolist() + [4.0])
    turned = gate.canonical(params._replace(place=3.0 - params.place, coef=-params.coef))
    assert_close(turned, gate.canonical(params), rtol=1e-12)


def test_moves_reach_every_order(rng):
    for k in (2, 3, 4):
        assert all(sorted(order) == list(range(k)) for order in moves(k, rng))
    reached = {tuple(order) for order in moves(4, rng)}
    assert len(reached) == 6 + 6 and (1, 0, 2, 3) in reached and (1, 2, 3, 0) in reached
    assert len(moves(12, rng)) == 40


def test_experts_find_their_places():
    """Steps do not move them: from the truth's experts in another order a fit ends far below."""
    gate, truth = OrderedGate(), make_moe(3000, n_features=1, n_experts=4, gate=OrderedGate(), random_state=2)
    wrong = gate.flat(gate.permute(truth.params.gate, [0, 1, 3, 2]), np.full(4, 0.25))
    begin = FromParams(truth.params._replace(gate=gate.canonical(wrong)))
    assert quietly(MoERegressor(4, gate=gate, start=begin).fit, truth.data, truth.target).loglik_ < truth.loglik - 10
    model = MoERegressor(4, gate=gate, random_state=0).fit(truth.data, truth.target)
    assert model.converged_ and model.loglik_ > truth.loglik
    assert any(record.start.startswith("Places") for record in model.starts_)


@pytest.mark.parametrize("load", [load_engel, load_faithful])
@pytest.mark.parametrize("gate", ["ordered", "adjacent"])
def test_two_levels_are_a_softmax_gate(load, gate):
    X, y = load(return_X_y=True)
    model = MoERegressor(2, gate=gate, n_init=3, random_state=0).fit(X, y)
    softmax = SoftmaxMoERegressor(2, n_init=3, random_state=0).fit(X, y)
    assert model.converged_ and model.n_parameters_ == softmax.n_parameters_
    assert model.loglik_ == pytest.approx(softmax.loglik_, abs=1e-8)
    np.testing.assert_allclose(model.gate_coef_, -softmax.gate_coef_[:1], rtol=1e-5)
    if gate == "ordered":  # intercepts of adjacent places are the softmax gate's own
        np.testing.assert_allclose(model.gate_intercept_, -softmax.gate_intercept_[0], rtol=1e-5)
    else:
        np.testing.assert_allclose(model.gate_intercept_, softmax.gate_intercept_, rtol=1e-5)
    errors, wanted = (m.standard_errors_.gate.coef[0] for m in (model, softmax))
    np.testing.assert_allclose(errors, wanted, rtol=1e-5)


def test_levels_from_the_other_end_are_the_same(rng):
    gate, Z = OrderedGate(), design(rng.normal(size=(2, 30)))
    params = random_gate(gate, 4, 2, rng)
    params = params._replace(place=np.array([1.0, 0.0, 3.0, 2.0]))
    turned = gate.with_thresholds(
        params._replace(coef=-params.coef, place=3.0 - params.place), -gate.thresholds(params)[::-1]
    )
    np.testing.assert_allclose(log_proba(gate, turned, Z), log_proba(gate, params, Z), rtol=1e-10)
    assert_close(gate.canonical(turned), gate.canonical(params), rtol=1e-12)


def test_thin_intervals_far_away_are_exact():
    """pi is F(1 - F) gap for a thin interval: here e^-600 or less."""
    params = OrderedGateParams(np.array([1.0, 1e-12, 1.0]), np.arange(3.0), np.array([[1.0]]), np.array(0.0))
    found = OrderedGate().scores(design(np.array([[-600.0, 600.0]])), params)[1]
    np.testing.assert_allclose(found, np.log(1e-12) - 600.0, rtol=1e-14)


@pytest.mark.parametrize("expert", range(3))
def test_copies_divide_an_interval(expert, rng):
    problem = Problem("ordered", "gaussian", k=3, d=2)
    truth, wanted = problem.truth, problem.model.loglik(problem.block, problem.truth)
    more = duplicated(problem.model, duplicated(problem.model, truth, expert), expert)
    np.testing.assert_allclose(problem.model.loglik(problem.block, more), wanted, rtol=1e-12)
    at_once = problem.model.gate.permute(truth.gate, [0, 1, 2, expert, expert])
    proba = np.exp(problem.model.gate.scores(problem.block.gate_Z, at_once))
    before = np.exp(problem.model.gate.scores(problem.block.gate_Z, truth.gate))
    np.testing.assert_allclose(proba[[expert, 3, 4]].sum(axis=0), before[expert], rtol=1e-12)
    gaps = np.diff(problem.model.gate.thresholds(at_once))
    assert np.all(gaps > 0)


def test_a_lost_interval_goes_to_its_neighbours():
    gate = OrderedGate()
    params = OrderedGateParams(np.array([2.0, 1.0, 1.0]), np.array([1.0, 2.0, 0.0]), np.ones((1, 1)), np.array(0.5))
    np.testing.assert_allclose(gate.thresholds(params), [-0.5, 1.5])
    x = np.linspace(-3.0, 3.0, 9)
    for lost, upper, threshold in [(0, 0, 0.5), (1, 0, -0.5), (2, 1, 1.5)]:
        left = gate.permute(params, [i for i in range(3) if i != lost])
        found = np.exp(gate.scores(design(x[None]), left))[upper]
        np.testing.assert_allclose(found, expit(x - threshold), rtol=1e-12)


def test_equal_centres_are_a_constant_gate(rng):
    gate, Z = LaplaceGate(), design(rng.normal(size=(2, 30)))
    params = random_gate(gate, 3, 2, rng)
    params = params._replace(centre=np.tile(params.centre[0], (3, 1)))
    wanted = log_softmax(params.intercept)[:, None] * np.ones(30)
    np.testing.assert_allclose(log_proba(gate, params, Z), wanted, rtol=1e-12)


def test_distances_do_not_depend_on_the_axes(rng):
    gate, X = LaplaceGate(), rng.normal(size=(2, 30))
    params = random_gate(gate, 3, 2, rng)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    turned = params._replace(centre=params.centre @ turn.T)
    assert_close(gate.scores(design(turn @ X), turned), gate.scores(design(X), params), rtol=1e-11)


@pytest.mark.parametrize("name", sampled(["laplace", "ordered", "gaussian", "sigmoid", "adjacent"], 2))
def test_what_a_gate_without_linear_scores_can_do(name, island):
    X, y = island
    model = quietly(MoERegressor(2, gate=name, n_init=3, random_state=0).fit, X, y)
    assert name in str(model.gate_).lower() and np.isfinite(model.loglik_) and str(model.summary())
    again = quietly(MoERegressor(2, gate=model.gate_, start=FromParams(model.params_)).fit, X, y)
    assert again.loglik_ >= model.loglik_ - 1e-6


@pytest.mark.parametrize(
    "gate, words",
    [
        (GaussianGate("round"), "covariance"),
        (LaplaceGate(sharpness=0.0), "sharpness"),
        (LaplaceGate(smoothing=-1.0), "smoothing"),
    ],
)
def test_settings_that_make_no_sense(gate, words):
    with pytest.raises(ValueError, match=words):
        gate.check(2)
