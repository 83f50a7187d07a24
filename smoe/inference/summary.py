"""The summary table: text, HTML, data frame."""

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from scipy.stats import norm

from smoe.inference.table import Table, estimate_cell, latex_tabular, markdown_table
from smoe.optional import needed
from smoe.texts import printable

__all__ = ["COLUMNS", "Summary", "coefficient_table"]

COLUMNS = ("estimate", "std_err", "z", "p_value", "ci_low", "ci_high")
_FORMATS = (".5g", ".4g", ".2f", ".2g", ".5g", ".5g")
_WIDTHS = (12, 12, 9, 9, 12, 12)
_REFERENCE = "reference: zero by convention"
_TINY = 2e-16  # smaller p values are no numbers that anyone should quote


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
    pinned : ndarray of bool, shape (n_entries,), or None
        Entries that are zero by convention: a section of nothing else is one line.
    zero : ndarray of bool, shape (n_entries,), or None
        Slopes that a penalty has taken out: they are in ``to_frame()`` alone, elsewhere their number.
    """

    title: str
    header: list
    entries: list
    table: np.ndarray
    coverage: float = 0.95
    notes: str = ""
    pinned: np.ndarray | None = None
    zero: np.ndarray | None = None

    @property
    def names(self) -> list[str]:
        """The entries' names: "gate 0: x0", ..."""
        return [entry.name for entry in self.entries]

    def to_frame(self) -> Any:
        """Return the table as a pandas DataFrame, rows by name.

        Columns are estimate, std_err, z, p_value, ci_low, ci_high. Pinned entries have no standard error.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        pd = needed("pandas", "to_frame()")
        return pd.DataFrame(self.table, index=self.names, columns=list(COLUMNS))

    def to_latex(self) -> str:
        r"""Return the table as a LaTeX ``tabular``; it needs ``\usepackage{booktabs}``.

        Examples
        --------
        >>> from smoe import SoftmaxMoERegressor
        >>> from smoe.datasets import load_faithful
        >>> model = SoftmaxMoERegressor(1).fit(*load_faithful(return_X_y=True))
        >>> print(model.summary(["waiting"], coverage=0.9).to_latex())
        \begin{tabular}{lrrrrrr}
        \toprule
         & estimate & std. err. & z & p & [5 \% & 95 \%] \\
        \midrule
        \multicolumn{7}{l}{expert 0} \\
        waiting & 0.075628 & 0.00221 & 34.22 & $<$ 2e-16 & 0.071992 & 0.079264 \\
        intercept & $-1.874$ & 0.1596 & $-11.75$ & $<$ 2e-16 & $-2.1365$ & $-1.6116$ \\
        variance & 0.24471 & 0.02098 & - & - & 0.21252 & 0.28178 \\
        \bottomrule
        \end{tabular}
        """
        return latex_tabular(["", *self._headings()], [(part, rows) for part, rows, free in self._sections() if free])

    def to_markdown(self) -> str:
        """Return the table in Markdown.

        Examples
        --------
        >>> from smoe import SoftmaxMoERegressor
        >>> from smoe.datasets import load_faithful
        >>> model = SoftmaxMoERegressor(1).fit(*load_faithful(return_X_y=True))
        >>> print(model.summary(["waiting"]).to_markdown().splitlines()[3])
        | waiting | 0.075628 | 0.00221 | 34.22 | < 2e-16 | 0.071296 | 0.07996 |
        """
        return markdown_table(["", *self._headings()], [(part, rows) for part, rows, free in self._sections() if free])

    def wide(self) -> Table:
        """Return a `Table` with a column for each expert: estimates with standard errors in brackets.

        Examples
        --------
        >>> from smoe import SoftmaxMoERegressor
        >>> from smoe.datasets import load_faithful
        >>> model = SoftmaxMoERegressor(2, random_state=0).fit(*load_faithful(return_X_y=True))
        >>> print(model.summary(["waiting"]).wide())
        2 GaussianExperts behind a SoftmaxGate
        ======================================
                             expert 0           expert 1
        <BLANKLINE>
        gate
          waiting     -0.6615 (0.162)          reference
          intercept      43.66 (10.7)          reference
        <BLANKLINE>
        expert
          waiting   0.01273 (0.00457)  0.02637 (0.00506)
          intercept     1.342 (0.249)      2.181 (0.407)
          variance  0.06299 (0.00968)    0.1459 (0.0158)
        """
        cells: dict = {}
        for entry, values, pinned in self._listed():
            cell, row = "reference" if pinned else estimate_cell(*values[:2]), (entry.field, entry.label)
            cells.setdefault(entry.part, {}).setdefault(row, {})[entry.expert or 0] = cell
        k = 1 + max(place for rows in cells.values() for row in rows.values() for place in row)
        sections = [
            (side, [(term, [row.get(i, "") for i in range(k)]) for (_, term), row in rows.items()])
            for side, rows in cells.items()
        ]
        return Table(self.title, [f"expert {i}" for i in range(k)], sections)

    def _is_pinned(self):
        return np.zeros(len(self.entries), dtype=bool) if self.pinned is None else self.pinned

    def _listed(self):
        """Return entries with their numbers and whether they are pinned, without slopes that are zero everywhere."""
        rows = list(zip(self.entries, self.table, self._is_pinned(), strict=True))
        if self.zero is None:
            return rows
        terms = [(entry.part, entry.field, entry.label) for entry in self.entries]
        used = {term for term, out in zip(terms, self.zero, strict=True) if not out}
        return [row for term, row in zip(terms, rows, strict=True) if term in used]

    def _headings(self):
        tail = 50.0 * (1.0 - self.coverage)
        return "estimate", "std. err.", "z", "p", f"[{tail:g} %", f"{100.0 - tail:g} %]"

    def _sections(self):
        """Yield headings (gate 0, expert 0, ...), their rows (a label, six cells of text), and whether any is free."""
        rows, free, n_zero = {}, {}, {}
        zero = np.zeros(len(self.entries), dtype=bool) if self.zero is None else self.zero
        for entry, values, pinned, out in zip(self.entries, self.table, self._is_pinned(), zero, strict=True):
            place = _place(entry), entry.section
            if out:
                n_zero[place] = n_zero.get(place, 0) + 1
                continue
            cells = [_cell(v, f) for v, f in zip(values, _FORMATS, strict=True)]
            rows.setdefault(place, []).append((printable(entry.label), cells))
            free[place] = free.get(place, False) or not pinned
        for place, n in n_zero.items():
            rows.setdefault(place, []).append((f"({n} at zero)", [""] * len(COLUMNS)))
            free.setdefault(place, False)
        yield from ((place[1], rows[place], free[place]) for place in sorted(rows))

    def _facts(self):
        return [*self.header, *([("note", self.notes)] if self.notes else [])]

    def __str__(self):
        """Return the table as text."""
        facts = self._facts()
        width = max(len(name) for name, _ in facts)
        lines = [self.title, "=" * len(self.title), *(f"{name:<{width}}  {value}" for name, value in facts)]
        sections = list(self._sections())
        label = max(max([len(part), *(len(name) + 2 for name, _ in rows)]) for part, rows, _ in sections)
        for part, rows, free in sections:
            if not free:
                lines += ["", f"{part:<{label}}    {_REFERENCE}"]
                continue
            lines += ["", f"{part:<{label}}{_line(self._headings())}"]
            lines += [f"  {name:<{label - 2}}{_line(cells)}".rstrip() for name, cells in rows]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self):
        """Return the table for notebooks."""
        facts = self._facts()
        out = [f"<p><b>{escape(self.title)}</b></p>", "<table>"]
        out += [f"<tr>{_tags('th', [name])}{_tags('td', [value])}</tr>" for name, value in facts]
        out += ["</table>", "<table>"]
        for part, rows, free in self._sections():
            if not free:
                out.append(f"<tr>{_tags('th', [part, _REFERENCE])}</tr>")
                continue
            out.append(f"<tr>{_tags('th', [part, *self._headings()])}</tr>")
            out += [f"<tr>{_tags('td', [name, *cells])}</tr>" for name, cells in rows]
        return "\n".join([*out, "</table>"])


def _place(entry):
    """Order of the sections: the whole model, gate 0, expert 0, gate 1, ..., and last what all experts share."""
    common = np.inf if entry.part in ("gate", "expert") else -1.0
    return common if entry.expert is None else entry.expert, entry.part != "gate"


def _cell(value, form):
    if form == _FORMATS[3] and value < _TINY:
        return "< 2e-16"
    return format(value, form) if np.isfinite(value) else "-"


def _line(cells):
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))


def _tags(tag, cells):
    return "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
