"""exp and log in operations that vectorise: the compiler has no vector version of its own."""

import math

import numpy as np
from numba import config, types
from numba.extending import intrinsic

from smoe._kernels._jit import inner, kernel

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

_SHIFT = 1.5 * 2.0**52 + 1023.0  # adding it rounds to an integer, left in the low bits as an exponent
_LOG2E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_ROOT_HALF = 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)


def _vector_exp(x):
    """exp(x) for x <= 0 in operations that vectorise: Cody-Waite reduction, a polynomial, exponent bits.

    The polynomial is 1 + r + ... with the smallest largest relative error for |r| <= log(2) / 2, which is 3.6e-18.
    """
    shifted = x * _LOG2E + _SHIFT
    n = shifted - _SHIFT
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = 2.500006162553128e-08
    p = p * r + 2.763024838532302e-07
    p = p * r + 2.755758637378518e-06
    p = p * r + 2.480149309888739e-05
    p = p * r + 0.00019841269506578723
    p = p * r + 0.0013888888943630134
    p = p * r + 0.008333333333494461
    p = p * r + 0.041666666666530155
    p = p * r + 0.16666666666666413
    p = p * r + 0.5000000000000011
    p = p * r + 1.0
    p = p * r + 1.0
    scale = _float_of(_bits_of(shifted) << 52)
    return 0.0 if x < _SMALLEST else p * scale


def _vector_log(x):
    """log(x) for normal x > 0 in operations that vectorise: x = 2^e (1 + f), a series in s = f / (2 + f)."""
    e = (_bits_of(x) - _ROOT_HALF) >> 52
    f = _float_of(_bits_of(x) - (e << 52)) - 1.0
    s = f / (2.0 + f)
    z = s * s
    p = 2.0 / 19.0
    p = p * z + 2.0 / 17.0
    p = p * z + 2.0 / 15.0
    p = p * z + 2.0 / 13.0
    p = p * z + 2.0 / 11.0
    p = p * z + 2.0 / 9.0
    p = p * z + 2.0 / 7.0
    p = p * z + 2.0 / 5.0
    p = p * z + 2.0 / 3.0
    return e * _LN2_HIGH + ((f - s * (f - z * p)) + e * _LN2_LOW) + (x - x)  # NaN stays NaN


def _plain_exp(x):
    return 0.0 if x < _SMALLEST else math.exp(x)


exp = inner(_plain_exp if config.DISABLE_JIT else _vector_exp)
log = math.log if config.DISABLE_JIT else inner(_vector_log)


_SMALL = 0.1  # of u, up to which slopes of log(1 + u) / u are a series


@inner
def slopes_of_ratio(u, share, ratio):
    """Return the first two derivatives of log(1 + u) / u, given 1 / (1 + u) and that ratio.

    Where u is small they follow from k = (log(1 + u) - u + u^2 / 2) / u^3, a series, without cancellation. Both sides
    are evaluated and one is selected, so that loops vectorise.
    """
    small = abs(u) < _SMALL
    x, by = u if small else _SMALL, _SMALL if small else u
    k = 1.0 / 18.0
    k = 1.0 / 17.0 - x * k
    k = 1.0 / 16.0 - x * k
    k = 1.0 / 15.0 - x * k
    k = 1.0 / 14.0 - x * k
    k = 1.0 / 13.0 - x * k
    k = 1.0 / 12.0 - x * k
    k = 1.0 / 11.0 - x * k
    k = 1.0 / 10.0 - x * k
    k = 1.0 / 9.0 - x * k
    k = 1.0 / 8.0 - x * k
    k = 1.0 / 7.0 - x * k
    k = 1.0 / 6.0 - x * k
    k = 1.0 / 5.0 - x * k
    k = 1.0 / 4.0 - x * k
    k = 1.0 / 3.0 - x * k
    far = (share - ratio) / by
    slope = x * (share - k) - 0.5 if small else far
    bend = 2.0 * k - x * share * share if small else -(share * share + 2.0 * far) / by
    return slope, bend


@kernel
def ratio_slopes(u):
    """Return the first two derivatives of log(1 + u) / u, (2, n)."""
    out = np.empty((2, len(u)))
    for i in range(len(u)):
        x = u[i]
        out[0, i], out[1, i] = slopes_of_ratio(x, 1.0 / (1.0 + x), math.log1p(x) / x if x != 0.0 else 1.0)
    return out


@inner
def log_add(a, b):
    """Return log(exp(a) + exp(b)); either may be minus infinity."""
    high, low = (a, b) if a > b else (b, a)
    rest = 1.0 + exp(low - high if high > -np.inf else 0.0)
    return high + (log(rest) if rest > 0.0 else rest)  # NaN stays NaN
