"""The summary table: text, HTML, data frame."""

from dataclasses import dataclass
from html import escape

import numpy as np
from scipy.stats import norm

from smoe.texts import printable

__all__ = ["COLUMNS", "Summary", "coefficient_table"]

COLUMNS = ("estimate", "std_err", "z", "p_value", "ci_low", "ci_high")
_FORMATS = (".5g", ".4g", ".2f", ".2g", ".5g", ".5g")
_WIDTHS = (12, 12, 9, 9, 12, 12)


def coefficient_table(estimate, std_err, bounded, coverage=0.95):
    """Return estimates, standard errors, z, p values and confidence limits, (n_entries, 6).

    Entries that are bounded below by zero are not tested against it (NaN), and their interval is that of their
    logarithm, estimate * exp(-+ quantile * std_err / estimate), so that it stays positive.
    """
    z = np.where(bounded, np.nan, estimate / std_err)
    half = norm.isf((1.0 - coverage) / 2.0) * std_err
    with np.errstate(over="ignore"):  # of what is hardly estimated at all
        ratio = np.exp(half / np.where(bounded, estimate, np.inf))
        low, high = estimate / ratio, estimate * ratio
    low, high = np.where(bounded, low, estimate - half), np.where(bounded, high, estimate + half)
    return np.column_stack([estimate, std_err, z, 2.0 * norm.sf(np.abs(z)), low, high])


@dataclass(frozen=True, eq=False, repr=False)
class Summary:
    """The table of a fit; ``print`` it, look at it in a notebook, or take ``to_frame()``.

    Attributes
    ----------
    title : str
    header : list of (str, str)
        Facts on the fit.
    entries : list of smoe.fields.Entry
        What the rows are.
    table : ndarray of shape (n_entries, 6)
        Estimates, standard errors, z, p values, lower and upper confidence limits; NaN where there is none.
    coverage : float
        Of the confidence intervals.
    notes : str
        Why standard errors are missing, or nothing.
    """

    title: str
    header: list
    entries: list
    table: np.ndarray
    coverage: float = 0.95
    notes: str = ""

    @property
    def names(self):
        """The entries' names: "gate 0: x0", ..."""
        return [entry.name for entry in self.entries]

    def to_frame(self):
        """Return the table as a pandas DataFrame, rows by name.

        Columns are estimate, std_err, z, p_value, ci_low, ci_high. Pinned entries have no standard error.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise ImportError("to_frame() needs pandas: pip install pandas") from None
        return pd.DataFrame(self.table, index=self.names, columns=list(COLUMNS))

    def _headings(self):
        tail = 50.0 * (1.0 - self.coverage)
        return "estimate", "std. err.", "z", "p", f"[{tail:g} %", f"{100.0 - tail:g} %]"

    def _sections(self):
        """Yield headings (gate 0, expert 0, ...) and their rows: a label and six cells of text."""
        rows = {}
        for entry, values in zip(self.entries, self.table, strict=True):
            cells = [_cell(v, f) for v, f in zip(values, _FORMATS, strict=True)]
            rows.setdefault((_place(entry), entry.section), []).append((printable(entry.label), cells))
        for (_, section), lines in sorted(rows.items(), key=lambda item: item[0]):
            yield section, lines

    def __str__(self):
        """Return the table as text."""
        facts = [*self.header, *([("note", self.notes)] if self.notes else [])]
        width = max(len(name) for name, _ in facts)
        lines = [self.title, "=" * len(self.title), *(f"{name:<{width}}  {value}" for name, value in facts)]
        label = max(len(printable(entry.label)) for entry in self.entries) + 2
        for part, rows in self._sections():
            lines += ["", f"{part:<{label}}{_line(self._headings())}"]
            lines += [f"  {name:<{label - 2}}{_line(cells)}" for name, cells in rows]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self):
        """Return the table for notebooks."""
        facts = [*self.header, *([("note", self.notes)] if self.notes else [])]
        out = [f"<p><b>{escape(self.title)}</b></p>", "<table>"]
        out += [f"<tr>{_tags('th', [name])}{_tags('td', [value])}</tr>" for name, value in facts]
        out += ["</table>", "<table>"]
        for part, rows in self._sections():
            out.append(f"<tr>{_tags('th', [part, *self._headings()])}</tr>")
            out += [f"<tr>{_tags('td', [name, *cells])}</tr>" for name, cells in rows]
        return "\n".join([*out, "</table>"])


def _place(entry):
    """Order of the sections: gate 0, expert 0, gate 1, ..., and last what all experts share."""
    return np.inf if entry.expert is None else entry.expert, entry.part != "gate"


def _cell(value, form):
    return format(value, form) if np.isfinite(value) else "-"


def _line(cells):
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))


def _tags(tag, cells):
    return "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
