"""What holds for tests and doctests alike."""

import sys

import pytest


@pytest.fixture(autouse=True)
def no_open_figures():
    """Close figures after each test: examples leave them to the reader, and matplotlib warns of many."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
