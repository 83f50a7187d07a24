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


@inner
def _put(new_coef, new_intercept, coef, intercept):
    for i in range(len(coef)):
        intercept[i] = new_intercept[i]
        for j in range(coef.shape[1]):
            coef[i, j] = new_coef[i, j]


@kernel
def climb(
    floor,
    rank_tol,
    n_iter,
    n_halvings,
    slack,
    gate_information,
    observed,
    gate_coef,
    gate_intercept,
    coef,
    intercept,
    variance,
    flat,
    row_step,
    column_step,
    y,
    weight,
    low,
    high,
    gate_columns,
    gate_shift,
    gate_inverse,
    gate_factor,
    columns,
    shift,
    inverse,
    factor,
    same,
    y_shift,
    y_inverse,
):
    """Do ``n_iter`` iterations in place; return the sums of `run` at their end, and the log-likelihoods on the way.

    With no iteration it is a pass, with what is wanted of it; `run` takes long to compile, and is compiled here alone.
    Its arguments come one by one, because numba takes its time for the types in a tuple. A gate's step after which the
    log-likelihood falls by more than ``slack`` (relative, per weight) is halved, ``n_halvings`` times, then left out.
    """
    k, q = gate_coef.shape[0], gate_coef.shape[1] + 1
    gate, experts, trace = (gate_coef, gate_intercept), (coef, intercept, variance), np.empty(n_iter + 1)
    rows = flat, row_step, column_step, y, weight, low, high
    views = gate_columns, gate_shift, gate_inverse, gate_factor, columns, shift, inverse, factor, same
    data = (*rows, *views, y_shift, y_inverse)
    sums = run(*gate, *experts, *data, gate_information, observed)
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
    if n_iter > 0:
        _put(gate[0], gate[1], gate_coef, gate_intercept)
        _put(experts[0], experts[1], coef, intercept)
        for i in range(k):
            variance[i] = experts[2][i]
    return sums, trace
