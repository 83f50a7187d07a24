"""EM for linear gates with Gaussian experts: whole iterations in compiled code, for starts and small data.

With few rows an iteration costs less than the calls that it is made of. What it does is what `smoe.solvers.EM` does.
"""

import numpy as np

from smoe._kernels._jit import kernel
from smoe._kernels.gate_steps import damped_step
from smoe._kernels.linear_gaussian import run
from smoe._kernels.regression import least_squares


@kernel
def _free_information(pairs, k):
    """Return the gate's information without the last expert, whose row is pinned, from the sums of the pairs."""
    q, pair = pairs.shape[1], 0
    out = np.zeros((k - 1, q, k - 1, q))
    for i in range(k):
        for j in range(i + 1, k):
            if j < k - 1:
                out[i, :, j] += pairs[pair]
                out[j, :, i] += pairs[pair]
                out[j, :, j] -= pairs[pair]
            out[i, :, i] -= pairs[pair]
            pair += 1
    return out.reshape((k - 1) * q, (k - 1) * q)


@kernel
def _gate_step(score, pairs):
    """Return one Newton step for the slopes and the intercepts of the gate."""
    k, q = score.shape
    step = np.zeros((k, q))
    if k > 1:
        step[:-1] = damped_step(score[:-1].copy().reshape(-1), _free_information(pairs, k)).reshape(k - 1, q)
    return step


@kernel
def climb(gate_coef, gate_intercept, coef, intercept, variance, data, floor, rank_tol, n_iter, n_halvings, slack):
    """Do ``n_iter`` iterations; return the parameters, the sums of `run` at them, and the log-likelihoods on the way.

    ``data`` are the arguments of `run` from ``flat`` to ``y_inverse``. A gate's step after which the log-likelihood
    falls by more than ``slack`` (relative, and per weight) is halved, ``n_halvings`` times, then left out.
    """
    gate, experts = (gate_coef, gate_intercept), (coef, intercept, variance)
    sums, trace = run(*gate, *experts, *data, False), np.empty(n_iter + 1)
    trace[0] = sums[0]
    for iteration in range(1, n_iter + 1):
        loglik, gram, cross, score, pairs = sums[:5]
        new = least_squares(gram, cross[:, :-1].copy(), cross[:, -1].copy(), *experts, floor, rank_tol)
        step, t = _gate_step(score, pairs), 1.0
        least = loglik - slack * (abs(loglik) + np.sum(gram[:, -1, -1]))
        for halving in range(n_halvings + 2):
            t = 0.0 if halving > n_halvings else 0.5**halving
            candidate = gate[0] + t * step[:, :-1], gate[1] + t * step[:, -1]
            there = run(*candidate, *new, *data, False)
            if there[0] >= least:
                gate, experts, sums = candidate, new, there
                break
        trace[iteration] = sums[0]
    return gate, experts, sums, trace
