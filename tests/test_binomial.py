"""Binomial experts: known numbers, trials in a column of X, links, what cannot be told apart."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from helpers import quietly
from smoe import MoERegressor
from smoe.diagnostics import rootogram
from smoe.families import Binomial
from smoe.families.binomial import LINKS
from smoe.features import Rows
from smoe.inference.replicates import draw_response

links = pytest.mark.parametrize("name", LINKS)


def one_curve():
    rng = np.random.default_rng(3)
    x, trials = rng.normal(size=60), rng.integers(1, 12, 60)
    return pd.DataFrame({"x": x, "trials": trials}), rng.binomial(trials, special.expit(0.3 - 0.8 * x))


def two_curves(n=400, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, n)
    eta = np.where(rng.random(n) < special.expit(3 * x), 1.5 + x, -1.5 + x)
    return pd.DataFrame({"x": x, "trials": 12}), rng.binomial(12, special.expit(eta))


def fit(k, X, y, **settings):
    settings = {"expert": "binomial", "trials_feature": "trials", "n_init": 6 if k > 1 else 1, **settings}
    return quietly(MoERegressor(k, random_state=0, **settings).fit, X, y)


def test_one_expert_is_the_generalised_linear_model():
    """The numbers are those of another program on the same draw."""
    X, y = one_curve()
    model = fit(1, X, y)
    found = model.expert_intercept_[0], model.expert_coef_[0, 0]
    np.testing.assert_allclose(found, [0.45169319, -1.01363916], atol=1e-8)
    assert model.loglik_ == pytest.approx(-74.7794782753, abs=1e-8)
    assert model.bic_ == pytest.approx(157.7476456751, abs=1e-7)  # n is the number of rows


def test_single_trials_have_the_same_maximum_and_no_coefficients():
    X, y = one_curve()
    rows = np.repeat(np.arange(60), X.trials)
    outcome = np.concatenate([np.arange(t) < s for t, s in zip(X.trials, y, strict=True)]).astype(float)
    single = fit(1, X.x.to_numpy()[rows, None], outcome, trials_feature=None)
    assert single.loglik_ == pytest.approx(-226.1286530550, abs=1e-8)
    np.testing.assert_allclose(single.expert_coef_, -1.01363916, atol=1e-8)


@links
def test_the_density_is_that_of_scipy(name, rng):
    family, trials = Binomial(name), np.array([1.0, 5.0, 9.0, 20.0])
    y, eta = np.array([0.0, 5.0, 3.0, 7.0]), rng.normal(size=(1, 2, 4))
    rows, p = Rows(None, y, None, trials), family.mean(Rows(None), eta, [])
    law = stats.binom(trials, p)
    np.testing.assert_allclose(family.log_prob(rows, eta, []), law.logpmf(y), rtol=1e-12)
    np.testing.assert_allclose(family.cdf(rows, eta, []), law.cdf(y), rtol=1e-12)
    np.testing.assert_allclose(family.cdf(rows, eta, [], upper=True), law.sf(y), atol=1e-14)
    np.testing.assert_allclose(family.variance(rows, eta, []), law.var(), rtol=1e-12)
    assert np.all(family.log_prob(rows.at(trials + 1), eta, []) == -np.inf)
    np.testing.assert_allclose(LINKS[name].link(p), eta[0], rtol=1e-9)


@links
def test_derivatives_are_those_of_differences(name, rng):
    family, eta = Binomial(name), rng.normal(size=(1, 2, 4))
    rows = Rows(None, np.array([0.0, 5.0, 3.0, 7.0]), None, np.array([1.0, 5.0, 9.0, 20.0]))
    found, wanted = family.derivatives(rows, eta, []), super(Binomial, family).derivatives(rows, eta, [])
    np.testing.assert_allclose(found[0], wanted[0], atol=1e-8)
    np.testing.assert_allclose(found[1], wanted[1], atol=1e-6)
    for sure in (-300.0, 300.0):
        far = np.full((1, 1, 4), sure)
        assert np.isfinite(family.log_prob(rows, far, [])).all()
        assert all(np.isfinite(part).all() for part in family.derivatives(rows, far, []))


@links
def test_two_experts(name):
    X, y = two_curves()
    model = fit(2, X, y, expert=Binomial(name))
    assert model.converged_ and model.n_parameters_ == 6
    low, high = model.mean_interval(X[:5]).T
    assert np.all((low < model.predict(X[:5])) & (model.predict(X[:5]) < high))
    wanted = stats.binom(12, model.expert_predict(X) / 12).pmf(y[:, None])
    density = np.log((wanted * model.gate_proba(X)).sum(axis=1))
    np.testing.assert_allclose(model.score_samples(X, y), density, rtol=1e-10)


def test_two_columns_of_successes_and_failures_are_told_what_to_do():
    X, y = one_curve()
    with pytest.raises(ValueError, match=r"two columns \(successes, failures\) pass the first, and add their sum to X"):
        fit(1, X, np.column_stack([y, X.trials - y]))


def test_answers_are_about_the_trials_of_their_rows():
    X, y = two_curves()
    model = fit(2, X, y)
    np.testing.assert_allclose(model.predict(X.assign(trials=24)), 2 * model.predict(X), rtol=1e-13)
    mixture = model.predict_distribution(X.assign(trials=3))
    few = model.predict_distribution(X[:3].assign(trials=[1, 3, 30]))
    for ends in (few.ppf(1.0), few.isf(0.0), few.interval(1 - 1e-15)[:, 1]):
        np.testing.assert_array_equal(ends, [1, 3, 30])
    assert mixture.ppf(1 - 1e-9).max() == 3 and mixture.cdf(3.0).min() == 1.0 and mixture.pdf(4.0).max() == 0.0
    assert mixture.sample(random_state=0).max() <= 3
    assert draw_response(model.fitted_, X.assign(trials=2), np.random.default_rng(0)).max() <= 2
    found = rootogram(model, X, y)
    assert found.expected.sum() == pytest.approx(len(y), rel=1e-6)
    assert abs(np.mean(model.diagnose(X, y).residuals)) < 0.2


def test_few_trials_are_named():
    X, y = two_curves()
    model = MoERegressor(
        2, expert="binomial", trials_feature="trials", gate_features=[], n_init=1, max_iter=1, random_state=0
    )
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        model.fit(X.assign(trials=2), np.minimum(y, 2))
    words = "at most 2 trials per row and a gate without covariates: 2 binomial experts can be told apart at one x "
    assert any(str(one.message).startswith(words + "only with 3 trials or more") for one in found)
    assert {one.category for one in found} == {ConvergenceWarning}


def test_a_grid_search_sets_the_link():
    X, y = two_curves(200)
    model = MoERegressor(1, expert=Binomial(), trials_feature="trials", n_init=1)
    search = GridSearchCV(model, {"expert__link_function": ["logit", "cloglog"]}, cv=2).fit(X, y)
    assert search.best_params_["expert__link_function"] in LINKS


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda X, y: (X, y / 12), "y: Binomial takes whole numbers of at least 0"),
        (lambda X, y: (X, y + 12), "y: Binomial counts successes in trials; .* rows have more successes than trials"),
        (lambda X, y: (X.assign(trials=0), y), "trials_feature='trials' must be whole numbers of at least 1"),
        (lambda X, y: (X.assign(trials=12.5), y), "trials_feature='trials' must be whole numbers of at least 1"),
        (lambda X, y: (X, -y - 1), "y: Binomial takes whole numbers of at least 0"),
    ],
)
def test_bad_data(change, words):
    with pytest.raises(ValueError, match=words):
        fit(2, *change(*two_curves()))


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"trials_feature": None}, r"counts successes in trials, one per row without trials_feature"),
        ({"expert": "poisson"}, "trials_feature: Poisson counts no successes in trials"),
        ({"expert": Binomial("cauchit")}, "Binomial: link_function='cauchit' is not known; choose 'logit'"),
    ],
)
def test_bad_settings(settings, words):
    with pytest.raises(ValueError, match=words):
        fit(2, *two_curves(), **settings)
