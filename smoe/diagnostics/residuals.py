"""Residuals that are standard normal, and PIT values that are uniform, if the model is right."""

import numpy as np
from scipy.special import ndtri_exp

from smoe.validation import check_generator

__all__ = ["quantile_residuals", "varies"]

_ROUNDING = 1e-9


def quantile_residuals(distribution, y, random_state=None, event=None):
    """Return PIT values and quantile residuals, each computed from the nearer tail.

    Parameters
    ----------
    distribution : ConditionalMixture
        Of y given x, one for each row. Of whole numbers the PIT values are drawn between the distribution function at
        y - 1 and that at y; of classes likewise, in their order. Of several responses each has values of its own, given
        those before it (Rosenblatt 1952): all are independent if the model is right.
    y : array of shape (n_samples,) or (n_samples, q)
        Numbers, or codes of classes.
    random_state : int, Generator, RandomState or None, default=None
        Draws them.
    event : array of shape (n_samples,) or None
        Zero where y is censored: the PIT value is then drawn between the distribution function at y and one.

    References
    ----------
    Rosenblatt, M. (1952). Remarks on a multivariate transformation. Annals of Mathematical Statistics 23, 470-472.
    """
    if distribution.kind == "vectors":
        pairs = [quantile_residuals(law, one) for law, one in zip(_chain(distribution, y), y.T, strict=True)]
        return tuple(np.column_stack(side) for side in zip(*pairs, strict=True))
    tail = _tails_of_classes(distribution) if distribution.kind == "classes" else _tails
    tails = tail(distribution, y)
    if distribution.kind != "real" or event is not None:
        position = check_generator(random_state).spawn(1)[0].random(len(y))  # not the stream that `sample` draws y from
        with np.errstate(divide="ignore"):
            at, off = np.log(position), np.log1p(-position)
    if event is not None:
        tails = _beyond(*tails, at, off, event)
    if distribution.kind != "real":
        before = tail(distribution, y - 1.0)
        with np.errstate(invalid="ignore"):  # NaN is reported
            tails = [np.logaddexp(at + one, off + other) for one, other in zip(tails, before, strict=True)]
    lower, upper = np.maximum(tails, -np.finfo(float).max)
    below, near = lower < upper, ndtri_exp(np.minimum(lower, upper))
    return np.where(below, np.exp(lower), -np.expm1(upper)), np.where(below, near, -near)


def _chain(distribution, y):
    """Yield the distribution of each response given x and the responses before it."""
    yield distribution.marginal(0)
    for j in range(1, y.shape[1]):
        law = distribution.given({i: y[:, i] for i in range(j)})
        yield law.marginal(0) if law.kind == "vectors" else law


def _beyond(lower, upper, at, off, event):
    """Return the log tails of rows, of censored ones moved up by a share of what is above them."""
    return [
        np.where(event > 0, lower, np.logaddexp(lower, at + upper)),
        np.where(event > 0, upper, off + upper),
    ]


def _tails(distribution, y):
    return distribution.logcdf(y), distribution.logsf(y)


def _tails_of_classes(distribution):
    """Return the function that gives the log probabilities of classes up to codes y, and of those after them."""
    log_proba = distribution.log_proba()
    nothing = np.full((len(log_proba), 1), -np.inf)
    below = np.hstack([nothing, np.logaddexp.accumulate(log_proba, axis=1)])
    above = np.hstack([np.logaddexp.accumulate(log_proba[:, ::-1], axis=1)[:, ::-1], nothing])
    each = np.arange(len(log_proba))

    def tails(_, y):
        place = np.asarray(y, dtype=int) + 1
        return np.minimum(below[each, place], 0.0), np.minimum(above[each, place], 0.0)

    return tails


def varies(values):
    """Whether values differ by more than rounding."""
    return values.std() > _ROUNDING * np.abs(values).max()
