"""The exact log-likelihood of a top-K gate along lines in one expert's row of the gate.

Along ranking[i] + t v, scores[i] + t u, expert i enters or leaves the support of a row once at most, at a known t. What
the row's other experts contribute does not depend on t; ``rest`` (5, m) holds it, see `others`.
"""

import numpy as np

from smoe._kernels._jit import inner, reduction
from smoe._kernels.elementary import exp, log, log_add
from smoe._kernels.moments import dot

_CHUNK = 512  # rows that stay in the first-level cache while all is done with them
_FAR = 1e12  # a break point beyond it is none


@inner
def _gather(order, values, out):
    for i in range(len(out)):
        out[i] = values[order[i], i]


@inner
def sort_best(order, scores, ranking, log_density, best):
    """Put ranks, scores and log densities of each row's best experts into best (3, top_k + 1, m)."""
    for slot in range(len(order)):
        _gather(order[slot], ranking, best[0, slot])
        _gather(order[slot], scores, best[1, slot])
        _gather(order[slot], log_density, best[2, slot])


@inner
def _pass_over(expert, i, passed):
    for row in range(len(passed)):
        passed[row] = 1.0 if expert[row] == i else passed[row]


@inner
def _choose(passed, this, following, out):
    for row in range(len(out)):
        out[row] = this[row] if passed[row] == 0.0 else following[row]


@inner
def _start_sums(score, density, gate, joint):
    for row in range(len(gate)):
        gate[row] = score[row]
        joint[row] = score[row] + density[row]


@inner
def _add_to_sums(score, density, gate, joint):
    for row in range(len(gate)):
        gate[row] = log_add(gate[row], score[row])
        joint[row] = log_add(joint[row], score[row] + density[row])


@inner
def _close_sums(score, density, gate, joint, out):
    """Add the last expert to both sums; out is what the row has gained by its response."""
    for row in range(len(out)):
        both = score[row] + density[row]
        top, bottom = max(joint[row], both), max(gate[row], score[row])
        e = exp(-abs(both - joint[row])) if top > -np.inf else 0.0
        ratio = (1.0 + e) / (1.0 + exp(-abs(score[row] - gate[row])))
        out[row] = (top - bottom) + (log(ratio) if ratio > 0.0 else ratio)  # NaN stays NaN


@inner
def _precedes(passed, this, following, i, out):
    for row in range(len(out)):
        out[row] = 1.0 if i < (this[row] if passed[row] == 0.0 else following[row]) else 0.0


@inner
def others(order, best, i, rest):
    """Fill rest with what the experts other than i say of each row.

    Rows of ``rest``: the rank of the last of them, the top_k-th; whether i precedes it where ranks tie; the logs of the
    summed exponentials of the scores, and of the joint densities, of those before the last; and the row's
    log-likelihood without i. ``order`` and ``best`` are those of the top_k + 1 best of all experts.
    """
    top_k, m = len(order) - 1, order.shape[1]
    work = np.empty((3, _CHUNK))
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        passed, score, density = work[0, : high - low], work[1, : high - low], work[2, : high - low]
        gate, joint, without = rest[2, low:high], rest[3, low:high], rest[4, low:high]
        passed[:] = 0.0
        for q in range(top_k):
            _pass_over(order[q, low:high], i, passed)
            _choose(passed, best[1, q, low:high], best[1, q + 1, low:high], score)
            _choose(passed, best[2, q, low:high], best[2, q + 1, low:high], density)
            if q == top_k - 1:
                _choose(passed, best[0, q, low:high], best[0, q + 1, low:high], rest[0, low:high])
                _precedes(passed, order[q, low:high], order[q + 1, low:high], i, rest[1, low:high])
                if q == 0:
                    without[:] = density
                else:
                    _close_sums(score, density, gate, joint, without)
            elif q == 0:
                _start_sums(score, density, gate, joint)
            else:
                _add_to_sums(score, density, gate, joint)


@inner
def _break_points(rank, level, v, at):
    for row in range(len(at)):
        t = (level[row] - rank[row]) / v[row] if v[row] != 0.0 else np.inf
        at[row] = t if abs(t) < _FAR else np.inf


@inner
def _expand_one(density, without, weight, at, jump, slope, bend):
    """With one expert per row nothing but the jump is left."""
    for row in range(len(at)):
        jump[row] = weight[row] * (density[row] - without[row])
        slope[row] = 0.0
        bend[row] = 0.0


@inner
def _expand(score, density, gate, joint, without, u, weight, at, jump, slope, bend):
    for row in range(len(at)):
        t = at[row] if at[row] < np.inf else 0.0
        mine = score[row] + t * u[row]
        both = mine + density[row]
        top, bottom = max(joint[row], both), max(gate[row], mine)
        d, e = exp(-abs(mine - gate[row])), exp(-abs(both - joint[row])) if top > -np.inf else 0.0
        gate_share, share = 1.0 / (1.0 + d), 1.0 / (1.0 + e)
        ratio = (1.0 + e) * gate_share
        value = (top - bottom) + (log(ratio) if ratio > 0.0 else ratio)
        proba = gate_share if mine > gate[row] else d * gate_share
        resp = share if both > joint[row] else e * share
        first = (resp - proba) * u[row]
        second = 0.5 * (resp * (1.0 - resp) - proba * (1.0 - proba)) * u[row] * u[row]
        jump[row] = weight[row] * (value - without[row] - first * t + second * t * t)
        slope[row] = weight[row] * (first - 2.0 * second * t)
        bend[row] = weight[row] * second


@inner
def _share_at_start(rank, level, precedes, v, at, share):
    """Whether i is in the row's support at t = -inf."""
    for row in range(len(share)):
        stays = rank[row] > level[row] or (rank[row] == level[row] and precedes[row] > 0.0)
        inside = v[row] < 0.0 if at[row] < np.inf else stays
        share[row] = 1.0 if inside else 0.0


@reduction
def _sum_where(share, values):
    total = 0.0
    for row in range(len(share)):
        total += values[row] if share[row] > 0.0 else 0.0
    return total


@inner
def line_terms(scores, ranking, log_density, weight, i, u, v, rest, top_k, at, terms):
    """Expand the log-likelihood along the line to second order at each row's break point.

    ``at`` receives the t at which expert i enters (v > 0) or leaves (v < 0) the row's support, inf if there is none;
    ``terms`` (3, m) the coefficients of 1, t, t^2 of the row's term with i minus its term without i, exact at the
    break point. Returns the coefficients of the sum over rows at t = -inf.
    """
    m, share = len(at), np.empty(_CHUNK)
    c0, c1, c2 = dot(weight, rest[4]), 0.0, 0.0
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        inside = share[: high - low]
        level, without, t, w = rest[0, low:high], rest[4, low:high], at[low:high], weight[low:high]
        jump, slope, bend = terms[0, low:high], terms[1, low:high], terms[2, low:high]
        rank, score, density = ranking[i, low:high], scores[i, low:high], log_density[i, low:high]
        _break_points(rank, level, v[low:high], t)
        if top_k == 1:
            _expand_one(density, without, w, t, jump, slope, bend)
        else:
            gate, joint = rest[2, low:high], rest[3, low:high]
            _expand(score, density, gate, joint, without, u[low:high], w, t, jump, slope, bend)
        _share_at_start(rank, level, rest[1, low:high], v[low:high], t, inside)
        c0 += _sum_where(inside, jump)
        if top_k > 1:
            c1 += _sum_where(inside, slope)
            c2 += _sum_where(inside, bend)
    return c0, c1, c2


@inner
def _keep_inside(rank, level, precedes, without, out):
    for row in range(len(out)):
        inside = rank[row] > level[row] or (rank[row] == level[row] and precedes[row] > 0.0)
        out[row] = out[row] if inside else without[row]


@inner
def moved_loglik(score, rank, density, weight, rest, top_k):
    """Return the exact log-likelihood with these scores and ranks (m,) of the expert that ``rest`` leaves out."""
    m, total, values = len(rank), 0.0, np.empty(_CHUNK)
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        out, level, precedes, without = values[: high - low], rest[0, low:high], rest[1, low:high], rest[4, low:high]
        if top_k == 1:
            out[:] = density[low:high]
        else:
            _close_sums(score[low:high], density[low:high], rest[2, low:high], rest[3, low:high], out)
        _keep_inside(rank[low:high], level, precedes, without, out)
        total += dot(weight[low:high], out)
    return total
