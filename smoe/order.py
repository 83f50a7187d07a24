"""The order in which experts are reported."""

import numpy as np

from smoe._kernels.posterior import entropies
from smoe.params import copies, flatten

__all__ = ["order_of", "response_totals", "stable_order"]


def stable_order(model, blocks, params):
    """Order the experts by the mean response of the rows they are responsible for; empty experts come last.

    Of several responses it is the first, then the second where that is equal, and so on. Also return the entropy of the
    responsibilities.
    """

    def totals(block, p):
        return response_totals(block, model.posterior(block, p)[1])

    return order_of(model, params, blocks.sum(totals, params))


def response_totals(block, resp):
    """Return weight, entropy and weighted response of each expert's share of a block: these sums tell the order."""
    entropy, resp, weight = entropies(resp, block.weight), block.spread(resp), block.spread(block.weight)
    response = (resp @ (weight * one) for one in np.atleast_2d(block.y))
    return np.array([resp @ weight, entropy, *response])


def order_of(model, params, totals):
    """Return what `stable_order` does, from the `response_totals` of all rows."""
    weight, entropy, *response = totals
    means = [np.where(weight > 0, one / np.where(weight > 0, weight, 1.0), np.inf) for one in response]
    own = flatten(params.expert)[copies(params.expert)]
    unknown = np.arange(len(own)) >= model.n_frozen  # those that are known keep their places
    return np.lexsort((*own.T, *means[::-1], unknown)), float(entropy.sum())
