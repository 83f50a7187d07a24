"""A round of lines along which a top-K gate's exact log-likelihood is searched."""

import math

import numpy as np

from smoe._kernels._jit import inner, kernel
from smoe._kernels.line_sweep import best_on_line, sort_breaks
from smoe._kernels.moments import dot
from smoe._kernels.support_lines import line_terms, moved_loglik, others, sort_best
from smoe._kernels.top_k import top_k_experts

_NEAR = 40  # rows near the boundary among which pivots are drawn
_DEPENDENT = 1e-10  # share of a pivot's length outside the span of those before it that is rounding


@inner
def _add(slope, z, out):
    for row in range(len(out)):
        out[row] += slope * z[row]


@inner
def predict(line, Z, n_terms, out):
    """Out = the sum of the first terms of line'z."""
    out[:] = 0.0
    for j in range(n_terms):
        _add(line[j], Z[j], out)


@inner
def _sift(gaps, near, n):
    """Bring the root of a heap with the largest gap on top to its place."""
    here = 0
    while 2 * here + 1 < n:
        child = 2 * here + 1
        if child + 1 < n and gaps[child + 1] > gaps[child]:
            child += 1
        if not gaps[child] > gaps[here]:
            break
        gaps[here], gaps[child] = gaps[child], gaps[here]
        near[here], near[child] = near[child], near[here]
        here = child


@inner
def nearest(rank, level, near, gaps):
    """Put the rows at which a rank is closest to the level into near, in no order; return how many there are."""
    n = min(len(near), len(rank))
    near[:n], gaps[:n] = 0, np.inf
    for row in range(len(rank)):
        gap = abs(rank[row] - level[row])
        if gap < gaps[0]:
            near[0], gaps[0] = row, gap
            _sift(gaps, near, n)
    return n


@inner
def keep_pivots(delta, Z, near, picks):
    """Take out of delta what moves scores at as many of the rows near as there are picks, uniform draws from [0, 1)."""
    basis, n = np.zeros((len(picks), len(delta))), 0
    for q in range(min(len(picks), len(near))):
        other = q + int(picks[q] * (len(near) - q))
        near[q], near[other] = near[other], near[q]
        pivot = np.copy(Z[:, near[q]])
        length = math.sqrt(np.sum(pivot * pivot))
        for _ in range(2):  # twice is enough for orthogonality
            for b in basis[:n]:
                pivot -= np.sum(b * pivot) * b
        rest = math.sqrt(np.sum(pivot * pivot))
        if rest > _DEPENDENT * length:
            basis[n] = pivot / rest
            delta -= np.sum(basis[n] * delta) * basis[n]
            n += 1


@inner
def unevenness(scores, ranking, weight, top_k):
    """Return the number of rows times the squared coefficient of variation of the experts' summed probabilities."""
    k, m = scores.shape
    order, importance = top_k_experts(ranking, top_k), np.zeros(k)
    for row in range(m):
        top, total = -np.inf, 0.0
        for q in range(top_k):
            top = max(top, scores[order[q, row], row])
        for q in range(top_k):
            total += math.exp(scores[order[q, row], row] - top)
        for q in range(top_k):
            importance[order[q, row]] += weight[row] * math.exp(scores[order[q, row], row] - top) / total
    n = np.sum(importance)
    return k * np.sum(importance * importance) / n - n


@inner
def _swap(a, b):
    for row in range(len(a)):
        a[row], b[row] = b[row], a[row]


@kernel
def search_lines(lines, Z, log_density, weight, top_k, n_ranked, balance, reach, experts, directions, n_pivots, picks):
    """Move along one line after the other to where the log-likelihood, minus a penalty, is higher; return its value.

    ``lines`` (n_experts, p) are the gate's coefficients on the design Z and are changed in place; the first n_ranked
    terms make the ranks. A line moves the expert given for it in a direction given, less what moves its scores at
    pivots, rows near its boundary; their number and the ``picks`` among the nearest rows are given too. The reach is in
    root mean square changes of the score. The penalty is ``balance`` times the `unevenness`.
    """
    (k, p), m = lines.shape, Z.shape[1]
    scores, ranking, rest = np.empty((k, m)), np.empty((k, m)), np.empty((5, m))
    for e in range(k):
        predict(lines[e], Z, p, scores[e])
        predict(lines[e], Z, n_ranked, ranking[e])
    order, best = top_k_experts(ranking, top_k + 1), np.empty((3, top_k + 1, m))
    sort_best(order, scores, ranking, log_density, best)
    others(order, best, k - 1, rest)
    value = moved_loglik(scores[k - 1], ranking[k - 1], log_density[k - 1], weight, rest, top_k)
    if balance > 0.0:
        value -= balance * unevenness(scores, ranking, weight, top_k)
    score, rank, u, v, at, terms = np.empty(m), np.empty(m), np.empty(m), np.empty(m), np.empty(m), np.empty((3, m))
    near, gaps, packed, spare = np.empty(_NEAR, np.int64), np.empty(_NEAR), np.empty(m, np.int64), np.empty(m, np.int64)
    for line in range(len(experts)):
        i, delta = experts[line], directions[line]
        others(order, best, i, rest)
        if n_pivots[line]:
            n = nearest(ranking[i], rest[0], near, gaps)
            keep_pivots(delta, Z, near[:n], picks[line, : n_pivots[line]])
        predict(delta, Z, p, u)
        delta /= math.sqrt(dot(u, u) / m + 1e-300)
        predict(delta, Z, p, u)
        predict(delta, Z, n_ranked, v)
        c0, c1, c2 = line_terms(scores, ranking, log_density, weight, i, u, v, rest, top_k, at, terms)
        t, promised = best_on_line(sort_breaks(at, reach, packed, spare), at, terms, v, c0, c1, c2, reach)
        if not promised > value and balance == 0.0:
            continue
        moved = lines[i] + t * delta
        predict(moved, Z, p, score)
        predict(moved, Z, n_ranked, rank)
        new = moved_loglik(score, rank, log_density[i], weight, rest, top_k)
        if balance > 0.0:
            _swap(scores[i], score)
            _swap(ranking[i], rank)
            new -= balance * unevenness(scores, ranking, weight, top_k)
            _swap(scores[i], score)
            _swap(ranking[i], rank)
        if new > value:
            value, lines[i] = new, moved
            scores[i], ranking[i] = score, rank
            order = top_k_experts(ranking, top_k + 1)
            sort_best(order, scores, ranking, log_density, best)
    return value
