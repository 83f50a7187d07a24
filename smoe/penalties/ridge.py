"""Squares of slopes."""

from functools import lru_cache

import numpy as np

from smoe.params import MoEParams, flatten, unflatten
from smoe.penalties.base import Penalty
from smoe.validation import check_number

__all__ = ["Ridge"]


class Ridge(Penalty):
    r"""Half the sum of squares of the slopes, per row.

    .. math:: P = \frac{n}{2} \Big(\alpha_g \sum |\beta_1|^2 + \alpha_e \sum |a|^2\Big)

    over all entries along features; intercepts and variances are free of it. Where only differences between experts (or
    classes) count, slopes are taken as deviations from their mean over experts (or classes), whichever is last; the
    shift that makes the sum of squares least. A gate that separates the data has a maximum under it. One normal expert
    is ridge regression, one expert of classes scikit-learn's ``LogisticRegression(C)`` on standardised columns with
    1 / (n C) as ``expert``.

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

    def __init__(self, gate: float = 0.0, expert: float = 0.0) -> None:
        self.gate = gate
        self.expert = expert

    def check(self, gate):
        check_number(self.gate, "Ridge: gate", 0.0)
        check_number(self.expert, "Ridge: expert", 0.0)

    def value(self, model, params, sums, n):
        flat = flatten(params)
        return 0.5 * float(flat @ self.curvature(model, params, sums, n) @ flat)

    def gradient(self, model, params, sums, n):
        return unflatten(self.curvature(model, params, sums, n) @ flatten(params), params)

    def curvature(self, model, params, sums, n):
        parts = (
            (type(part), tuple(map(np.shape, part)), tuple(fields[name] for name in part._fields))
            for part, fields in zip(params, model.fields, strict=True)
        )
        return _curvature(tuple(parts), (n * self.gate, n * self.expert))


@lru_cache(maxsize=8)
def _curvature(parts, weights):
    """Return the second derivative in flat order. It depends on no values: iterations have it again and again."""
    blank = MoEParams(*(kind(*map(np.zeros, shapes)) for kind, shapes, _ in parts))
    out = np.zeros(2 * [flatten(blank).size])
    places = unflatten(np.arange(len(out)), blank)
    for part, (_, _, fields), weight in zip(places, parts, weights, strict=True):
        for place, field in zip(part, fields, strict=True):
            if field.feature_axis is not None and not field.fixed:
                _put(out, place.astype(int), field, weight)
    out.flags.writeable = False
    return out


def _put(out, place, field, weight):
    """Write the weight of squares of deviations from the mean along the gauge, if there is one."""
    along = place.reshape(1, -1) if field.gauge is None else field.along_gauge(place)
    bend = weight * field.centring(len(along))
    for i, row in enumerate(along):
        for j, column in enumerate(along):
            out[row, column] = bend[i, j]
