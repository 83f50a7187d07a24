"""Losses of a convergence study against the number of rows."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smoe.plots._axes import MARKERS, PALETTE, literal, new_axes
from smoe.plots._narrow import fitting_legend, label_log_ticks
from smoe.simulation import StudyResult
from smoe.validation import check_instance, check_level, check_number

__all__ = ["plot_rates"]

_XLABEL = "number of rows n"


def plot_rates(
    result: StudyResult,
    losses: str | Sequence[str] | None = None,
    theory: float | dict | None = None,
    center: str = "median",
    n_min: int | None = None,
    band: float = 0.8,
    axes: Any = None,
    labels: dict | None = None,
    xlabel: str | None = None,
) -> Figure:
    r"""Draw losses against the number of rows on log scales, with fitted and theoretical slopes.

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
    axes : matplotlib Axes, sequence of two, or None, default=None
        For the losses and for the shares; one alone is for the losses, and the shares are not drawn. New ones when
        None.
    labels : dict or None, default=None
        Text in place of the names of some losses, such as ``{"D1": r"$\mathcal{D}_1$"}``; between dollar signs as
        matplotlib reads formulas. Names as they are are not read so.
    xlabel : str or None, default=None
        What the sizes of the records are, None for "number of rows n".

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ValueError
        An unknown loss, also in ``labels``, or one that has no rate.

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

    The losses alone, at the width of a column:

    >>> import matplotlib.pyplot as plt
    >>> figure, axis = plt.subplots(figsize=(3.3, 2.8), layout="constrained")
    >>> len(plot_rates(result, theory=-0.5, axes=axis, labels={"D1": r"$\mathcal{D}_1$"}).axes)
    1
    """
    check_instance(result, StudyResult, "result", "what a study's run() returns")
    if losses is not None and not (isinstance(losses, Iterable) and all(isinstance(loss, str) for loss in losses)):
        raise TypeError(f"losses must be names of losses, got {losses!r}.")
    losses = result.losses if losses is None else [losses] if isinstance(losses, str) else list(losses)
    if not losses:
        raise ValueError("losses: there is none to draw; run the study with losses, or see StudyResult.with_losses.")
    names = _names(labels, result.losses)
    slopes = theory if isinstance(theory, dict) else dict.fromkeys(losses, theory)
    for slope in slopes.values():
        if slope is not None:
            check_number(slope, "theory", -np.inf)
    tail = (1.0 - check_level(band, "band")) / 2.0
    rates = [result.rate(loss, center, n_min) for loss in losses]
    top, *bottom = new_axes() if axes is None else _as_axes(axes)
    for k, (loss, rate) in enumerate(zip(losses, rates, strict=True)):
        _draw_loss(top, result.values(loss), tail, rate, k)
        _draw_rate(top, names.get(loss, literal(loss)), rate, slopes.get(loss), k)
    top.set(xscale="log", yscale="log", ylabel=f"{center} loss")
    if bottom:
        _draw_shares(bottom[0], result)
    (bottom or [top])[0].set_xlabel(_XLABEL if xlabel is None else literal(xlabel))
    for axis in (top.yaxis, top.xaxis, *(axis.xaxis for axis in bottom)):
        label_log_ticks(axis)
    fitting_legend(top, title=f"{100 * rates[0].confidence:g} % intervals; band: {100 * band:g} % of fits")
    return top.figure


def _names(labels, known):
    """Return the texts by loss; refuse those of losses that there are not."""
    labels = {} if labels is None else dict(labels)
    for loss in labels:
        if loss not in known:
            raise ValueError(f"labels: {loss!r} is not a loss of the records; choose from {', '.join(known)}.")
    return labels


def _as_axes(axes):
    """Return one axes in a list, or two."""
    axes = [axes] if isinstance(axes, Axes) else list(np.ravel(np.asarray(axes, dtype=object)))
    if len(axes) not in (1, 2) or not all(isinstance(axis, Axes) for axis in axes):
        raise ValueError(f"axes must be one matplotlib Axes, for the losses, or two, got {axes!r}.")
    return axes


def _draw_loss(axis, values, tail, rate, k):
    """Centers and quantile band of a loss by size."""
    middle, colour = {"median": np.median, "mean": np.mean}[rate.center], PALETTE[k % len(PALETTE)]
    low, high = np.transpose([np.quantile(v, [tail, 1.0 - tail]) for v in values.values()])
    centers = [middle(v) for v in values.values()]
    axis.fill_between(list(values), low, high, color=colour, alpha=0.15, linewidth=0)
    axis.plot(list(values), centers, MARKERS[k % len(MARKERS)], color=colour, ms=4, mew=0, alpha=0.8)


def _draw_rate(axis, name, rate, theory, k):
    """The fitted line, and a line of the theoretical slope through its middle."""
    ends, colour = np.array([rate.n_min, rate.n_max], dtype=float), PALETTE[k % len(PALETTE)]
    low, high = rate.interval
    label = f"{name}: slope {rate.slope:.3f}"
    if np.isfinite(low):
        label += f" ({low:.3f} to {high:.3f})"
    if theory is not None:
        label += f", theory {theory:g} (dashed)"
    style = {"color": colour, "marker": MARKERS[k % len(MARKERS)], "ms": 4, "mew": 0, "markevery": []}
    axis.plot(ends, rate.at(ends), lw=1.8, label=label, **style)
    if theory is not None:
        middle = np.sqrt(ends.prod())
        axis.plot(ends, rate.at(middle) * (ends / middle) ** theory, color=colour, ls="--", lw=1.2)


def _draw_shares(axis, result):
    """Shares by size; the legend has them over all fits."""
    sizes, below, uncertified = [], [], []
    for n, records in groupby(result.records, key=lambda record: record.n):
        records = list(records)
        sizes.append(n)
        below.append(np.mean([record.below_truth for record in records]))
        uncertified.append(np.mean([not record.converged for record in records]))
    label = f"below the truth's likelihood: {100 * result.share_below_truth:.1f} %"
    axis.plot(sizes, below, "o-", color="k", ms=3, label=label)
    label = f"uncertified: {100 * result.share_uncertified:.1f} %"
    axis.plot(sizes, uncertified, "s--", color="0.5", ms=3, label=label)
    axis.set(xscale="log", ylim=(-0.05, 1.05), ylabel="share of fits")
    fitting_legend(axis, ncols=2)
