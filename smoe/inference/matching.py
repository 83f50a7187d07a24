"""Which expert of one fit is which of another."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from smoe.params import Chart, coordinates, copies, flatten, permute

__all__ = ["match_experts"]


def match_experts(model, blocks, reference, params, by="responsibilities"):
    r"""Return the parameters with their experts in the order of the reference.

    The optimal one-to-one assignment maximises the rows on which both agree,

    .. math:: \sum_i \sum_n w_n\, r_i(x_n, y_n)\, \tilde r_{\sigma(i)}(x_n, y_n),

    with r the responsibilities at the reference and :math:`\tilde r` those at the parameters, or minimises the squared
    differences between the experts' own parameters, each in the reference's natural unit (residual standard deviations
    for coefficients; logarithms of variances) and in coordinates in which columns have mean zero and variance one (and,
    if they are nearly collinear, are uncorrelated).

    Parameters
    ----------
    model : MixtureOfExperts
    blocks : Blocks
        The rows on which the two are compared, in working coordinates.
    reference, params : MoEParams
        In the user's units.
    by : {"responsibilities", "parameters"}, default="responsibilities"
        Responsibilities look at gate and experts at once and do not depend on units; parameters tell experts apart
        by their regressions alone.

    Returns
    -------
    MoEParams
        The density is the same; the gate is in its canonical form.

    References
    ----------
    Stephens, M. (2000). Dealing with label switching in mixture models. Journal of the Royal Statistical Society B 62,
    795-809.
    """
    pair = [blocks.scaling.from_units(model, p) for p in (reference, params)]
    cost = _distances(model.expert, *pair) if by == "parameters" else -_agreement(model, blocks, pair)
    order = linear_sum_assignment(cost)[1]
    matched = permute(params, order)
    return matched._replace(gate=model.user_canonical(matched.gate))


def _agreement(model, blocks, pair):
    """Total weight on which expert i of the one and expert j of the other agree, (n_experts, n_experts)."""

    def visit(block, both):
        one, other = (model.posterior(block, params)[1] for params in both)
        return (one * block.weight) @ other.T

    return blocks.sum(visit, pair)


def _distances(expert, reference, params):
    """Squared distances of the experts' own parameters, in the units of the reference, (n_experts, n_experts)."""
    unit = _by_expert(flatten(expert.natural_units(reference.expert)), reference.expert)
    one, other = (_by_expert(_unbounded(expert, p.expert), p.expert) for p in (reference, params))
    return (((one[:, None] - other) / unit[:, None]) ** 2).sum(axis=-1)


def _unbounded(expert, params):
    """The entries in flat order, in coordinates without bounds."""
    free, lower, unit, upper, attained = coordinates(expert, params)
    every = np.ones(len(free), dtype=bool)
    return Chart(params, every, lower, np.ones(len(unit)), upper, attained).pack(params)


def _by_expert(flat, params):
    """The entries that experts have, a row for each; what all share tells none from another."""
    return flat[copies(params)]
