"""A type checker knows what is public: every parameter, what is returned, what fits leave."""

import inspect

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


def without_hints(name):
    """What lacks hints in what the reference lists under a name."""
    if not inspect.isclass(kind := target(name)):
        return lacking(kind) if plain(kind) else []
    members = {"__init__": kind.__init__}
    if name in WHOLE or not name.startswith(CORE):
        members |= {key: found for key, found in inspect.getmembers_static(kind) if not key.startswith("_")}
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
