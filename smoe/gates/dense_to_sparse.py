"""The softmax gate with a temperature."""

from smoe.gates.activation_dense_to_sparse import ActivationDenseToSparseGate
from smoe.gates.activations import ACTIVATIONS

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

    centred = True
    _activation = ACTIVATIONS["identity"]

    def __init__(self, temperature="learn"):
        self.temperature = temperature

    def check(self, n_experts):
        """Raise an error for a temperature that is neither "learn" nor a positive number."""
        self._check_temperature()
