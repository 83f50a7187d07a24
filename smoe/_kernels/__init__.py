"""Numba kernels: pure functions on arrays, experts on axis 0, rows contiguous on the last axis."""

from smoe._kernels._memory import keep_freed_memory

keep_freed_memory()
