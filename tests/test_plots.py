"""Pictures: what is drawn where."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from families import Line, MultinomialExpert, PoissonExpert
from helpers import quietly, wearing
from smoe import SoftmaxMoERegressor
from smoe.datasets import load_faithful, make_moe
from smoe.plots import plot_fit


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


def test_several_covariates_need_a_choice():
    moe = make_moe(200, 2, 2, random_state=0)
    model = SoftmaxMoERegressor(2, random_state=0).fit(moe.data, moe.target)
    with pytest.raises(ValueError, match="choose the column for the horizontal axis, one of"):
        plot_fit(model, moe.data, moe.target)
    grid, mean = plot_fit(model, moe.data, moe.target, feature=1).axes[0].lines[-1].get_data()
    rows = np.column_stack([np.full(len(grid), np.median(moe.data[:, 0])), grid])
    np.testing.assert_allclose(mean, model.predict(rows))


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
    model = wearing(MultinomialExpert(), Line(np.zeros((1, 2, 1)), np.zeros((1, 2))), X)
    with pytest.raises(ValueError, match="plot_fit draws responses that are numbers; those of .* are classes"):
        plot_fit(model, X, np.zeros(60))
