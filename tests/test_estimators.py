"""The estimators: known maxima, certificates, weights, units, and the ways of scikit-learn."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import kstest, norm
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import smoe
from helpers import assert_close, for_check, interrupt_of_compiled_code, quietly
from naive import SOFTMAX_GAUSSIAN as twin
from naive import entries, gaussian_means, gaussian_moments, hessian, least_squares
from smoe import MoERegressor, SoftmaxMoERegressor
from smoe.datasets import load_engel, load_ethanol, load_faithful, load_mcycle, make_moe
from smoe.experts import GaussianExpert, GaussianExpertParams
from smoe.gates import LinearGateParams, SoftmaxGate
from smoe.params import MoEParams, flatten
from smoe.solvers import EM, LBFGS
from smoe.starts import Elemental, FromParams


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([getattr(smoe, name)(n_init=2) for name in smoe.__all__ if name.endswith("Regressor")])
def test_scikit_learn_checks(estimator, check):
    """With few starts: what they find is no matter here."""
    check(for_check(estimator, check))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [MoERegressor(expert=name, n_init=1, max_iter=20) for name in ("gamma", "student_t", "multivariate_gaussian")]
)
def test_scikit_learn_checks_of_families(estimator, check):
    """Of positive responses, which its tags say, of real and of several ones; checks have no whole numbers."""
    check(for_check(estimator, check))


# Known maxima --------------------------------------------------------------------------------------------------------

# Columns of gate and experts, unit, log-likelihood; found by two independent programs that agree to 1e-8.
MAXIMA = {
    "faithful": (load_faithful, [0], [0], 1, -96.0515814538),
    "engel": (load_engel, [0], [0], 1000, 253.761301385),
    "mcycle": (load_mcycle, [0], [0], 1, -614.536741901),
}
SUPREMA = {
    "ethanol E E": (load_ethanol, [1], [1], 1, -31.109003),
    "ethanol E C": (load_ethanol, [1], [0], 1, -94.569971),
}


def known(table, name, seed):
    load, gate, expert, unit, loglik = table[name]
    X, y = load(return_X_y=True)
    model = SoftmaxMoERegressor(2, gate_features=gate, expert_features=expert, random_state=seed)
    return model, X / unit, y / unit, X[:, gate] / unit, X[:, expert] / unit, loglik


@pytest.mark.parametrize("name", MAXIMA)
def test_known_maxima(name):
    fits = []
    for seed in range(10):
        model, X, y, gate_X, expert_X, loglik = known(MAXIMA, name, seed)
        fits.append(model.fit(X, y))
        assert abs(model.loglik_ - loglik) < 1e-6
        assert model.converged_ and model.status_ == "converged" and model.score_norm_ <= 1e-8
        assert_close(model.params_, fits[0].params_, rtol=1e-5, atol=1e-7)  # in the same order, too
    assert model.n_parameters_ == 8
    np.testing.assert_allclose(twin.loglik(model.params_, expert_X, y, X_gate=gate_X), model.loglik_, rtol=1e-11)


@pytest.mark.parametrize("name", SUPREMA)
@pytest.mark.parametrize("seed", range(3))
def test_known_suprema(name, seed):
    model, X, y, gate_X, expert_X, loglik = known(SUPREMA, name, seed)
    with pytest.warns(ConvergenceWarning, match="gate separates"):
        model.fit(X, y)
    assert abs(model.loglik_ - loglik) < 1e-3
    assert not model.converged_ and "gate separates the data" in model.status_
    assert model.standard_errors_ is None
    np.testing.assert_allclose(twin.loglik(model.params_, expert_X, y, X_gate=gate_X), model.loglik_, rtol=1e-9)


@pytest.mark.parametrize("k, d, seed", [(2, 1, 0), (2, 3, 1), (3, 1, 2), (3, 2, 3), (4, 2, 4)])
def test_fits_reach_the_truth(k, d, seed):
    moe = make_moe(1000, n_features=d, n_experts=k, random_state=seed)
    np.testing.assert_allclose(twin.loglik(moe.params, moe.data, moe.target), moe.loglik, rtol=1e-11)
    model = quietly(SoftmaxMoERegressor(k, random_state=0).fit, moe.data, moe.target)
    assert model.loglik_ >= moe.loglik
    np.testing.assert_allclose(twin.loglik(model.params_, moe.data, moe.target), model.loglik_, rtol=1e-10)


def test_over_specified_fits_arrive():
    gate = LinearGateParams(np.array([[25.0], [0.0]]), np.array([-8.0, 0.0]))
    expert = GaussianExpertParams(np.array([[-20.0], [20.0]]), np.array([15.0, -5.0]), np.array([0.09, 0.16]))
    X = np.random.default_rng(0).uniform(size=(2000, 1))
    moe = make_moe(2000, params=MoEParams(gate, expert), covariates=lambda n, rng: X, random_state=0)
    model = quietly(SoftmaxMoERegressor(3, random_state=0).fit, X, moe.target)
    assert model.score_norm_ <= 1e-8
    assert model.loglik_ > moe.loglik


# What a fit holds ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    moe = make_moe(200, n_features=2, n_experts=3, random_state=5)
    return moe.data, moe.target


@pytest.fixture(scope="module")
def fitted(data):
    return SoftmaxMoERegressor(3, random_state=0).fit(*data)


def test_attributes(fitted, data):
    params = fitted.params_
    assert fitted.converged_ and fitted.n_features_in_ == 2 and fitted.n_parameters_ == 2 * 3 + 3 * 4
    for name, field in [
        ("gate_coef_", params.gate.coef),
        ("gate_intercept_", params.gate.intercept),
        ("expert_coef_", params.expert.coef),
        ("expert_intercept_", params.expert.intercept),
        ("expert_variance_", params.expert.variance),
    ]:
        np.testing.assert_array_equal(getattr(fitted, name), field)
    assert not params.gate.coef[-1].any() and params.gate.intercept[-1] == 0
    np.testing.assert_allclose(twin.loglik(params, *data), fitted.loglik_, rtol=1e-11)
    assert len(fitted.trace_) == fitted.n_iter_ + 1
    np.testing.assert_allclose(fitted.trace_[-1], fitted.loglik_, rtol=1e-11)
    assert np.all(np.diff(fitted.trace_) >= -1e-12 * abs(fitted.loglik_))
    for attribute, kind in [("gate_", SoftmaxGate), ("expert_", GaussianExpert)]:
        assert isinstance(getattr(fitted, attribute), kind)


def test_experts_are_ordered_by_their_mean_response(fitted, data):
    resp = twin.resp(fitted.params_, *data)
    assert np.all(np.diff(resp.T @ data[1] / resp.sum(axis=0)) > 0)


def drawn(model):
    """Records of starts that were drawn, without those of swaps."""
    return [record for record in model.starts_ if record.start.startswith("Elemental")]


def test_starts_are_recorded(fitted):
    proposed = drawn(fitted)
    ends = [record.loglik for record in proposed if np.isfinite(record.loglik)]
    assert len(proposed) == 60 and 1 <= len(ends) <= 5
    best = max(record.loglik for record in fitted.starts_ if np.isfinite(record.loglik))
    np.testing.assert_allclose(best, fitted.loglik_, rtol=1e-12)
    out = [record for record in proposed if not np.isfinite(record.loglik)]
    assert all(record.status == "screened out" for record in out)
    # A sample of all rows is all rows: what is screened is a log-likelihood below that of its end.
    assert all(r.screened_loglik <= r.loglik + 1e-9 for r in proposed if np.isfinite(r.loglik))


def test_score_norm_is_in_standardised_units(data):
    X, y = data
    model = quietly(SoftmaxMoERegressor(2, random_state=0, solver=EM(max_iter=2)).fit, X, y)
    score = twin.score(model.params_, X, y)
    places = entries(model.params_)
    by = {place: s for place, s in zip(places, score, strict=True)}
    sd, found = np.sqrt(model.expert_variance_), []
    for k in range(2):
        own = by["expert", "intercept", (k,)]
        found += [own * sd[k], by["expert", "variance", (k,)] * model.expert_variance_[k]]
        for j in range(2):  # the slope of a standardised column
            found.append((by["expert", "coef", (k, j)] - own * X[:, j].mean()) / X[:, j].std() * sd[k])
    own = by["gate", "intercept", (0,)]
    found += [own, *((by["gate", "coef", (0, j)] - own * X[:, j].mean()) / X[:, j].std() for j in range(2))]
    np.testing.assert_allclose(model.score_norm_, np.abs(found).max() / len(y), rtol=1e-5)


def test_standard_errors_are_those_of_the_naive_hessian():
    X, y = load_faithful(return_X_y=True)
    model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    errors = flatten(model.standard_errors_)
    free = np.isfinite(errors)
    np.testing.assert_array_equal(~free, [False, False, True, True] + 6 * [False])  # the last gate is pinned
    places = [place for place, f in zip(entries(model.params_), free, strict=True) if f]
    H = hessian(lambda p: twin.loglik(p, X, y), model.params_, step=4e-3, unit=errors[free], places=places)
    np.testing.assert_allclose(errors[free], np.sqrt(np.diag(np.linalg.inv(-H))), rtol=1e-4)


def test_standard_errors_follow_the_units(data):
    X, y = data
    one = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    other = SoftmaxMoERegressor(2, random_state=0).fit(100 * X, 10 * y)
    np.testing.assert_allclose(other.standard_errors_.expert.coef, one.standard_errors_.expert.coef / 10, rtol=1e-5)
    np.testing.assert_allclose(other.standard_errors_.gate.coef[0], one.standard_errors_.gate.coef[0] / 100, rtol=1e-5)
    np.testing.assert_allclose(
        other.standard_errors_.expert.variance, one.standard_errors_.expert.variance * 100, rtol=1e-5
    )


def test_equal_experts_are_not_certified(data):
    equal = MoEParams(
        LinearGateParams(np.zeros((2, 2)), np.zeros(2)), GaussianExpertParams(np.zeros((2, 2)), np.zeros(2), np.ones(2))
    )
    for start in (FromParams(equal), equal):
        model = SoftmaxMoERegressor(2, start=start, solver="em", random_state=0)
        with pytest.warns(ConvergenceWarning, match="saddle point"):
            clone(model).fit(*data)
        assert len(quietly(model.fit, *data).starts_) == 1
        assert not model.converged_ and "saddle point" in model.status_


def test_summary(fitted):
    text = str(fitted.summary())
    assert f"{fitted.loglik_:.6f}" in text and "certificate" in text and "converged" in text
    row = next(line for line in text.split("expert 0")[1].splitlines() if line.strip().startswith("x0")).split()
    estimate, error = fitted.expert_coef_[0, 0], fitted.standard_errors_.expert.coef[0, 0]
    wanted = [estimate, error, estimate / error, 2 * norm.sf(abs(estimate / error))]
    wanted += [estimate - 1.959964 * error, estimate + 1.959964 * error]
    np.testing.assert_allclose([float(v) for v in row[1:7]], wanted, rtol=1e-2, atol=1e-2)


# Prediction ----------------------------------------------------------------------------------------------------------


def test_predictions_equal_the_twin(fitted, data):
    X, y = data[0][:50] + 0.1, data[1][:50]
    params = fitted.params_
    moments = np.array([gaussian_moments(params, x, x) for x in X])
    mean, std = fitted.predict(X, return_std=True)
    np.testing.assert_allclose(mean, moments[:, 0], rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(std, np.sqrt(moments[:, 1]), rtol=1e-8)
    np.testing.assert_array_equal(fitted.predict(X), mean)
    np.testing.assert_allclose(fitted.gate_proba(X), twin.proba(params, X), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(fitted.responsibilities(X, y), twin.resp(params, X, y), rtol=1e-8, atol=1e-13)
    np.testing.assert_allclose(fitted.expert_predict(X), [gaussian_means(x, params.expert) for x in X], rtol=1e-10)
    np.testing.assert_array_equal(fitted.predict_expert(X), twin.proba(params, X).argmax(axis=1))
    np.testing.assert_allclose(fitted.score_samples(X, y), twin.row_loglik(params, X, y), rtol=1e-10)
    mixture = fitted.predict_distribution(X)
    np.testing.assert_allclose(mixture.logpdf(mean), twin.row_loglik(params, X, moments[:, 0]), rtol=1e-9)


def test_criteria_equal_the_twin(fitted, data):
    X, y = data
    weight = np.linspace(0.5, 2.5, len(y))  # their sum is not the number of rows
    n, df, params = weight.sum(), fitted.n_parameters_, fitted.params_
    loglik, resp = twin.loglik(params, X, y, weight), twin.resp(params, X, y)
    entropy = -(weight[:, None] * resp * np.log(np.maximum(resp, 1e-300))).sum()
    np.testing.assert_allclose(fitted.loglik(X, y), fitted.loglik_, rtol=1e-11)
    np.testing.assert_allclose(fitted.loglik(X, y, weight), loglik, rtol=1e-11)
    np.testing.assert_allclose(fitted.aic(X, y, weight), 2 * df - 2 * loglik, rtol=1e-11)
    np.testing.assert_allclose(fitted.bic(X, y, weight), df * np.log(n) - 2 * loglik, rtol=1e-11)
    np.testing.assert_allclose(fitted.icl(X, y, weight), df * np.log(n) - 2 * loglik + 2 * entropy, rtol=1e-10)
    np.testing.assert_allclose(fitted.bic(X, y), df * np.log(len(y)) - 2 * fitted.loglik_, rtol=1e-11)


def mixture_cdf(params, X, y):
    """Distribution function of y given x, row by row."""
    proba = twin.proba(params, X)
    means = np.array([gaussian_means(x, params.expert) for x in X])
    return (proba * norm.cdf(np.asarray(y)[:, None], means, np.sqrt(params.expert.variance))).sum(axis=1)


def test_quantiles_solve_the_distribution_function(fitted, data):
    X, levels = data[0][:40], np.array([1e-6, 0.05, 0.5, 0.9, 1 - 1e-6])
    found = fitted.predict_quantiles(X, levels)
    assert found.shape == (40, 5) and np.all(np.diff(found, axis=1) > 0)
    for level, column in zip(levels, found.T, strict=True):
        np.testing.assert_allclose(mixture_cdf(fitted.params_, X, column), level, rtol=1e-7)
    np.testing.assert_array_equal(fitted.predict_quantiles(X, 0.5), found[:, 2])
    np.testing.assert_allclose(fitted.predict_interval(X, 0.8), fitted.predict_quantiles(X, [0.1, 0.9]), rtol=1e-12)
    for q, words in ((-0.1, "between 0 and 1"), (1.1, "between 0 and 1"), (np.nan, "NaN"), ([[0.5]], "shape")):
        with pytest.raises(ValueError, match=words):
            fitted.predict_quantiles(X, q)


def test_sample_follows_the_mixture(fitted, data):
    X = np.tile(data[0], (5, 1))
    y = fitted.sample(X, random_state=1)
    assert kstest(mixture_cdf(fitted.params_, X, y), "uniform").pvalue > 1e-3
    np.testing.assert_array_equal(fitted.sample(X, random_state=1), y)
    assert np.any(fitted.sample(X, random_state=2) != y)


# Weights, units, one expert -------------------------------------------------------------------------------------------


def test_weight_two_is_the_row_twice(data):
    X, y = data
    counts = np.random.default_rng(0).integers(0, 3, len(y))
    rows = np.repeat(np.arange(len(y)), counts)
    model = SoftmaxMoERegressor(2, random_state=0)
    weighted, repeated = clone(model).fit(X, y, sample_weight=counts), clone(model).fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.loglik_, repeated.loglik_, rtol=1e-10)
    assert_close(weighted.params_, repeated.params_, rtol=1e-5, atol=1e-7)
    assert_close(weighted.standard_errors_, repeated.standard_errors_, rtol=1e-4)
    np.testing.assert_allclose(twin.loglik(weighted.params_, X, y, counts), weighted.loglik_, rtol=1e-10)


def test_weight_zero_is_absence(data):
    X, y = data[0].copy(), data[1].copy()
    weight = (np.arange(len(y)) % 3 > 0).astype(float)
    X[weight == 0], y[weight == 0] = 1e3, -1e5
    model = SoftmaxMoERegressor(2, random_state=0)
    weighted = clone(model).fit(X, y, sample_weight=weight)
    absent = clone(model).fit(X[weight > 0], y[weight > 0])
    assert_close(weighted.params_, absent.params_, rtol=0, atol=0)
    assert weighted.loglik_ == absent.loglik_


def test_real_weights_scale_the_loglik(data):
    X, y = data
    weight = np.random.default_rng(0).uniform(0.5, 1.5, len(y))
    model = SoftmaxMoERegressor(2, random_state=0)
    one, other = clone(model).fit(X, y, weight), clone(model).fit(X, y, 3.7 * weight)
    np.testing.assert_allclose(twin.loglik(one.params_, X, y, weight), one.loglik_, rtol=1e-10)
    np.testing.assert_allclose(other.loglik_, 3.7 * one.loglik_, rtol=1e-9)
    assert_close(other.params_, one.params_, rtol=1e-5, atol=1e-7)
    plain = clone(model).fit(X, y)
    assert not np.allclose(one.expert_coef_, plain.expert_coef_, rtol=1e-3)


def test_one_expert_is_a_linear_regression(data):
    X, y = data
    weight = np.random.default_rng(0).uniform(0.5, 1.5, len(y))
    for w in (None, weight):
        model = SoftmaxMoERegressor(1, random_state=0).fit(X, y, sample_weight=w)
        line = LinearRegression().fit(X, y, sample_weight=w)
        np.testing.assert_allclose(model.expert_coef_[0], line.coef_, rtol=1e-8)
        np.testing.assert_allclose(model.expert_intercept_[0], line.intercept_, rtol=1e-8)
        variance = np.average((y - line.predict(X)) ** 2, weights=w)
        np.testing.assert_allclose(model.expert_variance_[0], variance, rtol=1e-8)
        np.testing.assert_allclose(model.predict(X), line.predict(X), rtol=1e-8)
        loglik = np.sum((1 if w is None else w) * norm.logpdf(y, line.predict(X), np.sqrt(variance)))
        np.testing.assert_allclose(model.loglik_, loglik, rtol=1e-10)
        assert model.converged_ and model.n_parameters_ == 4


UNITS = [  # scale and shift of each column, then of y
    ([1.0, 1.0], [2000.0, 0.0], 1.0, 0.0),  # calendar years
    ([100.0, 1.0], [0.0, 0.0], 100.0, 0.0),  # cents
    ([1.0, 1.0], [1e8, -1e8], 1.0, 1e8),
    ([1e-6, 1e6], [5.0, 1e6], 1e-3, -40.0),
    ([-2.0, 3.0], [1.0, -1.0], 7.0, 3.0),
]


@pytest.mark.parametrize("scale, shift, y_scale, y_shift", UNITS)
def test_units_do_not_matter(scale, shift, y_scale, y_shift, fitted, data):
    scale, shift = np.array(scale), np.array(shift)
    X, y = data
    there, response = scale * X + shift, y_scale * y + y_shift
    model = SoftmaxMoERegressor(3, random_state=0).fit(there, response)
    loss = 1e-16 * (np.abs(shift) / scale).max() + 1e-16 * abs(y_shift) / y_scale  # what the data lost in rounding
    tol = 1e-6 + 1e3 * loss
    assert model.converged_
    np.testing.assert_allclose(model.loglik_, fitted.loglik_ - len(y) * np.log(y_scale), rtol=tol)
    np.testing.assert_allclose(model.expert_coef_, y_scale * fitted.expert_coef_ / scale, rtol=1e-4)
    np.testing.assert_allclose(model.gate_coef_, fitted.gate_coef_ / scale, rtol=1e-4, atol=1e-12)
    np.testing.assert_allclose(model.expert_variance_, y_scale**2 * fitted.expert_variance_, rtol=1e-4)
    np.testing.assert_allclose(
        (model.predict(there) - y_shift) / y_scale, fitted.predict(X), atol=1e-4 * np.ptp(fitted.predict(X))
    )
    np.testing.assert_allclose(model.gate_proba(there), fitted.gate_proba(X), atol=1e-4)
    np.testing.assert_allclose(model.score_norm_, 0, atol=1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_order_of_experts_does_not_depend_on_the_seed(seed, fitted, data):
    again = SoftmaxMoERegressor(3, random_state=10 + seed).fit(*data)
    np.testing.assert_allclose(again.loglik_, fitted.loglik_, rtol=1e-10)
    assert_close(again.params_, fitted.params_, rtol=1e-4, atol=1e-6)


# scikit-learn --------------------------------------------------------------------------------------------------------


def test_seeds_reproduce(data):
    one, again = (SoftmaxMoERegressor(3, random_state=3).fit(*data) for _ in range(2))
    assert_close(one.params_, again.params_, rtol=0, atol=0)
    assert one.loglik_ == again.loglik_
    for kind in (np.random.RandomState(0), None):
        assert clone(SoftmaxMoERegressor(2, random_state=kind)).fit(*data).converged_


def test_clone_and_pickle(fitted, data):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(data[0]), fitted.predict(data[0]))
    assert_close(again.params_, fitted.params_, rtol=0, atol=0)
    fresh = clone(fitted)
    assert not hasattr(fresh, "params_") and fresh.get_params() == fitted.get_params()


def test_pipeline_scales_units_only(data):
    X, y = data
    pipeline = make_pipeline(StandardScaler(), SoftmaxMoERegressor(2, random_state=0)).fit(50 * X, y)
    plain = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    np.testing.assert_allclose(pipeline.predict(50 * X), plain.predict(X), rtol=1e-5, atol=1e-6)


def test_grid_search(data):
    grid = {"n_experts": [1, 3], "solver__max_iter": [1, 60]}
    model = MoERegressor(solver=EM(tol=1e-4), n_init=10, random_state=0)
    search = quietly(GridSearchCV(model, grid, cv=3).fit, *data)
    assert search.best_params_["n_experts"] == 3
    assert search.best_estimator_.solver_.max_iter == search.best_params_["solver__max_iter"]
    assert model.solver.max_iter == 1000 and not hasattr(model.solver, "params_")
    assert np.all(np.isfinite(search.cv_results_["mean_test_score"]))


def test_objects_and_names_are_the_same(data):
    names = MoERegressor(2, random_state=0).fit(*data)
    objects = MoERegressor(
        2, gate=SoftmaxGate(), expert=GaussianExpert(), start=Elemental(), random_state=0, solver="auto"
    ).fit(*data)
    assert_close(objects.params_, names.params_, rtol=0, atol=0)
    softmax = SoftmaxMoERegressor(2, random_state=0).fit(*data)
    assert_close(softmax.params_, names.params_, rtol=0, atol=0)


@pytest.mark.parametrize("solver", ["em", "newton", "lbfgs", LBFGS(tol=1e-7)])
def test_solvers_reach_the_same_maximum(solver, data):
    default = SoftmaxMoERegressor(2, random_state=0).fit(*data)
    other = SoftmaxMoERegressor(2, solver=solver, random_state=0).fit(*data)
    np.testing.assert_allclose(other.loglik_, default.loglik_, rtol=0, atol=1e-6)


def test_parameters_are_passed_on(data):
    model = quietly(MoERegressor(2, solver="em", max_iter=3, tol=1e-3, variance_floor=1e-3, n_init=4).fit, *data)
    assert (model.solver_.max_iter, model.solver_.tol) == (3, 1e-3)
    assert model.expert_.variance_floor == 1e-3 and len(drawn(model)) == 4
    assert model.n_iter_ <= 3
    untouched = GaussianExpert(1e-5)
    quietly(MoERegressor(2, expert=untouched, variance_floor=1e-3, n_init=1).fit, *data)
    assert untouched.variance_floor == 1e-5


def test_warm_start(data):
    X, y = data
    model = SoftmaxMoERegressor(2, random_state=0, warm_start=True).fit(X, y)
    first = model.params_
    model.fit(X, y)
    assert len(model.starts_) == 1 and model.n_iter_ <= 25
    assert_close(model.params_, first, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(model.trace_[0], model.loglik_, rtol=1e-9)
    assert len(drawn(model.set_params(n_experts=3).fit(X, y))) == 60
    assert len(drawn(model.set_params(warm_start=False).fit(X, y))) == 60


@pytest.mark.parametrize("change", [{"gate_features": [0]}, {"expert_features": [0]}, {"gate_features": []}])
def test_warm_start_where_shapes_differ_begins_afresh(change, data):
    model = SoftmaxMoERegressor(2, random_state=0, warm_start=True).fit(*data)
    assert len(drawn(quietly(model.set_params(**change).fit, *data))) == 40


def test_warm_start_with_other_columns_begins_afresh(data):
    X, y = data
    for first, second in [(X, X[:, :1]), (X[:, :1], X)]:
        model = quietly(SoftmaxMoERegressor(2, random_state=0, warm_start=True).fit, first, y)
        assert len(drawn(quietly(model.fit, second, y))) == 40


def test_threads_do_not_matter(data, fitted):
    model = SoftmaxMoERegressor(3, random_state=0, n_jobs=2).fit(*data)
    assert_close(model.params_, fitted.params_, rtol=0, atol=0)


def test_verbose_prints(data, capsys):
    SoftmaxMoERegressor(2, random_state=0).fit(*data)
    assert capsys.readouterr().out == ""
    model = SoftmaxMoERegressor(2, random_state=0, verbose=1).fit(*data)
    assert f"log-likelihood {model.loglik_:.4f}" in capsys.readouterr().out


# Input ---------------------------------------------------------------------------------------------------------------


def test_layouts_do_not_matter(data, fitted, tmp_path):
    X, y = data
    path = tmp_path / "X.dat"
    np.memmap(path, dtype=X.dtype, mode="w+", shape=X.shape)[:] = X
    memmap = np.memmap(path, dtype=X.dtype, mode="r", shape=X.shape)
    response = y.copy()
    response.setflags(write=False)
    strided = np.repeat(X, 2, axis=1)[:, ::2]
    for other in (np.asfortranarray(X), memmap, strided, X.tolist()):
        model = SoftmaxMoERegressor(3, random_state=0).fit(other, response)
        assert_close(model.params_, fitted.params_, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(model.predict(other), fitted.predict(X), rtol=1e-9)
    np.testing.assert_array_equal(memmap, X)


def test_float32_is_widened(data):
    X, y = data[0].astype(np.float32), data[1].astype(np.float32)
    narrow = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    wide = SoftmaxMoERegressor(2, random_state=0).fit(X.astype(float), y.astype(float))
    np.testing.assert_allclose(narrow.loglik_, wide.loglik_, rtol=1e-9)
    assert_close(narrow.params_, wide.params_, rtol=1e-5, atol=1e-7)
    assert narrow.params_.expert.coef.dtype == narrow.predict(X).dtype == float


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_have_names(frame, data):
    X, y = data
    table = frame({"alpha": X[:, 0], "bravo": X[:, 1]})
    response = pd.Series(y) if frame is pd.DataFrame else pl.Series(y)
    model = SoftmaxMoERegressor(2, random_state=0, gate_features=["bravo"], expert_features="alpha")
    model.fit(table, response)
    assert model.feature_names_in_.tolist() == ["alpha", "bravo"]
    plain = SoftmaxMoERegressor(2, random_state=0, gate_features=[1], expert_features=[0]).fit(X, y)
    assert_close(model.params_, plain.params_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.predict(table), plain.predict(X), rtol=1e-9)
    gate, expert = (str(model.summary()).split(f"{side} 0")[1].split("intercept")[0] for side in ("gate", "expert"))
    assert "bravo" in gate and "alpha" not in gate and "alpha" in expert and "bravo" not in expert


def test_columns_of_length_one_are_a_response(data):
    X, y = data
    with pytest.warns(Warning, match="column-vector"):
        model = SoftmaxMoERegressor(2, random_state=0).fit(X, y[:, None])
    assert model.predict(X).shape == y.shape


CHOICES = [
    ([1], [1]),
    (1, [1]),
    (-1, [2]),
    ([-1, 0], [2, 0]),
    (np.array([False, True, False]), [1]),
    ([True, False, True], [0, 2]),
    ("b", [1]),
    (["c", "a"], [2, 0]),
    (slice(1, None), [1, 2]),
    (None, [0, 1, 2]),
    ([], []),
    (lambda X: [j for j, name in enumerate(X.columns) if name == "b"], [1]),
    (lambda X: "a", [0]),
]


@pytest.mark.parametrize("choice, columns", CHOICES)
@pytest.mark.parametrize("side", ["gate", "expert"])
def test_choice_of_features(choice, columns, side, data):
    X, y = np.column_stack([data[0], np.sin(7 * data[0][:, 0])]), data[1]
    table = pd.DataFrame(X, columns=["a", "b", "c"])
    model = quietly(MoERegressor(2, random_state=0, n_init=5, **{f"{side}_features": choice}).fit, table, y)
    assert getattr(model, f"{side}_columns_").tolist() == columns
    assert getattr(model, f"{side}_coef_").shape == (2, len(columns))
    Xs = {"gate": X, "expert": X, side: X[:, columns]}
    loglik = twin.loglik(model.params_, Xs["expert"], y, X_gate=Xs["gate"])
    np.testing.assert_allclose(model.loglik_, loglik, rtol=1e-9)
    np.testing.assert_allclose(model.loglik(table, y), loglik, rtol=1e-9)


def test_a_gate_without_features_is_constant(data):
    X, y = data
    model = quietly(SoftmaxMoERegressor(2, gate_features=[], random_state=0).fit, X, y)
    proba = model.gate_proba(X)
    assert np.all(proba == proba[0])
    assert model.n_parameters_ == 1 + 2 * 4
    resp = twin.resp(model.params_, X, y, X_gate=X[:, :0])
    np.testing.assert_allclose(proba[0], resp.mean(axis=0), rtol=1e-5)  # the mean responsibility at a maximum


def test_features_by_name_in_a_pipeline(data):
    X, y = data
    table = pd.DataFrame(X, columns=["a", "b"])
    scaler = StandardScaler().set_output(transform="pandas")
    pipeline = make_pipeline(scaler, SoftmaxMoERegressor(2, gate_features=["b"], random_state=0)).fit(table, y)
    plain = SoftmaxMoERegressor(2, gate_features=[1], random_state=0).fit(X, y)
    np.testing.assert_allclose(pipeline.predict(table), plain.predict(X), rtol=1e-5, atol=1e-6)


def test_least_squares_twin_is_scikit_learn(data):
    X, y = data
    weight = np.linspace(0.5, 1.5, len(y))
    line = LinearRegression().fit(X, y, sample_weight=weight)
    slopes, intercept, _ = least_squares(X, y, weight)
    np.testing.assert_allclose([*slopes, intercept], [*line.coef_, line.intercept_], rtol=1e-10)


def test_an_interrupt_of_compiled_code_is_an_interrupt(rng):
    class Interrupted(EM):
        def climb(self, *_):
            raise interrupt_of_compiled_code()

    with pytest.raises(KeyboardInterrupt):
        MoERegressor(2, solver=Interrupted(), n_init=1).fit(rng.normal(size=(20, 1)), rng.normal(size=20))
