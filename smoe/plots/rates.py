"""Losses of a convergence study against the number of rows."""

from collections.abc import Iterable
from itertools import groupby

import numpy as np

from smoe.plots._axes import check_axes, legend_above, new_axes
from smoe.simulation import StudyResult
from smoe.validation import check_instance, check_level, check_number

__all__ = ["plot_rates"]


def plot_rates(result, losses=None, theory=None, center="median", n_min=None, band=0.8, axes=None):
    """Draw losses against the number of rows on log scales, with fitted and theoretical slopes.

    Below them, by size, the shares of fits that are less likely than the truth (or raised an error) and of those
    without certificate: they say how far the losses are those of maximum-likelihood estimates.

    Parameters
    ----------
    result : StudyResult
    losses : str, list of str or None, default=None
        Which of ``result.losses``; None for all.
    theory : float, dict or None, default=None
        Theoretical slope of all losses, or of some by name, such as ``{"D2": -0.5}``.
    center : {"median", "mean"}, default="median"
    n_min : int or None, default=None
        Smallest size used for the fitted slopes.
    band : float, default=0.8
        Share of fits within the band of each size (equal tails).
    axes : sequence of two matplotlib Axes, default=None
        For the losses and for the shares; new ones when None.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ValueError
        An unknown loss, or one that has no rate.

    Examples
    --------
    >>> from smoe.plots import plot_rates
    >>> from smoe.simulation import Record, StudyResult
    >>> def record(n, replication):
    ...     losses = {"D1": (1 + 0.1 * replication) / n**0.5}
    ...     return Record(n, replication, [0, n, replication], {}, 0.0, 0.0, 0.0, 1, True, "converged", 0.1, losses)
    >>> result = StudyResult([record(n, r) for n in (100, 1000, 10000) for r in range(5)])
    >>> figure = plot_rates(result, theory=-0.5)
    >>> [axis.get_ylabel() for axis in figure.axes]
    ['median loss', 'share of fits']
    """
    check_instance(result, StudyResult, "result", "what a study's run() returns")
    if losses is not None and not (isinstance(losses, Iterable) and all(isinstance(loss, str) for loss in losses)):
        raise TypeError(f"losses must be names of losses, got {losses!r}.")
    losses = result.losses if losses is None else [losses] if isinstance(losses, str) else list(losses)
    if not losses:
        raise ValueError("losses: there is none to draw; run the study with losses, or see StudyResult.with_losses.")
    slopes = theory if isinstance(theory, dict) else dict.fromkeys(losses, theory)
    for slope in slopes.values():
        if slope is not None:
            check_number(slope, "theory", -np.inf)
    tail = (1.0 - check_level(band, "band")) / 2.0
    top, bottom = new_axes() if axes is None else check_axes(axes, 2)
    for k, loss in enumerate(losses):
        rate = result.rate(loss, center, n_min)
        _draw_loss(top, result.values(loss), tail, rate, f"C{k}")
        _draw_rate(top, loss, rate, slopes.get(loss), f"C{k}")
    top.set(xscale="log", yscale="log", ylabel=f"{center} loss")
    legend_above(top, title=f"{100 * rate.confidence:g} % intervals; band: {100 * band:g} % of fits")
    _draw_shares(bottom, result)
    return top.figure


def _draw_loss(axis, values, tail, rate, colour):
    """Centers and quantile band of a loss by size."""
    middle = {"median": np.median, "mean": np.mean}[rate.center]
    low, high = np.transpose([np.quantile(v, [tail, 1.0 - tail]) for v in values.values()])
    axis.fill_between(list(values), low, high, color=colour, alpha=0.15, linewidth=0)
    axis.plot(list(values), [middle(v) for v in values.values()], ".", color=colour, ms=5, alpha=0.7)


def _draw_rate(axis, loss, rate, theory, colour):
    """The fitted line, and a line of the theoretical slope through its middle."""
    ends = np.array([rate.n_min, rate.n_max], dtype=float)
    low, high = rate.interval
    label = f"{loss}: slope {rate.slope:.3f} ({low:.3f} to {high:.3f})"
    if theory is not None:
        label += f", theory {theory:g} (dashed)"
    axis.plot(ends, rate.at(ends), color=colour, lw=2, label=label)
    if theory is not None:
        middle = np.sqrt(ends.prod())
        axis.plot(ends, rate.at(middle) * (ends / middle) ** theory, color=colour, ls="--")


def _draw_shares(axis, result):
    """Shares by size; the legend has them over all fits."""
    sizes, below, uncertified = [], [], []
    for n, records in groupby(result.records, key=lambda record: record.n):
        records = list(records)
        sizes.append(n)
        below.append(np.mean([record.below_truth for record in records]))
        uncertified.append(np.mean([not record.converged for record in records]))
    label = f"below the truth's likelihood: {100 * result.share_below_truth:.1f} %"
    axis.plot(sizes, below, "o-", color="C3", ms=3, label=label)
    axis.plot(sizes, uncertified, "s-", color="0.4", ms=3, label=f"uncertified: {100 * result.share_uncertified:.1f} %")
    axis.set(xscale="log", ylim=(-0.05, 1.05), xlabel="number of rows n", ylabel="share of fits")
    legend_above(axis, ncols=2)
