"""The softmax gate."""

from smoe.gates.base import LinearGate

__all__ = ["SoftmaxGate"]


class SoftmaxGate(LinearGate):
    r"""Mixing weights from a multinomial logistic model.

    .. math:: \pi_i(x) = \frac{\exp(\beta_{1i}^\top x + \beta_{0i})}{\sum_j \exp(\beta_{1j}^\top x + \beta_{0j})}

    Adding one vector to every slope and one number to every intercept leaves the probabilities as they are, so the
    last expert's slope and intercept are pinned to zero: the others are log odds against it.

    References
    ----------
    Jordan, M. I. and Jacobs, R. A. (1994). Hierarchical mixtures of experts and the EM algorithm. Neural
    Computation 6, 181-214.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.features import design
    >>> from smoe.gates import SoftmaxGate
    >>> gate = SoftmaxGate()
    >>> params = gate.init_params(n_experts=2, n_features=1)
    >>> gate.scores(design(np.array([[0.0, 1.0, 2.0]])), params)
    array([[0., 0., 0.],
           [0., 0., 0.]])
    """

    linear = True
