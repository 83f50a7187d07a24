"""The elastic net: exact optima, conditions of optimality, and what must not matter."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import ElasticNet as Linear
from sklearn.linear_model import LogisticRegression

import naive
import smoe.search as search
from helpers import Problem, assert_derivative, quietly, sampled
from smoe import MoEClassifier, MoERegressor
from smoe._kernels.coordinate_descent import coordinate_descent
from smoe.experts import GaussianExpert
from smoe.gates import LinearGateParams, TreeGate, TreeGateParams
from smoe.params import MoEParams, flatten
from smoe.penalties import ElasticNet, KeepZeros, Ridge
from smoe.rows import Blocks
from smoe.solvers import EM, working_set

X, Y = load_diabetes(return_X_y=True)
Y = Y / 100
Z = (X - X.mean(axis=0)) / X.std(axis=0)


def fitted(net, k=2, X=X, y=Y, n_init=6, **settings):
    return MoERegressor(k, penalty=net, n_init=n_init, random_state=0, **settings).fit(X, y)


def objective(model, X, y, alpha_expert, alpha_gate, ratio=1.0, scaled=False):
    """The objective per row, by its display."""
    scale = X.std(axis=0)
    sd = np.sqrt(model.expert_variance_)[:, None] if scaled else 1.0

    def size(v):
        return ratio * np.abs(v).sum() + 0.5 * (1 - ratio) * (v**2).sum()

    slopes = alpha_expert * size(model.expert_coef_ * scale / sd) + alpha_gate * size(model.gate_coef_ * scale)
    return -model.loglik(X, y) / len(y) + slopes


@pytest.fixture(scope="module")
def lasso():
    return fitted(ElasticNet(0.02, 0.02, scaled=False))


def test_the_exact_optimum(lasso):
    """Of the diabetes data, found by other means."""
    assert objective(lasso, X, Y, 0.02, 0.02) == pytest.approx(0.7373631683, abs=1e-9)
    assert lasso.fitted_.objective == pytest.approx(-442 * 0.7373631683, abs=1e-6)
    assert lasso.loglik_ == pytest.approx(-305.51484024, abs=1e-5)
    assert lasso.converged_ and lasso.score_norm_ <= 1e-8
    assert lasso.n_parameters_ == 25 == 5 + 15 + 1 + 2 + 2
    assert "elastic net" in lasso.status_ and np.isnan(flatten(lasso.standard_errors_)).all()


def test_few_of_many_columns(lasso, monkeypatch):
    """The same optimum, one small problem after the other; its certificate; columns that tell by squares alone."""
    monkeypatch.setattr(working_set, "WIDE", 2)
    monkeypatch.setattr(working_set, "_FEWEST", 2)
    monkeypatch.setattr(search, "WIDE", 2)
    flat = MoEParams(*(part._replace(coef=np.zeros_like(part.coef)) for part in lasso.params_))
    few = MoERegressor(2, penalty=lasso.penalty, start=flat).fit(X, Y)
    assert few.converged_ and few.score_norm_ <= 1e-8
    assert few.fitted_.objective == pytest.approx(lasso.fitted_.objective, abs=1e-7)
    assert few.n_parameters_ == lasso.n_parameters_
    searched = fitted(lasso.penalty, n_init=3)
    assert searched.fitted_.objective == pytest.approx(lasso.fitted_.objective, abs=1e-7)
    again = MoERegressor(2, penalty=KeepZeros(), start=few.params_).fit(X, Y)
    monkeypatch.undo()
    whole = MoERegressor(2, penalty=KeepZeros(), start=few.params_).fit(X, Y)
    errors = (flatten(fit.standard_errors_) for fit in (again, whole))
    np.testing.assert_allclose(*errors, rtol=1e-6)

    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 9))
    y = np.where(rng.random(400) > 0.5, 2, -2) * x[:, 4] + 3.0 * (x[:, 7] > 1) + rng.normal(size=400)
    blocks = Blocks.plain(lasso.fitted_.model, x, y)
    columns = working_set.telling(lasso.fitted_.model, blocks, 2)
    assert columns.gate.tolist() == columns.expert.tolist() == [4, 7]


@pytest.mark.parametrize(("k", "ratio", "scaled"), sampled([(3, 0.6, True), (2, 1.0, False), (3, 1.0, True)]))
def test_conditions_of_optimality(k, ratio, scaled):
    """Zero lies in the subdifferential, by differences of the log-likelihood; the gate's shift is the best one."""
    model = fitted(ElasticNet(0.06, 0.03, ratio, scaled), k)
    params, scale, n = model.params_, X.std(axis=0), len(Y)
    assert model.converged_

    def loglik(p):
        return model.fitted_.blocks(X, Y).sum(model.fitted_.model.loglik, p)

    slope = naive.gradient(loglik, params)
    gate, expert = slope[: k * 11].reshape(k, 11), slope[k * 11 :].reshape(k, 12)
    unit = np.sqrt(model.expert_variance_)[:, None] if scaled else np.ones((k, 1))
    for coef, own, alpha, sd in [
        (model.gate_coef_, gate[:, :10], 0.03, 1.0),
        (model.expert_coef_, expert[:, :10], 0.06, unit),
    ]:
        v, pull = coef * scale / sd, own / scale * sd / n
        smooth = pull - alpha * (1 - ratio) * v
        assert smooth[v != 0] == pytest.approx(alpha * ratio * np.sign(v[v != 0]), abs=1e-6)
        assert np.abs(smooth[v == 0]).max() <= alpha * ratio + 1e-6
    if scaled:
        v = model.expert_coef_ * scale / unit
        size = 0.06 * (ratio * np.abs(v) + (1 - ratio) * v**2).sum(axis=1)
        assert expert[:, 11] / n == pytest.approx(-0.5 * size / model.expert_variance_, abs=1e-5)
    for column in (model.gate_coef_ * scale).T:

        def size(t, b=column):
            return ratio * np.abs(b + t).sum() + 0.5 * (1 - ratio) * ((b + t) ** 2).sum()

        assert size(0.0) <= minimize_scalar(size, bounds=(-2, 2), method="bounded").fun + 1e-9


@pytest.mark.parametrize("scaled", [True, False])
def test_one_expert_is_a_linear_elastic_net(scaled):
    model = fitted(ElasticNet(0.1, 0.0, 0.7, scaled), 1)
    variance = model.expert_variance_[0]
    l1, l2 = 0.07 * (np.sqrt(variance) if scaled else variance), 0.03 * (1.0 if scaled else variance)
    linear = Linear(l1 + l2, l1_ratio=l1 / (l1 + l2), tol=1e-14, max_iter=100_000).fit(Z, Y)
    assert model.expert_coef_[0] * X.std(axis=0) == pytest.approx(linear.coef_, abs=1e-9)
    assert model.n_parameters_ == 2 + np.count_nonzero(linear.coef_)


def test_squares_alone_are_ridge():
    net = fitted(ElasticNet(0.02, 0.03, 0.0, scaled=False), n_init=3)
    ridge = fitted(Ridge(0.03, 0.02 * Y.var()), n_init=1, start=net.params_)
    assert net.fitted_.objective == pytest.approx(ridge.fitted_.objective, abs=1e-6)
    assert net.n_parameters_ == ridge.n_parameters_


def test_documented_optima_of_one_expert():
    rng = np.random.default_rng(10)
    x = rng.normal(size=(200, 3)) * [1, 10, 0.1] + [0, 5, 1]
    y = 1 + x @ [0.5, 0.08, -3] + rng.normal(size=200)
    free = fitted(ElasticNet(0.2, scaled=False, penalty_factor=np.zeros(3)), 1, x, y)
    assert -free.fitted_.objective / 200 == pytest.approx(1.3938505213, abs=1e-9)
    model = fitted(ElasticNet(0.2, scaled=False), 1, x, y)
    assert -model.fitted_.objective / 200 == pytest.approx(1.6414747802, abs=1e-9)
    assert model.expert_coef_[0] == pytest.approx([0.12309632, 0.06483345, -1.58303199], abs=1e-6)
    for scaled, largest in [(False, 0.4298071120), (True, 0.5872611840)]:
        for share, n_left in [(1.001, 0), (0.98, 1)]:
            coef = fitted(ElasticNet(share * largest, scaled=scaled), 1, x, y).expert_coef_
            assert np.count_nonzero(coef) == n_left
    every = quietly(fitted, ElasticNet(9.0, 9.0), X=x, y=y, n_init=1)
    assert not every.expert_coef_.any() and not every.gate_coef_.any() and np.isfinite(every.predict(x)).all()


def test_units_weights_and_numbering_do_not_matter(lasso):
    """Columns and y in other units, a constant column, rows twice or by weight, experts in another order."""
    net = ElasticNet(0.05, 0.02, penalty_factor=[1, 1, 1, 0, 1, np.inf, 1, 1, 1, 1, 1])
    wide = np.column_stack([X, np.zeros(len(Y))])
    with pytest.warns(UserWarning, match="columns .10. of X are constant"):
        one = fitted(net, 2, wide, Y, 3)
    with pytest.warns(UserWarning, match="columns .10. of X are constant"):
        other = fitted(net, 2, wide * np.arange(1, 12) + 5.0, 1e3 * Y + 7.0, 3)
    assert other.predict(wide * np.arange(1, 12) + 5.0) == pytest.approx(1e3 * one.predict(wide) + 7.0, rel=1e-8)
    assert np.array_equal(one.expert_coef_ != 0, other.expert_coef_ != 0)
    assert (one.expert_coef_[:, 3] != 0).all() and not one.expert_coef_[:, 5].any() and not one.gate_coef_[:, 5].any()

    twice = MoERegressor(2, penalty=lasso.penalty, start=lasso.params_)
    rows = twice.fit(np.vstack([X, X]), np.append(Y, Y)).predict(X)
    assert rows == pytest.approx(twice.fit(X, Y, 3.0 * np.ones(len(Y))).predict(X), abs=1e-7)
    assert rows == pytest.approx(lasso.predict(X), abs=1e-5)

    params = one.params_
    gate = LinearGateParams(params.gate.coef[::-1], params.gate.intercept[::-1])
    expert = type(params.expert)(*(field[::-1] for field in params.expert))
    with pytest.warns(UserWarning, match="constant"):
        turned = MoERegressor(2, penalty=net, start=MoEParams(gate, expert)).fit(wide, Y)
    assert turned.fitted_.objective == pytest.approx(one.fitted_.objective, abs=1e-7)


def test_more_columns_than_rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 60))
    y = 2 * x[:, 1] + 0.5 * rng.normal(size=40)
    model = fitted(ElasticNet(0.2), 1, x, y)
    linear = Linear(0.2 * np.sqrt(model.expert_variance_[0]), l1_ratio=1.0, tol=1e-14, max_iter=100_000)
    linear.fit((x - x.mean(axis=0)) / x.std(axis=0), y)
    assert model.converged_ and 1 < np.count_nonzero(linear.coef_) < 40
    assert model.expert_coef_[0] * x.std(axis=0) == pytest.approx(linear.coef_, abs=1e-9)


@pytest.mark.parametrize("expert", ["poisson", GaussianExpert(variances="shared")], ids=str)
def test_other_experts_and_em(expert):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 4))
    y = rng.poisson(np.exp(np.where(x[:, 0] > 0, 1 + 0.5 * x[:, 1], -0.5 * x[:, 2])))
    model = fitted(ElasticNet(0.05, 0.02), 2, x, y, 3, expert=expert)
    again = fitted(ElasticNet(0.05, 0.02), 2, x, y, 1, expert=expert, start=model.params_, solver=EM(tol=1e-7))
    assert model.converged_ and again.converged_
    assert 0 < np.count_nonzero(model.expert_coef_) < 8
    assert again.fitted_.objective == pytest.approx(model.fitted_.objective, abs=1e-7)
    free = fitted(ElasticNet(0.05, 0.02, 0.5), 2, x, y, 2, expert=expert, gate_features=[])
    assert free.converged_ and not free.gate_coef_.size


@pytest.mark.parametrize("net", [ElasticNet(0.3, 0.2, 0.6), ElasticNet(0.3, 0.2, 0.6, scaled=False)], ids=repr)
@pytest.mark.parametrize("variances", ["own", "shared"])
def test_derivatives(net, variances):
    problem = Problem("softmax", "gaussian", weighted=True, k=3, d=2)
    expert = GaussianExpert(variances=variances)
    model, blocks = problem.model._replace(expert=expert, penalties=(net,)), problem.blocks
    params, n = problem.near_truth(), blocks.total_weight
    if variances == "shared":
        params = params._replace(expert=params.expert._replace(variance=np.asarray(params.expert.variance[0])))

    def value(p):
        return model.objective(p, blocks.sum(model.statistics, p), n)

    curvature = blocks.sum(model.curvature, params)
    wanted, found = naive.gradient(value, params), flatten(model.score(params, curvature, n))
    moved = flatten(params) != 0
    assert_derivative(found[moved], wanted[moved], 1e-6)
    hessian = naive.hessian(value, params)[np.ix_(moved, moved)]
    assert_derivative(-model.information(params, curvature, n)[np.ix_(moved, moved)], hessian, 1e-5)


def test_classes_are_penalised_logistic_regression():
    """Two classes against scikit-learn; of three the conditions of optimality, by differences."""
    x, y = load_iris(return_X_y=True)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    model = MoEClassifier(1, pull=0.0, penalty=ElasticNet(0.05), random_state=0).fit(x[50:], y[50:])
    z2 = (x[50:] - x[50:].mean(axis=0)) / x[50:].std(axis=0)
    known = LogisticRegression(C=1 / (100 * 0.05), l1_ratio=1.0, solver="saga", tol=1e-12, max_iter=100_000)
    known.fit(z2, y[50:])
    assert -model.expert_coef_[0, 0] * x[50:].std(axis=0) == pytest.approx(known.coef_[0], abs=1e-6)
    three = MoEClassifier(1, pull=0.0, penalty=ElasticNet(0.05), random_state=0).fit(x, y)
    coef, proba = three.expert_coef_[0] * x.std(axis=0), three.predict_proba(x)
    slope = np.array([(np.equal(y, c) - proba[:, c]) @ z for c in (0, 1)]) / len(y)
    assert slope[coef != 0] == pytest.approx(0.05 * np.sign(coef[coef != 0]), abs=1e-6)
    assert np.abs(slope[coef == 0]).max() <= 0.05 and three.converged_ and 0 < np.count_nonzero(coef) < 8


def test_a_tree_of_two_is_a_softmax_gate(lasso):
    params = lasso.params_
    gate = TreeGateParams(*params.gate, np.arange(2.0))
    tree = MoERegressor(2, gate="tree", penalty=lasso.penalty, start=params._replace(gate=gate)).fit(X, Y)
    assert tree.fitted_.objective == pytest.approx(lasso.fitted_.objective, abs=1e-7) and tree.converged_
    assert tree.n_parameters_ == lasso.n_parameters_
    net = ElasticNet(0.1, 0.01)
    three = quietly(fitted, net, 3, n_init=2, gate=TreeGate("sticks"))
    pinned = flatten(three.fitted_.model.gate.free(three.params_.gate)).reshape(3, -1)[:, 0] == 0
    assert not three.gate_coef_[pinned].any() and three.score_norm_ <= 1e-8
    assert three.fitted_.objective == pytest.approx(-len(Y) * objective(three, X, Y, 0.1, 0.01, scaled=True), abs=1e-6)


def test_coordinate_descent():
    """Against the conditions of a maximum."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 9))
    bend, slope, start = root @ root.T, 3.0 * rng.normal(size=6), rng.normal(size=6)
    weight = np.array([0.0, 1.0, 2.0, 4.0, 30.0, np.inf])
    x = coordinate_descent(bend, slope, start, weight, 10_000, 1e-13)
    left = slope - bend @ (x - start)
    assert left[x != 0] == pytest.approx(weight[x != 0] * np.sign(x[x != 0]), abs=1e-9)
    assert np.all(np.abs(left[x == 0]) <= weight[x == 0]) and x[4] == x[5] == 0.0 and x[0] != 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"penalty": ElasticNet(-1.0)}, "ElasticNet: alpha_expert"),
        ({"penalty": ElasticNet(0.1, np.nan)}, "ElasticNet: alpha_gate"),
        ({"penalty": ElasticNet(0.1, l1_ratio=1.5)}, "ElasticNet: l1_ratio"),
        ({"penalty": ElasticNet(0.1, penalty_factor=[1.0])}, "penalty_factor must be"),
        ({"penalty": ElasticNet(0.1, penalty_factor="all")}, "penalty_factor must be"),
        ({"penalty": ElasticNet(0.1), "gate": "laplace"}, "ElasticNet needs a softmax gate"),
        ({"penalty": KeepZeros(), "gate": "laplace"}, "KeepZeros needs a softmax gate"),
        ({"penalty": ElasticNet(0.1), "expert": "student_t"}, "ElasticNet takes experts"),
        ({"penalty": ElasticNet(0.1), "solver": "newton"}, "Newton follows derivatives, and ElasticNet"),
    ],
)
def test_bad_settings(settings, words):
    with pytest.raises((TypeError, ValueError), match=words):
        MoERegressor(2, n_init=1, **settings).fit(X[:50, :3], Y[:50])
