"""The compile flags, in one place.

Full fastmath is out: it deletes the tests for NaN and infinity that sparse gates rely on. Sums vectorise only when
they may be reassociated; the exponential must not be, because its rounding trick dies of it.
"""

from numba import njit

_COMMON = {"cache": True, "nogil": True, "error_model": "numpy"}

kernel = njit(**_COMMON)
reducing_kernel = njit(fastmath={"reassoc", "contract"}, **_COMMON)
