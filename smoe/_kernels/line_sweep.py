"""Where on a line a log-likelihood that changes at break points is highest: sort them, then sweep over them."""

import numpy as np

from smoe._kernels._jit import inner

_APART = 1e-10  # share of the reach by which break points must differ
_DIGIT = 11  # bits that one pass of the sort looks at
_N_DIGITS = 3  # break points are sorted in steps of the reach over 2^32
_ROW_BITS = 28


@inner
def _move(from_, shift, counts, to):
    """Do one pass of a radix sort."""
    total = 0
    for digit in range(len(counts)):
        counts[digit], total = total, total + counts[digit]
    for q in range(len(from_)):
        digit = (from_[q] >> shift) & (2**_DIGIT - 1)
        to[counts[digit]] = from_[q]
        counts[digit] += 1


@inner
def sort_breaks(at, reach, packed, spare):
    """Sort the rows by their break points, as far as these lie within the reach; return the rows.

    In time linear in their number: what is sorted are whole numbers, in steps far below what `best_on_line` resolves.
    """
    counts = np.zeros((_N_DIGITS, 2**_DIGIT), np.int64)
    n, largest = 0, 2.0 ** (_DIGIT * _N_DIGITS) - 1.0
    for row in range(len(at)):
        t = at[row]
        if -reach <= t <= reach:
            key = np.int64(min((0.5 + 0.5 * t / reach) * largest, largest))
            packed[n] = (key << _ROW_BITS) | row
            n += 1
            for digit in range(_N_DIGITS):
                counts[digit, (key >> (_DIGIT * digit)) & (2**_DIGIT - 1)] += 1
    packed, spare = packed[:n], spare[:n]
    for digit in range(_N_DIGITS):
        _move(packed, _ROW_BITS + _DIGIT * digit, counts[digit], spare)
        packed, spare = spare, packed
    for q in range(n):
        packed[q] &= 2**_ROW_BITS - 1
    return packed


@inner
def best_on_line(order, at, terms, v, c0, c1, c2, reach):
    """Return the t within reach with the largest value, and this value; ``order`` sorts the break points within reach.

    Between break points that differ by rounding alone (where ranks of many rows tie at once) the support is no property
    of the model: such a t is not taken.
    """
    for row in range(len(at)):
        if at[row] < -reach:
            sign = 1.0 if v[row] > 0.0 else -1.0
            c0 += sign * terms[0, row]
            c1 += sign * terms[1, row]
            c2 += sign * terms[2, row]
    best_t, best = 0.0, -np.inf
    n = len(order)
    for q in range(n):
        row = order[q]
        sign = 1.0 if v[row] > 0.0 else -1.0
        c0 += sign * terms[0, row]
        c1 += sign * terms[1, row]
        c2 += sign * terms[2, row]
        low, high = at[row], at[order[q + 1]] if q + 1 < n else reach
        if not high - low > _APART * reach:
            continue
        t = 0.5 * (low + high)
        if c2 < 0.0:  # the top of the parabola, but clear of the break points
            t = min(max(-0.5 * c1 / c2, 0.9 * low + 0.1 * high), 0.1 * low + 0.9 * high)
        value = c0 + c1 * t + c2 * t * t
        if value > best:
            best_t, best = t, value
    return best_t, best
