"""Quantiles of the conditional mixture."""

import numpy as np
from scipy.optimize.elementwise import find_root

__all__ = ["quantiles"]


def quantiles(model, block, params, q):
    r"""Return the q-quantiles of y given x, row by row, (n_q, m).

    A quantile of a mixture lies between the smallest and the largest of its experts' quantiles; in that bracket
    :math:`\sum_k \pi_k(x) F_k(y|x) = q` is solved. Upper tails are solved from above, so that they stay accurate.

    Parameters
    ----------
    model : MixtureOfExperts
    block : Block
    params : MoEParams
    q : array of shape (n_q,)
        Levels strictly between 0 and 1.
    """
    proba = model.gate_proba(block, params)
    return np.array([_quantile(model.expert, block.expert_Z, params.expert, proba, level) for level in q])


def _quantile(expert, Z, params, proba, level):
    edges = expert.ppf(Z, level, params)
    low = np.where(proba > 0, edges, np.inf).min(axis=0)
    high = np.where(proba > 0, edges, -np.inf).max(axis=0)
    upper = level > 0.5

    def excess(y, row):
        tail = expert.cdf(Z[:, row], y, params, upper)
        mass = (proba[:, row] * tail).sum(axis=0)
        return (1.0 - level) - mass if upper else mass - level

    width = high - low
    rows = np.flatnonzero(width > 0)
    out = low.copy()
    if len(rows):

        def scaled(t, row):
            return excess(low[row] + t * width[row], row)

        # On [0, 1] of each bracket the tolerance follows its width. Rounding may hide the change of sign when one
        # expert owns the row; the quantile is then the end where less is missing.
        found = find_root(scaled, (np.zeros(len(rows)), np.ones(len(rows))), args=(rows,))
        nearer = np.where(np.abs(scaled(0.0, rows)) < np.abs(scaled(1.0, rows)), 0.0, 1.0)
        out[rows] += width[rows] * np.where(found.success, found.x, nearer)
    return out
