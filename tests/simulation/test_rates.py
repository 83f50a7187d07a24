"""Slopes against losses whose rate is known, and what the picture shows of them."""

import sys

import numpy as np
import pytest
import studies
from studies import study, truth_of

from smoe.plots import plot_rates
from smoe.simulation import Record, StudyResult

SIZES = [100, 300, 1000, 3000, 10_000, 30_000]


def record(n, replication, losses, converged=True, below=False, failed=False):
    parameters = None if failed else {"gate": {"coef": [[1.0]]}, "expert": {"variance": [2.0]}}
    loglik = np.nan if failed else -3.0 if below else -1.0
    return Record(n, replication, [0, n, replication], parameters, loglik, -2.0, 0.0, 9, converged, "", 0.1, losses)


def noisy(rng, slope=-0.5, n_replications=20, sizes=SIZES):
    """Losses with a skewed error and a known power of n."""
    return StudyResult(
        record(n, r, {"D": float(7.0 * n**slope * rng.exponential())}) for n in sizes for r in range(n_replications)
    )


def exact(slope=-0.25, n_replications=3):
    """Median 3 n^slope, mean 4 n^slope."""
    return StudyResult(record(n, r, {"D": [2.0, 3.0, 7.0][r] * n**slope}) for n in SIZES for r in range(n_replications))


def test_an_exact_power():
    for center, constant in (("median", 3.0), ("mean", 4.0)):
        rate = exact().rate("D", center)
        assert rate.slope == pytest.approx(-0.25, rel=1e-12)
        assert np.exp(rate.log_intercept) == pytest.approx(constant, rel=1e-12)
        assert rate.at(50.0) == pytest.approx(constant * 50.0**-0.25, rel=1e-12)
        assert (rate.center, rate.confidence, rate.n_min, rate.n_max) == (center, 0.95, 100, 30_000)
        assert (rate.n_sizes, rate.n_fits) == (6, 18)


def test_least_squares_by_numpy(rng):
    result = noisy(rng)
    medians = [np.median(values) for values in result.values("D").values()]
    slope, intercept = np.polyfit(np.log(SIZES), np.log(medians), 1)
    rate = result.rate("D")
    assert (rate.slope, rate.log_intercept) == (pytest.approx(slope), pytest.approx(intercept))


@pytest.mark.parametrize("center", ["median", "mean"])
def test_intervals_hold_the_true_slope(center, rng):
    rates = [noisy(rng).rate("D", center, n_boot=300) for _ in range(200)]
    held = np.mean([rate.interval[0] < -0.5 < rate.interval[1] for rate in rates])
    assert 0.88 <= held <= 0.99
    errors = np.mean([rate.standard_error for rate in rates])
    assert 0.8 < errors / np.std([rate.slope for rate in rates]) < 1.3


def test_confidence_and_bootstrap_by_hand(rng):
    result = noisy(rng, n_replications=10)
    wide, narrow = (result.rate("D", "mean", confidence=c, n_boot=4000) for c in (0.95, 0.5))
    assert wide.interval[0] < narrow.interval[0] < narrow.slope < narrow.interval[1] < wide.interval[1]
    slopes = []
    for _ in range(2000):
        means = [rng.choice(values, len(values)).mean() for values in result.values("D").values()]
        slopes.append(np.polyfit(np.log(SIZES), np.log(means), 1)[0])
    assert wide.standard_error == pytest.approx(np.std(slopes), rel=0.1)
    assert wide.interval == pytest.approx(np.quantile(slopes, [0.025, 0.975]), abs=0.2 * np.std(slopes))
    assert result.rate("D") == result.rate("D") != result.rate("D", random_state=1)


def test_a_range_of_sizes():
    bent = StudyResult(record(n, r, {"D": max(n, 1000) ** -0.5 * (1 + 0.1 * r)}) for n in SIZES for r in range(3))
    rate = bent.rate("D", n_min=1000)
    assert rate.slope == pytest.approx(-0.5) and (rate.n_min, rate.n_sizes) == (1000, 4)
    assert bent.rate("D", n_max=1000).slope == pytest.approx(0.0, abs=1e-12)
    assert bent.rate("D").slope > -0.45


def test_losses_that_are_missing():
    records = exact().records
    gaps = [record(100, 3, {}, converged=False, failed=True), record(100, 4, {"D": np.nan}), record(50, 0, {"E": 1.0})]
    result = StudyResult([*records, *gaps, record(100, 5, {"D": np.inf})])
    assert result.rate("D") == exact().rate("D")
    assert result.losses == ["E", "D"] and list(result.values("D")) == SIZES


def test_no_interval_without_replications():
    rate = exact(n_replications=1).rate("D")
    assert rate.slope == pytest.approx(-0.25) and np.isnan([rate.standard_error, *rate.interval]).all()


def test_losses_of_zero():
    result = StudyResult(record(n, r, {"D": float(r) / n}) for n in SIZES for r in range(3))
    assert np.isnan(result.rate("D").interval).all() and result.rate("D").slope == pytest.approx(-1)
    result = StudyResult(record(n, 0, {"D": float(n > 300)}) for n in SIZES)
    with pytest.raises(ValueError, match="the median of 'D' at n=100 is not positive"):
        result.rate("D")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"loss": "no"}, ValueError, "loss='no' is not in the records; choose one of D"),
        ({"center": "mode"}, ValueError, "center must be 'median' or 'mean'"),
        ({"n_min": "100"}, TypeError, "n_min must be a number, got '100'"),
        ({"n_max": 0}, ValueError, "n_max must be a number of at least 1, got 0"),
        ({"n_min": 30_000}, ValueError, r"needs 'D' at two sizes at least, got \[30000\]"),
        ({"confidence": 1.0}, ValueError, "confidence must lie strictly between"),
        ({"confidence": [0.5, 0.9]}, ValueError, "confidence must be one number"),
        ({"center": ["mean"]}, ValueError, "center must be 'median' or 'mean'"),
        ({"n_boot": 0}, ValueError, "n_boot"),
        ({"random_state": "0"}, TypeError, "random_state"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        exact().rate(**{"loss": "D", **arguments})


def test_numbers_within_losses():
    losses = {"D": 1.0, "cells": {"coef": [2.0, 3.0], "gate": {"a": 4.0}}}
    result = StudyResult([record(100, 0, losses)])
    assert result.losses == ["D", "cells.coef.0", "cells.coef.1", "cells.gate.a"]
    assert result.values("cells.coef.1")[100].tolist() == [3.0]


def test_shares_and_choice():
    kinds = [{}, {"below": True}, {"converged": False}, {"converged": False, "failed": True}]
    result = StudyResult([record(100, r, {"D": 1.0}, **kind) for r, kind in enumerate(kinds)], {"random_state": 0})
    assert (result.share_below_truth, result.share_uncertified, result.share_failed) == (0.5, 0.5, 0.25)
    certified = result.where(lambda r: r.converged)
    assert len(certified.records) == 2 and certified.settings == {"random_state": 0}
    assert "2 records, 1 sizes, losses ['D']" in repr(certified)
    assert np.isnan(StudyResult([]).share_failed)


def test_more_losses_from_the_same_fits():
    result, truth = study(sizes=[60, 61], n_replications=2, losses={}).run(), truth_of()
    more = result.with_losses(studies.LOSSES, truth)
    assert [r.losses for r in more.records] == [r.losses for r in study(sizes=[60, 61], n_replications=2).run().records]
    assert result.losses == [] and more.settings == result.settings
    failed = record(70, 0, {}, failed=True)
    assert StudyResult([failed]).with_losses(studies.LOSSES, truth).records == [failed]


def test_frame(monkeypatch):
    result = StudyResult([record(100, 0, {"D": 1.0, "c": [2.0, 3.0]}), record(100, 1, {}, failed=True)])
    frame = result.to_frame()
    assert frame.shape[0] == 2 and frame["D"].isna().tolist() == [False, True]
    assert {"n", "replication", "loglik", "truth_loglik", "converged", "seconds"} <= set(frame.columns)
    assert frame.loc[0, ["c.1", "gate.coef.0.0", "expert.variance.0"]].tolist() == [3.0, 1.0, 2.0]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="to_frame needs pandas: pip install pandas"):
        result.to_frame()


def test_summary():
    lines = exact().summary().splitlines()
    assert lines[0] == "18 fits, 6 sizes from 100 to 30000"
    assert lines[1] == "below the truth's likelihood 0.0%, uncertified 0.0%, raised an error 0.0%"
    assert lines[2].startswith("D  median  slope -0.2500  std. err. 0.") and "95% interval" in lines[2]
    assert lines[3].startswith("D  mean    slope -0.2500")
    assert "no rate: a rate needs" in exact().where(lambda r: r.n == 100).summary()
    assert StudyResult([]).summary().startswith("0 fits")


@pytest.fixture
def no_window():
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    yield
    plt.close("all")


def test_picture(no_window, rng):
    records = noisy(rng).records
    odd = [record(100, 20, {"D": 0.5}, below=True, converged=False), record(100, 21, {}, converged=False, failed=True)]
    result = StudyResult([*records, *odd])
    top, bottom = plot_rates(result, theory={"D": -0.5}).axes
    rate = result.rate("D")
    dots, line, theory = top.lines
    np.testing.assert_allclose(dots.get_ydata(), [np.median(v) for v in result.values("D").values()])
    np.testing.assert_allclose(line.get_ydata(), rate.at(np.array([100, 30_000])))
    x, y = theory.get_data()
    assert np.diff(np.log(y)) / np.diff(np.log(x)) == pytest.approx(-0.5)
    assert np.exp(np.log(y).mean()) == pytest.approx(rate.at(np.sqrt(3e6)))
    band = top.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(max(np.quantile(v, 0.9) for v in result.values("D").values()))
    low, high = rate.interval
    labels = [text.get_text() for text in top.get_legend().get_texts()]
    assert labels == [f"D: slope {rate.slope:.3f} ({low:.3f} to {high:.3f}), theory -0.5 (dashed)"]
    assert (top.get_xscale(), top.get_yscale(), bottom.get_xscale()) == ("log", "log", "log")
    shares = [text.get_text() for text in bottom.get_legend().get_texts()]
    assert shares == ["below the truth's likelihood: 1.6 %", "uncertified: 1.6 %"]
    np.testing.assert_allclose(bottom.lines[0].get_ydata(), [2 / 22, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(bottom.lines[1].get_ydata(), [2 / 22, 0, 0, 0, 0, 0])


def test_picture_of_a_choice(no_window):
    result = StudyResult(
        record(n, r, {"D": (1 + r) / n, "E": (1.0 + r) / n**0.5, "F": 1.0}) for n in SIZES for r in range(3)
    )
    top = plot_rates(result, ["E", "D"], theory=-1.0, center="mean", n_min=1000).axes[0]
    labels = [text.get_text() for text in top.get_legend().get_texts()]
    assert [(label[:9], label[-18:]) for label in labels] == [
        (f"{loss}: slope ", "theory -1 (dashed)") for loss in "ED"
    ]
    assert top.get_ylabel() == "mean loss" and top.lines[1].get_xdata()[0] == 1000
    assert len(plot_rates(result, "D").axes[0].get_legend().get_texts()) == 1
    with pytest.raises(ValueError, match="loss='G' is not in the records"):
        plot_rates(result, "G")
    with pytest.raises(ValueError, match="losses: there is none to draw"):
        plot_rates(StudyResult([record(100, 0, {})]))


def legend_texts(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_names_in_a_picture(no_window, rng):
    result = StudyResult(record(n, r, {"US$/x$": 1 / n + r, "D": 1 / n + r}) for n in SIZES for r in range(3))
    top = plot_rates(result, labels={"D": r"$\mathcal{D}_1$"}).axes[0]
    assert [text.partition(": ")[0] for text in legend_texts(top)] == [r"US\$/x\$", r"$\mathcal{D}_1$"]
    with pytest.raises(ValueError, match="labels: 'E' is not a loss of the records; choose from US.*, D"):
        plot_rates(result, labels={"E": "e"})


def test_losses_alone_in_a_narrow_picture(no_window, rng):
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(3.3, 2.8), layout="constrained")
    result = noisy(rng)
    assert plot_rates(result, theory=-0.5, axes=axis) is figure and figure.axes == [axis]
    assert axis.get_xlabel() == "number of rows n"
    figure.canvas.draw()
    for part in (axis.get_legend(), axis.yaxis.label, axis.xaxis.label):
        box = part.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0 and box.y1 <= figure.bbox.height
    words = " ".join(legend_texts(axis)[0].split())
    low, high = result.rate("D").interval
    assert words == f"D: slope {result.rate('D').slope:.3f} ({low:.3f} to {high:.3f}), theory -0.5 (dashed)"
    with pytest.raises(ValueError, match="axes must be one matplotlib Axes, for the losses, or two"):
        plot_rates(result, axes=[axis] * 3)
    with pytest.raises(ValueError, match="axes must be one"):
        plot_rates(result, axes="top")


@pytest.mark.parametrize("sizes", [(300, 3000), (300, 400), (100, 110), (100, 30_000), (550, 1000), (1000, 1001)])
def test_tick_labels_do_not_overlap(sizes, no_window):
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(3.3, 2.8), layout="constrained")
    plot_rates(StudyResult(record(n, r, {"D": (2 + r) / n}) for n in sizes for r in range(3)), axes=axis)
    figure.canvas.draw()
    for side, low, high in ((axis.xaxis, "x0", "x1"), (axis.yaxis, "y0", "y1")):
        first, last = sorted(side.get_view_interval())
        ticks = [*side.get_major_ticks(), *side.get_minor_ticks()]
        shown = [tick.label1 for tick in ticks if tick.label1.get_text() and first <= tick.get_loc() <= last]
        boxes = sorted((getattr(b, low), getattr(b, high)) for b in (label.get_window_extent() for label in shown))
        assert len(boxes) >= 1 and all(one[1] < other[0] for one, other in zip(boxes, boxes[1:], strict=False))


def test_losses_can_be_told_apart_without_colours(no_window):
    losses = [f"L{k}" for k in range(5)]
    result = StudyResult(record(n, r, dict.fromkeys(losses, (1 + r) / n)) for n in SIZES for r in range(3))
    top = plot_rates(result).axes[0]
    markers = {line.get_marker() for line in top.get_legend().get_lines()}
    assert len(markers) == len({line.get_color() for line in top.get_legend().get_lines()}) == 5
