"""Scores of predicted distributions against integrals, and through pipelines and searches."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_pinball_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from smoe import MoERegressor, MoERegressorSelect, SoftmaxMoERegressor, TopKMoERegressor
from smoe.datasets import load_faithful
from smoe.metrics import crps, crps_scorer, mean_loglik_scorer, pinball, pinball_scorer


@pytest.fixture(scope="module")
def data():
    return load_faithful(return_X_y=True)


@pytest.fixture(scope="module")
def model(data):
    return SoftmaxMoERegressor(2, random_state=0).fit(*data)


@pytest.fixture(scope="module")
def pipe(data):
    return make_pipeline(StandardScaler(), SoftmaxMoERegressor(2, random_state=0)).fit(*data)


def integral(model, x, y):
    """The definition, by adaptive quadrature."""
    mixture = model.predict_distribution([x])
    low, high = mixture.ppf(1e-12)[0], mixture.isf(1e-12)[0]
    below = quad(lambda t: mixture.cdf(t)[0] ** 2, min(low, y), y, limit=500, epsabs=1e-11)[0]
    return below + quad(lambda t: mixture.sf(t)[0] ** 2, y, max(high, y), limit=500, epsabs=1e-11)[0]


def test_crps_is_the_integral(model, data):
    X, y = data
    rows = [0, 7, 100]
    for shift in (0.0, 2.5):  # in the bulk and out in a tail
        found = crps(model, X[rows], y[rows] + shift)
        np.testing.assert_allclose(found, [integral(model, X[i], y[i] + shift) for i in rows], rtol=1e-7)


def test_crps_behind_a_sparse_gate(data):
    X, y = data
    model = TopKMoERegressor(2, top_k=1, random_state=0).fit(X, y)
    np.testing.assert_allclose(crps(model, X[:2], y[:2]), [integral(model, X[i], y[i]) for i in (0, 1)], rtol=1e-7)


def test_crps_of_other_families_is_the_integral(data, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[1] / "docs" / "extending"), *sys.path])
    from student_t_expert import StudentTExpert

    X, y = data
    model = MoERegressor(2, expert=StudentTExpert(4.0), random_state=0).fit(X, y)
    for shift in (0.0, 1.0):
        found = crps(model, X[:2], y[:2] + shift)
        np.testing.assert_allclose(found, [integral(model, X[i], y[i] + shift) for i in (0, 1)], rtol=1e-5)


def test_pinball_is_scikit_learns(rng):
    y, predicted, q = rng.normal(size=50), rng.normal(size=(50, 3)), [0.05, 0.5, 0.8]
    loss = pinball(y, predicted, q).mean(axis=0)
    np.testing.assert_allclose(loss, [mean_pinball_loss(y, predicted[:, j], alpha=q[j]) for j in range(3)])
    np.testing.assert_array_equal(pinball(y, predicted[:, 0], 0.05), pinball(y, predicted[:, :1], [0.05])[:, 0])


def test_scorers_are_means_with_weights(model, data):
    X, y = data
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    again = np.repeat(np.arange(len(y)), weight.astype(int))
    for scorer in (mean_loglik_scorer, crps_scorer, pinball_scorer):
        assert scorer(model, X, y, weight) == pytest.approx(scorer(model, X[again], y[again]), rel=1e-12)
    assert mean_loglik_scorer(model, X, y) == pytest.approx(model.loglik_ / len(y), rel=1e-12)
    assert crps_scorer(model, X, y) == -crps(model, X, y).mean()
    median = partial(pinball_scorer, q=0.5)
    assert median(model, X, y) == pytest.approx(-0.5 * np.abs(y - model.predict_quantiles(X, 0.5)).mean())


def test_scorers_walk_through_pipelines_and_searches(model, pipe, data):
    X, y = data
    search = GridSearchCV(pipe, {"softmaxmoeregressor__n_init": [40]}, cv=2, scoring=mean_loglik_scorer).fit(X, y)
    chosen = MoERegressorSelect(SoftmaxMoERegressor(random_state=0), n_experts=(2,), random_state=0).fit(X, y)
    for scorer in (mean_loglik_scorer, crps_scorer, pinball_scorer):
        expected = scorer(model, X, y)
        for other in (pipe, search, chosen, make_pipeline(model)):
            assert scorer(other, X, y) == pytest.approx(expected, rel=1e-6)
    assert np.all(np.isfinite(cross_val_score(pipe, X, y, cv=2, scoring=crps_scorer)))


def test_what_has_no_density_is_named(model, data):
    X, y = data
    logged = TransformedTargetRegressor(SoftmaxMoERegressor(2, random_state=0), func=np.log, inverse_func=np.exp)
    for estimator in (logged.fit(X, y), LinearRegression().fit(X, y)):
        with pytest.raises(TypeError, match=f"{type(estimator).__name__} has no predicted distribution"):
            mean_loglik_scorer(estimator, X, y)
    with pytest.raises(ValueError, match=r"quantiles must have a row for each y .* \(272, 2\)"):
        pinball(y, y, [0.1, 0.9])
    with pytest.raises(ValueError, match="q must hold levels between 0 and 1"):
        pinball(y, y, 90)


def test_predict_gives_quantiles_and_intervals_through_pipelines(model, pipe, data):
    X = data[0]
    np.testing.assert_array_equal(model.predict(X, coverage=0.8), model.predict_interval(X, 0.8))
    np.testing.assert_array_equal(model.predict(X, quantiles=[0.1, 0.5]), model.predict_quantiles(X, [0.1, 0.5]))
    np.testing.assert_allclose(pipe.predict(X, coverage=0.8), model.predict_interval(X, 0.8), rtol=1e-6)
    np.testing.assert_allclose(pipe.predict(X, quantiles=0.3), model.predict_quantiles(X, 0.3), rtol=1e-6)
    with pytest.raises(ValueError, match="one of return_std, return_cov, quantiles and coverage"):
        model.predict(X, return_std=True, coverage=0.9)
    with pytest.raises(ValueError, match="coverage must lie strictly between 0 and 1"):
        model.predict(X, coverage=0)


def test_quantiles_come_back_from_a_logarithm(model, data):
    X, y = data
    plain = SoftmaxMoERegressor(2, random_state=0)
    logged = TransformedTargetRegressor(plain, func=np.log, inverse_func=np.exp).fit(X, np.exp(y))
    np.testing.assert_allclose(logged.predict(X, coverage=0.9), np.exp(model.predict_interval(X, 0.9)), rtol=1e-6)
    np.testing.assert_allclose(logged.predict(X, quantiles=0.5), np.exp(model.predict_quantiles(X, 0.5)), rtol=1e-6)


def test_a_selection_predicts_them_too(data):
    X, y = data
    chosen = MoERegressorSelect(SoftmaxMoERegressor(random_state=0), n_experts=(2,), random_state=0).fit(X, y)
    np.testing.assert_array_equal(chosen.predict(X, coverage=0.9), chosen.best_estimator_.predict_interval(X, 0.9))
    np.testing.assert_array_equal(chosen.predict(X, quantiles=0.9), chosen.best_estimator_.predict_quantiles(X, 0.9))
