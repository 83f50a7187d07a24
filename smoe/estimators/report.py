"""From what a search has found, in working coordinates, to what a user gets."""

from dataclasses import replace

import numpy as np

from smoe.closing import closing, user_totals
from smoe.fitted import FittedMixture
from smoe.inference import covariance
from smoe.order import order_of
from smoe.params import flatten, n_experts_of, permute

__all__ = ["fitted_mixture"]

_ALIKE = 1e-6  # difference per row of log-likelihoods in working and in the user's units that is rounding


def fitted_mixture(blocks, fit, certificate, kind=FittedMixture, **known):
    """Return the `FittedMixture` of the best end of a search; ``known`` are fields that need no work."""
    model, total = blocks.model, blocks.total_weight
    offset = blocks.loglik_offset
    fit = fit if fit.closing else fit._replace(closing=closing(model, blocks, fit.params))
    order, entropy = order_of(model, fit.params, fit.closing.order)
    order, params, user, (loglik, response_sums) = _reported(blocks, fit, order, offset)
    certificate = certificate.permuted(order)
    if not abs(loglik + offset - fit.loglik) <= _ALIKE * total:
        certificate = certificate.lost(loglik, fit.loglik - offset)
        fit = fit._replace(loglik=loglik + offset)
    found = kind(
        model=model,
        params=user,
        loglik=float(fit.loglik - offset),
        **_numbers_of_parameters(model, params),
        n_rows=total,
        entropy=entropy,
        certificate=certificate,
        covariance=None,  # it needs the entries of the others
        objective=float((fit.loglik if fit.objective is None else fit.objective) - offset),
        score_norm=fit.score_norm,
        n_iter=fit.n_iter,
        trace=fit.trace - offset,
        roles=blocks.roles,
        response_sums=response_sums,
        rows_per_group=blocks.rows_per_group,
        **known,
    )
    same = np.array_equal(flatten(params), flatten(fit.params))
    curvature = fit.curvature if same else None
    spread = covariance(model, blocks, params, certificate, found.entries(), curvature=curvature)
    return replace(found, covariance=spread, certificate=certificate.named(spread.separation))


def _numbers_of_parameters(model, params):
    n_gate, n_free = model.n_parameters(params)
    n_experts = n_experts_of(params)
    share = model.gate.n_selected(n_experts) / n_experts
    return {"n_parameters": n_free, "n_active_parameters": n_gate + round(share * (n_free - n_gate))}


def _reported(blocks, fit, order, offset):
    """Return the experts' order, the parameters in it (working and user's units), and what all rows add up to there.

    Where rows lie on the boundaries of a gate that jumps, numbering the experts anew may change the density: then
    they stay in the order in which they were found.
    """
    model, scaling = blocks.model, blocks.scaling
    as_found = np.arange(len(order))

    def lost(found):
        return abs(found[-1].loglik + offset - fit.loglik)

    def reported(order):
        params = scaling.canonical(model, permute(fit.params, order))
        user = scaling.to_user(model, params)
        if np.array_equal(order, as_found):
            return order, params, user, fit.closing.user
        return order, params, user, blocks.seen_in(scaling.plain).sum(user_totals, user, model)

    found = reported(order)
    if model.gate.smooth or lost(found) <= _ALIKE:
        return found
    return min(found, reported(as_found), key=lost)
