"""Gates with a temperature: identities, the ray, activations, annealing, bad input."""

import numpy as np
import pytest

import naive
from helpers import assert_close, quietly, sampled
from smoe import DenseToSparseMoERegressor, MoERegressor, SoftmaxMoERegressor
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
from smoe.rows import ArraySource, Blocks, Scaling
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


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if ACTIVATIONS[name].compiled])
def test_compiled_activations_equal_their_formulas(name):
    activation = ACTIVATIONS[name]
    u = np.concatenate([np.linspace(-45, 45, 100_001), np.logspace(-12, 2.9, 500), [0.0, -800.0, 800.0, -37.6]])
    formulas = activation.function, activation.derivative, activation.second
    for order, (found, formula) in enumerate(zip(activation.jet(u, 2), formulas, strict=True)):
        with np.errstate(under="ignore"):
            wanted = formula(u)
        np.testing.assert_allclose(found, wanted, rtol=1e-15 * (1 + 2 * order), atol=1e-15)
    tail = np.linspace(-30, -2, 1000)  # small values have their digits too, where activations go to zero
    if name in ("sigmoid", "gelu", "silu"):
        np.testing.assert_allclose(activation.jet(tail, 0)[0], activation.function(tail), rtol=1e-12)
    assert np.isnan(activation.jet(np.array([np.nan]), 0)[0][0])


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("choice", [*ACTIVATIONS, (np.arctan, lambda u: 1 / (1 + u**2))], ids=[*ACTIVATIONS, "arctan"])
def test_sums_over_rows_are_those_of_the_rows_derivatives(choice, observed, rng):
    """Pullback, row by row and summed, and information, of many rows with weights."""
    gate, params, m = ActivationDenseToSparseGate(choice), gate_params(rng, 3, 2), 1030
    Z, weight, R = design(rng.normal(size=(2, m))), rng.uniform(0.5, 2.0, m), rng.normal(size=(3, m))
    p, resp = rng.dirichlet(np.ones(3), m).T, rng.dirichlet(np.ones(3), m).T
    J = naive.gradient(lambda q: gate.scores(Z, q), params, step=1e-4)
    found = gate.row_pullback(Z, params, R)
    np.testing.assert_allclose(found, (J * R).sum(axis=1), rtol=0, atol=1e-7 * np.abs(J).max())
    np.testing.assert_allclose(flatten(gate.pullback(Z, params, R)), found.sum(axis=1), rtol=1e-10, atol=1e-10)
    wanted = np.zeros((len(J), len(J)))
    for q, sign in ((p, 1.0), (resp, -1.0))[: 1 + observed]:
        mean = (J * q).sum(axis=1)
        wanted += sign * (np.einsum("akm,bkm,km->ab", J, J, q * weight) - (mean * weight) @ mean.T)
    if observed:
        pull = weight * (resp - p)
        wanted -= naive.gradient(lambda q: flatten(gate.pullback(Z, q, pull)), params, step=1e-4)
    information = gate.information(Z, params, p, weight, *[resp] * observed)
    np.testing.assert_allclose(information, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


@names
def test_extreme_slopes_make_no_nan(name):
    """Scores of +-800 before the temperature divides them."""
    gate = ActivationDenseToSparseGate(name)
    params = TemperatureGateParams(np.array([[800.0], [-800.0]]), np.zeros(2), np.array(0.5))
    Z, half = design(np.array([[1.0, -1.0]])), np.full((2, 2), 0.5)
    np.testing.assert_allclose(
        gate.scores(Z, params), 2 * ACTIVATIONS[name].function(np.array([[800.0, -800.0], [-800.0, 800.0]]))
    )
    assert np.isfinite(flatten(gate.pullback(Z, params, half))).all()
    assert np.isfinite(gate.information(Z, params, half, np.ones(2), half)).all()


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
        with pytest.raises(ValueError, match="start: gate.temperature must be positive"):
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
    blocks = Blocks(model, ArraySource(moe.data, moe.target), Scaling.identity(columns, columns))
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
    model = quietly(DenseToSparseMoERegressor(3, n_init=6, random_state=0).fit, moe.data, moe.target)
    soft = quietly(SoftmaxMoERegressor(3, n_init=6, random_state=0).fit, moe.data, moe.target)
    np.testing.assert_allclose(model.loglik_, soft.loglik_, rtol=1e-10)
    assert model.temperature_ == 1.0 and "temperature is not estimable" in model.status_
    np.testing.assert_allclose(model.gate_effective_coef_, soft.gate_coef_, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.gate_effective_intercept_, soft.gate_intercept_, rtol=1e-4, atol=1e-6)
    assert model.n_parameters_ == soft.n_parameters_


@pytest.mark.parametrize("temperature", [0.25, 3.0])
def test_a_fixed_temperature_rescales_the_coefficients(temperature, moe):
    model = quietly(
        DenseToSparseMoERegressor(3, temperature=temperature, n_init=6, random_state=0).fit, moe.data, moe.target
    )
    soft = quietly(SoftmaxMoERegressor(3, n_init=6, random_state=0).fit, moe.data, moe.target)
    np.testing.assert_allclose(model.loglik_, soft.loglik_, rtol=1e-10)
    np.testing.assert_allclose(model.gate_coef_ / temperature, model.gate_effective_coef_)
    np.testing.assert_allclose(model.gate_effective_coef_, soft.gate_coef_, rtol=1e-4, atol=1e-6)
    assert model.temperature_ == temperature and "estimable" not in model.status_


@pytest.mark.parametrize("name, seed", sampled([("sigmoid", 2), ("tanh", 0), ("gelu", 2)]))
def test_the_truth_is_reached(name, seed):
    gate = ActivationDenseToSparseGate(name)
    data = make_moe(1500, 1, 2, gate=gate, random_state=seed)
    model = quietly(DenseToSparseMoERegressor(2, activation=name, random_state=0, n_init=5).fit, data.data, data.target)
    assert model.loglik_ >= data.loglik
    np.testing.assert_allclose(model.loglik(data.data, data.target), model.loglik_, rtol=1e-10)
    assert model.n_parameters_ == 2 + 1 + 1 + 2 * 3


def test_units_of_the_columns_do_not_matter(moe):
    model = DenseToSparseMoERegressor(3, activation="tanh", temperature=0.4, n_init=6, random_state=0)
    one = quietly(model.fit, moe.data, moe.target)
    first, coef = one.loglik_, one.gate_coef_
    scale = np.array([100.0, 0.01])
    other = quietly(model.fit, moe.data * scale, moe.target * 10)
    np.testing.assert_allclose(other.loglik_, first - len(moe.target) * np.log(10), rtol=1e-8)
    np.testing.assert_allclose(other.gate_coef_ * scale, coef, rtol=1e-3, atol=1e-4)


def test_annealing_ends_at_the_target():
    X, y = load_faithful(return_X_y=True)
    for anneal in ((8.0, 4), Annealing(8.0, 4)):
        model = DenseToSparseMoERegressor(2, temperature=0.5, anneal=anneal, n_init=6, random_state=0).fit(X, y)
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
    model = DenseToSparseMoERegressor(2, n_init=6, random_state=0, **settings)
    lines = str(quietly(model.fit, *load_faithful(return_X_y=True)).summary()).splitlines()
    assert [line.split()[1] for line in lines if line.startswith("  temperature")] == [f"{model.temperature_:.5g}"]
    slopes = [float(line.split()[1]) for line in lines if line.startswith("  x0")]
    both = zip(model.gate_coef_, model.expert_coef_, strict=True)
    wanted = [slope for g, e in both for slope in (g[0], e[0]) if slope != 0.0]  # a pinned row of zeros is one line
    np.testing.assert_allclose(slopes, wanted, rtol=1e-4)
    assert len(slopes) == 4 - any("reference" in line for line in lines)


def test_standard_errors_of_a_learned_temperature():
    truth = MoEParams(
        TemperatureGateParams(np.array([[6.0], [-3.0]]), np.array([0.3, 0.0]), np.array(0.4)),
        make_moe(10, 1, 2, random_state=0).params.expert,
    )
    gate = ActivationDenseToSparseGate("tanh")
    data = make_moe(3000, params=truth, gate=gate, random_state=0)
    model = DenseToSparseMoERegressor(2, activation="tanh", n_init=6, random_state=0).fit(data.data, data.target)
    assert model.converged_
    core, columns = MixtureOfExperts(gate, GaussianExpert()), np.arange(1)
    blocks = Blocks(core, ArraySource(data.data, data.target), Scaling.identity(columns, columns))
    information = blocks.sum(core.curvature, model.params_).information
    free = core.chart(model.params_).free
    wanted = np.sqrt(np.diag(np.linalg.inv(information[np.ix_(free, free)])))
    np.testing.assert_allclose(flatten(model.standard_errors_)[free], wanted, rtol=1e-5)
    assert abs(model.temperature_ - 0.4) < 4 * model.standard_errors_.gate.temperature
    error = model.standard_errors_.gate.temperature
    row = model.summary().to_frame().loc["gate: temperature"]
    np.testing.assert_array_equal(row[["estimate", "std_err"]], [model.temperature_, error])
