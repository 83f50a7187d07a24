"""The noisy top-K gate whose noise is Gumbel's."""

from smoe._kernels.plackett_luce import averaged_weights
from smoe.gates.random_top_k import RandomTopKGate
from smoe.validation import check_number

__all__ = ["PlackettLuceTopKGate"]

_MOST = 10  # experts: work grows with the number of their subsets
_COLDEST, _HOTTEST = 1e-12, 1e12


class PlackettLuceTopKGate(RandomTopKGate):
    r"""Top-K of noisy scores, the noise averaged out: K experts drawn one after the other without replacement.

    .. math:: \pi_i(x) = \sum_{S \ni i} P(S)\, \frac{e^{s_i}}{\sum_{j \in S} e^{s_j}}, \qquad
              s_i = \beta_{1i}^\top x + \beta_{0i}

    with P(S) the probability that S are the ``top_k`` experts with the largest :math:`s_i + \tau G_i`, for
    independent standard Gumbel noise G. These are the first of a Plackett-Luce order with worths
    :math:`e^{s_i/\tau}`. Noise decides who is chosen; weights within the choice are made of the clean scores. A router
    that draws its experts *has* this gate: its density of y given x is the mixture with the averaged weights.

    For :math:`\tau` towards zero it is the top-K gate. ``top_k=1`` is a softmax gate whose coefficients are multiplied
    by the temperature, ``top_k=n_experts`` the softmax gate. Weights are smooth for every temperature.

    Not identified: one vector added to every slope and one number to every intercept (the last expert's row is zero).
    The temperature is a setting. A gate with k experts is in general none of those with k + 1.

    Parameters
    ----------
    top_k : int, default=2
        K. P(S) is a sum over the subsets of the experts, so that there may be ten at most.
    temperature : float, default=1.0
        The scale of the noise, positive, in units of the scores. The lower, the steeper are the borders where experts
        enter and leave, and the more maxima has the likelihood.

    References
    ----------
    Shazeer, N. et al. (2017). Outrageously large neural networks: the sparsely-gated mixture-of-experts layer. ICLR,
    for top-K with noise; theirs is normal, and is in the weights as well.

    Plackett, R. L. (1975). The analysis of permutations. JRSS C 24, 193-202.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.features import design
    >>> from smoe.gates import LinearGateParams, PlackettLuceTopKGate
    >>> params = LinearGateParams(np.array([[1.0], [0.0], [0.0]]), np.array([0.0, 0.5, 0.0]))
    >>> for temperature in (1.0, 0.01):
    ...     scores = PlackettLuceTopKGate(2, temperature).scores(design(np.array([[2.0]])), params)
    ...     print(np.exp(scores).round(3).T)
    [[0.809 0.133 0.057]]
    [[0.818 0.182 0.   ]]
    """

    def __init__(self, top_k: int = 2, temperature: float = 1.0) -> None:
        self.top_k = top_k
        self.temperature = temperature

    @property
    def steepness(self):
        """How much steeper the choice is than the weights."""
        return 1.0 / float(self.temperature)

    def check(self, n_experts):
        """Raise ValueError or TypeError for settings that make no sense with this many experts."""
        super().check(n_experts)
        check_number(self.temperature, "temperature", _COLDEST, high=_HOTTEST)
        if n_experts > _MOST:
            raise ValueError(
                f"n_experts={n_experts} is more than {_MOST}, and PlackettLuceTopKGate sums over all subsets of the "
                "experts; use ConditionalPoissonTopKGate."
            )

    def _averaged(self, u, R, order):
        return averaged_weights(u, min(self.top_k, len(u)), float(self.temperature), R, order)

    def link(self, u, params):
        """Return the logarithms of the averaged weights, which sum to one."""
        return self._averaged(u, u, 0)[0]

    def slopes(self, u, params):
        """Return the derivatives of the log weights."""
        return self._averaged(u, u, 1)[1]

    def jet(self, u, params):
        """Return both."""
        return self._averaged(u, u, 1)[:2]

    def bends(self, u, params, R):
        """Return the second derivatives of the sum of R * log weights."""
        return self._averaged(u, R, 2)[2]
