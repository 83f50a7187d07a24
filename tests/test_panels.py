"""Groups of rows with one label: what a row is elsewhere a group is here."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import naive
from helpers import assert_close, assert_derivative, estimable, expert_of, quietly, random_expert, random_gate, twin
from smoe import MoEClassifier, MoERegressor
from smoe.chance import chance
from smoe.features import Roles
from smoe.gates import GATES
from smoe.inference import bootstrap, classification_table, membership
from smoe.inference.rows import row_scores
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, flatten
from smoe.penalties import Pull
from smoe.plots import plot_fit
from smoe.rows import ArraySource, Blocks, Scaling, Source, by_group
from smoe.selection import dendrogram, select_n_experts
from smoe.simulation import Truth
from smoe.simulation.cells import fit_with_solver
from smoe.solvers import EMNewton

PAIRS = [
    *(("softmax", expert) for expert in ("gaussian", "negative_binomial", "multinomial", "multivariate_gaussian")),
    *((gate, "gaussian") for gate in ("gaussian", "tree", "dense_to_sparse", "sigmoid")),
]


class Panel:
    """Five groups of one to four rows in any order, drawn from a random truth, in one set of coordinates."""

    def __init__(self, gate, expert, k=2, seed=0):
        rng = np.random.default_rng(seed)
        self.group = rng.permutation(np.repeat(np.arange(5), [3, 1, 4, 2, 3]))
        self.model = MixtureOfExperts(GATES[gate](), expert_of(expert))
        self.X = np.column_stack([rng.normal(size=5)[self.group], rng.normal(size=13), self.group])
        self.params = MoEParams(random_gate(self.model.gate, k, 1, rng), random_expert(self.model.expert, k, 1, rng))
        self.weight = rng.uniform(0.5, 2.0, 5)
        self.y = self.model.expert.read(self.model.expert.write(self.drawn(rng)))
        self.blocks = self.visited(ArraySource(self.X, self.y, self.weight[self.group]))
        self.twin = twin(self.model)

    def visited(self, source):
        return Blocks(self.model, by_group(source, 2, [0]), Scaling.identity([0], [1]), Roles(group=2))

    def drawn(self, rng):
        return self.visited(ArraySource(self.X)).map_rows(lambda b, p: self.model.sample(b, p, rng)[0], self.params)

    def joint(self, params, code):
        """Log pi_k(w_g) plus the sum of the log densities of the rows of a group."""
        rows = np.flatnonzero(self.group == code)
        gate = np.log(naive.softmax(self.twin.scores(self.X[rows[0], :1], params.gate)))
        return gate + sum(np.array(self.twin.log_density(self.y[i], self.X[i, 1:2], params.expert)) for i in rows)

    def loglik(self, params):
        return math.fsum(w * naive.log_sum_exp(self.joint(params, code)) for code, w in enumerate(self.weight))


@pytest.mark.parametrize("gate, expert", PAIRS)
def test_a_pass_over_groups_is_the_likelihood_written_out(gate, expert):
    panel = Panel(gate, expert)
    model, params, blocks = panel.model, panel.params, panel.blocks
    found = blocks.sum(model.curvature, params)
    own = estimable(params, model.fields)
    score = naive.gradient(panel.loglik, params, step=1e-4)
    hessian = naive.hessian(panel.loglik, params)
    np.testing.assert_allclose(found.loglik, panel.loglik(params), rtol=1e-11)
    assert_derivative(flatten(found.score)[own], score[own], 1e-7)
    assert_derivative(found.information[np.ix_(own, own)], -hessian[np.ix_(own, own)], 5e-6)
    statistics = blocks.sum(model.statistics, params)
    assert_derivative(flatten(model.score(params, statistics, 1.0))[own], score[own], 1e-7)
    rows = blocks.map(lambda block, p: row_scores(model, block, p), params) @ blocks.source.weight
    assert_derivative(rows[own], score[own], 1e-7)


def test_the_rows_before_a_row_are_known():
    panel = Panel("softmax", "gaussian")
    model, params, blocks = panel.model, panel.params, panel.blocks
    rows = blocks.map_rows(model.row_loglik, params)
    for code in range(5):
        own = np.flatnonzero(panel.group == code)
        np.testing.assert_allclose(rows[own].sum(), naive.log_sum_exp(panel.joint(params, code)), rtol=1e-12)


def test_rows_of_a_group_are_drawn_from_one_expert():
    panel = Panel("softmax", "gaussian")
    far = panel.params._replace(expert=panel.params.expert._replace(intercept=np.array([-1e6, 1e6])))
    rng, blocks = np.random.default_rng(1), panel.blocks
    draws = [blocks.map_rows(lambda b, p: panel.model.sample(b, p, rng)[0], far) > 0 for _ in range(400)]
    share = np.zeros(5)
    for code in range(5):
        own = np.array(draws)[:, panel.group == code]
        assert np.all(own == own[:, :1])
        share[code] = own[:, 0].mean()
    first = [np.flatnonzero(panel.group == code)[0] for code in range(5)]
    wanted = panel.twin.proba(far, panel.X[first, :1])[:, 1]
    np.testing.assert_allclose(share, wanted, atol=4 * np.sqrt(0.25 / 400))


# Estimators -----------------------------------------------------------------------------------------------------------


def persons(n_groups=40, size=4, seed=1, family="gaussian"):
    """A data frame of persons, whose rows are in any order, with y and the class of each row's person."""
    rng = np.random.default_rng(seed)
    z, x = rng.normal(size=n_groups), rng.normal(size=n_groups * size)
    label = np.repeat(rng.random(n_groups) < 1 / (1 + np.exp(-1.5 * z)), size)
    mean = np.where(label, 1 + 1.5 * x, -1 - x)
    y = {"gaussian": rng.normal(mean), "binomial": rng.binomial(1, 1 / (1 + np.exp(-mean)))}[family]
    frame = pd.DataFrame({"x": x, "z": np.repeat(z, size), "id": np.repeat([f"p{i}" for i in range(n_groups)], size)})
    order = rng.permutation(len(frame))
    return frame.iloc[order], pd.Series(y.astype(float), name="y").iloc[order], label[order]


def panel_model(k=2, **settings):
    settings = {"expert_features": ["x"], "gate_features": ["z"], "group_feature": "id", "n_init": 8} | settings
    return MoERegressor(k, random_state=0, **settings)


@pytest.fixture(scope="module")
def fitted():
    X, y, label = persons()
    return panel_model().fit(X, y), X, y, label


@pytest.mark.parametrize("expert", ["gaussian", "poisson"])
def test_groups_of_one_row_are_no_groups(expert):
    X, y, _ = persons(60, 1)
    y = np.floor(np.abs(y)) if expert == "poisson" else y
    one, other = (quietly(panel_model(expert=expert, group_feature=g).fit, X[names], y) for g, names in PLAIN)
    assert_close(one.params_, other.params_, 0, 0)
    for name in ("loglik_", "bic_", "icl_", "n_samples_", "standard_errors_"):
        assert_close(getattr(one, name), getattr(other, name), 0, 0)
    for answer in ("responsibilities", "score_samples"):
        assert_close(getattr(one, answer)(X, y), getattr(other, answer)(X[["x", "z"]], y), 0, 0)
    assert_close(one.diagnose(X, y, 0).residuals, other.diagnose(X[["x", "z"]], y, 0).residuals, 0, 0)


PLAIN = ("id", ["x", "z", "id"]), (None, ["x", "z"])


def test_single_trials_in_groups_are_binomial_ones():
    X, y, _ = persons(50, 4, family="binomial")
    X = X.assign(x=X["z"])
    sums = X.assign(y=y, n=1.0).groupby("id").agg(x=("x", "first"), z=("z", "first"), n=("n", "sum"), y=("y", "sum"))
    successes = sums.pop("y")
    settings = {"group_feature": None, "trials_feature": "n"}
    other = panel_model(expert="binomial", **settings).fit(sums, successes)
    one = panel_model(expert="binomial", start=other.params_, n_init=1).fit(X, y)
    constant = sum(math.log(math.comb(int(n), int(s))) for n, s in zip(sums["n"], successes, strict=True))
    assert one.converged_ and other.converged_
    np.testing.assert_allclose(one.loglik_, other.loglik_ - constant, rtol=1e-10)
    np.testing.assert_allclose(one.bic_, other.bic_ + 2 * constant, rtol=1e-10)
    assert_close(one.params_, other.params_, 1e-5, 1e-6)
    assert_close(one.standard_errors_, other.standard_errors_, 1e-5, 1e-6)
    errors = (m.covariance("sandwich", *rows).standard_errors for m, *rows in ((one, X, y), (other, sums, successes)))
    assert_close(*errors, 1e-5, 1e-6)
    first = ~X["id"].duplicated()
    wanted = other.responsibilities(sums, successes)[[sums.index.get_loc(i) for i in X["id"][first]]]
    np.testing.assert_allclose(one.group_responsibilities(X, y)[1], wanted, atol=1e-6)


def test_order_labels_and_weights(fitted):
    model, X, y, _ = fitted
    assert model.converged_ and model.n_samples_ == 40
    np.testing.assert_allclose(model.bic_, -2 * model.loglik_ + model.n_parameters_ * np.log(40))
    order = np.argsort(X["id"].to_numpy(), kind="stable")
    kept = X["id"] != "p3"
    weight = np.where(X["id"] == "p5", 2.0, np.where(kept, 1.0, 0.0))
    copy = X[X["id"] == "p5"].assign(id="another")
    doubled = panel_model().fit(pd.concat([X[kept], copy]), pd.concat([y[kept], y[X["id"] == "p5"]]))
    pairs = [
        (model, panel_model().fit(X.iloc[order].assign(id=X["id"].iloc[order].astype("category")), y.iloc[order])),
        (doubled, panel_model().fit(X, y, weight)),
    ]
    for one, other in pairs:
        np.testing.assert_allclose(other.loglik_, one.loglik_, rtol=1e-12)
        assert_close(other.params_, one.params_, 1e-6, 1e-8)
        assert_close(other.standard_errors_, one.standard_errors_, 1e-6)


def test_answers(fitted):
    model, X, y, label = fitted
    resp, (labels, of_groups) = model.responsibilities(X, y), model.group_responsibilities(X, y)
    assert labels.tolist() == X["id"].unique().tolist()
    np.testing.assert_array_equal(resp, of_groups[[labels.tolist().index(i) for i in X["id"]]])
    assert np.mean((resp[:, 1] > 0.5) == label) > 0.9
    np.testing.assert_allclose(model.score_samples(X, y).sum(), model.loglik_, rtol=1e-12)
    new = X.iloc[:3].assign(id=["a", "b", "a"])
    np.testing.assert_array_equal(model.predict(new), model.predict(X.iloc[:3]))
    assert "id" not in str(model.expert_profile(X))
    assert "groups (sum of weights)  40, of 4 rows on average" in str(model.summary())
    assert model.sample(X, 0).shape == (160,)
    assert len(plot_fit(model, X, y, feature="x").axes) == 2


def test_residuals_are_given_the_rows_before(fitted):
    model, X, y, _ = fitted
    found = model.diagnose(X, y)
    first = ~X["id"].duplicated().to_numpy()
    alone = model.predict_distribution(X).cdf(y.to_numpy())
    np.testing.assert_allclose(found.pit[first], alone[first], rtol=1e-12)
    assert np.abs(found.pit - alone)[~first].max() > 0.1
    np.testing.assert_allclose(found.load.sum(), 40)
    assert "every group has its expert" in str(found)


def test_resampling_keeps_groups_whole(fitted, monkeypatch):
    model, X, y, _ = fitted
    for kind in ("case", "parametric"):
        result = bootstrap(model, X, y, 12, kind, random_state=0)
        ratio = result.standard_errors().expert.coef / model.standard_errors_.expert.coef
        assert np.all((ratio > 0.4) & (ratio < 2.5))
    table = classification_table(model, X, y)
    assert table.n_rows.sum() == 40 and "groups" in str(table)
    assert membership(model, X, y).std_err.shape == (160, 2)
    cluster = model.covariance("cluster", X, y, groups=X["id"].to_numpy())
    assert_close(cluster.standard_errors, model.covariance("sandwich", X, y).standard_errors, 1e-8)
    seen, whole = [], MoERegressor.fit

    def spied(self, X, *rest, **more):
        seen.append(X)
        return whole(self, X, *rest, **more)

    monkeypatch.setattr(MoERegressor, "fit", spied)
    found = quietly(select_n_experts, model, X, y, (1, 2), "cv", cv=3, random_state=0)
    folds = [some for some in seen if len(some) < 160]
    assert found.n_experts_ == 2 and folds
    assert all(some["id"].value_counts().eq(4).all() for some in folds)
    assert dendrogram(model, X, y).loglik[0] == pytest.approx(model.loglik_, rel=1e-10)


def test_pipelines_searches_and_formulas(fitted):
    model, X, y, _ = fitted
    pipe = make_pipeline(FunctionTransformer(), panel_model())
    search = GridSearchCV(pipe, {"moeregressor__n_experts": [1, 2]}, cv=GroupKFold(2))
    quietly(search.fit, X, y, groups=X["id"])
    assert search.best_estimator_[-1].fitted_.what == "group"
    assert np.isfinite(cross_val_score(panel_model(1), X, y, groups=X["id"], cv=GroupKFold(2))).all()
    formula = MoERegressor(2, formula="y ~ x + group(id) | z", n_init=8, random_state=0).fit(X.assign(y=y))
    np.testing.assert_allclose(formula.loglik_, model.loglik_, rtol=1e-12)
    np.testing.assert_allclose(formula.loglik(X.assign(y=y), None), model.loglik_, rtol=1e-12)  # y as the formula says
    labels, proba = formula.group_responsibilities(X.assign(y=y), None)
    wanted, of_model = model.group_responsibilities(X, y)
    assert list(labels) == list(wanted)
    np.testing.assert_allclose(proba, of_model, atol=1e-9)


def test_long_integers_and_text_are_labels():
    X, y, _ = persons(6, 3)
    code = X["id"].str[1:].astype(int)
    days = pd.to_datetime("2020-01-01") + pd.to_timedelta(code, "D")
    for labels in (code + 2**53, code.astype(str).str.zfill(3), days):
        assert quietly(panel_model(1).fit, X.assign(id=labels), y).n_samples_ == 6
    rows = np.column_stack([X["x"], X["z"], code])
    assert quietly(panel_model(1, expert_features=[0], gate_features=[1], group_feature=2).fit, rows, y).n_samples_ == 6
    with_text = X.assign(id=["7", "007"] * 9, z=0.0)
    assert quietly(panel_model(1).fit, with_text, y).n_samples_ == 2


def with_missing(X, y):
    return X.assign(id=X["id"].where(X["id"] != "p2", None)), y


@pytest.mark.parametrize(
    "change, settings, words",
    [
        (lambda X, y: (X, y), {"gate_features": ["z", "x"]}, r"column 'x' must be the same .* in group 'p\d+' it is"),
        (lambda X, y: (X.assign(z=X["x"]), y), {}, "gate_features: column 'z' must be the same in all rows of a group"),
        (lambda X, y: (X, y), {"gate_features": ["z", "id"]}, "group_feature: 'id' is also a covariate"),
        (with_missing, {}, r"labels of one kind, none missing: .* \(missing in 4 rows, the first is row"),
        (lambda X, y: (X, y), {"group_feature": "person"}, "group_feature: no column"),
        (lambda X, y: (X, y), {"group_feature": ["id"]}, "group_feature must be None or one column"),
        (lambda X, y: (X[X["id"].isin(["p0", "p1"])], y[X["id"].isin(["p0", "p1"])]), {"k": 3}, "number of groups"),
        (lambda X, y: (X.assign(id=[*range(80), *["a"] * 80]), y), {}, "labels of one kind"),
    ],
)
def test_bad_groups(change, settings, words):
    X, y, _ = persons()
    with pytest.raises(ValueError, match=words):
        panel_model(**settings).fit(*change(X, y))


def test_numbers_of_groups_are_said_as_numbers():
    rows = np.column_stack([np.arange(12.0), np.arange(12.0), np.repeat(np.arange(4), 3)])
    model = panel_model(1, expert_features=[0], gate_features=[1], group_feature=2)
    with pytest.raises(ValueError, match="in group 0 it is 0 in row 0 and 1 in row 1"):
        model.fit(rows, np.arange(12.0))


def test_refusals(fitted):
    model, X, y, _ = fitted
    weight = np.ones(160)
    weight[7] = 2.0
    with pytest.raises(ValueError, match="sample_weight must be the same in all rows of a group"):
        panel_model().fit(X, y, weight)
    with pytest.raises(ValueError, match="class_weight: with group_feature rows of one group must weigh alike"):
        MoEClassifier(2, group_feature="id", gate_features=["z"], class_weight="balanced").fit(X, y > 0)
    with pytest.raises(AttributeError) as refused:
        panel_model().partial_fit(X, y)
    assert "rows of one group may come in several batches" in str(refused.value.__cause__)
    with pytest.raises(TypeError, match="group_feature takes arrays and data frames"):
        by_group(Source(), 0)
    with pytest.raises(ValueError, match="rows of one group of group_feature are in several"):
        model.covariance("cluster", X, y, groups=np.arange(160))
    with pytest.raises(ValueError, match="group_responsibilities needs a fit with group_feature"):
        panel_model(1, group_feature=None).fit(X[["x", "z"]], y).group_responsibilities(X[["x", "z"]], y)


@pytest.mark.parametrize("expert", ["multinomial", "multivariate_gaussian"])
def test_classes_and_several_responses(expert):
    X, y, label = persons(30, 4)
    settings = {"expert_features": ["x"], "gate_features": ["z"], "group_feature": "id", "n_init": 4, "random_state": 0}
    if expert == "multinomial":
        model, y = MoEClassifier(2, **settings), np.where(y > 1, "high", np.where(y < -1, "low", "middle"))
    else:
        model, y = MoERegressor(2, expert=expert, **settings), np.column_stack([y, y**2])
    quietly(model.fit, X, y)
    assert abs(np.mean((model.responsibilities(X, y)[:, 1] > 0.5) == label) - 0.5) > 0.4
    np.testing.assert_allclose(model.score_samples(X, y).sum(), model.loglik_, rtol=1e-10)
    assert np.isfinite(model.diagnose(X, y, 0).pit).all()
    assert len(model.sample(X, 0)) == 120


def test_equal_groups_are_joined_and_others_are_not():
    pairing = np.array([[0, 0], [1, 1], [0, 1], [1, 0], [0, 0], [1, 1]], dtype=float)  # the first group equals the last
    X = np.column_stack([np.zeros(6), pairing[:, 0], np.repeat([5, 3, 7], 2)])
    panel = Panel("softmax", "gaussian")
    blocks = panel.visited(ArraySource(X, pairing[:, 1]))
    assert blocks.n_distinct == 2
    rows = blocks.representatives(10, np.random.default_rng(0))
    assert sorted(rows.block.weight) == [1.0, 2.0] and rows.block.n_rows == 4


def test_penalties_and_prices_count_groups(fitted):
    model, _, _, _ = fitted
    one = model.fitted_.certificate.checked[0]
    assert (one.n_rows, one.what) == (40, "group")
    np.testing.assert_allclose(one.chance, chance(4 * one.rows, 160, 2), rtol=1e-10)
    panel, pull = Panel("softmax", "multinomial"), Pull(classes=np.full(3, 1 / 3))
    panel.X[:, 1] = panel.X[:, 0]
    first = [np.flatnonzero(panel.group == code)[0] for code in range(5)]
    groups = panel.visited(ArraySource(panel.X, panel.y))
    rows = panel.visited(ArraySource(panel.X[first], panel.y[first]))
    found = [b.sum(lambda block, p: pull.sums(panel.model, block, p, True), panel.params) for b in (groups, rows)]
    assert_close(*found, 1e-10)


def test_truths_of_panels():
    panel = Panel("softmax", "gaussian")
    truth = Truth(panel.model, panel.params, "normal", group_size=3)
    X, y = truth.draw(100, np.random.default_rng(0))
    assert X.shape == (100, 2) and X[:7, 1].tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert np.all(X[0:99:3, 0] == X[1:99:3, 0])
    model = MoERegressor(2, group_feature=-1, start=truth.params, n_init=1)
    outcome = fit_with_solver(EMNewton(), truth.model, X, y, truth.params, truth.roles)
    np.testing.assert_allclose(outcome.loglik, quietly(model.fit, X, y).loglik_, rtol=1e-9)
    assert outcome.loglik > truth.loglik(X, y)
    at_truth = quietly(model.set_params(solver="em", max_iter=0).fit, X, y)
    np.testing.assert_allclose(truth.loglik(X, y), at_truth.loglik_, rtol=1e-10)
    assert truth.describe()["group_size"] == 3
