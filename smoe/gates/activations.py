"""Scalar activations with their first two derivatives. A new one is one entry here."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit, ndtr

from smoe._kernels import activations as kernels
from smoe.validation import check_floats

__all__ = ["ACTIVATIONS", "Activation", "resolve_activation"]

_PROBES = np.array([-3.1, -1.3, -0.4, 0.3, 1.1, 2.7])  # where the derivative of a user's pair is checked
_STEP = 1e-5
_AGREEMENT = 1e-5


class Activation(NamedTuple):
    """A function with its first and second derivative.

    ``homogeneous`` says that function(c u) = c function(u) for c > 0: a temperature is then not identified.
    ``linear`` says that it is the identity: slopes are then identified up to a common shift only. ``odd`` says that
    function(u) - function(0) is odd: two experts may then swap their slopes and change their signs. ``compiled`` makes
    all three at once, ``compiled(u, value, slope, bend)`` with vectors; it exists for speed alone.
    """

    function: Callable
    derivative: Callable
    second: Callable
    homogeneous: bool = False
    linear: bool = False
    odd: bool = False
    compiled: Callable | None = None

    def jet(self, u, order):
        """Return the function and its derivatives at u up to this order, or more of them."""
        if self.compiled is None:
            return [f(u) for f in (self.function, self.derivative, self.second)[: order + 1]]
        out = np.empty((3, *u.shape))
        self.compiled(u.reshape(-1), *out.reshape(3, -1))
        return [*out]


def _density(u):
    return np.exp(-0.5 * u**2) / np.sqrt(2.0 * np.pi)


def _logistic_slope(u):
    return expit(u) * expit(-u)


def _tanh_slope(u):
    return 1.0 - np.tanh(u) ** 2


def _silu_slope(u):
    return expit(u) + u * _logistic_slope(u)


def _silu_second(u):
    return _logistic_slope(u) * (2.0 + u * (1.0 - 2.0 * expit(u)))


ACTIVATIONS = {
    "sigmoid": Activation(
        expit,
        _logistic_slope,
        lambda u: _logistic_slope(u) * (1.0 - 2.0 * expit(u)),
        odd=True,
        compiled=kernels.sigmoid,
    ),
    "tanh": Activation(
        np.tanh, _tanh_slope, lambda u: -2.0 * np.tanh(u) * _tanh_slope(u), odd=True, compiled=kernels.tanh
    ),
    "gelu": Activation(
        lambda u: u * ndtr(u),
        lambda u: ndtr(u) + u * _density(u),
        lambda u: (2.0 - u**2) * _density(u),
        compiled=kernels.gelu,
    ),
    "silu": Activation(lambda u: u * expit(u), _silu_slope, _silu_second, compiled=kernels.silu),
    "softplus": Activation(lambda u: np.logaddexp(0.0, u), expit, _logistic_slope, compiled=kernels.softplus),
    "relu": Activation(lambda u: np.maximum(u, 0.0), lambda u: (u > 0) * 1.0, np.zeros_like, homogeneous=True),
    "identity": Activation(lambda u: u, np.ones_like, np.zeros_like, homogeneous=True, linear=True),
}


def _values(function, u):
    """Return what a user's function makes of numbers. Raise unless that is a number for each."""
    try:
        with np.errstate(all="ignore"):
            values = function(u)
    except Exception as error:
        raise ValueError(f"activation: {function!r} failed at u={u.tolist()}: {error!r}.") from error
    values = check_floats(values, "activation: what its function or derivative returns")
    if values.shape != u.shape:
        raise ValueError(f"activation: functions must be vectorised; {function!r} made {values.shape} of {u.shape}.")
    return values


def resolve_activation(choice):
    """Return the `Activation` of a name or of a pair of callables (function, derivative).

    Raises
    ------
    ValueError
        An unknown name, no pair, or a derivative that disagrees with finite differences of the function.
    """
    if isinstance(choice, str):
        if choice not in ACTIVATIONS:
            raise ValueError(f"activation={choice!r} is not known; choose one of {', '.join(map(repr, ACTIVATIONS))}.")
        return ACTIVATIONS[choice]
    if not (isinstance(choice, tuple | list) and len(choice) == 2 and all(callable(c) for c in choice)):
        raise ValueError(f"activation must be a name or a pair of callables (function, derivative), got {choice!r}.")
    function, derivative = choice
    numeric = (_values(function, _PROBES + _STEP) - _values(function, _PROBES - _STEP)) / (2.0 * _STEP)
    error = np.abs(_values(derivative, _PROBES) - numeric)
    if not np.all(error <= _AGREEMENT * (1.0 + np.abs(numeric))):
        worst = int(np.argmax(np.where(np.isfinite(error), error, np.inf)))
        raise ValueError(
            f"activation: the derivative disagrees with finite differences of the function at u={_PROBES[worst]}: "
            f"{np.asarray(derivative(_PROBES))[worst]:.6g} against {numeric[worst]:.6g}."
        )
    value = np.asarray(function(_PROBES))
    homogeneous = np.allclose(function(2.0 * _PROBES), 2.0 * value, rtol=1e-9, atol=1e-12)
    linear = homogeneous and np.allclose(value, _PROBES, rtol=1e-9)
    odd = np.allclose(value + function(-_PROBES), 2.0 * function(np.zeros(1)), rtol=1e-9, atol=1e-12)

    def second(u):
        return (derivative(u + _STEP) - derivative(u - _STEP)) / (2.0 * _STEP)

    return Activation(function, derivative, second, homogeneous, linear, odd and not linear)
