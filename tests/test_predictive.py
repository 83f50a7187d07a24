"""Predictive distributions of fitted models: shapes, errors, gates, rows, threads."""

import copy

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest, norm, poisson
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from families import Line, PoissonExpert
from helpers import Problem, altered, interrupt_of_compiled_code, quietly, wearing
from smoe import SoftmaxMoERegressor, TopKMoERegressor
from smoe.datasets import make_moe
from smoe.distribution import ConditionalMixture, HighestDensityRegions
from smoe.experts import GaussianExpertParams
from smoe.features import Rows
from smoe.gates import GATES, SoftmaxGate
from smoe.gates.base import LinearGateParams
from smoe.params import MoEParams
from smoe.validation import rows


@pytest.fixture(scope="module")
def moe():
    return make_moe(300, n_features=2, n_experts=3, random_state=1)


@pytest.fixture(scope="module")
def fitted(moe):
    return SoftmaxMoERegressor(3, random_state=0).fit(moe.data, moe.target)


def test_y_is_one_number_one_per_row_or_many_per_row(fitted, moe):
    mixture, y = fitted.predict_distribution(moe.data), moe.target
    n, grid = len(y), np.array([-1.0, 0.0, 2.0])
    for method, values in ((mixture.logpdf, grid), (mixture.cdf, grid), (mixture.ppf, np.array([0.1, 0.5, 0.9]))):
        one, many = method(values[1]), method(values[None, :])
        assert one.shape == (n,) and many.shape == (n, 3)
        np.testing.assert_array_equal(one, many[:, 1])
        mixed = values[np.arange(n) % 3]
        np.testing.assert_array_equal(method(mixed), many[np.arange(n), np.arange(n) % 3])
        np.testing.assert_array_equal(method(np.tile(values, (n, 1))), many)
        assert method(mixed[:, None]).shape == (n, 1) and method(np.empty((1, 0))).shape == (n, 0)
    assert len(mixture) == n and repr(mixture) == f"ConditionalMixture(n_samples={n}, n_experts=3)"


def test_ends_of_the_line(fitted, moe):
    mixture = fitted.predict_distribution(moe.data[:5])
    for y, below in ((-np.inf, 0.0), (np.inf, 1.0)):
        np.testing.assert_array_equal(mixture.cdf(y), below)
        np.testing.assert_array_equal(mixture.sf(y), 1 - below)
        np.testing.assert_array_equal(mixture.pdf(y), 0.0)
    np.testing.assert_array_equal(mixture.logcdf(-np.inf), -np.inf)
    np.testing.assert_array_equal(fitted.predict_quantiles(moe.data[:5], [0, 1]), np.tile([-np.inf, np.inf], (5, 1)))


@pytest.mark.parametrize(
    "ask, words",
    [
        (lambda m: m.pdf([0.0, np.nan, 0.0]), "y must be numbers, and contains NaN"),
        (lambda m: m.cdf(np.zeros(2)), r"y must be a number.*shape \(3,\).*got \(2,\).*pass y\[None, :\]"),
        (lambda m: m.sf(np.zeros((2, 3))), r"y must be a number.*got \(2, 3\)"),
        (lambda m: m.logpdf(np.zeros((1, 1, 1))), r"got \(1, 1, 1\)"),
        (lambda m: m.ppf(-0.1), "q must lie between 0 and 1, got values from -0.1"),
        (lambda m: m.isf([0.5, 0.5, 1.1]), "q must lie between 0 and 1"),
        (lambda m: m.ppf(np.nan), "q must be numbers, and contains NaN"),
        *((lambda m, c=c: m.interval(c), "coverage must") for c in (0.0, 1.0, -1, np.nan, [0.5, 0.9])),
        *((lambda m, c=c: m.hdr(c), "coverage must") for c in (0.0, 1.0, 2, np.nan, [0.5])),
        (lambda m: m.sample(0), "size must be an integer of at least 1"),
    ],
)
def test_errors_name_the_argument(fitted, moe, ask, words):
    with pytest.raises(ValueError, match=words):
        ask(fitted.predict_distribution(moe.data[:3]))


def test_a_model_that_is_not_fitted():
    for method in ("predict_distribution", "predict_interval"):
        with pytest.raises(NotFittedError):
            getattr(SoftmaxMoERegressor(2), method)(np.zeros((2, 1)))


def test_estimator_methods_are_those_of_the_distribution(fitted, moe):
    X, mixture = moe.data, fitted.predict_distribution(moe.data)
    mean, std = fitted.predict(X, return_std=True)
    np.testing.assert_array_equal(mixture.mean(), fitted.predict(X))
    np.testing.assert_allclose(mixture.mean(), mean, rtol=1e-13)
    np.testing.assert_array_equal(mixture.std(), std)
    np.testing.assert_array_equal(mixture.logpdf(moe.target), fitted.score_samples(X, moe.target))
    np.testing.assert_array_equal(mixture.interval(0.8), fitted.predict_interval(X, 0.8))
    np.testing.assert_array_equal(mixture.ppf([[0.2, 0.9]]), fitted.predict_quantiles(X, [0.2, 0.9]))
    np.testing.assert_array_equal(mixture.median(), fitted.predict_quantiles(X, 0.5))
    np.testing.assert_array_equal(mixture.sample(random_state=3), fitted.sample(X, random_state=3))


def test_standard_deviations_far_away(fitted, moe):
    """Where squares leave float64: one expert is left, or several that are far apart."""
    far = fitted.predict_distribution(1e200 * moe.data)
    proba = fitted.gate_proba(1e200 * moe.data)
    alone = proba.max(axis=1) == 1.0
    wanted = np.sqrt(fitted.expert_variance_)[proba.argmax(axis=1)]
    np.testing.assert_allclose(far.std()[alone], wanted[alone], rtol=1e-12)
    flat = fitted.params_.gate._replace(coef=np.zeros((3, 2)), intercept=np.zeros(3))
    model = altered(copy.copy(fitted), params=fitted.params_._replace(gate=flat))
    lines = 1e200 * moe.data @ fitted.expert_coef_.T + fitted.expert_intercept_
    wanted = 1e200 * np.std(lines / 1e200, axis=1)
    np.testing.assert_allclose(model.predict(1e200 * moe.data, return_std=True)[1], wanted, rtol=1e-12)
    assert np.all(model.predict_distribution(1e200 * moe.data).var() == np.inf)


def test_data_frames_integers_and_one_row(moe):
    frame = pd.DataFrame(np.round(3 * moe.data).astype(int), columns=["a", "b"])
    model = quietly(SoftmaxMoERegressor(2, random_state=0).fit, frame, moe.target)
    regions = model.predict_distribution(frame).hdr(0.9)
    one = model.predict_distribution(frame.iloc[[7]])
    np.testing.assert_array_equal(one.hdr(0.9).of(0), regions.of(7))
    assert one.interval(0.9).shape == (1, 2) and one.mode().shape == (1,)


@pytest.mark.parametrize("kind", [np.array, pd.DataFrame, np.asfortranarray])
def test_later_changes_of_X_change_nothing(moe, kind):
    model = SoftmaxMoERegressor(2, n_init=3, random_state=0)
    X = kind(moe.data.copy())
    mixture = quietly(model.fit, X, moe.target).predict_distribution(X)
    before = model.predict(X)
    X[:] = 7.0  # nobody has asked the distributions yet
    np.testing.assert_array_equal(mixture.mean(), before)
    np.testing.assert_array_equal(mixture[3:5].interval(0.9), mixture.interval(0.9)[3:5])


def test_estimators_of_counts_answer_in_whole_numbers():
    X = np.linspace(-1, 1, 40)[:, None]
    params = Line(np.array([[1.0], [-0.5]]), np.array([0.0, 3.0]))
    model = wearing(PoissonExpert(), params, X)
    law = [poisson(np.exp(params.coef[k, 0] * X[:, 0] + params.intercept[k])) for k in range(2)]

    def cdf(y):
        return 0.5 * (law[0].cdf(y) + law[1].cdf(y))

    q = np.array([0.05, 0.3, 0.5, 0.95])
    found = model.predict_quantiles(X, q)
    assert found.shape == (40, 4) and np.all(found == np.floor(found))
    for level, y in zip(q, found.T, strict=True):
        assert np.all(cdf(y) >= level - 1e-14) and np.all(cdf(y - 1) < level)
    np.testing.assert_array_equal(model.predict_interval(X, 0.9), found[:, [0, 3]])
    with pytest.raises(ValueError, match="y is None: score_samples"):
        model.score_samples(X)


def test_draws_follow_the_distribution(fitted, moe):
    mixture = fitted.predict_distribution(moe.data)
    y = mixture.sample(20, random_state=0)
    assert y.shape == (300, 20)
    assert kstest(mixture.cdf(y).ravel(), "uniform").pvalue > 1e-3
    inside = mixture.hdr(0.7)
    assert abs(np.mean([inside.contains(column).mean() for column in y.T]) - 0.7) < 0.02
    np.testing.assert_array_equal(mixture.sample(20, random_state=0), y)


@pytest.mark.parametrize("gate", [name for name in GATES if name != "softmax"])
def test_any_gate(gate):
    problem = Problem(gate, "gaussian", n=30)
    mixture = ConditionalMixture(problem.model, problem.truth, problem.blocks)
    proba = problem.model.gate_proba(problem.block, problem.truth).T
    mean = problem.model.expert.mean(Rows(problem.block.expert_Z), problem.truth.expert).T
    t = (problem.y[:, None] - mean) / np.sqrt(problem.truth.expert.variance)
    np.testing.assert_allclose(mixture.cdf(problem.y), (proba * norm.cdf(t)).sum(axis=1), rtol=1e-10)
    np.testing.assert_allclose(mixture.ppf(mixture.cdf(problem.y)), problem.y, rtol=1e-7)
    regions = mixture.hdr(0.8)
    low, high = regions.padded().transpose(2, 0, 1)
    mass = mixture.cdf(np.nan_to_num(high)) - mixture.cdf(np.nan_to_num(low))
    np.testing.assert_allclose((mass * ~np.isnan(low)).sum(axis=1), 0.8, rtol=1e-10)


def test_threads_and_blocks_change_nothing(fitted, moe):
    X = np.tile(moe.data, (150, 1))
    one, two = fitted.predict_distribution(X), SoftmaxMoERegressor(3, n_jobs=2)
    two.__dict__.update({**vars(fitted), "n_jobs": 2})
    two = two.predict_distribution(X)
    for ask in (lambda m: m.interval(0.9), lambda m: m.sample(random_state=0), lambda m: m.mode()):
        np.testing.assert_array_equal(ask(one), ask(two))
    regions = one.hdr(0.9)
    for a, b in zip(regions, two.hdr(0.9), strict=True):
        np.testing.assert_array_equal(a, b)
    few = fitted.predict_distribution(moe.data).hdr(0.9)
    np.testing.assert_array_equal(regions.edges, np.tile(few.edges, (150, 1)))
    y = np.tile(moe.target, 150)
    np.testing.assert_array_equal(one.pdf(y), np.tile(fitted.predict_distribution(moe.data).pdf(moe.target), 150))


@pytest.mark.parametrize("method", ["icl", "bic", "score_samples", "predict_interval"])
def test_rows_are_validated_once(fitted, moe, method, monkeypatch):
    calls, validate = [], rows.validate_data
    monkeypatch.setattr(rows, "validate_data", lambda *a, **k: calls.append(1) or validate(*a, **k))
    getattr(fitted, method)(*((moe.data,) if method == "predict_interval" else (moe.data, moe.target)))
    assert len(calls) == 1


@pytest.mark.parametrize("method", ["predict", "predict_interval", "gate_proba", "score_samples", "loglik"])
def test_an_interrupt_of_a_prediction_is_an_interrupt(fitted, moe, method, monkeypatch):
    def interrupted(*_):
        raise interrupt_of_compiled_code()

    monkeypatch.setattr(SoftmaxGate, "scores", interrupted)
    with pytest.raises(KeyboardInterrupt):
        getattr(fitted, method)(*((moe.data, moe.target) if method in ("loglik", "score_samples") else (moe.data,)))


def test_top_k_rows_have_the_selected_experts_only(moe):
    model = quietly(TopKMoERegressor(3, top_k=1, n_init=5, random_state=0).fit, moe.data, moe.target)
    mixture, chosen = model.predict_distribution(moe.data), model.predict_expert(moe.data)
    mean = model.expert_predict(moe.data)[np.arange(len(chosen)), chosen]
    sd = np.sqrt(model.expert_variance_[chosen])
    np.testing.assert_allclose(mixture.ppf(1e-9), norm.ppf(1e-9, mean, sd), rtol=1e-12)
    np.testing.assert_allclose(mixture.mode(), mean, rtol=1e-12)
    regions = mixture.hdr(0.9)
    np.testing.assert_allclose(regions.edges, np.column_stack(norm.interval(0.9, mean, sd)), rtol=1e-9)
    np.testing.assert_allclose(regions.level, norm.pdf(norm.ppf(0.95)) / sd, rtol=1e-9)


def test_regions_of_nearly_all_mass(fitted, moe):
    mixture = fitted.predict_distribution(moe.data[:3])
    coverage = np.nextafter(1.0, 0.0)  # (1 + coverage) / 2 rounds to one
    for row in range(3):
        low, high = mixture.hdr(coverage).of(row)[[0, -1], [0, 1]]
        assert mixture.cdf(low)[row] + mixture.sf(high)[row] <= 1.1 * (1.0 - coverage)


@pytest.mark.parametrize("wrong", ["0.5", 0.5j, [0.5, "a"]])
def test_levels_are_numbers(fitted, moe, wrong):
    with pytest.raises(TypeError, match="q must be numeric"):
        fitted.predict_quantiles(moe.data, wrong)
    with pytest.raises(TypeError, match="coverage must be numeric"):
        fitted.predict_interval(moe.data, wrong)


def test_responsibilities_where_no_density_is_left(fitted):
    """The wider expert has the far rows; of equally wide ones that whose mean lies towards them."""
    X = np.arange(8.0)[:, None]
    model = quietly(clone(fitted).set_params(n_experts=2, n_init=1).fit, X, np.sin(9 * X[:, 0]))
    flat = LinearGateParams(np.zeros((2, 1)), np.array([1.0, 0.0]))

    def far(intercept, variance, y):
        expert = GaussianExpertParams(np.zeros((2, 1)), np.array(intercept), np.array(variance))
        altered(model, params=MoEParams(flat, expert))
        return model.responsibilities([[0.0]], [y])[0]

    for y in (1e100, 1e160, 1e308, -1e160):
        np.testing.assert_array_equal(far([1.0, 0.0], [1.0, 4.0], y), [0, 1])
        np.testing.assert_array_equal(far([1.0, 0.0], [4.0, 1.0], y), [1, 0])
        np.testing.assert_array_equal(far([1.0, 0.0], [1.0, 1.0], y), [1, 0] if y > 0 else [0, 1])
    np.testing.assert_allclose(far([1.0, 1.0], [2.0, 2.0], 1e160), model.gate_proba([[0.0]])[0])


@pytest.mark.parametrize(
    "ask",
    [
        lambda m, X: m.predict(X),
        lambda m, X: m.predict(X, return_std=True),
        lambda m, X: m.gate_proba(X),
        lambda m, X: m.expert_predict(X),
        lambda m, X: m.responsibilities(X, np.zeros(len(X))),
        lambda m, X: m.score_samples(X, np.zeros(len(X))),
        lambda m, X: m.loglik(X, np.zeros(len(X))),
        lambda m, X: m.predict_interval(X),
        lambda m, X: m.predict_distribution(X).mode(),
        lambda m, X: m.predict_distribution(X).hdr(0.9),
        lambda m, X: m.predict_distribution(X).cdf(0.0),
        lambda m, X: m.sample(X, random_state=0),
    ],
)
def test_x_beyond_float64_is_an_answer_or_an_error(fitted, moe, ask):
    """NaN never comes out, and nothing hangs."""
    for row in ([1.7e308, -1.7e308], [1.7e308, 1.7e308], [-1e308, 0.0], [1e308, -1e307]):
        X = np.array([row, [0.0, 0.0]])[:, : moe.data.shape[1]]
        try:
            found = ask(fitted, X)
        except ValueError as error:
            assert str(error).startswith("X has values so large")
        else:
            values = found.edges if isinstance(found, HighestDensityRegions) else found
            assert not np.isnan(np.concatenate([np.ravel(v) for v in np.atleast_1d(values)])).any()
