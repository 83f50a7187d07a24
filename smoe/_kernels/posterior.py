"""From scores and log densities to gate probabilities, responsibilities and row log-likelihoods."""

import numpy as np

from smoe._kernels._jit import inner, kernel, reduction
from smoe._kernels.elementary import exp, log

_CHUNK = 512  # rows that stay in the first-level cache while all is done with them
_NOTHING = 1e-300  # of a probability: what it adds to an entropy is nothing


@inner
def copy(a, out):
    """Out = a; an assignment of slices takes long to compile."""
    for i in range(len(out)):
        out[i] = a[i]


@inner
def _larger(a, b, top):
    for i in range(len(top)):
        top[i] = a[i] if a[i] > b[i] else b[i]


@inner
def _raise(top, row):
    for i in range(len(top)):
        top[i] = row[i] if row[i] > top[i] else top[i]


@inner
def _finite(top):
    for i in range(len(top)):
        top[i] = 0.0 if top[i] == -np.inf else top[i]


@inner
def _multiply(row, factor):
    for i in range(len(row)):
        row[i] *= factor[i]


@inner
def _exp_of(row, top, out, total):
    """Out = exp(row - top), added to the total."""
    for i in range(len(out)):
        out[i] = exp(row[i] - top[i])
        total[i] += out[i]


@inner
def _exp_both(score, gate_top, proba, gate_total, joint, top, total):
    """Do the same for two sums in one loop; joint is its own out."""
    for i in range(len(proba)):
        proba[i] = exp(score[i] - gate_top[i])
        gate_total[i] += proba[i]
        joint[i] = exp(joint[i] - top[i])
        total[i] += joint[i]


@inner
def _exp_two(a, b, out_a, out_b, total):
    """Do all of this for the scores of two experts with one exponential: the larger one's is 1."""
    for i in range(len(total)):
        first = a[i] > b[i]
        high, low = (a[i], b[i]) if first else (b[i], a[i])
        ratio = exp(low - high)
        out_a[i] = 1.0 if first else ratio
        out_b[i] = ratio if first else 1.0
        total[i] = 1.0 + ratio


@inner
def _exp_two_joint(a, b, top, total):
    """Do the same in place; both may be -inf."""
    for i in range(len(top)):
        first = a[i] > b[i]
        high, low = (a[i], b[i]) if first else (b[i], a[i])
        largest = 0.0 if high == -np.inf else 1.0
        high = 0.0 if high == -np.inf else high
        ratio = exp(low - high)
        a[i] = largest if first else ratio
        b[i] = ratio if first else largest
        top[i] = high
        total[i] = largest + ratio


@inner
def _multiply_both(proba, gate_factor, resp, factor):
    for i in range(len(proba)):
        proba[i] *= gate_factor[i]
        resp[i] *= factor[i]


@inner
def _invert(total):
    for i in range(len(total)):
        total[i] = 1.0 / total[i]


@inner
def maximum(values, low, high, top):
    """Put the largest of each row's values in top."""
    if len(values) == 1:
        copy(values[0, low:high], top)
    else:
        _larger(values[0, low:high], values[1, low:high], top)
    for k in range(2, len(values)):
        _raise(top, values[k, low:high])


@kernel
def softmax(scores, proba):
    """Fill proba with softmax(scores) over experts; a score of -inf is an expert off the support."""
    n_experts, m = scores.shape
    work = np.empty((2, _CHUNK))
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        top, total = work[0, : high - low], work[1, : high - low]
        maximum(scores, low, high, top)
        total[:] = 0.0
        for k in range(n_experts):
            _exp_of(scores[k, low:high], top, proba[k, low:high], total)
        _invert(total)
        for k in range(n_experts):
            _multiply(proba[k, low:high], total)


@inner
def _close(gate_total, total, weight, ratio):
    """Put 1/gate_total and weight/total in place of the sums, with one division.

    The log density is log(ratio) + top. Return how many rows have none at all; they get a total of zero.
    """
    n_zero = 0
    for i in range(len(ratio)):
        zero = total[i] == 0.0
        n_zero += zero
        joint = 1.0 if zero else total[i]
        inverse = 1.0 / (gate_total[i] * joint)
        ratio[i] = joint * joint * inverse
        total[i] = 0.0 if zero else gate_total[i] * inverse * weight[i]
        gate_total[i] = joint * inverse
    return n_zero


@inner
def _mend(proba, resp, total, weight, low, top):
    """Give rows without any density the gate's probabilities."""
    for i in range(len(total)):
        if total[i] == 0.0:
            top[i] = -np.inf
            for k in range(len(resp)):
                resp[k, low + i] = weight[i] * proba[k, low + i]


@inner
def posterior_chunk(scores, low, high, weight, proba, resp, top, ratio, work):
    """Do the rows from low to high: responsibilities come out times the weights, log densities as log(ratio) + top.

    On entry resp holds `join` of the scores and the log densities; weight, top and ratio are of these rows alone; work
    is (3, at least high - low), and begins with the `maximum` of the scores. A row whose every log density is -inf
    keeps the gate's probabilities: no NaN is born. Ratios lie between 1/n_experts and n_experts.
    """
    n_experts, width = len(scores), high - low
    gate_top, gate_total, total = work[0, :width], work[1, :width], work[2, :width]
    if n_experts == 2:
        a, b = proba[0, low:high], proba[1, low:high]
        _exp_two(scores[0, low:high], scores[1, low:high], a, b, gate_total)
        _exp_two_joint(resp[0, low:high], resp[1, low:high], top, total)
    else:
        maximum(resp, low, high, top)
        _finite(top)
        gate_total[:] = 0.0
        total[:] = 0.0
        for k in range(n_experts):
            _exp_both(scores[k, low:high], gate_top, proba[k, low:high], gate_total, resp[k, low:high], top, total)
    n_zero = _close(gate_total, total, weight, ratio)
    for k in range(n_experts):
        _multiply_both(proba[k, low:high], gate_total, resp[k, low:high], total)
    if n_zero:
        _mend(proba, resp, total, weight, low, top)


@inner
def add_logs(ratio, top):
    """Put log densities in the place of top."""
    for i in range(len(top)):
        top[i] += log(ratio[i])


@reduction
def _plogp(p, weight):
    out = 0.0
    for i in range(len(p)):
        out += weight[i] * (p[i] * log(p[i] if p[i] > _NOTHING else 1.0))
    return out


@kernel
def entropies(proba, weight):
    """Return the weighted sums over rows of -p log p, (n_experts,)."""
    out = np.empty(len(proba))
    for k in range(len(proba)):
        out[k] = -_plogp(proba[k], weight)
    return out


@inner
def join(score, gate_top, log_density, out):
    """Out = score - gate_top + log_density, in this order: large scores must not swallow the density."""
    for i in range(len(out)):
        out[i] = (score[i] - gate_top[i]) + log_density[i]


@kernel
def posterior(scores, log_density, proba, resp, loglik):
    """Fill the gate's probabilities, the responsibilities and the log densities of the rows."""
    n_experts, m = scores.shape
    work, ones, ratio = np.empty((3, _CHUNK)), np.ones(_CHUNK), np.empty(_CHUNK)
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        weight, ratios, rows = ones[: high - low], ratio[: high - low], loglik[low:high]
        tops = work[0, : high - low]
        maximum(scores, low, high, tops)
        for k in range(n_experts):
            join(scores[k, low:high], tops, log_density[k, low:high], resp[k, low:high])
        posterior_chunk(scores, low, high, weight, proba, resp, rows, ratios, work)
        add_logs(ratios, rows)


@inner
def _pull(resp, proba, weight, out):
    for i in range(len(out)):
        out[i] = resp[i] - weight[i] * proba[i]


@reduction
def _dot(a, b):
    out = 0.0
    for i in range(len(a)):
        out += a[i] * b[i]
    return out


@kernel
def weighted_posterior(scores, log_density, weight, proba, resp, pull):
    """Fill probabilities, weights times responsibilities, and the latter less weights times probabilities.

    Return the log-likelihood.
    """
    n_experts, m = scores.shape
    work, rows, loglik = np.empty((3, _CHUNK)), np.empty((2, _CHUNK)), 0.0
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        w, ratios, tops = weight[low:high], rows[0, : high - low], rows[1, : high - low]
        gate_tops = work[0, : high - low]
        maximum(scores, low, high, gate_tops)
        for k in range(n_experts):
            join(scores[k, low:high], gate_tops, log_density[k, low:high], resp[k, low:high])
        posterior_chunk(scores, low, high, w, proba, resp, tops, ratios, work)
        for k in range(n_experts):
            _pull(resp[k, low:high], proba[k, low:high], w, pull[k, low:high])
        add_logs(ratios, tops)
        loglik += _dot(w, tops)
    return loglik
