"""Trees of softmax nodes, row by row.

Leaves are counted from the left; ``on_leaf`` says which expert sits on each. The branches of the tree come node by
node: ``low`` and ``high`` are the first leaf of each and one past its last, ``first`` the first branch of each node and
one past all branches. The predictor of a branch is that of the expert on its last leaf, zero for a node's last branch.
"""

import numpy as np

from smoe._kernels._jit import inner, kernel
from smoe._kernels.elementary import exp, log

__all__ = ["tree_bends", "tree_log_shares", "tree_scores", "tree_slopes"]


@kernel
def tree_log_shares(u, on_leaf, first, high):
    """Return the logarithm of each branch's probability at its node, (n_branches, m), of predictors (n_experts, m)."""
    m = u.shape[1]
    out, top, total = np.zeros((len(high), m)), np.empty(m), np.empty(m)
    for node in range(len(first) - 1):
        last = first[node + 1] - 1
        top[:], total[:] = 0.0, 0.0
        for branch in range(first[node], last):
            out[branch] = u[on_leaf[high[branch] - 1]]
            _largest(out[branch], top)
        for branch in range(first[node], last + 1):
            _add_exponential(out[branch], top, total)
        for branch in range(first[node], last + 1):
            _normalise(top, total, out[branch])
    return out


@inner
def _largest(a, out):
    for i in range(len(out)):
        out[i] = max(out[i], a[i])


@inner
def _add_exponential(a, top, out):
    for i in range(len(out)):
        out[i] += exp(a[i] - top[i])


@inner
def _normalise(top, total, out):
    for i in range(len(out)):
        out[i] -= top[i] + log(total[i])


@kernel
def tree_scores(log_shares, on_leaf, low, high):
    """Return the logarithms of the leaves' probabilities, which add up along the path, (n_experts, m)."""
    out = np.zeros((len(on_leaf), log_shares.shape[1]))
    for branch in range(len(low)):
        for leaf in range(low[branch], high[branch]):
            _add(log_shares[branch], out[on_leaf[leaf]])
    return out


@inner
def _add(a, out):
    for i in range(len(out)):
        out[i] += a[i]


@kernel
def tree_slopes(log_shares, on_leaf, first, low, high):
    """Return the derivative of each score by each predictor, (n_experts, n_experts, m).

    That is 1 - g or -g for the leaves below a node, in the branch and beside it, with g the branch's probability there.
    """
    k, m = len(on_leaf), log_shares.shape[1]
    out, share = np.zeros((k, k, m)), np.empty(m)
    for node in range(len(first) - 1):
        last = first[node + 1] - 1
        for branch in range(first[node], last):
            row = out[on_leaf[high[branch] - 1]]
            _exponential(log_shares[branch], share)
            for leaf in range(low[first[node]], high[last]):
                _less(1.0 if low[branch] <= leaf < high[branch] else 0.0, share, row[on_leaf[leaf]])
    return out


@inner
def _exponential(a, out):
    for i in range(len(out)):
        out[i] = exp(a[i])


@inner
def _less(start, a, out):
    for i in range(len(out)):
        out[i] = start - a[i]


@kernel
def tree_bends(log_shares, R, on_leaf, first, low, high):
    """Return the second derivatives of the sum of R * scores by pairs b <= c of predictors, (n_pairs, m).

    At each node that is -R (diag g - g g'), R added up over its leaves.
    """
    k, m = R.shape
    out, total = np.zeros((k * (k + 1) // 2, m)), np.empty(m)
    for node in range(len(first) - 1):
        last = first[node + 1] - 1
        total[:] = 0.0
        for leaf in range(low[first[node]], high[last]):
            _add(R[on_leaf[leaf]], total)
        for branch in range(first[node], last):
            for other in range(branch, last):
                one, two = on_leaf[high[branch] - 1], on_leaf[high[other] - 1]
                b, c = min(one, two), max(one, two)
                pair = b * k - b * (b - 1) // 2 + c - b
                _bend(total, log_shares[branch], log_shares[other], 1.0 if branch == other else 0.0, out[pair])
    return out


@inner
def _bend(total, a, b, own, out):
    for i in range(len(out)):
        out[i] = total[i] * (exp(a[i] + b[i]) - own * exp(a[i]))
