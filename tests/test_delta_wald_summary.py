"""The delta method, intervals of the mean, Wald tests, the summary, and what users get wrong."""

import pickle
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, norm
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import naive
from helpers import assert_close, quietly
from smoe import DenseToSparseMoERegressor, SoftmaxMoERegressor
from smoe.datasets import load_faithful, make_moe
from smoe.inference import bootstrap, compare_fits, equal_coefficients, no_effect
from smoe.params import flatten


@pytest.fixture(scope="module")
def moe():
    return make_moe(200, n_features=2, n_experts=2, random_state=2)


@pytest.fixture(scope="module")
def model(moe):
    fitted = SoftmaxMoERegressor(2, n_init=6, random_state=0).fit(moe.data, moe.target)
    assert fitted.converged_
    return fitted


# Delta method --------------------------------------------------------------------------------------------------------


def test_linear_functions_have_their_variance(model):
    V, weights = np.nan_to_num(model.covariance_), np.linspace(-1, 2, len(model.covariance_))
    found = model.delta_method(lambda p: 3.0 + weights @ flatten(p))
    assert isinstance(found.estimate, float) and found.reason == ""
    np.testing.assert_allclose(found.std_err, np.sqrt(weights @ V @ weights), rtol=1e-8)
    half = norm.ppf(0.95) * found.std_err
    np.testing.assert_allclose(found.interval(0.9), [found.estimate - half, found.estimate + half], rtol=1e-12)


def test_smooth_functions(model, moe):
    v, s = model.expert_variance_, model.standard_errors_.expert.variance
    found = model.delta_method(lambda p: np.log(p.expert.variance))
    np.testing.assert_allclose(found.std_err, s / v, rtol=1e-8)
    assert found.interval().shape == (2, 2)
    found = model.delta_method(lambda p: np.outer(p.expert.coef[0], p.expert.variance))
    assert found.std_err.shape == found.estimate.shape == (2, 2)
    robust = model.covariance("sandwich", moe.data, moe.target)
    found = model.delta_method(lambda p: p.expert.coef, covariance=robust)
    np.testing.assert_allclose(found.std_err, robust.standard_errors.expert.coef, rtol=1e-8)
    assert not np.allclose(found.std_err, model.standard_errors_.expert.coef, rtol=1e-3)


def test_functions_of_nothing_that_is_estimated(model):
    assert model.delta_method(lambda p: p.gate.intercept[-1]).std_err == 0.0  # pinned
    assert model.delta_method(lambda p: 7).std_err == 0.0
    with pytest.raises(ValueError, match="function is not finite"):
        model.delta_method(lambda p: np.inf * p.expert.intercept[0])
    with pytest.raises(ValueError, match="function is not finite"):
        quietly(model.delta_method, lambda p: np.where(p.expert.coef > model.expert_coef_, np.nan, 1.0))


def test_units_do_not_matter(moe, model):
    other = SoftmaxMoERegressor(2, n_init=6, random_state=0).fit(1e6 * moe.data + 1e5, 1e-4 * moe.target)

    def share(p):
        return p.expert.coef[0, 0] / p.expert.coef[1, 1]

    np.testing.assert_allclose(other.delta_method(share).std_err, model.delta_method(share).std_err, rtol=1e-5)
    band = other.mean_interval(1e6 * moe.data + 1e5)
    np.testing.assert_allclose(1e4 * band, model.mean_interval(moe.data), rtol=1e-5)


# Intervals of the mean -----------------------------------------------------------------------------------------------


def naive_band(model, V, X, coverage):
    """Differences of the naive mean, row by row."""
    slopes = naive.gradient(lambda p: np.array([naive.gaussian_moments(p, x, x)[0] for x in X]), model.params_)
    error = np.sqrt(np.einsum("in,ij,jn->n", slopes, np.nan_to_num(V), slopes))
    mean = np.array([naive.gaussian_moments(model.params_, x, x)[0] for x in X])
    return mean[:, None] + norm.ppf(0.5 + coverage / 2) * np.array([-1, 1]) * error[:, None]


def test_mean_intervals(model, moe, monkeypatch):
    X = moe.data[:9] * 1.5
    np.testing.assert_allclose(model.mean_interval(X, 0.8), naive_band(model, model.covariance_, X, 0.8), rtol=1e-7)
    robust = model.covariance("cluster", moe.data, moe.target, groups=np.arange(200) // 4)
    wanted = naive_band(model, robust.matrix, X, 0.95)
    np.testing.assert_allclose(model.mean_interval(X, covariance=robust), wanted, rtol=1e-7)
    found = model.delta_method(lambda p: [naive.gaussian_moments(p, x, x)[0] for x in X])
    np.testing.assert_allclose(model.mean_interval(X), found.interval(), rtol=1e-7)
    monkeypatch.setattr("smoe.inference.rows._NUMBERS", 30)
    np.testing.assert_allclose(model.mean_interval(X), found.interval(), rtol=1e-7)
    inside = model.mean_interval(X), model.predict_interval(X)
    assert np.all(inside[0][:, 1] - inside[0][:, 0] < inside[1][:, 1] - inside[1][:, 0])


def test_one_expert_has_the_interval_of_least_squares(moe):
    X, y = moe.data, moe.target
    one = SoftmaxMoERegressor(1).fit(X, y)
    Z = np.column_stack([X, np.ones(len(y))])
    leverage = np.einsum("ij,jk,ik->i", Z, np.linalg.inv(Z.T @ Z), Z)
    half = norm.ppf(0.975) * np.sqrt(one.expert_variance_[0] * leverage)
    np.testing.assert_allclose(one.mean_interval(X)[:, 1] - one.predict(X), half, rtol=1e-8)


def test_mean_interval_of_a_temperature_gate():
    X, y = load_faithful(return_X_y=True)
    soft = SoftmaxMoERegressor(2, n_init=6, random_state=0).fit(X, y)
    for settings in ({"temperature": 0.5}, {}):  # on the ray the temperature is not estimable and changes nothing
        model = DenseToSparseMoERegressor(2, n_init=6, random_state=0, **settings).fit(X, y)
        np.testing.assert_allclose(model.mean_interval(X[:20]), soft.mean_interval(X[:20]), rtol=1e-5)


# Wald tests ----------------------------------------------------------------------------------------------------------


def test_wald_tests(model):
    frame = model.summary().to_frame()
    one = model.wald_test("gate 0: x1")
    z = frame.loc["gate 0: x1"]
    np.testing.assert_allclose([one.statistic, one.p_value], [z["z"] ** 2, z["p_value"]], rtol=1e-8)
    R = np.zeros((2, len(frame)))
    R[[0, 1], [frame.index.get_loc("expert 0: x0"), frame.index.get_loc("expert 0: x1")]] = 1.0
    R[[0, 1], [frame.index.get_loc("expert 1: x0"), frame.index.get_loc("expert 1: x1")]] = -1.0
    distance = R @ flatten(model.params_) - [0.5, -1.0]
    wanted = distance @ np.linalg.solve(R @ np.nan_to_num(model.covariance_) @ R.T, distance)
    found = model.wald_test(R, [0.5, -1.0])
    np.testing.assert_allclose(found[:3], [wanted, 2, chi2.sf(wanted, 2)], rtol=1e-8)
    equal = equal_coefficients(model.covariance(), 0, 1)
    assert_close(model.wald_test(equal, [0.5, -1.0])[:3], found[:3])
    assert model.wald_test(R[0]).df == 1 and model.wald_test({"expert 1: x0": 1, "expert 0: x0": -1}).df == 1
    np.testing.assert_allclose(model.wald_test(1e9 * R[0]).statistic, model.wald_test(R[0]).statistic, rtol=1e-9)


def test_names_of_restrictions(moe):
    frame = pd.DataFrame(moe.data, columns=["a", "b: c"])
    model = DenseToSparseMoERegressor(2, activation="tanh", temperature=0.5, n_init=6, random_state=0)
    found = quietly(quietly(model.fit, frame, moe.target).covariance)
    assert no_effect(found, "b: c") == ["gate 0: b: c", "gate 1: b: c"]  # no slope is pinned with an activation
    assert no_effect(found, "a", "expert") == ["expert 0: a", "expert 1: a"]
    soft = SoftmaxMoERegressor(2, n_init=6, random_state=0).fit(frame, moe.target)
    assert no_effect(soft.covariance(), "a") == ["gate 0: a"]
    assert soft.wald_test(no_effect(soft.covariance(), "a", "expert")).df == 2
    with pytest.raises(ValueError, match="column='z'"):
        no_effect(found, "z")
    for i, j in ((0, 0), (0, 2), (-1, 0)):
        with pytest.raises(ValueError, match="two different experts of 0 to 1"):
            equal_coefficients(found, i, j)
    with pytest.raises(ValueError, match="part must be"):
        equal_coefficients(found, 0, 1, "nose")


def test_wrong_restrictions(model):
    n = len(model.covariance_)
    for R in (np.ones(n - 1), np.ones((2, n + 1)), np.zeros((0, n)), np.ones((1, 1, n)), [], "nose", {"nose": 1}, None):
        with pytest.raises(ValueError, match="R must|R: 'nose'"):
            model.wald_test(R)
    for R in (np.full(n, np.nan), {"expert 0: x0": np.inf}):
        with pytest.raises(ValueError, match="finite"):
            model.wald_test(R)
    with pytest.raises(ValueError, match="linearly dependent"):
        model.wald_test(["expert 0: x0", {"expert 0: x0": 2.0}])
    with pytest.raises(ValueError, match="restriction 1 has only parameters that are pinned"):
        model.wald_test(["expert 0: x0", "gate 1: x0"])
    for r in ([1.0, 2.0], np.nan):
        with pytest.raises(ValueError, match="r must be"):
            model.wald_test("expert 0: x0", r)


# Summary -------------------------------------------------------------------------------------------------------------


def test_the_frame(model):
    frame = model.summary(coverage=0.9).to_frame()
    assert list(frame.columns) == ["estimate", "std_err", "z", "p_value", "ci_low", "ci_high"]
    np.testing.assert_array_equal(frame["estimate"], flatten(model.params_))
    np.testing.assert_array_equal(frame["std_err"], flatten(model.standard_errors_))
    row = frame.loc["expert 1: intercept"]
    half = norm.ppf(0.95) * row["std_err"]
    wanted = [row["estimate"] - half, row["estimate"] + half, 2 * norm.sf(abs(row["estimate"] / row["std_err"]))]
    np.testing.assert_allclose(row[["ci_low", "ci_high", "p_value"]].astype(float), wanted, rtol=1e-9)
    row = frame.loc["expert 0: variance"]
    factor = np.exp(norm.ppf(0.95) * row["std_err"] / row["estimate"])
    np.testing.assert_allclose(row[["ci_low", "ci_high"]], [row["estimate"] / factor, row["estimate"] * factor], 1e-9)
    assert np.isnan(row[["z", "p_value"]]).all()
    assert np.isnan(frame.loc["gate 1: x0"].iloc[1:]).all() and frame.loc["gate 1: x0", "estimate"] == 0


def test_the_text(model, moe):
    robust = model.covariance("sandwich", moe.data, moe.target)
    text = str(model.summary(["size", "<age>"], coverage=0.9, covariance=robust))
    assert "[5 %" in text and "95 %]" in text and "sandwich" in text and "  size" in text
    assert repr(model.summary()) == str(model.summary())
    html = model.summary(["size", "<age>"])._repr_html_()
    assert "&lt;age&gt;" in html and "<age>" not in html and html.count("<table>") == html.count("</table>") == 2
    assert f"{model.loglik_:.6f}" in html and "converged" in html
    line = next(line for line in text.split("expert 0")[1].splitlines() if "variance" in line)
    assert line.split()[3:5] == ["-", "-"]
    assert text.index("gate 0") < text.index("expert 0") < text.index("gate 1") < text.index("expert 1")


def test_what_the_header_says(model, moe):
    frame = pd.DataFrame(moe.data, columns=["a", "b"])
    for response in (pd.Series(moe.target, name="wage"), pd.DataFrame({"wage": moe.target})):
        named = quietly(SoftmaxMoERegressor(1).fit, frame, np.asarray(response).ravel())
        assert "response" not in str(named.summary())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a frame of one column
            named = SoftmaxMoERegressor(1).fit(frame, response)
        assert str(named.summary()).splitlines()[2].split() == ["response", "wage"]
    text = str(model.summary(covariance=model.covariance("cluster", moe.data, moe.target, groups=np.arange(200) // 4)))
    assert "cluster, 50 groups" in text and "BIC with n = 200" in text
    lines = text.splitlines()
    reference = lines[[line.startswith("gate 1") for line in lines].index(True) :]
    assert reference[0].endswith("reference: zero by convention") and reference[1] == ""
    assert "reference: zero by convention" in model.summary()._repr_html_()


def test_tiny_p_values_are_not_zero(model):
    frame, text = model.summary().to_frame(), str(model.summary())
    tiny = frame["p_value"] < 2e-16
    assert tiny.any() and text.count("< 2e-16") == tiny.sum()


def test_intervals_are_those_of_the_summary(model, moe):
    robust = model.covariance("sandwich", moe.data, moe.target)
    frame = model.summary(coverage=0.8, covariance=robust).to_frame()
    found = model.conf_int(0.8, covariance=robust)
    assert found.expert.coef.shape == (2, 2, 2) and found.gate.intercept.shape == (2, 2)
    np.testing.assert_array_equal(found.expert.coef[1, 0], frame.loc["expert 1: x0", ["ci_low", "ci_high"]])
    np.testing.assert_array_equal(found.expert.variance[0], frame.loc["expert 0: variance", ["ci_low", "ci_high"]])
    assert np.isnan(found.gate.coef[1]).all()


def test_a_summary_of_the_bootstrap(model, moe):
    boot = quietly(bootstrap, model, moe.data, moe.target, 30, "case", random_state=0)
    frame, text = model.summary(covariance=boot).to_frame(), str(model.summary(covariance=boot))
    wanted = boot.to_frame()
    for column in ("estimate", "std_err", "ci_low", "ci_high"):
        np.testing.assert_array_equal(frame[column], wanted[column])
    row = frame.loc["expert 0: x1"]
    np.testing.assert_allclose(row["p_value"], 2 * norm.sf(abs(row["estimate"] / row["std_err"])), rtol=1e-9)
    assert np.isnan(frame.loc["expert 0: variance", "p_value"]) and "case bootstrap, 30 refits" in text
    np.testing.assert_array_equal(model.conf_int(0.9, covariance=boot).expert.coef, boot.interval(0.9).expert.coef)
    other = SoftmaxMoERegressor(2, gate_features=[0], n_init=6, random_state=0).fit(moe.data, moe.target)
    with pytest.raises(ValueError, match="covariance belongs to another fit"):
        other.summary(covariance=boot)


def cells_of(latex):
    """The cells of a tabular, without markup."""
    lines = [line for line in latex.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    return [[cell.strip().replace("$", "") for cell in line[:-3].split(" & ")] for line in lines]


def test_latex_says_what_the_frame_says(model):
    frame = model.summary(["x_0", "a&b%"], coverage=0.9).to_frame()
    latex = model.summary(["x_0", "a&b%"], coverage=0.9).to_latex()
    assert latex.startswith("\\begin{tabular}{lrrrrrr}\n\\toprule\n") and latex.endswith("\\bottomrule\n\\end{tabular}")
    assert r"x\_0 & " in latex and r"a\&b\% & " in latex and r"[5 \% & 95 \%]" in latex
    assert latex.count("multicolumn") == 3 and "gate 1" not in latex
    heading, *rows = cells_of(latex.replace(r"a\&b", "a+b"))
    assert heading[:5] == ["", "estimate", "std. err.", "z", "p"]
    found = sorted(float(row[1]) for row in rows)
    np.testing.assert_allclose(found, sorted(frame.loc[frame["std_err"].notna(), "estimate"]), rtol=1e-4)


def test_experts_as_columns(model):
    table = model.summary(["size", "age"]).wide()
    frame, long = table.to_frame(), model.summary(["size", "age"]).to_frame()
    assert list(frame.columns) == ["expert 0", "expert 1"] and len(frame) == 7
    estimate, error = frame.loc[("expert", "age"), "expert 1"].rstrip(")").split(" (")
    row = long.loc["expert 1: age"]
    np.testing.assert_allclose([float(estimate), float(error)], row[["estimate", "std_err"]].astype(float), rtol=6e-3)
    assert list(frame.loc["gate", "expert 1"]) == ["reference"] * 3
    assert str(table).splitlines()[2].split() == ["expert", "0", "expert", "1"]
    learned = DenseToSparseMoERegressor(2, activation="tanh", n_init=6, random_state=0)
    shared = quietly(learned.fit, *load_faithful(return_X_y=True)).summary().wide().to_frame()
    assert shared.loc[("gate", "temperature"), "expert 1"] == ""  # one number for all
    fixed = DenseToSparseMoERegressor(2, temperature=0.5, n_init=6, random_state=0).fit(*load_faithful(return_X_y=True))
    assert fixed.summary().wide().to_frame().loc[("gate", "temperature"), "expert 0"] == "0.5"
    assert compare_fits([fixed]).to_frame().loc[("gate", "temperature"), "(1)"] == "0.5"


def test_fits_side_by_side(model, moe):
    one = SoftmaxMoERegressor(1).fit(moe.data, moe.target)
    table = compare_fits([one, model], ["small", "large"])
    frame = table.to_frame()
    assert frame.loc[("expert 1", "x0"), "small"] == "" and frame.loc[("expert 1", "x0"), "large"] != ""
    assert list(frame.loc[("fit", "free parameters")]) == ["4", str(model.n_parameters_)]
    assert list(frame.loc[("fit", "BIC")]) == [f"{m.bic_:.3f}" for m in (one, model)]
    assert frame.loc[("expert 0", "variance"), "small"].startswith(f"{one.expert_variance_[0]:.4g} (")
    assert "gate 1" not in str(table) and table.to_latex().count("multicolumn") == 4
    assert "small" in table._repr_html_() and "<table>" in table._repr_html_()
    for models, error in (([], TypeError), (model, TypeError), (["a"], TypeError)):
        with pytest.raises(error, match="models"):
            compare_fits(models)
    with pytest.raises(ValueError, match="labels must be a list of one per model, 2"):
        compare_fits([one, model], ["a"])
    with pytest.raises(NotFittedError):
        compare_fits([SoftmaxMoERegressor(1)])


def test_frames_need_pandas(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        model.summary().to_frame()


def test_criteria_belong_to_the_fit(moe):
    weight = np.random.default_rng(0).uniform(0.5, 2, len(moe.target))
    for sample_weight in (None, weight):
        model = SoftmaxMoERegressor(2, n_init=6, random_state=0).fit(moe.data, moe.target, sample_weight)
        for name in ("aic", "bic", "icl"):
            method = getattr(model, name)
            np.testing.assert_allclose(getattr(model, f"{name}_"), method(moe.data, moe.target, sample_weight), 1e-9)
            assert f"{getattr(model, f'{name}_'):.3f}" in str(model.summary())


def test_everything_survives_pickling(model, moe):
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.covariance_, model.covariance_)
    assert str(again.summary()) == str(model.summary())
    assert_close(again.covariance("sandwich", moe.data, moe.target).matrix,
                 model.covariance("sandwich", moe.data, moe.target).matrix)  # fmt: skip


# What users get wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, kind, settings",
    [
        ("kind must be one of 'observed', 'sandwich', 'cluster', got 'robust'", "robust", {}),
        ("kind='sandwich' needs both X and y", "sandwich", {"X": None, "y": None}),
        ("kind='cluster' needs both X and y", "cluster", {"X": None, "y": None, "groups": np.zeros(200)}),
        ("kind='observed' needs both X and y", "observed", {"y": None}),
        ("groups are for kind='cluster'", "cluster", {}),
        ("groups are for kind='cluster'", "sandwich", {"groups": np.arange(200)}),
        (r"groups must have shape \(200,\)", "cluster", {"groups": np.arange(199)}),
        (r"groups must have shape \(200,\)", "cluster", {"groups": np.ones((200, 1))}),
        ("groups has NaN", "cluster", {"groups": np.append(np.arange(199.0), np.nan)}),
        ("groups must have labels of one kind", "cluster", {"groups": np.array([None, "a"] * 100)}),
        ("all rows are in one group", "cluster", {"groups": np.ones(200)}),
        ("sample_weight must have shape", "sandwich", {"sample_weight": np.ones(3)}),
    ],
)
def test_wrong_covariances(model, moe, words, kind, settings):
    with pytest.raises(ValueError, match=words):
        model.covariance(kind, **{"X": moe.data, "y": moe.target, **settings})


def test_covariances_of_another_fit(model, moe):
    other = SoftmaxMoERegressor(2, gate_features=[0], n_init=6, random_state=0).fit(moe.data, moe.target)
    with pytest.raises(ValueError, match="covariance belongs to another fit"):
        model.mean_interval(moe.data, covariance=other.covariance())
    with pytest.raises(TypeError, match="covariance must be what model.covariance"):
        model.summary(covariance="sandwich")
    with pytest.warns(ConvergenceWarning, match="X, y are not the data of the fit"):
        model.covariance("sandwich", moe.data, moe.target + 1.0)


@pytest.mark.parametrize("coverage", [0.0, 1.0, -1, np.nan, 95])
def test_coverage_is_a_probability(model, moe, coverage):
    for ask in (
        lambda: model.mean_interval(moe.data, coverage),
        lambda: model.summary(coverage=coverage),
        lambda: model.delta_method(lambda p: 1.0).interval(coverage),
    ):
        with pytest.raises(ValueError, match="coverage must lie strictly between 0 and 1"):
            ask()


def test_names_are_one_per_column(model):
    for names in (["a"], "ab", ["a", "b", "c"]):
        with pytest.raises(ValueError, match="names must be a list of 2"):
            model.summary(names)


def test_there_must_be_a_fit(moe):
    model = SoftmaxMoERegressor(2)
    for ask in (model.covariance, lambda: model.wald_test("x"), lambda: model.delta_method(flatten),
                lambda: model.mean_interval(moe.data)):  # fmt: skip
        with pytest.raises(NotFittedError):
            ask()
    assert not hasattr(model, "standard_errors_") and not hasattr(model, "covariance_")


@pytest.mark.parametrize("coverage", [[0.9], [0.5, 0.9]])
def test_one_coverage_at_a_time(model, moe, coverage):
    slope = model.delta_method(lambda p: p.expert.coef[0, 0])
    for ask in (lambda: model.mean_interval(moe.data, coverage), lambda: slope.interval(coverage)):
        with pytest.raises(ValueError, match="coverage must be one number"):
            ask()
    with pytest.raises(ValueError, match="coverage must be one number"):
        model.summary(coverage=coverage)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (None, "function must be a callable"),
        (lambda p: "a", "what function returns must be numeric"),
        (lambda p: {"a": 1.0}, "what function returns must be numeric"),
        (lambda p: [1.0, [2.0, 3.0]], "what function returns must be numeric"),
    ],
)
def test_functions_of_the_parameters_that_are_none(model, function, message):
    with pytest.raises(TypeError, match=message):
        model.delta_method(function)


def test_no_functions_of_the_parameters(model):
    assert model.delta_method(lambda p: []).std_err.shape == (0,)


@pytest.mark.parametrize("names", [1, {"a": 1, "b": 2}, "ab", ["a"]])
def test_names_are_a_list(model, names):
    with pytest.raises(ValueError, match="names must be a list of 2"):
        model.summary(names)


def test_restrictions_equal_numbers(model):
    with pytest.raises(TypeError, match="r must be numeric"):
        model.wald_test("expert 0: x0", "a")
