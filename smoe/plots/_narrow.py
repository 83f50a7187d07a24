"""Legends and tick labels that fit into a figure of the width of a column."""

import re

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, NullFormatter

from smoe.plots._axes import legend_above

__all__ = ["fitting_legend", "label_log_ticks"]

_HANDLE = 3.5  # line and gaps of an entry of a legend, in units of its font
_NARROW = 250.0  # points: axes from here on down get a smaller font
_SUBS = (
    (1.0, 3.0),
    (1.0, 2.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
    tuple(np.arange(1.0, 10.0)),
    tuple(np.arange(1.0, 10.0, 0.5)),
)


def fitting_legend(axis, title=None, ncols=1):
    """Put a legend above the axes; where it is too wide, break its lines between the parts of a label."""
    room = axis.get_position().width * axis.figure.bbox.width / axis.figure.dpi * 72.0
    size = "small" if room > _NARROW else "x-small"
    points = FontProperties(size=size).get_size_in_points()
    handles, labels = axis.get_legend_handles_labels()
    if ncols > 1 and sum(_width(label, points) + _HANDLE * points for label in labels) > room:
        ncols = 1
    labels = [_broken(label, points, room - _HANDLE * points) for label in labels]
    title = title and _broken(title, points, room)
    legend_above(axis, size, handles=handles, labels=labels, title=title, ncols=ncols)


def _width(text, points):
    """Return the width in points, of formulas too."""
    return TextPath((0.0, 0.0), text, size=points).get_extents().width


def _broken(text, points, room):
    """Break the text before a parenthesis, or after a comma or semicolon, where a line is full."""
    lines = [""]
    for piece in re.split(r" (?=\()|(?<=[,;]) ", text):
        longer = f"{lines[-1]} {piece}".strip()
        if lines[-1] and _width(longer, points) > room:
            lines.append(piece)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def label_log_ticks(axis):
    """Label powers of ten, or some numbers between where there are fewer than two of them, and no minor ticks."""
    low, high = sorted(axis.get_view_interval())
    axis.set_minor_formatter(NullFormatter())
    if _n_ticks((1.0,), low, high) < 2:
        enough = (subs for subs in _SUBS if _n_ticks(subs, low, high) > 1)
        axis.set_major_locator(LogLocator(subs=next(enough, _SUBS[-1])))
        axis.set_major_formatter(LogFormatterSciNotation(minor_thresholds=(np.inf, np.inf)))


def _n_ticks(subs, low, high):
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    ticks = np.outer(powers, subs)
    return int(((ticks >= low) & (ticks <= high)).sum())
