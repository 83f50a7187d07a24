"""Packages that a few functions need, and nothing else does."""

from importlib import import_module

__all__ = ["needed"]


def needed(module, what, package=None):
    """Return a module. Raise ImportError if it is not installed: say what needs it, and which package has it."""
    try:
        return import_module(module)
    except ImportError:
        raise ImportError(f"{what} needs {module.split('.')[0]}: pip install {package or module}") from None
