"""What is wrong with a fit, and what to do, in words."""

import numpy as np
from scipy.stats import kruskal, kurtosistest, norm, skewtest

from smoe.diagnostics.calibration import calibrated
from smoe.diagnostics.residuals import varies
from smoe.distribution import ConditionalMixture
from smoe.validation import remark_on_response

__all__ = ["problems_of"]

_LEVEL = 0.005  # p-values below it are reported
_FEWEST = 20  # rows that tests of the residuals' shape need, or a group of rows
_MOST_GROUPS = 10
_ALONE = 0.5  # smaller shares of agreeing starts are reported
_CONFIRMED = 2  # the same where swaps of experts have led no higher, or to this end
_NEEDED = "Standard errors and tests need one."
_MIXED = 0.9  # larger entropies are reported


def problems_of(fit, found, X, y):
    """Return the problems of a `Diagnosis` as a list of sentences."""
    columns = dict(zip(fit.columns.named(), X.T, strict=True))
    for column in (fit.roles.event, fit.roles.group):  # residuals of censored rows are large: that is no pattern
        if column is not None:
            del columns[fit.columns.named()[column]]
    expert = fit.model.expert
    patterns = [line for one in _by_response(expert, found) for line in _patterns(*one, columns)]
    return [
        *_problems_of_response(expert, y, fit.roles.event_of(X)),
        *_problems_of_fit(fit, found),
        *_problems_of_residuals(expert, found),
        *_problems_of_classes(fit, X, y),
        *patterns,
    ]


def _problems_of_response(expert, y, event):
    """Say so if the response is not what the experts are for. Many rows may be censored at one time."""
    seen = y if event is None else y[event > 0]
    if expert.support.kind == "real" and len(seen) and (remark := remark_on_response(seen)):
        yield f"{remark}."


def _problems_of_fit(fit, found):
    """Say what is wrong with the fit itself."""
    if not fit.converged:
        flat = fit.certificate.flat  # only directions that the data do not determine are wrong
        rest = "model.covariance() has the standard errors of all else." if flat else _NEEDED
        yield f"the fit is not a certified maximum: {found.status}. {rest}"
    for k in np.flatnonzero(found.collapsed):
        yield f"expert {k} has collapsed on few rows (variance on its floor): use fewer experts or more starts."
    for one in found.checked:
        if not one.passed:
            which = f"expert {one.expert} rests on {one.rows:.1f} {one.what}s"
            yield f"{which} and gains no more than a chance line: use fewer experts."
    for k in np.flatnonzero(found.distinct < 1.0):
        yield f"expert {k} is responsible for less than one {found.what}: use fewer experts."
    if found.separated and "separates" not in found.status:
        yield "the gate separates these data: its coefficients have no maximum, compare its probabilities instead."
    if found.n_finished > 1 and found.n_agree < (_CONFIRMED if found.n_swaps else _ALONE * found.n_finished):
        way = ", only swaps of experts did" if found.n_swaps and not found.n_agree else ""
        which = f"{found.n_agree} of {found.n_finished} starts"
        yield f"{which} reached this maximum{way}: raise n_init to be sure of it."
    if found.n_higher:
        yield f"{found.n_higher} starts ended higher, where an expert degenerates; such maxima are spurious."
    if found.entropy > _MIXED:
        whose = f"which expert a {found.what} comes from"
        yield f"x and y hardly tell {whose}: the experts overlap, fewer may do (n_experts_test)."


def _problems_of_residuals(expert, found):
    """Say how the residuals' distribution departs from what the model implies."""
    r = found.residuals.ravel()
    n, per_row = len(r), r.size // len(found.residuals)
    if missing := int(np.isnan(r).sum()):
        family = type(expert).__name__
        yield f"the residuals of {missing} rows are NaN: {family}.cdf is not a number at y, or below it."
        return
    if (p := found.uniformity[1]) < _LEVEL:
        yield f"PIT values are not uniform (p = {p:.1g}): more experts or columns, or another family."
    if n >= _FEWEST and varies(r):
        if (p := kurtosistest(r).pvalue) < _LEVEL:
            tails = "heavier" if found.moments["excess kurtosis"] > 0 else "lighter"
            yield f"tails are {tails} than the model's (p = {p:.1g}): more experts, or case-bootstrap standard errors."
        if (p := skewtest(r).pvalue) < _LEVEL:
            yield f"residuals are skew (p = {p:.1g}): more experts, transform y, or take another family."
    beyond = np.unique(np.flatnonzero(2.0 * n * norm.sf(np.abs(r)) < _LEVEL) // per_row)
    if len(beyond):
        rows = ", ".join(map(str, beyond[:5])) + (", ..." if len(beyond) > 5 else "")
        yield f"{len(beyond)} rows are out of every expert's reach (row {rows}): look at them."


def _problems_of_classes(fit, X, y):
    """Say which classes occur more or less often than the model says."""
    classes = fit.model.expert.classes
    if fit.model.expert.support.kind != "classes" or len(y) < 2 * _FEWEST:
        return
    proba = ConditionalMixture(fit.model, fit.params, fit.blocks_of(X)).proba()
    p_values = len(classes) * calibrated(proba, y, classes).p_values
    for one, p in zip(classes.tolist(), p_values, strict=True):
        if p < _LEVEL:
            yield f"probabilities of class {one!r} are not calibrated (p = {p:.1g}): more experts or columns."


def _by_response(expert, found):
    """Yield the words for each response, its residuals and its fitted means."""
    if found.residuals.ndim == 1:
        yield "", found.residuals, found.fitted
        return
    for name, residuals, fitted in zip(expert.axis_labels["response"], found.residuals.T, found.fitted.T, strict=True):
        yield f" of {name!r}", residuals, fitted


def _patterns(whose, r, fitted, columns):
    """Say with what the residuals or their size change: the fitted mean, or a column of X."""
    n = len(r)
    n_groups = min(n // _FEWEST, _MOST_GROUPS)
    if n_groups < 2 or np.isnan(r).any():
        return
    candidates = {"the fitted mean": fitted, **{f"column {a}": x for a, x in columns.items()}}
    groups = {a: np.array_split(np.argsort(x, kind="stable"), n_groups) for a, x in candidates.items() if varies(x)}
    for what, values in (("the residuals' mean", r), ("the residuals' spread", np.abs(r))):
        if not groups or not varies(values):
            continue
        tests = {a: kruskal(*(values[rows] for rows in parts)).pvalue for a, parts in groups.items()}
        name = min(tests, key=tests.get)
        if (p := len(tests) * tests[name]) < _LEVEL:
            yield f"{what}{whose} changes with {name} (p = {p:.1g}): more columns or experts."
