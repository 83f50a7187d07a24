"""What a pass frees is kept for the next one.

Passes fill some arrays of a megabyte and free them. The GNU allocator gives such memory back at once, and the system
hands it out again page by page, which can take longer than filling it; the more so in workers of dask, which sets
``MALLOC_TRIM_THRESHOLD_`` for them. So it is told to keep what passes need. Other allocators are left alone.
"""

import ctypes
import sys

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_LARGEST = 32 * 2**20  # bytes; arrays from here on are given back


def keep_freed_memory():
    """Let the allocator keep freed memory, some 64 MB at most."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, 2 * _LARGEST)
