"""What rows say of a fit: its log-likelihood on them, and the criteria that follow from it."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from smoe._kernels.posterior import entropies
from smoe.hints import Data

__all__ = ["aic", "bic", "icl", "loglik"]


def loglik(fit: Any, X: Data, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> float:
    """Return the log-likelihood: natural logarithms of densities, total over rows, times the weights."""
    return float(_loglik(fit, fit.blocks(X, y, sample_weight)))


def aic(fit: Any, X: Data, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> float:
    """Return Akaike's criterion, -2 l + 2 df (smaller is better)."""
    return -2.0 * loglik(fit, X, y, sample_weight) + 2.0 * fit.n_parameters


def bic(fit: Any, X: Data, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> float:
    """Return the Bayesian criterion, -2 l + df log n with n the sum of the weights (smaller is better)."""
    return _bic(fit, fit.blocks(X, y, sample_weight))


def icl(fit: Any, X: Data, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> float:
    """Return the integrated complete-data criterion: BIC plus twice the entropy of the responsibilities."""

    def entropy(block, params):
        return float(entropies(fit.model.posterior(block, params)[1], block.weight).sum())

    blocks = fit.blocks(X, y, sample_weight)
    return _bic(fit, blocks) + 2.0 * blocks.sum(entropy, fit.params)


def r2(fit: Any, source: Any) -> float:
    """Return the share of the variance of y, weighted, that the means explain, on the rows of a source."""
    if isinstance(source.response, list):
        raise ValueError("score of a source is of one response; score_samples and loglik take several.")
    centre = source.take(np.arange(1)).y

    def squares(block, params):
        y, weight = block.raw.y[block.raw.rows] - centre, block.weight
        return np.array(
            [weight.sum(), weight @ y, weight @ y**2, weight @ (y + centre - fit.model.mean(block, params)) ** 2]
        )

    total, first, second, residual = fit.blocks(source, None).sum(squares, fit.params)
    return float(1.0 - residual / (second - first**2 / total))


def _loglik(fit, blocks):
    return blocks.sum(fit.model.loglik, fit.params)


def _bic(fit, blocks):
    return float(-2.0 * _loglik(fit, blocks) + fit.n_parameters * np.log(blocks.total_weight))
