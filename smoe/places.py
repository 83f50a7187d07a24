"""Places of experts that are not exchangeable: who sits on which leaf or interval is part of the model.

Steps do not move experts between places, and starts draw few of the many orders. So the best end is asked whether some
exchange of two experts, or one that moves between two others, leads higher, as long as one does.
"""

from itertools import permutations

import numpy as np

from smoe.chance import load_of, merit
from smoe.params import MoEParams, n_experts_of
from smoe.solvers import EM

__all__ = ["PLACES", "better_places", "moves"]

PLACES = "Places"  # what names of fits with other places begin with

_CLIMB = 30  # EM iterations, from a gate without slopes
_MOST = 40  # moves that are tried from one order of the experts
_GAIN = 0.1  # nats: less is no gain
_ROUNDS = 10  # gains after which it ends
_NEAR = 2.0  # nats on the sample: what is so near to the best one is finished too
_FINISHED = 2


def better_places(model, sample, params, each, rng):
    """Return parameters with other places that may lead higher than these, the most promising first; maybe none.

    Parameters
    ----------
    model : MixtureOfExperts
    sample : OneBlock
    params : MoEParams
    each : callable
        ``each(function, items)`` returns what the function makes of a dictionary's items.
    rng : numpy.random.Generator
    """
    best, seen = EM(_CLIMB, 0.0).short_run(model, sample, params), {}

    def rank(fit):
        return merit(model, sample, fit)

    first, known = rank(best), {_places(model, params)}
    for _ in range(_ROUNDS):
        fresh = {}
        for order in moves(n_experts_of(params), rng):
            moved = _moved(model, sample, best.params, order)
            if (key := _places(model, moved)) not in known:
                known.add(key)
                fresh[key] = moved
        fits = each(lambda moved: EM(_CLIMB, 0.0).short_run(model, sample, moved), fresh)
        seen |= {key: fit for key, fit in fits.items() if np.isfinite(fit.loglik)}
        top = max(seen.values(), key=rank, default=best)
        if not _above(rank(top), rank(best), _GAIN):
            break
        best = top
    order = sorted(seen, key=lambda key: rank(seen[key]), reverse=True)
    return [seen[key].params for key in order[:_FINISHED] if _above(rank(seen[key]), first, -_NEAR)]


def moves(k, rng):
    """Return orders of ``k`` experts that are one move away: two exchange their places, or one goes between others.

    All orders of up to three experts; a draw of the moves where they are many.
    """
    if k <= 3:
        return [list(order) for order in permutations(range(k))][1:]
    out = []
    for i in range(k):
        for j in range(k):
            exchanged, put = list(range(k)), [e for e in range(k) if e != i]
            exchanged[i], exchanged[j] = j, i
            put.insert(j, i)
            out += [exchanged] * (i < j) + [put] * (abs(i - j) > 1)
    return [out[i] for i in rng.permutation(len(out))[:_MOST]]


def _moved(model, sample, params, order):
    """Return the experts as they are at the places of others, and what each has of the rows everywhere."""
    share = np.maximum(load_of(model, sample, params).weight, 1.0)
    gate = model.gate.permute(params.gate, order)
    return MoEParams(model.gate.canonical(model.gate.flat(gate, share / share.sum())), params.expert)


def _places(model, params):
    """Return all that a fit leaves as it is."""
    gate = model.gate.canonical(params.gate)
    return tuple(
        float(value)
        for name, field in model.gate.fields.items()
        if field.fixed
        for value in np.ravel(getattr(gate, name))
    )


def _above(merit, other, gain):
    return (*merit[:-1], merit[-1] - gain) > other
