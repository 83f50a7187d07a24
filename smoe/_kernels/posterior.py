"""From scores and log densities to gate probabilities, responsibilities and row log-likelihoods."""

import math

import numpy as np
from numba import config, types
from numba.extending import intrinsic

from smoe._kernels._jit import kernel

_CHUNK = 256  # rows whose temporaries fit in the first-level cache
_SMALLEST = -708.0  # below it exp(x) is less than the smallest normal number


def _bitcast(source, target):
    """Make an intrinsic that reads the bits of one 64-bit type as the other."""

    @intrinsic
    def cast(typingctx, value):
        def codegen(context, builder, signature, args):
            return builder.bitcast(args[0], context.get_value_type(target))

        return target(source), codegen

    return cast


_bits_of = _bitcast(types.float64, types.int64)
_float_of = _bitcast(types.int64, types.float64)

_SHIFT = 1.5 * 2.0**52  # adding it rounds to an integer, left in the low bits
_LOG2E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10


def _vector_exp(x):
    """exp(x) for x <= 0 in operations that vectorise: Cody-Waite reduction, Taylor polynomial, exponent bits."""
    shifted = x * _LOG2E + _SHIFT
    n = shifted - _SHIFT
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    scale = _float_of((_bits_of(shifted) + 1023) << 52)
    return 0.0 if x < _SMALLEST else p * scale


def _plain_exp(x):
    return 0.0 if x < _SMALLEST else math.exp(x)


_exp = kernel(_plain_exp if config.DISABLE_JIT else _vector_exp)


@kernel
def _raise(top, row):
    for i in range(len(top)):
        top[i] = row[i] if row[i] > top[i] else top[i]


@kernel
def _finite(top):
    for i in range(len(top)):
        top[i] = 0.0 if top[i] == -np.inf else top[i]


@kernel
def _add_exp(row, top, out, total):
    """Out = exp(row - top), added to the total."""
    for i in range(len(row)):
        out[i] = _exp(row[i] - top[i])
        total[i] += out[i]


@kernel
def _divide(row, total):
    for i in range(len(row)):
        row[i] /= total[i]


@kernel
def _softmax(values, proba, low, high, top, total):
    """Columns low to high of proba = exp(values - top) / total, with top their maximum over experts."""
    n_experts = len(values)
    top[:] = values[0, low:high]
    for k in range(1, n_experts):
        _raise(top, values[k, low:high])
    _finite(top)
    total[:] = 0.0
    for k in range(n_experts):
        _add_exp(values[k, low:high], top, proba[k, low:high], total)
    for k in range(n_experts):
        _divide(proba[k, low:high], total)  # 0/0 where every value is -inf: the caller knows what to put there


@kernel
def softmax(scores, proba):
    """Fill proba with softmax(scores) over experts; a score of -inf is an expert off the support."""
    m = scores.shape[1]
    top, total = np.empty(_CHUNK), np.empty(_CHUNK)
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        _softmax(scores, proba, low, high, top[: high - low], total[: high - low])


@kernel
def posterior(scores, log_density, proba, resp, shift, ratio):
    """Fill the gate's probabilities, the responsibilities and loglik = shift + log(ratio), row by row.

    A row whose every log density is -inf keeps resp = proba, so that no NaN is born.
    """
    n_experts, m = scores.shape
    gate_top, gate_total = np.empty(_CHUNK), np.empty(_CHUNK)
    for k in range(n_experts):
        joint, a, b = resp[k], scores[k], log_density[k]
        for i in range(m):
            joint[i] = a[i] + b[i]
    for low in range(0, m, _CHUNK):
        high = min(low + _CHUNK, m)
        width = high - low
        _softmax(scores, proba, low, high, gate_top[:width], gate_total[:width])
        top, total = shift[low:high], ratio[low:high]
        _softmax(resp, resp, low, high, top, total)
        for i in range(width):
            if total[i] == 0.0:
                for k in range(n_experts):
                    resp[k, low + i] = proba[k, low + i]
        for i in range(width):
            total[i] /= gate_total[i]
            top[i] -= gate_top[i]
