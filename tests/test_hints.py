"""A type checker knows what is public: every parameter, what is returned, what fits leave. And it is told the truth."""

import inspect
import types
import typing
from functools import cached_property
from typing import Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

import pytest

import doors
from test_docs import CORE, DOCUMENTED, target

# Of the contracts of the core users meet the constructors, and these classes; the rest is for those who write more.
WHOLE = {f"smoe.rows.{name}" for name in ("ArraySource", "ParquetRows", "Raw", "Source")}
INNER = {f"smoe.rows.{name}" for name in ("Block", "Blocks", "Counted", "Grouped", "Labelled", "OneBlock", "by_group")}


def lacking(function):
    """Parameters without a hint, and "return"."""
    signature = inspect.signature(function)
    named = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    names = [p.name for p in named if p.annotation is p.empty]
    return names + ["return"] * (signature.return_annotation is signature.empty)


def plain(found):
    """The function of a method or property, if smoe has written one, else None."""
    found = getattr(found, "fget", None) or getattr(found, "func", found)
    found = inspect.unwrap(getattr(found, "__func__", found))
    return found if inspect.isfunction(found) and found.__module__.startswith("smoe.") else None


def public_members(kind):
    return {name: found for name, found in inspect.getmembers_static(kind) if not name.startswith("_")}


def without_hints(name):
    """What lacks hints in what the reference lists under a name."""
    if not inspect.isclass(kind := target(name)):
        return lacking(kind) if plain(kind) else []
    whole = name in WHOLE or not name.startswith(CORE)
    members = {"__init__": kind.__init__} | (public_members(kind) if whole else {})
    found = {key: lacking(function) for key, member in members.items() if (function := plain(member))}
    declared = {key for one in kind.__mro__ for key in inspect.get_annotations(one)}
    of_fit = {key for key, member in members.items() if isinstance(member, property) and not plain(member)}
    return {key: missing for key, missing in found.items() if missing} | {key: ["type"] for key in of_fit - declared}


@pytest.mark.parametrize("name", sorted({*DOCUMENTED} - INNER))
def test_every_public_name_has_hints(name):
    assert not without_hints(name)


def test_every_door_has_hints():
    functions = {name: plain(function) for group in doors.GROUPS for name, function, *_ in group()}
    assert not {name: missing for name, one in functions.items() if one and (missing := lacking(one))}


def is_a(value, hint):
    """Whether a value is what a hint says: of lists and dicts all that they hold."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in (Any, Self) or isinstance(hint, typing.TypeVar):
        return True
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    if origin in (Union, types.UnionType, ClassVar):
        return any(is_a(value, one) for one in inner)
    if not isinstance(value, origin or hint or type(None)):
        return False
    if origin is list:
        return all(is_a(one, inner[0]) for one in value)
    if origin is dict:
        return all(is_a(key, inner[0]) and is_a(one, inner[1]) for key, one in value.items())
    if origin is tuple and ... not in inner:
        return len(value) == len(inner) and all(map(is_a, value, inner))
    return True


def claims(value):
    """What hints say of public attributes and properties of an object: triples of name, value and hint."""
    said = {name: hint for one in reversed(type(value).__mro__[:-1]) for name, hint in get_type_hints(one).items()}
    for name, member in public_members(type(value)).items():
        if isinstance(member, property | cached_property) and (function := plain(member)):
            said[name] = get_type_hints(function).get("return", Any)
    for name, hint in said.items():
        if not name.startswith("_") and hasattr(value, name):
            yield name, getattr(value, name), hint


@pytest.mark.parametrize("group", doors.GROUPS, ids=lambda group: group.__name__)
def test_hints_are_true(group):
    wrong = []
    for name, function, arguments, *_ in group():
        try:
            found = function(**arguments)
        except (OSError, ValueError):  # these arguments are a beginning
            continue
        if (own := plain(function)) and not is_a(found, hint := get_type_hints(own).get("return", Any)):
            wrong.append((name, type(found), hint))
        if type(found).__module__.startswith("smoe."):
            wrong += [(name, part, type(value), hint) for part, value, hint in claims(found) if not is_a(value, hint)]
    assert not wrong
