"""Choosing the number of experts as an estimator, the pictures, and what is refused."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from helpers import for_check, quietly
from smoe import MoERegressorSelect, SoftmaxMoERegressor
from smoe.datasets import load_faithful, make_moe
from smoe.diagnostics import diagnose
from smoe.inference import bootstrap, likelihood_ratio_test
from smoe.selection import dendrogram, drop_expert, merge_experts, n_experts_test, select_n_experts
from smoe.solvers import EM

MODEL = SoftmaxMoERegressor(random_state=0, n_init=5)


@pytest.fixture(scope="module")
def data():
    return load_faithful(return_X_y=True)


@pytest.fixture(scope="module")
def fitted(data):
    return MoERegressorSelect(SoftmaxMoERegressor(random_state=0), n_experts=(1, 2), random_state=0).fit(*data)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([MoERegressorSelect(SoftmaxMoERegressor(n_init=3, max_iter=30), n_experts=(1, 2))])
def test_scikit_learn_checks(estimator, check):
    check(for_check(estimator, check))


def test_the_best_estimator_answers(data, fitted):
    X, y = data
    best = fitted.best_estimator_
    assert fitted.n_experts_ == best.n_experts == fitted.selection_.n_experts_ == 2
    np.testing.assert_array_equal(fitted.predict(X), best.predict(X))
    np.testing.assert_array_equal(fitted.predict(X, return_std=True)[1], best.predict(X, return_std=True)[1])
    np.testing.assert_array_equal(fitted.predict_interval(X, 0.5), best.predict_interval(X, 0.5))
    assert str(fitted.summary()) == str(best.summary())
    assert fitted.loglik_ == best.loglik_ and fitted.params_ is best.params_
    assert fitted.n_features_in_ == 1 and "gate_proba" in dir(fitted) and not hasattr(fitted, "transform")
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))
    assert merge_experts(fitted, 0, 1, X, y).estimator.n_experts == 1


def test_functions_take_the_best_estimator(data, fitted):
    X, y = data
    best = fitted.best_estimator_
    assert bootstrap(fitted, X, y, 2, random_state=0).names == bootstrap(best, X, y, 2, random_state=0).names
    np.testing.assert_array_equal(diagnose(fitted, X, y).pit, diagnose(best, X, y).pit)
    smaller = quietly(clone(best).set_params(gate_features=[]).fit, X, y)  # an expert of it may be a chance line
    one, other = (quietly(likelihood_ratio_test, smaller, full, X, y) for full in (fitted, best))
    assert one == other
    one = MoERegressorSelect(SoftmaxMoERegressor(random_state=0), n_experts=(1,)).fit(X, y)
    assert n_experts_test(one, X, y, n_resamples=1, random_state=0).larger.n_experts == 2


@pytest.mark.parametrize("wrong", [None, LinearRegression(), SoftmaxMoERegressor])
def test_functions_refuse_other_models(data, fitted, wrong):
    asks = bootstrap, diagnose, n_experts_test, dendrogram
    for ask in asks:
        with pytest.raises(TypeError, match="model must be a"):
            ask(wrong, *data)
    with pytest.raises(TypeError, match="full must be a fitted estimator"):
        likelihood_ratio_test(fitted, wrong, *data)


def test_a_number_set_after_the_fit_is_refused(data, fitted):
    changed = copy.deepcopy(fitted.best_estimator_).set_params(n_experts=3)
    for ask in (lambda: drop_expert(changed, 2, *data), lambda: dendrogram(changed, *data)):
        with pytest.raises(ValueError, match="model was fitted with 2 experts, and n_experts=3 set since"):
            ask()


def test_folds_hold_out_rows(data):
    folds = [(np.arange(60), np.array([], dtype=int))]
    with pytest.raises(ValueError, match="cv holds out no rows"):
        select_n_experts(SoftmaxMoERegressor(random_state=0), *data, [1], "cv", cv=folds)


def test_nothing_before_fit():
    for model in (MoERegressorSelect(), MoERegressorSelect(MODEL)):
        for name in ("predict_interval", "summary", "gate_proba"):
            with pytest.raises(NotFittedError, match=f"call fit before {name}"):
                getattr(model, name)
        with pytest.raises(NotFittedError):
            model.predict([[0.0]])
        assert not hasattr(model, "loglik_") and not hasattr(model, "best_estimator_")


def test_in_pipelines_and_searches(data):
    X, y = data
    select = MoERegressorSelect(MODEL, n_experts=(1, 2), random_state=0)
    pipe = make_pipeline(StandardScaler(), select)
    quietly(pipe.fit, X, y, moeregressorselect__sample_weight=np.ones(len(y)))
    assert pipe[-1].n_experts_ == 2
    np.testing.assert_allclose(pipe[-1].loglik_, -96.0515814538, atol=1e-6)
    grid = {"estimator__gate_features": [[], [0]], "criterion": ["bic"]}
    search = quietly(GridSearchCV(select, grid, cv=2).fit, X, y)
    assert search.best_estimator_.estimator.gate_features == search.best_params_["estimator__gate_features"]
    assert quietly(cross_val_predict, select, X, y, cv=2).shape == y.shape
    changed = clone(select).set_params(estimator__n_init=7, n_experts=(2,))
    assert changed.estimator.n_init == 7 and select.estimator.n_init == 5


def test_seeds_and_names(data):
    X, y = data
    frame = pd.DataFrame(X, columns=["waiting"])
    one, two = (
        quietly(MoERegressorSelect(SoftmaxMoERegressor(), n_experts=(1, 3), random_state=5, n_jobs=n).fit, frame, y)
        for n in (1, 2)
    )
    np.testing.assert_array_equal(one.predict(frame), two.predict(frame))
    assert list(one.feature_names_in_) == ["waiting"]


# Pictures ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def plots():
    from smoe import plots

    plots.plt.switch_backend("Agg")
    yield plots
    plots.plt.close("all")


def test_picture_of_the_path(plots, data):
    found = quietly(select_n_experts, clone(MODEL).set_params(solver=EM(3, tol=1e-14)), *data, (1, 2, 3))
    table = found.table
    top, bottom = plots.plot_selection(found).axes
    drawn = {line.get_label(): line.get_data() for line in top.lines}
    chosen = f"BIC (chooses {found.n_experts_})"
    for label, name in (("AIC", "aic"), ("ICL", "icl"), (chosen, "bic")):
        np.testing.assert_allclose(drawn[label][1], np.subtract(table[name], min(table[name])))
    hollow = [line for line in bottom.lines if line.get_markerfacecolor() == "white"]
    np.testing.assert_array_equal(hollow[0].get_xdata(), [2, 3])
    np.testing.assert_allclose(bottom.lines[0].get_ydata(), table["loglik"])
    labels = [text.get_text() for text in top.get_legend().get_texts()]
    assert labels == ["AIC", "ICL", chosen, "no certified maximum"]
    assert found.n_experts_ in [line.get_xdata()[0] for line in bottom.lines[2:]]


def test_picture_of_the_dendrogram(plots):
    moe = make_moe(500, n_experts=2, random_state=3)
    model = quietly(SoftmaxMoERegressor(4, random_state=0, n_init=5).fit, moe.data, moe.target)
    tree = dendrogram(model, moe.data, moe.target)
    top, bottom = plots.plot_dendrogram(tree).axes
    np.testing.assert_allclose(bottom.lines[0].get_data(), [tree.levels, tree.loglik])
    [cut] = [line.get_ydata()[0] for line in top.lines]
    below, above = tree.linkage[:, 2][4 - tree.n_experts - 1 : 4 - tree.n_experts + 1]
    assert below < cut < above
    assert [text.get_text() for text in top.get_legend().get_texts()] == [f"cut: {tree.n_experts} experts"]


def test_picture_of_a_dendrogram_whose_heights_fall(plots):
    """Merges are numbered by what they leave, and drawn in order."""
    moe = make_moe(500, n_experts=2, random_state=3)
    model = quietly(SoftmaxMoERegressor(4, random_state=0, n_init=5).fit, moe.data, moe.target)
    tree = replace(dendrogram(model, moe.data, moe.target), heights=np.array([0.5, 0.2, 0.8]), n_experts=4)
    top = plots.plot_dendrogram(tree).axes[0]
    assert [text.get_text() for text in top.texts] == ["3", "2", "1"]
    heights = [text.get_position()[1] for text in top.texts]
    assert heights[0] == 0.5 < heights[1] < heights[2] and heights[2] == pytest.approx(0.8, abs=0.05)
    assert [text.get_bbox_patch().get_facecolor()[0] for text in top.texts] == [0.9, 1.0, 0.9]
    words = ["no cut: all 4 experts stay apart", "lower than a merge before it, drawn above that"]
    assert [text.get_text() for text in top.get_legend().get_texts()] == words
    joints = {
        (x.mean().round(6), y.max().round(6)) for x, y in (p.vertices.T for c in top.collections for p in c.get_paths())
    }
    assert joints == {tuple(np.round(text.get_position(), 6)) for text in top.texts}


def test_picture_says_where_its_scale_changes(plots, data):
    found = quietly(select_n_experts, MODEL, *data, (1, 2))
    top = plots.plot_selection(found).axes[0]
    assert top.get_legend().get_title().get_text() == "vertical axis: logarithmic above 10 (grey line)"
    small = replace(found, table={**found.table, **{name: (0.0, 5.0) for name in ("aic", "bic", "icl", "criterion")}})
    assert not plots.plot_selection(small).axes[0].get_legend().get_title().get_text()


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, error, message",
    [
        ({"n_experts": ()}, ValueError, "n_experts is empty"),
        ({"n_experts": (1, 2.0)}, TypeError, "n_experts must hold integers, got 2.0"),
        ({"n_experts": (True,)}, TypeError, "n_experts must hold integers, got True"),
        ({"n_experts": 3}, TypeError, "n_experts must be a sequence of integers"),
        ({"n_experts": (0, 1)}, ValueError, "n_experts must hold positive integers, got 0"),
        ({"n_experts": (2, 2)}, ValueError, "n_experts holds a number twice"),
        ({"n_experts": (2, 9)}, ValueError, "n_experts goes up to 9, which is larger than the number of rows.* 8"),
        ({"n_experts": (1,), "sample_weight": [1, 0]}, ValueError, "sample_weight must have shape"),
        (
            {"criterion": "dic"},
            ValueError,
            "criterion='dic' is not known; choose one of bic, aic, icl, cv, slope, jump",
        ),
        ({"criterion": 3}, ValueError, "criterion=3 is not known"),
        ({"criterion": "cv", "n_experts": (1,), "cv": 1}, ValueError, "n_splits"),
        ({"estimator": LinearRegression()}, TypeError, "estimator must be a mixture of experts"),
    ],
)
def test_selections_that_make_no_sense(settings, error, message):
    X = np.arange(8.0)[:, None]
    given = {"estimator": MODEL, "X": X, "y": X[:, 0] ** 2, "n_experts": (1, 2), **settings}
    with pytest.raises(error, match=message):
        quietly(select_n_experts, **given)


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda m, X, y: merge_experts(m, 1, 1, X, y), ValueError, "i and j are both 1"),
        (lambda m, X, y: merge_experts(m, 0, 2, X, y), ValueError, "j=2: the model has experts 0 to 1"),
        (lambda m, X, y: merge_experts(m, -1, 0, X, y), ValueError, "i=-1: the model has experts 0 to 1"),
        (lambda m, X, y: merge_experts(m, 0.0, 1, X, y), TypeError, "i must be the number of an expert"),
        (lambda m, X, y: drop_expert(m, True, X, y), TypeError, "i must be the number of an expert"),
        (lambda m, X, y: drop_expert(merge_experts(m, 0, 1, X, y).estimator, 0, X, y), ValueError, "has one expert"),
        (lambda m, X, y: merge_experts(MODEL, 0, 1, X, y), NotFittedError, "not fitted"),
        (lambda m, X, y: drop_expert(LinearRegression(), 0, X, y), TypeError, "model must be a fitted estimator"),
        (lambda m, X, y: dendrogram(MODEL, X, y), NotFittedError, "not fitted"),
        (lambda m, X, y: dendrogram(merge_experts(m, 0, 1, X, y)[0], X, y), ValueError, "model has one expert"),
        (lambda m, X, y: dendrogram(m, X, y, dissimilarity="ward"), ValueError, "dissimilarity='ward' is not known"),
        (lambda m, X, y: dendrogram(m, X, y, dissimilarity=[]), ValueError, "dissimilarity=.. is not known"),
        (lambda m, X, y: dendrogram(m, X, y, omega=-1), ValueError, "omega must be a number of at least 0"),
        (lambda m, X, y: dendrogram(m, X, y).cut(3), ValueError, "n_experts=3: the dendrogram has 2 experts"),
        (lambda m, X, y: dendrogram(m, X, y).cut(0), ValueError, "n_experts must be an integer of at least 1"),
        (lambda m, X, y: dendrogram(m, X[:, [0, 0]], y), ValueError, "2 features, but SoftmaxMoERegressor"),
        (lambda m, X, y: merge_experts(m, 0, 1, X, y[1:]), ValueError, "inconsistent numbers of samples"),
    ],
)
def test_changes_that_make_no_sense(data, fitted, change, error, message):
    with pytest.raises(error, match=message):
        change(fitted.best_estimator_, *data)
