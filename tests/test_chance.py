"""One rule against chance lines: its numbers, and search, certificate, selection and diagnosis that follow it."""

import numpy as np
import pytest

from helpers import altered, quietly, sampled
from smoe import SoftmaxMoERegressor, TopKMoERegressor
from smoe.chance import chance, excess, load_of, merit, preference, prices
from smoe.experts import Expert, GaussianExpert
from smoe.features import design
from smoe.gates import LinearGateParams, SoftmaxGate, TopKGate
from smoe.mixture import MixtureOfExperts
from smoe.params import permute
from smoe.rows import ArraySource, Blocks, standardise
from smoe.rows.sample import _SORTED
from smoe.selection import drop_expert, select_n_experts
from smoe.selection.working import working

CONSTANT = {"gate_features": []}


def line(seed, n, d, sd=1.0, rounded=False):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, d))
    y = X.sum(1) + sd * rng.normal(size=n)
    return X, np.round(y) if rounded else y


def group(seed, n, m, sd, offset):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, n)
    e = rng.normal(size=n)
    y = x + e
    y[:m] = offset - x[:m] + sd * e[:m]
    return x[:, None], y


# The rule -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "n", "d", "wanted"),
    [
        (2, 40, 0, 12.4581),
        (3, 40, 1, 29.1638),
        (5, 100, 1, 12.4421),
        (12, 100, 1, 4.2783),
        (8, 60, 2, 12.2357),
        (10, 100, 4, 26.9078),
        (20, 1000, 1, 2.6557),
        (50, 100, 1, 0.0),
        (2, 100, 1, np.inf),
        (1.5, 100, 1, np.inf),
    ],
)
def test_excess(rows, n, d, wanted):
    assert excess(rows, n, d + 1) == pytest.approx(wanted, abs=5e-5)
    assert excess([rows], n, d + 1)[0] == excess(rows, n, d + 1)
    if 0 < wanted < np.inf:
        assert chance(rows, n, d + 1) == pytest.approx(wanted + 0.5 * (d + 3) * np.log(n), abs=5e-5)


def test_order():
    """Regular first, then a finite price, then the net log-likelihood; where no price is finite, the plain one."""
    ranked = [
        preference(False, -10.0, 0.0),
        preference(False, -5.0, 7.0),
        preference(False, 90.0, np.inf),
        preference(False, 80.0, np.inf),
        preference(False, np.nan, np.inf),
        preference(True, 1e6, 0.0),
    ]
    assert sorted(ranked, reverse=True) == ranked


def test_bounded_densities_and_one_expert_pay_nothing():
    class Bounded(GaussianExpert):
        chance_terms = Expert.chance_terms

    X, y = group(0, 100, 5, 1.0, 10)
    fit = quietly(SoftmaxMoERegressor(2, random_state=0, **CONSTANT).fit, X, y)
    model, blocks, params = working(fit, X, y)
    load = load_of(model, blocks, params)
    assert prices(model, blocks, params, load).excess[0] == 0.0 < prices(model, blocks, params, load).excess[1]
    assert not prices(MixtureOfExperts(model.gate, Bounded()), blocks, params, load).excess.any()
    one = quietly(SoftmaxMoERegressor(1).fit, X[:3], y[:3])
    assert one.fitted_.certificate.price == 0.0 and not one.fitted_.certificate.checked


def test_loads_are_the_responsibilities():
    X, y = group(1, 60, 20, 0.3, 3)
    fit = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    load = load_of(*working(fit, X, y))
    np.testing.assert_allclose(load.rows, fit.responsibilities(X, y).sum(axis=0))
    np.testing.assert_allclose(load.weight, load.rows)


# Ten data sets --------------------------------------------------------------------------------------------------------

NULL = {
    "40 rows": (line(2, 40, 1), CONSTANT, -59.163),
    "60 rows": (line(0, 60, 1), CONSTANT, -85.669),
    "two features": (line(0, 60, 2), CONSTANT, -82.118),
    "four features": (line(0, 100, 4), CONSTANT, -146.828),
    "softmax": (line(1, 60, 1), {}, -72.975),
    "rounded": (line(0, 60, 1, 3.0, True), CONSTANT, -153.092),
}
GROUPS = {
    "five rows far off": (group(0, 100, 5, 1.0, 10), CONSTANT, -157.745, 5.0),
    "ten rows on a sharp line": (group(0, 100, 10, 0.05, 3), CONSTANT, -138.533, 10.18),
    "an exact line": (group(0, 60, 20, 0.02, 0), CONSTANT, -38.352, 21.09),
    "softmax": (group(0, 200, 10, 1 / 3, 6), {}, -315.514, 9.99),
}


@pytest.mark.parametrize("name", NULL)
def test_one_line_is_one_expert(name):
    (X, y), settings, loglik = NULL[name]
    model = SoftmaxMoERegressor(random_state=0, **settings)
    found = quietly(select_n_experts, model, X, y, (1, 2, 3), random_state=0)
    assert found.n_experts_ == 1
    assert found.best_estimator_.loglik_ == pytest.approx(loglik, abs=1e-3)


@pytest.mark.parametrize("name", GROUPS)
def test_small_groups_are_found(name):
    (X, y), settings, loglik, rows = GROUPS[name]
    model = SoftmaxMoERegressor(random_state=0, **settings)
    found = quietly(select_n_experts, model, X, y, (1, 2, 3), random_state=0)
    best = found.best_estimator_
    assert found.n_experts_ == 2 and best.converged_
    assert best.loglik_ == pytest.approx(loglik, abs=1e-3)
    assert best.responsibilities(X, y).sum(axis=0).min() == pytest.approx(rows, abs=0.01)


@pytest.mark.parametrize("data", [line(2, 40, 1), line(0, 60, 1), group(0, 100, 5, 1.0, 10)])
def test_units_do_not_matter(data):
    X, y = data
    tables = [
        quietly(select_n_experts, SoftmaxMoERegressor(random_state=0, **CONSTANT), a * X, b * y, (1, 2), random_state=0)
        for a, b in ((1.0, 1.0), (1e3, 1e-6))
    ]
    assert tables[0].n_experts_ == tables[1].n_experts_
    np.testing.assert_allclose(tables[0].table["price"], tables[1].table["price"], rtol=1e-6)


def test_the_table_charges_the_price():
    X, y = group(0, 100, 5, 1.0, 10)
    model = SoftmaxMoERegressor(random_state=0, **CONSTANT)
    found = quietly(select_n_experts, model, X, y, (1, 2), random_state=0)
    table, fit = found.table, found.estimators_[1]
    small = fit.responsibilities(X, y).sum(axis=0).min()
    assert table["price"][0] == 0.0 and table["price"][1] == pytest.approx(excess(small, 100, 2))
    assert table["bic"][1] == pytest.approx(fit.bic_ + 2 * table["price"][1])
    assert table["icl"][1] == pytest.approx(fit.icl_ + 2 * table["price"][1])
    assert table["aic"][1] == pytest.approx(fit.aic_)
    assert "price" in str(found)


# The certificate ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_experts", [2, 3])
def test_chance_lines_are_not_certified(n_experts):
    X, y = line(2, 40, 1)
    fit = quietly(SoftmaxMoERegressor(n_experts, random_state=0, **CONSTANT).fit, X, y)
    doubted = [one for one in fit.fitted_.certificate.checked if not one.passed]
    assert not fit.converged_ and doubted and not fit.fitted_.certificate.degenerate
    rows = fit.responsibilities(X, y).sum(axis=0)
    for one in doubted:
        assert one.rows == pytest.approx(rows[one.expert])
        assert f"expert {one.expert} may be a chance line: {one.rows:.1f} of 40 rows" in fit.status_
    told = [problem for problem in fit.diagnose(X, y).problems if "no more than a chance line" in problem]
    assert len(told) == len(doubted)


@pytest.mark.parametrize("settings", [CONSTANT, {}])
def test_the_loss_is_that_of_dropping_the_expert(settings):
    X, y = group(0, 100, 10, 0.05, 3)
    fit = SoftmaxMoERegressor(2, random_state=0, **settings).fit(X, y)
    [checked] = fit.fitted_.certificate.checked
    assert checked.passed and fit.converged_ and f"expert {checked.expert}: 10.2 of 100" in str(fit.diagnose(X, y))
    assert checked.chance == pytest.approx(chance(checked.rows, 100, 2))
    assert checked.loss == pytest.approx(drop_expert(fit, checked.expert, X, y).loss)


def test_no_more_rows_than_coefficients():
    """One outlier gains whatever it likes: an expert of its own is never certified."""
    X, y = line(3, 60, 1)
    y[7] = 1e4
    start = SoftmaxMoERegressor(2, random_state=0, **CONSTANT).fit(*group(0, 60, 20, 0.3, 5)).params_
    alone = start._replace(
        gate=start.gate._replace(intercept=np.array([np.log(59.0), 0.0])),
        expert=start.expert._replace(
            coef=np.array([[1.0], [0.0]]), intercept=np.array([0.0, 1e4]), variance=np.array([1.0, 1e6])
        ),
    )
    fit = quietly(SoftmaxMoERegressor(2, start=alone, variance_floor=1e-4, **CONSTANT).fit, X, y)
    assert not fit.converged_ and fit.fitted_.certificate.price == np.inf


def test_merit_of_screened_starts_is_that_of_ends():
    X, y = group(0, 100, 5, 1.0, 10)
    fit = SoftmaxMoERegressor(2, random_state=0, **CONSTANT).fit(X, y)
    model, blocks, params = working(fit, X, y)
    sample = blocks.representatives(1000, np.random.default_rng(0))
    given = fit.fitted_.certificate
    end = type("End", (), {"params": params, "loglik": fit.loglik_, "objective": None})
    wanted = preference(False, fit.loglik_, given.price)
    for rows in (blocks, sample):
        assert merit(model, rows, end) == pytest.approx(wanted, rel=1e-9)


# What a row is --------------------------------------------------------------------------------------------------------


def outliers():
    r = np.random.default_rng(3)
    X = np.r_[r.normal(size=(30, 1)), [[0.1], [0.15]]]
    y = np.r_[X[:30, 0] + 0.3 * r.normal(size=30), 50.0, 50.8]
    return X, y, np.r_[np.full(30, 10), 1, 1], {**CONSTANT, "expert_features": []}


def light_line():
    r = np.random.default_rng(0)
    x = r.normal(size=130)
    y = np.where(np.arange(130) < 100, x, 10 - x) + 0.3 * r.normal(size=130)
    return x[:, None], y, np.r_[np.full(100, 50), np.full(30, 1)], CONSTANT


def few_rows():
    r = np.random.default_rng(5)
    return r.normal(size=(12, 3)), r.normal(size=12), r.integers(1, 4, 12), {}


@pytest.mark.parametrize(
    ("data", "verdict"), [(outliers(), "converged"), (light_line(), "converged"), (few_rows(), "fewer rows (12) than")]
)
def test_weighted_repeated_and_scaled_rows_get_one_verdict(data, verdict):
    X, y, w, settings = data
    variants = [(X, y, w), (np.repeat(X, w, 0), np.repeat(y, w), None), (X, y, 7.0 * w)]
    fits = [quietly(SoftmaxMoERegressor(2, random_state=0, **settings).fit, *variant) for variant in variants]
    assert all(verdict in fit.status_ for fit in fits)
    assert len({fit.converged_ for fit in fits}) == 1
    np.testing.assert_allclose([fits[1].loglik_, fits[2].loglik_ / 7], fits[0].loglik_, rtol=1e-7)
    np.testing.assert_allclose(fits[1].fitted_.certificate.price, fits[0].fitted_.certificate.price, rtol=1e-5)
    np.testing.assert_allclose(fits[2].fitted_.certificate.price, 7 * fits[0].fitted_.certificate.price, rtol=1e-5)
    found = [fit.diagnose(*v[:2], sample_weight=v[2]) for fit, v in zip(fits, variants, strict=True)]
    for one in found:
        np.testing.assert_allclose(one.distinct, found[0].distinct, rtol=1e-4)
        assert one.distinct.sum() == pytest.approx(len(y))
    np.testing.assert_allclose([found[1].load, found[2].load / 7], 2 * [found[0].load], rtol=1e-4)


def test_diagnose_leaves_out_rows_of_weight_zero():
    X, y, _, settings = light_line()
    fit = SoftmaxMoERegressor(2, random_state=0, **settings).fit(X, y)
    w = np.ones(130)
    w[3] = 0.0
    found, wanted = fit.diagnose(X, y, sample_weight=w), fit.diagnose(np.delete(X, 3, 0), np.delete(y, 3))
    np.testing.assert_allclose(found.load, wanted.load)
    np.testing.assert_allclose(found.distinct, wanted.distinct)
    assert len(found.pit) == 129


def blocks_of(X, y, weight=None):
    weight = np.ones(len(y)) if weight is None else weight
    model, columns = MixtureOfExperts(SoftmaxGate(), GaussianExpert()), np.arange(X.shape[1])
    source = ArraySource(X, y, weight)
    return Blocks(model, source, standardise(model, source, columns, columns))


@pytest.mark.parametrize("n_values", [2, 3])
def test_more_than_a_million_rows_of_few_kinds(n_values):
    """They are what the weighted distinct rows are, and none of them is lost."""
    rng = np.random.default_rng(n_values)
    n = _SORTED + 50_000
    X = rng.integers(0, n_values, (n, 1)).astype(float)
    y = rng.integers(0, n_values, n) + 3.37 * X[:, 0]
    kinds, weight = np.unique(np.column_stack([X, y]), axis=0, return_counts=True)
    sample = blocks_of(X, y).representatives(1000, np.random.default_rng(0))
    assert sample.complete
    found = np.column_stack([*sample.block.raw[:2], sample.block.weight])
    np.testing.assert_array_equal(found[np.lexsort(found.T[1::-1])], np.column_stack([kinds, weight]))
    settings = {"random_state": 0, "n_init": 5, "gate_features": []}
    few = quietly(SoftmaxMoERegressor(2, **settings).fit, kinds[:, :1], kinds[:, 1], weight)
    many = quietly(SoftmaxMoERegressor(2, **settings | {"start": few.params_}).fit, X, y)
    np.testing.assert_allclose(many.loglik_, few.loglik_, rtol=1e-6)
    assert many.converged_ == few.converged_


def test_more_than_a_million_distinct_rows():
    """A heavy row is always kept, the others stand for all."""
    rng = np.random.default_rng(0)
    n = _SORTED + 200_000
    X, y = rng.normal(size=(n, 1)), rng.normal(size=n)
    X[:100_000], y[:100_000] = 1.0, 2.0
    blocks = blocks_of(X, y)
    assert blocks.n_distinct == n - 99_999
    rows, weight = blocks.representative_rows(n, rng)
    assert weight[X[rows, 0] == 1.0] == 100_000
    assert 0.98 < weight.sum() / n < 1.02 and len(rows) < _SORTED
    light = weight[X[rows, 0] != 1.0]
    assert light.max() == pytest.approx(light.min())


# The search -----------------------------------------------------------------------------------------------------------


def test_exact_zeros_get_one_verdict():
    a, q = np.random.default_rng(2).normal(size=500), np.random.default_rng(3)
    z = np.where(q.random(500) < 0.35, 0.0, a + 0.5 * q.standard_t(4, 500))
    fits = [quietly(SoftmaxMoERegressor(2, random_state=s).fit, a[:, None], z) for s in range(4)]
    assert all(fit.converged_ for fit in fits)
    np.testing.assert_allclose([fit.loglik_ for fit in fits], fits[0].loglik_, atol=1e-4)
    share = f"{np.sum(z == 0)} of 500 responses are exactly 0"
    assert any(share in problem for problem in fits[0].diagnose(a[:, None], z).problems)
    only = quietly(SoftmaxMoERegressor(2, random_state=0, n_init=3).fit, np.zeros((90, 1)), np.r_[z[:60], np.zeros(30)])
    assert "responses are exactly 0" in only.status_ or only.converged_


def test_a_collapse_onto_one_response_says_so():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    y = np.where(x > 0, 0.0, x + rng.normal(size=200))
    split = SoftmaxMoERegressor(2, random_state=0, n_init=1, variance_floor=1e-4)
    fits = [quietly(split.set_params(random_state=s).fit, x[:, None], y).status_ for s in range(5)]
    share = f"variance at its floor (expert {{}}): {np.sum(y == 0)} of 200 responses are exactly 0"
    assert any(share.format(k) in status for status in fits for k in (0, 1))


# The density does not depend on how experts are numbered --------------------------------------------------------------


@pytest.mark.parametrize(("k", "top_k"), [(2, 1), (3, 1), (3, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_rows_that_tie_all_slopes(k, top_k, seed):
    r = np.random.default_rng(seed)
    X = r.integers(-2, 4, (200, 1)).astype(float)
    y = np.where(X[:, 0] > 0, 1 + 2 * X[:, 0], -3 + X[:, 0])
    y[X[:, 0] == 0] = 5
    y = y + 0.4 * r.normal(size=200)
    fit = quietly(TopKMoERegressor(k, top_k=top_k, rank_by="slope", random_state=0, n_init=6).fit, X, y)
    assert fit.loglik(X, y) == pytest.approx(fit.loglik_, rel=1e-9)
    order = list(range(k))[::-1]
    wanted = fit.responsibilities(X, y)[:, order]
    altered(fit, params=permute(fit.params_, order))
    np.testing.assert_allclose(fit.responsibilities(X, y), wanted, atol=1e-12)


def test_ties_of_slopes_go_to_the_larger_score():
    gate = TopKGate(1, rank_by="slope")
    params = LinearGateParams(np.array([[1.0], [-1.0], [0.0]]), np.array([-0.3, 0.7, 0.0]))
    chosen = gate.chosen(design(np.array([[0.0, 1.0, -1.0]])), params)[0]
    np.testing.assert_array_equal(chosen, [[1, 0, 1]])


def test_boundaries_lie_midway_between_rows():
    X = np.r_[np.linspace(-1, -0.4, 40), np.linspace(0.2, 1, 40)][:, None]
    rng = np.random.default_rng(0)
    y = np.where(X[:, 0] < 0, 3 + X[:, 0], -2 * X[:, 0]) + 0.1 * rng.normal(size=80)
    fit = TopKMoERegressor(2, top_k=1, random_state=0).fit(X, y)
    (slope, _), (intercept, _) = fit.gate_coef_[:, 0], fit.gate_intercept_
    assert -intercept / slope == pytest.approx(-0.1)


def test_a_fit_that_the_units_cannot_hold_says_so():
    """Coefficients of x near 1e12 lose the rows' differences; nothing is certified that cannot be reported."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    y = np.where(np.arange(200) < 100, x, -x) + 1e-3 * rng.normal(size=200)
    X = (x + 1e12)[:, None]
    fit = quietly(SoftmaxMoERegressor(2, random_state=0, **CONSTANT).fit, X, y)
    assert fit.loglik(X, y) == pytest.approx(fit.loglik_, rel=1e-12)
    assert not fit.converged_ and "in the units of X and y" in fit.status_


@pytest.mark.parametrize("seed", sampled([5, 6]))
def test_ties_of_neighbours_are_not_broken_by_rounding(seed):
    r = np.random.default_rng(seed)
    X = np.round(r.normal(size=(200, 2)), 1)
    y = X @ [1, 2] + np.where(X[:, 0] > 0, 3, 0) * X[:, 1] + r.normal(size=200)
    order = r.permutation(200)
    fits = [
        quietly(SoftmaxMoERegressor(4, random_state=0).fit, *data)
        for data in ((X, y), (X[order], y[order]), (10 * X, y), (X, 0.1 * y))
    ]
    logliks = [fit.loglik_ for fit in fits[:3]] + [fits[3].loglik_ + 200 * np.log(0.1)]
    # The gate separates: how near a climb comes to the supremum depends on rounding, in which basin it is does not.
    np.testing.assert_allclose(logliks, logliks[0], rtol=1e-6)
