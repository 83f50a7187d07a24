"""The compile flags, in one place.

Full fastmath is out: it deletes the tests for NaN and infinity that sparse gates rely on. Sums vectorise only when
they may be reassociated; the exponential must not be, because its rounding trick dies of it. Contraction to fused
multiply-adds is allowed everywhere.

What makes a loop over rows vectorise: one small function per loop, taking contiguous rows (``a[k, low:high]`` is
contiguous, ``a[:, low:high][k]`` is not known to be), indices from zero, and no array that is both read and written
under two names.
"""

from pathlib import Path

import numpy as np
from numba import njit

_COMMON = {"cache": True, "nogil": True, "error_model": "numpy"}

kernel = njit(fastmath={"contract"}, **_COMMON)
reducing_kernel = njit(fastmath={"reassoc", "contract"}, **_COMMON)

ZERO = np.int64(0)  # as an argument: for a literal a kernel would be compiled anew


def raise_interrupt(error):
    """Raise the interrupt that this error stands for, if it does: compiled code makes a chain of SystemErrors of it."""
    cause = error
    while isinstance(cause, SystemError):
        cause = cause.__cause__
    if isinstance(cause, KeyboardInterrupt):
        raise KeyboardInterrupt from error


class interruptible:
    """A context that lets Ctrl-C which hits compiled code come out as the interrupt it is."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, SystemError):
            raise_interrupt(error)


def must_compile(function):
    """Whether a kernel has neither been compiled in this process nor stored on disk by another."""
    if not hasattr(function, "stats") or function.signatures:  # plain Python, or used already
        return False
    return not any(Path(function.stats.cache_path).glob(f"*.{function.py_func.__name__}-*.nbc"))
