"""Top-K gates: selection, identities, the support search and what it reaches."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

import naive
from helpers import Problem, altered, assert_close, from_python, quietly, random_expert
from smoe import MoERegressor, SoftmaxMoERegressor, TopKMoERegressor
from smoe._kernels import line_search, line_sweep, support_lines
from smoe._kernels.line_search import search_lines
from smoe._kernels.top_k import chosen_lines, gather, keep_chosen, top_k_experts
from smoe.datasets import make_moe
from smoe.experts import GaussianExpert, GaussianExpertParams
from smoe.features import Rows, design
from smoe.gates import LinearGateParams, RelaxedTopKGate, SoftmaxGate, TopKGate
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, flatten, unflatten
from smoe.rows import ArraySource, Blocks, Scaling
from smoe.solvers import EM, LBFGS, EMNewton, Newton, SupportSearch
from smoe.starts import FromParams

keep_pivots, nearest, unevenness = map(
    from_python, (line_search.keep_pivots, line_search.nearest, line_search.unevenness)
)
best_on_line, sort_breaks = map(from_python, (line_sweep.best_on_line, line_sweep.sort_breaks))
line_terms, moved_loglik = map(from_python, (support_lines.line_terms, support_lines.moved_loglik))
others, sort_best = map(from_python, (support_lines.others, support_lines.sort_best))
T0 = MoEParams(
    LinearGateParams(np.array([[25.0], [0.0]]), np.array([-8.0, 0.0])),
    GaussianExpertParams(np.array([[-20.0], [20.0]]), np.array([15.0, -5.0]), np.array([0.09, 0.16])),
)


def naive_choice(ranks, top_k):
    """The top_k experts of one row, best first; Python's stable sort gives ties to the lower index."""
    return sorted(range(len(ranks)), key=lambda i: -ranks[i])[:top_k]


def naive_loglik(scores, ranking, log_density, weight, top_k):
    total = 0.0
    for s, r, f, w in zip(scores.T, ranking.T, log_density.T, weight, strict=True):
        chosen = naive_choice(r, top_k)
        p = np.exp(s[chosen] - s[chosen].max())
        total += w * np.log((p / p.sum()) @ np.exp(f[chosen]))
    return total


# Selection ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [1, 7, 32, 255, 256, 257, 700])
@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_selection_is_a_stable_sort(m, top_k, rng):
    ranks = rng.integers(-2, 3, (4, m)).astype(float)  # many ties
    wanted = np.transpose([naive_choice(row, top_k) for row in ranks.T])
    chosen = top_k_experts(ranks, top_k)
    np.testing.assert_array_equal(chosen, wanted)
    kept = keep_chosen(ranks, chosen)
    assert np.all((kept > -np.inf).sum(axis=0) == top_k)
    np.testing.assert_array_equal(np.sort(kept, axis=0)[-top_k:][::-1], np.take_along_axis(ranks, wanted, 0))
    np.testing.assert_array_equal(gather(ranks, chosen), np.take_along_axis(ranks, wanted, 0))
    lines, Z = rng.normal(size=(4, 3)), rng.normal(size=(3, m))
    np.testing.assert_allclose(chosen_lines(lines, Z, chosen), np.take_along_axis(lines @ Z, chosen, 0), rtol=1e-12)


def test_selection_always_names_different_experts():
    ranks = np.array([[-np.inf, np.nan, 1.0], [1.0, -np.inf, np.nan], [-np.inf, np.nan, np.inf]])
    for top_k in (2, 3):
        assert all(len(set(row)) == top_k for row in top_k_experts(ranks, top_k).T.tolist())
    assert top_k_experts(ranks, 1)[0].tolist()[::2] == [1, 2]


@pytest.mark.parametrize("rank_by", ["score", "slope"])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_gate_equals_its_definition(rank_by, top_k, rng):
    params = LinearGateParams(rng.normal(size=(4, 2)), rng.normal(size=4))
    gate, X = TopKGate(top_k, rank_by), rng.normal(size=(2, 50))
    for x, found in zip(X.T, gate.scores(design(X), params).T, strict=True):
        slopes = params.coef @ x
        scores = slopes + params.intercept
        chosen = naive_choice(scores if rank_by == "score" else slopes, top_k)
        assert sorted(np.flatnonzero(found > -np.inf)) == sorted(chosen)
        np.testing.assert_allclose(found[chosen], scores[chosen], rtol=1e-13)


@pytest.mark.parametrize("rank_by", ["score", "slope"])
def test_sparse_prediction_equals_the_dense_formula(rank_by, rng):
    moe = make_moe(300, 2, 4, gate=TopKGate(2), random_state=0)
    model = MixtureOfExperts(TopKGate(2, rank_by), GaussianExpert())
    block = Blocks(model, ArraySource(moe.data), Scaling.identity(np.arange(2), np.arange(2))).take(slice(None))
    proba = model.gate_proba(block, moe.params)
    means = model.expert.mean(Rows(block.expert_Z), moe.params.expert)
    np.testing.assert_allclose(model.mean(block, moe.params), (proba * means).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(model.mean_and_std(block, moe.params)[0], model.mean(block, moe.params))


# Identities -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def moe():
    return make_moe(500, 2, 3, gate=TopKGate(2), random_state=3)


def test_all_experts_selected_is_the_softmax_gate(moe):
    start = FromParams(moe.params)
    sparse = quietly(TopKMoERegressor(3, top_k=3, start=start).fit, moe.data, moe.target)
    dense = quietly(SoftmaxMoERegressor(3, start=start).fit, moe.data, moe.target)
    assert sparse.loglik_ == dense.loglik_
    assert_close(sparse.params_, dense.params_, rtol=0, atol=0)
    np.testing.assert_allclose(sparse.gate_proba(moe.data), dense.gate_proba(moe.data), rtol=1e-12)


def test_one_expert_per_row_is_a_partition():
    moe = make_moe(300, 1, 2, gate=TopKGate(1), random_state=1)
    model = TopKMoERegressor(2, top_k=1, random_state=0).fit(moe.data, moe.target)
    proba = model.gate_proba(moe.data)
    assert set(np.unique(proba)) == {0.0, 1.0} and np.all(proba.sum(axis=1) == 1)
    np.testing.assert_array_equal(model.responsibilities(moe.data, moe.target), proba)
    own = proba.argmax(axis=1)
    for k in range(2):  # the experts are least squares on their own rows
        Z = np.column_stack([moe.data[own == k], np.ones((own == k).sum())])
        line, square = np.linalg.lstsq(Z, moe.target[own == k])[:2]
        np.testing.assert_allclose([*model.expert_coef_[k], model.expert_intercept_[k]], line, rtol=1e-8)
        np.testing.assert_allclose(model.expert_variance_[k], square[0] / len(Z), rtol=1e-8)
    np.testing.assert_allclose(np.linalg.norm(model.gate_coef_), 1.0)


def test_as_many_probabilities_as_selected(moe):
    model = TopKMoERegressor(3, top_k=2, random_state=0).fit(moe.data, moe.target)
    assert np.all((model.gate_proba(moe.data) > 0).sum(axis=1) == 2)
    assert model.n_parameters_ == 2 * 3 + 3 * 4 and model.n_active_parameters_ == 2 * 3 + 2 * 4
    assert model.loglik_ >= moe.loglik and model.converged_
    np.testing.assert_allclose(model.loglik(moe.data, moe.target), model.loglik_, rtol=1e-10)
    np.testing.assert_allclose(model.trace_[-1], model.loglik_, rtol=1e-12)


@pytest.mark.parametrize("rank_by", ["score", "slope"])
def test_relaxed_gate_lies_between_softmax_and_top_k(rank_by, rng):
    params = LinearGateParams(rng.normal(size=(4, 2)), rng.normal(size=4))
    Z = design(rng.normal(size=(2, 60)))

    def proba(gate):
        return np.array([naive.softmax(row) for row in gate.scores(Z, params).T.tolist()])

    np.testing.assert_allclose(proba(RelaxedTopKGate(2, rank_by, width=1e9)), proba(SoftmaxGate()), rtol=1e-6)
    np.testing.assert_allclose(proba(RelaxedTopKGate(2, rank_by, width=1e-7)), proba(TopKGate(2, rank_by)), atol=1e-9)


def naive_relaxed(scores, ranking, top_k, width):
    """The relaxed scores of one row."""
    order = naive_choice(ranking, top_k + 1)
    threshold = 0.5 * (ranking[order[-1]] + ranking[order[-2]])
    distance = (ranking - threshold) / width
    return [s - (np.log1p(np.exp(-abs(d))) + max(-d, 0.0)) for s, d in zip(scores, distance, strict=True)]


@pytest.mark.parametrize("spread", [1.0, 800.0])
@pytest.mark.parametrize("m", [1, 513])
@pytest.mark.parametrize("rank_by", ["score", "slope"])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_relaxed_scores_equal_their_definition(top_k, rank_by, m, spread, rng):
    params = LinearGateParams(spread * rng.normal(size=(4, 2)), rng.normal(size=4))
    gate, Z = RelaxedTopKGate(top_k, rank_by, width=0.5), design(rng.normal(size=(2, m)))
    slopes = params.coef @ Z[:-1]
    scores = slopes + params.intercept[:, None]
    ranking = scores if rank_by == "score" else slopes
    wanted = [naive_relaxed(s, r, top_k, 0.5) for s, r in zip(scores.T, ranking.T, strict=True)]
    np.testing.assert_allclose(gate.scores(Z, params), np.transpose(wanted), rtol=1e-12, atol=1e-13 * spread)


@pytest.mark.parametrize("rank_by", ["score", "slope"])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_relaxed_pullback_is_the_derivative(top_k, rank_by, rng):
    params = LinearGateParams(rng.normal(size=(4, 2)), rng.normal(size=4))
    gate, R = RelaxedTopKGate(top_k, rank_by, width=0.5), rng.normal(size=(2, 4, 600))
    Z = design(rng.normal(size=(2, 600)))
    found = gate.pullback(Z, params, R)
    for c in range(2):
        wanted = naive.gradient(lambda p, r=R[c]: (r * gate.scores(Z, p)).sum(), params, step=1e-5)
        one = LinearGateParams(found.coef[c], found.intercept[c])
        np.testing.assert_allclose(flatten(one), wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("top_k", [1, 2])
def test_relaxed_information_is_the_variance_of_the_scores(top_k, observed, rng):
    params = LinearGateParams(rng.normal(size=(3, 2)), rng.normal(size=3))
    gate, Z = RelaxedTopKGate(top_k, width=0.5), design(rng.normal(size=(2, 530)))
    proba, resp = rng.dirichlet(np.ones(3), 530).T.copy(), rng.dirichlet(np.ones(3), 530).T.copy()
    weight = rng.uniform(0.5, 2.0, 530)
    J = naive.gradient(lambda p: gate.scores(Z, p), params, step=1e-6)
    wanted = np.zeros((9, 9))
    for row in range(530):
        for q, sign in ((proba, 1.0), (resp, -1.0))[: 1 + observed]:
            spread = np.diag(q[:, row]) - np.outer(q[:, row], q[:, row])
            wanted += sign * weight[row] * J[:, :, row] @ spread @ J[:, :, row].T
    found = gate.information(Z, params, proba, weight, *[resp] * observed)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("width", [1.0, 1e-4])
def test_far_from_the_threshold_the_relaxed_gate_stays_finite(width):
    """Scores of +-800: probabilities are exact zeros and ones, nothing overflows."""
    params = LinearGateParams(np.array([[800.0], [-800.0], [0.0]]), np.zeros(3))
    gate, Z, R = RelaxedTopKGate(1, width=width), design(np.array([[1.0, -1.0]])), np.ones((3, 2))
    np.testing.assert_allclose(gate.scores(Z, params)[:2].diagonal(), 800.0)
    assert np.isfinite(flatten(gate.pullback(Z, params, R))).all()
    assert np.isfinite(gate.information(Z, params, R / 3, np.ones(2))).all()


# Lines ----------------------------------------------------------------------------------------------------------------


def line_problem(top_k, rng, m=60, k=4):
    Z = design(rng.normal(size=(2, m)))
    lines, delta = rng.normal(size=(k, 3)), rng.normal(size=3)
    return lines @ Z, delta @ Z, rng.normal(size=(k, m)) - 1.0, rng.uniform(0.5, 2.0, m)


def rest_of(scores, ranking, log_density, top_k, i):
    """What the kernels remember of the experts other than i."""
    order = top_k_experts(ranking, top_k + 1)
    best, rest = np.empty((3, *order.shape)), np.empty((5, order.shape[1]))
    sort_best(order, scores, ranking, log_density, best)
    others(order, best, i, rest)
    return rest


def expand(scores, ranking, log_density, weight, top_k, i, u, v):
    """The terms of every row along a line, and the sums at its beginning."""
    at, terms = np.empty(len(u)), np.empty((3, len(u)))
    rest = rest_of(scores, ranking, log_density, top_k, i)
    start = line_terms(scores, ranking, log_density, weight, i, u, v, rest, top_k, at, terms)
    return at, terms, start


def sorted_breaks(at, reach):
    return sort_breaks(at, reach, np.empty(len(at), np.int64), np.empty(len(at), np.int64))


@pytest.mark.parametrize("spread", [1.0, 800.0])
@pytest.mark.parametrize("m", [1, 60, 511, 1025])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_loglik_and_level_equal_their_definitions(top_k, m, spread, rng):
    scores, _, log_density, weight = line_problem(top_k, rng, m)
    scores, ranking = spread * scores, spread * (scores + rng.normal(size=(4, 1)))
    wanted = sum(
        w * (naive.log_sum_exp(s[c] + f[c]) - naive.log_sum_exp(s[c]))
        for s, f, w, c in zip(scores.T, log_density.T, weight, (naive_choice(r, top_k) for r in ranking.T), strict=True)
    )
    for i in range(4):
        rest = rest_of(scores, ranking, log_density, top_k, i)
        found = moved_loglik(scores[i], ranking[i], log_density[i], weight, rest, top_k)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
        selected = np.array([i in naive_choice(row, top_k) for row in ranking.T])
        np.testing.assert_array_equal(ranking[i] > rest[0], selected)


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_ties_go_to_the_lower_index(top_k, rng):
    scores, _, log_density, weight = line_problem(top_k, rng, m=200)
    scores = np.round(scores)
    for i in range(4):
        rest = rest_of(scores, scores, log_density, top_k, i)
        found = moved_loglik(scores[i], scores[i], log_density[i], weight, rest, top_k)
        np.testing.assert_allclose(found, naive_loglik(scores, scores, log_density, weight, top_k), rtol=1e-12)


@np.errstate(all="ignore")  # compiled kernels never warn, plain Python ones may
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_densities_of_zero(top_k, rng):
    """A row is lost if all of its experts are impossible, and only then; no line is expected to gain from it."""
    scores, u, log_density, weight = line_problem(top_k, rng)
    chosen = naive_choice(scores[:, 0], top_k)
    log_density[chosen[1:], 0] = -np.inf
    for i in range(4):
        rest = rest_of(scores, scores, log_density, top_k, i)
        found = moved_loglik(scores[i], scores[i], log_density[i], weight, rest, top_k)
        np.testing.assert_allclose(found, naive_loglik(scores, scores, log_density, weight, top_k), rtol=1e-12)
    log_density[:, 0] = -np.inf
    for i in range(4):
        rest = rest_of(scores, scores, log_density, top_k, i)
        assert moved_loglik(scores[i], scores[i], log_density[i], weight, rest, top_k) == -np.inf
        at, terms, start = expand(scores, scores, log_density, weight, top_k, i, u, u)
        assert not best_on_line(sorted_breaks(at, 5.0), at, terms, u, *start, 5.0)[1] > -np.inf


@np.errstate(all="ignore")
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_densities_that_are_no_numbers(top_k, rng):
    scores, u, log_density, weight = line_problem(top_k, rng)
    log_density[naive_choice(scores[:, 5], top_k)[0], 5] = np.nan
    for i in range(4):
        rest = rest_of(scores, scores, log_density, top_k, i)
        assert np.isnan(moved_loglik(scores[i], scores[i], log_density[i], weight, rest, top_k))
        at, terms, start = expand(scores, scores, log_density, weight, top_k, i, u, u)
        assert not best_on_line(sorted_breaks(at, 5.0), at, terms, u, *start, 5.0)[1] > -np.inf


@pytest.mark.parametrize("m", [0, 1, 1000])
def test_break_points_are_sorted(m, rng):
    close = rng.permutation(np.linspace(0.0, 1e-5, 1001))
    at = np.concatenate([rng.normal(size=m), rng.standard_cauchy(m), close, np.full(m, np.inf), [-2.0, 2.0, -2.1]])
    order = sorted_breaks(at, 2.0)
    within = np.flatnonzero(np.abs(at) <= 2.0)
    assert sorted(order) == within.tolist()
    np.testing.assert_allclose(at[order], np.sort(at[within]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("reach", [0.3, 5.0])
def test_a_line_is_searched_exactly_for_one_expert_per_row(seed, reach):
    scores, u, log_density, weight = line_problem(1, np.random.default_rng(seed))
    at, terms, start = expand(scores, scores, log_density, weight, 1, 2, u, u)
    t, value = best_on_line(sorted_breaks(at, reach), at, terms, u, *start, reach)

    def along(t):
        moved = scores.copy()
        moved[2] += t * u
        return naive_loglik(moved, moved, log_density, weight, 1)

    breaks = np.sort([*at[np.abs(at) <= reach], -reach, reach])
    best = max(along(middle) for middle in (breaks[1:] + breaks[:-1]) / 2)  # constant between break points
    np.testing.assert_allclose([value, along(t)], best, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shift", [0.0, 1.0])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_a_line_jumps_by_what_a_row_gains(top_k, seed, shift):
    """Each row's terms are the difference with and without the expert, exact where it enters or leaves."""
    rng = np.random.default_rng(seed)
    scores, u, log_density, weight = line_problem(top_k, rng)
    ranking, v = scores + shift * rng.normal(size=(4, 1)), u - shift * 0.3
    at, terms, _ = expand(scores, ranking, log_density, weight, top_k, 1, u, v)
    for row in np.flatnonzero(np.isfinite(at)):
        one = slice(row, row + 1)
        sides = []
        for step in (-1e-7, 1e-7):
            s, r = scores[:, one].copy(), ranking[:, one].copy()
            s[1] += (at[row] + step) * u[row]
            r[1] += (at[row] + step) * v[row]
            sides.append(naive_loglik(s, r, log_density[:, one], weight[one], top_k))
        jump = (sides[1] - sides[0]) * np.sign(v[row])
        found = terms[0, row] + terms[1, row] * at[row] + terms[2, row] * at[row] ** 2
        np.testing.assert_allclose(found, jump, atol=1e-5)


@pytest.mark.parametrize("top_k", [2, 3])
def test_a_line_is_expanded_to_second_order(top_k, rng):
    """The slope and the bend of each row's term are those of its log-likelihood with the expert, at the break point."""
    scores, u, log_density, weight = line_problem(top_k, rng)
    at, terms, _ = expand(scores, scores, log_density, weight, top_k, 1, u, u)
    for row in np.flatnonzero(np.abs(at) < 50):
        rest = [i for i in naive_choice(scores[:, row], 4) if i != 1][: top_k - 1]

        def inside(t, row=row, rest=rest):
            s, f = scores[[*rest, 1], row].copy(), log_density[[*rest, 1], row]
            s[-1] += t * u[row]
            return weight[row] * (naive.log_sum_exp(s + f) - naive.log_sum_exp(s))

        h = 1e-4 / max(abs(u[row]), 1.0)
        low, middle, high = (inside(at[row] + step) for step in (-h, 0.0, h))
        slope, bend = terms[1, row] + 2 * terms[2, row] * at[row], 2 * terms[2, row]
        np.testing.assert_allclose(slope, (high - low) / (2 * h), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(bend, (high - 2 * middle + low) / h**2, rtol=1e-4, atol=1e-4)


def uneven(gate, importance):
    """The penalty on uneven use: the squared coefficient of variation of the importance, times their sum."""
    share = importance / importance.mean()
    return gate.balance * importance.sum() * share.var()


@pytest.mark.parametrize("by_slope", [False, True])
@pytest.mark.parametrize("balance", [0.0, 0.5])
@pytest.mark.parametrize("top_k", [1, 2])
def test_a_round_of_lines_raises_the_exact_loglik(top_k, balance, by_slope, rng):
    k, p, m, n_lines = 4, 3, 700, 15
    Z, lines, weight = design(rng.normal(size=(p - 1, m))), rng.normal(size=(k, p)), rng.uniform(0.5, 2.0, m)
    log_density = rng.normal(-1.0, 2.0, (k, m))
    gate = TopKGate(top_k, "slope" if by_slope else "score", balance)

    def objective(lines):
        params = LinearGateParams(lines[:, :-1], lines[:, -1])
        scores = lines @ Z
        proba = np.array([naive.softmax(row) for row in gate.scores(Z, params).T.tolist()]).T
        loglik = naive_loglik(scores, gate.ranking(scores, params), log_density, weight, top_k)
        return loglik - uneven(gate, proba @ weight)

    draws = rng.integers(k, size=n_lines), rng.normal(size=(n_lines, p)), rng.integers(p, size=n_lines)
    before = lines.copy()
    value = search_lines(
        lines, Z, log_density, weight, top_k, p - by_slope, balance, 30.0, *draws, rng.random((n_lines, p - 1))
    )
    np.testing.assert_allclose(value, objective(lines), rtol=1e-11)
    assert value > objective(before) + 1.0


@pytest.mark.parametrize("m", [3, 40, 41, 900])
def test_pivots_are_close_to_the_boundary_and_stay_there(m, rng):
    rank, level = rng.normal(size=m), rng.normal(size=m)
    near = np.empty(40, np.int64)
    n = nearest(rank, level, near, np.empty(40))
    assert sorted(near[:n]) == sorted(np.argsort(np.abs(rank - level))[:40])
    Z, delta = design(rng.normal(size=(3, m))), rng.normal(size=4)
    first = delta.copy()
    keep_pivots(delta, Z, near[:n], rng.random(2))
    pivots = near[:2]
    np.testing.assert_allclose(delta @ Z[:, pivots], 0, atol=1e-12)
    spanned = np.linalg.lstsq(Z[:, pivots], first - delta)[1]
    np.testing.assert_allclose(spanned, 0, atol=1e-20)


def test_equal_pivots_take_out_one_direction(rng):
    z, delta = rng.normal(size=3), rng.normal(size=3)
    first = delta.copy()
    keep_pivots(delta, np.tile(z[:, None], 5), np.arange(5), rng.random(2))
    np.testing.assert_allclose(delta, first - z * (first @ z) / (z @ z), atol=1e-14)


@pytest.mark.parametrize("spread", [1.0, 800.0])
def test_unevenness_is_the_penalty(spread, rng):
    scores, weight = spread * rng.normal(size=(4, 90)), rng.uniform(0.5, 2.0, 90)
    proba = np.zeros((4, 90))
    for row, s in enumerate(scores.T):
        chosen = naive_choice(s, 2)
        proba[chosen, row] = naive.softmax(s[chosen].tolist())
    wanted = uneven(TopKGate(2, balance=1.0), proba @ weight)
    np.testing.assert_allclose(unevenness(scores, scores, weight, 2), wanted, rtol=1e-10)


# The search -----------------------------------------------------------------------------------------------------------


def test_the_loglik_never_falls():
    """Over EM iterations and rounds of the search, on the observed log-likelihood."""
    falls = updates = 0
    for seed in range(10):
        for top_k in (1, 2):
            problem = Problem("top_k", "gaussian", n=80, k=3, d=2, seed=seed)
            model = problem.model._replace(gate=TopKGate(top_k))
            for solver in (EM(40, 0.0), SupportSearch(max_iter=15, patience=15)):
                trace = solver.solve(model, problem.blocks, problem.near_truth(1.0)).trace
                updates += len(trace) - 1
                falls += np.sum(np.diff(trace) < -1e-11 * np.abs(trace[1:]).max())
    assert updates >= 1000 and falls == 0


@pytest.mark.parametrize("k, top_k, d, seed", [(3, 1, 1, 0), (3, 2, 2, 1), (4, 1, 2, 2)])
def test_the_truth_is_reached(k, top_k, d, seed):
    moe = make_moe(1000, d, k, gate=TopKGate(top_k), random_state=seed)
    model = TopKMoERegressor(k, top_k=top_k, random_state=0).fit(moe.data, moe.target)
    assert model.loglik_ >= moe.loglik
    assert model.converged_ and model.status_.startswith("converged")


@pytest.mark.parametrize("seed", range(2))
def test_the_boundary_of_a_partition_is_found(seed):
    moe = make_moe(
        1000, params=T0, gate=TopKGate(1), covariates=lambda n, rng: rng.uniform(0, 1, (n, 1)), random_state=seed
    )
    model = TopKMoERegressor(2, top_k=1, random_state=seed).fit(moe.data, moe.target)
    boundary = -model.gate_intercept_[0] / model.gate_coef_[0, 0]
    assert abs(boundary - 0.32) < 0.005


def test_a_gate_that_runs_off_is_not_certified():
    """Two of three for one of two: beside the expert without a copy one has to lose all weight."""
    moe = make_moe(
        500, params=T0, gate=TopKGate(1), covariates=lambda n, rng: rng.uniform(0, 1, (n, 1)), random_state=0
    )
    settings = {"top_k": 2, "n_init": 10, "random_state": 0}
    three = quietly(TopKMoERegressor(3, **settings).fit, moe.data, moe.target)
    assert not three.converged_ and three.status_.startswith("gate separates the data")
    # Steeper between the copies and the other expert, at the same border: higher and higher.
    border, side = 0.32, np.sign(three.expert_coef_[:, 0]) < 0
    edge = moe.data[moe.data[:, 0] < border].max() / 2 + moe.data[moe.data[:, 0] > border].min() / 2
    params = three.params_

    def loglik(steepness):
        gate = params.gate._replace(
            coef=params.gate.coef + steepness * side[:, None], intercept=params.gate.intercept - steepness * edge * side
        )
        Z = design(moe.data.T)
        scores, means = gate.coef @ Z[:-1] + gate.intercept[:, None], three.expert_predict(moe.data).T
        squares = (moe.target - means) ** 2 / three.expert_variance_[:, None]
        log_density = -0.5 * (squares + np.log(2 * np.pi * three.expert_variance_)[:, None])
        return naive_loglik(scores, scores, log_density, np.ones(500), 2)

    assert loglik(0.0) == pytest.approx(three.loglik_)
    assert loglik(0.0) < loglik(1e5) <= loglik(1e6)


def test_a_gate_that_has_a_scale_is_certified():
    """One expert is selected everywhere, beside one of two: no row of these two has both."""
    moe = make_moe(800, 1, 3, gate=TopKGate(2), random_state=4)
    model = TopKMoERegressor(3, top_k=2, n_init=10, random_state=0).fit(moe.data, moe.target)
    assert model.converged_, model.status_


def test_ranks_by_slope_are_fitted():
    truth = MoEParams(
        LinearGateParams(np.array([[3.0], [-3.0], [0.0]]), np.array([0.5, 1.0, 0.0])),
        GaussianExpertParams(np.array([[4.0], [-4.0], [0.0]]), np.array([0.0, 3.0, -3.0]), np.full(3, 0.1)),
    )
    moe = make_moe(800, params=truth, gate=TopKGate(2, "slope"), random_state=0)
    model = TopKMoERegressor(3, top_k=2, rank_by="slope", random_state=0).fit(moe.data, moe.target)
    assert model.loglik_ >= moe.loglik
    np.testing.assert_allclose(model.loglik(moe.data, moe.target), model.loglik_, rtol=1e-10)


@pytest.mark.parametrize("solver", [Newton(), LBFGS(), EMNewton(), "newton", "lbfgs", "em_newton"])
def test_solvers_that_follow_derivatives_refuse(solver, moe):
    with pytest.raises(TypeError, match="use solver='support_search'"):
        TopKMoERegressor(3, solver=solver).fit(moe.data, moe.target)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"top_k": 0}, "top_k must be an integer of at least 1"),
        ({"top_k": 4}, "top_k=4 is larger than n_experts=3"),
        ({"top_k": 1.5}, "top_k must be an integer"),
        ({"top_k": True}, "top_k must be an integer"),
        ({"rank_by": "size"}, "rank_by='size' is not known; choose 'score' or 'slope'"),
        ({"balance": -1.0}, "balance must be a number of at least 0"),
    ],
)
def test_settings_that_make_no_sense(settings, words, moe):
    with pytest.raises((ValueError, TypeError), match=words):
        TopKMoERegressor(3, **settings).fit(moe.data, moe.target)


def test_gate_settings_can_be_searched(moe):
    model = MoERegressor(3, gate=TopKGate(), random_state=0, n_init=4)
    search = quietly(GridSearchCV(model, {"gate__top_k": [1, 2]}, cv=2).fit, moe.data, moe.target)
    assert search.best_estimator_.gate_.top_k == search.best_params_["gate__top_k"]


# Load and balance -----------------------------------------------------------------------------------------------------


def test_expert_load(moe):
    model = TopKMoERegressor(3, top_k=2, random_state=0).fit(moe.data, moe.target)
    load, proba = model.expert_load(moe.data), model.gate_proba(moe.data)
    np.testing.assert_allclose(load.mass, proba.mean(axis=0))
    np.testing.assert_allclose(load.first, [(proba.argmax(axis=1) == k).mean() for k in range(3)])
    np.testing.assert_allclose(load.selected.sum(), 2.0)
    assert load.dead.tolist() == [k for k in range(3) if proba[:, k].sum() < 1]
    gate = LinearGateParams(np.zeros((3, 2)), np.array([0.0, -60.0, -60.0]))
    altered(model, params=model.params_._replace(gate=gate))
    assert model.expert_load(moe.data).dead.tolist() == [1, 2]


def test_balance_evens_the_load_and_keeps_the_loglik_honest():
    moe = make_moe(400, 1, 3, gate=TopKGate(2), random_state=5)
    plain = TopKMoERegressor(3, random_state=0).fit(moe.data, moe.target)
    even = quietly(TopKMoERegressor(3, random_state=0, balance=2.0).fit, moe.data, moe.target)
    assert even.expert_load(moe.data).mass.std() < 0.8 * plain.expert_load(moe.data).mass.std()
    assert even.loglik_ < plain.loglik_
    assert even.status_.endswith("the penalty on uneven use takes part: no maximum of the likelihood alone")
    assert "penalty" not in plain.status_
    np.testing.assert_allclose(even.loglik(moe.data, moe.target), even.loglik_, rtol=1e-10)


def test_em_climbs_the_penalised_loglik():
    """EM judges its steps with the penalty: it evens the load although that costs log-likelihood."""
    problem = Problem("top_k", "gaussian", n=150, k=3, d=1, seed=2, spread=2.0)
    model, params = problem.model._replace(gate=TopKGate(2, balance=3.0)), problem.truth

    def objective(p):
        importance = model.gate_proba(problem.block, p) @ problem.weight
        share = importance / importance.mean()
        return problem.loglik(p) - 3.0 * problem.weight.sum() * share.var(), np.ptp(importance)

    before = objective(params)
    values = [before[0]]
    for _ in range(30):
        params = EM(1, 0.0).solve(model, problem.blocks, params).params
        values.append(objective(params)[0])
    assert np.all(np.diff(values) >= -1e-9) and values[-1] > values[0] + 1.0
    assert objective(params)[1] < 0.8 * before[1]


def test_random_experts_do_not_matter_to_the_support(rng):
    """The support depends on the gate alone."""
    problem = Problem("top_k", "gaussian", n=50)
    other = problem.truth._replace(expert=random_expert(problem.model.expert, 3, 2, rng))
    found = [problem.model.gate_proba(problem.block, p) > 0 for p in (problem.truth, other)]
    np.testing.assert_array_equal(*found)
    assert unflatten(flatten(problem.truth), problem.truth)._fields == ("gate", "expert")


@pytest.mark.parametrize("seed", [0, 5])
def test_no_fit_rests_on_ties_of_ranks(seed):
    """With one feature, ranks by slope tie for all rows at once, and only two experts can ever be selected."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (150, 1))
    y = np.where(X[:, 0] > 0, 3 * X[:, 0], 1 - 2 * X[:, 0]) + 0.3 * rng.normal(size=150)
    model = quietly(TopKMoERegressor(4, top_k=1, rank_by="slope", n_init=5, random_state=0).fit, X, y)
    np.testing.assert_allclose(model.loglik(X, y), model.loglik_, rtol=1e-9)
    assert (model.gate_proba(X).sum(axis=0) > 0).sum() == 2 and "empty expert" in model.status_
