"""Formulas on data frames: what they mean, new rows, and what is refused in words."""

import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from helpers import quietly
from smoe import MoEClassifier, MoERegressor
from smoe.inference import bootstrap
from smoe.params import flatten
from smoe.plots import plot_fit
from smoe.selection import n_experts_test


def frame(n=120):
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": rng.normal(size=n), "z": rng.normal(size=n), "g": rng.choice(list("abc"), n)})
    sign = np.where(data.z + 0.7 * rng.logistic(size=n) > 0, 1.0, -1.0)
    data["y"] = sign * (2 + data.x) + (data.g == "b") + 0.3 * rng.normal(size=n)
    data["the t"] = rng.uniform(0.5, 3, n)
    data["n"] = rng.poisson(data["the t"] * np.exp(0.3 * data.x))
    return data


DATA = frame()


def mixture(formula, **settings):
    return MoERegressor(2, formula=formula, n_init=4, random_state=0, **settings)


@pytest.fixture(scope="module")
def model():
    return mixture("y ~ x*C(g) | z").fit(DATA)


def test_a_formula_is_the_columns_that_it_says(model):
    b, c = ((DATA.g == level).astype(float) for level in "bc")
    X = np.column_stack([DATA.x, b, c, DATA.x * b, DATA.x * c, DATA.z])
    by_hand = MoERegressor(2, expert_features=range(5), gate_features=[5], n_init=4, random_state=0).fit(X, DATA.y)
    assert_allclose(model.loglik_, by_hand.loglik_, rtol=1e-12)
    assert_allclose(flatten(model.params_), flatten(by_hand.params_), rtol=1e-9)
    assert_allclose(model.predict(DATA), by_hand.predict(X), rtol=1e-12)
    terms = ["x", "C(g)[T.b]", "C(g)[T.c]", "x:C(g)[T.b]", "x:C(g)[T.c]", "z"]
    assert list(model.feature_names_in_) == terms
    text = str(model.summary())
    assert all(f"  {term} " in text for term in terms) and "response               y" in text


def test_names_of_the_summary_are_names_of_tests(model):
    index = model.summary().to_frame().index
    assert "expert 0: x:C(g)[T.b]" in index
    assert all(model.wald_test(name).df == 1 for name in index if not name.startswith("gate 1"))


def test_without_a_bar_the_gate_sees_the_same():
    same, bar = (mixture(f"y ~ {right}").fit(DATA) for right in ("x + z", "z + x | x + z"))
    assert_allclose(same.loglik_, bar.loglik_, rtol=1e-10)
    assert same.gate_coef_.shape == (2, 2)


def test_new_rows_are_coded_as_those_of_the_fit(model):
    """Levels in another order or fewer of them, means and knots: one row says what all say."""
    whole, X = model.predict(DATA), model.fitted_.columns.design.rows(DATA)
    other = DATA.assign(g=pd.Categorical(DATA.g, categories=list("dcba"))).drop(columns="y")
    for rows in ([7], [3, 50, 2], np.arange(120)[::-1]):
        for data in (DATA, other):
            assert_array_equal(model.fitted_.columns.design.rows(data.iloc[rows]), X.iloc[rows])
            assert_allclose(model.predict(data.iloc[rows]), whole[rows], rtol=1e-12)
    years = DATA.assign(g=pd.Categorical(DATA.g.map({"a": 3, "b": 1, "c": 2}), categories=[3, 1, 2]))
    assert_allclose(mixture("y ~ x*g | z").fit(years).predict(years.iloc[[7]]), whole[7], rtol=1e-9)
    curved = MoERegressor(1, formula="y ~ bs(x, df=4) + poly(z, 2) | center(z) + scale(n)").fit(DATA)
    assert_allclose(curved.predict(DATA.iloc[[9]]), curved.predict(DATA)[[9]], rtol=1e-13)


def test_it_is_an_ordinary_estimator(model):
    again = pickle.loads(pickle.dumps(model))
    assert_allclose(again.predict(DATA), model.predict(DATA), rtol=1e-12)
    assert not hasattr(clone(model), "fitted_") and clone(model).formula == model.formula
    scores = cross_val_score(clone(model).set_params(formula="~ x | z"), DATA, DATA.y, cv=2)
    assert scores.shape == (2,) and np.isfinite(scores).all()
    refits = bootstrap(model, DATA, DATA.y, 2, random_state=0)
    assert refits.params.expert.coef.shape == (2, 2, 5)
    robust = model.covariance("sandwich", DATA, DATA.y)
    assert np.isfinite(robust.standard_errors.expert.coef).all()


def test_the_columns_of_a_formula_stand_for_the_data(model):
    """Where data are drawn, or columns moved, fits go on with the columns that the formula makes."""
    fit, X = model.fitted_.without_formula(DATA)
    assert_allclose(fit.predict(X), model.predict(DATA), rtol=1e-12)
    assert fit.without_formula(X) == (fit, X)
    one = MoERegressor(1, formula="y ~ x + C(g) | 1").fit(DATA)
    found = quietly(n_experts_test, one, DATA, DATA.y, n_resamples=1, random_state=0)
    larger = mixture("y ~ x + C(g) | 1").fit(DATA)
    assert_allclose(found.statistic, 2 * (larger.loglik_ - one.loglik_), rtol=1e-6)
    assert plot_fit(model, DATA, DATA.y, feature="x").axes[1].get_xlabel() == "x"


def test_polars_frames():
    polars = pytest.importorskip("polars")
    other = polars.DataFrame({name: DATA[name].to_list() for name in DATA})
    one = MoERegressor(1, formula="y ~ x + g + `the t`")
    wanted = clone(one).fit(DATA).predict(DATA)
    assert_allclose(one.fit(other).predict(other), wanted, rtol=1e-11)


def test_offsets_and_exposures():
    """The intercept of counts with a known exposure is log(sum of y / sum of exposure)."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=300), rng.uniform(0.2, 5, 300)
    data = pd.DataFrame({"x": x, "t": t, "y": rng.poisson(t * np.exp(0.3 + 0.6 * x)), "offset": x})
    for right in ("offset(np.log(t))", "1 + offset(log(t))", "exposure(t)", "offset(log(t) - x) + offset(x)"):
        fit = MoERegressor(1, expert="poisson", formula=f"y ~ {right}").fit(data)
        assert_allclose([fit.expert_intercept_[0], fit.loglik_], [0.4219604419, -804.6912279035], rtol=1e-8)
        assert_allclose(fit.predict(data.assign(t=2 * t))[:3], 2 * fit.predict(data)[:3], rtol=1e-12)
    column = MoERegressor(1, expert="poisson", formula="y ~ offset + exposure(t)").fit(data)
    assert_allclose(column.expert_coef_[0], [0.61], atol=0.05)
    times = MoERegressor(1, expert="weibull", formula="t ~ x + event(x > -9)").fit(data)
    assert times.roles_.event is not None and list(times.expert_columns_) == [0]


def test_intercepts_alone_and_several_responses():
    flat = MoERegressor(1, formula="y ~ 1").fit(DATA)
    assert_allclose(flat.predict(DATA[:2]), DATA.y.mean(), rtol=1e-12)
    both = MoERegressor(1, expert="multivariate_gaussian", formula="y + z ~ x").fit(DATA)
    assert both.predict(DATA).shape == (120, 2) and both.fitted_.response == "y, z"


def test_classes():
    one = MoEClassifier(1, formula="g ~ x + z").fit(DATA)
    assert list(one.classes_) == ["a", "b", "c"] and set(one.predict(DATA)) <= set("abc")


def test_a_column_does_not_hide_a_function():
    hidden = DATA.assign(C=1.0, log=1.0)
    one = MoERegressor(1, formula="y ~ C(g) + log(`the t`)").fit(hidden)
    assert one.n_features_in_ == 3
    assert MoERegressor(1, formula="y ~ C").fit(DATA.assign(C=DATA.x)).n_features_in_ == 1


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ 0 + x", "always have an intercept"),
        ("y ~ x - 1", "always have an intercept"),
        ("y ~ x | 0", "write '| 1' for a gate"),
        ("y ~ x | z | x", "3 parts"),
        ("log(y) ~ x", "the response log.y. is not a column"),
        ("y | z ~ x", "joined by"),
        ("nose ~ x", "no column 'nose'"),
        ("~ x", "no response left of ~"),
        ("y ~ nose", "`nose` is not present.* Formulas know the columns"),
        ("y ~ f(x)", "name 'f' is not defined.* Formulas know the columns"),
        ("y ~ x +", "Operator"),
        ("y ~ x[0]", "formula='y ~ x.0.'"),
        ("y ~ log(z)", r"log\(z\) is not finite in 69 rows, the first is row 3"),
        ("y ~ x:offset(z)", "no interactions"),
        ("y ~ x | offset(z)", "belongs to the experts"),
        ("y ~ x + trials(z) + trials(x)", "can be given once"),
        ("y ~ x + offset(z)", "has no link, and takes no offset"),
    ],
)
def test_formulas_that_make_no_sense(formula, words):
    with pytest.raises(ValueError, match=words):
        MoERegressor(1, formula=formula).fit(DATA)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"g": "d"}, "levels 'd' are not among those of the fit"),
        ({"g": None}, "column 'g' contains NaN or None in 120 rows, the first is row 0"),
        ({"z": np.inf}, "z is not finite in 120 rows"),
        ({"x": 99.0}, r"bs\(x, df=4\) has values outside the range of the fit"),
    ],
)
def test_rows_that_cannot_be_predicted(change, words):
    curved = MoERegressor(1, formula="y ~ bs(x, df=4) | x:C(g) + z").fit(DATA)
    with pytest.raises(ValueError, match=words):
        curved.predict(DATA.assign(**change))
    with pytest.raises(ValueError, match="no column 'x' in the data"):
        curved.predict(DATA[["z", "g"]])


def test_wrong_settings(monkeypatch):
    for X, formula, words in ((DATA.to_numpy(), "y ~ x", "X must be a data frame"), (DATA, 3, "must be a string")):
        with pytest.raises(TypeError, match=words):
            MoERegressor(1, formula=formula).fit(X)
    for name in ("gate_features", "offset_feature"):
        with pytest.raises(ValueError, match=f"leave {name} out"):
            MoERegressor(1, formula="y ~ x", **{name: "x"}).fit(DATA)
    numbered = DATA.rename(columns={"x": 0})
    for formula, words in (("y ~ `0`", "`0` is not present"), ("`0` ~ z", "no column '0'")):
        with pytest.raises(ValueError, match=words):
            MoERegressor(1, formula=formula).fit(numbered)
    with pytest.raises(ValueError, match="more than one column of the same name"):
        MoERegressor(1, formula="y ~ x").fit(pd.concat([DATA, DATA[["x"]]], axis=1))
    monkeypatch.setitem(sys.modules, "formulaic", None)
    with pytest.raises(ImportError, match=r"pip install 'smoe\[formula\]'"):
        MoERegressor(1, formula="y ~ x").fit(DATA)
