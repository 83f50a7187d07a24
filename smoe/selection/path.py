"""Fits with more and more experts, each at least as good as the one before."""

import warnings

from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from smoe.chance import preference
from smoe.selection.splits import embedded, split_starts
from smoe.selection.working import at_params

__all__ = ["best_of", "fresh_fits", "grow", "grown"]

_ROUNDING = 1e-10  # relative


def fresh_fits(estimator, sizes, data, n_jobs):
    """Return fits from fresh starts for each number of experts, and each (X, y, sample_weight) in ``data``."""
    tasks = [(size, rows) for rows in data for size in sizes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # status_ has it; for threads, filters are set out here
        fits = Parallel(n_jobs, prefer="threads")(delayed(_fresh)(estimator, *task) for task in tasks)
    return [fits[first : first + len(sizes)] for first in range(0, len(fits), len(sizes))]


def _fresh(estimator, size, rows):
    X, y, sample_weight = rows
    return clone(estimator).set_params(n_experts=size, warm_start=False).fit(X, y, sample_weight=sample_weight)


def grown(fits, X, y, sample_weight, rng):
    """Return fits for the same numbers of experts whose log-likelihood never falls.

    Each fit competes with the ones grown from the fit before, an expert at a time.
    """
    path = fits[:1]
    for fresh in fits[1:]:
        path.append(grow(path[-1], fresh, X, y, sample_weight, rng))
    return path


def grow(fit, fresh, X, y, sample_weight, rng):
    """Return the best fit with as many experts as the fresh one: that itself, or grown from the smaller fit."""
    if not fresh.gate_.nested:
        return fresh
    while fit.n_experts < fresh.n_experts:
        last = fit.n_experts + 1 == fresh.n_experts
        starts = split_starts(fit, X, y, sample_weight, rng)
        rivals = [at_params(fresh, params, X, y, sample_weight, solve=True) for params in starts]
        fit = best_of([*rivals, *([fresh] if last else [])], fit, X, y, sample_weight)
    return fit


def _reaches(fit, previous):
    """Whether a fit is no worse than a smaller one. Under a penalty the larger model need not contain the smaller."""
    if previous.fitted_.model.active_penalties:
        return True
    return fit.loglik_ >= previous.loglik_ - _ROUNDING * (abs(previous.loglik_) + fit.n_samples_)


def best_of(rivals, previous, X, y, sample_weight):
    """Return the best of those that reach the log-likelihood of the smaller fit, which contains itself if none does.

    They are ordered as in the search: regular before collapsed, then by the log-likelihood net of chance lines.
    """
    reaching = [fit for fit in rivals if _reaches(fit, previous)]
    if not reaching:
        params, like = embedded(previous, X, y, sample_weight), rivals[0]
        rivals = [*rivals, *(at_params(like, params, X, y, sample_weight, solve=solve) for solve in (True, False))]
        reaching = [fit for fit in rivals if _reaches(fit, previous)] or rivals
    if len(reaching) == 1:
        return reaching[0]
    return max(reaching, key=_preference)


def _preference(fit):
    """The order that the search has, too."""
    certificate = fit.fitted_.certificate
    return preference(certificate.spurious, fit.fitted_.objective, certificate.price)
