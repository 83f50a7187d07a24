"""The first n of a Plackett-Luce order, the Gumbel noise of scale tau that makes it averaged out, row by row.

Subsets are numbers, element i is in subset A if bit i of A is set. Set by set, from the smaller to the larger ones: the
chance to be the first |A| drawn is a sum over which of its elements is the last of them. What is wanted by expert is
the log of the sum over sets with it, the sets' chances times the weights exp(s) within the set. ``order`` is that of
the highest derivative; arrays of those that are not wanted have no entries.
"""

import math

import numpy as np

from smoe._kernels._jit import inner, kernel
from smoe._kernels.elementary import log_add

__all__ = ["averaged_weights"]


@inner
def _sums(u, out):
    """Fill out with the logs of the summed worths of all subsets."""
    out[0] = -np.inf
    for A in range(1, len(out)):
        i = 0
        while not (A >> i) & 1:
            i += 1
        out[A] = log_add(out[A & (A - 1)], u[i])


@inner
def _add(scale, values, out):
    for j in range(len(out)):
        out[j] += scale * values[j]


@inner
def _add_shares(scale, u, sums, A, slope):
    """Add scale times the shares of A's elements in its sum."""
    for j in range(len(slope)):
        if (A >> j) & 1:
            slope[j] += scale * math.exp(u[j] - sums[A])


@inner
def _add_spread(scale, u, sums, A, bend):
    """Add scale times diag(share) - share share' of A's elements, by pairs j <= h."""
    pair = 0
    for j in range(len(u)):
        for h in range(j, len(u)):
            if (A >> j) & (A >> h) & 1:
                share = math.exp(u[j] - sums[A])
                bend[pair] += scale * share * ((1.0 if j == h else 0.0) - math.exp(u[h] - sums[A]))
            pair += 1


@inner
def _add_square(scale, slope, mean, bend):
    pair = 0
    for j in range(len(mean)):
        for h in range(j, len(mean)):
            bend[pair] += scale * (slope[j] - mean[j]) * (slope[h] - mean[h])
            pair += 1


@inner
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
        mean[:], bend[A] = 0.0, 0.0
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
                    _add(w, one, mean)
                else:
                    _add(w, bend[before], bend[A])
                    _add_spread(-w, u, sums, every ^ before, bend[A])
                    _add_square(w, one, mean, bend[A])
        slope[A] = mean


@inner
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
            one[:] = 0.0
            one[i] = 1.0
            _add(1.0 / tau, slope[A], one)
            _add_shares(-1.0, s, inner, A, one)
            if turn == 0:
                _add(w, one, mean)
            else:
                _add(w / tau / tau, bend[A], spread)
                _add_spread(-w, s, inner, A, spread)
                _add_square(w, one, mean, spread)
    return total + s[i]


@kernel
def averaged_weights(scores, n, tau, R, order):
    """Return the log weights (n_experts, m) and their derivatives.

    With order 1 or more their slopes by the scores, the first axis, (n_experts, n_experts, m); with order 2 the second
    derivatives of the sum of R * log weights by pairs j <= h of scores, (n_pairs, m).
    """
    k, m = scores.shape
    ones, twos = k * (order > 0), k * (k + 1) // 2 * (order > 1)
    value, slopes, bends = np.empty((k, m)), np.zeros((ones, k, m)), np.zeros((twos, m))
    sums, inner, chance = np.empty(1 << k), np.empty(1 << k), np.empty(1 << k)
    slope, bend, sizes = np.empty((1 << k, ones)), np.empty((1 << k, twos)), np.zeros(1 << k, np.int64)
    u, s, mean, spread = np.empty(k), np.empty(k), np.empty(ones), np.empty(twos)
    for A in range(1, 1 << k):
        sizes[A] = sizes[A >> 1] + (A & 1)
    for r in range(m):
        for i in range(k):
            s[i], u[i] = scores[i, r], scores[i, r] / tau
        _sums(u, sums)
        _sums(s, inner)
        _chances(u, sums, sizes, n, chance, slope, bend)
        for i in range(k):
            value[i, r] = _average(s, inner, sizes, n, tau, chance, slope, bend, i, mean, spread)
            for j in range(ones):
                slopes[j, i, r] = mean[j]
            for pair in range(twos):
                bends[pair, r] += R[i, r] * spread[pair]
    return value, slopes, bends
