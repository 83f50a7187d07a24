"""What is installed, for reports of what went wrong."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

__all__ = ["show_versions"]

_NEEDED = ("smoe", "numpy", "scipy", "numba", "llvmlite", "scikit-learn", "joblib", "threadpoolctl")
_OPTIONAL = ("matplotlib", "pandas", "polars", "formulaic", "dask", "distributed", "pyarrow", "rich")


def show_versions() -> None:
    """Print the versions of Python, of smoe and of what it uses, the system, and numbers of threads.

    Examples
    --------
    >>> import smoe
    >>> smoe.show_versions()
    python        3...
    system        ...
    """
    rows = [("python", sys.version.split()[0]), ("system", platform.platform()), ("cpus", os.cpu_count())]
    rows += [(name, _version(name)) for name in (*_NEEDED, *_OPTIONAL)]
    rows += _threads()
    for name, value in rows:
        print(f"{name:<15}{value}")


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _threads():
    """Return the threads that compiled libraries use."""
    import scipy.linalg  # noqa: F401 - it loads the libraries
    from numba import config
    from threadpoolctl import threadpool_info

    pools = [(one["user_api"], one["num_threads"], one["internal_api"]) for one in threadpool_info()]
    named = [(f"{kind} threads", f"{n} ({library})") for kind, n, library in pools]
    return [("numba threads", config.NUMBA_NUM_THREADS), *named]
