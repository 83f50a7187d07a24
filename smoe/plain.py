"""Values as plain JSON, and back: numbers bit for bit, and objects of known classes alone."""

import math
from dataclasses import fields, is_dataclass
from typing import get_type_hints

import numpy as np
from sklearn.base import BaseEstimator

__all__ = ["decoded", "encoded"]

_UNUSUAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # strict JSON has no words for them
_DEEPEST = 60


def encoded(value, known, place="value"):
    """Return a value as JSON has it: dicts, lists, text, numbers.

    Parameters
    ----------
    value : object
        Numbers, text, arrays, containers, and objects of known classes: named tuples, dataclasses, scikit-learn's
        estimators with what they have learnt.
    known : dict of str to type or object
        What may be built, by name. Objects that are no classes are written as their names.
    place : str
        What it is called in messages.

    Raises
    ------
    TypeError
        What cannot be written; the message says where it is.
    """

    def within(one, name):
        return encoded(one, known, f"{place}.{name}")

    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, np.ndarray):
        return _array(value, known, place)
    if (name := next((name for name, one in known.items() if one is value), None)) is not None:
        return {"name": name}
    if type(value) is list:
        return [within(one, i) for i, one in enumerate(value)]
    if type(value) is tuple:
        return {"tuple": [within(one, i) for i, one in enumerate(value)]}
    if type(value) is dict:
        return {"dict": [[within(key, key), within(one, key)] for key, one in value.items()]}
    if isinstance(value, slice):
        return {"slice": [within(one, "slice") for one in (value.start, value.stop, value.step)]}
    name = type(value).__name__
    if known.get(name) is not type(value):
        raise TypeError(f"{place} is {value!r:.200}, which has no place in a file of data.")
    settings, learnt = _parts(value)
    out = {"class": name} | {field: within(one, field) for field, one in settings.items()}
    return out | ({"learnt": {field: within(one, field) for field, one in learnt.items()}} if learnt else {})


def _array(value, known, place):
    kind = {"U": "str", "O": "object"}.get(value.dtype.kind, value.dtype.name)
    if value.dtype.kind not in "biufUO":
        raise TypeError(f"{place} is an array of {value.dtype}, which has no place in a file of data.")
    entries = [encoded(one, known, place) for one in value.ravel().tolist()]
    if value.dtype.kind == "f":
        entries = [one["float"] if isinstance(one, dict) else one for one in entries]
    return {"array": kind, "shape": list(value.shape), "entries": entries}


def _parts(value):
    """Return what an object is made of and what it has learnt beside, by name."""
    if hasattr(value, "_asdict"):
        return value._asdict(), {}
    if hasattr(value, "as_data"):
        return value.as_data(), {}
    if not isinstance(value, BaseEstimator):
        return {name: getattr(value, name) for name in _names(value)}, {}
    settings = value.get_params(deep=False)
    return settings, {name: one for name, one in vars(value).items() if name not in settings}


def _names(value):
    return [field.name for field in fields(value)] if is_dataclass(value) else vars(value)


def decoded(value, known, place="value", depth=0):
    """Undo `encoded`. Nothing is run, and nothing is built whose class is not known.

    Parameters
    ----------
    value : object
        As JSON has it.
    known : dict of str to type or object
    place : str
        What it is called in messages.
    depth : int
        How many others it lies in.

    Raises
    ------
    ValueError
        What `encoded` does not write; the message says where it is.
    """

    def within(one, name):
        return decoded(one, known, f"{place}.{name}", depth + 1)

    if depth > _DEEPEST:
        raise ValueError(f"{place[:200]} lies too deep.")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [within(one, i) for i, one in enumerate(value)]
    tag = next(iter(value), None)
    if tag == "class":
        return _object(value, known, place, within)
    if tag == "array":
        return _read_array(value, place, within)
    content = value.get(tag)
    if tag == "float" and isinstance(content, str) and content in _UNUSUAL:
        return _UNUSUAL[content]
    if tag == "name" and isinstance(content, str) and content in known:
        return known[content]
    if tag in ("tuple", "slice") and isinstance(content, list) and (tag == "tuple" or len(content) == 3):
        return (tuple if tag == "tuple" else lambda parts: slice(*parts))([within(one, tag) for one in content])
    if tag == "dict" and isinstance(content, list) and all(isinstance(one, list) and len(one) == 2 for one in content):
        return {_key(within(key, "key"), place): within(one, key) for key, one in content}
    raise ValueError(f"{place} is {value!r:.100}, which this version of smoe does not know.")


def _key(key, place):
    if not isinstance(key, str | int | float | bool | None):
        raise ValueError(f"{place} has a key {key!r:.100}.")
    return key


def _read_array(value, place, within):
    kind, shape, entries = (value.get(name) for name in ("array", "shape", "entries"))
    whole = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape) and isinstance(entries, list)
    if not whole or len(shape) > 8 or math.prod(shape) != len(entries):
        raise ValueError(f"{place} is an array whose shape and entries do not agree.")
    try:
        if kind == "object":
            out = np.empty(len(entries), dtype=object)
            out[:] = [within(one, "entries") for one in entries]
            return out.reshape(shape)
        dtype = np.dtype(kind)
        if dtype.kind not in "biufU" or not isinstance(kind, str):
            raise TypeError
        if dtype.kind == "f":
            entries = [_UNUSUAL[one] if isinstance(one, str) else one for one in entries]
        right = {"f": int | float, "b": bool, "U": str}.get(dtype.kind, int)
        if not all(isinstance(one, right) for one in entries):
            raise TypeError
        return np.array(entries, dtype=dtype).reshape(shape)
    except (TypeError, KeyError, OverflowError):
        raise ValueError(f"{place} is an array of {kind!r:.50} with other entries.") from None


def _object(value, known, place, within):
    name = value["class"]
    kind = known.get(name) if isinstance(name, str) else None
    if not isinstance(kind, type):
        raise ValueError(f"{place} is of class {name!r:.100}, which this version of smoe does not know.")
    parts = {field: within(one, field) for field, one in value.items() if field not in ("class", "learnt")}
    learnt = value.get("learnt", {})
    learnt = {field: within(one, field) for field, one in learnt.items()} if isinstance(learnt, dict) else learnt
    try:
        if hasattr(kind, "from_data"):
            return kind.from_data(**parts)
        made = kind(**parts)
    except TypeError as error:
        raise ValueError(f"{place} is no {name}: {error}.") from None
    _check_types(made, place)
    _learn(made, learnt, place)
    return made


def _check_types(made, place):
    """Raise ValueError unless the fields of a value are what their annotations say."""
    if isinstance(made, BaseEstimator):  # whose settings are checked where they are used
        return
    for field, hint in get_type_hints(type(made)).items():
        allowed = {float: int | float, np.ndarray: np.ndarray | int | float}.get(hint, hint)
        try:
            right = not hasattr(made, field) or isinstance(getattr(made, field), allowed)
        except TypeError:  # annotations that say more than a class
            continue
        if not right:
            raise ValueError(f"{place}.{field} is {getattr(made, field)!r:.100}, and must be {allowed}.")


def _learn(made, learnt, place):
    """Give an object what it has learnt: data beside its settings, never in the place of methods."""
    if not isinstance(learnt, dict):
        raise ValueError(f"{place}.learnt must be a dict, got {learnt!r:.100}.")
    for name, one in learnt.items():
        own = getattr(type(made), name, None)
        if not name.isidentifier() or name.startswith("__") or callable(own) or isinstance(own, property):
            raise ValueError(f"{place}: {name!r:.100} is nothing that {type(made).__name__} learns.")
        vars(made)[name] = one
