"""The documentation is complete, and its examples run. That it builds without warnings is for ``make docs``."""

import argparse
import configparser
import importlib
import inspect
import pkgutil
import re
import runpy
from pathlib import Path

import pytest

import readme
import smoe
from smoe import cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLES = sorted(ROOT.glob("examples/**/plot_*.py"))
PAGES = {path: path.read_text(encoding="utf-8") for path in sorted((DOCS / "api").glob("*.rst"))}
# What users touch: every name in ``__all__`` belongs into the API reference.
PUBLIC = [
    "smoe",
    "smoe.datasets",
    "smoe.constraints",
    "smoe.diagnostics",
    "smoe.distribution",
    "smoe.experts",
    "smoe.families",
    "smoe.features",
    "smoe.fields",
    "smoe.gates",
    "smoe.inference",
    "smoe.metrics",
    "smoe.mixture",
    "smoe.params",
    "smoe.penalties",
    "smoe.plots",
    "smoe.rows",
    "smoe.selection",
    "smoe.simulation",
    "smoe.simulation.papers",
    "smoe.solvers",
    "smoe.starts",
]
# The rest: their public names are documented where they are exported, or are inner parts.
INNER = {
    *("cli", "criteria", "cumulative", "estimators", "fitted", "fitted_joint", "fused"),
    *(
        "chance",
        "checkpoint",
        "closing",
        "columns",
        "files",
        "formulas",
        "hints",
        "optional",
        "order",
        "rotation",
        "settings",
        "texts",
    ),
    *("plain", "precompile", "report", "saved", "versions"),
    *(
        "places",
        "plain",
        "pool",
        "profile",
        "saved",
        "versions",
        "registry",
        "scaling",
        "search",
        "second_look",
        "tables",
        "threads",
        "validation",
        "__main__",
    ),
}
# for other modules of smoe
NOT_DOCUMENTED = {
    "smoe.plots": {"plt"},
    "smoe.starts": {"resolve_start"},
    "smoe.experts": {"Support", "resolve_expert"},
}


def documented():
    """Full names in the autosummaries and data directives of the API pages."""
    found = set()
    for text in PAGES.values():
        module, listing = None, False
        for line in text.splitlines():
            if match := re.match(r"\.\. currentmodule:: (\S+)", line):
                module = match[1]
            elif match := re.match(r"\.\. data:: (\S+)", line):
                found.add(f"{module}.{match[1]}")
            elif line.startswith(".. "):
                listing = line.startswith(".. autosummary::")
            elif listing and (match := re.match(r"   (\w+)$", line)):
                found.add(f"{module}.{match[1]}")
    return found


DOCUMENTED = sorted(documented())


def target(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def test_every_module_is_public_or_not():
    names = {info.name for info in pkgutil.iter_modules(smoe.__path__) if info.name != "_kernels"}
    public = {name.split(".")[1] for name in PUBLIC if "." in name}
    assert names - public - INNER == set(), "list it in PUBLIC, with its names in docs/api, or in INNER"
    assert public <= names and not public & INNER


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(module):
    described = [target(name) for name in DOCUMENTED]
    exported = set(importlib.import_module(module).__all__) - NOT_DOCUMENTED.get(module, set())
    missing = [name for name in exported if not any(target(f"{module}.{name}") is one for one in described)]
    assert not missing, "add them to docs/api"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_name_in_the_reference_exists_and_says_something(name):
    found = target(name)
    assert not callable(found) or len(inspect.getdoc(found)) > 20


def parameters(function):
    """Names that a caller may give, without those of named tuples, whose docstrings describe the fields."""
    found = inspect.signature(function).parameters.values()
    return [p.name for p in found if p.name not in ("self", "cls") and not p.name.startswith("_")]


def is_recipe(name):
    found = target(name)
    called = callable(found) and not getattr(found, "_is_protocol", False)
    return called and not hasattr(found, "_fields") and inspect.isfunction(found) | inspect.isclass(found)


def listed_parameters(doc):
    """Names in the section of that name."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n--|\Z)", doc, re.M | re.S)
    heads = re.findall(r"^(\S.*)$", section[1], re.M) if section else []
    return {word.strip("* ") for head in heads for word in head.split(" : ")[0].split(",")}


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if is_recipe(name)])
def test_every_parameter_is_documented(name):
    found = target(name)
    doc = inspect.getdoc(found)
    names = listed = listed_parameters(doc)
    wanted = parameters(found)
    in_prose = {word for word in wanted if re.search(rf"\b{word}\b", doc)}
    missing = [word for word in wanted if word not in names and (listed or word not in in_prose)]
    assert not missing


# What scikit-learn's conventions say needs no words, nor do the arguments that contracts share.
CONVENTIONAL = {"X", "y", "sample_weight", "random_state", "rng"}
CORE = (
    "smoe.rows.",
    "smoe.experts.",
    "smoe.families.",
    "smoe.features.",
    "smoe.fields.",
    "smoe.gates.",
    "smoe.mixture.",
    "smoe.params.",
    "smoe.penalties.",
    "smoe.solvers.",
    "smoe.starts.",
)


@pytest.mark.parametrize("name", [n for n in DOCUMENTED if inspect.isclass(target(n)) and not n.startswith(CORE)])
def test_every_parameter_of_a_method_is_explained(name):
    of_all = inspect.getdoc(target(name))
    for method, function in inspect.getmembers(target(name), inspect.isfunction):
        if not method.startswith("_") and function.__module__.startswith("smoe"):
            doc = f"{inspect.getdoc(function)}\n{of_all}"
            missing = [p for p in {*parameters(function)} - CONVENTIONAL if not re.search(rf"\b{p}\b", doc)]
            assert not missing, method


def options(parser):
    """Commands with the long options of each."""
    (commands,) = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return {name: [o for a in sub._actions for o in a.option_strings] for name, sub in commands.choices.items()}


def test_every_option_of_the_command_line_is_documented():
    page = (DOCS / "api" / "cli.md").read_text(encoding="utf-8")
    sections = {part.split("`", 1)[0]: part for part in page.split("\n## `")[1:]}
    found = options(cli._parser())
    assert found.keys() == sections.keys()
    for command, names in found.items():
        assert not [o for o in names if o not in ("-h", "--help") and f"`{o}`" not in sections[command]]


@pytest.mark.gallery
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(path, monkeypatch):
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    monkeypatch.setattr("sys.argv", [str(path)])
    monkeypatch.setattr(plt, "show", lambda: None)
    runpy.run_path(str(path), run_name="__main__")
    assert plt.get_fignums() and all(axis.has_data() for axis in plt.gcf().axes)
    plt.close("all")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 100


def test_every_part_of_the_gallery_has_a_heading_and_a_place():
    parts = {path.parent.name for path in EXAMPLES}
    assert parts == {path.parent.name for path in ROOT.glob("examples/*/README.rst")}
    order = runpy.run_path(str(DOCS / "gallery_order.py"))
    assert parts == {Path(part).name for part in order["PARTS"]}
    assert sorted(order["STORY"]) == sorted(path.stem.removeprefix("plot_") for path in EXAMPLES)


def test_the_citation_has_the_version():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    assert f"\nversion: {setup['metadata']['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_readme_runs(capsys):
    model = readme.run()["model"]
    said = capsys.readouterr().out
    assert model.converged_ and said.startswith("converged") and "no problem found" in said
