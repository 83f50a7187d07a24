"""The conditional Poisson gate: from softmax to top-K by one setting."""

import numpy as np

from smoe._kernels.conditional_poisson import inclusion, inclusion_bends
from smoe.gates.random_top_k import RandomTopKGate
from smoe.validation import check_number

__all__ = ["ConditionalPoissonTopKGate"]

_SHARPEST = 1e9


class ConditionalPoissonTopKGate(RandomTopKGate):
    r"""Softmax weights times the probability of being among K experts: smooth top-K.

    .. math:: \pi_i(x) = \frac{e^{s_i} q_i}{\sum_j e^{s_j} q_j}, \qquad
              q_i = e^{M s_i}\, \frac{e_{K-1}(\{e^{M s_j}\}_{j \ne i})}{e_K(\{e^{M s_j}\}_j)}, \qquad
              s_i = \beta_{1i}^\top x + \beta_{0i}

    with :math:`e_K` the elementary symmetric polynomials. :math:`q_i` is the probability that expert i is in a random
    set of K = ``top_k`` experts, drawn with probability proportional to the product of its members' odds
    :math:`e^{M s_i}` (conditional Poisson sampling); the q sum to K. With the sharpness M = 0 this is the softmax gate,
    as it is for K = ``n_experts``, and for M towards infinity the top-K gate. In between it is infinitely smooth, so
    that derivatives, certificate and standard errors are those of any smooth gate. It is also the averaged gate of a
    router that draws the set S with probability proportional to
    :math:`(\sum_{i \in S} e^{s_i}) \prod_{i \in S} e^{M s_i}` and divides by weights :math:`e^{s_i}` within it.

    Not identified: one vector added to every slope and one number to every intercept (the last expert's row is zero).
    The sharpness is a setting; ``top_k=1`` is a softmax gate whose coefficients are divided by 1 + M. A gate with k
    experts is in general none of those with k + 1.

    Parameters
    ----------
    top_k : int, default=2
        K.
    sharpness : float, default=1.0
        M, at least zero. The larger, the steeper are the borders where experts enter and leave, and the more maxima
        has the likelihood.

    References
    ----------
    Chen, X.-H., Dempster, A. P. and Liu, J. S. (1994). Weighted finite population sampling to maximize entropy.
    Biometrika 81, 457-469, for the probabilities of inclusion.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.features import design
    >>> from smoe.gates import ConditionalPoissonTopKGate, LinearGateParams
    >>> params = LinearGateParams(np.array([[1.0], [0.0], [0.0]]), np.array([0.0, 0.5, 0.0]))
    >>> for sharpness in (0.0, 1.0, 100.0):
    ...     scores = ConditionalPoissonTopKGate(2, sharpness).scores(design(np.array([[2.0]])), params)
    ...     print((np.exp(scores) / np.exp(scores).sum(axis=0)).round(3).T)
    [[0.736 0.164 0.1  ]]
    [[0.82  0.129 0.051]]
    [[0.818 0.182 0.   ]]
    """

    def __init__(self, top_k: int = 2, sharpness: float = 1.0) -> None:
        self.top_k = top_k
        self.sharpness = sharpness

    @property
    def steepness(self):
        """How much steeper the choice is than the weights."""
        return float(self.sharpness)

    def check(self, n_experts):
        """Raise ValueError or TypeError for settings that make no sense with this many experts."""
        super().check(n_experts)
        check_number(self.sharpness, "sharpness", 0.0, high=_SHARPEST)

    def _odds(self, u):
        return self.steepness * u, min(self.top_k, len(u))

    def link(self, u, params):
        """Return the logarithms of e^s q."""
        return u + inclusion(*self._odds(u), False)[0]

    def slopes(self, u, params):
        """Return one on the diagonal, and M times the derivatives of log q by the log odds."""
        return self.jet(u, params)[1]

    def jet(self, u, params):
        """Return both."""
        log_inclusion, slopes = inclusion(*self._odds(u), True)
        return u + log_inclusion, np.eye(len(u))[:, :, None] + self.steepness * slopes

    def bends(self, u, params, R):
        """Return M^2 times the second derivatives of log q by the log odds."""
        return self.steepness**2 * inclusion_bends(*self._odds(u), R)
