"""Gates with a temperature: identities, the ray, activations, annealing, bad input."""

import numpy as np
import pytest

import naive
from helpers import assert_close, quietly
from smoe import DenseToSparseMoERegressor, MoERegressor, SoftmaxMoERegressor
from smoe.blocks import Blocks
from smoe.datasets import load_faithful, make_moe
from smoe.experts import GaussianExpert
from smoe.features import design
from smoe.gates import (
    ACTIVATIONS,
    ActivationDenseToSparseGate,
    DenseToSparseGate,
    LinearGateParams,
    SoftmaxGate,
    TemperatureGateParams,
    TopKGate,
)
from smoe.gates.activations import resolve_activation
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, flatten
from smoe.scaling import Scaling
from smoe.solvers import EM, Annealing
from smoe.starts import FromParams

names = pytest.mark.parametrize("name", ACTIVATIONS)


@pytest.fixture(scope="module")
def moe():
    return make_moe(600, 2, 3, gate=ActivationDenseToSparseGate("tanh", 0.4), random_state=1)


def gate_params(rng, k=3, d=2, tau=0.6):
    return TemperatureGateParams(rng.normal(0, 2, (k, d)), rng.normal(size=k), np.array(tau))


def proba(gate, X, params):
    scores = gate.scores(design(X), params)
    return np.array([naive.softmax(row) for row in scores.T.tolist()])


# Activations ----------------------------------------------------------------------------------------------------------


@names
def test_derivatives_of_activations(name):
    function, derivative, second = ACTIVATIONS[name][:3]
    u, h = np.array([-30.0, -3.3, -1.1, -0.2, 0.3, 0.9, 2.5, 30.0]), 1e-5
    np.testing.assert_allclose(derivative(u), (function(u + h) - function(u - h)) / (2 * h), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(second(u), (derivative(u + h) - derivative(u - h)) / (2 * h), rtol=1e-6, atol=1e-9)


@names
def test_marks_of_activations(name):
    activation, u = ACTIVATIONS[name], np.array([-2.3, -0.4, 0.7, 1.9])
    value = activation.function(u)
    assert activation.homogeneous == np.allclose(activation.function(3 * u), 3 * value)
    assert activation.linear == np.allclose(value, u)
    odd = np.allclose(value + activation.function(-u), 2 * activation.function(np.zeros(1)))
    assert activation.odd == (odd and not activation.linear)


def test_activations_have_their_values():
    u = np.array([-1.0, 0.0, 2.0])
    wanted = {
        "sigmoid": 1 / (1 + np.exp(-u)),
        "tanh": np.sinh(u) / np.cosh(u),
        "gelu": [-0.15865525393145707, 0.0, 1.9544997361036416],
        "silu": u / (1 + np.exp(-u)),
        "softplus": np.log(1 + np.exp(u)),
        "relu": [0.0, 0.0, 2.0],
        "identity": u,
    }
    assert wanted.keys() == ACTIVATIONS.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(ACTIVATIONS[name].function(u), values, rtol=1e-12, atol=1e-15)


def test_a_pair_of_callables_is_an_activation():
    mine = resolve_activation((np.arctan, lambda u: 1 / (1 + u**2)))
    u = np.array([-1.5, 0.2, 3.0])
    np.testing.assert_allclose(mine.second(u), -2 * u / (1 + u**2) ** 2, rtol=1e-6)
    assert mine.odd and not mine.homogeneous and not mine.linear
    assert resolve_activation((lambda u: 0.5 * np.abs(u), lambda u: 0.5 * np.sign(u))).homogeneous


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"activation": "swish"}, "activation='swish' is not known; choose one of 'sigmoid', 'tanh', 'gelu'"),
        ({"activation": (np.tanh, np.cos)}, "derivative disagrees with finite differences"),
        ({"activation": (np.tanh,)}, "a name or a pair of callables"),
        ({"activation": 3}, "a name or a pair of callables"),
        ({"temperature": 0}, "temperature must be a number of at least"),
        ({"temperature": -1.0}, "temperature must be a number of at least"),
        ({"temperature": np.nan}, "temperature must be a number of at least"),
        ({"temperature": "warm"}, "temperature must be a positive number or 'learn'"),
        ({"temperature": None}, "temperature must be a number"),
        ({"anneal": (0.1, 5)}, r"tau_start=0.1 is below the target temperature 1.0"),
        ({"anneal": (0.1, 5), "temperature": 0.5}, r"tau_start=0.1 is below the target temperature 0.5"),
        ({"anneal": (4.0, 0)}, "n_stages must be an integer of at least 1"),
        ({"anneal": 4.0}, "anneal must be None"),
    ],
)
def test_settings_that_make_no_sense(settings, words, moe):
    with pytest.raises((ValueError, TypeError), match=words):
        DenseToSparseMoERegressor(3, **settings).fit(moe.data, moe.target)


# Identities -----------------------------------------------------------------------------------------------------------


def test_a_start_without_temperature_is_refused(moe):
    start = make_moe(10, 2, 3, random_state=0).params
    for tau in (0.0, -1.0):
        frozen = start._replace(gate=TemperatureGateParams(*start.gate, np.array(tau)))
        with pytest.raises(ValueError, match="start: temperature must be larger than 0"):
            MoERegressor(3, gate=DenseToSparseGate(1.0), start=FromParams(frozen)).fit(moe.data, moe.target)


def test_temperature_one_is_the_softmax_gate(rng, moe):
    X, params = rng.normal(size=(2, 40)), gate_params(rng, tau=1.0)
    linear = LinearGateParams(params.coef, params.intercept)
    np.testing.assert_allclose(
        proba(DenseToSparseGate(1.0), X, params), proba(SoftmaxGate(), X, linear), rtol=1e-13, atol=1e-300
    )
    start = make_moe(10, 2, 3, random_state=0).params
    cool = start._replace(gate=TemperatureGateParams(*start.gate, np.array(1.0)))
    one = quietly(MoERegressor(3, gate=DenseToSparseGate(1.0), start=FromParams(cool)).fit, moe.data, moe.target)
    other = quietly(SoftmaxMoERegressor(3, start=FromParams(start)).fit, moe.data, moe.target)
    np.testing.assert_allclose(one.loglik_, other.loglik_, rtol=1e-12)
    np.testing.assert_allclose(one.gate_coef_, other.gate_coef_, rtol=1e-6)


@pytest.mark.parametrize("temperature", [0.3, "learn"])
def test_identity_is_no_activation(temperature, rng):
    X, params = rng.normal(size=(2, 40)), gate_params(rng)
    plain, identity = DenseToSparseGate(temperature), ActivationDenseToSparseGate("identity", temperature)
    np.testing.assert_allclose(proba(identity, X, params), proba(plain, X, params), rtol=1e-13, atol=1e-300)
    assert_close(identity.free(params), plain.free(params))
    assert_close(identity.canonical(params), plain.canonical(params))


def loglik(gate, moe, params):
    model = MixtureOfExperts(gate, GaussianExpert())
    columns = np.arange(2)
    blocks = Blocks(model, moe.data, moe.target, None, Scaling.identity(columns, columns))
    return blocks.sum(model.loglik, MoEParams(params, moe.params.expert))


@pytest.mark.parametrize("gate", [DenseToSparseGate(), ActivationDenseToSparseGate("relu")], ids=["none", "relu"])
def test_the_ray_leaves_the_density_alone(gate, rng, moe):
    params = gate_params(rng)
    before = loglik(gate, moe, params)
    for c in (0.01, 0.7, 30.0):
        moved = TemperatureGateParams(*(c * field for field in params))
        np.testing.assert_allclose(loglik(gate, moe, moved), before, rtol=1e-11)
        assert_close(gate.canonical(moved), gate.canonical(params), rtol=1e-11)
    assert gate.canonical(params).temperature == 1.0 and not gate.free(params).temperature


@names
@pytest.mark.parametrize("temperature", ["learn", 0.6])
@pytest.mark.parametrize("k", [2, 3])
def test_canonical_keeps_the_loglik_and_is_idempotent(name, temperature, k, rng):
    gate, data = ActivationDenseToSparseGate(name, temperature), make_moe(100, 2, k, random_state=0)
    for _ in range(4):
        params = gate_params(rng, k)
        once = gate.canonical(params)
        np.testing.assert_allclose(loglik(gate, data, once), loglik(gate, data, params), rtol=1e-11)
        assert_close(gate.canonical(once), once, rtol=1e-12)
        if k == 2 and ACTIVATIONS[name].odd:
            mirrored = params._replace(coef=-params.coef[::-1])
            np.testing.assert_allclose(loglik(gate, data, mirrored), loglik(gate, data, params), rtol=1e-11)
            assert_close(gate.canonical(mirrored), once, rtol=1e-12)


def test_a_cold_gate_picks_one_expert(rng):
    X, params = rng.normal(size=(2, 200)), gate_params(rng)
    cold = proba(DenseToSparseGate(), X, params._replace(temperature=np.array(1e-6)))
    hard = proba(TopKGate(1), X, LinearGateParams(params.coef, params.intercept))
    np.testing.assert_allclose(cold, hard, atol=1e-12)


# Fits -----------------------------------------------------------------------------------------------------------------


def test_a_learned_temperature_without_activation_is_the_softmax_fit(moe):
    model = quietly(DenseToSparseMoERegressor(3, random_state=0).fit, moe.data, moe.target)
    soft = quietly(SoftmaxMoERegressor(3, random_state=0).fit, moe.data, moe.target)
    np.testing.assert_allclose(model.loglik_, soft.loglik_, rtol=1e-10)
    assert model.temperature_ == 1.0 and "temperature is not estimable" in model.status_
    np.testing.assert_allclose(model.gate_effective_coef_, soft.gate_coef_, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.gate_effective_intercept_, soft.gate_intercept_, rtol=1e-4, atol=1e-6)
    assert model.n_parameters_ == soft.n_parameters_


@pytest.mark.parametrize("temperature", [0.25, 3.0])
def test_a_fixed_temperature_rescales_the_coefficients(temperature, moe):
    model = quietly(DenseToSparseMoERegressor(3, temperature=temperature, random_state=0).fit, moe.data, moe.target)
    soft = quietly(SoftmaxMoERegressor(3, random_state=0).fit, moe.data, moe.target)
    np.testing.assert_allclose(model.loglik_, soft.loglik_, rtol=1e-10)
    np.testing.assert_allclose(model.gate_coef_ / temperature, model.gate_effective_coef_)
    np.testing.assert_allclose(model.gate_effective_coef_, soft.gate_coef_, rtol=1e-4, atol=1e-6)
    assert model.temperature_ == temperature and "estimable" not in model.status_


@pytest.mark.parametrize("name, seed", [("sigmoid", 2), ("tanh", 0), ("gelu", 2)])
def test_the_truth_is_reached(name, seed):
    gate = ActivationDenseToSparseGate(name)
    data = make_moe(1500, 1, 2, gate=gate, random_state=seed)
    model = quietly(
        DenseToSparseMoERegressor(2, activation=name, random_state=0, n_init=10).fit, data.data, data.target
    )
    assert model.loglik_ >= data.loglik
    np.testing.assert_allclose(model.loglik(data.data, data.target), model.loglik_, rtol=1e-10)
    assert model.n_parameters_ == 2 + 1 + 1 + 2 * 3


def test_units_of_the_columns_do_not_matter(moe):
    model = DenseToSparseMoERegressor(3, activation="tanh", temperature=0.4, random_state=0)
    one = quietly(model.fit, moe.data, moe.target)
    first, coef = one.loglik_, one.gate_coef_
    scale = np.array([100.0, 0.01])
    other = quietly(model.fit, moe.data * scale, moe.target * 10)
    np.testing.assert_allclose(other.loglik_, first - len(moe.target) * np.log(10), rtol=1e-8)
    np.testing.assert_allclose(other.gate_coef_ * scale, coef, rtol=1e-3, atol=1e-4)


def test_annealing_ends_at_the_target():
    X, y = load_faithful(return_X_y=True)
    for anneal in ((8.0, 4), Annealing(8.0, 4)):
        model = DenseToSparseMoERegressor(2, temperature=0.5, anneal=anneal, random_state=0).fit(X, y)
        assert model.temperature_ == 0.5 and model.converged_
        np.testing.assert_allclose(model.loglik_, -96.0515814538, rtol=0, atol=1e-6)
        assert np.all(np.diff(model.trace_) >= -1e-9)


def test_annealing_visits_its_temperatures(moe, monkeypatch):
    visited = []
    climb = EM.climb

    def spy(em, model, *rest):
        visited.append(model.gate.temperature)
        return climb(em, model, *rest)

    monkeypatch.setattr(EM, "climb", spy)
    model = DenseToSparseMoERegressor(3, temperature=0.5, anneal=(8.0, 4), n_init=1, random_state=0)
    quietly(model.fit, moe.data, moe.target)
    np.testing.assert_allclose(visited[:5], [8.0, 4.0, 2.0, 1.0, 0.5])


@pytest.mark.parametrize("settings", [{"temperature": 0.5}, {}, {"activation": "tanh", "temperature": 0.5}])
def test_summary_has_the_temperature_and_every_coefficient(settings):
    model = DenseToSparseMoERegressor(2, random_state=0, **settings)
    lines = quietly(model.fit, *load_faithful(return_X_y=True)).summary().splitlines()
    assert [line.split()[1] for line in lines if line.startswith("temperature")] == [f"{model.temperature_:.5g}"]
    slopes = [float(line.split()[1]) for line in lines if line.startswith("  x0")]
    both = zip(model.gate_coef_, model.expert_coef_, strict=True)
    np.testing.assert_allclose(slopes, np.ravel([(g[0], e[0]) for g, e in both]), rtol=1e-4)


def test_standard_errors_of_a_learned_temperature():
    truth = MoEParams(
        TemperatureGateParams(np.array([[6.0], [-3.0]]), np.array([0.3, 0.0]), np.array(0.4)),
        make_moe(10, 1, 2, random_state=0).params.expert,
    )
    gate = ActivationDenseToSparseGate("tanh")
    data = make_moe(3000, params=truth, gate=gate, random_state=0)
    model = DenseToSparseMoERegressor(2, activation="tanh", random_state=0).fit(data.data, data.target)
    assert model.converged_
    core, columns = MixtureOfExperts(gate, GaussianExpert()), np.arange(1)
    blocks = Blocks(core, data.data, data.target, None, Scaling.identity(columns, columns))
    information = blocks.sum(core.curvature, model.params_).information
    free = core.chart(model.params_).free
    wanted = np.sqrt(np.diag(np.linalg.inv(information[np.ix_(free, free)])))
    np.testing.assert_allclose(flatten(model.standard_errors_)[free], wanted, rtol=1e-5)
    assert abs(model.temperature_ - 0.4) < 4 * model.standard_errors_.gate.temperature
    error = model.standard_errors_.gate.temperature
    assert f"{model.temperature_:.5g} (std. err. {error:.4g})" in model.summary()
