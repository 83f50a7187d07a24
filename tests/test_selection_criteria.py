"""What a number of experts is judged by."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold

from helpers import quietly
from naive import SOFTMAX_GAUSSIAN as twin
from smoe import SoftmaxMoERegressor
from smoe.datasets import load_faithful
from smoe.selection import select_n_experts, slope_heuristic
from smoe.solvers import EM

MODEL = SoftmaxMoERegressor(random_state=0, n_init=5)


@pytest.fixture(scope="module")
def pair():
    """Two experts."""
    return load_faithful(return_X_y=True)


def test_criteria_by_hand(pair):
    X, y = pair
    found = quietly(select_n_experts, MODEL, X, y, (1, 2, 3))
    n = len(y)
    for row, fit in enumerate(found.estimators_):
        loglik = twin.loglik(fit.params_, X, y, np.ones(n))
        resp = fit.responsibilities(X, y)
        entropy = -np.sum(resp * np.log(np.where(resp > 0, resp, 1)))
        df = 5 * fit.n_experts - 2
        wanted = (loglik, df, -2 * loglik + 2 * df, -2 * loglik + df * np.log(n))
        wanted += (wanted[-1] + 2 * entropy,)
        price = 2 * found.table["price"][row]  # of experts on few rows, see test_chance.py
        wanted = (*wanted[:3], wanted[3] + price, wanted[4] + price)
        for name, value in zip(("loglik", "df", "aic", "bic", "icl"), wanted, strict=True):
            np.testing.assert_allclose(found.table[name][row], value, rtol=1e-8)
    for name in ("aic", "bic", "icl"):
        again = quietly(select_n_experts, MODEL, X, y, (1, 2, 3), name)
        assert again.table["criterion"] == again.table[name] == found.table[name]
        assert again.n_experts_ == 1 + np.argmin(found.table[name]) == again.best_estimator_.n_experts


def test_the_table(pair):
    X, y = pair
    found = quietly(select_n_experts, MODEL, X, y, (2, 1))
    frame = found.to_frame()
    assert list(frame.index) == [1, 2] and frame.index.name == "n_experts"
    assert list(frame.columns) == ["loglik", "df", "price", "aic", "bic", "icl", "converged", "status", "criterion"]
    assert "converged" in str(found) and len(str(found).splitlines()) == 3


def test_held_out_log_likelihood(pair):
    X, y = pair
    folds = KFold(3)
    found = select_n_experts(MODEL, X, y, (1,), "cv", cv=folds)
    total = 0.0
    for train, test in folds.split(X):
        line = LinearRegression().fit(X[train], y[train])
        variance = np.mean((y[train] - line.predict(X[train])) ** 2)
        total += np.sum(-0.5 * (np.log(2 * np.pi * variance) + (y[test] - line.predict(X[test])) ** 2 / variance))
    np.testing.assert_allclose(found.table["criterion"], -2 * total)
    weighted = select_n_experts(MODEL, X, y, (1,), "cv", cv=folds, sample_weight=np.full(len(y), 2.0))
    np.testing.assert_allclose(weighted.table["criterion"], -4 * total)
    frame = pd.DataFrame(X, columns=["waiting"])
    best = quietly(select_n_experts, MODEL, frame, pd.Series(y), (1, 2), "cv", cv=3, random_state=0)
    assert best.n_experts_ == 2 and best.best_estimator_.feature_names_in_ == ["waiting"]


def test_callable_criterion(pair):
    X, y = pair
    seen = []

    def count(model, X, y, sample_weight=None):
        seen.append(sample_weight)
        return -model.n_experts

    assert quietly(select_n_experts, MODEL, X, y, (1, 2), count).n_experts_ == 2
    assert quietly(select_n_experts, MODEL, X, y, (1, 2), count, sample_weight=np.ones(len(y))).criterion == "count"
    assert seen[:2] == [None, None] and seen[2] is not None
    with pytest.raises(ValueError, match="criterion must be a finite number"):
        quietly(select_n_experts, MODEL, X, y, (1, 2), lambda *_: np.nan)


def test_slope_heuristic():
    df = np.arange(3, 53, 5.0)
    loglik = np.where(df <= 18, -1000 + 60 * df, -1000 + 60 * 18 + 0.7 * (df - 18))
    for method in ("slope", "jump"):
        found = slope_heuristic(loglik, df, method)
        np.testing.assert_allclose(found.slope, 0.7)
        np.testing.assert_allclose(found.values, -2 * loglik + 4 * 0.7 * df)
        assert df[found.chosen] == 18
    noisy = loglik + np.random.default_rng(0).normal(0, 0.3, len(df))
    constants = np.linspace(0, 100, 200001)
    dimension = df[np.argmin(-noisy[:, None] + constants * df[:, None], axis=0)]
    jump = constants[1 + np.argmin(np.diff(dimension))]
    np.testing.assert_allclose(slope_heuristic(noisy, df, "jump").slope, jump, atol=1e-3)
    assert df[slope_heuristic(noisy, df).chosen] == 18


def test_slope_heuristic_as_criterion(pair):
    X, y = pair
    found = quietly(select_n_experts, MODEL, X, y, range(1, 7), "slope", random_state=0)
    wanted = slope_heuristic(found.table["loglik"], found.table["df"])
    assert found.n_experts_ == 1 + wanted.chosen
    np.testing.assert_allclose(found.table["criterion"], wanted.values)
    with pytest.raises(ValueError, match="at least 5 numbers of experts"):
        quietly(select_n_experts, MODEL, X, y, (1, 2), "jump")
    with pytest.raises(ValueError, match="does not rise"):
        slope_heuristic(np.zeros(6), np.arange(6))
    with pytest.raises(ValueError, match="choose 'slope' or 'jump'"):
        slope_heuristic(np.zeros(6), np.arange(6), "kink")
    with pytest.raises(ValueError, match="df must increase"):
        slope_heuristic(np.zeros(6), np.zeros(6))


def test_uncertified_fits_are_named(pair):
    X, y = pair
    estimator = clone(MODEL).set_params(solver=EM(3, tol=1e-14))
    with pytest.warns(
        ConvergenceWarning, match="fits with 2, 3 experts .the chosen one among them.*2: iteration limit"
    ):
        select_n_experts(estimator, X, y, (1, 2, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        select_n_experts(SoftmaxMoERegressor(random_state=0), X, y, (1, 2))
