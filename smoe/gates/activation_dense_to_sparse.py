"""Softmax of an activation of linear scores, over a temperature."""

from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from smoe._kernels.activated import activated_information, pull_activated
from smoe._kernels.designs import predictors
from smoe.fields import Field
from smoe.gates.activations import resolve_activation
from smoe.gates.base import Evaluated, Gate, LinearGate
from smoe.validation import check_number

__all__ = ["HOTTEST", "ActivationDenseToSparseGate", "TemperatureGateParams"]

HOTTEST = 1e100  # the largest temperature, and one over the smallest: their squares are still numbers


class TemperatureGateParams(NamedTuple):
    """Slopes ``coef`` (n_experts, n_features), ``intercept`` (n_experts,) and the ``temperature`` that all share."""

    coef: np.ndarray
    intercept: np.ndarray
    temperature: np.ndarray


class ActivationDenseToSparseGate(Gate):
    r"""Softmax of activated scores over a temperature: dense when it is high, sparse when it is low.

    .. math:: \pi_i(x) = \mathrm{softmax}_i\!\left(\frac{g(\beta_{1i}^\top x) + \beta_{0i}}{\tau}\right)

    The last intercept is pinned to zero; no slope is, because the activation g makes every slope identified, with three
    exceptions. With ``"identity"`` slopes are identified up to a common shift (the last is pinned). Where g is
    positively homogeneous (``"identity"``, ``"relu"``) the density stays as it is along the ray
    :math:`(\beta_1, \beta_0, \tau) \to c\,(\beta_1, \beta_0, \tau)`: a temperature can be learned in name only, and is
    reported as one, slopes and intercepts as multiples of it. With two experts and an odd g (``"tanh"``, and up to a
    constant ``"sigmoid"``) the slopes :math:`(\beta_{11}, \beta_{12})` and :math:`(-\beta_{12}, -\beta_{11})` give one
    density; the sum of the first slopes is reported positive.

    The slope has no intercept inside the activation, so the gate is not equivariant to shifting X: fits work on columns
    that are scaled but not centred. With little data, or slopes that stay in the linear part of g, a learned
    temperature may run off to zero while slopes meet: the data then prefer a limit of the model; ``status_`` says so.

    Parameters
    ----------
    activation : str or pair of callables, default="sigmoid"
        A name from ``smoe.gates.ACTIVATIONS`` or (function, derivative), vectorised; the derivative is checked
        against finite differences when a fit begins.
    temperature : float or "learn", default="learn"
        A positive number, or "learn".

    References
    ----------
    Nguyen, H., Akbarian, P. and Ho, N. (2024). Is temperature sample efficient for softmax Gaussian mixture of
    experts? ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.features import design
    >>> from smoe.gates import ActivationDenseToSparseGate, TemperatureGateParams
    >>> gate = ActivationDenseToSparseGate("tanh")
    >>> params = TemperatureGateParams(np.array([[9.0], [0.0]]), np.zeros(2), np.array(0.5))
    >>> gate.scores(design(np.array([[-1.0, 1.0]])), params).round(3)
    array([[-2.,  2.],
           [ 0.,  0.]])
    """

    fields = {"coef": Field(("expert", "feature")), "intercept": Field(), "temperature": Field((), lower=0.0)}
    centred = False
    constant_units = False
    em_leads = False
    n_finished = 8  # short runs say less about where they lead
    linear = True

    def __init__(self, activation: str | tuple = "sigmoid", temperature: float | str = "learn") -> None:
        self.activation = activation
        self.temperature = temperature

    @property
    def _activation(self):
        return resolve_activation(self.activation)

    @property
    def learns(self):
        """Whether the temperature is to be learned, identified or not."""
        return isinstance(self.temperature, str)

    @property
    def log_linear(self):
        """Whether there is no activation: a temperature is then not free."""
        return self._activation.linear

    @property
    def on_ray(self):
        """Whether the temperature is to be learned but is not identified."""
        return self.learns and self._activation.homogeneous

    def check(self, n_experts):
        """Raise an error for an unknown activation, or a temperature that is neither "learn" nor a positive number."""
        resolve_activation(self.activation)
        self._check_temperature()

    def _check_temperature(self):
        if self.learns and self.temperature != "learn":
            raise ValueError(f"temperature must be a positive number or 'learn', got {self.temperature!r}.")
        if not self.learns:
            check_number(self.temperature, "temperature", 1.0 / HOTTEST, high=HOTTEST)

    @property
    def remark(self):
        """What a user must know about this gate's estimates."""
        return "the temperature is not estimable, only coefficients over temperature are" if self.on_ray else ""

    def diagnosis(self, params):
        """Name the limits that a fit with a learned temperature may be on the way to."""
        if not self.learns or self.on_ray:
            return ""
        return (
            "the gate drifts towards a limit of the model (slopes that meet while the temperature goes to zero, "
            "or slopes that grow without end): the data do not determine the temperature"
        )

    def at_temperature(self, temperature):
        """Return this gate at a fixed temperature."""
        return clone(self).set_params(temperature=float(temperature))

    def init_params(self, n_experts, n_features):
        """Return zero slopes and intercepts at the fixed temperature, or at one."""
        temperature = np.array(1.0 if self.learns else float(self.temperature))
        return TemperatureGateParams(np.zeros((n_experts, n_features)), np.zeros(n_experts), temperature)

    def _levels(self, Z, params, order):
        """Return g(b1_i'x) + b0_i, and the first derivatives of g at b1_i'x, as many as the order says, at least."""
        linear = predictors(params.coef, np.zeros(len(params.coef)), Z)
        levels = self._activation.jet(linear, order)
        levels[0] += params.intercept[:, None]
        return levels

    def scores(self, Z, params):
        """Return (g(b1_i'x) + b0_i) / tau."""
        return self._levels(Z, params, 0)[0] / params.temperature

    def evaluated(self, Z, params):
        """Return what one pass asks for, with an activation that is computed once."""
        levels = self._levels(Z, params, 2)
        methods = self._pullback, self._information
        return Evaluated(levels[0] / params.temperature, *(partial(method, levels, Z, params) for method in methods))

    def pullback(self, Z, params, R):
        """Return the derivative of the sum of R * scores."""
        return self._pullback(self._levels(Z, params, 1), Z, params, R)

    def _pullback(self, levels, Z, params, R):
        tau, stacked = params.temperature, np.ascontiguousarray(R).reshape(-1, *R.shape[-2:])
        own, shared = pull_activated(stacked, *levels[:2], Z)
        own = own.reshape(*R.shape[:-1], len(Z)) / tau
        return TemperatureGateParams(own[..., :-1], own[..., -1], -shared.reshape(R.shape[:-2]) / tau**2)

    def row_pullback(self, Z, params, R):
        """Return the derivative of each row's sum of R * scores, (n_entries, m)."""
        level, slope, *_ = self._levels(Z, params, 1)
        own = R[:, None] * Z
        own[:, :-1] *= slope[:, None]
        shared = -(R * level).sum(axis=0) / params.temperature
        return np.concatenate([own.reshape(-1, Z.shape[1]), shared[None]]) / params.temperature

    def information(self, Z, params, proba, weight, resp=None):
        """Return the sum over rows of weight J'(diag p - p p')J, with J the derivative of the scores.

        With ``resp`` the same of the responsibilities is subtracted, and the curvature of the scores times
        (resp - p): minus the second derivative of the observed log-likelihood.
        """
        return self._information(self._levels(Z, params, 2), Z, params, proba, weight, resp)

    def _information(self, levels, Z, params, proba, weight, resp=None):
        observed, proba = resp is not None, np.ascontiguousarray(proba)
        resp = np.ascontiguousarray(resp) if observed else proba
        return activated_information(Z, *levels, proba, resp, weight, float(params.temperature), observed)

    def free(self, params):
        """All slopes but the last of the identity, all intercepts but the last, the temperature if it is identified."""
        free = super().free(params)
        if len(params.intercept) == 1:  # one expert has no gate
            return type(free)(*(np.zeros_like(field) for field in free))
        free.intercept[-1] = False
        if self._activation.linear:
            free.coef[-1] = False
        return free._replace(temperature=np.array(self.learns and not self.on_ray))

    def natural_units(self, params):
        """Intercepts are measured in the temperature; so are slopes that grow with it."""
        tau = float(params.temperature)
        slope = tau if self._activation.homogeneous else 1.0
        return TemperatureGateParams(
            np.full(params.coef.shape, slope), np.full(params.intercept.shape, tau), np.array(1.0)
        )

    def canonical(self, params):
        """Pin the last intercept (and the last slope of the identity), put the temperature of a ray to one."""
        coef, intercept, tau = params
        if len(coef) == 1:
            return self.init_params(*coef.shape)
        intercept = intercept - intercept[-1]
        if self._activation.linear:
            coef = coef - coef[-1]
        if self._activation.odd and len(coef) == 2 and _leading(coef.sum(axis=0)) < 0:
            coef = -coef[::-1]
        if self.on_ray:
            coef, intercept, tau = coef / tau, intercept / tau, np.array(1.0)
        return TemperatureGateParams(coef, intercept, tau)

    def log_mass(self, params):
        """Return the intercepts over the temperature: what the activation adds is left out."""
        return params.intercept / params.temperature

    def with_log_mass(self, params, log_mass):
        """Return the parameters with other intercepts."""
        return params._replace(intercept=params.temperature * log_mass)

    breaks = LinearGate.breaks

    def unscale(self, params, shift, scale):
        """Carry the scale in the slopes; there is no shift to carry."""
        coef = params.coef / scale
        if self._activation.linear:
            return params._replace(coef=coef, intercept=params.intercept - coef @ shift)
        return params._replace(coef=coef)


def _leading(values):
    """The first entry that is not zero."""
    return next((value for value in values if value != 0.0), 0.0)
