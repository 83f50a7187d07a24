"""Trees of gates: what they are equal to, what is not identified, what they refuse."""

from functools import partial

import numpy as np
import pytest

from contract import test_gates as battery
from helpers import assert_close, assert_derivative, quietly, random_gate
from smoe import MoERegressor, MoERegressorSelect, SoftmaxMoERegressor, selection
from smoe.datasets import load_engel, make_moe
from smoe.features import design
from smoe.gates import GATES, LinearGateParams, SoftmaxGate, TreeGate, TreeGateParams
from smoe.params import MoEParams, permute
from smoe.simulation import Truth, voronoi_loss
from smoe.solvers import EM
from smoe.starts import FromParams

SHAPES = {
    "sticks": partial(TreeGate, "sticks"),
    "three branches": partial(TreeGate, branching=3),
    "shared experts": partial(TreeGate.shared, 2, 2),
    "constant inner node": partial(TreeGate, (1, (1, 2)), constant=((1,),)),
    "constant root of three": partial(TreeGate, (1, 2, 1), constant=[[]]),
}
PROMISES = [
    battery.test_pullback_is_the_derivative,
    battery.test_information_is_the_variance_of_the_scores,
    battery.test_information_with_resp_is_a_block_of_the_observed_one,
    battery.test_canonical_keeps_probabilities,
    battery.test_canonical_is_one_for_all_of_a_class,
    battery.test_canonical_params_differ_in_free_entries_only,
    battery.test_free_pins_exactly_what_the_density_does_not_need,
    battery.test_unscale_keeps_probabilities,
]


@pytest.mark.parametrize("test", PROMISES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_keeps_the_contract(shape, test, monkeypatch, rng):
    monkeypatch.setitem(GATES, shape, SHAPES[shape])
    test(shape, 4, 2, rng)


def scores(gate, params, Z):
    found = gate.scores(Z, params)
    return found - np.logaddexp.reduce(found, axis=0)


def placed(linear, place):
    return TreeGateParams(*linear, np.asarray(place, dtype=float))


def test_one_node_is_the_softmax_gate(rng):
    params, Z = random_gate(SoftmaxGate(), 4, 2, rng), design(rng.normal(size=(2, 30)))
    for gate in (TreeGate(4), TreeGate(branching=4)):
        found = scores(gate, placed(params, range(4)), Z)
        np.testing.assert_allclose(found, scores(SoftmaxGate(), params, Z), rtol=1e-12, atol=1e-12)


def test_constant_inner_nodes_are_equal_slopes_of_the_softmax_gate(rng):
    gate, Z = TreeGate((2, 2), constant=((0,), (1,))), design(rng.normal(size=(2, 30)))
    params = random_gate(gate, 4, 2, rng)
    root, flat = params.coef[1], gate.log_mass(params)
    softmax = LinearGateParams(np.array([root, root, 0 * root, 0 * root]), flat)
    np.testing.assert_allclose(scores(gate, params, Z), scores(SoftmaxGate(), softmax, Z), rtol=1e-11, atol=1e-12)


def test_sticks_are_broken_one_after_the_other(rng):
    gate, Z = TreeGate("sticks"), design(rng.normal(size=(2, 30)))
    params = random_gate(gate, 4, 2, rng)
    left, expected = np.ones(30), []
    for b in range(3):
        broken = 1 / (1 + np.exp(-np.append(params.coef[b], params.intercept[b]) @ Z))
        expected, left = [*expected, left * broken], left * (1 - broken)
    np.testing.assert_allclose(np.exp(gate.scores(Z, params)), [*expected, left], rtol=1e-11)


def test_the_order_of_equal_branches_is_no_part_of_the_density(rng):
    gate, Z = TreeGate((2, 2)), design(rng.normal(size=(2, 30)))
    params = random_gate(gate, 4, 2, rng)
    coef, intercept = params.coef[[2, 1, 0, 3]], params.intercept[[2, 1, 0, 3]]
    coef[1], intercept[1] = -coef[1], -intercept[1]
    turned = TreeGateParams(coef, intercept, np.array([0.0, 1.0, 2.0, 3.0]))
    turned = gate.permute(turned, [2, 3, 0, 1])  # the right branch is now on the left
    np.testing.assert_allclose(gate.scores(Z, turned), gate.scores(Z, params), rtol=1e-12, atol=1e-13)
    assert_close(gate.canonical(turned), gate.canonical(params), rtol=1e-12)
    elsewhere = gate.canonical(params._replace(place=np.array([0.0, 2.0, 1.0, 3.0])))
    assert not np.array_equal(elsewhere.place, gate.canonical(params).place)


def test_the_expected_information_is_block_diagonal_over_nodes(rng):
    gate, Z = TreeGate((2, 2)), design(rng.normal(size=(2, 50)))
    params = random_gate(gate, 4, 2, rng)
    proba = np.exp(gate.scores(Z, params))
    found = gate.information(Z, params, proba, np.ones(50)).reshape(4, 4, 4, 4)
    for b, c in ((0, 1), (0, 2), (1, 2)):
        np.testing.assert_allclose(found[b, :, c], 0, atol=1e-12)
    reached, g = proba[:2].sum(axis=0), proba[0] / proba[:2].sum(axis=0)
    np.testing.assert_allclose(found[0, :3, 0, :3], (Z * reached * g * (1 - g)) @ Z.T, rtol=1e-11)


def test_probabilities_of_deep_leaves_do_not_underflow():
    gate = TreeGate("sticks")
    params = gate.init_params(31, 1)._replace(intercept=np.append(np.full(30, 50.0), 0.0))
    assert gate.scores(design(np.zeros((1, 1))), params)[-1, 0] == pytest.approx(-1500, rel=1e-12)


@pytest.mark.parametrize(
    "gate, k, words",
    [
        (TreeGate((2, 2)), 3, r"tree=\(2, 2\) has 4 leaves, but n_experts=3"),
        (TreeGate("bush"), 3, "choose 'balanced' or 'sticks'"),
        (TreeGate((2, 0)), 2, "whole numbers .* got 0"),
        (TreeGate(((2,), 1)), 3, r"at least two branches, got \(2,\)"),
        (TreeGate(constant=((3,),)), 4, r"has no node \(3,\)"),
        (TreeGate((1, 2), constant=((0,),)), 3, r"\(0,\) is a leaf"),
        (TreeGate(branching=1), 3, "branching must be"),
    ],
)
def test_trees_that_do_not_exist(gate, k, words):
    with pytest.raises(ValueError, match=words):
        gate.check(k)


@pytest.fixture(scope="module")
def engel():
    X, y = load_engel(return_X_y=True)
    return X, y, quietly(MoERegressor(3, gate=TreeGate(constant=((),)), random_state=0).fit, X, y)


def test_a_fit_names_places_and_orders_its_experts(engel):
    X, y, model = engel
    assert model.converged_ and model.n_parameters_ == 12 and sorted(model.gate_place_) == [0, 1, 2]
    assert Truth(model.gate_, model.params_).loglik(X, y) == pytest.approx(model.loglik_, rel=1e-10)
    resp = model.responsibilities(X, y)
    assert np.all(np.diff(resp.T @ y / resp.sum(axis=0)) > 0)
    assert "place" in str(model.summary()) and np.isnan(model.standard_errors_.gate.place).all()
    lines = model.gate_.text(model.params_.gate, ["income"]).splitlines()
    assert len(lines) == 2 and "income" not in lines[0] and "income" in lines[1] and lines[1].startswith("  ")


def test_what_a_tree_refuses(engel):
    X, y, model = engel
    for call in (selection.merge_experts, selection.drop_expert):
        with pytest.raises(ValueError, match="fit a tree with"):
            call(model, *((0, 1) if call is selection.merge_experts else (0,)), X, y)
    with pytest.raises(ValueError, match="more experts do not contain fewer"):
        selection.n_experts_test(model, X, y, n_resamples=1)
    with pytest.raises(ValueError, match="no Voronoi loss is known for TreeGate"):
        voronoi_loss(model.params_, model.params_, gate=model.gate_)


def test_relabelled_experts_stay_on_their_leaves(engel):
    X, y, model = engel
    moved = permute(model.params_, [2, 0, 1])
    assert Truth(model.gate_, moved).loglik(X, y) == pytest.approx(model.loglik_, rel=1e-12)
    again = quietly(MoERegressor(3, gate=model.gate_, start=FromParams(moved)).fit, X, y)
    assert_close(again.params_, model.params_, rtol=1e-5, atol=1e-6)


def test_two_equal_experts_are_left_or_named():
    rng = np.random.default_rng(17)
    x = rng.uniform(-2, 2, 500)
    X, y = x[:, None], np.abs(x) + 0.2 * rng.normal(size=500)
    one = SoftmaxMoERegressor(1).fit(X, y)
    assert one.loglik_ == pytest.approx(-496.0560122, abs=1e-6)
    start = MoEParams(TreeGate().init_params(2, 1), permute(one.params_.expert, [0, 0]))
    model = quietly(MoERegressor(2, gate="tree", start=FromParams(start)).fit, X, y)
    assert not model.converged_ and "saddle" in model.status_
    assert quietly(MoERegressor(2, gate="tree", random_state=0).fit, X, y).loglik_ > 93


def test_em_climbs_and_ends_where_newton_does():
    moe = make_moe(400, n_experts=3, gate="tree", random_state=1)
    start = FromParams(moe.params)
    newton = MoERegressor(3, gate="tree", start=start, solver="newton").fit(moe.data, moe.target)
    em = quietly(MoERegressor(3, gate="tree", start=start, solver=EM(500, 1e-6)).fit, moe.data, moe.target)
    assert newton.converged_ and newton.loglik_ > moe.loglik
    assert em.loglik_ == pytest.approx(newton.loglik_, abs=1e-3)
    assert_derivative(np.diff(em.trace_).min(initial=0.0), 0.0, 1e-8)


def test_numbers_of_experts_are_chosen_without_growing():
    moe = make_moe(200, n_experts=2, random_state=0)
    model = MoERegressorSelect(MoERegressor(gate="tree", n_init=2, random_state=0), n_experts=(1, 2))
    assert quietly(model.fit, moe.data, moe.target).n_experts_ == 2


def test_one_shared_expert():
    """A group of one has no node of its own; its weight is the same everywhere."""
    gate = TreeGate.shared(1, 2)
    gate.check(3)
    params = TreeGateParams(np.array([[0.0], [2.0], [0.0]]), np.array([np.log(3.0), 0.0, 0.0]), np.arange(3.0))
    np.testing.assert_allclose(np.exp(gate.scores(design(np.array([[-9.0, 0.0, 9.0]])), params))[0], 0.75)
    assert not gate.free(params).coef[0].any()
