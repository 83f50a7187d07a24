"""The exact log-likelihood of a top-K gate along a line in one expert's row of the gate.

Along ranking[i] + t v, scores[i] + t u, expert i enters or leaves the support of a row once at most, at a known t.
"""

import math

import numpy as np

from smoe._kernels._jit import kernel

_APART = 1e-10  # share of the reach by which break points must differ


@kernel
def _insert(order, n, ranking, row, i):
    """Insert expert i into order[:n], which is sorted by rank, largest first; ties keep their order."""
    while n > 0 and ranking[order[n - 1], row] < ranking[i, row]:
        order[n] = order[n - 1]
        n -= 1
    order[n] = i


@kernel
def _others(order, ranking, row, left_out):
    """Sort all experts but one by rank."""
    n = 0
    for j in range(len(ranking)):
        if j != left_out:
            _insert(order, n, ranking, row, j)
            n += 1


@kernel
def _log_add(a, b):
    top = max(a, b)
    return top if top == -np.inf else top + math.log1p(math.exp(-abs(a - b)))


@kernel
def top_k_loglik(scores, ranking, log_density, weight, top_k):
    """Return the observed log-likelihood of a top-K gate."""
    n_experts, m = scores.shape
    order = np.empty(n_experts, np.int64)
    total = 0.0
    for row in range(m):
        _others(order, ranking, row, -1)
        gate, joint = -np.inf, -np.inf
        for q in range(top_k):
            score = scores[order[q], row]
            gate = _log_add(gate, score)
            joint = _log_add(joint, score + log_density[order[q], row])
        total += weight[row] * (joint - gate)
    return total


@kernel
def margin(ranking, top_k, i):
    """Return the rank of expert i minus the top_k-th largest of the others: i is selected where it is positive."""
    n_experts, m = ranking.shape
    out, order = np.empty(m), np.empty(n_experts, np.int64)
    for row in range(m):
        _others(order, ranking, row, i)
        out[row] = ranking[i, row] - ranking[order[top_k - 1], row]
    return out


@kernel
def line_terms(scores, ranking, log_density, weight, top_k, i, u, v, at, terms):
    """Expand the log-likelihood along the line to second order at each row's break point.

    ``at`` receives the t at which expert i enters (v > 0) or leaves (v < 0) the row's support, inf if there is none;
    ``terms`` (3, m) the coefficients of 1, t, t^2 of the row's term with i minus its term without i, exact at the
    break point. Returns the coefficients of the sum over rows at t = -inf.
    """
    n_experts, m = scores.shape
    order = np.empty(n_experts, np.int64)
    c0, c1, c2 = 0.0, 0.0, 0.0
    for row in range(m):
        _others(order, ranking, row, i)
        last = order[top_k - 1]
        gap = ranking[last, row] - ranking[i, row]
        t = gap / v[row] if v[row] != 0.0 else np.inf
        crosses = abs(t) < 1e12
        at[row] = t if crosses else np.inf
        t = t if crosses else 0.0
        gate, joint = -np.inf, -np.inf
        for q in range(top_k - 1):
            score = scores[order[q], row]
            gate = _log_add(gate, score)
            joint = _log_add(joint, score + log_density[order[q], row])
        level, mine = scores[last, row], scores[i, row] + t * u[row]
        without = _log_add(joint, level + log_density[last, row]) - _log_add(gate, level)
        gate, joint = _log_add(gate, mine), _log_add(joint, mine + log_density[i, row])
        proba, resp = math.exp(mine - gate), math.exp(mine + log_density[i, row] - joint)
        slope = (resp - proba) * u[row]
        bend = 0.5 * (resp * (1.0 - resp) - proba * (1.0 - proba)) * u[row] * u[row]
        terms[0, row] = weight[row] * (joint - gate - without - slope * t + bend * t * t)
        terms[1, row] = weight[row] * (slope - 2.0 * bend * t)
        terms[2, row] = weight[row] * bend
        c0 += weight[row] * without
        if (crosses and v[row] < 0.0) or (not crosses and (gap < 0.0 or (gap == 0.0 and i < last))):
            c0 += terms[0, row]
            c1 += terms[1, row]
            c2 += terms[2, row]
    return c0, c1, c2


@kernel
def best_on_line(order, at, terms, v, c0, c1, c2, reach):
    """Return the t within reach with the largest value, and this value; ``order`` sorts the break points.

    Between break points that differ by rounding alone (where ranks of many rows tie at once) the support is no property
    of the model: such a t is not taken.
    """
    best_t, best = 0.0, -np.inf
    m = len(order)
    for q in range(m):
        row = order[q]
        if at[row] > reach:
            break
        sign = 1.0 if v[row] > 0.0 else -1.0
        c0 += sign * terms[0, row]
        c1 += sign * terms[1, row]
        c2 += sign * terms[2, row]
        low, high = at[row], min(at[order[q + 1]], reach) if q + 1 < m else reach
        if low < -reach or not high - low > _APART * reach:
            continue
        t = 0.5 * (low + high)
        if c2 < 0.0:  # the top of the parabola, but clear of the break points
            t = min(max(-0.5 * c1 / c2, 0.9 * low + 0.1 * high), 0.1 * low + 0.9 * high)
        value = c0 + c1 * t + c2 * t * t
        if value > best:
            best_t, best = t, value
    return best_t, best
