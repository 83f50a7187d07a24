"""Normal experts of a transformed response: densities of mass one, moments by integration, identities, units."""

import numpy as np
import pytest
from scipy import integrate, special, stats

from helpers import assert_derivative, quietly
from smoe import MoERegressor
from smoe.families import Family, TransformedGaussian
from smoe.features import Rows

TRANSFORMS = ["log", "logit", "sqrt", ("box_cox", 0.3), ("box_cox", 2.0)]
every = pytest.mark.parametrize("transform", TRANSFORMS)


def case(transform, k=2):
    """A family, and predictors and scales of which the bounded transforms cut off much, little and nothing."""
    eta = np.array([[-1.0, 0.4, 3.0]] * k)[None]
    return TransformedGaussian(transform), eta, [np.linspace(0.5, 0.9, k)[:, None]]


def fit(expert, k, X, y):
    return quietly(MoERegressor(k, expert=expert, n_init=4, random_state=0).fit, X, y)


@every
def test_densities_have_mass_one_and_moments(transform):
    family, eta, phi = case(transform, 1)
    phi, (low, high) = [phi[0] + 0.3], family.support[:2]
    for i in range(3):
        at = eta[:, :, [i]]

        def density(y, at=at):
            return float(np.exp(family.log_prob(Rows(None, np.array([y])), at, phi))[0, 0])

        cuts = family.ppf(Rows(None), np.array([1e-12, 1e-3, 0.5, 0.999, 1 - 1e-9]), np.repeat(at, 5, axis=2), phi)[0]
        ends = [low, *cuts, min(high, np.inf)]

        def moment(power, ends=ends, density=density, centre=0.0):
            parts = zip(ends[:-1], ends[1:], strict=True)
            return sum(
                integrate.quad(lambda y: (y - centre) ** power * density(y), *part, epsabs=0)[0] for part in parts
            )

        mean = family.mean(None, at, phi).item()
        assert moment(0) == pytest.approx(1.0, rel=1e-6)
        assert moment(1) == pytest.approx(mean, rel=1e-6)
        assert moment(2, centre=mean) == pytest.approx(family.variance(None, at, phi).item(), rel=1e-5)
        assert family.cdf(Rows(None, cuts[[2]]), at, phi).item() == pytest.approx(0.5, rel=1e-12)
        wanted = integrate.quad(density, low, cuts[1])[0]
        assert family.cdf(Rows(None, cuts[[1]]), at, phi).item() == pytest.approx(wanted, rel=1e-6)


@every
def test_derivatives_are_those_of_differences(transform, rng):
    family, eta, phi = case(transform)
    y = family.ppf(Rows(None), rng.random(3), eta[:, :1], phi)[0]
    for event in (None, np.array([1.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])):
        rows = Rows(None, y, event=event)
        first, second = family.derivatives(rows, eta, phi)
        wanted = Family.derivatives(family, rows, eta, phi)
        assert_derivative(first, wanted[0], 1e-8)
        assert_derivative(second, wanted[1], 1e-5)
    assert_derivative(family.mean_slopes(rows, eta, phi), Family.mean_slopes(family, rows, eta, phi), 1e-7)


@every
def test_tails_and_draws(transform, rng):
    family, eta, phi = case(transform)
    for q in (1e-10, 0.2, 0.7):
        for upper in (False, True):
            y = family.ppf(Rows(None), q, eta, phi, upper)
            assert family.support.contains(y).all()
            for k in range(2):
                here = Rows(None, y[k])
                np.testing.assert_allclose(family.cdf(here, eta, phi, upper)[k], q, rtol=1e-8, atol=1e-14)
    rows, many = Rows(None, np.zeros(4000)), np.full((1, 4000), -1.0)
    y = family.sample(rows, many, [np.full(4000, 0.9)], rng)
    assert family.support.contains(y).all()
    u = family.cdf(rows.at(y), many[None], [np.array([[0.9]])])[0]
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    censored = Rows(None, y[:3], event=np.zeros(3))
    log_survival = np.log(family.cdf(censored, eta, phi, upper=True))
    np.testing.assert_allclose(family.log_prob(censored, eta, phi), log_survival, rtol=1e-9, atol=1e-15)


def test_far_below_the_bound_nothing_is_lost():
    family, eta = TransformedGaussian("sqrt"), np.array([[[-40.0]]])
    y, phi = np.array([1e-3]), [np.array([[0.5]])]
    # sqrt(y) is exponential there, with the rate |eta| / scale^2
    assert family.mean(None, eta, phi).item() == pytest.approx(2 / 160**2, rel=1e-3)
    found = family.cdf(Rows(None, y), eta, phi, upper=True).item()
    assert found == pytest.approx(np.exp(-160 * np.sqrt(y[0])), rel=0.02)
    assert np.isfinite(family.log_prob(Rows(None, y), eta, phi)).all()


@pytest.mark.parametrize(
    "transform, forward, slope",
    [
        ("logit", special.logit, lambda y: 1 / (y * (1 - y))),
        ("sqrt", np.sqrt, lambda y: 0.5 / np.sqrt(y)),
        (("box_cox", 0.5), lambda y: 2 * (np.sqrt(y) - 1), lambda y: 1 / np.sqrt(y)),
    ],
)
def test_far_from_bounds_it_is_the_normal_regression(transform, forward, slope):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (200, 1))
    z = np.where(rng.random(200) < 1 / (1 + np.exp(-5 * X[:, 0])), 6.0 + X[:, 0], 4.0) + 0.3 * rng.normal(size=200)
    y = special.expit(z - 5) if transform == "logit" else z**2
    model, plain = fit(TransformedGaussian(transform), 2, X, y), fit("gaussian", 2, X, forward(y))
    assert model.converged_
    assert model.loglik_ == pytest.approx(plain.loglik_ + np.log(slope(y)).sum(), abs=1e-5)
    np.testing.assert_allclose(model.expert_coef_, plain.expert_coef_, atol=1e-4)
    np.testing.assert_allclose(model.expert_scale_**2, plain.expert_variance_, rtol=1e-4)
    low, high = model.mean_interval(X[:4]).T
    assert np.all((low < model.predict(X[:4])) & (model.predict(X[:4]) < high))
    if transform != "logit":
        moved = fit(TransformedGaussian(transform), 2, X, 1e3 * y)
        assert moved.loglik_ == pytest.approx(model.loglik_ - 200 * np.log(1e3), abs=1e-6)
        np.testing.assert_allclose(moved.predict(X), 1e3 * model.predict(X), rtol=1e-6)


def test_a_cut_distribution_is_fitted():
    """Half normal numbers: the plain normal regression of the root would lose."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (300, 1))
    law = stats.truncnorm(-0.3 - 0.4 * X[:, 0], np.inf, loc=0.3 + 0.4 * X[:, 0])
    y = law.rvs(random_state=1) ** 2
    model = fit(TransformedGaussian("sqrt"), 1, X, y)
    truth = (law.logpdf(np.sqrt(y)) - np.log(2 * np.sqrt(y))).sum()
    assert model.converged_ and truth <= model.loglik_ < truth + 6
    assert model.predict(X).mean() == pytest.approx(y.mean(), rel=0.05)


@pytest.mark.parametrize(
    "transform, words",
    [
        ("cube", "transform must be 'log', 'logit', 'sqrt' or ..box_cox., exponent., got 'cube'"),
        (("box_cox", 0), "the exponent of 'box_cox' must be a positive number, got 0; zero is transform='log'"),
        (("box_cox", "a"), "the exponent of 'box_cox' must be a positive number, got 'a'"),
        (("power", 2.0), "transform must be"),
        ("logit", "y: LogitNormal takes numbers above 0 and below 1; 2 of 3 rows do not hold such, the first is row 1"),
        ("sqrt", "y: SquareRootNormal takes numbers above 0; 1 of 3"),
        (("box_cox", 0.5), "y: BoxCoxNormal takes numbers above 0; 1 of 3"),
    ],
)
def test_bad_settings_and_data(transform, words):
    with pytest.raises(ValueError, match=words):
        fit(TransformedGaussian(transform), 1, np.arange(3.0)[:, None], np.array([0.5, 1.5, -2.0]))
