"""Tables of text: for terminals, notebooks, LaTeX and data frames; and several fits side by side."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from smoe.hints import Model
from smoe.optional import needed
from smoe.params import flatten
from smoe.texts import printable
from smoe.validation import check_mixture

__all__ = ["Table", "compare_fits", "estimate_cell", "latex_tabular", "markdown_table"]

_SAME = 1e-9
_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
_TEX |= {sign: f"\\{sign}" for sign in "&%$#_{}"}


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Cells of text under headings; ``print`` it, look at it in a notebook, or take ``to_latex()``.

    Attributes
    ----------
    title : str
    columns : list of str
        The headings.
    sections : list of (str, list of (str, list of str))
        Names of sections with their rows: a label, and a cell for each column.
    """

    title: str
    columns: list
    sections: list

    def __str__(self):
        """Return the table as text."""
        columns = [printable(column) for column in self.columns]
        sections = [(part, [(printable(name), cells) for name, cells in rows]) for part, rows in self.sections]
        rows = [row for _, rows in sections for row in rows]
        label = max([len(name) for name, _ in rows] + [len(part) for part, _ in sections]) + 4
        cells = [columns, *(cells for _, cells in rows)]
        widths = [max(len(line[j]) for line in cells) + 2 for j in range(len(columns))]

        def line(name, cells):
            return f"{name:<{label}}" + "".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True))

        lines = [self.title, "=" * len(self.title), line("", columns)]
        for part, rows in sections:
            lines += ["", part, *(line(f"  {name}", cells).rstrip() for name, cells in rows)]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self):
        """Return the table for notebooks."""
        lines = [_html("th", ["", *self.columns])]
        for part, rows in self.sections:
            lines += [_html("th", [part, *[""] * len(self.columns)])]
            lines += [_html("td", [name, *cells]) for name, cells in rows]
        return "\n".join([f"<p><b>{escape(self.title)}</b></p>", "<table>", *lines, "</table>"])

    def to_latex(self) -> str:
        r"""Return a LaTeX ``tabular``; it needs ``\usepackage{booktabs}``."""
        return latex_tabular(["", *self.columns], self.sections)

    def to_markdown(self) -> str:
        """Return the table in Markdown."""
        return markdown_table(["", *self.columns], self.sections)

    def to_frame(self) -> Any:
        """Return the cells as a pandas DataFrame; rows are called by section and label.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        pd = needed("pandas", "to_frame()")
        keys = [(part, name) for part, rows in self.sections for name, _ in rows]
        cells = [cells for _, rows in self.sections for _, cells in rows]
        return pd.DataFrame(cells, index=pd.MultiIndex.from_tuples(keys), columns=self.columns)


def _html(tag, cells):
    return f"<tr>{''.join(f'<{tag}>{escape(printable(cell))}</{tag}>' for cell in cells)}</tr>"


def latex_tabular(columns, sections):
    r"""Return a LaTeX ``tabular`` with the rules of booktabs.

    Parameters
    ----------
    columns : list of str
        Headings, that of the labels included.
    sections : list of (str, list of (str, list of str))
    """
    lines = [f"\\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}", r"\toprule", _tex_row(columns)]
    for part, rows in sections:
        lines += [r"\midrule", rf"\multicolumn{{{len(columns)}}}{{l}}{{{_tex(part)}}} \\"] if part else [r"\midrule"]
        lines += [_tex_row([name, *cells]) for name, cells in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def markdown_table(columns, sections):
    """Return a table in Markdown, numbers to the right, a line in bold above each section.

    Parameters
    ----------
    columns : list of str
        Headings, that of the labels included.
    sections : list of (str, list of (str, list of str))
    """
    lines = [_markdown_row(columns), _markdown_row([":--", *["--:"] * (len(columns) - 1)])]
    for part, rows in sections:
        lines += [_markdown_row([f"**{part}**", *[""] * (len(columns) - 1)])] if part else []
        lines += [_markdown_row([name, *cells]) for name, cells in rows]
    return "\n".join(lines)


def _markdown_row(cells):
    return f"| {' | '.join(printable(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _tex_row(cells):
    return " & ".join(map(_tex, cells)) + r" \\"


def _tex(text):
    """Escape what LaTeX takes for commands; a hyphen before a first number is a minus sign."""
    out = "".join(_TEX.get(sign, sign) for sign in printable(text))
    return re.sub(r"^(-\d\S*)", r"$\1$", out)


def estimate_cell(estimate, std_err):
    """Return an estimate with its standard error in brackets."""
    error = f" ({std_err:.3g})" if np.isfinite(std_err) else ""
    return f"{estimate:.4g}{error}"


def compare_fits(models: Iterable[Model], labels: Sequence[str] | None = None) -> Table:
    """Return several fits side by side: estimates with standard errors in brackets, and their criteria.

    Parameters
    ----------
    models : list of MoERegressor or FittedMixture
        Fitted, of any gates and numbers of experts.
    labels : list of str or None, default=None
        What to call them; None for (1), (2), ...

    Returns
    -------
    Table
        ``print`` it, or take ``to_latex()`` or ``to_markdown()``. Standard errors are those of ``model.covariance()``,
        where there are any; the last row says which fits are certified maxima. Experts stand side by side by their
        order alone, which is that of their mean responses: whether they are the same is for the reader to say.

    Raises
    ------
    TypeError, ValueError
        No list of fitted models, labels of another length, or fits to other rows or another response, whose
        likelihoods cannot be compared.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_engel
    >>> from smoe.inference import compare_fits
    >>> X, y = load_engel(return_X_y=True)
    >>> fits = [SoftmaxMoERegressor(k, random_state=0).fit(X, y) for k in (1, 2)]
    >>> table = compare_fits(fits, ["one line", "two lines"])
    >>> print(table.to_frame().loc[[("expert 0", "x0"), ("fit", "log-likelihood")]])
                                one line       two lines
    expert 0 x0              0.4852 (0.0143)  0.6104 (0.0243)
    fit      log-likelihood       -1445.675       -1369.561
    """
    if not isinstance(models, list | tuple) or not models:
        raise TypeError(f"models must be a list of fitted models, got {models!r}.")
    fits = [check_mixture(model, f"models[{i}]") for i, model in enumerate(models)]
    if len(densities := sorted({fit.density for fit in fits})) > 1:
        raise ValueError(
            f"models: log-likelihoods of {' and of '.join(densities)} do not compare; of a joint fit pass conditional_."
        )
    labels = [f"({i + 1})" for i in range(len(fits))] if labels is None else labels
    if not isinstance(labels, list | tuple) or len(labels) != len(fits):
        raise ValueError(f"labels must be a list of one per model, {len(fits)}, got {labels!r}.")
    _refuse_other_rows(fits, labels)
    return Table(
        "Fits side by side, experts in order",
        [str(label) for label in labels],
        [*_estimates(fits), ("fit", _criteria(fits))],
    )


def _refuse_other_rows(fits, labels):
    """Raise ValueError where likelihoods are of other responses, by what fits know of these."""
    first = fits[0]
    for fit, label in zip(fits[1:], labels[1:], strict=True):
        if fit.model.expert.support.kind != first.model.expert.support.kind:
            kinds = [one.model.expert.support.kind for one in (first, fit)]
            raise ValueError(
                f"models: responses are {kinds[0]} in {labels[0]} and {kinds[1]} in {label}, whose likelihoods differ "
                "in kind."
            )
        if not _same_rows(first, fit):
            raise ValueError(
                f"models: {labels[0]} ({first.n_rows:g} rows) and {label} ({fit.n_rows:g} rows) were fitted to other "
                "rows or responses; log-likelihoods and criteria compare fits to the same y only."
            )


def _same_rows(one, other):
    """Whether two fits may be to the same rows, in whatever order, repeated or weighted."""
    if not np.isclose(one.n_rows, other.n_rows, rtol=_SAME):
        return False
    if one.response_sums is None or other.response_sums is None:
        return True
    (sums, sizes), (others, _) = one.response_sums, other.response_sums
    if np.shape(sums) != np.shape(others):
        return False
    with np.errstate(invalid="ignore"):  # infinite sums tell nothing
        return bool(np.all((np.abs(sums - others) <= _SAME * sizes) | ~np.isfinite(sizes)))


def _estimates(fits):
    """Yield sections of parameters, each with a cell for every fit; pinned entries are left out."""
    sections = {}
    for i, fit in enumerate(fits):
        errors = flatten(fit.covariance.standard_errors)
        values = zip(fit.covariance.entries, flatten(fit.params), errors, fit.pinned, strict=True)
        for entry, estimate, error, pinned in values:
            if not pinned:
                rows = sections.setdefault(entry.section, {})
                row = rows.setdefault((entry.field, entry.label), [""] * len(fits))
                row[i] = estimate_cell(estimate, error)
    for part in sorted(sections, key=lambda part: (part.split()[0], len(part), part)):
        yield part, [(label, cells) for (_, label), cells in sections[part].items()]


def _criteria(fits):
    """Rows of facts on the fits."""
    facts = {
        "rows": "{0.n_rows:g}",
        "log-likelihood": "{0.loglik:.3f}",
        "free parameters": "{0.n_parameters}",
        "AIC": "{0.aic:.3f}",
        "BIC": "{0.bic:.3f}",
    }
    rows = [(name, [form.format(fit) for fit in fits]) for name, form in facts.items()]
    return [*rows, ("certified", ["yes" if fit.converged else "no" for fit in fits])]
