"""The search: swaps of experts, the second look, time limits, and what is said about them."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from helpers import assert_close
from smoe import MoERegressor, SoftmaxMoERegressor, TopKMoERegressor
from smoe.chance import merit
from smoe.closing import closing
from smoe.datasets import load_engel, load_faithful, load_mcycle, make_moe
from smoe.diagnostics import diagnose
from smoe.pool import Pool, duplicated, swapped
from smoe.search import StartRecord, agreement
from smoe.second_look import unexplained
from smoe.solvers import EM
from smoe.starts import Elemental

pytestmark = pytest.mark.filterwarnings("ignore:not a certified maximum")
FAITHFUL, ENGEL = load_faithful(return_X_y=True), load_engel(return_X_y=True)


class Plain(Elemental):
    """The default start without what follows."""

    swaps = False


def rare(n=60_000, share=5e-4, seed=1):
    """Two crossing planes, and a third one far away for a few rows; returns which of them each row is from."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    coef, intercept, sd = np.array([[1.0, -1.0], [-1.0, 1.0], [0.0, 0.3]]), np.array([2.0, -2.0, 30.0]), [0.5, 0.7, 0.5]
    label = (rng.random(n) > 1 / (1 + np.exp(-2 * X[:, 0]))).astype(int)
    label[rng.random(n) < share] = 2
    return X, (X * coef[label]).sum(1) + intercept[label] + np.array(sd)[label] * rng.normal(size=n), label


def row_loglik(params, X, y):
    """The mixture's row log densities, written out."""
    scores = X @ params.gate.coef.T + params.gate.intercept
    mean = X @ params.expert.coef.T + params.expert.intercept
    log_prob = norm.logpdf(y[:, None], mean, np.sqrt(params.expert.variance))
    return logsumexp(scores - logsumexp(scores, axis=1)[:, None] + log_prob, axis=1)


def blocks_of(fit, X, y):
    return fit.fitted_.model, fit.fitted_.blocks(X, y, None)


def pool_of(model, rows, *params):
    return Pool(model, rows, {f"end {i}": EM(0, 0.0).short_run(model, rows, p) for i, p in enumerate(params)})


# Swaps ----------------------------------------------------------------------------------------------------------------


def test_swaps_find_what_starts_do_not():
    X, y = load_mcycle(return_X_y=True)
    ends = []
    for start in (Plain(), "auto"):
        fits = [SoftmaxMoERegressor(5, start=start, random_state=s).fit(X, y) for s in range(4)]
        ends.append([fit.loglik_ - fit.fitted_.certificate.price for fit in fits])
    plain, swapping = np.array(ends)
    assert np.all(swapping >= plain - 1e-6) and swapping.max() > plain.max() - 1e-6 and np.any(swapping > plain + 0.1)


def test_a_swapped_expert_shares_the_probabilities_of_its_host():
    fit = SoftmaxMoERegressor(3, random_state=0).fit(*FAITHFUL)
    model, params, X = fit.fitted_.model, fit.params_, FAITHFUL[0]
    made = params.expert._replace(**{name: field[:1] + 7.0 for name, field in params.expert._asdict().items()})
    out = swapped(model, params, 0, 2, made)
    assert_close(type(made)(*(field[-1:] for field in out.expert)), made)

    def proba(gate):
        scores = X @ gate.coef.T + gate.intercept
        return np.exp(scores - logsumexp(scores, axis=1)[:, None])

    before, after = proba(params.gate), proba(out.gate)
    rest = before[:, 1:] / before[:, 1:].sum(axis=1, keepdims=True)  # of expert 1 and of expert 2, the host
    np.testing.assert_allclose(after, np.c_[rest[:, 0], rest[:, 1] / 2, rest[:, 1] / 2], rtol=1e-9)
    same = swapped(model, params, 0, 0, made)
    assert_close(same.gate, params.gate)
    assert_close(type(made)(*(field[:1] for field in same.expert)), made)


def test_a_duplicate_is_the_same_density():
    fit = SoftmaxMoERegressor(3, random_state=0).fit(*FAITHFUL)
    one, more = fit.params_, duplicated(fit.fitted_.model, fit.params_, 1)
    np.testing.assert_allclose(row_loglik(more, *FAITHFUL), row_loglik(one, *FAITHFUL), rtol=1e-9)


def test_members_differ_and_only_gain():
    fit = SoftmaxMoERegressor(3, random_state=0).fit(*ENGEL)
    model, blocks = blocks_of(fit, *ENGEL)
    rows = blocks.representatives(10**6, None)
    rng = np.random.default_rng(0)
    other = SoftmaxMoERegressor(3, start="kmeans", n_init=1, random_state=0).fit(*ENGEL)
    pool = pool_of(model, rows, fit.fitted_.params, other.fitted_.params)
    before = sorted(member.merit for member in pool.members)
    for _ in range(3):
        pool.swaps(lambda function, items: {key: function(item) for key, item in items.items()}, 8, rng)
    after = sorted(member.merit for member in pool.members)
    assert pool.n_children == 24 and all(new >= old for new, old in zip(after, before, strict=True))
    for member in pool.members:
        assert member.merit == merit(model, rows, member.fit)


def test_results_do_not_depend_on_n_jobs():
    one, two = (SoftmaxMoERegressor(4, random_state=0, n_jobs=n).fit(*FAITHFUL) for n in (1, 2))
    assert one.loglik_ == two.loglik_ and [r[:2] for r in one.starts_] == [r[:2] for r in two.starts_]


@pytest.mark.parametrize("gate", ["softmax", "dense_to_sparse"])
@pytest.mark.parametrize("expert", ["gaussian", "poisson"])
def test_swaps_of_every_kind_of_model(gate, expert):
    rng = np.random.default_rng(3)
    X = rng.uniform(-2, 2, (200, 1))
    y = rng.poisson(np.exp(1.0 + np.where(rng.random(200) < 0.5, X[:, 0], -X[:, 0]))).astype(float)
    fits = [MoERegressor(3, gate=gate, expert=expert, n_init=1, random_state=s).fit(X, y) for s in (0, 1)]
    model, blocks = blocks_of(fits[0], X, y)
    rows = blocks.representatives(10**6, None)
    pool = pool_of(model, rows, *(fit.fitted_.params for fit in fits))
    before = pool.best.merit
    pool.swaps(lambda function, items: {key: function(item) for key, item in items.items()}, 16, rng)
    assert pool.n_children == 16 and pool.best.merit >= before


# A second look --------------------------------------------------------------------------------------------------------


def test_rare_rows_far_away_are_found():
    X, y, label = rare()
    for state in range(4):
        fit = SoftmaxMoERegressor(3, random_state=state).fit(X, y)
        own = np.abs(fit.params_.expert.intercept - 30.0) < 0.5
        assert own.sum() == 1 and fit.converged_
        np.testing.assert_allclose(fit.responsibilities(X, y)[:, own].sum(), np.sum(label == 2), rtol=1e-6)


def test_unexplained_rows_are_the_rare_ones():
    X, y, label = rare()
    fit = SoftmaxMoERegressor(2, random_state=0).fit(X[label < 2], y[label < 2])
    model, blocks = blocks_of(fit, X, y)
    found = unexplained(model, blocks, closing(model, blocks, fit.fitted_.params).worst)
    assert set(np.flatnonzero(label == 2)) <= set(found) and len(found) < 2 * np.sum(label == 2)


def test_errors_as_the_model_has_them_leave_nothing_unexplained():
    for seed in range(5):
        X, y, label = rare(seed=seed, share=0.0)
        fit = SoftmaxMoERegressor(2, random_state=0, n_init=5).fit(X, y)
        model, blocks = blocks_of(fit, X, y)
        assert len(unexplained(model, blocks, closing(model, blocks, fit.fitted_.params).worst)) == 0


# Time -----------------------------------------------------------------------------------------------------------------


def test_a_time_limit_ends_the_search_and_is_told():
    moe = make_moe(6000, n_features=2, n_experts=6, random_state=0)
    fit = SoftmaxMoERegressor(6, random_state=0, time_limit=0.0).fit(moe.data, moe.target)
    assert "time_limit=0 ended the search" in fit.status_
    looked = [record for record in fit.starts_ if np.isfinite(record.screened_loglik)]
    assert len(fit.starts_) == 120 and 1 <= len(looked) < 120
    assert fit.starts_[-1].status == "not screened: time was up"


def test_a_time_limit_that_is_not_reached_changes_nothing():
    free, limited = (SoftmaxMoERegressor(3, random_state=0, time_limit=t).fit(*FAITHFUL) for t in (None, 1e6))
    assert free.loglik_ == limited.loglik_ and "time_limit" not in limited.status_


@pytest.mark.parametrize("value", [-1.0, "1 min", np.nan])
def test_time_limits_that_are_none(value):
    with pytest.raises((TypeError, ValueError), match="time_limit"):
        SoftmaxMoERegressor(2, time_limit=value).fit(*FAITHFUL)


# Words ----------------------------------------------------------------------------------------------------------------


def test_verbose_prints_a_line_per_round(capsys):
    SoftmaxMoERegressor(3, random_state=0, verbose=1).fit(*ENGEL)
    out = capsys.readouterr().out
    for words in ("60 starts screened on 232 rows", "5 starts finished", "swaps of experts"):
        assert words in out
    SoftmaxMoERegressor(3, random_state=0).fit(*ENGEL)
    assert not capsys.readouterr().out


def test_agreement_counts_starts_only():
    def record(name, loglik, n_iter=1):
        return StartRecord(name, loglik, loglik, n_iter, "converged")

    starts = [record("Elemental 0", -10.0), record("Elemental 1", -10.0), record("Elemental 2", -12.0)]
    swaps = [record("Swaps", np.nan, 80), record("Swap 7", -9.0), record("Swap 9", -10.0)]
    assert agreement(starts, -10.0) == (3, 2, 0, 0)
    assert str(agreement(starts, -10.0)) == "2 of 3 that were finished ended here"
    assert str(agreement(starts + swaps, -9.0)) == "0 of 3 that were finished ended here; 80 swaps of experts led here"


def test_the_report_says_how_sure_the_search_is():
    fit = SoftmaxMoERegressor(3, random_state=0).fit(*ENGEL)
    found = diagnose(fit, *ENGEL)
    words = str(agreement(fit.starts_, fit.loglik_))
    assert found.n_swaps > 0 and words in str(found) and words in str(fit.summary())


def test_top_k_gates_have_a_search_of_their_own():
    moe = make_moe(300, n_experts=2, random_state=0)
    fit = TopKMoERegressor(2, top_k=1, random_state=0, n_init=4).fit(moe.data, moe.target)
    assert agreement(fit.starts_, fit.loglik_).n_swaps == 0


@pytest.mark.parametrize("name", ["gaussian", "gamma", "poisson"])
def test_one_expert_with_one_maximum_gets_one_start(name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2)) * [1.0, 100.0]
    y = np.ceil(np.exp(X @ [1.0, -0.01] + rng.standard_t(2, 80)))  # whole numbers that are positive are for all
    one = MoERegressor(1, expert=name).fit(X, y)
    assert len(one.starts_) == 1 and one.converged_
    many = MoERegressor(1, expert=name, n_init=20, random_state=1).fit(X, y)
    np.testing.assert_allclose(one.loglik_, many.loglik_, rtol=1e-9)
