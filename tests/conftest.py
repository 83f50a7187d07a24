import numpy as np
import pytest


def pytest_configure():
    """Let no line about compilation come between a test and what it reads on stderr."""
    from smoe._kernels._cache import be_silent

    be_silent()


@pytest.fixture
def rng():
    return np.random.default_rng(20240)
