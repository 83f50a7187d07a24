"""The guide names everything that the source can say about a fit."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guide"
SPEAKING = ["solvers/*.py", "search.py", "gates/*.py", "estimators/base.py", "simulation/_protocols.py"]
CHECKS = {"print", "_tell", "check_number", "check_instance", "check_floats"}
PASSING = {"far from a maximum"}  # the chain goes on from there; no fit ends so


def sentences(source):
    """Return the text of more than one word in a module that is neither documentation nor printed or raised."""
    tree = ast.parse(source)
    other = {id(n) for d in _documented(tree) for n in ast.walk(d.body[0])}
    other |= {id(n) for top in ast.walk(tree) if _is_for_others(top) for n in ast.walk(top)}
    texts = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in other)
    return {_plain(text) for text in texts if isinstance(text, str) and len(text.split()) > 1}


def _documented(tree):
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return [n for n in ast.walk(tree) if isinstance(n, kinds) and ast.get_docstring(n) is not None]


def _is_for_others(node):
    checked = isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in CHECKS
    return isinstance(node, ast.Raise) or checked


def _plain(text):
    """Return text with single spaces, without the marks and brackets around it."""
    return " ".join(text.split()).strip(" ():;,")


def spoken():
    files = [path for pattern in SPEAKING for path in sorted((ROOT / "smoe").glob(pattern))]
    found = {(path.name, text) for path in files for text in sentences(path.read_text(encoding="utf-8"))}
    return sorted((name, text) for name, text in found if text not in PASSING)


@pytest.mark.parametrize(("module", "text"), spoken())
def test_every_status_is_explained(module, text):
    page = _plain((GUIDE / "certificate.md").read_text(encoding="utf-8"))
    assert text in page, f"docs/guide/certificate.md does not explain what {module} may say: {text!r}"


def test_sentences_are_found():
    said = 'f"bad  row {x} (of many rows)"'
    source = f'"""A module."""\ndef f(x):\n    """Say it."""\n    raise Error("too bad")\n    return {said}\n'
    assert sentences(source) == {"bad row", "of many rows"}
    assert len(spoken()) > 15


def test_links_between_pages_work():
    for page in GUIDE.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+?\.md)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{page.relative_to(ROOT)} links to {target}, which is not there"


def test_examples_are_collected():
    """A block that ends without an empty line would take the closing fence for output."""
    for page in GUIDE.rglob("*.md"):
        for block in re.findall(r"```python\n(>>>.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
            assert block.endswith("\n\n"), f"{page.relative_to(ROOT)}: put an empty line before the fence of\n{block}"
