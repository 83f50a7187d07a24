"""Right-censored times: known numbers, likelihoods written out, what becomes of censored rows."""

import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers import quietly
from smoe import MoERegressor
from smoe.families import FAMILIES, Weibull
from smoe.inference import bootstrap
from smoe.inference.replicates import Censoring, responses
from smoe.metrics import mean_loglik_scorer
from smoe.rows import Blocks
from smoe.selection import n_experts_test

LAWS = {
    "weibull": lambda eta, s: stats.weibull_min(1 / s, scale=np.exp(eta)),
    "log_logistic": lambda eta, s: stats.fisk(1 / s, scale=np.exp(eta)),
    "log_normal": lambda eta, s: stats.lognorm(s, scale=np.exp(eta)),
}
every = pytest.mark.parametrize("name", LAWS)


def one_line():
    """The draw of the known numbers."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=250)
    time, end = np.exp(3 + 0.5 * x) * rng.weibull(1.5, 250), rng.exponential(40, 250)
    return pd.DataFrame({"x": x, "observed": time <= end}), np.minimum(time, end)


def two_lines(name, n=300, seed=0):
    """Two lines told apart by x, some 30 % of the times censored; with the truth's log-likelihood."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, n)
    share = 1 / (1 + np.exp(-4 * x))
    first = rng.random(n) < share
    eta, scale = np.where(first, 2.0 - x, 0.5 * x), np.where(first, 0.4, 0.6)
    time = FAMILIES[name]().sample(None, eta[None], [scale], rng)
    end = rng.exponential(np.quantile(time, 0.75) / 0.6, n)
    y, event = np.minimum(time, end), time <= end
    parts = [LAWS[name](2.0 - x, 0.4), LAWS[name](0.5 * x, 0.6)]
    each = [np.where(event, law.pdf(y), law.sf(y)) for law in parts]
    return pd.DataFrame({"x": x, "observed": event}), y, np.log(share * each[0] + (1 - share) * each[1]).sum()


def fit(name, k, X, y, weight=None, **settings):
    settings = {"event_feature": "observed", "n_init": 4 if k > 1 else 1, **settings}
    return quietly(MoERegressor(k, expert=name, random_state=0, **settings).fit, X, y, weight)


@cache
def two_weibulls():
    """A fit that several tests ask."""
    X, y, _ = two_lines("weibull")
    return fit("weibull", 2, X, y), X, y


def test_one_weibull_expert_is_survival_regression():
    """The numbers are those of another program on the same draw."""
    X, y = one_line()
    model = fit("weibull", 1, X, y)
    found = model.expert_intercept_[0], model.expert_coef_[0, 0], model.expert_scale_[0]
    np.testing.assert_allclose(found, [3.04689, 0.56993, 0.647228], atol=5e-6)
    assert model.loglik_ == pytest.approx(-577.595676, abs=1e-6) and model.n_parameters_ == 3 and model.converged_
    at_zero = pd.DataFrame({"x": [0.0], "observed": [7.0]})
    np.testing.assert_allclose(model.predict(at_zero), 18.9385, atol=1e-4)
    np.testing.assert_allclose(model.predict_quantiles(at_zero, 0.5), 16.6045, atol=1e-4)


@every
def test_one_expert_is_the_maximum_of_the_likelihood_written_out(name):
    X, y = one_line()

    def loss(at):
        law = LAWS[name](at[0] + at[1] * X.x, np.exp(at[2]))
        return -np.where(X.observed, law.logpdf(y), law.logsf(y)).sum()

    best = optimize.minimize(loss, [3.0, 0.5, -0.5], method="BFGS")
    model = fit(name, 1, X, y)
    assert model.loglik_ == pytest.approx(-best.fun, abs=1e-6)
    found = model.expert_intercept_[0], model.expert_coef_[0, 0], np.log(model.expert_scale_[0])
    np.testing.assert_allclose(found, best.x, atol=1e-4)
    errors = model.standard_errors_.expert
    bend = optimize.approx_fprime(best.x, lambda at: optimize.approx_fprime(at, loss, 1e-4), 1e-4)
    wanted = np.linalg.inv(bend).diagonal()[:2] ** 0.5
    np.testing.assert_allclose([errors.intercept[0], errors.coef[0, 0]], wanted, rtol=1e-3)


@every
def test_two_experts_reach_the_truth(name):
    X, y, truth = two_lines(name)
    assert 0.2 < np.mean(~X.observed) < 0.4
    model = two_weibulls()[0] if name == "weibull" else fit(name, 2, X, y)
    assert model.converged_ and model.loglik_ >= truth


def test_only_densities_have_a_unit():
    model, X, y = two_weibulls()
    other = fit("weibull", 2, X, 1e4 * y, n_init=3)
    assert model.loglik_ == pytest.approx(other.loglik_ + X.observed.sum() * np.log(1e4), abs=1e-6)
    assert other.loglik_ == pytest.approx(other.trace_[-1], abs=1e-6)
    assert other.loglik_ == pytest.approx(np.nanmax([record.loglik for record in other.starts_]), abs=1e-6)


def test_censored_rows_weigh_by_their_survival():
    model, X, y = two_weibulls()
    eta = X.x.to_numpy()[:, None] * model.expert_coef_[:, 0] + model.expert_intercept_
    law, event = LAWS["weibull"](eta, model.expert_scale_), X.observed.to_numpy()[:, None]
    joint = model.gate_proba(X) * np.where(event, law.pdf(y[:, None]), law.sf(y[:, None]))
    np.testing.assert_allclose(model.score_samples(X, y), np.log(joint.sum(axis=1)), rtol=1e-10)
    np.testing.assert_allclose(model.responsibilities(X, y), joint / joint.sum(axis=1, keepdims=True), rtol=1e-9)


def test_predictions_are_of_the_time_itself():
    model, X, y = two_weibulls()
    other = X.assign(observed=np.where(X.observed, -3.0, 1.0))
    one, two = (model.predict_distribution(rows) for rows in (X, other))
    for found in ("mean", "std", "mode", "median"):
        np.testing.assert_array_equal(getattr(one, found)(), getattr(two, found)())
    np.testing.assert_array_equal(one.logpdf(y), two.logpdf(y))
    slope = (one.cdf(1.001 * y) - one.cdf(0.999 * y)) / (0.002 * y)
    np.testing.assert_allclose(one.pdf(y), slope, rtol=1e-4)
    np.testing.assert_array_equal(model.sample(X, 0), model.sample(other, 0))


def test_weights_and_repeated_rows():
    X, y, _ = two_lines("log_logistic", 120)
    weight = np.arange(120) % 3 + 1
    rows = np.repeat(np.arange(120), weight)
    one = fit("log_logistic", 1, X, y, weight)
    two = fit("log_logistic", 1, X.iloc[rows], y[rows])
    assert one.loglik_ == pytest.approx(two.loglik_, rel=1e-9)


def test_a_row_is_another_one_where_it_is_censored():
    X, y = one_line()
    model = fit("weibull", 1, X, y)
    X = pd.concat([X, X, X.assign(observed=~X.observed)])
    blocks = model.fitted_.blocks(X, np.tile(y, 3))
    assert isinstance(blocks, Blocks) and blocks.n_distinct == 500


def test_all_seen_is_no_column_at_all():
    X, y = one_line()
    with_column = fit("log_normal", 1, X.assign(observed=1), y)
    without = fit("log_normal", 1, X[["x"]], y, event_feature=None)
    assert with_column.loglik_ == pytest.approx(without.loglik_, abs=1e-9)


def test_residuals_of_censored_rows_lie_between_their_own_and_one():
    X, y, _ = two_lines("weibull")
    X, y = X.assign(observed=X.observed & (y < 5.0)), np.minimum(y, 5.0)  # many at one time
    model = fit("weibull", 2, X, y)
    one, two = (model.diagnose(X, y, random_state=seed) for seed in (0, 1))
    cdf, seen = model.predict_distribution(X).cdf(y), X.observed.to_numpy()
    np.testing.assert_allclose(one.pit[seen], cdf[seen], rtol=1e-9)
    assert np.all(one.pit[~seen] > cdf[~seen]) and np.all(one.pit[~seen] < 1)
    assert not np.any(one.pit[~seen] == two.pit[~seen]) and one.uniformity[1] > 0.05
    share = (one.pit[~seen] - cdf[~seen]) / (1 - cdf[~seen])
    assert stats.kstest(share, "uniform").pvalue > 0.01
    assert not [problem for problem in one.problems if "starts" not in problem]


def test_an_expert_without_events_is_named():
    rng = np.random.default_rng(0)
    time, end = np.exp(1.0) * rng.weibull(2.0, 200), rng.uniform(2, 8, 200)
    time[:80] = np.inf  # who never has the event
    X = np.column_stack([rng.uniform(-1, 1, 200), time <= end])
    model = fit("weibull", 2, X, np.minimum(time, end), event_feature=1, gate_features=[], expert_features=[])
    words = r"no event \(expert 1 is responsible for less than one event\): nearly all its rows are censored"
    assert not model.converged_
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(model.status_)
    assert any("no event (expert 1" in problem for problem in model.diagnose(X, np.minimum(time, end)).problems)
    assert np.isfinite(model.gate_proba(X)).all() and abs(model.gate_proba(X)[0, 1] - 0.4) < 0.15


def test_a_mean_may_be_infinite():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (200, 1))
    y = np.exp(1 + X[:, 0] + 1.4 * rng.logistic(size=200))
    model = fit("log_logistic", 1, X, y, event_feature=None)
    with pytest.warns(UserWarning, match="the mean of y is infinite in 3 of 3 rows"):
        mean, std = model.predict(X[:3], return_std=True)
    assert np.isinf(mean).all() and np.isinf(std).all()
    mixture = model.predict_distribution(X[:3])
    finite = mixture.median(), mixture.interval(0.9), mixture.crps(y[:3]), mixture.hdr(0.9).edges
    assert all(np.isfinite(values).all() for values in finite)
    assert np.isfinite(model.diagnose(X, y).fitted).all()
    with pytest.raises(ValueError, match="mean_interval: the mean of y is infinite"):
        model.mean_interval(X[:3])


def test_an_infinite_mean_counts_where_its_expert_does():
    X, y = np.repeat([-1.0, 1.0], 20)[:, None], np.exp(np.linspace(-1, 1, 40))
    begin = fit("log_logistic", 2, X, y, event_feature=None, n_init=1, max_iter=1).params_
    gate, expert = begin.gate._replace(coef=np.array([[2000.0], [0.0]])), begin.expert
    begin = begin._replace(gate=gate, expert=expert._replace(scale=np.array([1.5, 0.3])))
    model = fit("log_logistic", 2, X, y, event_feature=None, start=begin, n_init=1, solver="em", max_iter=0)
    mean, std = model.predict([[-1.0]], return_std=True)
    assert mean == model.predict([[-1.0]]) and np.isfinite([mean, std]).all() and std > 0
    with pytest.warns(UserWarning, match="infinite in 1 of 1 rows"):
        assert np.isinf(model.predict([[1.0]]))


def test_a_floor_is_not_blamed_on_censored_ties():
    x = np.linspace(-1, 1, 60)
    event = np.arange(60) % 3 == 0
    model = fit("weibull", 1, np.column_stack([x, event]), np.where(event, np.exp(x), 0.1), event_feature=1)
    assert model.status_ == "scale at its floor (expert 0)"


@pytest.mark.parametrize(
    "change, settings, words",
    [
        (lambda X, y: (X.assign(observed=2), y), {}, "event_feature='observed' must be 1 .seen. or 0 .censored., and"),
        (lambda X, y: (X.assign(observed=0), y), {}, "event_feature: no event, all 250 rows are censored"),
        (lambda X, y: (X, y - y.max()), {}, "y: Weibull takes numbers above 0; 250 of 250"),
        (lambda X, y: (X, y), {"expert": "gamma"}, "event_feature: Gamma takes no censored responses"),
        (lambda X, y: (X, y), {"expert": "gaussian"}, "event_feature: GaussianExpert takes no censored responses"),
        (
            lambda X, y: (X, y),
            {"offset_feature": "observed"},
            "and group_feature must be different columns",
        ),
    ],
)
def test_bad_data(change, settings, words):
    with pytest.raises(ValueError, match=words):
        fit(settings.pop("expert", "weibull"), 1, *change(*one_line()), **settings)


def test_the_column_survives_pipelines_and_searches():
    X, y = one_line()
    steps = make_column_transformer((StandardScaler(), ["x"]), remainder="passthrough")
    model = MoERegressor(1, expert=Weibull(), event_feature="remainder__observed", n_init=1)
    pipeline = make_pipeline(steps.set_output(transform="pandas"), model)
    search = GridSearchCV(pipeline, {"moeregressor__expert__floor": [1e-4]}, cv=2, scoring=mean_loglik_scorer)
    found = search.fit(X, y).best_estimator_[-1]
    assert found.loglik_ == pytest.approx(-577.595676, abs=1e-6)


def test_bootstraps_censor_anew():
    X, y = one_line()
    model = fit("weibull", 1, X, y)
    for kind in ("parametric", "case"):
        result = bootstrap(model, X, y, 25, kind, random_state=0)
        assert result.n_failed == 0
        ratio = result.params.expert.coef.std() / model.standard_errors_.expert.coef[0, 0]
        assert 0.65 < ratio < 1.5
        assert abs(result.params.expert.coef.mean() - model.expert_coef_[0, 0]) < 0.05
    new, times = responses(model.fitted_, X.to_numpy(float), y, np.ones(250))(np.random.default_rng(0))
    assert abs(new[:, 1].mean() - X.observed.mean()) < 0.1
    assert np.all(times[~X.observed] <= y[~X.observed]) and np.any(times[X.observed] > y[X.observed])
    assert 0 < n_experts_test(model, X, y, n_resamples=1, random_state=0).p_value <= 1


def test_times_of_censoring_are_drawn_beyond_events():
    y, event = np.array([1.0, 2.0, 2.0, 3.0, 4.0]), np.array([1.0, 0.0, 1.0, 0.0, 1.0])
    draws = np.array([Censoring.of(y, event).draw(np.random.default_rng(i)) for i in range(4000)])
    np.testing.assert_array_equal(draws[:, [1, 3]], np.tile([2.0, 3.0], (4000, 1)))
    # Kaplan-Meier with the events taken as censored: 1/3 of those at risk after time 1 and the event at 2, then 1/2
    shares = [[np.mean(draws[:, i] == c) for c in (2.0, 3.0, np.inf)] for i in (0, 2, 4)]
    np.testing.assert_allclose(shares, [[1 / 3, 1 / 3, 1 / 3], [1 / 3, 1 / 3, 1 / 3], [0, 0, 1]], atol=0.04)


def test_no_warning_of_censored_ties():
    X, y = one_line()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = MoERegressor(1, expert="weibull", event_feature="observed", n_init=1)
        model.fit(X.assign(observed=X.observed & (y < 15)), np.minimum(y, 15.0))
    assert model.converged_
