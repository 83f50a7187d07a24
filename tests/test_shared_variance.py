"""One variance for all normal experts: exact maxima, derivatives, and what a bounded likelihood changes."""

import numpy as np
import pytest

import naive
from helpers import assert_derivative, frozen, quietly
from smoe import MoERegressor
from smoe.datasets import load_engel, load_faithful
from smoe.diagnostics import diagnose
from smoe.experts import GaussianExpert, GaussianExpertParams
from smoe.features import Rows, design
from smoe.params import flatten

SHARED = GaussianExpert(variances="shared")


def case(rng, m=40, k=3, d=2):
    rows = Rows(design(rng.normal(size=(d, m))), rng.normal(size=m))
    params = frozen(GaussianExpertParams(rng.normal(size=(k, d)), rng.normal(size=k), np.asarray(0.7)))
    return rows, params, rng.dirichlet(np.ones(k), m).T * rng.uniform(0.5, 2.0, m)


@pytest.mark.parametrize("state", range(2))
def test_known_maxima(state):
    X, y = load_engel(return_X_y=True)
    model = MoERegressor(2, expert=SHARED, gate_features=[], n_init=6, random_state=state).fit(X / 1000, y / 1000)
    assert model.converged_ and model.loglik_ == pytest.approx(242.71519851, abs=1e-6) and model.n_parameters_ == 6
    eruptions, waiting = load_faithful(return_X_y=True)
    model = MoERegressor(2, expert=SHARED, gate_features=[], expert_features=[], n_init=6, random_state=state)
    model.fit(waiting[:, None], eruptions[:, 0])
    assert model.converged_ and np.ndim(model.expert_variance_) == 0


def test_one_expert_has_its_own_variance_either_way():
    X, y = load_engel(return_X_y=True)
    own, shared = (MoERegressor(1, expert=e).fit(X, y) for e in ("gaussian", SHARED))
    assert shared.loglik_ == pytest.approx(own.loglik_, abs=1e-8)
    for part in ("coef", "intercept", "variance"):
        one, other = (getattr(m.standard_errors_.expert, part) for m in (own, shared))
        np.testing.assert_allclose(np.ravel(one), np.ravel(other), rtol=1e-9)


def test_the_m_step_is_the_maximum_and_pools_the_squares(rng):
    rows, params, resp = case(rng)
    best = SHARED.m_step(SHARED.suffstats(rows, params, resp), params)
    lines = GaussianExpert().m_step(SHARED.suffstats(rows, params, resp), params._replace(variance=np.full(3, 0.7)))
    square = (resp * (rows.y - SHARED.mean(rows, best)) ** 2).sum()
    np.testing.assert_allclose(best.coef, lines.coef, rtol=1e-12)
    assert float(best.variance) == pytest.approx(square / resp.sum(), rel=1e-12)
    np.testing.assert_allclose(flatten(SHARED.score(SHARED.suffstats(rows, best, resp), best)), 0, atol=1e-9)


def test_derivatives_of_the_shared_entry_are_sums(rng):
    rows, params, resp = case(rng)

    def expected(p):
        return float((resp * SHARED.log_prob(rows, p)).sum())

    stats = SHARED.suffstats(rows, params, resp)
    assert_derivative(flatten(SHARED.score(stats, params)), naive.gradient(expected, params, step=1e-4), 1e-8)
    found = SHARED.m_information(stats, params)
    assert_derivative(found, -naive.hessian(expected, params, step=1e-3), 1e-6)


def test_an_expert_on_few_rows_is_not_a_spike():
    """With variances of their own three rows on a line are charged; with one for all, they gain next to nothing."""
    assert SHARED.chance_terms(1) is None and GaussianExpert().chance_terms(1) == 2
    X, y = load_engel(return_X_y=True)
    model = quietly(MoERegressor(3, expert=SHARED, n_init=6, random_state=0).fit, X, y)
    assert not model.expert_.at_bound(model.params_.expert).any()
    assert "chance line" not in str(diagnose(model, X, y)) and model.score_norm_ < 1e-8


def test_everything_else_takes_it():
    X, y = load_engel(return_X_y=True)
    model = MoERegressor(2, expert=SHARED, n_init=6, random_state=0).fit(X, y)
    distribution = model.predict_distribution(X[:3])
    np.testing.assert_allclose(distribution.cdf(distribution.ppf(0.3)), 0.3, rtol=1e-9)
    assert model.sample(X[:3], random_state=0).shape == (3,)
    assert "expert: variance" in model.summary().names
    errors = model.covariance("sandwich", X, y).standard_errors.expert
    assert np.all(np.isfinite(flatten(errors))) and np.ndim(errors.variance) == 0


def test_unknown_words_are_refused():
    X, y = load_engel(return_X_y=True)
    with pytest.raises(ValueError, match="variances='equal' is not known; choose 'own' or 'shared'"):
        MoERegressor(2, expert=GaussianExpert(variances="equal")).fit(X, y)
