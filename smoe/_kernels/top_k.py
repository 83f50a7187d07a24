"""Selection of the highest-ranked experts, row by row."""

import numpy as np

from smoe._kernels._jit import inner, kernel

_CHUNK = 256  # rows whose lists stay in the first-level cache
_LOWEST = -1.7e308  # ranks of -inf or NaN count as this, so that top_k different experts are always chosen


@inner
def _push(rank, expert, best, chosen):
    """Insert experts by rank, then by index, into one slot of the lists; what is displaced is left in their place."""
    for i in range(len(rank)):
        value, index, current, holder = rank[i], expert[i], best[i], chosen[i]  # all loads before any store
        higher = value > current or (value == current and index < holder)
        rank[i] = current if higher else value
        expert[i] = holder if higher else index
        best[i] = value if higher else current
        chosen[i] = index if higher else holder


@kernel
def top_k_experts(ranks, top_k):
    """Return the experts (top_k, m) with the highest ranks (n_experts, m), best first; ties go to the lower index."""
    n_experts, m = ranks.shape
    chosen = np.zeros((top_k, m), dtype=np.int64)
    rank, expert, best = np.empty(_CHUNK), np.empty(_CHUNK, dtype=np.int64), np.empty((top_k, _CHUNK))
    for low in range(0, m, _CHUNK):
        width = min(_CHUNK, m - low)
        best[:] = -np.inf
        for e in range(n_experts):
            row = ranks[e, low : low + width]
            for i in range(width):
                rank[i] = row[i] if row[i] > _LOWEST else _LOWEST
            expert[:] = e
            for slot in range(top_k):
                _push(rank[:width], expert[:width], best[slot, :width], chosen[slot, low : low + width])
    return chosen


@kernel
def keep_chosen(scores, chosen):
    """Return the scores (n_experts, m) with -inf for every expert that is not chosen."""
    n_experts, m = scores.shape
    out = np.full((n_experts, m), -np.inf)
    for slot in range(len(chosen)):
        for i in range(m):
            out[chosen[slot, i], i] = scores[chosen[slot, i], i]
    return out


@kernel
def gather(values, chosen):
    """Return values[chosen[slot, row], row], (top_k, m)."""
    out = np.empty(chosen.shape)
    for slot in range(len(chosen)):
        for i in range(chosen.shape[1]):
            out[slot, i] = values[chosen[slot, i], i]
    return out


@kernel
def chosen_lines(lines, Z, chosen):
    """Return the linear predictors lines[e]'z of each row's chosen experts only, (top_k, m)."""
    p, m = Z.shape
    out = np.empty(chosen.shape)
    for slot in range(len(chosen)):
        for i in range(m):
            line, total = lines[chosen[slot, i]], 0.0
            for j in range(p):
                total += line[j] * Z[j, i]
            out[slot, i] = total
    return out
