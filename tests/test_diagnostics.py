"""Diagnoses against scipy and the twin, under true models and wrong ones."""

import numpy as np
import pytest
from scipy.special import xlogy
from scipy.stats import chi2, chisquare, kstest, norm, poisson
from sklearn.exceptions import NotFittedError

import naive
from families import Line, NegativeBinomialExpert, PoissonExpert, SizedLine, three_classes
from helpers import altered, quietly, wearing
from smoe import SoftmaxMoERegressor, TopKMoERegressor
from smoe.datasets import load_engel, load_faithful
from smoe.diagnostics import calibration, diagnose, rootogram
from smoe.diagnostics.residuals import quantile_residuals
from smoe.experts import Expert, GaussianExpert, GaussianExpertParams, Support
from smoe.features import Rows
from smoe.gates import LinearGateParams
from smoe.params import MoEParams


def crossing(n, seed=0, noise=None):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, n)
    noise = rng.normal(size=n) if noise is None else noise
    first = rng.random(n) < 1 / (1 + np.exp(-2 * x))
    return x[:, None], np.where(first, 1 + 2 * x + 0.5 * noise, -2 - x + 0.7 * noise)


@pytest.fixture(scope="module")
def model():
    return SoftmaxMoERegressor(2, random_state=0).fit(*crossing(800))


def test_one_expert_has_the_residuals_of_regression():
    X, y = load_faithful(return_X_y=True)
    model = SoftmaxMoERegressor(1).fit(X, y)
    found = model.diagnose(X, y)
    standard = (y - model.predict(X)) / np.sqrt(model.expert_variance_[0])
    np.testing.assert_allclose(found.residuals, standard, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.pit, norm.cdf(standard), rtol=1e-9)
    np.testing.assert_allclose(found.uniformity, tuple(kstest(norm.cdf(standard), "uniform")), rtol=1e-9)
    np.testing.assert_array_equal(found.fitted, model.predict(X))
    assert (found.moments["mean"], found.moments["sd"]) == (found.residuals.mean(), found.residuals.std())
    assert found.entropy == 0.0 and not found.separated


def test_residuals_against_the_twin(model):
    X, y = crossing(50, 1)
    found, params = diagnose(model, X, y), model.params_
    for n in range(50):
        proba = naive.softmax(naive.linear_scores(X[n], params.gate))
        z = (y[n] - np.array(naive.gaussian_means(X[n], params.expert))) / np.sqrt(params.expert.variance)
        np.testing.assert_allclose(found.pit[n], proba @ norm.cdf(z), rtol=1e-9)
        np.testing.assert_allclose(found.residuals[n], norm.ppf(proba @ norm.cdf(z)), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("size", [5.0, 12.0, 30.0])
def test_far_tails_keep_their_digits(size):
    X, y = load_faithful(return_X_y=True)
    model = SoftmaxMoERegressor(1).fit(X, y)
    for sign in (-1.0, 1.0):
        far = model.predict(X) + sign * size * np.sqrt(model.expert_variance_[0])
        np.testing.assert_allclose(model.diagnose(X, far).residuals, sign * size, rtol=1e-9)
        extreme = model.predict(X) + 1e9 * sign * size
        wanted = 1e9 * sign * size / np.sqrt(model.expert_variance_[0])
        np.testing.assert_allclose(model.diagnose(X, extreme).residuals, wanted, rtol=1e-9)
        assert np.all(np.isfinite(model.diagnose(X, np.full(len(X), sign * 1e200)).residuals))


def test_pit_values_are_uniform_under_the_true_model_only():
    X, y = crossing(2000, 1)
    truth = SoftmaxMoERegressor(2, random_state=0).fit(*crossing(300))
    gate = LinearGateParams(np.array([[-2.0], [0.0]]), np.zeros(2))
    expert = GaussianExpertParams(np.array([[-1.0], [2.0]]), np.array([-2.0, 1.0]), np.array([0.49, 0.25]))
    altered(truth, params=MoEParams(gate, expert))
    right = truth.diagnose(X, y)
    assert right.uniformity[1] > 0.05 and right.problems == []
    assert abs(right.moments["mean"]) < 0.07 and abs(right.moments["sd"] - 1) < 0.05
    wrong = SoftmaxMoERegressor(1).fit(X, y).diagnose(X, y)
    assert wrong.uniformity[1] < 1e-6 and wrong.problems[0].startswith("PIT values are not uniform")


def told(found, words):
    return any(words in problem for problem in found.problems)


def test_heavy_tails_and_skewness_are_told():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 1))
    for noise, words in ((rng.standard_t(3, 500), "tails are heavier"), (rng.exponential(size=500), "are skew")):
        y = X[:, 0] + noise
        assert told(SoftmaxMoERegressor(1).fit(X, y).diagnose(X, y), words)
    y = X[:, 0] + rng.uniform(-1, 1, 500)
    assert told(SoftmaxMoERegressor(1).fit(X, y).diagnose(X, y), "tails are lighter")


def test_patterns_name_the_column():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (400, 3))
    model = SoftmaxMoERegressor(1, expert_features=[0])
    for j, y in ((1, X[:, 0] + X[:, 1] ** 2 + 0.2 * rng.normal(size=400)), (2, np.exp(X[:, 2]) * rng.normal(size=400))):
        found = model.fit(X, y).diagnose(X, y)
        assert told(found, f"changes with column x{j}")
    assert not told(found, "the residuals' mean")


def test_outliers_are_named(model):
    X, y = crossing(300, 2)
    y[17] = 40.0
    assert told(model.diagnose(X, y), "1 rows are out of every expert's reach (row 17)")


def test_use_of_the_experts(model):
    X, y = crossing(300, 3)
    found, resp, proba = model.diagnose(X, y), model.responsibilities(X, y), model.gate_proba(X)
    np.testing.assert_allclose(found.load, resp.sum(axis=0))
    np.testing.assert_allclose(found.mass, proba.mean(axis=0))
    np.testing.assert_allclose(found.first, np.bincount(proba.argmax(axis=1), minlength=2) / 300)
    np.testing.assert_allclose(found.entropy, -xlogy(resp, resp).sum() / (300 * np.log(2)))


def test_separation_emptiness_and_collapse_are_told(model):
    X, y = crossing(200)
    y = np.where(X[:, 0] > 0, y + 20, y - 20)
    fit = quietly(SoftmaxMoERegressor(2, random_state=0).fit, X, y)
    found = fit.diagnose(X, y)
    assert found.separated and told(found, "not a certified maximum: gate separates the data")
    only = model.responsibilities(*crossing(800))[:, 0] > 0.999
    X, y = (values[only][:30] for values in crossing(800))
    assert told(model.diagnose(X, y), "expert 1 is responsible for less than one row")
    X, y = crossing(800)
    fit = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    spike = fit.params_.expert._replace(variance=np.array([0.4, 1e-8 * y.var()]))
    altered(fit, params=fit.params_._replace(expert=spike))
    found = fit.diagnose(X, y)
    np.testing.assert_array_equal(found.collapsed, [False, True])
    assert told(found, "expert 1 has collapsed")


def test_agreement_of_the_starts(model):
    X, y = crossing(800)
    fit = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    record, best = fit.starts_[0], fit.loglik_
    ends = [record._replace(loglik=best + d) for d in (0.0, 1e-9, -5.0, -6.0, -7.0, 3.0, np.nan)]
    altered(fit, starts=ends)
    found = fit.diagnose(X, y)
    assert (found.n_finished, found.n_agree, found.n_higher) == (6, 2, 1)
    assert told(found, "2 of 6 starts reached this maximum: raise n_init") and told(found, "1 starts ended higher")


def test_overlapping_experts_are_told(model):
    X, y = crossing(300)
    fit = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    gate, expert = fit.params_.gate, fit.params_.expert
    same = expert._replace(coef=0 * expert.coef, intercept=np.array([0.0, 1e-3]), variance=np.ones(2))
    flat = gate._replace(coef=0 * gate.coef, intercept=np.zeros(2))
    altered(fit, params=MoEParams(flat, same))
    assert fit.diagnose(X, y).entropy > 0.99 and told(fit.diagnose(X, y), "the experts overlap")


class PoissonLines(GaussianExpert):
    """Counts with mean exp(a'x + b): what a diagnosis needs of them."""

    support = Support(0.0, kind="integers")
    log_cdf = Expert.log_cdf

    def cdf(self, rows, params, upper=False):
        rate = np.exp(self.mean(rows, params))
        return poisson.sf(rows.y, rate) if upper else poisson.cdf(rows.y, rate)


def test_residuals_of_counts_are_randomised():
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 1, (3000, 1))
    model = SoftmaxMoERegressor(1).fit(X, rng.normal(size=3000))
    y = rng.poisson(np.exp(X[:, 0])).astype(float)
    lines = GaussianExpertParams(np.array([[1.0]]), np.array([0.0]), np.array([1.0]))
    recipe = model.fitted_.model._replace(expert=PoissonLines())
    altered(model, model=recipe, params=model.params_._replace(expert=lines))
    distribution = model.predict_distribution(X)
    pit, residuals = quantile_residuals(distribution, y, 0)
    rate = np.exp(X[:, 0])
    assert np.all((pit >= poisson.cdf(y - 1, rate)) & (pit <= poisson.cdf(y, rate)))
    assert kstest(pit, "uniform").pvalue > 0.05 and kstest(residuals, "norm").pvalue > 0.05
    np.testing.assert_allclose(norm.ppf(pit), residuals, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(pit, quantile_residuals(distribution, y, 0)[0])
    assert not np.array_equal(pit, quantile_residuals(distribution, y, 1)[0])
    found = model.diagnose(X, y, random_state=0)
    np.testing.assert_array_equal(found.pit, pit)


def counts(n=2000, size=2.0):
    """A mixture of negative binomial laws, and draws from it."""
    rng = np.random.default_rng(3)
    X = rng.uniform(-1, 1, (n, 1))
    params = SizedLine(np.array([[1.0], [-0.5]]), np.array([0.0, 2.0]), np.full(2, size))
    model = wearing(NegativeBinomialExpert(), params, X)
    return model, X, model.sample(X, random_state=0)


def test_residuals_of_counts_are_normal_under_the_model():
    model, X, y = counts()
    found = model.diagnose(X, y, random_state=0)
    assert found.uniformity[1] > 0.01 and kstest(found.residuals, "norm").pvalue > 0.01
    again = model.diagnose(X[:500], y[:500], random_state=0)
    np.testing.assert_array_equal(again.residuals, found.residuals[:500])
    thin = wearing(PoissonExpert(), Line(*model.params_.expert[:2]), X).diagnose(X, y, random_state=0)
    assert told(thin, "PIT values are not uniform")


class Undecided(PoissonExpert):
    """Whole numbers, without saying from where on: the distribution function at -1 is asked, and is NaN."""

    support = Support(kind="integers")

    def cdf(self, rows, params, upper=False):
        return np.where(rows.y < 0, np.nan, super().cdf(rows, params, upper))

    def log_cdf(self, rows, params, upper=False):
        return np.where(rows.y < 0, np.nan, super().log_cdf(rows, params, upper))


def test_a_distribution_function_that_is_nan_is_a_problem():
    model, X, y = counts()
    lines = Line(*model.params_.expert[:2])
    found = wearing(Undecided(), lines, X).diagnose(X, y, random_state=0)
    assert told(found, f"the residuals of {(y == 0).sum()} rows are NaN: Undecided.cdf is not a number at y, or below")
    assert np.all(np.isfinite(wearing(PoissonExpert(), lines, X).diagnose(X, y).residuals))


def test_rootogram_is_the_sum_of_the_probabilities():
    model, X, y = counts()
    found = rootogram(model, X, y)
    np.testing.assert_array_equal(found.edges, np.arange(len(found.observed) + 1.0) * np.ceil((y.max() + 1) / 60))
    one = rootogram(model, X, y, width=1)
    np.testing.assert_array_equal(one.observed, np.bincount(y.astype(int)))
    law, gate = model.expert_, model.gate_proba(X)
    params, rows = model.params_.expert, Rows(np.column_stack([X, np.ones(len(X))]).T)
    wanted = [(gate.T * law.law(rows, params).pmf(j)).sum() for j in range(int(y.max()) + 1)]
    np.testing.assert_allclose(one.expected, wanted, rtol=1e-10)
    assert (
        chisquare(one.observed[:20], one.expected[:20] * one.observed[:20].sum() / one.expected[:20].sum()).pvalue
        > 0.01
    )
    five = rootogram(model, X, y, width=5)
    np.testing.assert_array_equal(five.observed[:3], one.observed[:15].reshape(3, 5).sum(axis=1))
    np.testing.assert_allclose(five.expected[:3], one.expected[:15].reshape(3, 5).sum(axis=1), rtol=1e-10)
    far = rootogram(model, X, y + 1e6)
    assert len(far.observed) <= 61 and far.observed.sum() == len(y) and far.expected.sum() < 1e-9


def test_rootograms_are_of_counts():
    model, X, y = counts(50)
    with pytest.raises(ValueError, match="y must hold whole numbers"):
        rootogram(model, X, y + 0.5)
    with pytest.raises(ValueError, match=r"y must have shape \(50,\), got \(3,\)"):
        rootogram(model, X, y[:3])
    with pytest.raises(ValueError, match="width must be an integer of at least 1"):
        rootogram(model, X, y, 0)
    gaussian = SoftmaxMoERegressor(1).fit(X, y)
    with pytest.raises(ValueError, match="needs a family of whole numbers; this one's responses are real"):
        rootogram(gaussian, X, y)


def test_residuals_of_classes_are_drawn_within_their_steps():
    X = np.linspace(-1, 1, 2000)[:, None]
    params = Line(np.array([[[1.0], [-2.0]]]), np.array([[0.3, -0.5]]))
    model = wearing(three_classes(), params, X)
    y = model.sample(X, random_state=0)
    found = model.diagnose(X, y, random_state=1)
    steps = np.hstack([np.zeros((2000, 1)), np.cumsum(model.fitted_.predict_proba(X), axis=1)])
    each = np.arange(2000)
    assert np.all((found.pit >= steps[each, y] - 1e-12) & (found.pit <= steps[each, y + 1] + 1e-12))
    assert kstest(found.residuals, "norm").pvalue > 0.01
    wrong = model.diagnose(X, 2 - y, random_state=1)
    assert any("class 0 are not calibrated" in one for one in wrong.problems)
    assert not any("calibrated" in one for one in found.problems)


def test_calibration_counts_rows():
    X = np.linspace(-1, 1, 400)[:, None]
    model = wearing(three_classes(), Line(np.array([[[1.0], [-2.0]]]), np.array([[0.3, -0.5]])), X)
    y, proba = model.sample(X, random_state=0), model.fitted_.predict_proba(X)
    found = calibration(model, X, y, 4)
    for c in range(3):
        bins = np.array_split(np.argsort(proba[:, c], kind="stable"), 4)
        for b, rows in enumerate(bins):
            p = proba[rows, c]
            np.testing.assert_allclose(found.predicted[c, b], p.mean())
            np.testing.assert_allclose(found.observed[c, b], np.mean(y[rows] == c))
            np.testing.assert_allclose(found.error[c, b], np.sqrt((p * (1 - p)).sum()) / len(rows))
    z = (found.observed - found.predicted) / found.error
    np.testing.assert_allclose(found.p_values, chi2.sf((z**2).sum(axis=1), 4))
    with pytest.raises(ValueError, match="calibration is of classes; this family's responses are real"):
        calibration(quietly(SoftmaxMoERegressor(1).fit, X, X[:, 0]), X, y)


def test_edges():
    X, y = load_engel(return_X_y=True)
    model = TopKMoERegressor(2, top_k=1, random_state=0).fit(X, y)
    assert not model.diagnose(X, y).separated  # every row is decided, by design
    one = model.diagnose(X[:1], y[:1])
    assert one.residuals.shape == (1,) and np.isfinite(one.residuals[0]) and "on 1 rows" in str(one)
    assert model.diagnose(X, np.round(y).astype(int)).pit.shape == (len(y),)
    with pytest.raises(NotFittedError):
        SoftmaxMoERegressor(2).diagnose(X, y)


def test_the_report():
    frame = load_engel(as_frame=True)
    model = SoftmaxMoERegressor(1).fit(frame.data, frame.target)
    found = model.diagnose(frame.data, frame.target)
    text = str(found)
    assert all(f"* {problem}" in text for problem in found.problems) and len(found.problems) > 2
    assert "certificate  converged" in text and "largest -6.39 (row 137)" in text
    assert repr(found) == f"Diagnosis(235 rows, 1 experts, {len(found.problems)} problems)"


def test_counts_under_normal_experts_are_a_problem_that_names_the_family():
    counts = np.random.default_rng(0).poisson(6.0, 400).astype(float)
    model = quietly(SoftmaxMoERegressor(1, random_state=0).fit, np.linspace(-1, 1, 400)[:, None], counts)
    found = diagnose(model, np.linspace(-1, 1, 400)[:, None], counts)
    assert any("y holds whole numbers only" in one and "expert='poisson'" in one for one in found.problems)
    found = diagnose(model, np.linspace(-1, 1, 400)[:, None], counts + 0.5)
    assert not any("whole numbers" in one for one in found.problems)
