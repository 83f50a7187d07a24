"""Squares of slopes."""

import numpy as np

from smoe.params import MoEParams, flatten
from smoe.penalties.base import Penalty
from smoe.validation import check_number

__all__ = ["Ridge"]


class Ridge(Penalty):
    r"""Half the sum of squares of the slopes, per row.

    .. math:: P = \frac{n}{2} \Big(\alpha_g \sum |\beta_1|^2 + \alpha_e \sum |a|^2\Big)

    over all entries along features; intercepts and variances are free of it. The gate's slopes are those of its
    convention, the last expert's being zero: the penalty depends on which expert is last. A gate that separates the
    data has a maximum under it. One normal expert is ridge regression, one logistic expert scikit-learn's
    ``LogisticRegression(C)`` on standardised columns with 1 / (n C) as ``expert``.

    Parameters
    ----------
    gate, expert : float, default=0.0
        The weights, per row, of slopes by standardised columns (and response, where its family allows that).

    References
    ----------
    Hoerl, A. E. and Kennard, R. W. (1970). Ridge regression. Technometrics 12, 55-67.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_engel
    >>> from smoe.penalties import Ridge
    >>> X, y = load_engel(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, penalty=Ridge(gate=0.01), n_init=5, random_state=0).fit(X, y)
    >>> model.converged_
    True
    """

    words = "ridge penalty"

    def __init__(self, gate=0.0, expert=0.0):
        self.gate = gate
        self.expert = expert

    def check(self, gate):
        check_number(self.gate, "Ridge: gate", 0.0)
        check_number(self.expert, "Ridge: expert", 0.0)

    def _weights(self, model, params, n):
        """The weight of each entry, shaped like the parameters."""
        parts = zip(params, model.fields, (self.gate, self.expert), strict=True)
        return MoEParams(*(_along_features(part, fields, n * alpha) for part, fields, alpha in parts))

    def value(self, model, params, sums, n):
        return 0.5 * float(flatten(self._weights(model, params, n)) @ flatten(params) ** 2)

    def gradient(self, model, params, sums, n):
        pairs = zip(self._weights(model, params, n), params, strict=True)
        return MoEParams(*(type(p)(*(w * f for w, f in zip(weights, p, strict=True))) for weights, p in pairs))

    def curvature(self, model, params, sums, n):
        return np.diag(flatten(self._weights(model, params, n)))


def _along_features(part, fields, alpha):
    chosen = {name: 0.0 if fields[name].feature_axis is None else alpha for name in part._fields}
    return type(part)(*(np.full(np.shape(field), chosen[name]) for name, field in part._asdict().items()))
