"""What is there after ``import smoe``."""

import subprocess
import sys

import pytest

import smoe

MODULES = (
    "constraints datasets diagnostics distribution experts families features fields fitted gates inference metrics "
)
MODULES += "mixture params penalties plots rows selection simulation solvers starts"


def fresh(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_modules_are_there_without_an_import_of_their_own():
    names = "['" + "', '".join(MODULES.split()) + "']"
    assert fresh(f"import smoe\nfor name in {names}: assert getattr(smoe, name).__name__ == 'smoe.' + name") == ""
    assert fresh("import smoe; print(len(smoe.datasets.load_engel().target))") == "235"


def test_nothing_is_loaded_before_it_is_used():
    heavy = "numpy scipy sklearn numba matplotlib pandas smoe.estimators".split()
    assert fresh(f"import smoe, sys; dir(smoe); print([m for m in {heavy} if m in sys.modules])") == "[]"


def test_dir_lists_the_public_names_and_no_others():
    expected = sorted([*smoe.__all__, *MODULES.split(), "__version__"])
    assert dir(smoe) == expected
    assert eval(fresh("import smoe; smoe.MoERegressor; smoe.plots; print(dir(smoe))")) == expected


def test_what_is_not_there_is_named():
    with pytest.raises(AttributeError, match="module 'smoe' has no attribute 'nothing'"):
        smoe.nothing  # noqa: B018
    assert not hasattr(smoe, "_kernel")
