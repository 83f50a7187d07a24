"""Standard distributions of noise, as families of a location and a scale need them.

Each gives ``log_density(u)`` and ``log_survival(u)`` with their first two derivatives, all without overflow; the point
``inverse_log_survival(t)`` at which the logarithm of the survival function is t; and ``log_mgf(t)``, the logarithm of
E exp(t u) with its derivative.
"""

import math

import numpy as np
from scipy.special import digamma, erfcx, expit, gammaln, log_expit, log_ndtr, ndtri_exp

__all__ = ["ExtremeValue", "Logistic", "Normal"]

_ROOT_TAU = math.sqrt(2.0 * math.pi)
_FAR = 500.0  # u beyond which exp(u) is not followed: squares of it are still float64


class ExtremeValue:
    """The logarithm of an exponential number: the smallest of many."""

    @staticmethod
    def log_density(u):
        rate = np.exp(np.minimum(u, _FAR))
        return u - rate, 1.0 - rate, -rate

    @staticmethod
    def log_survival(u):
        rate = np.exp(np.minimum(u, _FAR))
        return -rate, -rate, -rate

    @staticmethod
    def inverse_log_survival(t):
        return np.log(-t)

    @staticmethod
    def log_mgf(t):
        return gammaln(1.0 + t), digamma(1.0 + t)


class Logistic:
    """The standard logistic distribution."""

    @staticmethod
    def log_density(u):
        far = np.abs(u)
        less = np.exp(-far)
        share = 1.0 / (1.0 + less)
        return -far - 2.0 * np.log1p(less), np.copysign((1.0 - less) * share, -u), -2.0 * less * share**2

    @staticmethod
    def log_survival(u):
        p = expit(u)
        return log_expit(-u), -p, -p * (1.0 - p)

    @staticmethod
    def inverse_log_survival(t):
        return np.log(-np.expm1(t)) - t

    @staticmethod
    def log_mgf(t):
        """Return it where there is one, and infinity from t = 1 on."""
        there = t < 1.0
        low = np.where(there, t, 0.0)
        value, slope = gammaln(1.0 + low) + gammaln(1.0 - low), digamma(1.0 + low) - digamma(1.0 - low)
        return np.where(there, value, np.inf), np.where(there, slope, np.inf)


class Normal:
    """The standard normal distribution."""

    @staticmethod
    def log_density(u):
        return -0.5 * u**2 - math.log(_ROOT_TAU), -u, -np.ones_like(u)

    @staticmethod
    def log_survival(u):
        hazard = 2.0 / _ROOT_TAU / erfcx(u / math.sqrt(2.0))
        return log_ndtr(-u), -hazard, -hazard * np.maximum(hazard - u, 0.0)

    @staticmethod
    def inverse_log_survival(t):
        return -ndtri_exp(t)

    @staticmethod
    def log_mgf(t):
        return 0.5 * t**2, t
