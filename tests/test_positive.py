"""Experts of positive responses from the data to the answers: known numbers, identities, units, weights."""

import numpy as np
import pytest
from scipy import stats

from helpers import quietly
from smoe import MoERegressor
from smoe.families import FAMILIES, Support
from smoe.families.stirling import stirling
from smoe.features import Rows

POSITIVE = [name for name, family in FAMILIES.items() if family().support == Support(0.0)]
every = pytest.mark.parametrize("name", POSITIVE)
some = pytest.mark.parametrize("name", ["gamma", "inverse_gaussian", "weibull"])  # one of those that share their code


def draw(name, n=300, seed=1):
    """Two lines of a family, told apart by x."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, 1))
    eta = np.where(rng.random(n) < 1 / (1 + np.exp(-4 * X[:, 0])), 2.0 - X[:, 0], 0.5 * X[:, 0])
    own = 0.3 if FAMILIES[name]().takes_events else 0.05  # a scale or a dispersion
    return X, FAMILIES[name]().sample(None, eta[None], [np.full(n, own)], rng)


def fit(name, k, X, y, weight=None, **settings):
    settings = {"n_init": 4 if k > 1 and "start" not in settings else "auto", **settings}
    return quietly(MoERegressor(k, expert=name, random_state=0, **settings).fit, X, y, weight)


def test_one_gamma_expert_is_the_generalised_linear_model():
    """The numbers are those of another program on the same draw; its shape is the maximum-likelihood one."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=300)
    y = rng.gamma(3, np.exp(0.5 + 0.4 * x) / 3)
    model = fit("gamma", 1, x[:, None], y)
    found = model.expert_intercept_[0], model.expert_coef_[0, 0], 1 / model.expert_dispersion_[0]
    np.testing.assert_allclose(found, [0.49035223, 0.36978542, 2.99997635], atol=1e-7)
    assert model.loglik_ == pytest.approx(-365.8606704450, abs=1e-7) and model.n_parameters_ == 3
    assert model.bic(x[:, None], y) == pytest.approx(748.8326883, abs=1e-6)


def test_one_inverse_gaussian_expert_without_covariates_has_a_closed_form():
    X, y = draw("inverse_gaussian")
    model = fit("inverse_gaussian", 1, X, y, expert_features=[])
    assert np.exp(model.expert_intercept_[0]) == pytest.approx(y.mean(), rel=1e-8)
    assert model.expert_dispersion_[0] == pytest.approx(np.mean(1 / y) - 1 / y.mean(), rel=1e-7)


def test_log_normal_is_normal_on_the_logarithms():
    X, y = draw("log_normal")
    one, other = fit("log_normal", 2, X, y), fit("gaussian", 2, X, np.log(y))
    assert one.loglik_ == pytest.approx(other.loglik_ - np.log(y).sum(), abs=1e-6)
    np.testing.assert_allclose(one.expert_coef_, other.expert_coef_, atol=1e-5)
    np.testing.assert_allclose(one.expert_scale_**2, other.expert_variance_, rtol=1e-5)


@every
def test_the_density_is_that_of_scipy(name):
    family, eta, phi = FAMILIES[name](), np.array([[[0.3]], [[0.3]]])[:1], [np.array([[0.4]])]
    mu, s = np.exp(0.3), 2.5
    law = {
        "gamma": stats.gamma(s, scale=mu / s),
        "inverse_gaussian": stats.invgauss(mu / s, scale=s),
        "log_normal": stats.lognorm(0.4, scale=mu),
        "weibull": stats.weibull_min(s, scale=mu),
        "log_logistic": stats.fisk(s, scale=mu),
    }[name]
    y = np.array([0.1, 0.7, 3.0])

    rows, eta_y, q = Rows(None, y), np.repeat(eta, 3, axis=2), np.array([1e-9, 0.4, 0.9])
    np.testing.assert_allclose(family.log_prob(rows, eta_y, phi)[0], law.logpdf(y), rtol=1e-12)
    np.testing.assert_allclose(family.cdf(rows, eta_y, phi)[0], law.cdf(y), rtol=1e-12)
    np.testing.assert_allclose(family.cdf(rows, eta_y, phi, upper=True)[0], law.sf(y), rtol=1e-12)
    np.testing.assert_allclose(family.ppf(rows, q, eta_y, phi)[0], law.ppf(q), rtol=1e-12)
    np.testing.assert_allclose(family.ppf(rows, q, eta_y, phi, upper=True)[0], law.isf(q), rtol=1e-12)
    moments = family.mean(None, eta, phi).item(), family.variance(None, eta, phi).item()
    np.testing.assert_allclose(moments, law.stats(), rtol=1e-12)


@some
@pytest.mark.parametrize("unit", [1e5])
def test_the_unit_of_y_moves_the_intercepts(name, unit):
    X, y = draw(name)
    one, other = (fit(name, 2, X, u * y) for u in (1.0, unit))
    assert one.loglik_ == pytest.approx(other.loglik_ + len(y) * np.log(unit), abs=1e-6)
    np.testing.assert_allclose(other.expert_intercept_, one.expert_intercept_ + np.log(unit), atol=1e-5)
    np.testing.assert_allclose(other.expert_coef_, one.expert_coef_, atol=1e-5)
    assert one.converged_ and other.converged_


@some
def test_weight_two_is_the_row_twice(name):
    X, y = draw(name, 150)
    weight = np.arange(150) % 3 + 1
    rows = np.repeat(np.arange(150), weight)
    one, two = fit(name, 2, X, y, weight), fit(name, 2, X[rows], y[rows])
    assert one.loglik_ == pytest.approx(two.loglik_, rel=1e-9)


@some
def test_equal_experts_are_one(name):
    X, y = draw(name)
    one = fit(name, 1, X, y)
    start = fit(name, 2, X, y, max_iter=1).params_
    twice = type(one.params_.expert)(*(np.repeat(field, 2, axis=0) for field in one.params_.expert))
    both = fit(name, 2, X, y, start=start._replace(expert=twice), solver="em", max_iter=1)
    assert both.trace_[0] == pytest.approx(one.loglik_, abs=1e-7)


@some
@pytest.mark.parametrize("wrong", [0.0, -1.0])
def test_responses_that_are_not_positive(name, wrong):
    X, y = draw(name)
    y[[3, 5]] = wrong
    with pytest.raises(ValueError, match="takes numbers above 0; 2 of 300 rows do not hold such, the first is row 3"):
        fit(name, 2, X, y)


@some
def test_inference_and_distributions(name):
    X, y = draw(name)
    model = fit(name, 2, X, y)
    assert model.converged_ and np.all(model.covariance("sandwich", X, y).matrix.diagonal()[4:] > 0)
    low, high = model.mean_interval(X[:5]).T
    assert np.all((low < model.predict(X[:5])) & (model.predict(X[:5]) < high))
    mixture = model.predict_distribution(X)
    assert 0.9 < np.mean((mixture.interval(0.95)[:, 0] < y) & (y < mixture.interval(0.95)[:, 1])) < 0.99
    np.testing.assert_allclose(mixture.mean(), model.predict(X), rtol=1e-12)


def test_what_stirling_leaves_has_all_digits():
    x = np.array([0.3, 2.0, 11.9, 12.1, 1e3, np.inf])
    rest, slope, bend = stirling(x)
    wanted = [0.2325137182, 0.0413406959554, 0.0069999]
    np.testing.assert_allclose(rest[1], wanted[1], rtol=1e-10)
    assert abs(rest[2] - rest[3] - (1 / 11.9 - 1 / 12.1) / 12) < 1e-6
    np.testing.assert_allclose([rest[-1], slope[-1], bend[-1]], [0.0, -1 / 12, 1 / 6], rtol=1e-15)
    h = 1e-4
    ends = stirling(x[:5] * (1 + h))[0], stirling(x[:5] * (1 - h))[0]
    np.testing.assert_allclose(slope[:5], x[:5] ** 2 * (ends[0] - ends[1]) / (2 * h * x[:5]), rtol=1e-5)
