"""Marginal effects, memberships, classification tables, tables in Markdown, fits that cannot be compared."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from helpers import quietly
from smoe import MoEClassifier, MoERegressor, TopKMoERegressor
from smoe.datasets import make_moe
from smoe.inference import classification_table, compare_fits, marginal_effects, membership
from smoe.inference.membership import _classification


def counts():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=300), rng.uniform(0.2, 5, 300)
    return pd.DataFrame({"x": x, "t": t, "y": rng.poisson(t * np.exp(0.3 + 0.6 * x))})


@pytest.fixture(scope="module")
def moe():
    return make_moe(150, n_features=2, n_experts=2, random_state=2)


@pytest.fixture(scope="module")
def model(moe):
    return MoERegressor(2, n_init=6, random_state=0).fit(moe.data, moe.target)


@pytest.fixture(scope="module")
def poisson():
    return MoERegressor(1, expert="poisson", formula="y ~ x + exposure(t)").fit(counts())


def slope_of_the_mean(model, X, j, step=1e-5):
    """Average of central differences of predictions, and of the experts' means."""
    ends = [X + sign * step * np.eye(X.shape[1])[j] for sign in (-1, 1)]

    def at(p):
        low, high = (
            np.vstack([model.fitted_.model.mean(b, p), model.fitted_.model.expert.mean(b.rows, p.expert)]).mean(axis=1)
            for end in ends
            for b in [model.fitted_.blocks(end).only]
        )
        return (high - low) / (2 * step)

    return model.delta_method(at)


# Marginal effects ----------------------------------------------------------------------------------------------------


def test_effects_are_mean_derivatives_with_errors_by_the_delta_method(model, moe):
    frame = marginal_effects(model, moe.data).to_frame()
    for j in range(2):
        found = frame.loc[[f"mean of y: x{j}", f"expert 0: x{j}", f"expert 1: x{j}"]]
        wanted = slope_of_the_mean(model, moe.data, j)
        assert_allclose(found["estimate"], wanted.estimate, rtol=1e-6)
        assert_allclose(found["std_err"], wanted.std_err, rtol=1e-5)
    experts = frame.loc[["expert 0: x0", "expert 0: x1"]]
    assert_allclose(experts["estimate"], model.expert_coef_[0], rtol=1e-9)
    assert_allclose(experts["std_err"], model.standard_errors_.expert.coef[0], rtol=1e-9)
    weight = np.repeat([2.0, 1.0], 75)
    twice = np.concatenate([moe.data[:75], moe.data])
    counted = marginal_effects(model, moe.data, sample_weight=weight).to_frame()
    assert_allclose(counted["estimate"], marginal_effects(model, twice).to_frame()["estimate"], rtol=1e-8)


def test_effects_are_at_the_own_exposure_of_rows(poisson):
    """The mean is t exp(b0 + b1 x), and its slope b1 mean, on the average b1 times the mean of y."""
    data, slope = counts(), poisson.expert_coef_[0, 0]
    table = marginal_effects(poisson, data)
    frame = table.to_frame()
    assert list(frame.index) == ["mean of y: x", "expert 0: x"]
    assert_allclose(frame["estimate"], [2.5079367601] * 2, rtol=1e-8)
    assert_allclose(frame["estimate"], slope * data.y.mean(), rtol=1e-9)
    text = str(table).splitlines()
    assert text[5].startswith("mean of y ") and text[8].startswith("expert 0 ")
    assert text[6].index("2.5079") + 6 == text[5].index("estimate") + 8
    weighted = poisson.delta_method(lambda p: p.expert.coef[0, 0] * np.mean(
        data.t * np.exp(p.expert.intercept[0] + p.expert.coef[0, 0] * data.x)))  # fmt: skip
    assert_allclose(frame["std_err"], weighted.std_err, rtol=1e-7)


def test_effects_of_terms_and_levels():
    rng, n = np.random.default_rng(3), 90
    data = pd.DataFrame({"x": rng.normal(size=n), "g": rng.choice(list("abc"), n), "d": rng.integers(0, 2, n)})
    data["y"] = data.x**2 + data.d + (data.g == "b") * data.x + 0.1 * rng.normal(size=n)
    one = MoERegressor(1, formula="y ~ x + I(x**2) + bs(x, df=4):d + C(g)*x").fit(data)
    frame = marginal_effects(one, data).to_frame()
    names = ["x", "g (b - a)", "g (c - a)", "d (1 - 0)"]
    assert list(frame.index[:4]) == [f"mean of y: {name}" for name in names]
    at = {name: one.predict(data.assign(**{name[0]: value})) for name, value in
          {"d1": 1, "d0": 0, "ga": "a", "gb": "b", "gc": "c"}.items()}  # fmt: skip
    wanted = [(at[a] - at[b]).mean() for a, b in (("gb", "ga"), ("gc", "ga"), ("d1", "d0"))]
    assert_allclose(frame["estimate"].iloc[1:4], wanted, rtol=1e-9)
    inside = data[(data.x > data.x.min()) & (data.x < data.x.max())]
    few = marginal_effects(one, inside, features=["x"]).to_frame()
    slope = [one.predict(inside.assign(x=inside.x + sign * 1e-6)) for sign in (-1, 1)]
    assert_allclose(few["estimate"].iloc[0], (slope[1] - slope[0]).mean() / 2e-6, rtol=1e-6)
    plain = MoERegressor(1, formula="y ~ x + I(x**2)").fit(data)
    b, c = plain.expert_coef_[0]
    assert_allclose(marginal_effects(plain, data).to_frame()["estimate"], b + 2 * c * data.x.mean(), rtol=1e-8)


def test_a_column_of_the_gate_alone_has_no_effect_on_experts(moe):
    model = quietly(MoERegressor(2, expert_features=[1], n_init=4, random_state=0).fit, moe.data, moe.target)
    frame = marginal_effects(model, moe.data).to_frame()
    assert (frame.loc[["expert 0: x0", "expert 1: x0"], "estimate"] == 0.0).all()
    assert frame.loc[["expert 0: x0", "expert 1: x0"], "std_err"].isna().all()
    assert frame.loc["mean of y: x0", "estimate"] != 0.0 and frame.loc["mean of y: x0", "std_err"] > 0


def test_effects_on_several_responses(moe):
    y = np.column_stack([moe.target, moe.data[:, 0] + moe.target**2])
    both = quietly(MoERegressor(1, expert="multivariate_gaussian").fit, moe.data, y)
    frame = marginal_effects(both, moe.data).to_frame()
    index = [f"expert 0: x{j} [y{r}]" for j in (0, 1) for r in (0, 1)]
    assert_allclose(frame.loc[index, "estimate"], both.expert_coef_[0].T.ravel(), rtol=1e-8)
    assert_allclose(frame.loc[index, "std_err"], both.standard_errors_.expert.coef[0].T.ravel(), rtol=1e-8)


def test_effects_that_there_are_not(model, moe):
    hard = quietly(TopKMoERegressor(2, top_k=1, n_init=2, random_state=0).fit, moe.data, moe.target)
    with pytest.raises(ValueError, match="the mean jumps behind TopKGate"):
        marginal_effects(hard, moe.data)
    classes = MoEClassifier(1).fit(moe.data, moe.target > 0)
    with pytest.raises(ValueError, match="classes do not have"):
        marginal_effects(classes, moe.data)
    with pytest.raises(ValueError, match="'z' is not among the covariates, .'x0', 'x1'."):
        marginal_effects(model, moe.data, features=["z"])
    for features in ("x0", [], [["x0"]]):
        with pytest.raises(TypeError, match="features must be a list"):
            marginal_effects(model, moe.data, features=features)


# Membership ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given_y", [True, False])
def test_memberships_have_errors_by_the_delta_method(model, moe, given_y):
    X, y = moe.data[:20], moe.target[:20] if given_y else None
    found, fit = membership(model, X, y), model.fitted_
    if given_y:
        blocks, function = fit.blocks(X, y), fit.model.responsibilities
    else:
        blocks, function = fit.blocks(X), fit.model.gate_proba
    wanted = model.delta_method(lambda p: blocks.map(function, p).T)
    assert_allclose(found.estimate, wanted.estimate, rtol=1e-12)
    assert_allclose(found.std_err, wanted.std_err, rtol=1e-5, atol=1e-9)
    ends = found.interval(0.9)
    assert np.all((ends >= 0) & (ends <= 1))
    assert np.all((ends[..., 0] <= found.estimate) & (found.estimate <= ends[..., 1]))
    p, odds = (np.take(a, 3) for a in (found.estimate, found.std_err))
    assert_allclose(np.log(ends[1, 1] / (1 - ends[1, 1])), np.log(p / (1 - p)) + np.array([-1, 1]) * 1.644853627 * odds
                    / (p * (1 - p)), rtol=1e-7)  # fmt: skip


def test_classification_by_hand(model, moe):
    resp = np.array([[0.9, 0.5, 1.0], [0.1, 0.5, 0.0]])
    found = _classification(resp, np.ones(3))
    assert_allclose(found.entropy, 0.5103348022, rtol=1e-9)
    assert_allclose(found.n_rows, [3, 0])
    assert_allclose(found.mean[0], [0.8, 0.2], rtol=1e-12)
    assert np.isnan(found.mean[1]).all()
    assert _classification(np.ones((1, 4)), np.ones(4)).entropy == 1.0
    X, y, weight = moe.data, moe.target, np.repeat([2.0, 1.0], 75)
    resp = model.responsibilities(X, y)
    assigned = resp.argmax(axis=1)
    found = classification_table(model, X, y, sample_weight=weight)
    for k in (0, 1):
        assert_allclose(found.mean[k], np.average(resp[assigned == k], axis=0, weights=weight[assigned == k]))
        assert found.n_rows[k] == weight[assigned == k].sum()
    assert_allclose(1 - classification_table(model, X, y).entropy, model.diagnose(X, y).entropy, rtol=1e-9)
    assert "entropy" in str(found) and found.to_frame().shape == (2, 3) and "\\toprule" in found.to_latex()


# Tables --------------------------------------------------------------------------------------------------------------


def cells_of(markdown):
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in markdown.splitlines()]


def test_markdown_says_what_the_text_says(model):
    heading, rule, section, first, *_ = cells_of(model.summary(["a|b", "c"]).to_markdown())
    assert heading[1:5] == ["estimate", "std. err.", "z", "p"] and rule[:2] == [":--", "--:"]
    assert section[0] == "**gate 0**" and first[0] == r"a\|b"
    assert_allclose(float(first[1]), model.gate_coef_[0, 0], rtol=1e-4)
    wide = model.summary().wide().to_markdown()
    assert len({line.count(" | ") for line in wide.splitlines()}) == 1 and "| **expert** |  |  |" in wide


def test_only_fits_to_the_same_responses_are_compared(model, moe):
    one, order = MoERegressor(1), np.random.default_rng(0).permutation(150)
    same = one.fit(moe.data[order], moe.target[order]).fitted_
    assert compare_fits([model, same]).to_frame().loc[("fit", "rows")].tolist() == ["150", "150"]
    for rows, y in ((slice(149), moe.target[:149]), (slice(None), moe.target + 1e-3)):
        with pytest.raises(ValueError, match=r"\(1\) \(150 rows\) and \(2\) .* were fitted to other rows"):
            compare_fits([model, one.fit(moe.data[rows], y)])
    whole = np.round(np.abs(moe.target))
    other = [one.fit(moe.data, whole).fitted_, MoERegressor(1, expert="poisson").fit(moe.data, whole).fitted_]
    with pytest.raises(ValueError, match="are real in a and integers in b"):
        compare_fits(other, ["a", "b"])


@pytest.mark.filterwarnings("ignore:30 groups")
def test_factors_for_small_samples(poisson):
    data = counts()
    groups = np.repeat(np.arange(30), 10)

    def error(**settings):
        kind = "cluster" if "groups" in settings else "sandwich"
        return poisson.covariance(kind, data, data.y, **settings).standard_errors.expert.coef[0, 0]

    plain = error(groups=groups)
    assert_allclose(error(groups=groups, correction=True) / plain, 1.0170953, rtol=1e-7)
    assert_allclose(error(groups=groups, correction="df") / plain, 1.0188004, rtol=1e-7)
    assert_allclose(error(correction="df") / error(), np.sqrt(300 / 298), rtol=1e-9)
    assert "times n / (n - df)" in poisson.covariance("sandwich", data, data.y, correction="df").label
    with pytest.raises(TypeError, match="True, False or 'df'"):
        error(correction="hc1")
