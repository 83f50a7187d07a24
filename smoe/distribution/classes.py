"""Distributions of responses that are classes."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from smoe.distribution.base import ConditionalMixture
from smoe.hints import Seed
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams
from smoe.rows import Blocks

__all__ = ["ClassMixture"]

_TIE = 1e-7  # of log probabilities: what the end of a fit, and rounding, leave of a tie


class ClassMixture(ConditionalMixture, kind="classes"):
    r"""Distributions of a class y given x, one for each row of X.

    .. math:: P(y = c|x) = \sum_{k=1}^{K} \pi_k(x)\, P_k(y = c|x)

    Parameters
    ----------
    model : MixtureOfExperts
        Gate and family of experts.
    params : MoEParams
        Parameters in the units of X.
    blocks : Blocks
        The rows of X, in the same units.
    classes : array of shape (n_classes,) or None, default=None
        The labels in the order of the codes; None for those that the family knows, or else the codes themselves.
    """

    def __init__(
        self, model: MixtureOfExperts, params: MoEParams, blocks: Blocks, classes: ArrayLike | None = None
    ) -> None:
        super().__init__(model, params, blocks)
        classes = model.expert.classes if classes is None else classes
        self._classes = None if classes is None else np.asarray(classes)

    def _of(self, blocks):
        return type(self)(self._model, self._params, blocks, self._classes)

    def log_proba(self) -> np.ndarray:
        """Return the logarithms of the classes' probabilities, (n_samples, n_classes), also where these underflow."""
        return self._visit(_log_proba).T

    def proba(self) -> np.ndarray:
        """Return the probabilities of the classes, (n_samples, n_classes); rows sum to one."""
        proba = np.exp(self.log_proba())
        return proba / proba.sum(axis=1, keepdims=True)

    def predict(self) -> np.ndarray:
        """Return the most likely classes, (n_samples,); of equally likely ones the first."""
        log_proba = self.log_proba()
        return self._labels((log_proba >= log_proba.max(axis=1, keepdims=True) - _TIE).argmax(axis=1))

    mode = predict

    def mean(self) -> np.ndarray:
        """Return the means of the classes' indicators, which are their probabilities, (n_samples, n_classes)."""
        return self.proba()

    def std(self) -> np.ndarray:
        """Return the standard deviations of the classes' indicators, (n_samples, n_classes)."""
        proba = self.proba()
        return np.sqrt(proba * (1.0 - proba))

    def mean_and_std(self) -> tuple[np.ndarray, np.ndarray]:
        """Return both."""
        return self.mean(), self.std()

    def entropy(self) -> np.ndarray:
        r"""Return the entropies :math:`-\sum_c P(c) \log P(c)` in nats, (n_samples,)."""
        log_proba = self.log_proba()
        proba = np.exp(log_proba)
        return -(proba * np.where(proba > 0, log_proba, 0.0)).sum(axis=1)

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the log probabilities of the classes y, one label or one for each row, (n_samples,)."""
        log_proba = self.log_proba()
        codes = np.broadcast_to(self._codes(y, log_proba.shape[1]), len(self))
        return log_proba[np.arange(len(self)), codes]

    def sample(self, size: int | None = None, random_state: Seed = None) -> np.ndarray:
        """Draw classes, (n_samples,), or (n_samples, size); arguments as for `ConditionalMixture`."""
        return self._labels(super().sample(size, random_state).astype(int))

    def _labels(self, codes):
        return codes if self._classes is None else self._classes[codes]

    def _codes(self, y, n_classes):
        """Return the places of labels y among the classes."""
        y, classes = np.asarray(y), np.arange(n_classes) if self._classes is None else self._classes
        if y.shape not in ((), (len(self),)):
            raise ValueError(f"y must be one class or have shape ({len(self)},), got {y.shape}.")
        equal = y[..., None] == classes
        if not np.all(np.any(equal, axis=-1)):
            raise ValueError(f"y must hold classes among {classes.tolist()}.")
        return equal.argmax(axis=-1)


def _log_proba(components):
    """Return log probabilities (n_classes, m), scaled so that they sum to one to the last digit."""
    out = logsumexp(components.log_proba[:, None] + components.class_log_proba(), axis=0)
    return out - logsumexp(out, axis=0)
