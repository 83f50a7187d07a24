"""What every registered start promises."""

import numpy as np
import pytest
from sklearn.base import clone

import smoe.rows.blocks
import smoe.rows.columns
import smoe.search
from helpers import SMOOTH, Problem, assert_close, lower_of, quietly, sampled
from smoe import MoERegressor, SoftmaxMoERegressor
from smoe.datasets import make_moe
from smoe.experts import EXPERTS
from smoe.gates import GATES
from smoe.params import flatten
from smoe.rows import ArraySource, Blocks, standardise
from smoe.starts import STARTS, FromParams, Start, Task

every = pytest.mark.parametrize("name", STARTS)


def task(problem, n_experts=3):
    return Task(problem.model, problem.block, n_experts, problem.scaling)


@every
@pytest.mark.parametrize("gate, expert", [(gate, "gaussian") for gate in GATES] + [("softmax", e) for e in EXPERTS])
@pytest.mark.parametrize("k, d, n", sampled([(3, 2, 4), (4, 3, 60), (1, 1, 30), (3, 2, 60)], 2))
def test_proposals_have_the_right_shapes(name, gate, expert, k, d, n):
    problem, start = Problem(gate, expert, n=n, k=k, d=d), STARTS[name]()
    for _ in range(3):
        params = start.propose(task(problem, k), problem.rng)
        blank = problem.model.init_params(k, d, d)
        assert type(params) is type(blank)
        assert [np.shape(f) for part in params for f in part] == [np.shape(f) for part in blank for f in part]
        assert np.all(np.isfinite(flatten(params)))
        for field, bound in lower_of(problem.model.expert).items():
            assert np.all(getattr(params.expert, field) >= bound)
        assert np.isfinite(problem.loglik(params))


@every
def test_proposals_are_drawn_with_the_seed(name):
    problem, start = Problem(SMOOTH[0], "gaussian"), STARTS[name]()
    one, again = (start.propose(task(problem), np.random.default_rng(3)) for _ in range(2))
    assert_close(one, again, rtol=0, atol=0)
    assert isinstance(start.n_proposals(3), int) and start.n_proposals(3) >= 1


@every
def test_a_start_is_a_recipe(name):
    start = STARTS[name]()
    assert isinstance(start, Start) and clone(start).get_params() == start.get_params()


def test_from_params_proposes_what_it_was_given():
    moe = make_moe(100, n_features=2, n_experts=3, random_state=0)
    X = 5 + 3 * moe.data  # working coordinates differ from the user's
    problem = Problem("softmax", "gaussian", d=2)
    columns = np.arange(2)
    source = ArraySource(X, moe.target)
    scaling = standardise(problem.model, source, columns, columns)
    block = Blocks(problem.model, source, scaling).take(slice(None))
    proposed = FromParams(problem.truth).propose(Task(problem.model, block, 3, scaling), None)
    assert FromParams(problem.truth).n_proposals(3) == 1
    assert_close(scaling.to_units(problem.model, proposed), problem.truth, rtol=1e-10, atol=1e-10)
    found = problem.model.posterior(block, proposed)[2] - np.log(scaling.y_scale)
    np.testing.assert_allclose(found, problem.twin.row_loglik(problem.truth, X, moe.target), rtol=1e-9)


def test_from_params_refuses_what_does_not_fit():
    problem = Problem("softmax", "gaussian", k=3)
    truth = problem.truth
    variance = truth.expert._replace(variance=-truth.expert.variance)
    nan = truth.gate._replace(intercept=np.full(3, np.nan))
    for params, words in [
        (Problem("softmax", "gaussian", k=2).truth, "shape"),
        (Problem("softmax", "gaussian", d=1).truth, "shape"),
        (truth._replace(expert=variance), "variance must be positive"),
        (truth._replace(gate=nan), "intercept must be finite"),
        (truth._replace(gate=truth.expert), "must be LinearGateParams"),
        ({"coef": 1}, "takes MoEParams"),
    ]:
        with pytest.raises(ValueError, match=words):
            FromParams(params).propose(task(problem), None)


# Rows are a set: neither their order nor how a repeated row is written down matters -----------------------------------


def rows_of(problem, rows, weight, size, seed=0):
    blocks = Blocks(problem.model, ArraySource(problem.X[rows], problem.y[rows], weight), problem.scaling)
    chosen, weights = blocks.representative_rows(size, np.random.default_rng(seed))
    return rows[chosen], weights


@pytest.mark.parametrize("size", [20, 80, 1000])
def test_representative_rows_do_not_depend_on_order(size, rng):
    problem = Problem(SMOOTH[0], "gaussian", n=80, weighted=True)
    straight = np.arange(80)
    shuffled = rng.permutation(80)
    one = rows_of(problem, straight, problem.weight, size)
    other = rows_of(problem, shuffled, problem.weight[shuffled], size)
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_allclose(one[1], other[1])
    assert len(one[0]) <= size and len(set(one[0])) == len(one[0])
    np.testing.assert_allclose(one[1].sum(), problem.weight.sum() if size >= 80 else size)


@pytest.mark.parametrize("size", [20, 1000])
def test_representative_rows_join_repeats(size, rng):
    problem, counts = Problem(SMOOTH[0], "gaussian", n=80), rng.integers(1, 4, 80)
    repeated = rng.permutation(np.repeat(np.arange(80), counts))
    one = rows_of(problem, np.arange(80), counts.astype(float), size)
    other = rows_of(problem, repeated, np.ones(len(repeated)), size)
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_allclose(one[1], other[1])


def test_a_sample_of_rows_follows_the_weights():
    problem = Problem(SMOOTH[0], "gaussian", n=200)
    weight, total = np.where(np.arange(200) < 20, 9.0, 1.0), np.zeros(200)
    for seed in range(200):
        chosen, weights = rows_of(problem, np.arange(200), weight, 40, seed)
        total[chosen] += weights
    share = total[:20].sum() / total.sum()
    assert abs(share - 0.5) < 0.02


@every
def test_fits_do_not_depend_on_order_or_repeats(name, rng):
    moe = make_moe(150, n_features=2, n_experts=2, random_state=1)
    X, y, counts = moe.data, moe.target, rng.integers(1, 4, 150)
    repeated = rng.permutation(np.repeat(np.arange(150), counts))
    model = MoERegressor(2, start=name, random_state=0)
    weighted = quietly(clone(model).fit, X, y, sample_weight=counts)
    rows = quietly(clone(model).fit, X[repeated], y[repeated])
    np.testing.assert_allclose(rows.loglik_, weighted.loglik_, rtol=1e-9)
    assert_close(rows.params_, weighted.params_, rtol=1e-4, atol=1e-6)
    for one, other in zip(rows.starts_, weighted.starts_, strict=True):
        np.testing.assert_allclose(one.screened_loglik, other.screened_loglik, rtol=1e-6)


def test_leaders_that_arrive_at_one_place_go_on_as_one(monkeypatch):
    moe = make_moe(1200, n_experts=3, random_state=3)
    alone = SoftmaxMoERegressor(3, random_state=0).fit(moe.data, moe.target)
    monkeypatch.setattr(smoe.search, "_PART", 300)
    raced = SoftmaxMoERegressor(3, random_state=0).fit(moe.data, moe.target)
    joined = [record for record in raced.starts_ if record.status.startswith("joined start")]
    assert joined and all(np.isnan(record.loglik) for record in joined)
    ends = [record for record in raced.starts_ if np.isfinite(record.loglik) and not record.start.startswith("Swap")]
    assert len(ends) + len(joined) == 5
    np.testing.assert_allclose(raced.loglik_, alone.loglik_, rtol=1e-10)


@pytest.mark.parametrize("gate", ["softmax", "dense_to_sparse"])
def test_threads_that_share_rows_change_nothing(gate, monkeypatch):
    for size in ("_FEWEST", "_SHORT", "_LONG"):
        monkeypatch.setattr(smoe.rows.blocks, size, 64)
    monkeypatch.setattr(smoe.search, "_SHARED", 100)
    monkeypatch.setattr(smoe.rows.columns, "_BLOCK", 64)
    moe = make_moe(1000, random_state=1)
    one, two = (
        MoERegressor(2, gate=gate, n_init=4, random_state=0, n_jobs=j).fit(moe.data, moe.target) for j in (1, 2)
    )
    assert_close(two.params_, one.params_, rtol=0, atol=0)
    assert two.loglik_ == one.loglik_
