"""Pictures: what is drawn where."""

import itertools

import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib.colors import to_hex
from sklearn.datasets import load_iris
from sklearn.inspection import partial_dependence

from families import Line, PoissonExpert, three_classes
from helpers import quietly, wearing
from smoe import MoEClassifier, MoERegressor, SoftmaxMoERegressor
from smoe.datasets import load_engel, load_ethanol, load_faithful, make_moe
from smoe.gates import GATES
from smoe.plots import plot_coefficients, plot_fit
from smoe.plots._axes import expert_styles
from smoe.plots._curves import _PLACES, curves


@pytest.fixture(autouse=True)
def no_window():
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    yield
    plt.close("all")


def test_one_covariate():
    frame = load_faithful(as_frame=True)
    model = SoftmaxMoERegressor(2, random_state=0).fit(frame.data, frame.target)
    top, bottom = plot_fit(model, frame.data, frame.target, coverage=0.8).axes
    assert (top.get_ylabel(), bottom.get_xlabel(), bottom.get_ylabel()) == ("eruptions", "waiting", "gate probability")
    labels = [text.get_text() for text in top.get_legend().get_texts()]
    assert labels == ["80 % prediction band", "data", "expert 0", "expert 1", "mean"]
    grid, mean = top.lines[-1].get_data()
    rows = pd.DataFrame({"waiting": grid})
    np.testing.assert_allclose(mean, model.predict(rows))
    for k, line in enumerate(bottom.lines):
        np.testing.assert_allclose(line.get_ydata(), model.gate_proba(rows)[:, k])


def test_confidence_band_of_the_mean():
    X, y = load_faithful(return_X_y=True)
    model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    axis = plot_fit(model, X, y, mean_coverage=0.99).axes[0]
    assert [text.get_text() for text in axis.get_legend().get_texts()][-1] == "99 % band of the mean"
    edge = axis.collections[-1].get_paths()[0].vertices
    grid = axis.lines[-1].get_xdata()
    low, high = model.mean_interval(grid[:, None], 0.99).T
    assert np.all(np.isin(low, edge[:, 1])) and np.all(np.isin(high, edge[:, 1]))


@pytest.fixture(scope="module")
def two_columns():
    """Columns that depend on each other, and a frame of them."""
    rng = np.random.default_rng(0)
    a = rng.gamma(3.0, 1.0, 1000)
    frame = pd.DataFrame({"a": a, "b": 0.8 * a + rng.normal(0, 0.1, 1000)})
    y = (
        5 * frame["b"]
        - 4 * frame["a"]
        + rng.normal(0, np.where(rng.uniform(size=1000) < 1 / (1 + np.exp(a - 3)), 0.6, 0.1))
    )
    return SoftmaxMoERegressor(2, random_state=0).fit(frame, y), frame, y


def test_several_covariates_need_a_choice():
    moe = make_moe(200, 2, 2, random_state=0)
    model = SoftmaxMoERegressor(2, random_state=0).fit(moe.data, moe.target)
    with pytest.raises(ValueError, match="choose the column for the horizontal axis, one of"):
        plot_fit(model, moe.data, moe.target)
    with pytest.raises(ValueError, match="others='mean' is not known; choose 'near', 'average' or 'median'"):
        plot_fit(model, moe.data, moe.target, feature=1, others="mean")
    axis = plot_fit(model, moe.data, moe.target, feature=1, others="median").axes[0]
    grid, mean = axis.lines[-1].get_data()
    rows = np.column_stack([np.full(len(grid), np.median(moe.data[:, 0])), grid])
    np.testing.assert_allclose(mean, model.predict(rows))
    assert axis.get_legend().get_title().get_text() == "other columns: at their medians"


def test_the_band_holds_the_data_when_columns_depend_on_each_other(two_columns):
    """With the other column held still it does not."""
    model, frame, y = two_columns
    covered = {}
    for others in ("near", "average", "median"):
        found = curves(model.fitted_, frame, 0, others, 0.9, None)
        low, high = (np.interp(frame["a"], found.grid, edge) for edge in found.band)
        covered[others] = np.mean((low <= y) & (y <= high))
    assert abs(covered["near"] - 0.9) < 0.04 and covered["median"] < 0.6
    axis = plot_fit(model, frame, y, feature="a").axes[0]
    assert axis.get_legend().get_title().get_text() == "other columns: those of the rows around each a, averaged"


def test_partial_dependence_is_scikit_learns(two_columns):
    model, frame, y = two_columns
    frame = frame[:150]  # all rows are used
    found = curves(model.fitted_, frame, 1, "average", 0.8, None)
    grid = found.grid[[3, 40, 90]]
    expected = partial_dependence(model, frame, ["b"], custom_values={"b": grid}, kind="average")["average"][0]
    np.testing.assert_allclose(found.mean[[3, 40, 90]], expected)


@pytest.mark.parametrize("others", ["near", "average"])
def test_averages_are_those_of_the_rows(two_columns, others):
    model, frame, _ = two_columns
    found = curves(model.fitted_, frame, 0, others, 0.8, 0.95)
    np.testing.assert_allclose(found.mean, (found.proba * found.lines).sum(axis=1))
    grid, rows = _PLACES[others](frame.to_numpy(), 0)
    for at in (0, 50):
        here = pd.DataFrame(rows[at], columns=["a", "b"])
        mixture = model.predict_distribution(here)
        for edge, level in zip(found.band[:, at], (0.1, 0.9), strict=True):
            assert mixture.cdf(edge).mean() == pytest.approx(level, abs=1e-9)
        np.testing.assert_allclose(found.mean_band[:, at], model.mean_interval(here, 0.95).mean(axis=0))
        assert here["a"].mean() == pytest.approx(grid[at])


def test_many_experts_have_colours_of_their_own_and_numbers():
    for n in (2, 6, 7, 12, 20):
        styles = expert_styles(n)
        assert len({to_hex(style["color"]) for style in styles}) == n
        assert all(one["ls"] != other["ls"] for one, other in itertools.pairwise(styles))
    moe = make_moe(400, n_experts=8, random_state=0)
    model = quietly(SoftmaxMoERegressor(8, random_state=0, n_init=5, max_iter=5).fit, moe.data, moe.target)
    top, bottom = plot_fit(model, moe.data, moe.target).axes
    assert [text.get_text() for text in top.get_legend().get_texts()] == ["90 % prediction band", "data", "mean"]
    visible = np.flatnonzero([line.get_ydata().max() > 0.02 for line in bottom.lines])
    assert [text.get_text() for text in bottom.texts] == [text.get_text() for text in top.texts] == [*map(str, visible)]


def test_data_that_do_not_fit_are_named():
    X, y = load_faithful(return_X_y=True)
    model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    for bad, words in (((X[:, 0], y), "Expected 2D array"), ((X, y[:5]), "inconsistent"), ((X, y + np.nan), "NaN")):
        with pytest.raises(ValueError, match=words):
            plot_fit(model, *bad)


def test_polars_frames_keep_their_names():
    moe = make_moe(100, n_features=2, n_experts=2, random_state=0)
    frame = pl.DataFrame({"a": moe.data[:, 0], "b": moe.data[:, 1]})
    model = quietly(SoftmaxMoERegressor(2, random_state=0).fit, frame, moe.target)
    assert plot_fit(model, frame, moe.target, feature="b").axes[1].get_xlabel() == "b"


def test_bands_of_counts_are_steps():
    X = np.linspace(0, 2, 60)[:, None]
    model = wearing(PoissonExpert(), Line(np.array([[1.0], [0.5]]), np.array([0.0, 2.0])), X)
    top = plot_fit(model, X, model.sample(X, random_state=0)).axes[0]
    grid = top.lines[-1].get_xdata()
    low, high = model.predict_interval(grid[:, None], 0.9).T
    drawn = np.unique(top.collections[0].get_paths()[0].vertices[:, 1])
    np.testing.assert_array_equal(drawn, np.unique([low, high]))
    np.testing.assert_allclose(top.lines[-1].get_ydata(), model.predict(grid[:, None]))


def test_classes_are_not_drawn():
    X = np.linspace(0, 2, 60)[:, None]
    model = wearing(three_classes(), Line(np.zeros((1, 2, 1)), np.zeros((1, 2))), X)
    with pytest.raises(ValueError, match="plot_fit draws responses that are numbers; those of .* are classes"):
        plot_fit(model, X, np.zeros(60))


def test_coefficients_and_their_intervals():
    frame = load_engel(as_frame=True)
    model = SoftmaxMoERegressor(2, random_state=0).fit(frame.data, frame.target)
    robust = model.covariance("sandwich", frame.data, frame.target)
    figure = plot_coefficients(model, frame.data, ["pay"], coverage=0.8, covariance=robust)
    table = model.summary(coverage=0.8, covariance=robust).to_frame() * frame.data.to_numpy().std()
    gate, expert = figure.axes
    for axis, side, drawn in ((gate, "gate", 1), (expert, "expert", 2)):
        assert [label.get_text() for label in axis.get_yticklabels()] == ["pay"]
        marks, lines = axis.lines[1 : 1 + drawn], axis.collections  # the first line is zero
        assert len(lines) == drawn
        for k in range(drawn):
            row = table.loc[f"{side} {k}: {frame.data.columns[0]}"]
            assert marks[k].get_xdata()[0] == pytest.approx(row["estimate"])
            np.testing.assert_allclose(lines[k].get_segments()[0][:, 0], row[["ci_low", "ci_high"]])
    plain = plot_coefficients(model).axes[1].lines[1].get_xdata()
    assert plain[0] == pytest.approx(model.expert_coef_[0, 0])


def test_coefficients_without_standard_errors_have_no_line():
    X, y = load_ethanol(return_X_y=True)
    model = quietly(SoftmaxMoERegressor(2, random_state=0, gate_features=[]).fit, X, y)
    separated = quietly(SoftmaxMoERegressor(2, random_state=0, gate_features=[1], expert_features=[1]).fit, X, y)
    assert not separated.converged_
    gate, expert = quietly(plot_coefficients, separated, names=["C", "E"]).axes
    assert not np.isfinite(np.array(gate.collections[0].get_segments())).any()
    assert [label.get_text() for label in expert.get_yticklabels()] == ["E"]
    gate, expert = plot_coefficients(model).axes
    assert not gate.get_yticklabels() and len(expert.get_yticklabels()) == 2


@pytest.mark.parametrize("gate", GATES)
def test_coefficients_of_every_gate_are_drawn(gate):
    X, y = load_faithful(return_X_y=True)
    model = quietly(MoERegressor(3, gate=gate, n_init=1, max_iter=5, random_state=0).fit, X, y)
    side, experts = quietly(plot_coefficients, model).axes
    slopes = [e for e, fixed in zip(model.fitted_.entries(), model.fitted_.pinned, strict=True) if not fixed]
    slopes = {entry.expert for entry in slopes if entry.part == "gate" and entry.feature is not None}
    assert len(side.get_legend_handles_labels()[1]) == len(slopes if GATES[gate]().linear else [])
    assert experts.get_legend_handles_labels()[1] == ["expert 0", "expert 1", "expert 2"]


def test_coefficients_of_classes_have_a_row_each():
    X, y = load_iris(return_X_y=True)
    model = MoEClassifier(1).fit(X, y)
    labels = [text.get_text() for text in plot_coefficients(model).axes[1].get_yticklabels()]
    assert labels[:3] == ["x0 [0 vs 2]", "x1 [0 vs 2]", "x2 [0 vs 2]"] and len(labels) == 8
