"""The relaxed top-K gate: scores plus the log of a sigmoid of the distance to the threshold.

With t midway between the ranks of the last expert in and the first one out, relaxed_i = s_i + log sigmoid((r_i - t)/w).
The derivative of relaxed_i by r_j is bend_i (1{i=j} - share_j), where the share is one half for those two experts.
"""

import numpy as np

from smoe._kernels._jit import ZERO, inner, kernel
from smoe._kernels.elementary import exp, log
from smoe._kernels.moments import add_dots, add_product
from smoe._kernels.top_k import top_k_experts

_CHUNK = 512  # rows that stay in the first-level cache while all is done with them


@inner
def _threshold(ranking, last, out, threshold):
    for i in range(len(threshold)):
        threshold[i] = 0.5 * (ranking[last[i], i] + ranking[out[i], i])


@inner
def _soften(score, rank, threshold, inverse, relaxed, bend):
    for i in range(len(relaxed)):
        distance = (rank[i] - threshold[i]) * inverse
        e = exp(-abs(distance))
        rest = log(1.0 + e)
        relaxed[i] = score[i] + (distance if distance < 0.0 else 0.0) - rest
        bend[i] = (e if distance > 0.0 else 1.0) / (1.0 + e) * inverse


@inner
def _count(expert, last, out, share):
    for i in range(len(share)):
        share[i] = 0.5 if last[i] == expert or out[i] == expert else 0.0


@kernel
def relax(scores, ranking, top_k, width):
    """Return the relaxed scores, their bends and the experts' shares of the threshold, each (n_experts, m)."""
    n_experts, m = scores.shape
    relaxed, bend, share = np.empty((n_experts, m)), np.empty((n_experts, m)), np.empty((n_experts, m))
    threshold, order = np.empty(m), top_k_experts(ranking, top_k + 1)
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        last, out = order[top_k - 1, low:high], order[top_k, low:high]
        _threshold(ranking[:, low:high], last, out, threshold[low:high])
        for k in range(n_experts):
            rows = threshold[low:high], 1.0 / width, relaxed[k, low:high], bend[k, low:high]
            _soften(scores[k, low:high], ranking[k, low:high], *rows)
            _count(k, last, out, share[k, low:high])
    return relaxed, bend, share


@inner
def _pulled(r, bend, share, total, out):
    for i in range(len(out)):
        out[i] = r[i] + r[i] * bend[i] - share[i] * total[i]


@kernel
def pull_relaxed(R, bend, share, Z):
    """Return the sums over rows of R * d relaxed / d scores times z, (len(R), n_experts, p), ranks being scores."""
    n, n_experts, m = R.shape
    sums, work = np.zeros((n, n_experts, len(Z))), np.empty((2, _CHUNK))
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        total, pulled = work[0, : high - low], work[1, : high - low]
        for c in range(n):
            total[:] = 0.0
            for k in range(n_experts):
                add_product(R[c, k, low:high], bend[k, low:high], total)
            for k in range(n_experts):
                _pulled(R[c, k, low:high], bend[k, low:high], share[k, low:high], total, pulled)
                add_dots(pulled, Z, ZERO, low, sums[c, k])
    return sums


@inner
def _add_moments(proba, bend, first, second):
    for i in range(len(first)):
        product = proba[i] * bend[i]
        first[i] += product
        second[i] += product * bend[i]


@inner
def _mean_and_twist(proba, bend, share, first, mean, twist):
    """The mean of d relaxed / d s_j, and what the threshold makes of that score."""
    for i in range(len(mean)):
        own = proba[i] + proba[i] * bend[i]
        mean[i] = own - share[i] * first[i]
        twist[i] = own * bend[i]


@inner
def _add_pair(sign, weight, mean_j, mean_h, twist_j, twist_h, share_j, share_h, second, out):
    for i in range(len(out)):
        joint = share_j[i] * share_h[i] * second[i] - twist_j[i] * share_h[i] - twist_h[i] * share_j[i]
        out[i] += sign * weight[i] * (joint - mean_j[i] * mean_h[i])


@kernel
def add_relaxed_covariance(sign, proba, bend, share, weight, out):
    """Add sign * weight A'(diag p - p p')A with A = d relaxed / d scores, pairs i < j in row-major order."""
    n_experts, m = proba.shape
    moments, means, twists = np.empty((2, _CHUNK)), np.empty((n_experts, _CHUNK)), np.empty((n_experts, _CHUNK))
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        width, pair = high - low, 0
        first, second = moments[0, :width], moments[1, :width]
        moments[:] = 0.0
        for k in range(n_experts):
            _add_moments(proba[k, low:high], bend[k, low:high], first, second)
        for k in range(n_experts):
            mean, twist = means[k, :width], twists[k, :width]
            _mean_and_twist(proba[k, low:high], bend[k, low:high], share[k, low:high], first, mean, twist)
        for j in range(n_experts):
            for h in range(j + 1, n_experts):
                both = means[j, :width], means[h, :width], twists[j, :width], twists[h, :width]
                shares = share[j, low:high], share[h, low:high]
                _add_pair(sign, weight[low:high], *both, *shares, second, out[pair, low:high])
                pair += 1
