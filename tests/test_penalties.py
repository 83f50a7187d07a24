"""What fits take off the log-likelihood: derivatives, maxima, and what they are for."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import naive
from helpers import Problem, assert_derivative, quietly
from smoe import MoEClassifier, MoERegressor, SoftmaxMoERegressor, TopKMoERegressor
from smoe.datasets import load_engel, make_moe
from smoe.experts import GaussianExpert
from smoe.gates import LaplaceGate, TopKGate
from smoe.mixture import MixtureOfExperts
from smoe.params import flatten, unflatten
from smoe.penalties import PENALTIES, Penalty, Pull, Ridge, UnevenUse, VariancePrior
from smoe.solvers import EM, LBFGS, SOLVERS, Newton

ALL = [Ridge(0.3, 0.2), VariancePrior(), VariancePrior(3.0), Pull(), Pull(40.0), UnevenUse(0.7)]
every = pytest.mark.parametrize("penalty", ALL, ids=repr)


def penalised(penalty, gate="softmax", expert="gaussian", **changes):
    problem = Problem(gate, expert, weighted=True, **{"k": 3, "d": 2, **changes})
    problem.model = problem.model._replace(penalties=(penalty,))
    return problem


def value(problem, params, blocks=None):
    blocks = problem.blocks if blocks is None else blocks
    return problem.model.objective(params, blocks.sum(problem.model.statistics, params), blocks.total_weight)


@every
@pytest.mark.parametrize("gate", ["softmax", "dense_to_sparse"])
def test_derivatives(penalty, gate):
    if isinstance(penalty, UnevenUse) and gate != "softmax":
        pytest.skip("its curvature is that of linear scores")
    problem = penalised(penalty, gate)
    model, blocks, params = problem.model, problem.blocks, problem.near_truth()
    n = blocks.total_weight
    curvature = blocks.sum(model.curvature, params)
    wanted = naive.gradient(lambda p: value(problem, p, blocks), params)
    assert_derivative(flatten(model.score(params, curvature, n)), wanted, 1e-6)
    statistics = blocks.sum(model.statistics, params)
    assert_derivative(flatten(model.score(params, statistics, n)), wanted, 1e-6)
    assert model.objective(params, statistics, n) == pytest.approx(value(problem, params), rel=1e-12)
    assert_derivative(
        -model.information(params, curvature, n), naive.hessian(lambda p: value(problem, p, blocks), params), 1e-5
    )


def test_the_pull_of_classes():
    """Derivatives, and the display row by row."""
    shares = np.array([0.2, 0.5, 0.3])
    problem = penalised(Pull(2.0, shares), expert="multinomial")
    model, blocks, params = problem.model, problem.blocks, problem.near_truth()
    n, curvature = blocks.total_weight, blocks.sum(model.curvature, params)
    wanted = naive.gradient(lambda p: value(problem, p, blocks), params)
    assert_derivative(flatten(model.score(params, curvature, n)), wanted, 1e-6)
    hessian = naive.hessian(lambda p: value(problem, p, blocks), params)
    assert_derivative(-model.information(params, curvature, n), hessian, 1e-5)
    proba = np.array([naive.softmax(naive.linear_scores(x, params.gate)) for x in problem.X])
    eta = np.einsum("kqd,nd->nkq", params.expert.coef, problem.X) + params.expert.intercept
    log_class = log_softmax(np.concatenate([eta, np.zeros((len(eta), 3, 1))], axis=2), axis=2)
    mean = np.log(proba).mean(axis=1) + (log_class @ shares).mean(axis=1)
    number = -2.0 * 3 / n * problem.weight @ mean
    assert curvature.loglik - model.objective(params, curvature, n) == pytest.approx(number, rel=1e-9)
    assert "pull of gate and experts" in model.remark
    with pytest.raises(ValueError, match="Pull: classes must be shares"):
        Pull(1.0, [0.5, 0.6]).check(model.gate)
    Pull(1.0, [0.5, 0.5]).check(TopKGate(1))


def test_formulas():
    """Each penalty by its display, row by row."""
    problem = Problem("softmax", "gaussian", weighted=True)
    model, blocks, params = problem.model, problem.blocks, problem.near_truth()
    n, (gate, expert) = problem.weight.sum(), params
    proba = np.array([naive.softmax(naive.linear_scores(x, gate)) for x in problem.X])
    importance = problem.weight @ proba
    wanted = {
        Ridge(0.3, 0.2): n / 2 * (0.3 * len(gate.coef) * gate.coef.var(axis=0).sum() + 0.2 * (expert.coef**2).sum()),
        VariancePrior(): n**-0.5 * (1 / expert.variance + np.log(expert.variance)).sum(),
        Pull(2.0): -2.0 * 3 / n * problem.weight @ np.log(proba).mean(axis=1),
        UnevenUse(0.7): 0.7 * n * importance.var() / importance.mean() ** 2,
    }
    for penalty, number in wanted.items():
        with_it = model._replace(penalties=(penalty,))
        found = blocks.sum(with_it.statistics, params)
        assert found.loglik - with_it.objective(params, found, n) == pytest.approx(number, rel=1e-9)


@every
@pytest.mark.parametrize(
    "solver", [EM(5000, 1e-12), Newton(), LBFGS(), "em_newton"], ids=lambda s: str(s).split("(")[0]
)
def test_every_solver_finds_the_maximum_of_the_objective(penalty, solver):
    problem = penalised(penalty, k=2, d=1, n=200, seed=1)
    model, blocks, start = problem.model, problem.blocks, problem.near_truth(0.1)
    solver = SOLVERS[solver]() if isinstance(solver, str) else solver
    fit = solver.solve(model, blocks, start)
    chart = model.chart(start)
    peak = minimize(
        lambda theta: -value(problem, chart.unpack(theta)),
        chart.pack(fit.params),
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-11},
    )
    assert fit.converged and fit.objective >= -peak.fun - 1e-6
    assert fit.objective == pytest.approx(value(problem, fit.params), rel=1e-12)
    assert fit.loglik == pytest.approx(problem.loglik(fit.params), rel=1e-10)


@every
def test_em_never_falls(penalty):
    problem = penalised(penalty, n=150)
    params, values = problem.near_truth(0.8), []
    for _ in range(12):
        values.append(value(problem, params))
        params = EM(1, 0.0).climb(problem.model, problem.blocks, params)[0]
    assert np.all(np.diff(values) > -1e-9 * abs(values[0])) and values[-1] > values[0]


def test_the_prior_of_one_variance_has_a_closed_form():
    X, y = load_engel(return_X_y=True)
    model = SoftmaxMoERegressor(1, penalty=VariancePrior(5.0)).fit(X, y)
    plain = SoftmaxMoERegressor(1).fit(X, y)
    np.testing.assert_allclose(model.expert_coef_, plain.expert_coef_)
    wanted = (plain.expert_variance_ * 235 + 10 * y.var()) / (235 + 10)
    np.testing.assert_allclose(model.expert_variance_, wanted, rtol=1e-7)


def test_ridge_of_one_expert_is_ridge_regression():
    X, y = load_engel(return_X_y=True)
    model = SoftmaxMoERegressor(1, penalty=Ridge(expert=0.1)).fit(X, y)
    z, t = (X[:, 0] - X.mean()) / X.std(), (y - y.mean()) / y.std()
    v = model.expert_variance_[0] / y.var()
    slope = (z @ t) / (235 + 0.1 * 235 * v)
    np.testing.assert_allclose(model.expert_coef_[0, 0], slope * y.std() / X.std(), rtol=1e-7)


def test_ridge_of_classes_is_multinomial_ridge_regression():
    X, y = load_wine(return_X_y=True)
    model = MoEClassifier(1, pull=0.0, penalty=Ridge(expert=1 / len(y))).fit(X, y)
    other = LogisticRegression(C=1.0, tol=1e-10, max_iter=5000).fit(StandardScaler().fit_transform(X), y)
    np.testing.assert_allclose(model.expert_coef_[0] * X.std(axis=0), other.coef_[:2] - other.coef_[2], atol=1e-5)


def test_ridge_does_not_depend_on_which_expert_is_last():
    """The best value known, of which the slopes of both experts' scores add up to zero."""
    X, y = load_diabetes(return_X_y=True)
    y = y / 100
    penalty = Ridge(gate=0.02, expert=0.02 * y.var())
    model = SoftmaxMoERegressor(2, penalty=penalty, n_init=10, random_state=0).fit(X, y)
    assert model.loglik_ == pytest.approx(-296.94995865, abs=1e-5)
    slopes = (model.gate_coef_ - model.gate_coef_.mean(axis=0)) * X.std(axis=0)
    experts = model.expert_coef_ * X.std(axis=0)
    value = -model.loglik_ / len(y) + 0.01 * ((slopes**2).sum() + (experts**2).sum())
    assert value == pytest.approx(0.6808083240, abs=1e-8)


def test_ridge_is_of_what_is_estimated():
    model = MixtureOfExperts(LaplaceGate(), GaussianExpert())
    params = model.init_params(2, 3, 1)
    gate = params.gate._replace(centre=np.arange(6.0).reshape(2, 3), metric=np.full((1, 3), 7.0))
    found = Ridge(gate=0.5).value(model, params._replace(gate=gate), None, 10.0)
    assert found == pytest.approx(2.5 * (np.arange(6) ** 2).sum())


@pytest.mark.parametrize("apart", [1e-3, 1e-6])
def test_ridge_is_that_of_the_columns_however_collinear(apart):
    """Against scikit-learn, whose objective it is: squares of slopes by standardised columns."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=300)
    X = np.column_stack([first, first + apart * rng.normal(size=300), rng.normal(size=300)])
    y = X.sum(axis=1) + rng.logistic(size=300) > 0
    model = MoEClassifier(1, pull=0.0, penalty=Ridge(expert=1 / 300)).fit(X, y)
    other = LogisticRegression(C=1.0, tol=1e-10).fit(StandardScaler().fit_transform(X), y)
    np.testing.assert_allclose(-model.expert_coef_[0] * X.std(axis=0), other.coef_, atol=1e-4)
    assert model.converged_


def test_a_spike_is_no_maximum_under_the_prior():
    """Two experts may pass through few rows: without the prior a fit ends on the floor, with it nothing does."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (30, 1))
    y = X[:, 0] + rng.normal(size=30)
    y[:4] = 3 * X[:4, 0] - 1  # an exact line
    spike = quietly(SoftmaxMoERegressor(2, gate_features=[], n_init=6, random_state=0).fit, X, y)
    model = quietly(
        SoftmaxMoERegressor(2, gate_features=[], penalty=VariancePrior(), n_init=6, random_state=0).fit, X, y
    )
    assert "prior of the variances" in model.status_ and "floor" not in model.status_
    assert model.expert_variance_.min() > 1e-4 * y.var() or "floor" not in spike.status_


def separated():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (60, 2))
    y = np.where(X[:, 0] > 0.1, 5.0, -5.0) + 0.1 * rng.normal(size=60)
    return X, y


@pytest.mark.parametrize("penalty", [Pull(), Ridge(gate=0.01)], ids=repr)
def test_a_separated_gate_has_a_certified_maximum(penalty):
    X, y = separated()
    assert not quietly(SoftmaxMoERegressor(2, n_init=6, random_state=0).fit, X, y).converged_
    model = SoftmaxMoERegressor(2, penalty=penalty, n_init=6, random_state=0).fit(X, y)
    assert model.converged_ and np.abs(model.gate_coef_).max() < 100
    assert np.isfinite(flatten(model.standard_errors_)[:3]).all()
    assert model.loglik(X, y) == pytest.approx(model.loglik_, abs=1e-8)  # without the penalty


def test_the_pull_is_equivariant():
    X, y = separated()
    A = np.array([[2.0, 1.0], [-0.5, 3.0]])
    one = SoftmaxMoERegressor(2, penalty=Pull(), n_init=6, random_state=0).fit(X, y)
    other = SoftmaxMoERegressor(2, penalty=Pull(), n_init=6, random_state=0).fit(X @ A + 7.0, 3.0 * y - 2.0)
    np.testing.assert_allclose(one.gate_proba(X), other.gate_proba(X @ A + 7.0), atol=1e-6)


def test_uneven_use_with_all_experts_selected_is_certified():
    """EM must judge the score of what it climbs."""
    X, y = load_engel(return_X_y=True)
    model = TopKMoERegressor(2, top_k=2, balance=0.5, n_init=6, random_state=0).fit(X, y)
    dense = SoftmaxMoERegressor(2, penalty=UnevenUse(0.5), n_init=6, random_state=0).fit(X, y)
    assert model.converged_ and dense.converged_ and model.n_iter_ < 60
    assert model.loglik_ == pytest.approx(dense.loglik_, abs=1e-6)


def test_names_and_bad_settings():
    X, y = load_engel(return_X_y=True)
    assert set(PENALTIES) == {"elastic_net", "keep_zeros", "pull", "ridge", "uneven_use", "variance_prior"}
    model = SoftmaxMoERegressor(2, penalty=["pull", Ridge(expert=0.01)], n_init=6, random_state=0).fit(X, y)
    assert "pull" in model.status_ and "ridge" in model.status_
    for penalty, words in [
        ("lasso", "penalty='lasso' is not known"),
        (Ridge(gate=-1.0), "Ridge: gate"),
        (VariancePrior("much"), "VariancePrior: a must be"),
        (Pull(np.nan), "Pull: strength"),
        (UnevenUse(-1), "UnevenUse: weight"),
    ]:
        with pytest.raises(ValueError, match=words):
            SoftmaxMoERegressor(2, penalty=penalty).fit(X, y)
    with pytest.raises(ValueError, match="needs a dense gate"):
        TopKMoERegressor(2, top_k=1, penalty="pull").fit(X, y)
    with pytest.raises(TypeError, match="penalty must be a name or a Penalty object"):
        SoftmaxMoERegressor(2, penalty=3).fit(X, y)


class Empty(Penalty):
    """A penalty that implements nothing."""


def test_what_is_missing_is_named():
    X, y = load_engel(return_X_y=True)
    with pytest.raises(TypeError, match="Empty must implement"):
        MoERegressor(2, penalty=Empty()).fit(X, y)


def test_weight_two_is_the_row_twice():
    moe = make_moe(120, n_experts=2, random_state=1)
    w = np.arange(120) % 3 + 1.0
    rows = np.repeat(np.arange(120), w.astype(int))
    for penalty in (Pull(), Ridge(0.01, 0.01), VariancePrior()):
        one = quietly(SoftmaxMoERegressor(2, penalty=penalty, n_init=6, random_state=0).fit, moe.data, moe.target, w)
        two = quietly(
            SoftmaxMoERegressor(2, penalty=penalty, n_init=6, random_state=0).fit, moe.data[rows], moe.target[rows]
        )
        assert one.loglik_ == pytest.approx(two.loglik_, abs=1e-6)
        back = unflatten(flatten(one.params_), two.params_)
        np.testing.assert_allclose(flatten(back), flatten(two.params_), rtol=1e-4, atol=1e-5)
