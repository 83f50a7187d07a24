"""One block of conditional mixtures: gate probabilities and experts, rows on the last axis."""

from functools import cached_property

import numpy as np
from scipy.optimize.elementwise import find_root
from scipy.special import logsumexp, ndtri

from smoe._kernels.normal_mixture import normal_quantiles
from smoe._kernels.normal_modes import normal_modes
from smoe._kernels.normal_regions import normal_regions
from smoe._kernels.posterior import posterior, softmax

__all__ = ["Components"]


class Components:
    """The mixtures of a block of rows.

    Parameters
    ----------
    model : MixtureOfExperts
    block : Block
    params : MoEParams
    """

    def __init__(self, model, block, params):
        self.expert, self.Z, self.params = model.expert, block.expert_Z, params.expert
        self.scores = model.gate.scores(block.gate_Z, params.gate)

    @cached_property
    def proba(self):
        """The gate's probabilities, (n_experts, m)."""
        out = np.empty_like(self.scores)
        softmax(self.scores, out)
        return out

    @cached_property
    def normal(self):
        """Means and standard deviations (n_experts, m) of normal experts, None for another family."""
        parts = self.expert.normal(self.Z, self.params)
        if parts is None:
            return None
        if not all(np.isfinite(part).all() for part in (self.proba, *parts)):
            raise ValueError(
                "X has values so large that the gate's scores or the experts' means leave the range of float64."
            )
        return tuple(np.ascontiguousarray(part) for part in parts)

    def _needs_normal(self, what):
        if self.normal is None:
            raise NotImplementedError(
                f"{what} is known for mixtures of normals only: {type(self.expert).__name__}.normal returns None."
            )
        return self.proba, *self.normal

    def logpdf(self, y):
        """Return the log density at y, (m,)."""
        log_density = self.expert.log_prob(self.Z, y, self.params)
        proba, resp, out = np.empty_like(self.scores), np.empty_like(self.scores), np.empty(len(y))
        posterior(self.scores, log_density, proba, resp, out)
        return out

    def cdf(self, y, upper=False):
        """Return the mass below y, or with ``upper`` above it, (m,)."""
        tails = self.expert.cdf(self.Z, y, self.params, upper)
        return (self.proba * tails).sum(axis=0) / self.proba.sum(axis=0)  # one at the end, to the last digit

    def logcdf(self, y, upper=False):
        """Return the log of the mass below y, or with ``upper`` above it, (m,)."""
        log_proba = self.scores - logsumexp(self.scores, axis=0)
        with np.errstate(divide="ignore"):
            out = logsumexp(log_proba + self.expert.log_cdf(self.Z, y, self.params, upper), axis=0)
        most = out > -0.5  # where the other tail says more
        return np.where(most, np.log1p(-np.where(most, self.cdf(y, not upper), 0.0)), out)

    def ppf(self, q, upper=False):
        """Return the points with mass q (m,) below them, or with ``upper`` above them."""
        out, most = np.empty(len(q)), q > 0.5
        if most.all() or not most.any():
            return self._tail(1.0 - q, not upper) if most.any() else self._tail(q, upper)
        out[~most] = self._rows(~most)._tail(q[~most], upper)
        out[most] = self._rows(most)._tail(1.0 - q[most], not upper)
        return out

    def _rows(self, chosen):
        """Return the mixtures of some rows."""
        out = object.__new__(Components)
        out.expert, out.params = self.expert, self.params
        out.Z, out.scores = np.ascontiguousarray(self.Z[:, chosen]), np.ascontiguousarray(self.scores[:, chosen])
        return out

    def _tail(self, p, upper):
        """Return the points beyond which the mass is p <= 1/2, on the left or with ``upper`` on the right."""
        if self.normal is None:
            return self._searched(p, upper)
        with np.errstate(divide="ignore", over="ignore"):
            share = ndtri(np.minimum(p / self.proba, 1.0))
        return normal_quantiles(self.proba, *self.normal, p, ndtri(p), share, -1.0 if upper else 1.0)

    def _searched(self, p, upper):
        """Do so for any family: the root lies between the smallest and the largest of the experts' quantiles."""
        edges = self.expert.ppf(self.Z, p, self.params, upper)
        low = np.where(self.proba > 0, edges, np.inf).min(axis=0)
        high = np.where(self.proba > 0, edges, -np.inf).max(axis=0)
        rows, out = np.flatnonzero(high > low), low.copy()
        if not len(rows):
            return out
        some, p, low, width = self._rows(rows), p[rows], low[rows], high[rows] - low[rows]

        def excess(t, at):
            mass = some._rows(at).cdf(low[at] + t * width[at], upper)
            return mass / p[at] - 1.0

        # On [0, 1] of each bracket the tolerance follows its width. Rounding may hide the change of sign when one
        # expert owns the row; the quantile is then the end where less is missing.
        at = np.arange(len(rows))
        found = find_root(excess, (np.zeros(len(rows)), np.ones(len(rows))), args=(at,))
        nearer = np.where(np.abs(excess(0.0, at)) < np.abs(excess(1.0, at)), 0.0, 1.0)
        out[rows] += width * np.where(found.success, found.x, nearer)
        return out

    def mode(self):
        """Return the highest point of each density, (m,)."""
        return normal_modes(*self._needs_normal("the mode"))

    def regions(self, coverage):
        """Return edges (n_intervals, 2) row after row, their number for each row, and the densities there, (m,)."""
        drop = 0.5 * ndtri(0.5 * (1.0 - coverage)) ** 2  # from the tail: 1 + coverage may round to 2
        edges, count, level = normal_regions(*self._needs_normal("the highest-density region"), coverage, drop)
        if np.isnan(level).any():
            raise ArithmeticError("the highest-density region of a row was not found.")
        there = np.arange(edges.shape[1]) < count[:, None]
        return edges.transpose(2, 1, 0)[there], count, np.exp(level)
