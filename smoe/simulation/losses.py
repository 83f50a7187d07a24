"""Losses by name, and what a study accepts as one."""

from collections.abc import Iterable
from functools import partial

import numpy as np

from smoe.simulation.voronoi import parameter_errors, voronoi_loss
from smoe.threads import driving

__all__ = ["LOSSES"]


def _voronoi(params, truth, kind):
    return voronoi_loss(params, truth.params, kind, gate=truth.model.gate)


def _errors(params, truth):
    return parameter_errors(params, truth.params, gate=truth.model.gate)


# Add your own: name: callable(fitted_params, truth) -> number, array, or dict of these; it must be picklable.
LOSSES = {
    "D1": partial(_voronoi, kind="D1"),
    "D2": partial(_voronoi, kind="D2"),
    "sharp": partial(_voronoi, kind="sharp"),
    "errors": _errors,
}

FAILED = "failed: "  # in a status, before the error that a fit or a loss raised


def resolve_losses(losses):
    """Return a dict of callables from such a dict, whose values may be names, from a list of names, or from one name.

    Raises
    ------
    ValueError, TypeError
        An unknown name, or something that is neither a name nor callable.
    """
    if isinstance(losses, str):
        losses = [losses]
    if not isinstance(losses, Iterable):
        raise TypeError(f"losses must be a dict of callables, a list of names or a name, got {losses!r}.")
    if not isinstance(losses, dict):
        losses = {_checked_name(name): name for name in losses}
    return {_checked_name(name): _resolved(name, loss) for name, loss in losses.items()}


def _checked_name(name):
    if not isinstance(name, str) or not name:
        raise TypeError(f"losses: the name of a loss must be text, got {name!r}.")
    return name


def _resolved(name, loss):
    if isinstance(loss, str):
        if loss not in LOSSES:
            known = ", ".join(map(repr, LOSSES)) or "none"
            raise ValueError(f"losses: {loss!r} is not known; give a callable, or a registered name ({known}).")
        loss = LOSSES[loss]
    if not callable(loss):
        raise TypeError(f"losses: {name!r} must be callable(fitted_params, truth) or a name, got {loss!r}.")
    return loss


def evaluate(losses, params, truth):
    """Return every loss as numbers, lists and dicts of them, and a remark on those that failed, which are NaN."""
    values, remark = {}, ""
    for name, loss in losses.items():
        try:
            with driving:
                values[name] = _numbers(loss(params, truth))
        except Exception as error:
            values[name] = np.nan
            remark += f"; loss {name!r} {FAILED}{type(error).__name__}: {error}"
    return values, remark


def _numbers(value):
    if isinstance(value, dict):
        return {str(name): _numbers(entry) for name, entry in value.items()}
    if value is None:
        raise TypeError("a loss must return a number, an array or a dict of these, got None")
    return np.asarray(value, dtype=float).tolist()


def scalars(value, name=""):
    """Yield name and number of every number within: entries of dicts and lists get names such as ``cells.coef.0``."""
    if not isinstance(value, dict | list):
        yield name, value
        return
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
        yield from scalars(entry, f"{name}.{key}" if name else str(key))
