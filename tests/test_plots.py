"""Pictures: what is drawn where."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from helpers import quietly
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
