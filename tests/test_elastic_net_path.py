"""Paths of elastic nets: where they begin and end, what is chosen, fits without penalty on what was chosen."""

from math import comb

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import KFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from helpers import for_check, mixed, quietly
from smoe import MoEClassifier, MoEClassifierPath, MoERegressor, MoERegressorPath
from smoe.penalties import ElasticNet, KeepZeros, Ridge
from smoe.selection import elastic_net_path

QUICK = {"n_init": 2, "random_state": 0}


X, Y = mixed()
PAIRS = [(0.1, 0.07), (0.4, 0.3), (0.2, 0.1)]


@pytest.fixture(scope="module")
def path():
    return elastic_net_path(MoERegressor(2, **QUICK), X, Y, n_alphas=5, eps=0.05)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        MoERegressorPath(MoERegressor(1, n_init=1, max_iter=30), alphas=[(0.03, 0.0)]),
        MoEClassifierPath(MoEClassifier(1, n_init=1, max_iter=30), alphas=[(0.03, 0.0)]),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(for_check(estimator, check))


@pytest.mark.parametrize(("scaled", "largest"), [(False, 0.4298071120), (True, 0.5872611840)])
def test_the_largest_weight(scaled, largest):
    """Documented values of one expert; just below it one column is in, that at which it is attained."""
    rng = np.random.default_rng(10)
    x = rng.normal(size=(200, 3)) * [1, 10, 0.1] + [0, 5, 1]
    y = 1 + x @ [0.5, 0.08, -3] + rng.normal(size=200)
    one = MoERegressor(1, penalty=ElasticNet(2.0, scaled=scaled), n_init=1, random_state=0)
    path = elastic_net_path(one, x, y, n_alphas=2, eps=0.98)
    assert path.alphas_[0] == pytest.approx([largest * (1 + 1e-6), 0.0], abs=1e-7)
    assert path.table["n_slopes"] == (0, 1) and path.slopes("expert")[1, 0, 1] != 0 and path.status == "complete"
    squares = ElasticNet(1.0, l1_ratio=0.0, scaled=scaled)
    path = elastic_net_path(MoERegressor(1, penalty=squares, n_init=1, random_state=0), x, y, n_alphas=1)
    assert path.alphas_[0, 0] == pytest.approx(1000 * largest, rel=1e-5)


def test_the_choice(path):
    """The columns that matter, by a criterion that its display gives; the criterion of every refit."""
    best = path.best_estimator_
    assert [np.flatnonzero(part.coef.any(axis=0)).tolist() for part in best.params_] == [[0], [1]]
    assert path.best_index_ == np.argmin(path.table["criterion"]) and best.converged_
    for fit, n, value in zip(path.refits_, path.table["n_slopes"], path.table["criterion"], strict=True):
        price = 2 * fit.fitted_.certificate.price
        assert value == pytest.approx(fit.bic_ + price + 2 * np.log(comb(15, n)))
    assert path.table["n_slopes"][0] <= 3 < path.table["n_slopes"][-1]
    assert (path.slopes("expert") != 0).sum() + (path.slopes("gate")[:, 0] != 0).sum() == sum(path.table["n_slopes"])
    assert str(path).count("\n") == 5 and path.to_frame().shape == (5, 10)
    assert np.all(np.diff(path.table["objective"]) > 0)
    assert path.scales("expert") == pytest.approx(X.std(axis=0))
    assert str(best.covariance().label) == "observed information, given the selected slopes"


def test_a_point_is_a_fit(path):
    """Each point is at least as good as a fit with its weights; warm starts lose nothing here."""
    for pair, objective in zip(path.alphas_[1:3], path.table["objective"][1:3], strict=True):
        single = MoERegressor(2, penalty=ElasticNet(*pair), **QUICK).fit(X, Y)
        assert objective >= single.fitted_.objective - 1e-8 * len(Y)


def test_weights_of_users_and_held_out_rows():
    """Pairs are answered in their order; the held-out log-likelihood by hand; one standard error."""
    folds = list(KFold(2, shuffle=True, random_state=1).split(X))
    settings = {"alphas": PAIRS, "criterion": "cv", "cv": folds, "relax": False, "random_state": 0}
    path = elastic_net_path(MoERegressor(2, **QUICK), X, Y, **settings)
    assert path.alphas_.tolist() == [list(pair) for pair in PAIRS] and path.refits_ is None
    held = []
    for train, test in folds:
        fit = path.estimators_[0]
        again = quietly(MoERegressor(2, start=fit.params_, penalty=fit.penalty).fit, X[train], Y[train])
        held.append(again.loglik(X[test], Y[test]) / len(test))
    assert path.table["criterion"][0] == pytest.approx(-2 * len(Y) * np.mean(held))
    assert path.table["criterion_error"][0] == pytest.approx(2 * len(Y) * np.std(held, ddof=1) / np.sqrt(2))
    careful = elastic_net_path(MoERegressor(2, **QUICK), X, Y, one_se=True, **settings)
    values, errors = (np.array(careful.table[name]) for name in ("criterion", "criterion_error"))
    best = np.argmin(values)
    within = [i for i in range(3) if values[i] <= values[best] + errors[best]]
    assert careful.best_index_ == max(within, key=lambda i: sum(PAIRS[i]))


def test_the_estimators_answer():
    settings = {"n_alphas": 3, "eps": 0.2, "criterion": "bic"}
    model = MoERegressorPath(MoERegressor(2, **QUICK), **settings).fit(X, Y)
    assert np.array_equal(model.predict(X), model.best_estimator_.predict(X)) and model.loglik_
    assert model.alpha_ == tuple(model.path_.alphas_[model.path_.best_index_]) and "given the" in str(model.summary())
    flowers, kind = load_iris(return_X_y=True)
    classes = MoEClassifierPath(MoEClassifier(1, **QUICK), **settings).fit(flowers, kind)
    assert classes.score(flowers, kind) > 0.9 and not classes.expert_coef_[..., 0].any()


def test_zeros_that_stay(path):
    """Least squares on the columns; standard errors of the fit to these columns alone; equal slopes stay equal."""
    begin = MoERegressor(1, penalty=ElasticNet(0.08), n_init=1, random_state=0).fit(X, Y).params_
    chosen = np.flatnonzero(begin.expert.coef[0])
    one = MoERegressor(1, penalty=KeepZeros(), start=begin).fit(X, Y)
    wanted = np.linalg.lstsq(np.column_stack([X[:, chosen], np.ones(len(Y))]), Y, rcond=None)[0]
    assert one.expert_coef_[0, chosen] == pytest.approx(wanted[:-1])
    assert np.count_nonzero(one.expert_coef_) == len(chosen) > 0

    best = path.best_estimator_
    alone = MoERegressor(2, gate_features=[0], expert_features=[1], n_init=5, random_state=0).fit(X, Y)
    assert best.loglik_ == pytest.approx(alone.loglik_, abs=1e-7) and best.n_parameters_ == alone.n_parameters_ == 8
    for side, column in (("gate", 0), ("expert", 1)):
        errors = (getattr(fit.standard_errors_, side).coef for fit in (best, alone))
        assert next(errors)[:, column] == pytest.approx(next(errors)[:, 0], rel=1e-5, nan_ok=True)

    three = quietly(MoERegressor(3, penalty=ElasticNet(0.2, 0.05), **QUICK).fit, X, Y).params_
    coef = np.zeros((3, 5))
    coef[2, 0], coef[0, 1], coef[1, 1] = 1.0, 1.0, -1.0
    start = three._replace(gate=three.gate._replace(coef=coef))
    free = quietly(MoERegressor(3, penalty=KeepZeros(), start=start, max_iter=20).fit, X, Y)
    assert sorted((free.gate_coef_ != 0).sum(axis=1)) == [1, 1, 1]
    assert free.n_parameters_ == 3 + 2 + 6 + np.count_nonzero(three.expert.coef)


def test_ridge_of_more_columns_than_rows():
    wide = np.random.default_rng(0).normal(size=(40, 60))
    model = MoERegressor(2, penalty=Ridge(0.5, 0.5), n_init=3, random_state=0)
    assert np.isfinite(quietly(model.fit, wide, 2 * wide[:, 0]).predict(wide)).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"criterion": "gcv"}, "criterion"),
        ({"one_se": True}, "one_se=True needs criterion='cv'"),
        ({"alphas": [0.1, 0.2]}, "alphas must be pairs"),
        ({"alphas": [(-0.1, 0.2)]}, "alphas must be pairs"),
        ({"n_alphas": 0}, "n_alphas"),
        ({"eps": 2.0}, "eps"),
        ({"penalty": ElasticNet()}, "alpha_expert and alpha_gate of the elastic net are both zero"),
        ({"penalty": ElasticNet(-1.0)}, "ElasticNet: alpha_expert"),
        ({"penalty": "lasso"}, "penalty='lasso' is not known"),
    ],
)
def test_bad_settings(settings, words):
    estimator = MoERegressor(2, penalty=settings.pop("penalty", None), **QUICK)
    with pytest.raises((TypeError, ValueError), match=words):
        elastic_net_path(estimator, X, Y, **settings)


def test_a_path_of_many_columns_ends():
    """Where a fit has more than one degree of freedom for eight rows, in words; it has found what matters."""
    wide = np.column_stack([X, np.random.default_rng(1).normal(size=(len(X), 55))])
    path = quietly(elastic_net_path, MoERegressor(2, **QUICK), wide, Y, n_alphas=6)
    assert path.status.startswith(f"{len(path.alphas_)} of 6") and len(path.alphas_) < 6
    assert [np.flatnonzero(part.coef.any(axis=0)).tolist() for part in path.best_estimator_.params_] == [[0], [1]]
