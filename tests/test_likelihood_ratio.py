"""Likelihood-ratio tests against direct computation, and their level under the null."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, norm
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression

from helpers import quietly
from smoe import DenseToSparseMoERegressor, MoERegressor, SoftmaxMoERegressor, TopKMoERegressor
from smoe.datasets import load_biochemists, load_engel
from smoe.families import NegativeBinomial, StudentT
from smoe.inference import likelihood_ratio_test
from smoe.selection import n_experts_test
from smoe.solvers import EM


def line(n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, X @ [1.0, 0.1] + rng.normal(size=n)


def lines(n, seed=0):
    """Two lines far from one another."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, 1))
    return X, np.where(rng.random(n) < 0.5, 2 + X[:, 0], -2 - X[:, 0]) + 0.3 * rng.normal(size=n)


def gaussian_loglik(X, y):
    residual = y - LinearRegression().fit(X, y).predict(X)
    return norm.logpdf(residual, scale=residual.std()).sum()


def test_one_expert_is_the_classical_test():
    X, y = line(60)
    full = SoftmaxMoERegressor(1).fit(X, y)
    restricted = SoftmaxMoERegressor(1, expert_features=[0]).fit(X, y)
    test = likelihood_ratio_test(restricted, full, X, y)
    wanted = 2 * (gaussian_loglik(X, y) - gaussian_loglik(X[:, :1], y))
    np.testing.assert_allclose(test.statistic, wanted, rtol=1e-8)
    assert test.df == 1 and test.p_value == chi2.sf(test.statistic, 1)


def test_gate_columns_and_weights():
    X, y = load_engel(return_X_y=True)
    weight = np.random.default_rng(0).integers(1, 3, len(y)).astype(float)
    X = np.column_stack([X, np.random.default_rng(1).normal(size=(len(y), 2))])
    settings = {"expert_features": [0], "random_state": 0}
    full = SoftmaxMoERegressor(2, **settings).fit(X, y, weight)
    restricted = SoftmaxMoERegressor(2, gate_features=[0], **settings).fit(X, y, weight)
    test = likelihood_ratio_test(restricted, full, X, y, weight)
    np.testing.assert_allclose(test.statistic, 2 * (full.loglik_ - restricted.loglik_))
    assert test.df == 2 and 0.001 < test.p_value < 1
    with pytest.raises(ValueError, match="restricted: its log-likelihood on these data is .*, where it was fitted"):
        likelihood_ratio_test(restricted, full, X, y)


@pytest.mark.parametrize(
    ("restricted", "full", "message"),
    [
        (SoftmaxMoERegressor(1), SoftmaxMoERegressor(2), "restricted has 1 experts and full has 2: .*n_experts_test"),
        (SoftmaxMoERegressor(2), DenseToSparseMoERegressor(2), "different gates"),
        (SoftmaxMoERegressor(2, variance_floor=1e-6), SoftmaxMoERegressor(2), "different experts"),
        (SoftmaxMoERegressor(2), MoERegressor(2, expert=StudentT(df=5.0)), "different experts"),
        (SoftmaxMoERegressor(2, gate_features=[]), MoERegressor(2, expert="student_t"), "test one after the other"),
        (
            SoftmaxMoERegressor(2),
            SoftmaxMoERegressor(2, gate_features=[]),
            r"the gate of restricted sees columns",
        ),
        (SoftmaxMoERegressor(2), SoftmaxMoERegressor(2), "full has 0 more free parameters"),
        (
            TopKMoERegressor(2, top_k=1, gate_features=[]),
            TopKMoERegressor(2, top_k=1),
            "cannot be tested by chi",
        ),
    ],
)
def test_models_that_are_not_nested_are_refused(restricted, full, message):
    X, y = lines(60)
    for model in (restricted, full):
        quietly(model.set_params(random_state=0, n_init=4).fit, X, y)
    with pytest.raises(ValueError, match=message):
        quietly(likelihood_ratio_test, restricted, full, X, y)


def test_families_within_families_are_tested_on_their_boundary():
    """One parameter on a bound: half of chi-square with one degree of freedom; of two an upper bound."""
    X, y = load_biochemists(return_X_y=True)
    names = "poisson", "negative_binomial", "zero_inflated_negative_binomial"
    poisson, more, zeros = (MoERegressor(1, expert=name, n_init=1).fit(X, y) for name in names)
    test = likelihood_ratio_test(poisson, more, X, y)
    assert test.statistic == pytest.approx(180.196, abs=1e-3) and test.df == 1
    assert test.p_value == pytest.approx(0.5 * chi2.sf(test.statistic, 1), rel=1e-12)
    test = likelihood_ratio_test(more, zeros, X, y)  # their share of zeros is zero
    assert abs(test.statistic) < 1e-6 and test.p_value == 1.0
    other = MoERegressor(1, expert=NegativeBinomial(0.4), n_init=1).fit(X, y)
    with pytest.raises(ValueError, match="different experts: .*0.4"):
        likelihood_ratio_test(other, more, X, y)
    flat = np.arange(len(y)) % 3
    level, both = (MoERegressor(1, expert=names[i], n_init=1).fit(X, flat) for i in (1, 2))
    with pytest.raises(ValueError, match="alpha of restricted is on its bound of 0"):
        likelihood_ratio_test(level, both, X, flat)


def test_one_bound_for_each_expert():
    X, y = lines(120)
    settings = {"random_state": 0, "n_init": 4}
    normal = SoftmaxMoERegressor(2, **settings).fit(X, y)
    for df, n in (("learn", 2), ("shared", 1)):
        test = likelihood_ratio_test(normal, MoERegressor(2, expert=StudentT(df), **settings).fit(X, y), X, y)
        tails = chi2.sf(test.statistic, n), chi2.sf(test.statistic, 1) if n == 2 else 0.0
        assert test.df == n and test.p_value == pytest.approx(np.mean(tails), rel=1e-12)


def test_a_full_fit_below_its_maximum_is_said():
    X, y = lines(60)
    restricted = SoftmaxMoERegressor(2, gate_features=[], n_init=4, random_state=0).fit(X, y)
    full = quietly(SoftmaxMoERegressor(2, start="random", n_init=1, max_iter=1, random_state=0).fit, X, y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        test = likelihood_ratio_test(restricted, full, X, y)
    said = [str(warning.message) for warning in caught if warning.category is ConvergenceWarning]
    assert len(said) == 2 and said[0].startswith("the full fit is not a certified maximum: iteration limit")
    assert "the full fit is less likely than the restricted one" in said[1]
    assert test.statistic < 0 and test.p_value == 1.0


def test_two_lines_are_no_single_one():
    X, y = lines(100)
    test = n_experts_test(SoftmaxMoERegressor(1, n_init=5, random_state=0), X, y, n_resamples=19, random_state=0)
    assert test.p_value == 1 / 20 and test.statistic > 100
    assert test.smaller.n_experts == 1 and test.larger.n_experts == 2
    np.testing.assert_allclose(test.statistic, 2 * (test.larger.loglik_ - gaussian_loglik(X, y)))
    assert test.resampled.shape == (19,) and np.all(test.resampled >= 0) and test.n_uncertified[0] == 0


@pytest.mark.sweep
def test_level_under_the_null():
    """Eight p-values that are uniform on 1/10, ..., 1: the mean has standard error 0.1."""
    p_values = []
    for seed in range(8):
        X, y = line(60, seed)
        model = SoftmaxMoERegressor(1, gate_features=[0], n_init=4, random_state=0).fit(X, y)
        p_values.append(quietly(n_experts_test, model, X, y, n_resamples=9, random_state=seed).p_value)
    assert 0.3 < np.mean(p_values) < 0.8 and np.sum(np.array(p_values) <= 0.1) <= 3


def test_replicates_are_seeded_by_address_and_the_fitted_model_is_used():
    X, y = lines(80)
    model = SoftmaxMoERegressor(1, n_init=4, random_state=0)
    long = n_experts_test(model, X, y, n_resamples=4, random_state=1)
    short = n_experts_test(model.fit(X, y), X, y, n_experts=1, n_resamples=2, random_state=1)
    np.testing.assert_array_equal(long.resampled[:2], short.resampled)
    assert short.smaller is model and long.smaller is not model
    frame = pd.DataFrame(X, columns=["x"])
    named = n_experts_test(clone(model), frame, y, n_resamples=2, random_state=1)
    np.testing.assert_array_equal(named.resampled, short.resampled)
    assert list(named.larger.feature_names_in_) == ["x"]
    assert repr(short).startswith("NExpertsTest(1 against 2: statistic=")
    other = quietly(n_experts_test, model, X, y, n_experts=2, n_resamples=1, random_state=1)
    assert other.smaller.n_experts == 2 and model.n_experts == 1


def test_integer_weights_are_rows():
    X, y = lines(60)
    weight = np.random.default_rng(0).integers(0, 3, 60)
    rows = np.repeat(np.arange(60), weight)
    model = SoftmaxMoERegressor(1, n_init=4, random_state=0)
    one = n_experts_test(model, X, y, n_resamples=1, sample_weight=weight, random_state=0)
    other = n_experts_test(model, X[rows], y[rows], n_resamples=1, random_state=0)
    np.testing.assert_allclose([one.statistic, *one.resampled], [other.statistic, *other.resampled], rtol=1e-6)
    with pytest.raises(ValueError, match="sample_weight: .*whole numbers"):
        n_experts_test(model, X, y, n_resamples=1, sample_weight=weight + 0.5)


def test_the_larger_fit_is_never_less_likely():
    """A fresh fit without iterations is poor; the smaller fit with an expert twice is in the larger model too."""
    X, y = lines(200)
    lazy = SoftmaxMoERegressor(2, n_init=1, solver=EM(max_iter=0), random_state=0)
    small = quietly(clone(lazy).set_params(solver="auto").fit, X, y)
    small.set_params(solver=EM(max_iter=0))
    assert quietly(lazy.set_params(n_experts=3).fit, X, y).loglik_ < small.loglik_ - 1
    test = quietly(n_experts_test, small, X, y, n_resamples=2, random_state=0)
    assert test.smaller is small and test.larger.loglik_ >= small.loglik_ - 1e-8


def test_bad_arguments():
    X, y = line(40)
    model = SoftmaxMoERegressor(1).fit(X, y)
    with pytest.raises(ValueError, match="n_resamples must be an integer of at least 1"):
        n_experts_test(model, X, y, n_resamples=0)
    with pytest.raises(ValueError, match="n_experts must be an integer of at least 1"):
        n_experts_test(model, X, y, n_experts=0)
    with pytest.raises(ValueError, match="model: its log-likelihood on these data is"):
        n_experts_test(model, X, y + X[:, 0])
    with pytest.raises(ValueError, match="the model with 4 experts cannot be fitted to these data"):
        quietly(n_experts_test, SoftmaxMoERegressor(3, random_state=0), X[:3], y[:3], n_resamples=1)
