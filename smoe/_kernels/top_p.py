"""The smallest set of the likeliest experts with a given share of the mass, and lines in one expert's row of the gate.

Along a line the score of expert i moves, the others' do not. As it rises from minus infinity the others that are in
become more, until i is in, and fewer again, until i is alone. So each row has a few break points in the score of i, its
levels, and a state between each two of them: the number of others that are in, plus the number of experts if i is in.
"""

import math

import numpy as np

from smoe._kernels._jit import inner, kernel
from smoe._kernels.elementary import exp, log_add
from smoe._kernels.line_search import keep_pivots, nearest, predict
from smoe._kernels.line_sweep import best_on_line, sort_breaks
from smoe._kernels.moments import dot
from smoe._kernels.posterior import maximum

_CHUNK = 512  # rows that stay in the first-level cache while all is done with them
_NEAR = 40  # rows near a break point among which pivots are drawn


@inner
def _sort(scores, order):
    """Fill order with the experts, the largest score first; ties go to the lower index."""
    for e in range(len(scores)):
        place = e
        while place > 0 and scores[e] > scores[order[place - 1]]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = e


@inner
def _n_in(scores, order, p):
    """Return how many of the first experts in order have a share p of the mass."""
    total, mass = 0.0, 0.0
    for e in order:
        total += math.exp(scores[e] - scores[order[0]])
    for n in range(len(order)):
        mass += math.exp(scores[order[n]] - scores[order[0]])
        if mass >= p * total:
            return n + 1
    return len(order)


@inner
def _exponentials(score, top, out, total):
    for i in range(len(out)):
        out[i] = exp(score[i] - top[i])
        total[i] += out[i]


@inner
def _add_later(score, other, mass, before):
    """Add the mass of an expert of higher index where its score is larger."""
    for i in range(len(before)):
        before[i] += mass[i] if other[i] > score[i] else 0.0


@inner
def _add_earlier(score, other, mass, before):
    """Add the mass of an expert of lower index where its score is at least as large."""
    for i in range(len(before)):
        before[i] += mass[i] if other[i] >= score[i] else 0.0


@inner
def _keep(score, before, total, p, out):
    for i in range(len(out)):
        out[i] = score[i] if before[i] < p * total[i] else -np.inf


@kernel
def keep_mass(scores, p):
    """Return the scores (n_experts, m) with -inf for every expert that is not in: those before it have a share p."""
    k, m = scores.shape
    out, mass, work = np.empty((k, m)), np.empty((k, _CHUNK)), np.empty((3, _CHUNK))
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        top, total, before = work[0, : high - low], work[1, : high - low], work[2, : high - low]
        maximum(scores, low, high, top)
        total[:] = 0.0
        for e in range(k):
            _exponentials(scores[e, low:high], top, mass[e, : high - low], total)
        for e in range(k):
            score = scores[e, low:high]
            before[:] = 0.0
            for other in range(e):
                _add_earlier(score, scores[other, low:high], mass[other, : high - low], before)
            for other in range(e + 1, k):
                _add_later(score, scores[other, low:high], mass[other, : high - low], before)
            _keep(score, before, total, p, out[e, low:high])
    return out


@inner
def mass_loglik(scores, log_density, weight, p):
    """Return the log-likelihood."""
    k, m = scores.shape
    order, total = np.empty(k, np.int64), 0.0
    for row in range(m):
        score, gate, joint = np.copy(scores[:, row]), -np.inf, -np.inf
        _sort(score, order)
        for e in order[: _n_in(score, order, p)]:
            gate, joint = log_add(gate, score[e]), log_add(joint, score[e] + log_density[e, row])
        total += weight[row] * (joint - gate)
    return total


@inner
def _state(w, mass, p):
    """Return the state for the weight of expert i; ``mass`` are the cumulative weights of the others, from zero."""
    k, n = len(mass), 0
    while n < k - 1 and mass[n + 1] - mass[n] > w:
        n += 1
    if mass[n] < p * (mass[-1] + w):
        while n < k - 1 and mass[n] + w < p * (mass[-1] + w):
            n += 1
        return k + n
    n = 1
    while n < k - 1 and mass[n] < p * (mass[-1] + w):
        n += 1
    return n


@inner
def _ascend(values, n):
    for q in range(1, n):
        value, place = values[q], q
        while place > 0 and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value


@inner
def _row_breaks(mass, p, levels, states):
    """Fill the levels, weights of i, and the states between them; return how many levels there are."""
    k, n, kept = len(mass), 0, 0
    for j in range(k - 1):
        more, fewer = mass[j + 1] / p - mass[-1], (p * mass[-1] - mass[j]) / (1.0 - p)  # without i, and beside it
        for w in (mass[j + 1] - mass[j], more, fewer):
            if w > 0.0:
                levels[n] = w
                n += 1
    _ascend(levels, n)
    states[0] = _state(0.5 * levels[0], mass, p)
    for q in range(n):
        above = 0.5 * (levels[q] + levels[q + 1]) if q + 1 < n else 2.0 * levels[q]
        state = _state(above, mass, p)
        if state != states[kept]:
            levels[kept] = levels[q]
            kept += 1
            states[kept] = state
    return kept


@inner
def others_breaks(scores, log_density, i, p, levels, states, counts, gate, joint):
    """Say of every row what happens along lines in the score of expert i.

    Fills the levels (n_levels, m), the states (n_levels + 1, m), how many levels there are, and the logs of the summed
    exponentials of scores, and of joint densities, of the first of the others, (n_experts, m).
    """
    k, m = scores.shape
    order, mass = np.empty(k, np.int64), np.zeros(k)
    for row in range(m):
        score = np.copy(scores[:, row])
        score[i] = -np.inf  # the last in order
        _sort(score, order)
        top = score[order[0]]
        gate[0, row] = joint[0, row] = -np.inf
        for n in range(1, k):
            e = order[n - 1]
            mass[n] = mass[n - 1] + math.exp(score[e] - top)
            gate[n, row] = log_add(gate[n - 1, row], score[e])
            joint[n, row] = log_add(joint[n - 1, row], score[e] + log_density[e, row])
        counts[row] = _row_breaks(mass, p, levels[:, row], states[:, row])
        for q in range(counts[row]):
            levels[q, row] = top + math.log(levels[q, row])


@inner
def _nearest_level(score, levels, counts, out):
    for row in range(len(out)):
        out[row] = np.inf
        for level in levels[: counts[row], row]:
            if abs(level - score[row]) < abs(out[row] - score[row]):
                out[row] = level


@inner
def _piece(state, k, mine, density, gate, joint, u, t):
    """Return the coefficients of 1, t, t^2 of a row's log-likelihood in this state, expanded at t."""
    n = state % k
    if state < k:
        return joint[n] - gate[n], 0.0, 0.0
    if n == 0:
        return density, 0.0, 0.0
    both, one = log_add(joint[n], mine + density), log_add(gate[n], mine)
    value, proba, resp = both - one, math.exp(mine - one), math.exp(mine + density - both)
    first = (resp - proba) * u
    second = 0.5 * (resp * (1.0 - resp) - proba * (1.0 - proba)) * u * u
    return value - first * t + second * t * t, first - 2.0 * second * t, second


@inner
def mass_line(score, log_density, weight, u, levels, states, counts, gate, joint, at, terms):
    """Expand the log-likelihood along score + t u of one expert, whose densities are given, between its break points.

    ``at`` receives the t of the levels, in the order of these, inf if there are no more; ``terms`` (3, n_levels, m)
    the coefficients above the level minus those below it, each piece expanded where it is closest to t = 0. Returns the
    coefficients of the sum over rows at t = -inf.
    """
    k, m = gate.shape
    c0, c1, c2 = 0.0, 0.0, 0.0
    for row in range(m):
        n, move, w = counts[row], u[row], weight[row]
        at[:, row] = np.inf
        if move == 0.0:
            n = 0
            place = 0
            while place < counts[row] and levels[place, row] < score[row]:
                place += 1
            state = states[place, row]
        else:
            state = states[0 if move > 0.0 else n, row]
            for q in range(n):
                at[q, row] = (levels[q, row] - score[row]) / move
        one = state, k, score[row], log_density[row], gate[:, row], joint[:, row], move, 0.0
        v0, v1, v2 = _piece(*one)
        c0, c1, c2, b0, b1, b2 = c0 + w * v0, c1 + w * v1, c2 + w * v2, v0, v1, v2
        for q in range(n + 1):
            low, high = at[q - 1, row] if q > 0 else -np.inf, at[q, row] if q < n else np.inf
            t = min(max(0.0, min(low, high)), max(low, high)) if 0 < q < n else 0.0
            one = states[q, row], k, score[row] + t * move, log_density[row], gate[:, row], joint[:, row], move, t
            v0, v1, v2 = _piece(*one)
            if q > 0:
                terms[0, q - 1, row], terms[1, q - 1, row] = w * (v0 - b0), w * (v1 - b1)
                terms[2, q - 1, row] = w * (v2 - b2)
            b0, b1, b2 = v0, v1, v2
    return c0, c1, c2


@kernel
def search_mass_lines(lines, Z, log_density, weight, p, reach, experts, directions, n_pivots, picks):
    """Move along one line after the other to where the log-likelihood is higher, changing ``lines`` in place.

    As `smoe._kernels.line_search.search_lines` does; returns the log-likelihood.
    """
    k, m = len(lines), Z.shape[1]
    n_levels = 3 * (k - 1)
    scores, u = np.empty((k, m)), np.empty(m)
    for e in range(k):
        predict(lines[e], Z, len(Z), scores[e])
    levels, states = np.empty((n_levels, m)), np.empty((n_levels + 1, m), np.int64)
    counts, gate, joint = np.empty(m, np.int64), np.empty((k, m)), np.empty((k, m))
    at, terms, v = np.empty((n_levels, m)), np.empty((3, n_levels, m)), np.empty((n_levels, m))
    packed, spare = np.empty(n_levels * m, np.int64), np.empty(n_levels * m, np.int64)
    near, gaps, level = np.empty(_NEAR, np.int64), np.empty(_NEAR), np.empty(m)
    value = mass_loglik(scores, log_density, weight, p)
    for line in range(len(experts)):
        i, delta = experts[line], directions[line]
        others_breaks(scores, log_density, i, p, levels, states, counts, gate, joint)
        if n_pivots[line]:
            _nearest_level(scores[i], levels, counts, level)
            n = nearest(scores[i], level, near, gaps)
            keep_pivots(delta, Z, near[:n], picks[line, : n_pivots[line]])
        predict(delta, Z, len(Z), u)
        delta /= math.sqrt(dot(u, u) / m + 1e-300)
        predict(delta, Z, len(Z), u)
        c0, c1, c2 = mass_line(scores[i], log_density[i], weight, u, levels, states, counts, gate, joint, at, terms)
        v[:] = u
        breaks, flat = np.ravel(at), np.reshape(terms, (3, n_levels * m))
        order = sort_breaks(breaks, reach, packed, spare)
        t, promised = best_on_line(order, breaks, flat, np.ravel(v), c0, c1, c2, reach)
        if not promised > value:
            continue
        held = np.copy(scores[i])
        scores[i] += t * u
        new = mass_loglik(scores, log_density, weight, p)
        if new > value:
            value = new
            lines[i] += t * delta
        else:
            scores[i] = held
    return value
