"""Sums over groups of rows that lie side by side."""

import numpy as np

from smoe._kernels._jit import inner, kernel


@inner
def _sum_up(values, first, out):
    last = len(first) - 1
    for g in range(last + 1):
        high = first[g + 1] if g < last else len(values)
        total = 0.0
        for i in range(first[g], high):
            total += values[i]
        out[g] = total


@kernel
def group_sums(values, first):
    """Return the sums of values (n, m) over the groups that begin at ``first``, (n, n_groups)."""
    out = np.empty((len(values), len(first)))
    for i in range(len(values)):
        _sum_up(values[i], first, out[i])
    return out
