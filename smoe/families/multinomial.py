"""Classes: multinomial logit."""

import numpy as np
from numpy.typing import ArrayLike

from smoe.families.base import Family, Support
from smoe.features import Rows
from smoe.validation import codes_of, find_classes

__all__ = ["ClassFamily", "Multinomial", "codes"]


class ClassFamily(Family):
    """What families of classes share: the labels of a fit, and the codes 0, 1, ... that it sees in their place.

    A family implements ``class_log_proba(eta, phi)``, the log probabilities of all classes, (n_classes, n_experts, m).

    Parameters
    ----------
    classes : array-like of shape (n_classes,) or None, default=None
        The labels in order; None for those that y has when the family is bound to it.
    """

    support = Support(kind="classes")
    largest = 1e150  # log probabilities do not underflow
    rows_per_term = 10  # few rows of classes define no line

    def __init__(self, classes: ArrayLike | None = None) -> None:
        self.classes = classes

    @property
    def n_classes(self):
        """Number of classes."""
        if self.classes is None:
            raise ValueError(f"{type(self).__name__} knows no classes yet: bind it to a response, or name them.")
        return len(self.classes)

    @property
    def labels(self):
        """The labels, an array."""
        return np.asarray(self.classes)

    def bind(self, y):
        """Return the family that knows the classes of y."""
        classes = find_classes(y) if self.classes is None else self.labels
        if len(classes) < 2:
            raise ValueError(f"y holds one class only, {classes.tolist()}: a classifier needs at least two.")
        return type(self)(classes)

    def read(self, y):
        """Return the codes of labels."""
        return codes_of(y, self.labels)

    def write(self, y):
        """Return the labels of codes."""
        return self.labels[codes(y)]

    def class_log_proba(self, eta, phi):
        """Return the log probabilities of all classes, (n_classes, n_experts, m)."""
        raise self._missing("class_log_proba")

    def log_prob(self, rows, eta, phi):
        every = self.class_log_proba(eta, phi)
        return np.take_along_axis(every, np.broadcast_to(codes(rows.y), every.shape[1:])[None], axis=0)[0]

    def residual(self, rows, eta, phi):
        """Return the log probabilities of what was seen: classes have no distance."""
        return self.log_prob(rows, eta, phi)

    def jet(self, target, eta, phi):
        """Return the derivatives of the sum over classes of target times log probability, as ``derivatives`` does.

        Here by differences. ``target`` is (n_classes, 1, m) or broadcasts against it.
        """
        parts = [Family.derivatives(self, _all_of(c, eta), eta, phi) for c in range(self.n_classes)]
        return tuple(sum(t * p for t, p in zip(target, side, strict=True)) for side in zip(*parts, strict=True))

    def derivatives(self, rows, eta, phi):
        return self.jet(_hits(rows.y, self.n_classes)[:, None], eta, phi)

    def expected(self, eta, phi, shares):
        """Return the mean log probability of classes in these shares and its derivatives, as ``derivatives`` does."""
        return np.tensordot(shares, self.class_log_proba(eta, phi), 1), *self.jet(shares[:, None, None], eta, phi)

    def sample(self, rows, eta, phi, rng):
        cumulative = np.cumsum(np.exp(self.class_log_proba(eta[:, None], [f[None] for f in phi])[:, 0]), axis=0)
        below = rng.random(cumulative.shape[1]) * cumulative[-1] >= cumulative[:-1]
        return below.sum(axis=0).astype(float)


class Multinomial(ClassFamily):
    r"""Multinomial logistic regression; with two classes logistic regression.

    .. math:: P(y = c) = \frac{\exp \eta_c}{\sum_{c'} \exp \eta_{c'}}, \qquad
              \eta_c = a_c^\top x + b_c, \quad \eta_C = 0

    The last class is the base: coefficients are log odds against it, one row for each other class. Adding one number
    to all predictors changes nothing, so which class is the base does not matter to probabilities. Where x separates
    the classes the coefficients diverge, see `smoe.penalties.Pull`.

    Parameters
    ----------
    classes : array-like of shape (n_classes,) or None, default=None
        The labels in order; None for those that y has when the family is bound to it.

    References
    ----------
    Bohning, D. (1992). Multinomial logistic regression algorithm. Annals of the Institute of Statistical Mathematics
    44, 197-200.

    Nguyen, H., Nguyen, T., Nguyen, K. and Ho, N. (2023). A general theory for softmax gating multinomial logistic
    mixture of experts. arXiv:2310.14188.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.families import Multinomial
    >>> from smoe.features import Rows
    >>> family = Multinomial(["a", "b", "c"])
    >>> eta = np.log([[[3.0]], [[2.0]]])  # odds of a and b against c
    >>> np.exp(family.log_prob(Rows(None, family.read(["b"])), eta, [])).round(4)
    array([[0.3333]])
    """

    axes = ("predictor",)
    concave = True

    @property
    def n_predictors(self):
        """One less than classes."""
        return self.n_classes - 1

    @property
    def gauge(self):
        """Which class is last has no meaning; two classes have one logistic regression."""
        return "predictor" if self.n_classes > 2 else None

    @property
    def axis_labels(self):
        """What the predictors are called."""
        *others, base = map(str, self.labels.tolist())
        return {"predictor": [f"{one} vs {base}" for one in others]}

    def class_log_proba(self, eta, phi):
        full = np.concatenate([eta, np.zeros((1, *eta.shape[1:]))])
        full -= full.max(axis=0)
        return full - np.log(np.exp(full).sum(axis=0))

    def link(self, rows):
        """Return Bohning's first step from equal probabilities: its regression is that of these numbers."""
        hit = _hits(rows.y, self.n_classes)
        return 2.0 * (hit[:-1] - hit[-1])

    def information(self, rows, eta, phi, second):
        """Return the mean of the second derivatives and Bohning's bound of them: steps then never fall."""
        bound = 0.5 * (np.eye(len(second)) - 1.0 / self.n_classes)
        return 0.5 * (second + bound[:, :, None, None])

    def jet(self, target, eta, phi):
        proba = np.exp(self.class_log_proba(eta, phi)[:-1])
        second = -proba[:, None] * proba
        each = np.arange(len(proba))
        second[each, each] += proba
        return target[:-1] - proba, second


def _all_of(code, eta):
    return Rows(None, np.full(eta.shape[-1], float(code)))


def codes(y):
    """Return codes as integers."""
    return np.asarray(y).astype(np.intp)


def _hits(y, n_classes):
    """Return which class each row has, (n_classes, m)."""
    return (np.arange(n_classes)[:, None] == y).astype(float)
