from pathlib import Path

import numpy as np
import pytest

import smoe


def pytest_configure():
    """Drop compiled kernels that are older than any kernel's source: numba looks at a kernel's own file only."""
    folder = Path(smoe.__file__).parent / "_kernels"
    newest = max(path.stat().st_mtime for path in folder.glob("*.py"))
    for compiled in folder.glob("__pycache__/*.nb[ic]"):
        if compiled.stat().st_mtime < newest:
            compiled.unlink()


@pytest.fixture
def rng():
    return np.random.default_rng(20240)
