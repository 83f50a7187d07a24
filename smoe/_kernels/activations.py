"""Activations with their first two derivatives, all in one loop: they share the exponential, which is what costs."""

import math

from smoe._kernels._jit import inner, kernel
from smoe._kernels.elementary import exp, log

_INVERSE_ROOT = 1.0 / math.sqrt(2.0 * math.pi)
_FAR = 40.0  # where the normal density is zero


@kernel
def sigmoid(u, value, slope, bend):
    """1 / (1 + exp(-u))."""
    for i in range(len(u)):
        e = exp(-abs(u[i]))
        inverse = 1.0 / (1.0 + e)
        value[i] = inverse if u[i] > 0.0 else e * inverse
        slope[i] = e * inverse * inverse
        bend[i] = slope[i] * (1.0 - 2.0 * value[i])


@kernel
def tanh(u, value, slope, bend):
    """The hyperbolic tangent."""
    for i in range(len(u)):
        e = exp(-2.0 * abs(u[i]))
        inverse = 1.0 / (1.0 + e)
        value[i] = math.copysign((1.0 - e) * inverse, u[i])
        slope[i] = 4.0 * e * inverse * inverse
        bend[i] = -2.0 * value[i] * slope[i]


@kernel
def silu(u, value, slope, bend):
    """U times its sigmoid."""
    for i in range(len(u)):
        e = exp(-abs(u[i]))
        inverse = 1.0 / (1.0 + e)
        level = inverse if u[i] > 0.0 else e * inverse
        rise = e * inverse * inverse
        value[i] = u[i] * level
        slope[i] = level + u[i] * rise
        bend[i] = rise * (2.0 + u[i] * (1.0 - 2.0 * level))


@kernel
def softplus(u, value, slope, bend):
    """log(1 + exp(u))."""
    for i in range(len(u)):
        e = exp(-abs(u[i]))
        inverse = 1.0 / (1.0 + e)
        rest = log(1.0 + e)
        value[i] = u[i] + rest if u[i] > 0.0 else rest
        slope[i] = inverse if u[i] > 0.0 else e * inverse
        bend[i] = e * inverse * inverse


@inner
def _tail(t):
    """(5 + z) exp(z^2 / 2) ndtr(-z) for z >= 0 as a polynomial in t = (z - 5) / (z + 5): a Chebyshev fit."""
    p = -8.166192624428987e-10
    p = p * t + 5.037302126379857e-10
    p = p * t + 9.446827519677366e-09
    p = p * t - 5.015649939857857e-09
    p = p * t - 6.782555313291156e-08
    p = p * t + 3.581840051543223e-08
    p = p * t + 4.340262594829775e-07
    p = p * t - 3.310698071526862e-07
    p = p * t - 2.769337871043854e-06
    p = p * t + 3.977912640593242e-06
    p = p * t + 1.6681099115863468e-05
    p = p * t - 4.976177118979218e-05
    p = p * t - 5.9375673286488655e-05
    p = p * t + 0.00054489883090093
    p = p * t - 0.0007978694094808063
    p = p * t - 0.00299337673822322
    p = p * t + 0.020795066800941616
    p = p * t - 0.06911863870881432
    p = p * t + 0.16502036617034282
    p = p * t - 0.3135331566712138
    p = p * t + 0.4953056159699768
    p = p * t - 0.6653825028900577
    p = p * t + 0.769193049750063
    return p


@kernel
def gelu(u, value, slope, bend):
    """U times the normal distribution function."""
    for i in range(len(u)):
        z = min(abs(u[i]), _FAR)
        e = exp(-0.5 * z * z)
        inverse = 1.0 / (5.0 + z)
        lower = e * _tail((z - 5.0) * inverse) * inverse
        level, density = 1.0 - lower if u[i] > 0.0 else lower, e * _INVERSE_ROOT
        value[i] = u[i] * level
        slope[i] = level + u[i] * density
        bend[i] = (2.0 - z * z) * density
