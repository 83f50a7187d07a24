import json
import pickle

import numpy as np
import pytest
from scipy import stats

import naive
from helpers import PAIRS, Problem, quietly
from smoe import MoERegressor
from smoe.datasets import make_moe
from smoe.experts import GaussianExpert, GaussianExpertParams
from smoe.features import Rows, design
from smoe.gates import (
    ActivationDenseToSparseGate,
    DenseToSparseGate,
    LinearGateParams,
    SoftmaxGate,
    TemperatureGateParams,
    TopKGate,
)
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams
from smoe.simulation import Truth

T0 = MoEParams(
    LinearGateParams(np.array([[25.0], [0.0]]), np.array([-8.0, 0.0])),
    GaussianExpertParams(np.array([[-20.0], [20.0]]), np.array([15.0, -5.0]), np.array([0.09, 0.16])),
)


def with_features(d):
    return MoEParams(
        LinearGateParams(np.ones((2, d)), np.zeros(2)),
        GaussianExpertParams(np.ones((2, d)), np.zeros(2), np.ones(2)),
    )


def skewed(n, rng):
    return rng.exponential(size=(n, 2))


COVARIATES = {
    "uniform": ("uniform", [stats.uniform()] * 2),
    "normal": ("normal", [stats.norm()] * 2),
    "frozen univariate": (stats.beta(2, b=3), [stats.beta(2, 3)] * 2),
    "frozen discrete": (stats.poisson(50), [stats.norm(50, np.sqrt(50))] * 2),
    "frozen multivariate": (
        stats.multivariate_normal([1, 2], [[1, 0.9], [0.9, 4]]),
        [stats.norm(1, 1), stats.norm(2, 2)],
    ),
    "callable": (skewed, [stats.expon()] * 2),
}


@pytest.mark.parametrize("name", COVARIATES)
def test_covariates_follow_their_law(name, rng):
    covariates, laws = COVARIATES[name]
    X, y = Truth("softmax", with_features(2), covariates).draw(2000, rng)
    assert X.shape == (2000, 2) and y.shape == (2000,)
    for column, law in zip(X.T, laws, strict=True):
        column = column + rng.uniform(-0.5, 0.5, len(column)) * (name == "frozen discrete")
        assert stats.kstest(column, law.cdf).pvalue > 1e-4
    correlation = np.corrcoef(X.T)[0, 1]
    assert correlation == pytest.approx(0.45 if name == "frozen multivariate" else 0.0, abs=0.08)


def test_grid():
    X, _ = Truth("softmax", T0, "grid").draw(5, np.random.default_rng(0))
    np.testing.assert_array_equal(X[:, 0], [0, 0.25, 0.5, 0.75, 1])


@pytest.mark.parametrize("gate, expert", PAIRS)
def test_responses_follow_the_model(gate, expert):
    """Probability integral transforms by the model's own distribution function are uniform, in either half of x."""
    problem = Problem(gate, expert, spread=2.0)
    model = problem.model
    if model.expert.support.kind == "vectors":
        pytest.skip("responses are vectors, and have tests of their own")
    truth = Truth(model, problem.truth, lambda n, rng: rng.uniform(-1, 1, (n, 2)))
    X, y = truth.draw(4000, np.random.default_rng(3))
    Z = design(X.T)
    proba = np.exp([problem.twin.scores(x, problem.truth.gate) for x in X]).T
    proba = proba / proba.sum(axis=0)
    below, level = ((proba * model.expert.cdf(Rows(Z, r), problem.truth.expert)).sum(axis=0) for r in (y - 1.0, y))
    if model.expert.support.kind == "integers":  # drawn from the jump
        level = below + np.random.default_rng(4).uniform(size=len(y)) * (level - below)
    for half in (X[:, 0] < 0, X[:, 0] > 0):
        assert stats.kstest(level[half], "uniform").pvalue > 1e-4
    np.testing.assert_allclose(truth.loglik(X[:50], y[:50]), problem.twin.loglik(problem.truth, X[:50], y[:50]))


@pytest.mark.parametrize("gate, expert", PAIRS)
def test_any_pair_is_drawn_from_described_and_pickled(gate, expert):
    problem = Problem(gate, expert)
    truth = Truth((gate, problem.model.expert), problem.truth, "normal")
    copy = pickle.loads(pickle.dumps(truth))
    for one, other in zip(*(t.draw(100, np.random.default_rng(5)) for t in (truth, copy)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (truth.n_experts, truth.n_features) == (3, 2)
    assert json.loads(json.dumps(truth.describe())) == truth.describe() == copy.describe()


def test_draws_are_those_of_make_moe():
    """The generator is used in the same way, so that the same state gives the same data."""
    moe = make_moe(50, params=T0, random_state=0)
    rng = np.random.default_rng(np.random.RandomState(0).randint(2**31, size=4))
    X, y = Truth("softmax", T0, lambda n, rng: rng.uniform(-1, 1, (n, 1))).draw(50, rng)
    np.testing.assert_array_equal(X, moe.data)
    np.testing.assert_array_equal(y, moe.target)
    assert Truth("softmax", T0).loglik(X, y) == moe.loglik
    assert moe.loglik == pytest.approx(naive.SOFTMAX_GAUSSIAN.loglik(T0, X, y), rel=1e-10)


@pytest.mark.parametrize(
    "model, gate",
    [
        ("softmax", SoftmaxGate),
        (SoftmaxGate(), SoftmaxGate),
        (("top_k", "gaussian"), TopKGate),
        ((TopKGate(1), GaussianExpert()), TopKGate),
        (MixtureOfExperts(SoftmaxGate(), GaussianExpert()), SoftmaxGate),
    ],
)
def test_models(model, gate):
    truth = Truth(model, T0)
    assert type(truth.model.gate) is gate and type(truth.model.expert) is GaussianExpert


def test_params_are_copied():
    params = MoEParams(
        LinearGateParams([[25], [0]], [-8, 0]), GaussianExpertParams([[-20], [20]], [15, -5], [0.09, 0.16])
    )
    truth = Truth("softmax", params)
    X, y = truth.draw(20, np.random.default_rng(0))
    np.testing.assert_array_equal(y, Truth("softmax", T0).draw(20, np.random.default_rng(0))[1])
    array = np.array([0.1, 0.2])
    truth = Truth("softmax", T0._replace(expert=T0.expert._replace(variance=array)))
    array[:] = 9.0
    np.testing.assert_array_equal(truth.params.expert.variance, [0.1, 0.2])


def test_descriptions_tell_truths_apart():
    moved = T0._replace(expert=T0.expert._replace(variance=np.array([0.09, 0.17])))
    two = with_features(2)
    truths = [
        Truth("softmax", T0),
        Truth("softmax", moved),
        Truth(TopKGate(1), T0),
        Truth(TopKGate(2), T0),
        Truth("softmax", T0, "normal"),
        Truth("softmax", T0, "grid"),
        Truth("softmax", T0, stats.beta(2, 3)),
        Truth("softmax", T0, stats.beta(2, 4)),
        Truth("softmax", T0, lambda n, rng: rng.normal(size=(n, 1))),
        Truth("softmax", T0, lambda n, rng: rng.normal(2, size=(n, 1))),
        Truth("softmax", two, stats.multivariate_normal([0, 0], np.eye(2))),
        Truth("softmax", two, stats.multivariate_normal([0, 1], np.eye(2))),
        Truth("softmax", two, stats.multivariate_normal([0, 0], 2 * np.eye(2))),
        Truth("softmax", two, stats.multivariate_t([0, 0], np.eye(2), df=3)),
        Truth("softmax", two, stats.multivariate_t([0, 0], np.eye(2), df=4)),
    ]
    for low in (0.0, 0.1):  # two laws of one name
        truths.append(Truth("softmax", T0, stats.rv_histogram(([1.0, 2.0], [low, low + 1, low + 2]))()))
    texts = [json.dumps(truth.describe(), sort_keys=True) for truth in truths]
    assert len(set(texts)) == len(texts)
    assert json.dumps(Truth(SoftmaxGate(), T0, stats.beta(2, 3)).describe(), sort_keys=True) == texts[6]


def test_from_estimator():
    moe = make_moe(300, n_features=3, random_state=0)
    settings = {"gate_features": [2, 0], "expert_features": [1], "random_state": 0, "n_init": 10}
    fitted = quietly(MoERegressor(2, gate="dense_to_sparse", **settings).fit, moe.data, moe.target)
    truth = Truth.from_estimator(fitted, skewed_three)
    assert truth.n_features == 3 and type(truth.model.gate) is DenseToSparseGate
    np.testing.assert_array_equal(truth.params.gate.coef[:, [2, 0]], fitted.gate_coef_)
    assert truth.loglik(moe.data, moe.target) == pytest.approx(fitted.loglik_, rel=1e-9)
    assert truth.draw(10, np.random.default_rng(0))[0].shape == (10, 3)
    with pytest.raises(ValueError, match="not fitted"):
        Truth.from_estimator(MoERegressor())


def skewed_three(n, rng):
    return rng.exponential(size=(n, 3))


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (("hard", T0), ValueError, "model='hard' is not known"),
        ((("softmax", "cauchy"), T0), ValueError, "expert='cauchy' is not known"),
        ((("softmax",), T0), ValueError, r"model as a pair must be \(gate, expert\)"),
        ((TopKGate(3), T0), ValueError, "top_k=3 is larger than n_experts=2"),
        (("softmax", T0.gate), TypeError, "params must be MoEParams"),
        (("softmax", MoEParams(T0.gate, (1, 2, 3))), TypeError, "params.expert must be a named tuple"),
        (("dense_to_sparse", T0), TypeError, "params.gate must be TemperatureGateParams for this model"),
        (("softmax", T0._replace(gate=LinearGateParams(np.ones((2, 2)), np.ones(2)))), ValueError,
         r"params.gate.coef must have shape \(2, 1\), got \(2, 2\)"),
        (("softmax", T0._replace(expert=T0.expert._replace(variance=[0.1, 0.0]))), ValueError,
         "params.expert.variance must be positive"),
        (("softmax", T0._replace(expert=T0.expert._replace(coef=[1.0, 2.0]))), ValueError,
         "params.expert.coef must have shape"),
        (("softmax", T0._replace(gate=T0.gate._replace(intercept=[np.inf, 0]))), ValueError, "must be finite"),
        (("softmax", T0, "cauchy"), ValueError, 'covariates=\'cauchy\' is not known; choose "uniform"'),
        (("softmax", T0, 3), TypeError, "covariates must be"),
        (("softmax", T0, stats.beta), TypeError, "freeze a distribution by calling it"),
        (("softmax", with_features(2), "grid"), ValueError, "is for one feature, the truth has 2"),
    ],
)  # fmt: skip
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        Truth(*arguments)


def test_bad_temperature():
    params = T0._replace(gate=TemperatureGateParams(*T0.gate, -1.0))
    for gate in (DenseToSparseGate(), ActivationDenseToSparseGate()):
        with pytest.raises(ValueError, match="params.gate.temperature must be positive"):
            Truth(gate, params)


def test_bad_draws(rng):
    truth = Truth("softmax", T0)
    with pytest.raises(TypeError, match="rng must be an int, a numpy Generator"):
        truth.draw(10, "0")
    with pytest.raises(ValueError, match="n must be an integer of at least 1"):
        truth.draw(0, rng)
    with pytest.raises(ValueError, match=r"covariates must give an array of shape \(4, 1\), got \(4, 2\)"):
        Truth("softmax", T0, skewed).draw(4, rng)
    with pytest.raises(ValueError, match=r"X must have shape \(n, 1\)"):
        truth.loglik(np.zeros((3, 2)), np.zeros(3))
    with pytest.raises(ValueError, match=r"y must have shape \(3,\)"):
        truth.loglik(np.zeros((3, 1)), np.zeros(4))
