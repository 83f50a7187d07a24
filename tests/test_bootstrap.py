"""Resampling against theory: least squares, observed information, permutations, rows counted twice."""

import warnings

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression

from helpers import altered, assert_close, quietly
from smoe import DenseToSparseMoERegressor, SoftmaxMoERegressor, TopKMoERegressor
from smoe.inference import bootstrap
from smoe.inference.matching import match_experts
from smoe.params import MoEParams, flatten, permute
from smoe.rows import ArraySource, Blocks, standardise


def crossing(n, seed=0, slope=2):
    """Two well separated experts behind a softmax gate."""
    rng = np.random.default_rng(seed)
    x, noise = rng.uniform(-1, 1, n), rng.normal(size=n)
    first = rng.random(n) < 1 / (1 + np.exp(-slope * x))
    return x[:, None], np.where(first, 3 + 2 * x + 0.5 * noise, -3 - x + 0.8 * noise)


def line(n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, X @ [1.0, -2.0] + 0.5 + rng.normal(size=n)


@pytest.fixture(scope="module")
def pair():
    X, y = crossing(1500)
    return SoftmaxMoERegressor(2, random_state=0).fit(X, y), X, y


def same(one, other, n=None):
    assert_close(MoEParams(*(type(p)(*(f[:n] for f in p)) for p in one.params)), other.params, rtol=0, atol=0)
    np.testing.assert_array_equal(one.logliks[:n], other.logliks)


def test_one_expert_has_the_standard_errors_of_least_squares():
    X, y = line(400)
    model = SoftmaxMoERegressor(1).fit(X, y)
    result = bootstrap(model, X, y, 200, random_state=0)
    Z = np.column_stack([X, np.ones(400)])
    wanted = np.sqrt(model.expert_variance_[0] * np.diag(np.linalg.inv(Z.T @ Z)))
    errors = result.standard_errors().expert
    np.testing.assert_allclose([*errors.coef[0], errors.intercept[0]], wanted, rtol=0.2)
    np.testing.assert_allclose(errors.variance, model.expert_variance_ * np.sqrt(2 / 400), rtol=0.2)
    for params in (result.replicate(0), result.replicate(7)):
        assert np.all(params.gate.coef == 0)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_case_replicate_is_least_squares_on_the_rows_drawn(weighted):
    X, y = line(50)
    weight = np.arange(50) % 3.0 if weighted else np.ones(50)
    model = SoftmaxMoERegressor(1).fit(X, y, weight)
    result = bootstrap(model, X, y, 3, "case", sample_weight=weight if weighted else None, random_state=5)
    entropy, drawn, total = np.random.RandomState(5).randint(2**31, size=4).tolist(), [], int(weight.sum())
    for i in range(3):
        rng = np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(i,)))
        rows = np.repeat(np.arange(50), rng.multinomial(total, weight / total))
        drawn.append(LinearRegression().fit(X[rows], y[rows]).coef_)
    np.testing.assert_allclose(result.params.expert.coef[:, 0], drawn, rtol=1e-6)


def test_parametric_errors_are_those_of_the_observed_information(pair):
    model, X, y = pair
    result = bootstrap(model, X, y, 150, random_state=0)
    assert result.n_failed == 0
    ratio = flatten(result.standard_errors()) / flatten(model.standard_errors_)
    free = np.isfinite(flatten(model.standard_errors_))
    assert np.array_equal(np.isfinite(ratio), free)
    assert np.all(np.abs(ratio[free] - 1) < 0.2), ratio  # 0.06 is one standard error of a ratio
    low, high = np.moveaxis(result.interval(0.9).expert.coef, -1, 0)
    half = 1.645 * model.standard_errors_.expert.coef
    np.testing.assert_allclose(low, model.expert_coef_ - half, atol=half.max() * 0.5)
    np.testing.assert_allclose(high, model.expert_coef_ + half, atol=half.max() * 0.5)


@pytest.mark.parametrize("kind", ["parametric", "case"])
def test_replicates_are_seeded_by_address(pair, kind):
    model, X, y = pair
    long = bootstrap(model, X, y, 6, kind, random_state=3)
    same(long, bootstrap(model, X, y, 4, kind, random_state=3), 4)
    with parallel_config("loky" if kind == "case" else "threading"):
        same(long, bootstrap(model, X, y, 6, kind, random_state=3, n_jobs=2))
    assert len(np.unique(long.logliks)) == 6
    other = bootstrap(model, X, y, 6, kind, random_state=4)
    assert not np.isin(other.logliks, long.logliks).any()


@pytest.mark.parametrize("by", ["responsibilities", "parameters"])
@pytest.mark.parametrize("order", [[1, 2, 0], [2, 1, 0], [0, 1, 2]])
def test_labels_are_matched_when_a_refit_is_permuted(by, order):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 600)
    group = rng.integers(3, size=600)
    X, y = x[:, None] * 1e4, np.array([5, 0, -5])[group] + np.array([0, 2, 0])[group] * x + 0.3 * rng.normal(size=600)
    model = SoftmaxMoERegressor(3, random_state=0).fit(X, y)
    columns = model.gate_columns_, model.expert_columns_
    source = ArraySource(X, y)
    blocks = Blocks(model.fitted_.model, source, standardise(model.fitted_.model, source, *columns))
    refit = model.params_._replace(expert=model.params_.expert._replace(variance=1.3 * model.expert_variance_))
    assert_close(match_experts(model.fitted_.model, blocks, model.params_, permute(refit, order), by), refit, atol=1e-9)


def test_refits_are_matched_to_an_original_with_labels_of_its_own(pair):
    fitted, X, y = pair
    model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    params = permute(fitted.params_, [1, 0])
    altered(model, params=params._replace(gate=model.gate_.canonical(params.gate)))
    result = bootstrap(model, X, y, 5, "case", random_state=0)
    assert np.all(np.abs(result.params.expert.coef - model.expert_coef_) < 0.5)
    assert np.all(result.params.gate.coef[:, 1] == 0)


def test_weights_count_rows():
    X, y = line(80)
    weight = np.random.default_rng(1).integers(0, 3, 80).astype(float)
    model = SoftmaxMoERegressor(1).fit(X, y, weight)
    rows = np.repeat(np.arange(80), weight.astype(int))
    drawn = bootstrap(model, X, y, 3, sample_weight=weight, random_state=0)
    same(drawn, bootstrap(model, X[rows], y[rows], 3, random_state=0))
    with pytest.raises(ValueError, match="sample_weight: .* whole numbers; use kind='case'"):
        bootstrap(SoftmaxMoERegressor(1).fit(X, y, weight / 2), X, y, 3, sample_weight=weight / 2)


def test_groups_are_drawn_whole():
    X, y = line(40)
    X, y, groups = np.tile(X, (25, 1)), np.tile(y, 25), np.tile([f"g{i}" for i in range(40)], 25)
    model = SoftmaxMoERegressor(1).fit(X, y)
    naive = bootstrap(model, X, y, 40, "case", random_state=0).standard_errors()
    whole = bootstrap(model, X, y, 40, "case", groups=groups, random_state=0).standard_errors()
    assert np.all(whole.expert.coef > 3 * naive.expert.coef)  # five times: 40 rows are no 1,000


def test_a_data_frame_gives_the_same_and_names_the_table(pair):
    _, X, y = pair
    frame = pd.DataFrame({"z": X[:, 0] ** 2, "x": X[:, 0]})
    model = SoftmaxMoERegressor(2, gate_features=["x"], expert_features=lambda X: ["x"], random_state=0).fit(frame, y)
    result = bootstrap(model, frame, y, 3, random_state=0)
    plain = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    assert_close(result.params, bootstrap(plain, X, y, 3, random_state=0).params, atol=1e-6)
    table = result.to_frame(0.9)
    assert list(table.columns) == ["estimate", "bias", "std_err", "ci_low", "ci_high"]
    assert list(table.index) == list(model.summary().to_frame().index)
    assert table.loc["expert 1: variance", "estimate"] == model.expert_variance_[1]
    assert table.loc["expert 1: x", "std_err"] == result.standard_errors().expert.coef[1, 0]
    assert table.loc["gate 0: intercept", "ci_high"] == result.interval(0.9).gate.intercept[0, 1]
    assert np.isnan(table.loc["gate 1: x", "ci_low"])


@pytest.mark.parametrize("kind", ["parametric", "case"])
@pytest.mark.parametrize("model", [TopKMoERegressor(2, top_k=1), DenseToSparseMoERegressor(2)])
def test_other_gates(model, kind):
    X, y = crossing(300)
    quietly(model.set_params(random_state=0).fit, X, y)
    result = quietly(bootstrap, model, X, y, 3, kind, random_state=0)
    assert result.params.expert.coef.shape == (3, model.n_experts, 1) and np.all(np.isfinite(result.logliks))
    table = result.to_frame()
    np.testing.assert_array_equal(table.estimate, flatten(model.params_))
    if hasattr(model, "temperature_"):  # on a ray, and reported as one
        assert result.params.gate.temperature.shape == (3,) and np.isnan(table.loc["gate: temperature", "std_err"])


def test_any_function_of_the_parameters(pair):
    model, X, y = pair
    result = bootstrap(model, X, y, 5, random_state=0)
    slopes = result.statistic(lambda params: params.expert.coef[1] - params.expert.coef[0])
    np.testing.assert_array_equal(slopes, result.params.expert.coef[:, 1] - result.params.expert.coef[:, 0])
    spread = result.params.expert.coef.mean(axis=0) - model.expert_coef_
    np.testing.assert_allclose(result.bias().expert.coef, spread)


def with_messages(function, *args, **kwargs):
    """Call; return the result and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*args, **kwargs)
    assert all(warning.category is ConvergenceWarning for warning in caught)
    assert all(warning.filename == __file__ for warning in caught)
    return result, [str(warning.message) for warning in caught]


def test_failed_refits_are_kept_counted_and_said_once():
    X, y = crossing(40, slope=12)
    model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    result, said = with_messages(bootstrap, model, X, y, 40, "case", random_state=0)
    assert 0 < result.n_failed < 40 and result.n_failed == sum(result.reasons.values()) == np.sum(~result.certified)
    assert len(said) == 1 and said[0].startswith(f"{result.n_failed} of 40 refits are not certified maxima (most often")
    assert np.all(np.isfinite(result.logliks))
    assert len(result.statistic(lambda p: p.expert.coef)) == 40
    kept = result.statistic(lambda p: p.expert.coef, certified_only=True)
    np.testing.assert_array_equal(kept, result.params.expert.coef[result.certified])
    np.testing.assert_allclose(result.standard_errors(True).expert.coef, kept.std(axis=0, ddof=1))


def test_columns_that_vanish_are_failures():
    X, y = line(12)
    X[1:, 1] = 0.0  # constant in every third resample
    model = SoftmaxMoERegressor(1).fit(X, y)
    result, said = with_messages(bootstrap, model, X, y, 30, "case", random_state=0)
    lost = result.params.expert.coef[:, 0, 1] == 0
    assert 3 < lost.sum() < 20 and "a coefficient is not identified" in said[0]
    np.testing.assert_array_equal(lost, ~result.certified)


def test_refits_that_raise_are_failures():
    X, y = crossing(60)
    weight = np.full(60, 1 / 60)  # a data set of one row, for two experts
    model = quietly(SoftmaxMoERegressor(2, random_state=0).fit, X, y, weight)
    result, said = with_messages(bootstrap, model, X, y, 3, "case", sample_weight=weight, random_state=0)
    assert result.n_failed == 3 and np.all(np.isnan(result.logliks)) and np.all(np.isnan(result.params.expert.coef))
    assert "3 of 3 refits" in said[-1] and "failed: ValueError: n_experts=2 is larger" in said[-1]
    with pytest.raises(ValueError, match="n_resamples: 0 refits are too few to summarise, .*failed: ValueError"):
        result.interval()


def test_an_uncertified_fit_is_said():
    X, y = crossing(300)
    model = quietly(SoftmaxMoERegressor(2, random_state=0, max_iter=1, n_init=1).fit, X, y)
    result, said = with_messages(bootstrap, model, X, y, 2, random_state=0)
    assert said[0].startswith("bootstrap of a fit that is not a certified maximum: iteration limit")
    assert repr(result) == f"BootstrapResult(parametric, 2 refits, {result.n_failed} without certificate)"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_resamples": 0}, "n_resamples must be an integer of at least 1"),
        ({"kind": "wild"}, "kind='wild' is not known; choose 'parametric' or 'case'"),
        ({"match": "names"}, "match='names' is not known"),
        ({"groups": np.zeros(3), "kind": "case"}, r"groups must have shape \(40,\), a label for each row, got \(3,\)"),
        ({"groups": np.zeros(40), "kind": "case"}, "groups: all rows are in one group"),
        ({"groups": np.where(np.arange(40) < 9, np.nan, 1.0), "kind": "case"}, "groups has NaN"),
        ({"groups": [None, "a"] * 20, "kind": "case"}, "groups must have labels of one kind, none missing"),
        ({"sample_weight": np.full(40, 2.0)}, "model: its log-likelihood on these data is"),
        ({"groups": np.arange(40)}, "groups: whole groups are drawn by kind='case' only"),
    ],
)
def test_bad_arguments(settings, message):
    X, y = line(40)
    with pytest.raises(ValueError, match=message):
        bootstrap(SoftmaxMoERegressor(1).fit(X, y), X, y, **settings)


def test_bad_coverage_and_unfitted_models():
    X, y = line(40)
    with pytest.raises(NotFittedError):
        bootstrap(SoftmaxMoERegressor(1), X, y)
    result = bootstrap(SoftmaxMoERegressor(1).fit(X, y), X, y, 2, random_state=0)
    for coverage in (0.0, 1.0, 95):
        with pytest.raises(ValueError, match="coverage must lie strictly between 0 and 1"):
            result.interval(coverage)


def test_a_gate_without_columns():
    X, y = crossing(200)
    model = SoftmaxMoERegressor(2, gate_features=[], n_init=4, random_state=0).fit(X, y)
    assert bootstrap(model, X, y, n_resamples=2, random_state=0).n_failed == 0
