"""Slopes that experts share, and slopes that are known: the maximum of the constrained likelihood, and what follows."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV

from smoe import MoEClassifier, MoERegressor, SoftmaxMoERegressor
from smoe.constraints import Constraints
from smoe.datasets import load_engel, load_faithful, make_moe
from smoe.inference import bootstrap, likelihood_ratio_test
from smoe.params import chart_of, flatten, unflatten
from smoe.penalties import ElasticNet
from smoe.rows import ArraySource, Blocks, Scaling

ENGEL, FAITHFUL = load_engel(return_X_y=True), load_faithful(return_X_y=True)


def shared_loglik(theta, x, y):
    """Two lines with one slope behind a softmax gate, written down once more: gate, slope, intercepts, log sds."""
    a, b, slope, c0, c1, s0, s1 = theta
    score = a * x + b
    log_pi = -np.logaddexp(0.0, np.array([-score, score]))
    parts = [norm.logpdf(y, slope * x + c, np.exp(s)) for c, s in ((c0, s0), (c1, s1))]
    return logsumexp(log_pi + parts, axis=0).sum()


def numeric_hessian(function, theta, steps):
    """Second derivatives by differences."""
    out = np.empty((len(theta), len(theta)))
    for i, j in np.ndindex(out.shape):
        moves = [np.eye(len(theta))[k] * steps[k] for k in (i, j)]
        values = [s * t * function(theta + s * moves[0] + t * moves[1]) for s in (1, -1) for t in (1, -1)]
        out[i, j] = sum(values) / (4 * steps[i] * steps[j])
    return out


def test_the_maximum_and_its_errors_are_those_of_the_smaller_model():
    x, y = (FAITHFUL[0][:, 0] - 70.0) / 10.0, FAITHFUL[1]
    model = SoftmaxMoERegressor(2, constraints=Constraints(shared=[0]), random_state=0).fit(x[:, None], y)
    (gate, expert), slope = model.params_, model.expert_coef_
    assert slope[0] == slope[1] and model.converged_ and model.n_parameters_ == 7
    theta = np.r_[gate.coef[0], gate.intercept[0], slope[0], expert.intercept, 0.5 * np.log(expert.variance)]
    assert shared_loglik(theta, x, y) == pytest.approx(model.loglik_, abs=1e-9)
    best = minimize(lambda t: -shared_loglik(t, x, y), theta + 0.02, method="BFGS", options={"gtol": 1e-5})
    assert -best.fun == pytest.approx(model.loglik_, abs=1e-6)
    information = -numeric_hessian(lambda t: shared_loglik(t, x, y), theta, np.full(7, 1e-3))
    wanted = np.sqrt(np.diag(np.linalg.inv(information)))
    errors = model.standard_errors_
    np.testing.assert_allclose(errors.expert.coef, wanted[2], rtol=1e-4)
    np.testing.assert_allclose(errors.gate.coef[0], wanted[0], rtol=1e-4)
    np.testing.assert_allclose(errors.expert.intercept, wanted[3:5], rtol=1e-4)


@pytest.mark.parametrize("state", [1, 2])
def test_starts_find_one_maximum(state):
    first, other = (
        SoftmaxMoERegressor(2, constraints=Constraints(shared=[0]), random_state=s).fit(*ENGEL) for s in (0, state)
    )
    assert other.loglik_ == pytest.approx(first.loglik_, abs=1e-6)


def test_one_expert_with_a_known_slope_is_least_squares_on_what_is_left():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)) * [1.0, 20.0, 0.1] + [5.0, 0.0, 3.0]
    y = X @ [1.0, 0.3, -2.0] + rng.normal(size=60)
    model = SoftmaxMoERegressor(1, constraints=Constraints(fixed={1: 0.25}), gate_features=[]).fit(X, y)
    line = LinearRegression().fit(X[:, [0, 2]], y - 0.25 * X[:, 1])
    np.testing.assert_allclose(model.expert_coef_[0], [line.coef_[0], 0.25, line.coef_[1]], rtol=1e-7)
    assert model.expert_intercept_[0] == pytest.approx(line.intercept_)
    assert np.isnan(model.standard_errors_.expert.coef[0, 1]) and model.n_parameters_ == 4  # it is no estimate


def test_a_fixed_slope_of_one_is_an_offset():
    rng = np.random.default_rng(1)
    log_time, x = rng.uniform(0.0, 2.0, 300), rng.normal(size=300)
    y = rng.poisson(np.exp(log_time + np.where(rng.random(300) < 0.4, 1.0 + 0.5 * x, -0.5 * x)))
    X = np.column_stack([x, log_time])
    settings = {"expert": "poisson", "gate_features": [0], "random_state": 0, "n_init": 10}
    offset = MoERegressor(2, offset_feature=1, **settings).fit(X, y)
    fixed = MoERegressor(2, constraints=Constraints(fixed={1: 1.0}), **settings).fit(X, y)
    assert fixed.loglik_ == pytest.approx(offset.loglik_, abs=1e-7)
    assert fixed.n_parameters_ == offset.n_parameters_
    np.testing.assert_allclose(fixed.standard_errors_.expert.coef[:, 0], offset.standard_errors_.expert.coef[:, 0])


@pytest.mark.filterwarnings("ignore:not a certified maximum")
@pytest.mark.parametrize("expert", ["gaussian", "negative_binomial"])
def test_ties_follow_the_chain_rule(expert):
    """Derivatives along the chart's coordinates, against differences."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(80, 2))
    rate = np.exp(1.0 + 0.5 * X[:, 0] + 0.1 * X[:, 1] + (rng.random(80) < 0.5))
    y = rng.negative_binomial(2.0, 2.0 / (2.0 + rate)) if expert == "negative_binomial" else rng.normal(rate)
    settings = {"expert": expert, "gate_features": [0], "random_state": 0, "n_init": 4, "max_iter": 3}
    model = MoERegressor(2, constraints=Constraints(shared=[0], fixed={1: 0.1}), **settings)
    fit = model.fit(X, y).fitted_
    source = ArraySource(X.astype(float), y.astype(float), np.ones(80))
    blocks = Blocks(fit.model, source, Scaling.identity(fit.gate_columns, fit.expert_columns), fit.roles)
    bound = fit.model.bound(blocks.scaling)
    params = bound.settled(fit.params)
    chart = bound.chart(params)
    theta = chart.pack(params)
    found = blocks.sum(bound.curvature, params)
    gradient = chart.gradient(found.score, params)
    hessian = chart.hessian(found.information, found.score, params)

    def loglik(t):
        return blocks.sum(bound.loglik, chart.unpack(t))

    def slope(t):
        moved = chart.unpack(t)
        return chart.gradient(blocks.sum(bound.curvature, moved).score, moved)

    eye = 1e-5 * np.eye(len(theta))
    np.testing.assert_allclose(gradient, [(loglik(theta + e) - loglik(theta - e)) / 2e-5 for e in eye], atol=1e-4)
    rows = np.array([(slope(theta + e) - slope(theta - e)) / 2e-5 for e in eye])
    np.testing.assert_allclose(-hessian, rows, rtol=1e-4, atol=1e-3)
    assert len(theta) == fit.n_parameters
    np.testing.assert_allclose(flatten(chart.unpack(theta)), flatten(params), rtol=1e-12)


@pytest.mark.filterwarnings("ignore:not a certified maximum")
def test_tied_entries_move_together():
    expert = SoftmaxMoERegressor(3, n_init=1, random_state=0).fit(*ENGEL).fitted_
    part, owner = expert.params.expert, expert.model.expert
    tie = np.arange(flatten(part).size)
    coef = unflatten(tie.astype(float), part).coef.astype(int)
    tie[coef] = coef[:1]
    chart = chart_of(owner, part)
    tied = type(chart)(part, chart.free, chart.lower, chart.unit, chart.upper, None, tie)
    assert tied.n_free == chart.n_free - 2
    steps = tied.spread(np.arange(1.0, tied.n_free + 1))
    assert np.ptp(steps[coef]) == 0.0 and np.count_nonzero(steps) == len(steps)


def test_nested_models_are_tested_and_others_refused():
    moe = make_moe(300, n_features=2, n_experts=2, random_state=3)
    data = moe.data, moe.target

    def fitted(constraints=None, **settings):
        return SoftmaxMoERegressor(2, constraints=constraints, random_state=0, n_init=8, **settings).fit(*data)

    free, shared, both = fitted(), fitted(Constraints(shared=[1])), fitted(Constraints(shared=[0, 1]))
    assert both.loglik_ < shared.loglik_ < free.loglik_
    test = likelihood_ratio_test(shared, free, *data)
    assert test.df == 1 and test.statistic == pytest.approx(2 * (free.loglik_ - shared.loglik_))
    assert likelihood_ratio_test(both, shared, *data).df == 1
    zero = fitted(Constraints(fixed={1: 0.0}))
    assert likelihood_ratio_test(zero, shared, *data).df == 1
    without = fitted(expert_features=[0])
    assert without.loglik_ == pytest.approx(zero.loglik_, abs=1e-6)
    assert likelihood_ratio_test(without, shared, *data).df == 1
    with pytest.raises(ValueError, match=r"full constrains the slopes of columns \[1\]"):
        likelihood_ratio_test(fitted(Constraints(shared=[0])), shared, *data)
    with pytest.raises(ValueError, match=r"full constrains the slopes of columns \[1\]"):
        likelihood_ratio_test(zero, fitted(Constraints(fixed={1: 0.3})), *data)


def test_units_do_not_matter():
    x, y = ENGEL
    constraints = Constraints(shared=["income"])
    frame = load_engel(as_frame=True).frame
    first = SoftmaxMoERegressor(2, constraints=constraints, random_state=0).fit(frame[["income"]], y)
    moved = SoftmaxMoERegressor(2, constraints=Constraints(shared=[0]), random_state=0).fit(
        x / 7.0 + 3.0, 11.0 * y - 5.0
    )
    np.testing.assert_allclose(moved.expert_coef_, 77.0 * first.expert_coef_, rtol=1e-6)
    assert moved.loglik_ == pytest.approx(first.loglik_ - len(y) * np.log(11.0), abs=1e-6)


@pytest.mark.filterwarnings("ignore:not a certified maximum")
def test_all_that_an_estimator_does():
    moe = make_moe(200, n_features=2, n_experts=2, random_state=5)
    model = SoftmaxMoERegressor(2, constraints=Constraints(shared=[0]), random_state=0, n_init=4)
    search = GridSearchCV(model, {"constraints__shared": [[0], [1], [0, 1]]}, cv=2, scoring="r2").fit(
        moe.data, moe.target
    )
    assert (
        np.ptp(search.best_estimator_.expert_coef_[:, search.best_params_["constraints__shared"]], axis=0).max() == 0.0
    )
    moe = make_moe(400, n_features=2, n_experts=2, random_state=3)
    fit = model.fit(moe.data, moe.target)
    assert fit.converged_ and "shared slopes of x0" in str(fit.summary())
    sandwich = fit.covariance("sandwich", moe.data, moe.target).standard_errors.expert.coef
    assert sandwich[0, 0] == sandwich[1, 0] > 0 and sandwich[0, 1] != sandwich[1, 1]
    again = SoftmaxMoERegressor(2, constraints=Constraints(shared=[0]), start=fit.params_).fit(moe.data, moe.target)
    assert again.loglik_ == pytest.approx(fit.loglik_, abs=1e-8)


@pytest.mark.parametrize("gate", ["top_k", "tree", "gaussian"])
def test_behind_other_gates(gate):
    moe = make_moe(200, n_features=1, n_experts=2, random_state=7)
    model = MoERegressor(2, gate=gate, constraints=Constraints(shared=[0]), random_state=0, n_init=4)
    model = model.fit(moe.data, moe.target)
    assert model.converged_ and model.expert_coef_[0] == model.expert_coef_[1]


def test_several_predictors_share_theirs():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(300, 2))
    utility = np.where(rng.random(300) < 0.5, 2.0, -2.0)[:, None] * [0.0, 1.0, -1.0] + X[:, :1] * [0.0, 1.0, 0.5]
    y = (utility + rng.gumbel(size=(300, 3))).argmax(axis=1)
    model = MoEClassifier(2, constraints=Constraints(shared=[0]), n_init=2, random_state=0).fit(X, y)
    assert np.ptp(model.expert_coef_[..., 0], axis=0).max() == 0.0 < np.ptp(model.expert_coef_[..., 1], axis=0).min()
    both = np.column_stack([FAITHFUL[1], np.sqrt(FAITHFUL[1]) + rng.normal(size=len(FAITHFUL[1]))])
    several = MoERegressor(
        2, expert="multivariate_gaussian", constraints=Constraints(shared=[0]), n_init=2, random_state=0
    ).fit(FAITHFUL[0], both)
    assert np.ptp(several.expert_coef_, axis=0).max() == 0.0


@pytest.mark.parametrize(
    ("constraints", "kind", "message"),
    [
        ("shared", TypeError, "constraints must be None or"),
        (Constraints(shared=[4]), ValueError, r"constraints.shared=\[4\] is out of range"),
        (Constraints(shared=["age"]), ValueError, "constraints.shared.* names columns"),
        (Constraints(shared=[1]), ValueError, r"experts do not see \[1\]"),
        (Constraints(fixed=[0]), TypeError, "constraints.fixed must be a dict"),
        (Constraints(fixed={0: np.inf}), ValueError, "constraints.fixed must hold finite numbers"),
        (Constraints(fixed={0: "a"}), ValueError, "constraints.fixed must hold finite numbers"),
        (Constraints(shared=[0], fixed={0: 1.0}), ValueError, "named twice, or shared as well"),
        (Constraints(fixed={0: 1.0, -2: 2.0}), ValueError, "named twice, or shared as well"),
    ],
)
def test_what_makes_no_sense_is_refused(constraints, kind, message):
    X = np.column_stack([ENGEL[0], np.log(ENGEL[0])])
    with pytest.raises(kind, match=message):
        SoftmaxMoERegressor(2, expert_features=[0], constraints=constraints).fit(X, ENGEL[1])


def test_a_fixed_slope_of_a_constant_column_is_refused():
    X = np.column_stack([ENGEL[0], np.ones(len(ENGEL[1]))])
    with pytest.raises(ValueError, match="column 1 of those that experts see is constant"):
        SoftmaxMoERegressor(2, constraints=Constraints(fixed={1: 2.0})).fit(X, ENGEL[1])


def test_what_has_no_constraints_says_so():
    with pytest.raises(TypeError, match="ElasticNet takes no constraints"):
        SoftmaxMoERegressor(2, penalty=ElasticNet(), constraints=Constraints(shared=[0])).fit(*ENGEL)
    assert not hasattr(SoftmaxMoERegressor(2, constraints=Constraints(shared=[0])), "partial_fit")


@pytest.mark.filterwarnings("ignore:2 of 3 refits")
def test_refits_keep_them_though_they_see_arrays():
    frame = load_engel(as_frame=True).frame
    settings = {"constraints": Constraints(shared=["income"]), "n_init": 4, "random_state": 0}
    model = SoftmaxMoERegressor(2, **settings).fit(frame[["income"]], frame["foodexp"])
    found = bootstrap(model, frame[["income"]], frame["foodexp"], n_resamples=3, random_state=0)
    errors = found.standard_errors().expert.coef
    assert errors[0, 0] == errors[1, 0] > 0


def test_a_background_that_is_known_keeps_its_place_and_its_parameters():
    """A line among points that fall anywhere; the likelihood written down once more, and the maximum of that."""
    rng = np.random.default_rng(8)
    x = rng.uniform(0.0, 4.0, 240)
    known = rng.random(240) < 0.4
    y = np.where(known, rng.normal(5.0, 8.0, 240), 2.0 + 1.5 * x + 0.3 * rng.normal(size=240))
    background = {"coef": [0.0], "intercept": 5.0, "variance": 64.0}
    model = SoftmaxMoERegressor(
        2, gate_features=[], constraints=Constraints(frozen=[background]), random_state=0, n_init=8
    ).fit(x[:, None], y)
    expert = model.params_.expert
    assert (expert.coef[0, 0], expert.intercept[0], expert.variance[0]) == pytest.approx((0.0, 5.0, 64.0))
    assert model.n_parameters_ == 4 and np.isnan(model.standard_errors_.expert.variance[0])

    def loglik(theta):
        b, c0, c1, s = theta
        parts = (
            norm.logpdf(y, 5.0, 8.0) - np.logaddexp(0, -b),
            norm.logpdf(y, c0 + c1 * x, np.exp(s)) - np.logaddexp(0, b),
        )
        return np.logaddexp(*parts).sum()

    start = [model.gate_intercept_[0], expert.intercept[1], expert.coef[1, 0], 0.5 * np.log(expert.variance[1])]
    assert loglik(start) == pytest.approx(model.loglik_, abs=1e-8)
    best = minimize(lambda t: -loglik(t), np.array(start) + 0.05, method="BFGS", options={"gtol": 1e-4})
    assert -best.fun == pytest.approx(model.loglik_, abs=1e-5)
    free = SoftmaxMoERegressor(2, gate_features=[], random_state=0, n_init=8).fit(x[:, None], y)
    assert likelihood_ratio_test(model, free, x[:, None], y).df == 3
    moved = SoftmaxMoERegressor(
        2, gate_features=[], constraints=Constraints(frozen=[background], shared=[0]), n_init=8, random_state=0
    ).fit(x[:, None], y)
    assert moved.loglik_ == pytest.approx(model.loglik_, abs=1e-8)  # one other expert shares with nobody


@pytest.mark.parametrize(
    ("frozen", "kind", "message"),
    [
        ({"coef": [0.0]}, TypeError, "must be a list of dicts"),
        ([{"coef": [0.0], "intercept": 0.0}], ValueError, r"frozen\[0\] must have coef, intercept, variance"),
        ([{"coef": [0.0, 1.0], "intercept": 0.0, "variance": 1.0}], ValueError, "frozen.coef must have shape"),
        ([{"coef": [0.0], "intercept": 0.0, "variance": -1.0}], ValueError, "frozen.variance must be positive"),
        ([{"coef": [0.0], "intercept": 0.0, "variance": 1.0}] * 3, ValueError, "3 known experts, and n_experts=2"),
    ],
)
def test_known_experts_that_make_no_sense_are_refused(frozen, kind, message):
    with pytest.raises(kind, match=message):
        SoftmaxMoERegressor(2, constraints=Constraints(frozen=frozen)).fit(*ENGEL)
