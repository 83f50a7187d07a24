"""Student's t experts: exact maxima, the normal density as a point of the family, heavy tails end to end."""

import math

import numpy as np
import pytest
from scipy import stats

from helpers import assert_derivative, quietly
from smoe import MoERegressor
from smoe.datasets import load_engel, load_faithful
from smoe.experts import GaussianExpert, LinearExpert
from smoe.families import StudentT
from smoe.features import Rows


def engel():
    X, y = load_engel(return_X_y=True)
    return X / 1000, y / 1000


def rows_at(rng, m=60):
    return Rows(None, 4.0 * rng.normal(size=m)), rng.normal(size=(1, 2, m)), np.array([[0.5], [1.7]])


@pytest.mark.parametrize("kappa", [0.0, 1e-12, 1e-3, 0.0499, 0.0501, 0.3, 1.5, 40.0])
def test_the_density_and_its_distribution_function_are_those_of_scipy(kappa, rng):
    rows, eta, scale = rows_at(rng)
    phi = [scale, np.full((2, 1), kappa)]
    law = stats.norm(eta[0], scale) if kappa < 1e-9 else stats.t(1 / kappa, eta[0], scale)
    family = StudentT()
    np.testing.assert_allclose(family.log_prob(rows, eta, phi), law.logpdf(rows.y), rtol=1e-9)
    np.testing.assert_allclose(family.cdf(rows, eta, phi), law.cdf(rows.y), rtol=1e-7)
    np.testing.assert_allclose(family.cdf(rows, eta, phi, upper=True), law.sf(rows.y), rtol=1e-7)
    q = rng.uniform(0.01, 0.99, rows.y.size)
    np.testing.assert_allclose(family.ppf(rows, q, eta, phi), law.ppf(q), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(family.ppf(rows, q, eta, phi, True), law.isf(q), rtol=1e-7, atol=1e-9)
    wanted = law.var() if kappa < 0.5 else math.inf
    np.testing.assert_allclose(family.variance(rows, eta, phi), wanted * np.ones((2, 60)), rtol=1e-9)


@pytest.mark.parametrize("kappa", [0.01, 0.0499, 0.0501, 0.3, 3.0])
def test_second_derivatives_are_those_of_the_first(kappa, rng):
    rows, eta, scale = rows_at(rng)
    family, at, h = StudentT(), [eta[0], scale + 0 * eta[0], kappa + 0 * eta[0]], 1e-6

    def first(i, move):
        moved = [a + move * (i == j) for j, a in enumerate(at)]
        return family.derivatives(rows, moved[0][None], moved[1:])[0]

    found = family.derivatives(rows, eta, at[1:])[1]
    for i in range(3):
        assert_derivative(-found[i], (first(i, h) - first(i, -h)) / (2 * h), 1e-7)


def test_derivatives_at_the_normal_density(rng):
    """At 1/df = 0 the slope is (d^2 - 2 d - 1) / 4 with d the squared residual, and the information 3.5 on average."""
    rows, eta, scale = rows_at(rng)
    first, second = StudentT().derivatives(rows, eta, [scale, np.zeros((2, 1))])
    square = ((rows.y - eta[0]) / scale) ** 2
    np.testing.assert_allclose(first[2], (square**2 - 2 * square - 1) / 4, rtol=1e-12)
    np.testing.assert_allclose(first[0], (rows.y - eta[0]) / scale**2, rtol=1e-12)
    np.testing.assert_allclose(second[2, 2], square**3 / 3 - square**2 / 2, rtol=1e-9)


@pytest.mark.parametrize("kappa", [0.0, 0.05, 0.25, 1.0, 4.0])
def test_the_information_of_the_m_step_is_about_the_expected_one(kappa):
    z = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    y = z if kappa == 0 else stats.t.ppf(stats.norm.cdf(z), 1 / kappa)
    family, eta, phi = StudentT(), np.zeros((1, 1, len(y))), [np.ones((1, 1)), np.full((1, 1), kappa)]
    second = family.derivatives(Rows(None, y), eta, phi)[1]
    found = family.information(Rows(None, y), eta, phi, second)
    for i, tolerance in enumerate((1.0, 0.02, 0.1)):  # of the line it is larger, which is safe
        wanted = second[i, i].mean()
        assert abs(found[i, i].mean() / wanted - 1) < tolerance or (i == 0 and found[i, i].mean() >= wanted)


@pytest.mark.parametrize("state", range(2))
@pytest.mark.parametrize(
    "df, gate, wanted", [("learn", [], 254.31499704), ("learn", None, 260.00930432), (4.0, [], 252.5275228)]
)
def test_known_maxima(df, gate, wanted, state):
    X, y = engel()
    model = MoERegressor(2, expert=StudentT(df), gate_features=gate, n_init=6, random_state=state).fit(X, y)
    assert model.converged_ and model.loglik_ == pytest.approx(wanted, abs=1e-6)


def test_one_expert_and_a_maximum_on_the_normal_density():
    X, y = engel()
    one = MoERegressor(1, expert="student_t").fit(X, y)
    assert one.loglik_ == pytest.approx(218.99104464, abs=1e-7) and one.n_parameters_ == 4
    assert 1 / one.params_.expert.inverse_df[0] == pytest.approx(3.24984163, abs=1e-5)
    waiting, eruptions = load_faithful(return_X_y=True)
    model = MoERegressor(1, expert="student_t").fit(waiting, eruptions)
    normal = MoERegressor(1).fit(waiting, eruptions)
    assert model.converged_ and model.loglik_ == pytest.approx(normal.loglik_, abs=1e-8)
    assert model.params_.expert.inverse_df[0] == pytest.approx(0.0, abs=1e-12)
    errors = model.standard_errors_.expert
    np.testing.assert_allclose(errors.coef, normal.standard_errors_.expert.coef, rtol=1e-6)
    assert model.params_.expert.scale[0] ** 2 == pytest.approx(normal.expert_variance_[0], rel=1e-8)


def test_infinite_df_is_the_gaussian_family():
    X, y = engel()
    one = MoERegressor(2, expert=StudentT(math.inf), n_init=6, random_state=0).fit(X, y)
    other = MoERegressor(2, expert=GaussianExpert(), n_init=6, random_state=0).fit(X, y)
    assert one.loglik_ == pytest.approx(other.loglik_, abs=1e-6)
    np.testing.assert_allclose(one.params_.expert.scale**2, other.expert_variance_, rtol=1e-4)
    np.testing.assert_allclose(
        one.predict_distribution(X[:5]).ppf(0.1), other.predict_distribution(X[:5]).ppf(0.1), rtol=1e-5
    )


def test_df_may_be_shared():
    X, y = engel()
    shared = MoERegressor(2, expert=StudentT("shared"), gate_features=[], n_init=6, random_state=0).fit(X, y)
    own = MoERegressor(2, expert=StudentT(), gate_features=[], n_init=6, random_state=0).fit(X, y)
    assert shared.converged_ and shared.n_parameters_ == own.n_parameters_ - 1
    assert shared.loglik_ < own.loglik_ and "expert: inverse_df" in shared.summary().names


def test_outliers_do_not_pull_the_lines():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (400, 1))
    first = X[:, 0] > 0
    y = np.where(first, 1 + 2 * X[:, 0], -1 - X[:, 0]) + 0.1 * rng.normal(size=400)
    y[rng.choice(400, 20, replace=False)] += rng.uniform(-6, 6, 20)
    model = quietly(MoERegressor(2, expert="student_t", n_init=6, random_state=0).fit, X, y)
    np.testing.assert_allclose(np.sort(model.expert_coef_[:, 0]), [-1, 2], atol=0.12)
    distribution = model.predict_distribution(X[:4])
    np.testing.assert_allclose(distribution.cdf(distribution.ppf(0.05)), 0.05, rtol=1e-6)
    assert np.isfinite(model.predict(X)).all() and model.sample(X, random_state=0).shape == (400,)


def test_the_unit_of_y_moves_what_it_must():
    X, y = engel()
    one = MoERegressor(2, expert=StudentT(4.0), gate_features=[], n_init=6, random_state=0).fit(X, y)
    other = MoERegressor(2, expert=StudentT(4.0), gate_features=[], n_init=6, random_state=0).fit(X, 1000 * y - 5)
    assert other.loglik_ == pytest.approx(one.loglik_ - len(y) * math.log(1000), abs=1e-6)
    np.testing.assert_allclose(other.params_.expert.scale, 1000 * one.params_.expert.scale, rtol=1e-5)
    np.testing.assert_allclose(other.expert_intercept_, 1000 * one.expert_intercept_ - 5, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"df": "many"}, "StudentT: df must be 'learn', 'shared' or a number, got 'many'"),
        ({"df": -1.0}, "StudentT: df must be"),
        ({"floor": 0.0}, "StudentT: floor must be"),
    ],
)
def test_bad_settings(settings, words):
    with pytest.raises(ValueError, match=words):
        MoERegressor(2, expert=StudentT(**settings)).fit(*engel())


def test_an_expert_of_it_may_be_given():
    assert isinstance(MoERegressor(1, expert=LinearExpert(StudentT(4.0))).fit(*engel()).expert_.family, StudentT)


def test_a_step_leaves_a_bound_that_the_score_leads_away_from():
    """On the bound the gradient by the root is zero whichever way the likelihood falls."""
    X, y = engel()
    model = MoERegressor(1, expert="student_t").fit(X, y)
    start = model.params_._replace(expert=model.params_.expert._replace(inverse_df=np.zeros(1)))
    again = MoERegressor(1, expert="student_t", start=start).fit(X, y)
    assert again.converged_ and again.loglik_ == pytest.approx(model.loglik_, abs=1e-8)
