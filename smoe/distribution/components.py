"""One block of conditional mixtures: all that is asked of gates and experts, rows on the last axis."""

from functools import cached_property

import numpy as np
from scipy.special import logsumexp

from smoe._kernels.posterior import posterior, softmax

__all__ = ["Components", "chunks"]


class Components:
    """The mixtures of a block of rows.

    Parameters
    ----------
    model : MixtureOfExperts
    block : Block
    params : MoEParams
    """

    def __init__(self, model, block, params):
        self.expert, self.data, self.params = model.expert, block.rows, params.expert
        self.scores = model.gate.scores(block.gate_Z, params.gate)

    def __len__(self):
        return self.scores.shape[1]

    def rows(self, chosen):
        """Return the mixtures of some rows: a slice, a mask, or indices, which may repeat."""
        out = object.__new__(Components)
        out.expert, out.params = self.expert, self.params
        out.data, out.scores = self.data.take(chosen), np.ascontiguousarray(self.scores[:, chosen])
        return out

    @property
    def support(self):
        """The responses that the family knows."""
        return self.expert.support

    @cached_property
    def proba(self):
        """The gate's probabilities, (n_experts, m)."""
        out = np.empty_like(self.scores)
        softmax(self.scores, out)
        return out

    @cached_property
    def log_proba(self):
        """Their logarithms, (n_experts, m)."""
        return self.scores - logsumexp(self.scores, axis=0)

    @cached_property
    def normal(self):
        """Means and standard deviations (n_experts, m) of normal experts, None for another family."""
        parts = self.expert.normal(self.data, self.params)
        if parts is None:
            return None
        if not all(np.isfinite(part).all() for part in (self.proba, *parts)):
            raise ValueError(
                "X has values so large that the gate's scores or the experts' means leave the range of float64."
            )
        return tuple(np.ascontiguousarray(part) for part in parts)

    @cached_property
    def mean(self):
        """The experts' means, (n_experts, m), or (n_experts, q, m) for vectors."""
        return self.expert.mean(self.data, self.params)

    @cached_property
    def variance(self):
        """The experts' variances, (n_experts, m), or covariance matrices (n_experts, q, q, m) for vectors."""
        return self.expert.variance(self.data, self.params)

    def class_log_proba(self):
        """Return the experts' log probabilities of the classes, (n_experts, n_classes, m)."""
        return self.expert.class_log_proba(self.data, self.params)

    def log_prob(self, y):
        """Return the experts' log densities at y, (n_experts, m): minus infinity outside the support."""
        if not self.support.bounded:
            return self.expert.log_prob(self.data.at(y), self.params)
        inside = self.support.contains(y)
        if inside.all():
            return self.expert.log_prob(self.data.at(y), self.params)
        out = np.full(self.scores.shape, -np.inf)
        some = self.rows(inside)
        out[:, inside] = some.expert.log_prob(some.data.at(y[inside]), some.params)
        return out

    def logpdf(self, y):
        """Return the log density at y, (m,)."""
        log_density, m = self.log_prob(y), len(self)
        proba, resp, out = np.empty_like(self.scores), np.empty_like(self.scores), np.empty(m)
        posterior(self.scores, log_density, proba, resp, out)
        return out

    def logpdf_at(self, y):
        """Return the log density at several points y (m, g) of each row, (m, g)."""
        return self._each(y).logpdf(y.ravel()).reshape(y.shape)

    def cdf_at(self, y, upper=False):
        """Return the mass below several points y (m, g) of each row, or with ``upper`` above them, (m, g)."""
        return self._each(y).cdf(y.ravel(), upper).reshape(y.shape)

    def _each(self, y):
        return self.rows(np.repeat(np.arange(len(self)), y.shape[1]))

    def cdf(self, y, upper=False):
        """Return the mass below y, or with ``upper`` above it, (m,)."""
        y, sure = self._within(y)
        total = (self.proba * self.expert.cdf(self.data.at(y), self.params, upper)).sum(axis=0)
        out = total / self.proba.sum(axis=0)  # one at the end, to the last digit
        return out if sure is None else np.where(sure == 0, out, np.where((sure < 0) == upper, 1.0, 0.0))

    def logcdf(self, y, upper=False):
        """Return the log of the mass below y, or with ``upper`` above it, (m,)."""
        at, sure = self._within(y)
        with np.errstate(divide="ignore"):
            out = logsumexp(self.log_proba + self.expert.log_cdf(self.data.at(at), self.params, upper), axis=0)
        if sure is not None:
            out = np.where(sure == 0, out, np.where((sure < 0) == upper, 0.0, -np.inf))
        most = out > -0.5  # where the other tail says more
        return np.where(most, np.log1p(-np.where(most, self.cdf(y, not upper), 0.0)), out)

    def _within(self, y):
        """Return y moved into the support, and whether it was below (-1), within (0) or above (1); None if all within.

        A number that is not whole is moved to the whole number below it where these are meant.
        """
        if not self.support.bounded:
            return y, None
        low, high, _, kind = self.support
        y = np.floor(y) if kind == "integers" else y
        sure = np.where(y < low, -1, np.where((y >= high) | (y == np.inf), 1, np.where(y == -np.inf, -1, 0)))
        if not sure.any():
            return y, None
        harmless = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high, 0.0))
        return np.where(sure == 0, y, harmless), sure

    def edges(self, p, upper=False):
        """Return the points beyond which each expert has the mass p, a number or (m,), on one side, (n_experts, m).

        Idle experts get those of the row's first choice.
        """
        points = self.expert.ppf(self.data, p, self.params, upper)
        return np.where(self.proba > 0, points, np.take_along_axis(points, self._first, axis=0))

    @cached_property
    def _first(self):
        return self.proba.argmax(axis=0)[None]


def chunks(components, size):
    """Yield the mixtures of this many rows at a time."""
    for low in range(0, len(components), size):
        yield components.rows(slice(low, low + size))
