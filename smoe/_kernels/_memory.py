"""What a pass frees is kept for the next one.

Passes fill some arrays of a megabyte and free them. The GNU allocator gives such memory back at once, and the system
hands it out again page by page, which can take longer than filling it. It learns from what is freed: one array as large
as it can learn from, taken and dropped untouched, and it keeps what passes need. Others ignore it.
"""

import numpy as np

__all__ = ["keep_freed_memory"]

_LARGEST = 31 * 2**20  # bytes; the allocator learns from less than 32 MiB, and then keeps twice as much


def keep_freed_memory():
    """Let the allocator keep freed memory, some 60 MB at most."""
    np.empty(_LARGEST, dtype=np.uint8)
