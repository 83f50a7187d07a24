"""Classes from the data to the answers: known maxima, labels, weights, separation, the pull, inference."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from helpers import for_check, quietly
from smoe import MoEClassifier, MoEClassifierSelect, MoERegressor
from smoe.datasets import load_health
from smoe.diagnostics import calibration
from smoe.families import Multinomial, Poisson
from smoe.gates import TopKGate
from smoe.inference import bootstrap, likelihood_ratio_test
from smoe.params import flatten
from smoe.plots import plot_calibration
from smoe.selection import n_experts_test, select_n_experts

QUICK = {"n_init": 1, "max_iter": 10}
FEW = {"n_init": 6, "random_state": 0}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([MoEClassifier(**QUICK), MoEClassifierSelect(MoEClassifier(**QUICK), n_experts=(1,))])
def test_scikit_learn_checks(estimator, check):
    check(for_check(estimator, check))


def two_logits(n=500, seed=0):
    """Two logistic regressions of opposite slope, apart along the first column."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    first = rng.random(n) < 1 / (1 + np.exp(-3 * X[:, 0]))
    eta = np.where(first, 3 * X[:, 1] + 1, -3 * X[:, 1])
    return pd.DataFrame(X, columns=["a", "b"]), np.where(rng.random(n) < 1 / (1 + np.exp(-eta)), "yes", "no")


@pytest.fixture(scope="module")
def data():
    return two_logits()


@pytest.fixture(scope="module")
def model(data):
    return MoEClassifier(2, **FEW).fit(*data)


def without_a_class():
    rng = np.random.default_rng(14)
    x = rng.normal(size=300)
    scores = np.c_[0.8 * x, 0 * x, -0.5 + 0 * x] + rng.gumbel(size=(300, 3))
    return x[:, None], np.array(list("abc"))[np.argmax(scores, 1)]


def test_known_maxima():
    """The numbers are those of two other programs."""
    X, y = load_health(as_frame=True, return_X_y=True)
    X = X.assign(visits=np.log1p(X.visits))
    columns = {"gate_features": ["school"], "expert_features": ["conditions", "visits"]}
    for k, loglik in ((1, -2525.33727674), (2, -2455.95028463)):
        for state in range(2):
            model = MoEClassifier(k, pull=0.0, random_state=state, n_init=4, **columns).fit(X, y)
            assert model.converged_ and model.loglik_ == pytest.approx(loglik, abs=1e-6)
    slope = np.abs(model.gate_coef_).max()
    assert slope == pytest.approx(0.231151561, abs=1e-5)


def test_one_expert_is_logistic_regression(data):
    X, y = data
    one = MoEClassifier(1, pull=0.0).fit(X, y)
    other = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(-one.expert_coef_[0], other.coef_, atol=1e-6)  # "no" against "yes"
    assert one.converged_ and one.n_parameters_ == 3
    assert one.loglik_ == pytest.approx(-log_loss(y, other.predict_proba(X), normalize=False), abs=1e-8)
    names = ["expert 0: a [no vs yes]", "expert 0: b [no vs yes]", "expert 0: intercept [no vs yes]"]
    assert list(one.summary().to_frame().index[3:]) == names
    proba = other.predict_proba(X)[:, 1]
    Z = np.c_[X, np.ones(len(y))]
    errors = np.sqrt(np.diag(np.linalg.inv((Z * (proba * (1 - proba))[:, None]).T @ Z)))
    np.testing.assert_allclose(flatten(one.standard_errors_.expert), errors, rtol=1e-6)


def test_several_classes_are_multinomial_regression():
    X, y = without_a_class()
    one = MoEClassifier(1, pull=0.0).fit(X, y)
    other = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), atol=1e-6)
    assert one.expert_coef_.shape == (1, 2, 1) and one.n_parameters_ == 4


def test_probabilities_are_those_of_the_display(data, model):
    X, y = data
    log_gate = np.log(model.gate_proba(X))[:, :, None]
    own = model.expert_predict_proba(X)
    np.testing.assert_allclose(model.predict_log_proba(X), logsumexp(log_gate + np.log(own), axis=1), atol=1e-12)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0, rtol=4 * np.finfo(float).eps)
    np.testing.assert_array_equal(model.predict(X), model.classes_[model.predict_proba(X).argmax(axis=1)])
    rows = model.predict_log_proba(X)[np.arange(len(y)), (y == "yes").astype(int)]
    np.testing.assert_allclose(model.score_samples(X, y), rows, atol=1e-12)
    assert model.loglik_ == pytest.approx(rows.sum(), abs=1e-8)
    assert model.score(X, y) > LogisticRegression().fit(X, y).score(X, y)
    far = model.predict_log_proba(1e3 * X)
    assert np.isfinite(far).all() and far.min() < -745  # probabilities underflow, their logarithms do not
    assert np.isfinite(model.predict_proba(1e3 * X)).all()


@pytest.mark.parametrize("labels", [[-1, 1], [True, False], ["b", "a"], [10, 5]])
def test_labels_come_back(labels):
    X, y = two_logits(100)
    y = np.array(labels)[(y == "yes").astype(int)]
    model = MoEClassifier(1).fit(X, y)
    assert model.predict(X).dtype == y.dtype and model.sample(X).dtype == y.dtype
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    assert model.predict_distribution(X).predict().tolist() == model.predict(X).tolist()


def test_categories():
    X, y = two_logits(100)
    scale = pd.Series(pd.Categorical(y, ["yes", "never", "no"], ordered=True))
    with pytest.warns(UserWarning, match=r"levels \['never'\] of y do not occur"):
        model = MoEClassifier(1).fit(X, scale)
    assert model.classes_.tolist() == ["yes", "no"]
    plain = MoEClassifier(1).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X)[:, ::-1], plain.predict_proba(X), atol=1e-8)


def test_names_of_classes_do_not_matter(data, model):
    X, y = data
    other = MoEClassifier(2, **FEW).fit(X, np.where(y == "no", "z", "a"))
    np.testing.assert_allclose(other.predict_proba(X)[:, ::-1], model.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("pull", [0.0, 1.0])
def test_a_class_without_weight(pull):
    X, y = without_a_class()
    weight = (y != "c").astype(float)
    model = quietly(MoEClassifier(1, pull=pull).fit, X, y, weight)
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert np.isfinite(model.predict_proba(X)).all() and model.predict_proba(X)[:, 2].max() < 1e-6
    assert "separates the classes" in model.status_
    odds = -np.subtract(*model.expert_coef_[0][::-1]), -np.subtract(*model.expert_intercept_[0][::-1])
    if pull == 0.0:
        assert model.loglik_ == pytest.approx(-147.4989117083, abs=1e-5)
        np.testing.assert_allclose([odds[0][0], odds[1]], [0.72265201, 0.04978672], atol=1e-5)
        assert model.predict_log_proba([[-2000.0]])[0, 0] == pytest.approx(-1445.2542, abs=1e-2)
    balanced = quietly(MoEClassifier(1, pull=pull, class_weight="balanced").fit, X, y, weight)
    assert balanced.predict_proba(X[weight > 0])[:, 0].mean() == pytest.approx(0.5, abs=0.01)


def test_class_weights_are_weights(data):
    X, y = data
    one = MoEClassifier(1, class_weight={"yes": 3.0}).fit(X, y)
    other = MoEClassifier(1).fit(X, y, np.where(y == "yes", 3.0, 1.0))
    np.testing.assert_allclose(one.expert_coef_, other.expert_coef_, rtol=1e-5)
    repeated = MoEClassifier(1).fit(
        pd.concat([X, X[y == "yes"], X[y == "yes"]]), np.r_[y, ["yes"] * 2 * sum(y == "yes")]
    )
    np.testing.assert_allclose(one.predict_proba(X), repeated.predict_proba(X), atol=1e-7)
    for wrong, words in (({"maybe": 1.0}, "class_weight names"), ("even", "class_weight")):
        with pytest.raises(ValueError, match=words):
            MoEClassifier(1, class_weight=wrong).fit(X, y)


def test_separation_is_named_and_the_pull_prevents_it():
    X, y = load_iris(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="expert 0 separates the classes"):
        model = MoEClassifier(1, pull=0.0).fit(X, y)
    assert not model.converged_ and model.loglik_ == pytest.approx(-5.949271, abs=1e-4)
    assert model.standard_errors_ is None and "separates" in str(model.summary())
    pulled = MoEClassifier(1).fit(X, y)
    assert pulled.converged_ and np.abs(pulled.expert_coef_).max() < 10
    assert "pull of gate and experts" in pulled.status_ and "pull" in str(pulled.summary())
    assert np.isfinite(flatten(pulled.standard_errors_.expert)).all()
    doubled = MoEClassifier(1, pull=2.0).fit(X, y)
    assert doubled.loglik_ < pulled.loglik_


def test_the_pull_does_not_depend_on_units(data, model):
    X, y = data
    turned = X.to_numpy() @ np.array([[2.0, 1.0], [-0.5, 3.0]]) + 7.0
    other = MoEClassifier(2, **FEW).fit(turned, y)
    np.testing.assert_allclose(other.predict_proba(turned), model.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("k, n_classes", [(2, 3)])
def test_fits_reach_the_truth(k, n_classes):
    rng = np.random.default_rng(n_classes)
    X = rng.normal(size=(1000, 2))
    start = quietly(MoEClassifier(k, random_state=0, **QUICK).fit, X, rng.integers(n_classes, size=1000))
    truth = start.fitted_
    gate, expert = start.params_
    gate = gate._replace(coef=rng.normal(0, 2, gate.coef.shape), intercept=0 * gate.intercept)
    expert = expert._replace(
        coef=rng.normal(0, 2, expert.coef.shape), intercept=rng.normal(size=expert.intercept.shape)
    )
    params = start.params_._replace(gate=truth.model.gate.canonical(gate), expert=expert)
    block = truth.blocks(X).take(slice(None))
    y = truth.model.sample(block, params, rng)[0]
    loglik = truth.blocks(X, y.astype(int)).sum(truth.model.loglik, params)
    assert quietly(MoEClassifier(k, **FEW).fit, X, y.astype(int)).loglik_ >= loglik


def test_inference(data, model):
    X, y = data
    robust = model.covariance("sandwich", X, y).standard_errors.expert.coef
    assert np.all(np.abs(np.log(robust / model.standard_errors_.expert.coef)) < 1.0)
    flat = MoEClassifier(2, gate_features=[], **FEW).fit(X, y)
    assert likelihood_ratio_test(flat, model, X, y).p_value < 1e-6
    for kind in ("parametric", "case"):
        found = bootstrap(model, X, y, 3, kind, random_state=0)
        assert found.params.expert.coef.shape == (3, 2, 1, 2) and np.isfinite(found.logliks).all()
    assert n_experts_test(MoEClassifier(1, n_init=4).fit(X, y), X, y, n_resamples=1, random_state=0).statistic > 100
    assert model.wald_test("expert 0: b [no vs yes]").p_value < 0.01


def test_a_draw_may_lack_a_class():
    X, y = two_logits(60)
    y = y.astype(object)
    y[0] = "rare"
    model = quietly(MoEClassifier(1, random_state=0).fit, X, y)
    found = quietly(bootstrap, model, X, y, 4, "case", random_state=0)
    assert found.params.expert.coef.shape == (4, 1, 2, 2) and np.isfinite(found.params.expert.coef).all()


def test_the_number_of_experts():
    X, y = two_logits(300)
    quick = MoEClassifier(random_state=0, n_init=3)
    found = select_n_experts(quick, X, y, (1, 2), "cv", cv=2, random_state=0)
    assert found.n_experts_ == 2
    chosen = MoEClassifierSelect(quick, n_experts=(1, 2), random_state=0).fit(X, y)
    assert chosen.n_experts_ == 2 and chosen.classes_.tolist() == ["no", "yes"]
    np.testing.assert_array_equal(chosen.predict(X), chosen.best_estimator_.predict(X))
    assert chosen.selection_.table["converged"] == (True, True)
    numbers = GridSearchCV(quick, {"n_experts": [1, 2]}, scoring="neg_log_loss", cv=2).fit(X, y)
    assert numbers.best_params_ == {"n_experts": 2}


def test_other_tools(data, model):
    X, y = data
    one = CalibratedClassifierCV(MoEClassifier(1), cv=2).fit(X, y)
    assert one.predict_proba(X).shape == (len(y), 2)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    hard = MoEClassifier(2, gate=TopKGate(1), random_state=0, n_init=3).fit(X, y)
    assert set(np.unique(hard.gate_proba(X))) == {0.0, 1.0} and np.isfinite(hard.predict_log_proba(X)).all()
    given, usual = MoEClassifier(1, expert=Multinomial(["yes", "no"])).fit(X, y), MoEClassifier(1).fit(X, y)
    assert given.classes_.tolist() == ["yes", "no"]
    # A certified maximum is exact in the likelihood; where on its flat top a fit ends differs by machine.
    np.testing.assert_allclose(given.loglik_, usual.loglik_, rtol=1e-9)
    np.testing.assert_allclose(given.expert_coef_, -usual.expert_coef_, rtol=1e-5)
    axis = plot_calibration(calibration(model, X, y))
    assert len(axis.containers) == 1
    with pytest.raises(ValueError, match="classes must be a list"):
        plot_calibration(calibration(model, X, y), ["maybe"])


def test_what_is_refused(data, model):
    X, y = data
    with pytest.raises(ValueError, match="is for MoERegressor, not for MoEClassifier"):
        MoEClassifier(expert="gaussian").fit(X, y)
    with pytest.raises(ValueError, match="is for MoEClassifier, not for MoERegressor"):
        MoERegressor(expert="multinomial").fit(X, y == "yes")
    with pytest.raises(ValueError, match="one class only"):
        MoEClassifier().fit(X, ["a"] * len(y))
    with pytest.raises(ValueError, match="no class in 1 rows"):
        MoEClassifier().fit(X, [None, *y[1:]])
    with pytest.raises(ValueError, match="mixes strings and numbers"):
        MoEClassifier().fit(X, pd.Series([1, *y[1:]], dtype=object))
    with pytest.raises(ValueError, match="none of the classes of the fit"):
        model.score_samples(X, ["maybe", *y[1:]])
    with pytest.raises(ValueError, match="see predict_proba"):
        model.fitted_.predict(X, return_std=True)
    with pytest.raises(ValueError, match="probabilities of classes need a classifier"):
        MoERegressor(1).fit(X[["b"]], X["a"]).fitted_.predict_proba(X[["b"]])
    with pytest.raises((TypeError, ValueError), match="pull"):
        MoEClassifier(pull="yes").fit(X, y)
    assert not hasattr(model, "predict_interval") and Poisson().classes is None


def test_of_classes_that_are_as_likely_it_is_the_first_whatever_the_rounding():
    y = np.repeat(["a", "b", "c"], [5, 10, 10])
    model = MoEClassifier(1, expert_features=[], gate_features=[], n_init=1).fit(np.arange(25.0)[:, None], y)
    for shift in (-1e-9, 0.0, 1e-9):
        expert = model.params_.expert
        moved = expert._replace(intercept=expert.intercept + shift * np.arange(expert.intercept.size))
        fit = replace(model.fitted_, params=model.params_._replace(expert=moved))
        assert set(fit.predict(np.zeros((3, 1)))) == {"b"}
