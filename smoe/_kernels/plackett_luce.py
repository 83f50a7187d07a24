"""The first n of a Plackett-Luce order, the Gumbel noise of scale tau that makes it averaged out, row by row.

Subsets are numbers, element i is in subset A if bit i of A is set. Set by set, from the smaller to the larger ones: the
chance to be the first |A| drawn is a sum over which of its elements is the last of them. What is wanted by expert is
the log of the sum over sets with it, the sets' chances times the weights exp(s) within the set. ``order`` is that of
the highest derivative; arrays of those that are not wanted have no entries.
"""

import math

import numpy as np

from smoe._kernels._jit import kernel
from smoe._kernels.elementary import log_add

__all__ = ["averaged_weights"]


@kernel
def _sums(u, out):
    """Fill out with the logs of the summed worths of all subsets."""
    out[0] = -np.inf
    for A in range(1, len(out)):
        i = 0
        while not (A >> i) & 1:
            i += 1
        out[A] = log_add(out[A & (A - 1)], u[i])


@kernel
def _add_shares(scale, u, sums, A, slope):
    """Add scale times the shares of A's elements in its sum."""
    for j in range(len(slope)):
        if (A >> j) & 1:
            slope[j] += scale * math.exp(u[j] - sums[A])


@kernel
def _add_spread(scale, u, sums, A, bend):
    """Add scale times diag(share) - share share' of A's elements."""
    for j in range(len(bend)):
        if (A >> j) & 1:
            share = math.exp(u[j] - sums[A])
            bend[j, j] += scale * share
            for l in range(len(bend)):
                if (A >> l) & 1:
                    bend[j, l] -= scale * share * math.exp(u[l] - sums[A])


@kernel
def _add_square(scale, slope, mean, bend):
    for j in range(len(bend)):
        for l in range(len(bend)):
            bend[j, l] += scale * (slope[j] - mean[j]) * (slope[l] - mean[l])


@kernel
def _chances(u, sums, sizes, n, chance, slope, bend):
    """Fill the logs of the chances of subsets of up to n elements, their slopes and their bends by u."""
    k, every = len(u), len(sums) - 1
    one, mean = np.empty(slope.shape[1]), np.empty(slope.shape[1])
    chance[:], chance[0] = -np.inf, 0.0
    slope[0], bend[0] = 0.0, 0.0
    for A in range(1, len(sums)):
        if sizes[A] > n:
            continue
        for i in range(k):
            if (A >> i) & 1:
                before = A ^ (1 << i)
                chance[A] = log_add(chance[A], chance[before] + u[i] - sums[every ^ before])
        mean[:] = 0.0
        slope[A], bend[A] = 0.0, 0.0
        for turn in range(min(len(one), 1) + min(bend.shape[1], 1)):  # slopes first, then bends
            for i in range(k):
                if not (A >> i) & 1:
                    continue
                before = A ^ (1 << i)
                w = math.exp(chance[before] + u[i] - sums[every ^ before] - chance[A])
                one[:] = slope[before]
                one[i] += 1.0
                _add_shares(-1.0, u, sums, every ^ before, one)
                if turn == 0:
                    mean += w * one
                else:
                    bend[A] += w * bend[before]
                    _add_spread(-w, u, sums, every ^ before, bend[A])
                    _add_square(w, one, mean, bend[A])
        slope[A] = mean


@kernel
def _average(s, inner, sizes, n, tau, chance, slope, bend, i, mean, spread):
    """Return the log of the averaged weight of expert i; fill its slopes and bends by s."""
    total, one = -np.inf, np.empty(len(mean))
    for A in range(len(inner)):
        if sizes[A] == n and (A >> i) & 1:
            total = log_add(total, chance[A] - inner[A])
    mean[:], spread[:] = 0.0, 0.0
    for turn in range(min(len(mean), 1) + min(len(spread), 1)):
        for A in range(len(inner)):
            if sizes[A] != n or not (A >> i) & 1:
                continue
            w = math.exp(chance[A] - inner[A] - total)
            one[:] = slope[A] / tau
            one[i] += 1.0
            _add_shares(-1.0, s, inner, A, one)
            if turn == 0:
                mean += w * one
            else:
                spread += w / tau / tau * bend[A]
                _add_spread(-w, s, inner, A, spread)
                _add_square(w, one, mean, spread)
    return total + s[i]


@kernel
def averaged_weights(scores, n, tau, R, order):
    """Return the log weights (n_experts, m), with order 1 also their derivatives by the scores, the first axis, and
    with order 2 the second derivatives of the sum of R * log weights by pairs j <= l of scores, (n_pairs, m).
    """
    k, m = scores.shape
    ones, twos = k * (order > 0), k * (order > 1)
    value, slopes = np.empty((k, m)), np.zeros((ones, k, m))
    bends = np.zeros((twos * (k + 1) // 2, m))
    sums, inner, chance = np.empty(1 << k), np.empty(1 << k), np.empty(1 << k)
    slope, bend = np.empty((1 << k, ones)), np.empty((1 << k, twos, twos))
    mean, spread, sizes = np.empty(ones), np.empty((twos, twos)), np.zeros(1 << k, np.int64)
    for A in range(1, 1 << k):
        sizes[A] = sizes[A >> 1] + (A & 1)
    for r in range(m):
        s = scores[:, r].copy()
        u = s / tau
        _sums(u, sums)
        _sums(s, inner)
        _chances(u, sums, sizes, n, chance, slope, bend)
        for i in range(k):
            value[i, r] = _average(s, inner, sizes, n, tau, chance, slope, bend, i, mean, spread)
            slopes[:, i, r] = mean
            pair = 0
            for j in range(twos):
                for l in range(j, twos):
                    bends[pair, r] += R[i, r] * spread[j, l]
                    pair += 1
    return value, slopes, bends
