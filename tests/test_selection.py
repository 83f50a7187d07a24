"""How many experts: the path, the criteria, splits, merges, the dendrogram, the meta-estimator."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.cluster import hierarchy
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from sklearn.base import clone
from sklearn.linear_model import LinearRegression

from helpers import altered, assert_close, quietly, sampled
from naive import SOFTMAX_GAUSSIAN as twin
from smoe import DenseToSparseMoERegressor, SoftmaxMoERegressor, TopKMoERegressor
from smoe.datasets import load_faithful, make_moe
from smoe.experts import GaussianExpertParams
from smoe.gates import LinearGateParams, TopKGate
from smoe.params import MoEParams, permute
from smoe.selection import dendrogram, drop_expert, merge_experts, path, select_n_experts
from smoe.selection.pooling import loads, pooled_experts, pooled_gate
from smoe.selection.splits import duplicated, embedded, proposed_splits, split_starts
from smoe.selection.working import at_params, working
from smoe.solvers import EM

MODEL = SoftmaxMoERegressor(random_state=0, n_init=5)
QUICK = {"random_state": 0, "n_init": 3, "max_iter": 30}
GATES = {
    "softmax": (SoftmaxMoERegressor(**QUICK), "softmax"),
    "temperature": (DenseToSparseMoERegressor(temperature=0.5, **QUICK), "softmax"),
    "activation": (DenseToSparseMoERegressor(temperature=0.5, activation="tanh", **QUICK), "softmax"),
    "learned": (DenseToSparseMoERegressor(activation="sigmoid", **QUICK), "softmax"),
    "top 1": (TopKMoERegressor(top_k=1, **QUICK), TopKGate(1)),
    "top 2": (TopKMoERegressor(top_k=2, **QUICK), TopKGate(2)),
}
SEEDS = sampled([(name, 2) for name in GATES] + [("softmax", seed) for seed in range(6) if seed != 2], len(GATES))
every_gate = pytest.mark.parametrize("name", GATES)


@pytest.fixture(scope="module")
def three():
    """Three experts, and an over-fitted mixture of six."""
    moe = make_moe(800, 2, 3, min_share=0.2, random_state=5)
    return moe.data, moe.target, quietly(SoftmaxMoERegressor(6, random_state=0).fit, moe.data, moe.target)


@pytest.fixture(scope="module")
def pair():
    """Two experts and their maximum."""
    X, y = load_faithful(return_X_y=True)
    return X, y, SoftmaxMoERegressor(2, random_state=0).fit(X, y)


# The path ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, seed", SEEDS)
def test_log_likelihood_never_falls(name, seed):
    estimator, gate = GATES[name]
    moe = make_moe(120, 1 + seed % 2, 2, gate=gate, random_state=seed)
    sizes = range(2 if name == "top 2" else 1, 6 if name == "softmax" else 4)
    found = quietly(select_n_experts, estimator, moe.data, moe.target, sizes, random_state=seed)
    assert found.table["n_experts"] == tuple(sizes)
    loglik = np.array(found.table["loglik"])
    assert np.all(np.diff(loglik) >= -1e-8 * np.abs(loglik[1:]))
    for fit, value in zip(found.estimators_, loglik, strict=True):
        np.testing.assert_allclose(fit.loglik(moe.data, moe.target), value, rtol=1e-9)


def test_log_likelihood_never_falls_where_nothing_climbs(pair, monkeypatch):
    X, y, model = pair
    poor = duplicated(model.fitted_.model, model.params_, 0)
    poor = poor._replace(expert=poor.expert._replace(intercept=poor.expert.intercept + 50))
    monkeypatch.setattr(path, "split_starts", lambda *_: [poor])
    stuck = clone(MODEL).set_params(solver=EM(0), start="random", n_init=1)
    fits = [model, quietly(clone(stuck).set_params(n_experts=3).fit, X, y)]
    assert fits[1].loglik_ < model.loglik_ - 10
    last = quietly(path.grown, fits, X, y, None, np.random.default_rng(0))[-1]
    assert last.n_experts == 3
    np.testing.assert_allclose(last.loglik_, model.loglik_, rtol=1e-10)


def test_halves_of_an_expert_are_regressions(pair):
    X, y, _ = pair
    one = SoftmaxMoERegressor(1).fit(X, y)
    work = working(one, X, y)
    splits = list(proposed_splits(work.model, work.blocks.take(slice(None)), work.params, 0, np.random.default_rng(0)))
    assert len(splits) == 5
    residual = y - one.predict(X)
    for key, params in zip((residual, np.abs(residual)), splits, strict=False):
        order = np.argsort(key)
        halves = [LinearRegression().fit(X[rows], y[rows]).coef_[0] for rows in np.array_split(order, 2)]
        np.testing.assert_allclose(work.to_units(params).expert.coef[:, 0], halves, rtol=1e-6)


def test_splits_leave_the_other_experts_alone(three):
    X, y, model = three
    work = working(model, X, y)
    sample = work.blocks.representatives(100, np.random.default_rng(0)).block  # may miss the rows of a small expert
    for params in proposed_splits(work.model, sample, work.params, 2, np.random.default_rng(0)):
        assert_close(permute(params.expert, [0, 1, 3, 4, 5]), permute(work.params.expert, [0, 1, 3, 4, 5]), rtol=0)
        assert np.all(params.expert.variance[[2, 6]] != work.params.expert.variance[2])


def test_regular_fits_go_before_collapsed_ones(pair):
    X, y, model = pair
    spike = duplicated(model.fitted_.model, model.params_, 0)
    spike.expert.variance[-1] = 1e-12
    spike = at_params(model, spike, X, y)
    twice = at_params(model, duplicated(model.fitted_.model, model.params_, 0), X, y)
    altered(spike, loglik=1e6)
    one = merge_experts(model, 0, 1, X, y).estimator
    assert path.best_of([spike, twice], one, X, y, None) is twice
    assert path.best_of([spike], one, X, y, None) is spike


@pytest.mark.parametrize("name", [*GATES, "by slope"])
def test_a_mixture_contains_the_smaller_one(name):
    by_slope = TopKMoERegressor(top_k=1, rank_by="slope", **QUICK), TopKGate(1, "slope")
    estimator, gate = {**GATES, "by slope": by_slope}[name]
    moe = make_moe(100, 2, 3, gate=gate, random_state=1)
    fit = quietly(clone(estimator).set_params(n_experts=3).fit, moe.data, moe.target)
    larger = at_params(fit, embedded(fit, moe.data, moe.target, None), moe.data, moe.target)
    assert larger.n_experts == 4
    np.testing.assert_allclose(larger.loglik_, fit.loglik_, rtol=1e-9)
    np.testing.assert_allclose(larger.predict(moe.data), fit.predict(moe.data), rtol=1e-8)


def test_splits_find_what_one_start_misses():
    moe = make_moe(600, 1, 3, min_share=0.2, random_state=3)
    two = SoftmaxMoERegressor(2, random_state=0).fit(moe.data, moe.target)
    starts = split_starts(two, moe.data, moe.target, None, np.random.default_rng(0))
    fits = [at_params(two, params, moe.data, moe.target, solve=True) for params in starts]
    assert max(fit.loglik_ for fit in fits) >= moe.loglik
    assert len(starts) == 2


def test_order_of_rows_weights_and_repeats(pair):
    X, y, _ = pair
    weight = np.random.default_rng(0).integers(0, 3, len(y))
    rows = np.repeat(np.arange(len(y)), weight)[::-1]
    one = quietly(select_n_experts, MODEL, X, y, (1, 2, 3), sample_weight=weight, random_state=3)
    two = quietly(select_n_experts, MODEL, X[rows], y[rows], (1, 2, 3), random_state=3)
    for name in ("loglik", "aic", "bic", "icl"):
        np.testing.assert_allclose(one.table[name], two.table[name], rtol=1e-7)


# Merging and dropping ------------------------------------------------------------------------------------------------


def test_equal_experts_merge_without_loss(pair):
    X, y, model = pair
    twice = at_params(model, duplicated(model.fitted_.model, model.params_, 1), X, y)
    copies = [k for k in range(3) if np.isclose(twice.expert_variance_, model.expert_variance_[1])[k]]
    merged = merge_experts(twice, *copies, X, y)
    assert abs(merged.loss) < 1e-7 and merged.estimator.n_experts == 2
    assert_close(merged.estimator.params_, model.params_, rtol=1e-5)
    assert twice.n_experts == 3 and twice.start == model.start == merged.estimator.start
    dropped = drop_expert(twice, copies[0], X, y)  # half of the mass goes to the other expert, too
    assert dropped.loss > 0.5 and abs(drop_expert(twice, copies[0], X, y, refit=True).loss) < 1e-6


def test_two_experts_merge_to_least_squares(pair):
    X, y, model = pair
    line = LinearRegression().fit(X, y)
    merged = merge_experts(model, 1, 0, X, y)
    np.testing.assert_allclose(merged.estimator.expert_coef_[0], line.coef_)
    variance = np.mean((y - line.predict(X)) ** 2)
    np.testing.assert_allclose(merged.loglik, -0.5 * len(y) * (np.log(2 * np.pi * variance) + 1))
    np.testing.assert_allclose(merged.loss, model.loglik_ - merged.loglik)


def test_what_is_left_shares_the_rows_of_a_dropped_expert(three):
    X, y, model = three
    dropped = drop_expert(model, 2, X, y)
    proba = np.delete(model.gate_proba(X), 2, axis=1)
    proba /= proba.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.sort(dropped.estimator.gate_proba(X)), np.sort(proba), atol=1e-9)
    refitted = drop_expert(model, 2, X, y, refit=True)
    assert refitted.loglik > dropped.loglik == dropped.estimator.loglik_ and refitted.estimator.n_experts == 5


@every_gate
def test_merging_and_dropping_behind_every_gate(name):
    estimator, gate = GATES[name]
    moe = make_moe(150, 2, 3, gate=gate, random_state=2)
    fit = quietly(clone(estimator).set_params(n_experts=3).fit, moe.data, moe.target)
    for refit in (False, True):
        for reduced in (
            merge_experts(fit, 0, 2, moe.data, moe.target, refit=refit),
            drop_expert(fit, 1, moe.data, moe.target, refit=refit),
        ):
            assert np.isfinite(reduced.loss) and reduced.estimator.n_experts == 2
            np.testing.assert_allclose(reduced.loglik, reduced.estimator.loglik(moe.data, moe.target), rtol=1e-9)
            np.testing.assert_allclose(reduced.loss, fit.loglik_ - reduced.loglik, rtol=1e-6, atol=1e-6)


# The dendrogram ------------------------------------------------------------------------------------------------------


def test_equal_experts_merge_first(pair):
    X, y, model = pair
    twice = at_params(
        model, duplicated(model.fitted_.model, duplicated(model.fitted_.model, model.params_, 1), 0), X, y
    )
    tree = dendrogram(twice, X, y)
    np.testing.assert_allclose(tree.heights[:2], 0, atol=1e-8)
    np.testing.assert_allclose(tree.loglik[:3], model.loglik_)
    assert tree.n_experts == 2 and tree.heights[2] > 0.1
    assert_close(tree.cut(), model.params_, rtol=1e-5)
    assert dendrogram(twice, X, y, dissimilarity="rates").heights[0] < 1e-8


def test_first_height_by_hand(three):
    X, y, model = three
    n, proba, resp = len(y), model.gate_proba(X), model.responsibilities(X, y)
    Z = np.column_stack([X, np.ones(n)])

    def value(r):
        root = np.sqrt(r)
        coef = np.linalg.lstsq(root[:, None] * Z, root * y, rcond=None)[0]
        return -0.5 * r.sum() * (np.log(2 * np.pi * (r @ (y - Z @ coef) ** 2) / r.sum()) + 1)

    def lost_by_gate(pooled):
        def divergence(theta):
            scores = Z @ np.vstack([theta.reshape(-1, 3), np.zeros(3)]).T
            log_proba = scores - logsumexp(scores, axis=1, keepdims=True)
            pull = (softmax(scores, axis=1) - pooled).T @ Z
            return np.sum(pooled * (np.log(np.maximum(pooled, 1e-300)) - log_proba)) / n, pull[:-1].ravel() / n

        return minimize(divergence, np.zeros(12), jac=True, method="BFGS", options={"maxiter": 2000}).fun

    heights = {}
    for i, j in itertools.combinations(range(6), 2):
        rest = [k for k in range(6) if k not in (i, j)]
        pooled = np.column_stack([proba[:, rest], proba[:, i] + proba[:, j]])
        cost = value(resp[:, i]) + value(resp[:, j]) - value(resp[:, i] + resp[:, j])
        heights[(i,), (j,)] = cost / n + lost_by_gate(pooled)
    tree = dendrogram(model, X, y)
    assert tree.merges[0] == min(heights, key=heights.get)
    np.testing.assert_allclose(tree.heights[0], min(heights.values()), rtol=0.02, atol=1e-5)


def test_heights_of_the_reference_by_hand(three):
    X, y, model = three
    (gate, expert), centre, sx, sy = model.params_, X.mean(axis=0), X.std(axis=0), y.std()
    weight = softmax(gate.intercept + gate.coef @ centre)
    intercept = (expert.intercept + expert.coef @ centre) / sy
    table = [sx * gate.coef, intercept[:, None], sx / sy * expert.coef, expert.variance[:, None] / sy**2]
    atoms, heights = list(zip(weight, np.column_stack(table), strict=True)), []

    def height(one, other):
        (v, a), (w, b) = one, other
        difference = a - b
        powers = difference[:3] @ difference[:3] + np.linalg.norm(difference[3:5]) + abs(difference[5])
        return v * w / (v + w) * powers

    while len(atoms) > 1:
        i, j = min(itertools.combinations(range(len(atoms)), 2), key=lambda pair: height(*(atoms[k] for k in pair)))
        heights.append(height(atoms[i], atoms[j]))
        (v, a), (w, b) = atoms.pop(j), atoms.pop(i)
        atoms.append((v + w, (v * a + w * b) / (v + w)))
    tree = dendrogram(model, X, y, dissimilarity="rates")
    np.testing.assert_allclose(tree.heights, heights, rtol=1e-8)


def test_experts_that_the_gate_must_keep_apart_do_not_merge():
    gate = LinearGateParams(np.array([[-30.0], [0.0], [30.0]]), np.array([-10.0, 0.0, -10.0]))
    expert = GaussianExpertParams(np.array([[1.0], [-1.0], [1.0]]), np.array([0.0, 2.0, 0.0]), np.full(3, 0.04))
    moe = make_moe(1000, params=MoEParams(gate, expert), random_state=0)  # one line on both sides of another
    model = quietly(SoftmaxMoERegressor(4, random_state=0).fit, moe.data, moe.target)  # one on few rows
    tree = dendrogram(model, moe.data, moe.target)
    assert tree.n_experts == 3 and tree.heights[1] > 0.1
    assert tree.loglik[1] > moe.loglik - 5 > tree.loglik[2] + 100


def test_no_pair_is_passed_over():
    moe = make_moe(200, 1, 2, random_state=4)
    model = quietly(SoftmaxMoERegressor(6, **QUICK).fit, moe.data, moe.target)
    tree, work = dendrogram(model, moe.data, moe.target), working(model, moe.data, moe.target)
    load = loads(work)
    for groups, height in zip(tree.groups, tree.heights, strict=False):
        totals = []
        for pair in itertools.combinations(groups, 2):
            union = pair[0] + pair[1]
            values = pooled_experts(work, [*pair, union], load).value
            merged = tuple(sorted([*(group for group in groups if group not in pair), tuple(sorted(union))]))
            totals.append((values[:2].sum() - values[2]) / 200 + pooled_gate(work, merged, load)[1])
        np.testing.assert_allclose(height, min(totals), rtol=1e-8)


def test_path_of_the_dendrogram(three):
    X, y, model = three
    tree = dendrogram(model, X, y)
    assert tree.levels == (6, 5, 4, 3, 2, 1) and tree.n_experts == 3
    for groups, params, loglik in zip(tree.groups, tree.params, tree.loglik, strict=True):
        assert sorted(sum(groups, ())) == list(range(6)) and len(params.expert.variance) == len(groups)
        np.testing.assert_allclose(twin.loglik(params, X, y, np.ones(len(y))), loglik, rtol=1e-8)
    for before, after, merge in zip(tree.groups, tree.groups[1:], tree.merges, strict=False):
        assert set(before) - set(after) == set(merge)
    np.testing.assert_allclose(tree.dsc[:-1], -(tree.heights + np.log(800) * tree.loglik[:-1] / 800))
    falling = replace(tree, heights=tree.heights[::-1])
    for drawn in (tree.linkage, falling.linkage):
        assert hierarchy.is_valid_linkage(drawn) and hierarchy.is_monotonic(drawn)
    np.testing.assert_array_equal(tree.linkage[:, 2], tree.heights)
    refitted, direct = tree.refit(X, y), SoftmaxMoERegressor(3, random_state=0).fit(X, y)
    np.testing.assert_allclose(refitted.loglik_, direct.loglik_, atol=1e-5)
    assert dendrogram(model, X, y, omega=0.0).n_experts == 2
    assert dendrogram(refitted, X, y).levels == (3, 2, 1)


@pytest.mark.parametrize("dissimilarity", ["information", "rates"])
def test_neither_order_nor_units_matter(three, dissimilarity):
    X, y, model = three
    tree = dendrogram(model, X, y, dissimilarity=dissimilarity)
    order = np.array([3, 5, 0, 1, 4, 2])
    shuffled = clone(model).set_params(n_experts=6)
    shuffled.fitted_, params = model.fitted_, permute(model.params_, order)
    altered(shuffled, params=params._replace(gate=model.gate_.canonical(params.gate)))
    other = dendrogram(shuffled, X, y, dissimilarity=dissimilarity)
    np.testing.assert_allclose(other.heights, tree.heights, rtol=1e-6)
    back = [{tuple(sorted(order[list(group)])) for group in groups} for groups in other.groups]
    assert back == [set(groups) for groups in tree.groups]
    frozen = clone(model).set_params(solver=EM(0))
    scale, shift = np.array([1000.0, 0.01]), np.array([-5.0, 3.0])
    gate, expert = model.params_
    coef = gate.coef / scale
    moved = model.params_._replace(
        gate=gate._replace(coef=coef, intercept=gate.intercept - coef @ shift),
        expert=expert._replace(
            coef=7 * expert.coef / scale,
            intercept=7 * (expert.intercept - (expert.coef / scale) @ shift) + 2,
            variance=49 * expert.variance,
        ),
    )
    X2, y2 = scale * X + shift, 7 * y + 2
    elsewhere = dendrogram(at_params(frozen, moved, X2, y2), X2, y2, dissimilarity=dissimilarity)
    np.testing.assert_allclose(elsewhere.heights, tree.heights, rtol=1e-5)
    np.testing.assert_allclose(elsewhere.loglik, tree.loglik - len(y) * np.log(7), rtol=1e-6)


def test_weights_are_repeats_and_dead_experts_merge(pair):
    X, y, model = pair
    six = quietly(SoftmaxMoERegressor(4, random_state=0, n_init=5).fit, X, y)
    weight = np.random.default_rng(1).integers(0, 3, len(y))
    rows = np.repeat(np.arange(len(y)), weight)
    one, two = dendrogram(six, X, y, weight), dendrogram(six, X[rows], y[rows])
    np.testing.assert_allclose(one.heights, two.heights, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(one.loglik, two.loglik)
    params = duplicated(model.fitted_.model, model.params_, 0)
    params.gate.intercept[-1] -= 2000  # without any row
    tree = dendrogram(at_params(model, params, X, y), X, y)
    np.testing.assert_allclose(tree.heights[0], 0, atol=1e-8)
    assert np.all(np.isfinite(tree.loglik)) and tree.n_experts == 2


@every_gate
def test_dendrograms_behind_every_gate(name):
    estimator, gate = GATES[name]
    moe = make_moe(150, 1, 2, gate=gate, random_state=4)
    fit = quietly(clone(estimator).set_params(n_experts=4).fit, moe.data, moe.target)
    tree = dendrogram(fit, moe.data, moe.target)
    if name == "top 2":
        with pytest.raises(ValueError, match="top_k=2 is larger than n_experts=1"):
            tree.refit(moe.data, moe.target, 1)
    assert np.all(np.isfinite(tree.loglik)) and np.all(tree.heights >= 0) and 2 <= tree.n_experts <= 4
    np.testing.assert_allclose(tree.loglik[0], fit.loglik_, rtol=1e-9)
