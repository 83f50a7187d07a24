"""Pictures of a diagnosis: what is drawn where, and that bands hold what they promise."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from smoe import SoftmaxMoERegressor
from smoe.datasets import load_engel
from smoe.diagnostics import Rootogram
from smoe.plots import (
    plot_diagnostics,
    plot_expert_load,
    plot_pit,
    plot_residual_qq,
    plot_residuals,
    plot_rootogram,
)
from smoe.plots.diagnostics import _qq_band


@pytest.fixture(autouse=True)
def no_window():
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def diagnosis():
    X, y = load_engel(return_X_y=True)
    return SoftmaxMoERegressor(2, random_state=0).fit(X, y).diagnose(X, y)


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("n", [1, 30, 3000])
def test_the_band_of_the_qq_plot_holds_normal_samples(n):
    orders, low, high = _qq_band(n, 0.9)
    rng, inside = np.random.default_rng(1), 0
    for _ in range(400):
        values = np.sort(rng.normal(size=n))[orders - 1]
        inside += np.all((low <= values) & (values <= high))
    assert 0.85 < inside / 400 < 0.95  # a standard error is 0.018
    np.testing.assert_allclose(low, -high[::-1], rtol=1e-9)


def test_qq(diagnosis):
    ax = plot_residual_qq(diagnosis, 0.9)
    points = ax.lines[-1].get_xydata()
    np.testing.assert_array_equal(points[:, 1], np.sort(diagnosis.residuals))
    np.testing.assert_allclose(points[:, 0], norm.ppf((np.arange(235) + 0.5) / 235))
    assert labels(ax) == ["90 % band", "model", "residuals"]


def test_pit(diagnosis):
    ax = plot_pit(diagnosis, 4, 0.9)
    heights = ax.patches[-1].get_data().values
    np.testing.assert_allclose(heights * 235 / 4, np.histogram(diagnosis.pit, 4, (0, 1))[0])
    box = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    np.testing.assert_allclose([box.y0, box.y1], binom.ppf([0.0125, 0.9875], 235, 0.25) * 4 / 235)
    assert labels(ax) == ["90 % band", "PIT values", "model"]


def test_residuals_and_their_quantiles(diagnosis):
    x = np.arange(235.0)
    ax = plot_residuals(diagnosis, x, "row")
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), np.column_stack([x, diagnosis.residuals]))
    first = np.array_split(diagnosis.residuals, 7)[0]
    for line, level in zip(ax.lines[1::2], (0.1, 0.5, 0.9), strict=True):
        assert line.get_ydata()[0] == np.quantile(first, level)
    assert ax.get_xlabel() == "row"
    np.testing.assert_array_equal(plot_residuals(diagnosis).lines[0].get_xdata(), diagnosis.fitted)


def test_load(diagnosis):
    heights = [bar.get_height() for bar in plot_expert_load(diagnosis).patches]
    np.testing.assert_allclose(heights, [*diagnosis.load / 235, *diagnosis.first])


def test_bars_hang_from_what_is_expected():
    found = Rootogram(np.array([0.0, 2.0, 4.0, 6.0]), np.array([9.0, 4.0, 0.0]), np.array([8.0, 5.5, 1.2]))
    ax = plot_rootogram(found)
    bars = [patch for patch in ax.patches if np.isclose(patch.get_width(), 1.8)]
    top = [bar.get_y() for bar in bars]
    np.testing.assert_allclose(top, np.sqrt(found.expected))
    np.testing.assert_allclose([bar.get_height() for bar in bars], -np.sqrt(found.observed))
    np.testing.assert_allclose([bar.get_x() + 0.9 for bar in bars], [0.5, 2.5, 4.5])
    np.testing.assert_allclose(ax.lines[0].get_xydata(), np.column_stack([[0.5, 2.5, 4.5], np.sqrt(found.expected)]))
    assert sorted(labels(ax)) == ["expected", "observed"]


def test_all_of_it(diagnosis):
    figure = plot_diagnostics(diagnosis, 0.8)
    assert [ax.get_xlabel() for ax in figure.axes] == ["normal quantile", "fitted mean", "PIT value", "expert"]
    assert labels(figure.axes[0])[0] == labels(figure.axes[2])[0] == "80 % band"


def test_an_estimator_is_diagnosed():
    X, y = load_engel(return_X_y=True)
    model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    expected, figure = plot_diagnostics(model.diagnose(X, y), coverage=0.8), plot_diagnostics(model, X, y, coverage=0.8)
    for one, other in zip(expected.axes, figure.axes, strict=True):
        assert labels(one) == labels(other)
        for a, b in zip(one.lines, other.lines, strict=True):
            np.testing.assert_array_equal(a.get_xydata(), b.get_xydata())
    for wrong in ((model,), (model, X), (X, X, y)):
        with pytest.raises(TypeError, match="must be a Diagnosis.*or a fitted estimator with X and y"):
            plot_diagnostics(*wrong)


def test_bars_have_their_numbers(diagnosis):
    texts = [text.get_text() for text in plot_expert_load(diagnosis).texts]
    assert texts == [f"{share:.2f}" for share in [*diagnosis.load / 235, *diagnosis.first]]


def test_many_residuals_are_thinned_but_not_in_the_tails(diagnosis):
    values = np.random.default_rng(0).normal(size=20_000)
    many = type(diagnosis)(**{**vars(diagnosis), "residuals": values, "fitted": values, "pit": norm.cdf(values)})
    drawn = plot_residual_qq(many).lines[-1].get_ydata()
    assert len(drawn) < 5000 and np.isin(np.sort(values)[:500], drawn).all() and values.max() in drawn
    assert len(plot_residuals(many).lines[0].get_xdata()) < 5000


def test_bad_arguments(diagnosis):
    with pytest.raises(ValueError, match="coverage must lie strictly between 0 and 1"):
        plot_residual_qq(diagnosis, 1.0)
    with pytest.raises(ValueError, match="coverage must lie strictly between 0 and 1"):
        plot_pit(diagnosis, coverage=90)
    with pytest.raises(ValueError, match="n_bins must be an integer of at least 1"):
        plot_pit(diagnosis, 0)
    with pytest.raises(ValueError, match=r"x must have one number per residual, shape \(235,\), got \(3,\)"):
        plot_residuals(diagnosis, np.zeros(3))
