"""Negative binomial experts: known numbers, the Poisson boundary, counts of any size."""

import numpy as np
import pytest
from scipy import stats

from helpers import quietly
from smoe import MoERegressor
from smoe.datasets import load_biochemists
from smoe.families import NegativeBinomial
from smoe.features import Rows
from smoe.params import flatten


def even(n=300, seed=0):
    """Counts that vary less than Poisson ones."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 1))
    return X, rng.binomial(6, 1 / (1 + np.exp(-X[:, 0])))


def fit(k, X, y, expert="negative_binomial", **settings):
    settings = {"n_init": 4 if k > 1 else 1, "gate_features": [], **settings}
    return MoERegressor(k, expert=expert, random_state=0, **settings).fit(X, y)


def test_known_maxima():
    X, y = load_biochemists(return_X_y=True)
    one, two = fit(1, X, y), fit(2, X, y, n_init=12)
    assert one.converged_ and one.loglik_ == pytest.approx(-1560.9583385, abs=1e-6) and one.n_parameters_ == 7
    assert two.converged_ and two.loglik_ == pytest.approx(-1553.34611786, abs=1e-6) and two.n_parameters_ == 15
    assert sorted(two.expert_alpha_) == pytest.approx([0.152837146, 0.328696422], rel=1e-5)


def test_even_counts_are_poisson():
    """The maximum lies on the bound; what is there has no standard error, the others have those of Poisson experts."""
    X, y = even()
    one = fit(1, X, y)
    other = fit(1, X, y, "poisson")
    assert one.converged_ and one.expert_alpha_[0] == 0.0 and one.loglik_ == pytest.approx(other.loglik_, abs=1e-9)
    errors = one.standard_errors_.expert
    assert np.isnan(errors.alpha[0])
    np.testing.assert_allclose(errors.coef, other.standard_errors_.expert.coef, rtol=1e-6)
    summary = one.summary()
    assert "expert 0: alpha on the bound" in summary.notes and np.isfinite(one.conf_int().expert.coef).all()


def test_alpha_of_zero_is_poisson_to_the_last_digits():
    X, y = load_biochemists(return_X_y=True)
    one, other = fit(2, X[:, -1:], y, NegativeBinomial(alpha=0.0)), fit(2, X[:, -1:], y, "poisson")
    np.testing.assert_allclose(flatten(one.params_), flatten(other.params_), rtol=1e-6, atol=1e-8)
    assert one.loglik_ == pytest.approx(other.loglik_, abs=1e-9) and one.n_parameters_ == other.n_parameters_


def test_alpha_is_that_of_the_variance():
    family, eta = NegativeBinomial(), np.log([[[10.0]]])
    phi = [np.array([[0.5]])]
    assert np.exp(family.log_prob(Rows(None, np.zeros(1)), eta, phi)).item() == pytest.approx(1 / 36, rel=1e-14)
    assert family.variance(None, eta, phi).item() == pytest.approx(60.0)
    drawn = family.sample(None, np.full((1, 100_000), np.log(10.0)), [0.5], np.random.default_rng(0))
    assert abs(drawn.mean() - 10) < 0.1 and abs(drawn.var() / 60 - 1) < 0.03


@pytest.mark.parametrize("alpha", [1e-6, 0.03, 0.7, 20.0])
@pytest.mark.parametrize("largest", [30, 3000])  # sums that are looked up, and those of any counts
def test_the_density_is_that_of_scipy(alpha, largest):
    y = np.array([0.0, 1.0, 2.0, 7.0, largest])
    eta = np.log(np.array([0.3, 2.0, 1.0, 9.0, 0.8 * largest]))
    found = NegativeBinomial().log_prob(Rows(None, y), eta[None, None], [np.array([[alpha]])])[0]
    wanted = stats.nbinom.logpmf(y, 1 / alpha, 1 / (1 + alpha * np.exp(eta)))
    np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-8 if alpha < 1e-3 else 1e-11)


def test_derivatives_of_large_counts_are_those_of_differences():
    family, eta, h = NegativeBinomial(), np.log([[[1800.0, 4000.0, 20.0]]]), 1e-5
    rows = Rows(None, np.array([1500.0, 5000.0, 0.0]))

    def at(alpha):
        return family.log_prob(rows, eta, [np.array([[alpha]])])

    for alpha in (0.05, 0.5):
        first, second = family.derivatives(rows, eta, [np.array([[alpha]])])
        np.testing.assert_allclose(first[1], (at(alpha + h) - at(alpha - h)) / (2 * h), rtol=1e-5)
        slopes = [family.derivatives(rows, eta, [np.array([[alpha + s * h]])])[0][1] for s in (1, -1)]
        np.testing.assert_allclose(-second[1, 1], (slopes[0] - slopes[1]) / (2 * h), rtol=1e-5)


def test_very_large_counts():
    rows = Rows(None, np.array([2e9]))
    found = NegativeBinomial().log_prob(rows, np.log([[[1.5e9]]]), [np.array([[0.5]])])
    assert found.item() == pytest.approx(-22.12142118, abs=1e-7)
    X = np.random.default_rng(1).normal(size=(400, 1))
    model = quietly(fit, 1, X, np.repeat([0, 3, 2_000_000_000], [200, 199, 1]))
    assert np.isfinite(model.loglik_)


@pytest.mark.parametrize("alpha", ["free", -1.0, np.nan])
def test_bad_settings(alpha):
    X, y = even(50)
    with pytest.raises(ValueError, match="NegativeBinomial: alpha"):
        fit(1, X, y, NegativeBinomial(alpha=alpha))


def test_distributions_have_whole_numbers():
    X, y = load_biochemists(return_X_y=True)
    model = fit(2, X, y)
    mixture = model.predict_distribution(X[:1])
    mass = [mixture.pdf(float(v))[0] for v in range(400)]
    assert sum(mass) == pytest.approx(1.0, abs=1e-10)
    assert mixture.ppf(0.9)[0] == np.searchsorted(np.cumsum(mass), 0.9)
