"""Classes in order: cumulative logit."""

from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit

from smoe import cumulative
from smoe.families.base import LinearParams
from smoe.families.multinomial import ClassFamily, codes
from smoe.fields import Field

__all__ = ["GapParams", "Ordinal"]

_SPARE = 1e-3  # of a class that no row has, for starts


class GapParams(NamedTuple):
    """Slopes ``coef`` (n_experts, n_features), ``intercept`` (n_experts,) and ``gap`` (n_experts, n_classes - 2)."""

    coef: np.ndarray
    intercept: np.ndarray
    gap: np.ndarray


class Ordinal(ClassFamily):
    r"""Cumulative logit (proportional odds) for classes in order; with two classes logistic regression.

    .. math:: P(y \le c) = \frac{1}{1 + \exp(\eta - \theta_c)}, \qquad \eta = a^\top x + b, \quad
              \theta_1 = 0, \quad \theta_c = \theta_{c-1} + g_c, \quad g_c > 0

    A positive slope makes higher classes more likely. An intercept and a first threshold would say the same, so the
    first threshold is zero; the next ones follow at the distances ``gap``, which keeps them in order. In the terms of
    other programs the thresholds are ``thresholds(params)``.

    Labels are in order if y is an ordered category, or if they are named here; else they are sorted.

    Parameters
    ----------
    classes : array-like of shape (n_classes,) or None, default=None
        The labels from the lowest to the highest; None for those that y has when the family is bound to it.

    References
    ----------
    McCullagh, P. (1980). Regression models for ordinal data. JRSS B 42, 109-142.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe import MoEClassifier
    >>> from smoe.families import Ordinal
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(-2, 2, 1000)
    >>> y = np.array(["low", "middle", "high"])[np.digitize(2 * x + rng.logistic(size=1000), [-1, 2])]
    >>> model = MoEClassifier(1, expert=Ordinal(["low", "middle", "high"])).fit(x[:, None], y)
    >>> model.params_.expert.coef.round(1), Ordinal.thresholds(model.params_.expert).round(1)
    (array([[1.9]]), array([[-0.7,  2. ]]))
    """

    concave = True

    @property
    def Params(self):
        """Named tuple of the parameters: two classes have no gap."""
        return GapParams if self.n_classes > 2 else LinearParams

    @property
    def fields(self):
        """The distances of thresholds from the ones before."""
        return {"gap": Field(("expert", "threshold"), lower=0.0)} if self.n_classes > 2 else {}

    @property
    def axis_labels(self):
        """What thresholds, but the first, are called."""
        names = [str(label) for label in self.labels.tolist()]
        return {"threshold": [f"{low}|{high}" for low, high in zip(names[1:-1], names[2:], strict=True)]}

    @staticmethod
    def thresholds(params):
        """Return the thresholds against a predictor without intercept, (n_experts, n_classes - 1).

        Parameters
        ----------
        params : GapParams or LinearParams
            Parameters of ordinal experts.
        """
        gaps = [params.gap] if hasattr(params, "gap") else []
        return np.cumsum(np.column_stack([-params.intercept, *gaps]), axis=1)

    def start(self):
        return [np.ones(self.n_classes - 2)] if self.n_classes > 2 else []

    def start_at(self, rows, eta, weight):
        """Return the gaps that give equal predictors the shares of the classes."""
        if rows is None or self.n_classes == 2:
            return super().start_at(rows, eta, weight)
        return [np.tile(np.diff(_log_odds(rows.y, weight, self.n_classes)), (eta.shape[1], 1))]

    def link(self, rows):
        """Return the log odds in the middle of each class, above the first threshold."""
        thresholds = _log_odds(rows.y, np.ones(len(rows.y)), self.n_classes)
        below = np.concatenate([[0.0], expit(thresholds), [1.0]])
        return (logit(0.5 * (below[:-1] + below[1:])) - thresholds[0])[codes(rows.y)]

    def class_log_proba(self, eta, phi):
        return cumulative.log_proba(_apart(eta, phi), phi)

    def jet(self, target, eta, phi):
        cuts = _apart(eta, phi)
        return cumulative.slopes(target, cuts, phi), cumulative.bends(target, cuts, phi)


def _apart(eta, phi):
    """Return the thresholds minus the predictor, (n_classes - 1, n_experts, m)."""
    steps = [np.broadcast_to(gap, eta.shape[1:]) for gap in phi]
    return np.cumsum([-eta[0], *steps], axis=0)


def _log_odds(y, weight, n_classes):
    """Return the thresholds that give equal predictors the shares of the classes, none of them nothing."""
    total = np.bincount(codes(y), weight, n_classes) + weight.sum() * _SPARE
    return cumulative.log_odds_below(np.log(total))
