"""Settings as JSON has them: the same words for the same settings, in every process."""

import hashlib
import math
import re
from functools import partial
from types import CodeType, MethodType

import numpy as np
from sklearn.base import BaseEstimator

__all__ = ["described", "rounded"]

_WITHOUT_INFLUENCE = ("n_jobs", "verbose", "checkpoint")  # on a record
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_DIGITS = 6  # of probes: the last ones of a float differ from machine to machine


def described(value, without=()):
    """Return objects as their class and parameters, functions as their names, arrays as lists.

    What cannot be imported by its name, such as a lambda, is also described by its code: two may share a name.

    Parameters
    ----------
    value : object
    without : sequence of str
        Parameters of an estimator that are left out, of itself and not of what it holds.
    """
    return _described(value, (), without)


def _described(value, holders, without=()):
    """Describe a value; ``holders`` are the objects that it was found in, which it may hold in turn."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if any(value is holder for holder in holders):
        return "itself"
    inner = (*holders, value)
    if isinstance(value, BaseEstimator):
        left_out = {*_WITHOUT_INFLUENCE, *without}
        return _object(value, {k: v for k, v in value.get_params(deep=False).items() if k not in left_out}, inner)
    if isinstance(value, dict):
        return {str(name): _described(entry, inner) for name, entry in value.items()}
    if hasattr(value, "_asdict"):
        return _described(value._asdict(), inner)
    if isinstance(value, list | tuple):
        return [_described(entry, inner) for entry in value]
    return _function(value, inner) if callable(value) else _thing(value, inner)


def _object(value, params, holders):
    """Return class and parameters; classes from elsewhere with their module."""
    kind = type(value)
    own = kind.__module__.partition(".")[0] == "smoe"
    name = kind.__name__ if own else f"{kind.__module__}.{kind.__qualname__}"
    return {"class": name, **_described(params, holders)}


def _thing(value, holders):
    if isinstance(value, np.random.RandomState):
        return _described(value.get_state(legacy=False), holders)
    if isinstance(value, np.random.Generator):
        return _described(value.bit_generator.state, holders)
    if hasattr(value, "__dict__") and (callable(value) or type(value).__repr__ is object.__repr__):
        return _object(value, vars(value), holders)
    return _ADDRESS.sub("", repr(value))


def _function(value, holders):
    if isinstance(value, partial):
        parts = _described([value.func, value.args, value.keywords], holders)
        return {"function": parts[0], "args": parts[1], **parts[2]}
    if isinstance(value, MethodType):
        return {"method": value.__func__.__qualname__, "of": _described(value.__self__, holders)}
    value = getattr(value, "py_func", value)  # of a compiled function
    if not hasattr(value, "__qualname__"):
        return _thing(value, holders)
    name = f"{getattr(value, '__module__', '')}.{value.__qualname__}"
    if "<" not in name or not hasattr(value, "__code__"):
        return name
    return {"function": name, **_inside(value, (*holders, value))}


def _inside(function, holders):
    """Return what a function without an importable name does: a digest of its code, its defaults and its closure."""
    held = [_cell(cell) for cell in function.__closure__ or ()]
    values = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values(), *held]
    digest = hashlib.sha256(repr(_code(function.__code__)).encode()).hexdigest()[:16]
    return {"code": digest, "holds": _described(values, holders)}


def _cell(cell):
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _code(code):
    constants = [_code(c) if isinstance(c, CodeType) else _constant(c) for c in code.co_consts]
    return code.co_code.hex(), code.co_names, constants


def _constant(value):
    """Return text for a constant; sets have no order of their own."""
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)


def rounded(values, floor=0.0):
    """Return numbers as a list of floats to compare, to six digits.

    Parameters
    ----------
    values : array-like of float
    floor : float, default=0.0
        Share of the largest number up to which another one counts as zero.
    """
    values = np.asarray(values, dtype=float).ravel()
    floor = floor * np.abs(values[np.isfinite(values)]).max(initial=0.0)
    return [math.nan if v != v else 0.0 if abs(v) <= floor else float(f"{v:.{_DIGITS}g}") for v in values.tolist()]
