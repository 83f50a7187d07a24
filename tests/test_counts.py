"""Poisson experts from the data to the answers: exact maxima, exposure, distribution, inference."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from helpers import quietly
from smoe import MoERegressor
from smoe.datasets import load_biochemists, load_insurance
from smoe.diagnostics import rootogram
from smoe.experts import LinearExpert
from smoe.families import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial, ZeroInflatedPoisson
from smoe.features import Rows
from smoe.inference.replicates import draw_response
from smoe.penalties import Pull, Ridge
from smoe.solvers import EM


def counts(n=300, seed=0):
    rng = np.random.default_rng(seed)
    x, time = rng.normal(size=n), rng.uniform(0.2, 5.0, n)
    return pd.DataFrame({"x": x, "time": time}), rng.poisson(time * np.exp(0.3 + 0.6 * x))


def fit(k, X, y, **settings):
    return quietly(MoERegressor(k, expert="poisson", n_init=6, random_state=0, **settings).fit, X, y)


def test_one_expert_is_the_generalised_linear_model():
    """The numbers are those of another program on the same draw."""
    X, y = counts()
    model = fit(1, X, y, exposure_feature="time")
    np.testing.assert_allclose(model.expert_intercept_, 0.25723676, atol=1e-8)
    np.testing.assert_allclose(model.expert_coef_, 0.62077643, atol=1e-8)
    assert model.loglik_ == pytest.approx(-572.2429030266, abs=1e-8) and model.n_parameters_ == 2
    errors = model.standard_errors_.expert
    np.testing.assert_allclose([errors.intercept[0], errors.coef[0, 0]], [0.03317992, 0.02891858], atol=1e-7)


@pytest.mark.parametrize("state", range(3))
def test_known_maxima(state):
    X, y = load_biochemists(return_X_y=True)
    model = MoERegressor(2, expert="poisson", gate_features=[], n_init=6, random_state=state).fit(X, y)
    assert model.converged_ and model.loglik_ == pytest.approx(-1561.070871, abs=1e-3)
    X, y = load_insurance(as_frame=True, return_X_y=True)
    claims = MoERegressor(1, expert="poisson", expert_features=["age", "engine"], exposure_feature="holders").fit(X, y)
    assert claims.converged_ and claims.loglik_ == pytest.approx(-191.804191, abs=1e-6)


@pytest.mark.parametrize("expert", ["poisson", "negative_binomial", "zero_inflated_poisson", "binomial"])
def test_an_expert_that_is_sure_of_some_counts_is_named(expert):
    """Predictors of the rows of a dummy run off; a ridge holds them, as one row that differs does."""
    rng = np.random.default_rng(0)
    X, sure = np.column_stack([rng.uniform(-1, 1, 90), np.arange(90) % 3 == 0]), float(expert == "binomial")
    y = np.where(X[:, 1], sure, rng.integers(0, 2, 90) * (1.0 if sure else rng.poisson(4, 90)))
    settings = {"expert": expert, "n_init": 1}
    model = quietly(MoERegressor(1, **settings).fit, X, y)
    assert not model.converged_ and model.standard_errors_ is None
    assert model.status_.startswith("expert 0 is sure of some counts (zero, or all trials): its coefficients diverge")
    assert MoERegressor(1, penalty=Ridge(expert=1e-3), **settings).fit(X, y).converged_
    y[0] = 1.0 - sure
    assert "is sure of" not in quietly(MoERegressor(1, **settings).fit, X, y).status_


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_the_unit_of_the_exposure_moves_the_intercept_alone(factor):
    X, y = counts()
    for k in (1, 2):
        one, other = (fit(k, X.assign(time=u * X.time), y, exposure_feature="time") for u in (1.0, factor))
        np.testing.assert_allclose(other.expert_intercept_, one.expert_intercept_ - np.log(factor), atol=1e-5)
        np.testing.assert_allclose(other.expert_coef_, one.expert_coef_, atol=1e-5)
        assert other.loglik_ == pytest.approx(one.loglik_, abs=1e-6) and other.status_ == one.status_


def test_exposure_is_an_offset_of_its_logarithm():
    X, y = counts()
    one = fit(1, X, y, exposure_feature="time")
    other = fit(1, X.assign(log_time=np.log(X.time)).drop(columns="time"), y, offset_feature="log_time")
    assert one.loglik_ == pytest.approx(other.loglik_, abs=1e-10)
    assert list(one.expert_columns_) == list(other.gate_columns_) == [0]  # neither is a covariate


def test_a_row_may_be_cut_in_two():
    """A Poisson count over a time is the sum of two over its halves: the estimates agree."""
    X, y = counts()
    half = np.random.default_rng(1).binomial(y, 0.5)
    both = pd.concat([X.assign(time=X.time / 2)] * 2)
    one = fit(1, X, y, exposure_feature="time")
    other = fit(1, both, np.concatenate([half, y - half]), exposure_feature="time")
    np.testing.assert_allclose(one.expert_coef_, other.expert_coef_, atol=1e-7)
    np.testing.assert_allclose(one.expert_intercept_, other.expert_intercept_, atol=1e-7)


def test_predictions_take_the_exposure_of_the_rows_they_are_given():
    X, y = counts()
    model = fit(2, X, y, exposure_feature="time", gate_features=[])
    np.testing.assert_allclose(model.predict(X.assign(time=2 * X.time)), 2 * model.predict(X), rtol=1e-13)
    assert model.predict(X.iloc[:1]).shape == (1,)
    with pytest.raises(ValueError, match="time"):
        model.predict(X.drop(columns="time"))
    with pytest.raises(ValueError, match="exposure_feature='time' must be positive, and is not in 300 rows"):
        model.predict(X.assign(time=-X.time))


def test_the_log_likelihood_is_that_of_scipy():
    X, y = counts()
    model = fit(2, X, y, exposure_feature="time", penalty=Pull())
    law = stats.poisson(model.expert_predict(X))
    wanted = np.log((model.gate_proba(X) * law.pmf(y[:, None])).sum(axis=1))
    np.testing.assert_allclose(model.score_samples(X, y), wanted, rtol=1e-10)
    assert model.loglik_ == pytest.approx(wanted.sum(), rel=1e-12)


def test_weight_two_is_the_row_twice():
    X, y = counts(150)
    weight = np.arange(150) % 3 + 1
    rows = np.repeat(np.arange(150), weight)
    one = quietly(
        MoERegressor(2, expert="poisson", gate_features=[], exposure_feature="time", n_init=6, random_state=0).fit,
        X,
        y,
        weight,
    )
    two = fit(2, X.iloc[rows], y[rows], gate_features=[], exposure_feature="time")
    assert one.loglik_ == pytest.approx(two.loglik_, rel=1e-9)


def test_em_leaves_a_place_where_newtons_step_is_too_long():
    """From intercepts of zero for counts around a hundred the experts' step overshoots; EM must shorten it."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (200, 1))
    y = rng.poisson(np.where(X[:, 0] > 0, 100, 150) * np.exp(0.1 * X[:, 0]))
    blank = LinearExpert(Poisson()).init_params(2, 1)
    start = fit(2, X, y).params_._replace(expert=blank._replace(coef=np.array([[0.1], [-0.1]])))
    trace = quietly(MoERegressor(2, expert="poisson", start=start, solver=EM(60, 1e-9)).fit, X, y).trace_
    assert np.all(np.diff(trace) >= -1e-9 * abs(trace[0])) and trace[-1] > trace[0] + 1000


def test_robust_and_clustered_errors_and_wald_tests():
    X, y = load_biochemists(as_frame=True, return_X_y=True)
    model = MoERegressor(2, expert="poisson", gate_features=[], n_init=6, random_state=0).fit(X, y)
    sandwich = model.covariance("sandwich", X, y)
    cluster = model.covariance("cluster", X, y, groups=np.arange(915))
    np.testing.assert_allclose(sandwich.matrix, cluster.matrix, rtol=1e-8)
    assert model.wald_test("expert 0: mentor").p_value < 0.05
    low, high = model.mean_interval(X.iloc[:5]).T
    assert np.all(low < model.predict(X.iloc[:5])) and np.all(model.predict(X.iloc[:5]) < high)
    assert "Poisson" in str(model.summary()) and "expert 0: mentor" in model.summary().names


def test_it_is_an_estimator_like_any_other():
    X, y = counts(200)
    model = MoERegressor(
        2, expert=Poisson(), exposure_feature="time", gate_features=[], n_init=6, random_state=0, penalty="pull"
    )
    pipe = make_pipeline(FunctionTransformer(), model)
    assert quietly(pipe.fit, X, y).predict(X).min() > 0
    search = quietly(GridSearchCV(model, {"n_experts": [1, 2]}, cv=2).fit, X, y)
    assert search.best_params_["n_experts"] in (1, 2)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda X, y: (X, y - 100), "y: Poisson takes whole numbers of at least 0; .* of 300 rows do not hold such"),
        (lambda X, y: (X, y + 0.5), "y: Poisson takes whole numbers of at least 0; 300 of 300 rows"),
        (lambda X, y: (X.assign(time=0.0), y), "exposure_feature='time' must be positive"),
    ],
)
def test_bad_data(change, words):
    X, y = change(*counts())
    with pytest.raises(ValueError, match=words):
        MoERegressor(2, expert="poisson", exposure_feature="time").fit(X, y)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"exposure_feature": "hours"}, "exposure_feature: no column"),
        ({"exposure_feature": ["x", "time"]}, "exposure_feature must be None or one column"),
        ({"exposure_feature": "time", "offset_feature": "time"}, "must be different columns"),
        ({"variance_floor": 1e-6}, "Poisson has no variance"),
    ],
)
def test_bad_settings(settings, words):
    X, y = counts()
    with pytest.raises(ValueError, match=words):
        MoERegressor(2, expert="poisson", **settings).fit(X, y)


@pytest.mark.parametrize("expert", ["student_t", "gaussian"])
def test_an_offset_without_a_link_is_refused(expert):
    X, y = counts()
    with pytest.raises(ValueError, match="offset_feature: .* has no link, and takes no offset; subtract it from y"):
        MoERegressor(1, expert=expert, offset_feature="time").fit(X, y)


def test_distributions_of_some_rows_have_their_exposure():
    X, y = counts()
    model = fit(1, X, y, exposure_feature="time")
    mixture = model.predict_distribution(X)
    np.testing.assert_allclose(mixture[[5, 2]].mean(), model.predict(X)[[5, 2]])
    np.testing.assert_allclose(mixture[10:20].mean(), model.predict(X)[10:20])
    found = rootogram(model, X, y)
    wanted = stats.poisson.pmf(found.edges[:-1], model.predict(X)[:, None]).sum(axis=0)
    np.testing.assert_allclose(found.expected, wanted, rtol=1e-8)


def test_responses_of_a_parametric_bootstrap_have_their_exposure():
    X, y = counts()
    model = fit(1, X, y, exposure_feature="time")
    drawn = np.mean([draw_response(model.fitted_, X, np.random.default_rng(i)) for i in range(400)], axis=0)
    mean = model.predict(X)
    assert np.abs((drawn - mean) / np.sqrt(mean / 400)).max() < 5


def test_large_counts_and_small_ones_have_one_density():
    rows = Rows(None, np.array([0.0, 5.0, 1023.0, 1024.0, 1e5]))
    for some in (rows, rows.take(slice(3))):
        eta = np.log(some.y + 1.0)[None, None]
        found = Poisson().log_prob(some, eta, [])[0]
        np.testing.assert_allclose(found, stats.poisson.logpmf(some.y, some.y + 1.0), rtol=1e-9)


@pytest.mark.parametrize(
    "family", [Poisson(), NegativeBinomial(), ZeroInflatedPoisson(), ZeroInflatedNegativeBinomial()], ids=repr
)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_derivatives_are_numbers_wherever_predictors_may_be(family, sign):
    eta = np.full((1, 1, 3), sign * family.largest)
    for shift in (0.0, 1e8):
        start = zip(family.start(), family.fields.values(), strict=True)
        phi = [np.full((1, 1), min(value + shift, field.upper / 2)) for value, field in start]
        found = family.derivatives(Rows(np.ones((1, 3)), np.array([0.0, 1.0, 7.0])), eta, phi)
        assert all(np.isfinite(one).all() for one in found)
