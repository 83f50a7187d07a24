"""The compile flags, in one place.

Full fastmath is out: it deletes the tests for NaN and infinity that sparse gates rely on. Sums vectorise only when
they may be reassociated; the exponential must not be, because its rounding trick dies of it. Contraction to fused
multiply-adds is allowed everywhere.

What makes a loop over rows vectorise: one small function per loop, taking contiguous rows (``a[k, low:high]`` is
contiguous, ``a[:, low:high][k]`` is not known to be), indices from zero, and no array that is both read and written
under two names.
"""

import numpy as np
from numba import njit

from smoe._kernels._cache import keep
from smoe._kernels._inner import InnerCompiler
from smoe._kernels._signals import undisturbed

_COMMON = {"nogil": True, "error_model": "numpy"}

ZERO = np.int64(0)  # as an argument: for a literal a kernel would be compiled anew


def kernel(function):
    """Compile a function that Python calls.

    It is compiled anew for each kind of array: contiguous or not, writable or not. Whoever calls a large one sees to it
    that there is one kind; small arrays are copied for that.
    """
    return undisturbed(keep(njit(fastmath={"contract"}, **_COMMON)(function)))


# Functions that kernels alone call; sums that may be reassociated are a function of their own.
inner = njit(fastmath={"contract"}, pipeline_class=InnerCompiler, **_COMMON)
reduction = njit(fastmath={"reassoc", "contract"}, pipeline_class=InnerCompiler, **_COMMON)
