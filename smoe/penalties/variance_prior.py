"""A prior that keeps variances from vanishing."""

import numpy as np

from smoe.params import flatten
from smoe.penalties.base import Penalty, zeros_like
from smoe.validation import check_number

__all__ = ["VariancePrior"]


class VariancePrior(Penalty):
    r"""The penalty under which the likelihood of a mixture is bounded.

    .. math:: P = a \sum_i \Big(\frac{S}{v_i} + \log \frac{v_i}{S}\Big)

    over all parameters of the experts that have a floor (variances, dispersions), with S the variance of y: one in
    working coordinates. Each variance is shrunk towards S as if 2a more rows had it; estimates are consistent as long
    as a falls with n, and equivariant under changes of units.

    Parameters
    ----------
    a : float or "auto", default="auto"
        Weight of the prior; "auto" is :math:`n^{-1/2}`.

    References
    ----------
    Chen, J., Tan, X. and Zhang, R. (2008). Inference for normal mixtures in mean and variance. Statistica Sinica 18,
    443-465.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.penalties import VariancePrior
    >>> X, y = load_faithful(return_X_y=True)
    >>> SoftmaxMoERegressor(2, penalty=VariancePrior(), random_state=0).fit(X, y).converged_
    True
    """

    words = "prior of the variances"
    equivariant = True

    def __init__(self, a: float | str = "auto") -> None:
        self.a = a

    def check(self, gate):
        if not isinstance(self.a, str):
            check_number(self.a, "VariancePrior: a", 0.0)
        elif self.a != "auto":
            raise ValueError(f"VariancePrior: a must be a number or 'auto', got {self.a!r}.")

    def _weight(self, n):
        return n**-0.5 if isinstance(self.a, str) else float(self.a)

    def _floored(self, model, params):
        """Names and values of the parameters that have a floor."""
        return {
            name: np.asarray(value)
            for name, value in params.expert._asdict().items()
            if model.expert.fields[name].lower > 0
        }

    def value(self, model, params, sums, n):
        floored = self._floored(model, params).values()
        return self._weight(n) * float(sum(np.sum(1.0 / v + np.log(v)) for v in floored))

    def gradient(self, model, params, sums, n):
        slopes = {name: self._weight(n) * (1.0 - 1.0 / v) / v for name, v in self._floored(model, params).items()}
        zero = zeros_like(params)
        return zero._replace(expert=zero.expert._replace(**slopes))

    def curvature(self, model, params, sums, n):
        bends = {name: self._weight(n) * (2.0 / v - 1.0) / v**2 for name, v in self._floored(model, params).items()}
        zero = zeros_like(params)
        return np.diag(flatten(zero._replace(expert=zero.expert._replace(**bends))))
