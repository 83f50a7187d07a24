"""Input that makes no sense gets a clear error; input that is merely awkward gets an honest fit."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from helpers import quietly
from naive import SOFTMAX_GAUSSIAN as twin
from smoe import MoEClassifier, MoERegressor, SoftmaxMoERegressor
from smoe.datasets import load_mcycle, make_moe
from smoe.experts import EXPERTS, GaussianExpert
from smoe.gates import GATES, SoftmaxGate
from smoe.params import flatten
from smoe.rows import drop_missing
from smoe.solvers import EM, SOLVERS
from smoe.starts import STARTS, Elemental, FromParams

N = 60
MOE = make_moe(N, n_features=2, n_experts=2, random_state=0)
X, Y = MOE.data, MOE.target
ONES = np.ones(N)


def with_value(array, index, value):
    array = np.array(array, dtype=float)
    array[index] = value
    return array


def model(n_experts=2, **settings):
    return MoERegressor(n_experts, random_state=0, **settings)


def refuses(error, words, settings, *args):
    with pytest.raises(error, match=words):
        model(**settings).fit(*args)


# Errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value, words", [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_values_that_are_not_finite(value, words):
    where = "NaN: column 1 in 1 rows, the first is row 3" if words == "NaN" else "infinity in row 3, column 1"
    refuses(ValueError, f"Input X contains {where}", {}, with_value(X, (3, 1), value), Y)
    refuses(ValueError, f"Input y contains {words}", {}, X, with_value(Y, 3, value))
    refuses(ValueError, f"Input sample_weight contains {words}", {}, X, Y, with_value(ONES, 3, value))


@pytest.mark.parametrize(
    "data, words",
    [
        ((X[:0], Y[:0]), r"0 sample\(s\)"),
        ((X[:, :0], Y), r"0 feature\(s\)"),
        ((X[:1], Y[:1]), r"1 sample\(s\).* minimum of 2"),
        ((X[:, 0], Y), "Expected 2D array, got 1D array"),
        ((X[None], Y), "dim 3"),
        ((X, Y[:-1]), "inconsistent numbers of samples"),
        ((X, None), "requires y to be passed"),
        ((X, np.column_stack([Y, Y])), "one response is modelled: y must have shape"),
        ((X.astype(str).astype(object) + "a", Y), "could not convert string to float"),
        ((pd.DataFrame(X, columns=["a", "b"]).assign(c="text"), Y), "could not convert string to float"),
        ((X, ["a"] * N), "could not convert string to float"),
        ((1j * X, Y), "Complex data not supported"),
    ],
)
def test_arrays_of_the_wrong_kind(data, words):
    refuses(ValueError, words, {}, *data)


def test_sparse_matrices():
    refuses(TypeError, "Sparse data was passed for X", {}, csr_matrix(X), Y)


@pytest.mark.parametrize(
    "n_experts, error, words",
    [
        (0, ValueError, "n_experts must be an integer of at least 1, got 0"),
        (-1, ValueError, "n_experts must be an integer of at least 1, got -1"),
        (2.0, TypeError, "n_experts must be an integer, got 2.0"),
        (True, TypeError, "n_experts must be an integer, got True"),
        ("2", TypeError, "n_experts must be an integer, got '2'"),
        (None, TypeError, "n_experts must be an integer, got None"),
        (N + 1, ValueError, f"n_experts={N + 1} is larger than the number of rows with positive weight, {N}"),
    ],
)
def test_number_of_experts(n_experts, error, words):
    refuses(error, words, {"n_experts": n_experts}, X, Y)


def test_number_of_experts_may_be_a_numpy_integer():
    assert model(np.int64(2)).fit(X, Y).converged_


@pytest.mark.parametrize(
    "weight, words",
    [
        (with_value(ONES, 0, -1), "sample_weight must not be negative; the smallest is -1"),
        (0 * ONES, "sample_weight is zero for every row"),
        (with_value(ONES, 0, 1e-310), "sample_weight has positive weights below 2.2e-308"),
        (ONES[:-1], rf"sample_weight must have shape \({N},\), got \({N - 1},\)"),
        (ONES[:, None], rf"sample_weight must have shape \({N},\), got \({N}, 1\)"),
        (with_value(0 * ONES, 0, 1), "n_experts=2 is larger than the number of rows with positive weight, 1"),
    ],
)
def test_weights(weight, words):
    refuses(ValueError, words, {}, X, Y, weight)


@pytest.mark.parametrize("side", ["gate_features", "expert_features"])
@pytest.mark.parametrize(
    "choice, words",
    [
        (["z"], r"no column \['z'\] in X; the columns are \['a', 'b'\]"),
        ([True], "is a mask of 1 columns, but X has 2"),
        ([5], r"=\[5\] is out of range: X has 2 columns"),
        ([-3], r"=\[-3\] is out of range"),
        ([0, 0], "chooses a column twice"),
        ([0, -2], "chooses a column twice"),
        (["a", "a"], "chooses a column twice"),
        ([0.5], "must hold indices, names or booleans"),
        ([[0]], "must be one list of columns"),
        ({"a"}, "must be one list of columns"),
        (lambda X: ["z"], r"no column \['z'\]"),
    ],
)
def test_choice_of_features(side, choice, words):
    refuses(ValueError, f"{side}.*{words}", {side: choice}, pd.DataFrame(X, columns=["a", "b"]), Y)


def test_names_need_a_data_frame():
    words = r"gate_features=\['a'\] names columns, but X has no column names; pass a data frame or use indices"
    refuses(ValueError, words, {"gate_features": ["a"]}, X, Y)


REGISTRIES = {
    "gate": (GATES, SoftmaxGate),
    "expert": (EXPERTS, GaussianExpert),
    "solver": ({"auto": None, **SOLVERS}, EM),
    "start": (STARTS, Elemental),
}


@pytest.mark.parametrize("argument", REGISTRIES)
def test_unknown_names_and_classes(argument):
    registry, kind = REGISTRIES[argument]
    names = ", ".join(map(repr, registry))
    refuses(ValueError, f"{argument}='nope' is not known; choose one of {names}", {argument: "nope"}, X, Y)
    words = rf"{argument} must be a name or .* object.*Call the class: {argument}={kind.__name__}\(\)"
    refuses(TypeError, words, {argument: kind}, X, Y)
    for other in (3, None):
        refuses(TypeError, f"{argument} must be a name or .* object, got {other}", {argument: other}, X, Y)


@pytest.mark.parametrize(
    "settings, error",
    [
        ({"n_init": 0}, ValueError),
        ({"n_init": 2.5}, TypeError),
        ({"n_init": "many"}, TypeError),
        ({"n_init": True}, TypeError),
        ({"max_iter": -1}, ValueError),
        ({"max_iter": 1.5}, TypeError),
        ({"max_iter": "9"}, TypeError),
        ({"tol": -1e-3}, ValueError),
        ({"tol": np.nan}, ValueError),
        ({"tol": "a"}, TypeError),
        ({"variance_floor": 0}, ValueError),
        ({"variance_floor": -1.0}, ValueError),
        ({"variance_floor": np.nan}, ValueError),
        ({"variance_floor": np.inf}, ValueError),
        ({"variance_floor": "a"}, TypeError),
    ],
)
def test_numbers_out_of_range(settings, error):
    ((name, value),) = settings.items()
    refuses(error, f"^{name} must be (a|an) (number|integer).*got {re.escape(repr(value))}", settings, X, Y)


@pytest.mark.parametrize(
    "settings, name",
    [
        ({"expert": GaussianExpert(-1.0)}, "variance_floor"),
        ({"expert": GaussianExpert(0.0)}, "variance_floor"),
        ({"expert": GaussianExpert(np.nan)}, "variance_floor"),
        ({"solver": EM(max_iter=-1)}, "max_iter"),
        ({"solver": EM(max_iter=1.5)}, "max_iter"),
        ({"solver": EM(tol=-1.0)}, "tol"),
        ({"solver": EM(tol=np.nan)}, "tol"),
    ],
)
def test_numbers_out_of_range_in_objects(settings, name):
    refuses((TypeError, ValueError), f"{name} must be", settings, X, Y)


def test_params_to_start_from():
    refuses(ValueError, "FromParams takes MoEParams", {"start": FromParams(3)}, X, Y)
    refuses(ValueError, "shape", {"start": FromParams(MOE.params), "n_experts": 3}, X, Y)


TAKES_X = ["predict", "gate_proba", "expert_predict", "predict_expert", "sample"]
TAKES_Y = ["responsibilities", "score_samples", "loglik", "aic", "bic", "icl", "score"]


@pytest.mark.parametrize("method", TAKES_X)
def test_x_after_the_fit(method):
    frame = pd.DataFrame(X, columns=["a", "b"])
    with pytest.raises(NotFittedError):
        getattr(model(), method)(X)
    plain, named = model(n_init=1).fit(X, Y), model(n_init=1).fit(frame, Y)
    with pytest.raises(ValueError, match="X has 1 features, but MoERegressor is expecting 2"):
        getattr(plain, method)(X[:, :1])
    with pytest.raises(ValueError, match="feature names should match"):
        getattr(named, method)(frame[["b", "a"]])
    with pytest.raises(ValueError, match="Input X contains NaN"):
        getattr(plain, method)(with_value(X, (0, 0), np.nan))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        getattr(named, method)(X)


@pytest.mark.parametrize("method", TAKES_Y)
def test_y_after_the_fit(method):
    with pytest.raises(NotFittedError):
        getattr(model(), method)(X, Y)
    fitted = model(n_init=1).fit(X, Y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        getattr(fitted, method)(X, Y[:-1])
    with pytest.raises(ValueError, match="contains NaN"):
        getattr(fitted, method)(X, with_value(Y, 0, np.nan))
    if method != "score":
        with pytest.raises(ValueError, match="one response is modelled"):
            getattr(fitted, method)(X, np.column_stack([Y, Y]))
    if method in ("loglik", "aic", "bic", "icl"):
        with pytest.raises(ValueError, match="sample_weight must not be negative"):
            getattr(fitted, method)(X, Y, -ONES)


def test_summary_needs_a_fit():
    with pytest.raises(NotFittedError):
        model().summary()


# Honest fits ---------------------------------------------------------------------------------------------------------


def assert_finite(fitted, x, y):
    assert np.all(np.isfinite(flatten(fitted.params_))) and np.isfinite(fitted.loglik_)
    assert np.all(fitted.expert_variance_ > 0)
    assert np.all(np.isfinite(fitted.predict(x))) and np.all(np.isfinite(fitted.gate_proba(x)))
    assert np.all(np.isfinite(fitted.responsibilities(x, y)))


def uncertified(words, x, y, also=None, **settings):
    """Fit, and see that the estimator warns and says why it vouches for nothing."""
    fitted = model(**settings)
    with pytest.warns(ConvergenceWarning) as record:
        fitted.fit(x, y)
    pointer = " (what to do: see the guide's page on the certificate)"
    assert any(f"not a certified maximum: {fitted.status_}{pointer}" == str(w.message) for w in record)
    assert also is None or any(re.search(also, str(w.message)) for w in record)
    assert all(issubclass(w.category, ConvergenceWarning) for w in record)
    assert not fitted.converged_ and fitted.standard_errors_ is None
    assert re.search(words, fitted.status_)
    assert_finite(fitted, x, y)
    return fitted


@pytest.mark.parametrize("n, k", [(2, 1), (3, 1), (2, 2), (3, 2), (4, 2), (6, 2), (8, 2), (10, 2), (12, 3)])
def test_fewer_rows_than_parameters(n, k):
    uncertified(rf"fewer rows \({n}\) than free parameters", X[:n], Y[:n], n_experts=k)


FLOOR = "variance at its floor"


@pytest.mark.parametrize("value", [3.0, 0.0, 1e8])
@pytest.mark.parametrize("k", [1, 2])
def test_constant_y(value, k):
    fitted = uncertified(FLOOR, X, np.full(N, value), n_experts=k)
    np.testing.assert_allclose(fitted.predict(X), value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("k", [1, 2])
def test_all_rows_equal(k):
    also = r"columns \[0, 1\] of X are constant"
    uncertified(FLOOR, np.ones((20, 2)), np.ones(20), also, n_experts=k)


@pytest.mark.parametrize("extra", [ONES, X[:, 0], X @ [1.0, 2.0], 0 * ONES, 1e8 * ONES])
def test_columns_that_add_nothing(extra):
    fitted = model()
    with pytest.warns(ConvergenceWarning, match="constant or linear combinations") as record:
        fitted.fit(np.column_stack([X, extra]), Y)
    sides = ["gate", "expert"]
    for warning, side in zip(record, sides, strict=True):
        assert f"columns [2] of X are constant or linear combinations of others: their {side}" in str(warning.message)
    assert fitted.converged_ and not fitted.gate_coef_[:, 2].any() and not fitted.expert_coef_[:, 2].any()
    np.testing.assert_allclose(fitted.loglik_, model().fit(X, Y).loglik_, rtol=1e-9)
    assert fitted.n_parameters_ == 11
    assert np.all(np.isnan(fitted.standard_errors_.expert.coef[:, 2]))


def test_only_constant_columns():
    fitted = model()
    with pytest.warns(ConvergenceWarning, match=r"columns \[0, 1\] of X"):
        fitted.fit(np.ones((N, 2)), Y)
    assert_finite(fitted, np.ones((N, 2)), Y)
    assert fitted.n_parameters_ == 5


@pytest.mark.parametrize("unit", [1e-300, 1e-160, 1e-100, 1e100, 1e160, 1e300])
def test_extreme_units_of_x(unit):
    one, fitted = model().fit(X, Y), model().fit(unit * X, Y)
    np.testing.assert_allclose(fitted.loglik_, one.loglik_, rtol=1e-9)
    np.testing.assert_allclose(fitted.predict(unit * X), one.predict(X), rtol=1e-6)
    errors = np.ravel(fitted.standard_errors_.expert.coef)
    assert not np.any(np.isnan(errors))
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(errors, np.ravel(one.standard_errors_.expert.coef / unit), rtol=1e-4)


@pytest.mark.parametrize("unit", [1e-300, 1e-160, 1e160, 1e300])
def test_units_of_y_whose_square_is_no_number(unit):
    refuses(ValueError, "whose square leaves the range of float64; rescale y", {}, X, unit * Y)


@pytest.mark.parametrize("unit", [1e-100, 1e100])
def test_extreme_units_of_y(unit):
    one, fitted = model().fit(X, Y), model().fit(X, unit * Y)
    np.testing.assert_allclose(fitted.loglik_, one.loglik_ - N * np.log(unit), rtol=1e-9)
    np.testing.assert_allclose(fitted.predict(X) / unit, one.predict(X), rtol=1e-6)
    np.testing.assert_allclose(
        fitted.standard_errors_.expert.intercept / unit, one.standard_errors_.expert.intercept, rtol=1e-4
    )


@pytest.mark.parametrize("value", [1e8, 1e100, 1e300])
def test_one_extreme_value(value):
    uncertified("", with_value(X, (0, 0), value), Y)
    if value < 1e150:
        uncertified("", X, with_value(Y, 0, value))
    else:
        refuses(ValueError, "rescale y", {}, X, with_value(Y, 0, value))


def test_large_offset():
    one, fitted = model().fit(X, Y), model().fit(X + 1e8, Y)
    assert fitted.converged_
    np.testing.assert_allclose(fitted.loglik_, one.loglik_, rtol=1e-6)
    np.testing.assert_allclose(twin.loglik(fitted.params_, X + 1e8, Y), fitted.loglik_, rtol=1e-6)


def test_y_exactly_on_lines():
    x = X[:, :1]
    pieces = np.where(x[:, 0] > 0, x[:, 0], -2 * x[:, 0])
    crossing = np.where(np.arange(N) % 2, x[:, 0], -2 * x[:, 0])
    for y in (pieces, crossing):
        fitted = uncertified(FLOOR, x, y)
        residual = np.abs(y[:, None] - fitted.expert_predict(x)).min(axis=1)
        assert residual.max() < 1e-3
    uncertified(FLOOR, x, 3 * x[:, 0] + 1)
    uncertified(FLOOR, x, 3 * x[:, 0] + 1, n_experts=1)


@pytest.mark.parametrize("seed", range(3))
def test_ties(seed):
    x, y = load_mcycle(return_X_y=True)  # 7 exact zeros and 15 values of -2.7 at the beginning
    fitted = quietly(MoERegressor(4, random_state=seed).fit, x, y)
    assert_finite(fitted, x, y)
    assert fitted.converged_ == (fitted.status_ == "converged")
    resp = fitted.responsibilities(x, y)
    if fitted.expert_variance_.min() <= 1.02e-8 * y.var() or resp.sum(axis=0).min() < 1:
        assert not fitted.converged_


@pytest.mark.parametrize("weight", [1e-300, 1e-12, 1e12, 1e300])
def test_weights_of_any_size(weight):
    one, fitted = model().fit(X, Y), model().fit(X, Y, weight * ONES)
    np.testing.assert_allclose(fitted.loglik_, weight * one.loglik_, rtol=1e-8)
    np.testing.assert_allclose(fitted.predict(X), one.predict(X), rtol=1e-5)


def test_a_high_floor_is_named():
    fitted = uncertified(FLOOR, X, Y, variance_floor=10.0)
    np.testing.assert_allclose(fitted.expert_variance_, 10.0 * Y.var(), rtol=2e-2)


def test_too_few_iterations_are_named():
    fitted = uncertified("iteration limit: score norm per row", X, Y, solver="em", max_iter=0, n_init=1)
    assert fitted.n_iter_ == 0


# Missing values ------------------------------------------------------------------------------------------------------


def holes():
    X, y = np.arange(24.0).reshape(12, 2) ** 1.5, np.arange(12.0)
    X[[3, 7], 1], X[7, 0], y[[5, 9]] = np.nan, np.nan, np.nan
    return pd.DataFrame(X, columns=["age", "b c"]), y


def test_missing_values_are_named_with_their_column_and_first_row():
    frame, y = holes()
    words = {
        "column 'b c' (and 1 more) in 2 rows, the first is row 3. smoe.rows.drop_missing": frame,
        "column 1 (and 1 more) in 2 rows, the first is row 3.": frame.to_numpy(),
        "column 'age' in 1 rows, the first is row 7.": frame[["age"]].astype("Float64"),
    }
    for expected, X in words.items():
        with pytest.raises(ValueError, match=re.escape("Input X contains NaN: " + expected)):
            SoftmaxMoERegressor(1).fit(X, np.arange(12.0))
    for response in (y, list(y), pd.Series(y).astype("Float64"), y[:, None]):
        with pytest.raises(ValueError, match="Input y contains NaN: in 2 rows, the first is row 5"):
            SoftmaxMoERegressor(1).fit(frame.fillna(0.0), response)
    labels = np.array(["a", "b"] * 6, dtype=object)
    labels[4] = None
    with pytest.raises(ValueError, match="y has no class in 1 rows .*, the first is row 4"):
        MoEClassifier(1).fit(frame.fillna(0.0), labels)


def test_rows_are_left_out_of_all_that_has_them():
    """As statsmodels leaves them out: its maximum and clustered errors of these counts."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=300), rng.uniform(0.2, 5, 300)
    y = rng.poisson(t * np.exp(0.3 + 0.6 * x)).astype(float)
    y[[5, 17]] = np.nan
    X = pd.DataFrame({"x": x, "t": t}, index=np.arange(300)[::-1])
    X, y, groups, nothing = drop_missing(X, pd.Series(y), np.repeat(np.arange(30), 10).tolist(), None)
    assert len(X) == len(y) == len(groups) == 298 and nothing is None
    model = MoERegressor(1, expert="poisson", exposure_feature="t").fit(X, y)
    np.testing.assert_allclose(model.loglik_, -568.7301639425, rtol=1e-9)
    found = [model.expert_intercept_[0], model.expert_coef_[0, 0]]
    np.testing.assert_allclose(found, [0.26137103, 0.61856473], rtol=1e-7)
    with pytest.warns(UserWarning, match="30 groups"):
        errors = model.covariance("cluster", X, y, groups=groups).standard_errors.expert
    np.testing.assert_allclose([errors.intercept[0], errors.coef[0, 0]], [0.02685750, 0.02414692], rtol=1e-6)
    frame, y = holes()
    assert [len(part) for part in drop_missing(frame, y)] == [8, 8]
    with pytest.raises(ValueError, match=r"as many rows as each other, got \[12, 11\]"):
        drop_missing(frame, y[1:])
    with pytest.raises(ValueError, match="every row has a missing value"):
        drop_missing(np.full(3, np.nan))
