"""Counts with a share of zeros besides: probabilities, bounds that are attained, known maxima."""

import numpy as np
import pytest
from scipy import stats

from helpers import quietly
from smoe import MoERegressor
from smoe.datasets import load_biochemists
from smoe.families import Poisson, ZeroInflatedNegativeBinomial, ZeroInflatedPoisson
from smoe.features import Rows

ETA = np.log(np.array([[[0.5], [3.0]]])) * np.ones((1, 2, 40))


def test_probabilities_are_those_of_the_mixture():
    y, share = np.arange(40.0), np.array([[0.3], [0.1]])
    found = np.exp(ZeroInflatedPoisson().log_prob(Rows(None, y), ETA, [share]))
    np.testing.assert_allclose(found, share * (y == 0) + (1 - share) * stats.poisson.pmf(y, np.exp(ETA[0])), rtol=1e-12)
    np.testing.assert_allclose(ZeroInflatedPoisson().cdf(Rows(None, y), ETA, [share]), found.cumsum(axis=1), rtol=1e-12)
    upper = ZeroInflatedPoisson().cdf(Rows(None, y), ETA, [share], upper=True)
    np.testing.assert_allclose(upper, 1 - found.cumsum(axis=1), atol=1e-14)


def test_a_share_of_zero_is_the_family_itself():
    rows = Rows(None, np.arange(40.0))
    found = ZeroInflatedPoisson().log_prob(rows, ETA, [np.zeros((2, 1))])
    np.testing.assert_allclose(found, Poisson().log_prob(rows, ETA, []), rtol=1e-13)
    alpha = np.array([[0.4], [1.0]])
    mixed = ZeroInflatedNegativeBinomial().log_prob(rows, ETA, [alpha, np.zeros((2, 1))])
    law = stats.nbinom(1 / alpha, 1 / (1 + alpha * np.exp(ETA[0])))
    np.testing.assert_allclose(mixed, law.logpmf(rows.y), rtol=1e-10)


def test_quantiles_are_the_smallest_numbers_that_reach(rng):
    family, share = ZeroInflatedPoisson(), np.array([[0.6], [0.2]])
    for upper in (False, True):
        q = rng.random(40)
        found = family.ppf(None, q, ETA, [share], upper)
        at, below = (family.cdf(Rows(None, y), ETA, [share], upper) for y in (found[0], found[0] - 1))
        assert np.all(at[0] <= q if upper else at[0] >= q) and np.all(below[0] > q if upper else below[0] < q)


def test_known_maxima():
    """The first is pscl's zeroinfl(art ~ . | 1); with alpha there are no zeros left to explain."""
    X, y = load_biochemists(return_X_y=True)
    one = MoERegressor(1, expert="zero_inflated_poisson").fit(X, y)
    assert one.converged_ and one.loglik_ == pytest.approx(-1620.784, abs=1e-3) and one.n_parameters_ == 7
    none = MoERegressor(1, expert="zero_inflated_negative_binomial").fit(X, y)
    alone = MoERegressor(1, expert="negative_binomial").fit(X, y)
    assert none.converged_ and none.loglik_ == pytest.approx(alone.loglik_, abs=1e-6)
    assert none.params_.expert.zero_share[0] == 0.0
    np.testing.assert_allclose(none.standard_errors_.expert.coef, alone.standard_errors_.expert.coef, rtol=1e-5)


def test_the_truth_is_found():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (4000, 1))
    first = rng.random(4000) < 1 / (1 + np.exp(-4 * X[:, 0]))
    y = rng.poisson(np.exp(np.where(first, 2.0 + 0.5 * X[:, 0], 0.5 - X[:, 0])))
    y[first & (rng.random(4000) < 0.3)] = 0
    model = quietly(MoERegressor(2, expert="zero_inflated_poisson", n_init=6, random_state=0).fit, X, y)
    assert model.converged_
    np.testing.assert_allclose(model.params_.expert.zero_share, [0.0, 0.3], atol=0.08)
    np.testing.assert_allclose(model.expert_intercept_, [0.5, 2.0], atol=0.1)
    drawn = model.sample(X, random_state=1)
    assert abs(np.mean(drawn == 0) - np.mean(y == 0)) < 0.02 and model.predict(X).mean() == pytest.approx(
        y.mean(), rel=0.02
    )
