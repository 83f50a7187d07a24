"""EM for linear gates with Gaussian experts: whole iterations in compiled code, for starts and small data.

With few rows an iteration costs less than the calls that it is made of. What it does is what `smoe.solvers.EM` does.
"""

import numpy as np

from smoe._kernels._jit import inner, kernel
from smoe._kernels.gate_steps import damped_step
from smoe._kernels.linear_gaussian import run
from smoe._kernels.regression import least_squares


@inner
def _free_information(pairs, k):
    """Return the gate's information without the last expert, whose row is pinned, from the sums of the pairs."""
    q, pair = pairs.shape[1], 0
    out = np.zeros(((k - 1) * q, (k - 1) * q))
    for i in range(k):
        for j in range(i + 1, k):
            for a in range(q):
                for b in range(q):
                    value = pairs[pair, a, b]
                    out[i * q + a, i * q + b] -= value
                    if j < k - 1:
                        out[j * q + a, j * q + b] -= value
                        out[i * q + a, j * q + b] += value
                        out[j * q + a, i * q + b] += value
            pair += 1
    return out


@inner
def _move_gate(coef, intercept, step, t):
    """Return the gate moved by t times the step; the last expert's row stays."""
    new_coef, new_intercept, place = np.copy(coef), np.copy(intercept), 0
    for i in range(len(coef) - 1):
        for j in range(coef.shape[1]):
            new_coef[i, j] += t * step[place]
            place += 1
        new_intercept[i] += t * step[place]
        place += 1
    return new_coef, new_intercept


@kernel
def climb(gate, experts, data, wanted, floor, rank_tol, n_iter, n_halvings, slack):
    """Do ``n_iter`` iterations; return the parameters, the sums of `run` at them, and the log-likelihoods on the way.

    ``gate``, ``experts`` and ``data`` are the arguments of `run`; so are those ``wanted``, where there is no iteration:
    a pass is made here too, because `run` takes long to compile. A gate's step after which the log-likelihood falls by
    more than ``slack`` (relative, and per weight) is halved, ``n_halvings`` times, then left out.
    """
    k, q = gate[0].shape[0], gate[0].shape[1] + 1
    trace = np.empty(n_iter + 1)
    sums = run(*gate, *experts, *data, *wanted)
    for iteration in range(n_iter):
        trace[iteration] = least = sums[0]
        gram, cross, score, pairs = sums[1:5]
        new = least_squares(gram, np.copy(cross[:, :-1]), np.copy(cross[:, -1]), *experts, floor, rank_tol)
        step = damped_step(np.ravel(score)[: (k - 1) * q], _free_information(pairs, k))
        for expert in range(k):
            least -= slack * gram[expert, -1, -1]
        least -= slack * abs(sums[0])
        for halving in range(n_halvings + 2):
            t = 0.0 if halving > n_halvings else 0.5**halving
            candidate = _move_gate(*gate, step, t)
            there = run(*candidate, *new, *data, True, False)
            if there[0] >= least:
                gate, experts, sums = candidate, new, there
                break
    trace[n_iter] = sums[0]
    return gate, experts, sums, trace
