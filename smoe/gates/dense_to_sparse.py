"""The softmax gate with a temperature."""

import numpy as np

from smoe.gates.activation_dense_to_sparse import ActivationDenseToSparseGate, TemperatureGateParams
from smoe.gates.activations import ACTIVATIONS
from smoe.gates.base import Gate, LinearGate

__all__ = ["DenseToSparseGate"]


class DenseToSparseGate(ActivationDenseToSparseGate):
    r"""Softmax of linear scores over a temperature.

    .. math:: \pi_i(x) = \mathrm{softmax}_i\!\left(\frac{\beta_{1i}^\top x + \beta_{0i}}{\tau}\right)

    Not identified: one vector added to every slope and one number to every intercept (the last expert's row is pinned
    to zero), and the ray :math:`(\beta_1, \beta_0, \tau) \to c\,(\beta_1, \beta_0, \tau)`, c > 0. The data tell
    :math:`\beta_1/\tau` and :math:`\beta_0/\tau` and nothing else. With ``temperature="learn"`` the fit is the softmax
    gate's, reported as the point of the ray whose temperature is one.

    Parameters
    ----------
    temperature : float or "learn", default="learn"
        A positive number, or "learn".

    References
    ----------
    Nguyen, H., Akbarian, P. and Ho, N. (2024). Is temperature sample efficient for softmax Gaussian mixture of
    experts? ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.gates import DenseToSparseGate, TemperatureGateParams
    >>> gate = DenseToSparseGate()
    >>> gate.canonical(TemperatureGateParams(np.array([[6.0], [2.0]]), np.array([2.0, 0.0]), np.array(4.0)))
    TemperatureGateParams(coef=array([[1.],
           [0.]]), intercept=array([0.5, 0. ]), temperature=array(1.))
    """

    fields = {**ActivationDenseToSparseGate.fields, "coef": LinearGate.fields["coef"]}
    centred = True
    _activation = ACTIVATIONS["identity"]

    def __init__(self, temperature: float | str = "learn") -> None:
        self.temperature = temperature

    def check(self, n_experts):
        """Raise an error for a temperature that is neither "learn" nor a positive number."""
        self._check_temperature()

    assemble, assembled = LinearGate.assemble, LinearGate.assembled
    evaluated = Gate.evaluated

    def scores(self, Z, params):
        """Return (b1_i'x + b0_i) / tau."""
        scores = LinearGate.scores(self, Z, params)
        scores /= params.temperature
        return scores

    def pullback(self, Z, params, R):
        """Return the derivative of the sum of R * scores: what a change of tau does, one of all coefficients does."""
        coef, intercept, tau = params
        sums = LinearGate.pullback(self, Z, params, R)
        shared = (sums.coef * coef).sum(axis=(-2, -1)) + sums.intercept @ intercept
        return TemperatureGateParams(sums.coef / tau, sums.intercept / tau, -shared / tau**2)

    def information(self, Z, params, proba, weight, resp=None):
        """Return the sum over rows of weight J'(diag p - p p')J, with J the derivative of the scores.

        With ``resp`` the observed information's block, as `ActivationDenseToSparseGate.information` does.
        """
        lines, tau = np.column_stack(params[:2]).ravel(), float(params.temperature)
        own = LinearGate.information(self, Z, params, proba, weight, resp)
        side, out = -(own @ lines) / tau, np.empty((len(own) + 1, len(own) + 1))
        corner = -(side @ lines) / tau
        if resp is not None:  # scores are curved along tau
            pull = (weight * (resp - proba) @ Z.T).ravel()
            side, corner = side + pull, corner - 2.0 * (pull @ lines) / tau
        out[:-1, :-1], out[-1, -1] = own, corner
        out[:-1, -1] = out[-1, :-1] = side
        return out / tau**2
