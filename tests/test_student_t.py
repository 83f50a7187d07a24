"""Student t experts: known numbers, the normal boundary, rows far away, degrees of freedom below one."""

import numpy as np
import pytest
from scipy import stats

from helpers import quietly
from smoe import MoERegressor
from smoe.datasets import load_engel, load_faithful
from smoe.families import StudentT
from smoe.features import Rows


def fit(k, X, y, expert="student_t", **settings):
    settings = {"n_init": 6 if k > 1 else 1, **settings}
    return MoERegressor(k, expert=expert, random_state=0, **settings).fit(X, y)


def in_thousands(load):
    X, y = load(return_X_y=True)
    return X / 1000, y / 1000


@pytest.mark.parametrize(
    "k, df, gate, loglik, n",
    [
        (1, "learn", None, 218.99104464, 4),
        (1, 4.0, None, 218.58391803, 3),
        (2, 4.0, [], 252.5275228, 7),
        (2, "learn", [], 254.31499704, 9),
        (2, "learn", None, 260.00930432, 10),
    ],
)
def test_known_maxima(k, df, gate, loglik, n):
    model = fit(k, *in_thousands(load_engel), StudentT(df=df), gate_features=gate, n_init=20)
    assert model.converged_ and model.loglik_ == pytest.approx(loglik, abs=1e-6) and model.n_parameters_ == n


def test_no_heavy_tails_are_the_normal_expert():
    """The maximum lies on the bound; what is there has no standard error, the others have those of normal experts."""
    X, y = load_faithful(return_X_y=True)
    one, other = fit(1, X, y), fit(1, X, y, "gaussian")
    assert one.converged_ and one.expert_kappa_[0] == 0.0 and one.loglik_ == pytest.approx(other.loglik_, abs=1e-9)
    np.testing.assert_allclose(one.expert_dispersion_, other.expert_variance_, rtol=1e-8)
    errors, wanted = one.standard_errors_.expert, other.standard_errors_.expert
    np.testing.assert_allclose([errors.coef, errors.intercept[:, None]], [wanted.coef, wanted.intercept[:, None]])
    assert np.isnan(errors.kappa[0]) and "expert 0: kappa on the bound" in one.summary().notes


def test_degrees_of_freedom_may_be_less_than_one():
    """The numbers are those of another program on the same draw."""
    rng = np.random.default_rng(15)
    x = rng.normal(size=300)
    y = 1 + 0.5 * x + 0.1 * rng.standard_t(0.7, 300)
    model = fit(1, x[:, None], y)
    found = model.expert_intercept_[0], model.expert_coef_[0, 0], np.sqrt(model.expert_dispersion_[0])
    np.testing.assert_allclose(found, [1.0065194, 0.4899915, 0.081070], atol=1e-6)
    assert 1 / model.expert_kappa_[0] == pytest.approx(0.633489, abs=1e-5)
    assert model.loglik_ == pytest.approx(-203.523377, abs=1e-5)
    mean, std = model.predict(x[:3, None], return_std=True)
    np.testing.assert_allclose(mean, found[0] + found[1] * x[:3], rtol=1e-7)
    assert np.isinf(std).all()
    mixture = model.predict_distribution(x[:3, None])
    np.testing.assert_allclose(mixture.cdf(mixture.ppf(0.99)), 0.99, rtol=1e-9)


@pytest.mark.parametrize("df", [0.5, 1.0, 4.0, 60.0, 1e7])
def test_the_density_is_that_of_scipy(df):
    y, eta, family = np.array([-3.0, 0.1, 0.7, 400.0]), np.full((1, 1, 4), 0.3), StudentT(df=df)
    law, rows, phi = stats.t(df, 0.3, 0.5), Rows(None, y), [np.array([[0.25]])]
    np.testing.assert_allclose(family.log_prob(rows, eta, phi)[0], law.logpdf(y), rtol=1e-9)
    np.testing.assert_allclose(family.cdf(rows, eta, phi)[0], law.cdf(y), rtol=1e-9)
    np.testing.assert_allclose(family.cdf(rows, eta, phi, upper=True)[0], law.sf(y), rtol=1e-9)
    np.testing.assert_allclose(family.ppf(rows, 0.3, eta, phi)[0], law.ppf(0.3), rtol=1e-7)
    drawn = family.sample(None, np.full((1, 20_000), 0.3), [0.25], np.random.default_rng(0))
    assert stats.kstest(drawn, law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("kappa", [0.0, 1e-5, 0.2, 3.0])
def test_derivatives_are_smooth_at_the_bound(kappa):
    family, eta = StudentT(), np.zeros((1, 1, 4))
    rows, h = Rows(None, np.array([0.1, -1.0, 2.0, 3.0])), 1e-5

    def at(kappa, v=0.7):
        return [np.array([[v]]), np.array([[kappa]])]

    first, second = family.derivatives(rows, eta, at(kappa + h))
    ends = [family.log_prob(rows, eta, at(kappa + h + s * h)) for s in (1, -1)]
    np.testing.assert_allclose(first[2], (ends[0] - ends[1]) / (2 * h), rtol=1e-5, atol=1e-5)
    ends = [family.derivatives(rows, eta, at(kappa + h + s * h))[0] for s in (1, -1)]
    np.testing.assert_allclose(-second[2], (ends[0] - ends[1]) / (2 * h), rtol=1e-3, atol=1e-3)
    if kappa == 0.0:
        far = rows.y**2 / 0.7
        np.testing.assert_allclose(family.derivatives(rows, eta, at(0.0))[0][2, 0], (far**2 - 2 * far - 1) / 4)


@pytest.mark.parametrize("expert", ["student_t", "gaussian"])
def test_an_offset_without_a_link_is_refused(expert):
    X, y = load_engel(return_X_y=True)
    with pytest.raises(ValueError, match="offset_feature: .* has no link, and takes no offset; subtract it from y"):
        fit(1, np.column_stack([X, X]), y, expert, offset_feature=1)


def test_rows_far_away_hardly_matter():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (300, 1))
    y = np.where(rng.random(300) < 0.5, 2 + X[:, 0], -2 - X[:, 0]) + 0.2 * rng.normal(size=300)
    y[:6] = 60.0
    model = quietly(fit, 2, X, y, StudentT(df=3.0), gate_features=[])
    np.testing.assert_allclose(model.expert_coef_.ravel(), [-1.0, 1.0], atol=0.1)
    np.testing.assert_allclose(model.expert_intercept_, [-2.0, 2.0], atol=0.1)


def test_units_of_y_and_weights():
    X, y = load_engel(return_X_y=True)
    one, other = (fit(2, X, u * y + 5.0 * (u > 1)) for u in (1.0, 1e4))
    assert one.loglik_ == pytest.approx(other.loglik_ + len(y) * np.log(1e4), abs=1e-5)
    np.testing.assert_allclose(other.expert_kappa_, one.expert_kappa_, rtol=1e-4)
    weight = np.arange(len(y)) % 3 + 1
    rows = np.repeat(np.arange(len(y)), weight)
    heavy = MoERegressor(1, expert="student_t", n_init=1).fit(X, y, weight)
    assert heavy.loglik_ == pytest.approx(fit(1, X[rows], y[rows]).loglik_, rel=1e-10)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"df": "free"}, "StudentT: df must be 'learn' or a number"),
        ({"df": 0.0}, "StudentT: df"),
        ({"floor": -1.0}, "StudentT: floor"),
    ],
)
def test_bad_settings(settings, words):
    X, y = load_faithful(return_X_y=True)
    with pytest.raises(ValueError, match=words):
        fit(1, X, y, StudentT(**settings))
