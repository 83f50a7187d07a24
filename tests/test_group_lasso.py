"""The group lasso over experts: exact optima, conditions of optimality, paths, and what must not matter."""

from math import comb

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from scipy.stats import norm
from sklearn.datasets import load_iris
from sklearn.utils.estimator_checks import parametrize_with_checks

import naive
from helpers import Problem, assert_derivative, for_check, mixed, quietly, sampled
from smoe import MoEClassifier, MoERegressor
from smoe._kernels.coordinate_descent import block_descent
from smoe.experts import GaussianExpert
from smoe.gates import TreeGate
from smoe.params import flatten
from smoe.penalties import ElasticNet, KeepZeros
from smoe.selection import elastic_net_path
from smoe.solvers import EM, working_set

QUICK = {"n_init": 2, "random_state": 0}


X, Y = mixed()
Z = np.column_stack([(X - X.mean(axis=0)) / X.std(axis=0), np.ones(len(Y))])
NET = ElasticNet(0.05, 0.02, group="experts")


@pytest.fixture(scope="module")
def lasso():
    return MoERegressor(2, penalty=NET, **QUICK).fit(X, Y)


def minimised(smooth, theta, groups, n_iter=3000):
    """The naive twin: proximal gradient steps with momentum and restarts; groups are pairs of places and a weight."""

    def shrunk(at, step):
        out = at.copy()
        for places, weight in groups:
            length = np.linalg.norm(at[places])
            out[places] *= max(1.0 - step * weight / length, 0.0) if length else 0.0
        return out

    def total(at):
        return smooth(at)[0] + sum(weight * np.linalg.norm(at[places]) for places, weight in groups)

    last, ahead, speed, step = theta, theta, 1.0, 1.0
    for _ in range(n_iter):
        value, slope = smooth(ahead)
        while True:
            new = shrunk(ahead - step * slope, step)
            move = new - ahead
            if smooth(new)[0] <= value + slope @ move + move @ move / (2 * step) + 1e-15:
                break
            step *= 0.5
        if np.abs(move).max() < 1e-7 * step:
            break
        if total(new) > total(last):
            ahead, speed = last, 1.0
            continue
        faster = 0.5 * (1 + np.sqrt(1 + 4 * speed**2))
        last, ahead, speed = new, new + (speed - 1) / faster * (new - last), faster
    return total(last), last


def mixture_loss(theta, k):
    """Minus the log-likelihood per row of k normal experts, by the display, and its derivative.

    ``theta`` has the rows of the gate, those of the experts' slopes per standard deviation (the constant last), and
    logarithms of standard deviations: coordinates in which the scaled penalty is a sum of lengths.
    """
    d = Z.shape[1]
    gate, line, log_sd = theta[: k * d].reshape(k, d), theta[k * d : 2 * k * d].reshape(k, d), theta[2 * k * d :]
    scores, standard = Z @ gate.T, Y[:, None] * np.exp(-log_sd) - Z @ line.T
    joint = scores - logsumexp(scores, axis=1)[:, None] + norm.logpdf(standard) - log_sd
    resp, n = softmax(joint, axis=1), len(Y)
    slope = [
        (softmax(scores, axis=1) - resp).T @ Z,
        -(resp * standard).T @ Z,
        (resp * (1 - standard * Y[:, None] * np.exp(-log_sd))).sum(axis=0),
    ]
    return -logsumexp(joint, axis=1).sum() / n, np.concatenate([part.ravel() for part in slope]) / n


@pytest.mark.parametrize("k", sampled([2, 3]))
def test_the_optimum_of_a_naive_twin(k):
    """Proximal gradient steps from nearby end at the same objective, and zeros in the same columns."""
    model = quietly(MoERegressor(k, penalty=NET, **QUICK).fit, X, Y)
    assert model.score_norm_ <= 1e-8
    sd, d = np.sqrt(model.expert_variance_), Z.shape[1]
    gate, line = model.gate_coef_ * X.std(axis=0), model.expert_coef_ * X.std(axis=0) / sd[:, None]
    at_mean = [model.gate_intercept_ + model.gate_coef_ @ X.mean(axis=0)]
    at_mean += [(model.expert_intercept_ + model.expert_coef_ @ X.mean(axis=0)) / sd]
    parts = [np.column_stack([gate, at_mean[0]]), np.column_stack([line, at_mean[1]]), np.log(sd)]
    theta = np.concatenate([part.ravel() for part in parts])
    places = np.arange(2 * k * d).reshape(2, k, d)
    groups = [(places[side, :, j], weight) for side, weight in enumerate((0.02, 0.05)) for j in range(d - 1)]
    start = theta + 1e-3 * np.random.default_rng(0).normal(size=len(theta))
    value, end = minimised(lambda at: mixture_loss(at, k), start, groups)
    assert -model.fitted_.objective / len(Y) == pytest.approx(value, abs=1e-8)
    for (rows, _), mine in zip(groups, [*gate.T, *line.T], strict=True):
        assert np.any(end[rows]) == np.any(mine) == np.all(mine)
    assert model.gate_coef_.sum(axis=0) == pytest.approx(0.0, abs=1e-9)
    assert 0 < model.expert_coef_.any(axis=0).sum() < 5 and model.gate_coef_.any()


@pytest.mark.parametrize(("k", "ratio", "scaled"), sampled([(2, 0.6, True), (2, 1.0, False)]))
def test_conditions_of_optimality(k, ratio, scaled):
    """Zero lies in the subdifferential, by differences of the log-likelihood."""
    net = ElasticNet(0.1, 0.08, ratio, scaled, group="experts")
    model = quietly(MoERegressor(k, penalty=net, **QUICK).fit, X, Y)
    blocks = model.fitted_.blocks(X, Y)
    slope = naive.gradient(lambda p: blocks.sum(model.fitted_.model.loglik, p), model.params_) / len(Y)
    gate, expert = slope[: k * 6].reshape(k, 6), slope[k * 6 :].reshape(k, 7)
    sd = np.sqrt(model.expert_variance_)[:, None] if scaled else 1.0
    for coef, own, alpha, unit in [(model.gate_coef_, gate, 0.08, 1.0), (model.expert_coef_, expert, 0.1, sd)]:
        v, pull = (coef * X.std(axis=0) / unit).T, (own[:, :5] / X.std(axis=0) * unit).T
        inside = v.any(axis=1)
        smooth = pull - alpha * (1 - ratio) * v
        direction = v[inside] / np.linalg.norm(v[inside], axis=1)[:, None]
        assert smooth[inside] == pytest.approx(alpha * ratio * direction, abs=1e-6) and 0 < inside.sum() < 5
        assert np.linalg.norm(smooth[~inside], axis=1).max() <= alpha * ratio
    if scaled:
        v = model.expert_coef_ * X.std(axis=0) / sd
        share = 0.1 * v**2 * (ratio / np.maximum(np.linalg.norm(v, axis=0), 1e-300) + 1 - ratio)
        assert expert[:, 6] == pytest.approx(-0.5 * share.sum(axis=1) / model.expert_variance_, abs=1e-5)


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("variances", ["own", "shared"])
def test_derivatives(scaled, variances):
    problem = Problem("softmax", "gaussian", weighted=True, k=3, d=2)
    net = ElasticNet(0.3, 0.2, 0.6, scaled, group="experts")
    model = problem.model._replace(expert=GaussianExpert(variances=variances), penalties=(net,))
    params, n, blocks = problem.near_truth(), problem.blocks.total_weight, problem.blocks
    if variances == "shared":
        params = params._replace(expert=params.expert._replace(variance=np.asarray(params.expert.variance[0])))

    def value(p):
        return model.objective(p, blocks.sum(model.statistics, p), n)

    curvature = blocks.sum(model.curvature, params)
    assert all(part.coef.any(axis=0).all() for part in params)
    found = flatten(model.score(params, curvature, n))
    assert_derivative(found, naive.gradient(value, params), 1e-6)
    assert_derivative(-model.information(params, curvature, n), naive.hessian(value, params), 1e-5)


def test_one_expert_has_groups_of_one():
    one, other = (MoERegressor(1, penalty=ElasticNet(0.2, group=g), **QUICK).fit(X, Y) for g in (None, "experts"))
    assert one.expert_coef_ == pytest.approx(other.expert_coef_, abs=1e-8) and one.n_parameters_ == other.n_parameters_


def test_classes():
    """A column's slopes of all classes: the optimum of the naive twin, which is the only one."""
    x, y = load_iris(return_X_y=True)
    x = np.column_stack([x, np.random.default_rng(0).normal(size=(len(y), 2))])
    z = np.column_stack([(x - x.mean(axis=0)) / x.std(axis=0), np.ones(len(y))])

    def loss(theta):
        scores = np.column_stack([z @ theta.reshape(2, -1).T, np.zeros(len(y))])
        proba = softmax(scores, axis=1)
        slope = (proba[:, :2] - np.column_stack([y == 0, y == 1])).T @ z / len(y)
        return -np.log(proba[np.arange(len(y)), y]).mean(), slope.ravel()

    net = ElasticNet(0.1, group="experts")
    model = MoEClassifier(1, pull=0.0, penalty=net, random_state=0).fit(x, y)
    places = np.arange(14).reshape(2, 7)
    value, end = minimised(loss, np.zeros(14), [(places[:, j], 0.1) for j in range(6)])
    assert -model.fitted_.objective / len(y) == pytest.approx(value, abs=1e-8)
    assert np.array_equal(model.expert_coef_[0].any(axis=0), end.reshape(2, 7)[:, :6].any(axis=0))
    assert not model.expert_coef_[0].any(axis=0).all() and model.converged_


@pytest.mark.parametrize(
    "settings", sampled([{"expert": "poisson"}, {}, {"expert": GaussianExpert(variances="shared")}]), ids=str
)
def test_em_ends_there(settings, lasso):
    counts = np.random.default_rng(1).poisson(np.exp(0.4 * Y / Y.std()))
    y = counts if settings.get("expert") == "poisson" else Y
    model = MoERegressor(2, penalty=NET, **QUICK, **settings).fit(X, y)
    again = MoERegressor(2, penalty=NET, start=model.params_, solver=EM(tol=1e-7), **settings).fit(X, y)
    assert model.score_norm_ <= 1e-8 and again.score_norm_ <= 1e-7
    assert again.fitted_.objective == pytest.approx(model.fitted_.objective, abs=1e-7)
    assert settings or np.array_equal(model.expert_coef_, lasso.expert_coef_)


def test_few_of_many_columns(lasso, monkeypatch):
    """The same optimum, one small problem after the other."""
    monkeypatch.setattr(working_set, "WIDE", 2)
    monkeypatch.setattr(working_set, "_FEWEST", 1)
    zeros = (part._replace(coef=np.zeros_like(part.coef)) for part in lasso.params_)
    few = MoERegressor(2, penalty=NET, start=type(lasso.params_)(*zeros)).fit(X, Y)
    assert few.converged_ and few.score_norm_ <= 1e-8 and few.n_parameters_ == lasso.n_parameters_
    assert few.fitted_.objective == pytest.approx(lasso.fitted_.objective, abs=1e-7)


def test_factors_units_and_a_tree(lasso):
    """Free columns, columns left out, other units; a tree of one branching counts one row of two."""
    net = ElasticNet(0.3, 0.2, penalty_factor=[1, 1, 0, np.inf, 1], group="experts")
    one = MoERegressor(2, penalty=net, **QUICK).fit(X, Y)
    other = MoERegressor(2, penalty=net, **QUICK).fit(X * np.arange(1, 6) + 5.0, 1e3 * Y + 7.0)
    assert other.predict(X * np.arange(1, 6) + 5.0) == pytest.approx(1e3 * one.predict(X) + 7.0, rel=1e-7, abs=1e-4)
    assert one.expert_coef_[:, 2].all() and not one.expert_coef_[:, 3].any() and not one.gate_coef_[:, 3].any()
    tree = ElasticNet(0.05, 0.02 / np.sqrt(2), group="experts")  # lengths of (b / 2, -b / 2)
    branching = MoERegressor(2, gate="tree", penalty=tree, **QUICK).fit(X, Y)
    assert branching.fitted_.objective == pytest.approx(lasso.fitted_.objective, abs=1e-6)
    three = quietly(MoERegressor(3, gate=TreeGate("sticks"), penalty=NET, **QUICK).fit, X, Y)
    assert three.score_norm_ <= 1e-8 and (three.gate_coef_ == 0).any(axis=1).any()


def test_the_path():
    """From the largest weight on, by the conditions at zero; columns that matter; refits; the choice by hand."""
    net = ElasticNet(1.0, 0.7, group="experts")
    path = elastic_net_path(MoERegressor(2, penalty=net, **QUICK), X, Y, n_alphas=4, eps=0.1)
    best = path.best_estimator_
    assert [np.flatnonzero(part.coef.any(axis=0)).tolist() for part in best.params_] == [[0], [1]]
    assert best.n_parameters_ == 8 and best.gate_coef_[-1].tolist() == [0.0] * 5
    assert str(best.covariance().label) == "observed information, given the selected slopes"
    for fit, refit, value in zip(path.estimators_, path.refits_, path.table["criterion"], strict=True):
        chosen = [part.coef.any(axis=0) for part in fit.params_]
        for one, part in zip(chosen, fit.params_, strict=True):
            assert np.array_equal(one, part.coef.all(axis=0))
        n = sum(one.sum() for one in chosen)
        price = 2 * refit.fitted_.certificate.price
        assert value == pytest.approx(refit.bic_ + price + 2 * np.log(comb(10, n)))


def test_the_largest_weight():
    """The longest of the columns' scores where all slopes are zero; below it that column is in."""
    x, y = load_iris(return_X_y=True)
    z, of_class = (x - x.mean(axis=0)) / x.std(axis=0), np.column_stack([y == 0, y == 1]) - 1 / 3
    sizes = np.linalg.norm(of_class.T @ z, axis=0) / len(y)
    one = MoEClassifier(1, pull=0.0, penalty=ElasticNet(1.0, group="experts"), n_init=1, random_state=0)
    path = elastic_net_path(one, x, y, n_alphas=2, eps=0.99, relax=False)
    assert path.alphas_[0, 0] == pytest.approx(sizes.max(), rel=2e-6)
    below, top = (np.flatnonzero(fit.any(axis=(0, 1))) for fit in path.slopes("expert")[::-1])
    assert below.tolist() == [np.argmax(sizes)] and not len(top)


def test_zeros_that_stay_in_columns():
    """A slope that is zero in one expert of two is free under "experts"."""
    start = MoERegressor(2, penalty=ElasticNet(0.1, 0.05), **QUICK).fit(X, Y).params_
    coef = start.expert.coef.copy()
    coef[:, 1:3], coef[0, 2] = [[2.0, 0.1], [-2.0, 0.0]], 0.1
    start = start._replace(expert=start.expert._replace(coef=coef))
    alone, together = (MoERegressor(2, penalty=KeepZeros(g), start=start).fit(X, Y) for g in (None, "experts"))
    assert np.count_nonzero(alone.expert_coef_[:, 2]) == 1 and np.count_nonzero(together.expert_coef_[:, 2]) == 2
    assert together.loglik_ > alone.loglik_ and together.n_parameters_ == alone.n_parameters_ + 1


def test_block_descent():
    """Against the conditions of a maximum."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(7, 9))
    bend, slope, start = root @ root.T, 3.0 * rng.normal(size=7), rng.normal(size=7)
    weight = np.array([1.0, 2.0, 0.5, 40.0, 30.0, 0.0, np.inf])
    ends, values, vectors = np.array([3, 5, 6, 7]), np.zeros(7), np.zeros((7, 3))
    for own in (slice(0, 3), slice(3, 5)):
        values[own], found = np.linalg.eigh(bend[own, own] / np.outer(weight[own], weight[own]))
        vectors[own, : found.shape[1]] = found
    x = block_descent(bend, slope, start, weight, ends, values, vectors, 10_000, 1e-13)
    left = slope - bend @ (x - start)
    sized = weight[:3] * x[:3]
    assert left[:3] == pytest.approx(weight[:3] * sized / np.linalg.norm(sized), abs=1e-9) and x[:3].all()
    assert not x[3:5].any() and np.linalg.norm(left[3:5] / weight[3:5]) <= 1.0
    assert left[5] == pytest.approx(0.0, abs=1e-9) and x[6] == 0.0


@pytest.mark.parametrize(
    "net", [ElasticNet(0.1, group="gate"), ElasticNet(0.1, group=True), KeepZeros(group=["experts"])]
)
def test_bad_groups(net):
    with pytest.raises(ValueError, match=f"{type(net).__name__}: group must be None or 'experts', got"):
        MoERegressor(2, n_init=1, penalty=net).fit(X, Y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([MoERegressor(2, penalty=ElasticNet(0.2, 0.1, group="experts"), n_init=1, max_iter=4)])
def test_scikit_learn_checks(estimator, check):
    check(for_check(estimator, check))


def test_the_summary():
    """The slopes that are there and the number of the others; all of them in the frame."""
    lasso = MoERegressor(2, penalty=ElasticNet(0.15, 0.1, group="experts"), **QUICK).fit(X, Y)
    inside = [part.coef.any(axis=0) for part in lasso.params_]
    text = str(lasso.summary())
    assert f"gate {inside[0].sum()} of 5, experts {inside[1].sum()} of 5" in text and not inside[1].all()
    assert text.count(f"({5 - inside[1].sum()} at zero)") >= 2 and text.count("x1 ") >= 2
    absent = ~(inside[0] | inside[1])
    assert absent.any() and not any(f"x{j} " in text + str(lasso.summary().wide()) for j in np.flatnonzero(absent))
    assert len(lasso.summary().to_frame()) == flatten(lasso.params_).size
    assert "at zero" not in str(MoERegressor(1, n_init=1).fit(X, Y).summary())
