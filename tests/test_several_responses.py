"""Several responses at once: covariance models against formulas and scipy, fits against exact maxima and identities."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest, multivariate_normal
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV

from helpers import assert_derivative, lower_of, perturbed, quietly, sampled
from smoe import MoERegressor, SoftmaxMoERegressor
from smoe.datasets import load_faithful
from smoe.experts import GaussianExpert, MultivariateGaussianExpert
from smoe.experts.covariances import COVARIANCES
from smoe.features import Rows, design
from smoe.inference import bootstrap
from smoe.params import flatten, fold, unflatten
from smoe.plots import plot_coefficients, plot_diagnostics, plot_fit
from smoe.simulation import Truth

LETTERS = [name for name in COVARIANCES if name.isupper()]
every = pytest.mark.parametrize("name", LETTERS)
K, Q, D, M = 3, 3, 1, 24


@pytest.fixture
def case(name, rng):
    """Experts, parameters, rows and responsibilities."""
    expert = MultivariateGaussianExpert(name, responses=["a", "b", "c"])
    truth, params = (perturbed(expert.init_params(K, D), lower_of(expert), rng) for _ in range(2))
    Z = design(rng.normal(size=(D, M)))
    y = expert.sample(Rows(Z), rng.integers(K, size=M), truth, rng)
    return expert, params, Rows(Z, y), rng.uniform(0.1, 1.0, (K, M))


@every
def test_densities_are_multivariate_normal(case):
    expert, params, rows, _ = case
    found = expert.log_prob(rows, params)
    for k, covariance in enumerate(params.covariance):
        apart = rows.y - expert.mean(rows, params)[k]
        np.testing.assert_allclose(found[k], multivariate_normal.logpdf(apart.T, cov=covariance), rtol=1e-10)


@every
def test_letters_say_what_experts_share(case):
    name, covariances = case[0].covariance, case[1].covariance
    volume = np.linalg.det(covariances) ** (1 / Q)
    assert np.allclose(volume, volume[0]) == (name[0] == "E")
    _, shapes, orientations = name
    alike = covariances / volume[:, None, None]
    assert np.allclose(alike, alike[0]) == (shapes in "EI" and orientations in "EI")
    assert np.allclose(alike, np.eye(Q)) == (shapes == "I")
    assert (np.count_nonzero(covariances[0]) == Q) == (orientations == "I")


@every
def test_derivatives(case):
    expert, params, rows, resp = case
    theta, step = flatten(params), 1e-5 * np.eye(flatten(params).size)

    def slopes(function):
        return np.array([function(theta + h) - function(theta - h) for h in step]) / 2e-5

    stats = expert.suffstats(rows, params, resp)
    score = flatten(expert.score(stats, params))
    wanted = slopes(lambda t: (resp * expert.log_prob(rows, unflatten(t, params))).sum())
    assert_derivative(score, wanted, 1e-7)
    by_row = (expert.row_scores(rows, params) * resp[:, None]).sum(axis=-1)
    np.testing.assert_allclose(fold(by_row.ravel(), params), score, rtol=1e-8, atol=1e-9)
    bends = slopes(lambda t: flatten(expert.score(stats, unflatten(t, params))))
    assert_derivative(expert.m_information(stats, params), -bends, 1e-7)


def celeux_govaert(name, scatter, weight):
    """Covariance matrices of highest likelihood as in their table, (n_experts, q, q); None where they iterate."""
    n, volume = weight.sum(), np.linalg.det
    own = scatter * np.eye(Q) if name[2] == "I" else scatter
    if name in ("EEI", "EEE"):
        return np.repeat(own.sum(axis=0)[None] / n, K, axis=0)
    if name in ("VVI", "VVV"):
        return own / weight[:, None, None]
    if name in ("EVI", "EVV"):
        shapes = own / volume(own)[:, None, None] ** (1 / Q)
        return (volume(own) ** (1 / Q)).sum() / n * shapes
    if name in ("EII", "VII"):
        trace = np.trace(own, axis1=1, axis2=2)
        trace = np.full(K, trace.sum() / n) if name == "EII" else trace / weight
        return trace[:, None, None] / Q * np.eye(Q)
    return None


@every
def test_m_step_is_the_maximum(case, rng):
    expert, params, rows, resp = case
    best = expert.m_step(expert.suffstats(rows, params, resp), params)

    def expected(p):
        return (resp * expert.log_prob(rows, p)).sum()

    score = expert.score(expert.suffstats(rows, best, resp), best)
    np.testing.assert_allclose(flatten(score), 0, atol=1e-9)
    assert expected(best) > max(expected(perturbed(best, lower_of(expert), rng, 0.03)) for _ in range(20))
    apart = rows.y - expert.mean(rows, best)
    scatter = np.einsum("km,kim,kjm->kij", resp, apart, apart)
    if (wanted := celeux_govaert(expert.covariance, scatter, resp.sum(axis=1))) is not None:
        np.testing.assert_allclose(best.covariance, wanted, rtol=1e-9, atol=1e-12)


@every
def test_units_of_each_response(case):
    expert, params, rows, _ = case
    y_shift, y_scale = np.array([1.0, -2.0, 3.0]), np.array([2.0, 0.5, 10.0])
    y_scale = np.full(Q, 2.0) if expert.units == "similar" else y_scale
    users = expert.unscale(params, np.array([0.7]), np.array([1.5]), y_shift, y_scale)
    x = 1.5 * rows.Z[:-1] + 0.7
    y = y_scale[:, None] * rows.y + y_shift[:, None]
    wanted = expert.log_prob(rows, params) - np.log(y_scale).sum()
    np.testing.assert_allclose(expert.log_prob(Rows(design(x), y), users), wanted, rtol=1e-9)


# Fits ----------------------------------------------------------------------------------------------------------------

FAITHFUL = np.column_stack(load_faithful(return_X_y=True)[::-1])  # eruptions, waiting
NOTHING = {"gate_features": [], "expert_features": []}
QUICK = {"n_init": 6, "random_state": 0}


def fitted(covariance="full", X=FAITHFUL, Y=FAITHFUL, k=2, **settings):
    return MoERegressor(k, expert=MultivariateGaussianExpert(covariance), **QUICK, **settings).fit(X, Y)


@pytest.mark.parametrize(
    "covariance, df, loglik",
    [
        ("EII", 6, -1709.68137295),
        ("spherical", 7, -1709.52928218),
        ("EEI", 7, -1157.68001234),
        ("diag", 9, -1147.80635254),
        ("tied", 8, -1140.18675944),
        ("full", 11, -1130.26396018),
    ],
)
def test_exact_maxima(covariance, df, loglik):
    model = fitted(covariance, **NOTHING)
    assert model.converged_ and model.n_parameters_ == df
    np.testing.assert_allclose(model.loglik_, loglik, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["EEV", "VEV"])
def test_axes_are_those_of_the_angles(name, rng):
    expert = MultivariateGaussianExpert(name, responses=["a", "b"])
    params = perturbed(expert.init_params(K, D), lower_of(expert), rng)
    values = np.ravel(params.variance) if name == "EEV" else [params.shape[0, 0], 1 / params.shape[0, 0]]
    for k, angle in enumerate(params.angle[:, 0]):
        size = 1.0 if name == "EEV" else params.variance[k]
        axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        np.testing.assert_allclose(params.covariance[k] @ axes, axes * values * size, rtol=1e-12)


@pytest.mark.parametrize(
    "chain", sampled(["EII EEI EEE VEE VVV", "EEI VEI VVI VVV", "EEI EVI EVV VVV", "EEE EEV VEV VVV", "VEE VEV"])
)
def test_nested_models_are_ordered(chain):
    fits = [fitted(name, **NOTHING) for name in chain.split()]
    assert all(fit.converged_ for fit in fits)
    assert np.all(np.diff([fit.loglik_ for fit in fits]) > 0)
    assert np.all(np.diff([fit.n_parameters_ for fit in fits]) > 0)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    X = rng.uniform(-1, 1, (160, 1))
    late = X[:, 0] + 0.5 * rng.normal(size=160) > 0
    slopes = np.where(late[:, None], [1.0, -2.0], [0.0, 1.0])
    noise = rng.normal(size=(160, 2)) @ [[0.5, 0.4], [0.0, 0.2]]
    return X, pd.DataFrame(slopes * X + late[:, None] * [2.0, 1.0] + noise, columns=["length", "depth"])


@pytest.fixture(scope="module")
def model(data):
    return fitted("full", *data)


def test_one_response_is_the_scalar_family(data):
    X, Y = data
    scalar = SoftmaxMoERegressor(2, **QUICK).fit(X, Y["length"])
    flat, column = fitted("full", X, Y["length"]), fitted("full", X, Y[["length"]])
    assert type(flat.expert_) is GaussianExpert and flat.loglik_ == scalar.loglik_
    np.testing.assert_allclose(column.loglik_, scalar.loglik_, rtol=1e-12)
    np.testing.assert_allclose(column.predict(X), scalar.predict(X)[:, None], rtol=1e-6)
    mean, covariance = column.predict(X, return_cov=True)
    np.testing.assert_allclose(covariance[:, 0, 0], scalar.predict(X, return_std=True)[1] ** 2, rtol=1e-6)
    assert mean.shape == (160, 1) and "x0 [length]" in str(column.summary())
    np.testing.assert_allclose(column.expert_variance_[:, 0], scalar.expert_variance_, rtol=1e-6)
    np.testing.assert_allclose(
        column.standard_errors_.expert.variance[:, 0], scalar.standard_errors_.expert.variance, rtol=1e-6
    )
    shared = fitted("tied", X, Y["length"])
    assert shared.expert_.variances == "shared"


def test_linear_maps_and_units_of_responses(data, model):
    X, Y = data
    turn = np.array([[30.0, -4.0], [0.2, 0.01]])
    other = fitted("full", X, Y.to_numpy() @ turn.T + [5.0, 1e3])
    shift = len(X) * np.log(abs(np.linalg.det(turn)))
    np.testing.assert_allclose(other.loglik_, model.loglik_ - shift, atol=1e-7)
    np.testing.assert_allclose(other.expert_covariance_, turn @ model.expert_covariance_ @ turn.T, rtol=1e-5)
    scaled, diag = fitted("diag", X, Y * [1e3, 1e-3]), fitted("diag", X, Y)
    np.testing.assert_allclose(scaled.loglik_, diag.loglik_, atol=1e-7)
    for name in ("EII", "VEV"):
        moved, first = fitted(name, X, 7.0 * Y), fitted(name, X, Y)
        np.testing.assert_allclose(moved.loglik_, first.loglik_ - 2 * len(X) * np.log(7.0), atol=1e-7)


def test_order_and_repetition_of_rows(data, model):
    X, Y = data
    back = fitted("full", X[::-1], Y[::-1])
    np.testing.assert_allclose(back.params_.expert.coef, model.params_.expert.coef, rtol=1e-6, atol=1e-8)
    twice = fitted("full", np.repeat(X, 2, 0), np.repeat(Y.to_numpy(), 2, 0))
    weighted = MoERegressor(2, expert="multivariate_gaussian", **QUICK).fit(X, Y, np.full(160, 2.0))
    np.testing.assert_allclose(twice.loglik_, weighted.loglik_, rtol=1e-10)
    np.testing.assert_allclose(weighted.loglik_, 2 * model.loglik_, rtol=1e-10)


def test_predictions(data, model):
    X, Y = data[0][:5], data[1][:5].to_numpy()
    proba, means = model.gate_proba(X), model.expert_predict(X)
    assert means.shape == (5, 2, 2)
    mean, covariance = model.predict(X, return_cov=True)
    wanted = np.einsum("nk,nkq->nq", proba, means)
    np.testing.assert_allclose(mean, wanted, rtol=1e-12)
    apart = means - wanted[:, None]
    within = model.expert_covariance_ + np.einsum("nki,nkj->nkij", apart, apart)
    np.testing.assert_allclose(covariance, np.einsum("nk,nkij->nij", proba, within), rtol=1e-10)
    spread = model.predict(X, return_std=True)[1]
    np.testing.assert_allclose(spread**2, np.diagonal(covariance, axis1=1, axis2=2), rtol=1e-10)
    densities = [
        [multivariate_normal.pdf(y, m, S) for m, S in zip(row, model.expert_covariance_, strict=True)]
        for y, row in zip(Y, means, strict=True)
    ]
    joint = proba * densities
    np.testing.assert_allclose(model.score_samples(X, Y), np.log(joint.sum(axis=1)), rtol=1e-9)
    np.testing.assert_allclose(model.responsibilities(X, Y), joint / joint.sum(axis=1, keepdims=True), rtol=1e-8)
    np.testing.assert_allclose(model.score(*data), r2_score(data[1], model.predict(data[0])), rtol=1e-12)
    far = model.responsibilities(X[:2], [[1e200, 0.0], [-1e300, 1e300]])
    np.testing.assert_allclose(far.sum(axis=1), 1)


def test_margins_intervals_and_distances(data, model):
    X, law = data[0][:4], model.predict_distribution(data[0][:4])
    bounds = model.predict_interval(X, 0.9)
    assert bounds.shape == (4, 2, 2) and model.predict_quantiles(X, 0.5).shape == (4, 2)
    for j, name in enumerate(["length", "depth"]):
        np.testing.assert_allclose(bounds[:, j], law.marginal(name).interval(0.9))
    y = data[1][:4].to_numpy()
    distance = law.mahalanobis(y)
    for k, S in enumerate(model.expert_covariance_):
        apart = y - model.expert_predict(X)[:, k]
        np.testing.assert_allclose(distance[:, k] ** 2, (apart @ np.linalg.inv(S) * apart).sum(axis=1), rtol=1e-9)


def test_what_one_response_tells_of_the_other(data, model):
    X = data[0][:3]
    known = np.array([0.0, 1.5, 1e4])
    found = model.predict_given(X, {"length": known})
    means, S = model.expert_predict(X), model.expert_covariance_
    margin = -0.5 * (known[:, None] - means[..., 0]) ** 2 / S[:, 0, 0] - 0.5 * np.log(S[:, 0, 0])
    weight = np.log(model.gate_proba(X)) + margin
    weight = np.exp(weight - weight.max(axis=1, keepdims=True))
    moved = means[..., 1] + S[:, 1, 0] / S[:, 0, 0] * (known[:, None] - means[..., 0])
    np.testing.assert_allclose(found, (weight * moved).sum(axis=1) / weight.sum(axis=1), rtol=1e-9)
    np.testing.assert_array_equal(found, model.predict_given(X, {0: known}))


def test_inference(data, model):
    X, Y = data
    bands = model.mean_interval(X[:3])
    assert bands.shape == (3, 2, 2)

    def means(params):
        score = X[:3] @ params.gate.coef.T + params.gate.intercept
        proba = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
        each = np.einsum("kqd,nd->nkq", params.expert.coef, X[:3]) + params.expert.intercept
        return np.einsum("nk,nkq->nq", proba, each)

    np.testing.assert_allclose(bands, model.delta_method(means).interval(0.95), rtol=1e-6)
    table = model.summary().to_frame()
    labels = ["x0 [length]", "intercept [depth]", "variance [depth]", "regression [depth on length]"]
    assert {f"expert 1: {label}" for label in labels} <= set(table.index)
    assert "length, depth" in str(model.summary())
    robust = model.covariance("sandwich", X, Y).standard_errors.expert.coef
    np.testing.assert_allclose(robust, model.standard_errors_.expert.coef, rtol=0.5)
    assert model.delta_method(lambda p: p.expert.covariance).std_err.shape == (2, 2, 2)
    found = bootstrap(model, X, Y, n_resamples=2, random_state=0)
    assert found.n_failed == 0 and found.params.expert.coef.shape == (2, 2, 2, 1)


def test_residuals_are_independent_and_normal(data, model):
    X, Y = data
    found = model.diagnose(X, Y)
    assert found.residuals.shape == (160, 2) and found.problems == []
    assert kstest(found.residuals.ravel(), "norm").pvalue > 0.01
    assert abs(np.corrcoef(found.residuals.T)[0, 1]) < 0.2
    wrong = quietly(fitted("diag", X, Y).diagnose, X, Y)  # its residuals are not
    assert abs(np.corrcoef(wrong.residuals.T)[0, 1]) > 0.5
    plot_diagnostics(model, X, Y), plot_coefficients(model)
    with pytest.raises(ValueError, match="vectors: see predict_distribution"):
        plot_fit(model, X, Y)


def test_models_are_chosen_stored_and_drawn_from(data, model):
    X, Y = data
    grid = {"expert__covariance": ["full", "diag"]}
    search = GridSearchCV(
        MoERegressor(2, expert=MultivariateGaussianExpert(), n_init=2, random_state=0), grid, cv=2,
        scoring=lambda one, X, Y: one.score_samples(X, Y).mean(),
    ).fit(X, Y)  # fmt: skip
    assert search.best_params_["expert__covariance"] == "full"
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    x, y = Truth.from_estimator(model, lambda n, rng: rng.uniform(-1, 1, (n, 1))).draw(4000, 0)
    residuals = model.diagnose(x, y).residuals
    assert y.shape == (4000, 2) and kstest(residuals.ravel(), "norm").pvalue > 1e-3


def test_a_singular_covariance_is_named():
    Y = FAITHFUL @ [[1.0, 2.0], [0.0, 0.0]]  # the second is twice the first
    model = quietly(fitted, "full", FAITHFUL[:, 1:], Y, 1)
    assert not model.converged_ and "variance at its floor (expert 0" in model.status_
    assert model.diagnose(FAITHFUL[:, 1:], Y).collapsed.tolist() == [True]
    assert np.all(np.isfinite(model.predict(FAITHFUL[:, 1:])))


@pytest.mark.parametrize(
    "settings, Y, message",
    [
        ({"covariance": "EVE"}, FAITHFUL, "covariance='EVE' is not known; choose"),
        ({"responses": "ab"}, FAITHFUL, "responses must be None or a list of names"),
        ({"responses": ["a"]}, FAITHFUL, r"y must have shape \(n_samples, 1\), one column for each of \['a'\]"),
        ({}, np.where(FAITHFUL > 90, np.nan, FAITHFUL), "y contains NaN"),
        ({}, np.zeros((272, 2, 2)), "y must have shape"),
    ],
)
def test_bad_input(settings, Y, message):
    with pytest.raises(ValueError, match=message):
        MoERegressor(2, expert=MultivariateGaussianExpert(**settings), **QUICK).fit(FAITHFUL, Y)


def test_bad_questions(data, model):
    X, Y = data
    with pytest.raises(ValueError, match=r"in the order of the fit, \['length', 'depth'\]"):
        model.score_samples(X, Y[["depth", "length"]])
    with pytest.raises(ValueError, match=r"'width' is no response: it must be one of \['length', 'depth'\]"):
        model.predict_given(X, {"width": 1.0})
    with pytest.raises(ValueError, match="predict_given needs several responses"):
        SoftmaxMoERegressor(1, n_init=1).fit(X, Y["length"]).predict_given(X, {0: 1.0})
    with pytest.raises(ValueError, match="one of return_std, return_cov"):
        model.predict(X, return_std=True, return_cov=True)
    with pytest.raises(ValueError, match="several at once are for expert='multivariate_gaussian'"):
        SoftmaxMoERegressor(1, n_init=1).fit(X, Y)
