"""Classes in order: an independent maximum, identities, order of labels, separation, the whole of a fit."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.stats import logistic
from sklearn.exceptions import ConvergenceWarning

from smoe import MoEClassifier
from smoe.families import Ordinal
from smoe.params import flatten

LABELS = np.array(["low", "middle", "high", "top"])


def scale(n=600, seed=0, n_classes=4):
    """Two cumulative logits of opposite slope, apart along the first column."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, 2))
    first = rng.random(n) < 1 / (1 + np.exp(-3 * X[:, 0]))
    latent = np.where(first, 2 * X[:, 1], 1 - 2 * X[:, 1]) + rng.logistic(size=n)
    thresholds = np.where(first[:, None], [-1.0, 1.5, 3.0], [-2.0, -0.5, 2.0])[:, : n_classes - 1]
    return X, LABELS[(latent[:, None] > thresholds).sum(axis=1)]


@pytest.fixture(scope="module")
def data():
    return scale()


@pytest.fixture(scope="module")
def model(data):
    return MoEClassifier(2, expert=Ordinal(LABELS), random_state=0, n_init=6).fit(*data)


def test_one_expert_is_the_proportional_odds_model(data):
    """Against a maximum of the display by a general optimiser, and its numerical curvature."""
    X, y = data
    codes = pd.Categorical(y, LABELS).codes

    def loss(theta):
        thresholds = np.concatenate([[-np.inf], np.cumsum(np.append(theta[2], np.exp(theta[3:]))), [np.inf]])
        eta = X @ theta[:2]
        return -np.log(logistic.cdf(thresholds[codes + 1] - eta) - logistic.cdf(thresholds[codes] - eta)).sum()

    best = minimize(loss, np.zeros(5), method="BFGS", options={"gtol": 1e-6})
    one = MoEClassifier(1, expert=Ordinal(LABELS), pull=0.0).fit(X, y)
    assert one.converged_ and one.n_parameters_ == 5 and one.expert_coef_.shape == (1, 2)
    assert one.loglik_ == pytest.approx(-best.fun, abs=1e-6)
    np.testing.assert_allclose(one.expert_coef_[0], best.x[:2], atol=1e-4)
    thresholds = np.cumsum(np.append(best.x[2], np.exp(best.x[3:])))
    np.testing.assert_allclose(Ordinal.thresholds(one.params_.expert)[0], thresholds, atol=1e-4)
    assert list(one.summary().to_frame().index[-2:]) == [f"expert 0: gap [{a}]" for a in ("middle|high", "high|top")]


def test_two_classes_are_logistic_regression(data):
    X, y = data
    one, other = (
        MoEClassifier(2, expert=e, random_state=0, n_init=4).fit(X, y > "m") for e in ("ordinal", "multinomial")
    )
    assert one.loglik_ == pytest.approx(other.loglik_, abs=1e-6)
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), atol=1e-4)


def test_the_scale_may_be_read_backwards(data, model):
    X, y = data
    back = MoEClassifier(2, expert=Ordinal(LABELS[::-1]), random_state=0, n_init=6).fit(X, y)
    np.testing.assert_allclose(back.predict_proba(X)[:, ::-1], model.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(np.sort(back.expert_coef_[:, 1]), np.sort(-model.expert_coef_[:, 1]), atol=1e-4)
    ordered = pd.Series(pd.Categorical(y, LABELS, ordered=True))
    named = MoEClassifier(1, expert="ordinal").fit(X, ordered)
    assert named.classes_.tolist() == LABELS.tolist()


def test_what_a_fit_has(data, model):
    X, y = data
    assert model.converged_ and model.n_parameters_ == 3 + 2 * 5
    assert set(np.unique(model.predict(X))) <= set(LABELS) and model.score(X, y) > 0.5
    errors = flatten(model.standard_errors_.expert)
    assert np.isfinite(errors).all()
    drawn = model.sample(X, random_state=0)
    assert abs((drawn == "low").mean() - (y == "low").mean()) < 0.06
    assert "no problem found" in str(model.diagnose(X, y))
    robust = flatten(model.covariance("sandwich", X, y).standard_errors.expert)
    np.testing.assert_allclose(robust, errors, rtol=0.5)


def test_separation_and_missing_classes_are_named():
    x = np.linspace(-1, 1, 60)
    y = LABELS[np.digitize(x, [-0.4, 0.3])]
    with pytest.warns(ConvergenceWarning, match="expert 0 separates the classes"):
        apart = MoEClassifier(1, expert=Ordinal(LABELS[:3]), pull=0.0).fit(x[:, None], y)
    assert not apart.converged_ and apart.loglik_ > -1e-3
    pulled = MoEClassifier(1, expert=Ordinal(LABELS[:3])).fit(x[:, None], y)
    assert pulled.converged_ and np.abs(flatten(pulled.params_.expert)).max() < 100


@pytest.mark.parametrize("pull", [0.0, 1.0])
def test_a_class_that_no_row_has(pull):
    """Its gap vanishes, as the probability of it does in other families of classes."""
    X, y = scale(200)
    fit = MoEClassifier(1, expert=Ordinal(["low", "middle", "between", "high", "top"]), pull=pull)
    with pytest.warns(ConvergenceWarning, match="expert 0 separates the classes"):
        fit.fit(X, y)
    plain = MoEClassifier(1, expert=Ordinal(LABELS), pull=pull).fit(X, y)
    assert fit.loglik_ == pytest.approx(plain.loglik_, abs=1e-4)
    assert (fit.params_.expert.gap > 0).all() and fit.predict_proba(X)[:, 2].max() < 1e-5
