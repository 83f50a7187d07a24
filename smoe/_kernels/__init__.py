"""Numba kernels: pure functions on arrays, experts on axis 0, rows contiguous on the last axis."""
