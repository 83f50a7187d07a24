"""The summary table."""

import numpy as np
from scipy.stats import norm

__all__ = ["summary_text"]


def summary_text(title, header, tables):
    """Return a summary as text.

    Parameters
    ----------
    title : str
    header : list of (str, str)
        Facts on the fit.
    tables : list of (str, list of str, array, array or None)
        A heading, the names of the entries, estimates and standard errors.
    """
    width = max(len(name) for name, _ in header)
    lines = [title, "=" * len(title), *(f"{name:<{width}}  {value}" for name, value in header)]
    label = max((len(name) for _, names, _, _ in tables for name in names), default=0) + 2
    for heading, names, estimates, errors in tables:
        lines += [
            "",
            f"{heading:<{label}}{'estimate':>12}{'std. err.':>12}{'z':>9}{'p':>9}{'[2.5 %':>12}{'97.5 %]':>12}",
        ]
        errors = np.full(len(names), np.nan) if errors is None else errors
        lines += [_row(n, e, s, label) for n, e, s in zip(names, estimates, errors, strict=True)]
    return "\n".join(lines)


def _row(name, estimate, error, label):
    start = f"  {name:<{label - 2}}{estimate:>12.5g}"
    if not np.isfinite(error):
        return start + f"{'-':>12}{'-':>9}{'-':>9}{'-':>12}{'-':>12}"
    z, half = estimate / error, norm.ppf(0.975) * error
    return start + f"{error:>12.4g}{z:>9.2f}{2 * norm.sf(abs(z)):>9.2g}{estimate - half:>12.5g}{estimate + half:>12.5g}"
