"""What losses and starts do, by trying them: functions may share a name, or change under the one that they have."""

import warnings

import numpy as np

from smoe._kernels._signals import raise_cause
from smoe.params import flatten
from smoe.settings import rounded
from smoe.simulation._near_truth import near_truth
from smoe.simulation.losses import evaluate, scalars

__all__ = ["probed_losses", "probed_start"]

_ROWS = 1000
_NOISE = 1e-6  # a distance at the truth is zero but for rounding, of which a root is taken
_SPREAD = 0.1  # of the perturbed truth, on every entry


def probed_losses(losses, truth, n_experts):
    """Return what each loss gives on the truth and on two perturbed ones, of as many experts and of more.

    Parameters
    ----------
    losses : dict of callables
    truth : Truth
    n_experts : int

    Returns
    -------
    dict
        By loss: the names of its numbers, each with its values; "random" for a loss that gives other numbers the
        second time.
    """
    # D1 and D2 are the same but where two experts stand for one.
    exchangeable = truth.model.gate.exchangeable  # others cannot be doubled
    more = max(n_experts, truth.n_experts + 1) if exchangeable else truth.n_experts
    tried = truth.params, _perturbed(truth, truth.n_experts), _perturbed(truth, more)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, again = (_tried(losses, tried, truth) for _ in range(2))
    return {name: first[name] if repr(first[name]) == repr(again[name]) else "random" for name in sorted(losses)}


def _tried(losses, tried, truth):
    values = [evaluate(losses, params, truth)[0] for params in tried]
    return {name: _numbers([dict(scalars(v[name])) for v in values]) for name in losses}


def _perturbed(truth, n_experts):
    """Return parameters near the truth; the truth's experts in turn stand for additional ones."""
    extra = np.arange(n_experts - truth.n_experts) % truth.n_experts
    return near_truth(truth, n_experts, 1, np.random.default_rng(0), _SPREAD, _SPREAD, extra)


def _numbers(tries):
    names = sorted({name for values in tries for name in values})
    return {name or "value": rounded([values.get(name, np.nan) for values in tries], _NOISE) for name in names}


def probed_start(start, truth, n_experts):
    """Return the parameters that a start gives for one state of the generator, as a list; or that it has none.

    Parameters
    ----------
    start : callable
    truth : Truth
    n_experts : int
    """
    try:
        return rounded(flatten(start(truth, n_experts, _ROWS, np.random.default_rng(0))))
    except Exception as error:  # it may be for some sizes only
        raise_cause(error)
        return type(error).__name__
