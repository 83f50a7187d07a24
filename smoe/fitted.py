"""What a fitted mixture answers: parameters, predictions, probabilities, criteria, samples."""

from typing import NamedTuple

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils.validation import check_is_fitted, validate_data

from smoe._kernels.posterior import entropies
from smoe.blocks import Blocks
from smoe.distribution import ConditionalMixture
from smoe.mixture import MixtureOfExperts
from smoe.scaling import Scaling
from smoe.validation import check_floats, check_response, check_weights

__all__ = ["ACCEPTED", "ExpertLoad", "FittedMixture"]

# y of two columns passes, to be refused in our own words.
ACCEPTED = {"dtype": np.float64, "y_numeric": True, "multi_output": True}


class ExpertLoad(NamedTuple):
    """Use of each expert: shares of rows as first choice and as selected, mean probability, and who is dead."""

    first: np.ndarray
    selected: np.ndarray
    mass: np.ndarray
    dead: np.ndarray


class Rows(Blocks):
    """Blocks of a user's rows: where X is so large that float64 ends, an error says so instead of NaN."""

    def map(self, visit, params, *args):
        """Visit every block and join the arrays along the rows."""
        with np.errstate(over="ignore", invalid="ignore"):
            return _checked(super().map(visit, params, *args))

    def sum(self, visit, params, *args):
        """Add up over the blocks."""
        with np.errstate(over="ignore", invalid="ignore"):
            return _checked(super().sum(visit, params, *args))


def _checked(found):
    if isinstance(found, float | np.ndarray) and np.isnan(found).any():
        raise ValueError(
            "X has values so large that the gate's scores or the experts' means leave the range of float64; look for "
            "wrong units, or for codes of missing values."
        )
    return found


class FittedMixture:
    """Methods of an estimator that has ``params_`` in the user's units, ``gate_``, ``expert_`` and its columns."""

    @property
    def _model(self):
        return MixtureOfExperts(self.gate_, self.expert_)

    @property
    def gate_coef_(self):
        """Gate slopes, (n_experts, n_gate_features)."""
        return self.params_.gate.coef

    @property
    def gate_intercept_(self):
        """Gate intercepts, (n_experts,)."""
        return self.params_.gate.intercept

    @property
    def expert_coef_(self):
        """Slopes of the experts, (n_experts, n_expert_features)."""
        return self.params_.expert.coef

    @property
    def expert_intercept_(self):
        """Intercepts of the experts, (n_experts,)."""
        return self.params_.expert.intercept

    @property
    def expert_variance_(self):
        """Variances of the experts, (n_experts,)."""
        return self.params_.expert.variance

    def _blocks(self, X, y=None, sample_weight=None):
        """Validate new data and return its blocks, in the user's units."""
        check_is_fitted(self)
        if y is None:
            X, weight = validate_data(self, X, reset=False, dtype=ACCEPTED["dtype"]), None
        else:
            X, y = validate_data(self, X, y, reset=False, **ACCEPTED)
            y = check_response(y)
            weight = check_weights(sample_weight, len(y))
        scaling = Scaling.identity(self.gate_columns_, self.expert_columns_)
        return Rows(self._model, X, y, weight, scaling).shared_by(effective_n_jobs(self.n_jobs))

    def predict(self, X, return_std=False):
        """Return the mean of y given x, and on request its standard deviation.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        return_std : bool, default=False
            Also return the standard deviation of y given x: within and between the experts.

        Returns
        -------
        mean : ndarray of shape (n_samples,)
        std : ndarray of shape (n_samples,)
            Only with ``return_std``.
        """
        blocks = self._blocks(X)
        if not return_std:
            return blocks.map(self._model.mean, self.params_)
        return tuple(blocks.map(self._model.mean_and_std, self.params_))

    def predict_distribution(self, X):
        """Return the distributions of y given x, one for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ConditionalMixture
            With ``mean``, ``std``, ``pdf``, ``cdf``, ``ppf``, ``interval``, ``hdr``, ``mode``, ``sample`` and more.
        """
        blocks = self._blocks(X)
        return ConditionalMixture(self._model, self.params_, blocks)

    def predict_quantiles(self, X, q):
        """Return quantiles of y given x.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        q : float or array-like of shape (n_q,)
            Levels between 0 and 1, the same for every row; 0 and 1 give minus infinity and infinity.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_q)
            Solutions of the sum over experts of gate probability times distribution function = q.
        """
        levels = check_floats(q, "q")
        if levels.ndim > 1:
            raise ValueError(f"q must be a number or have shape (n_q,), got {levels.shape}.")
        return self.predict_distribution(X).ppf(levels if levels.ndim == 0 else levels[None, :])

    def predict_interval(self, X, coverage=0.95):
        """Return the equal-tailed interval that holds y given x with probability ``coverage``, (n_samples, 2).

        Where y given x has several modes, ``predict_distribution(X).hdr(coverage)`` is smaller.
        """
        return self.predict_distribution(X).interval(coverage)

    def gate_proba(self, X):
        """Return the gate's probability of each expert, (n_samples, n_experts)."""
        return self._blocks(X).map(self._model.gate_proba, self.params_).T

    def responsibilities(self, X, y):
        """Return the probability of each expert given x and y, (n_samples, n_experts)."""
        return self._blocks(X, y).map(self._model.responsibilities, self.params_).T

    def expert_predict(self, X):
        """Return the mean of each expert, (n_samples, n_experts)."""
        return self._blocks(X).map(lambda b, p: self.expert_.mean(b.expert_Z, p.expert), self.params_).T

    def predict_expert(self, X):
        """Return the index of the expert that the gate prefers, (n_samples,)."""
        return self.gate_proba(X).argmax(axis=1)

    def expert_load(self, X):
        """Return how much each expert is used on these rows.

        Returns
        -------
        ExpertLoad
            ``first``: share of rows on which the expert is the gate's first choice; ``selected``: share of rows on
            which its probability is not zero; ``mass``: its mean probability, all (n_experts,); ``dead``: indices of
            the experts whose probabilities add up to less than one row.
        """
        blocks = self._blocks(X)
        proba = blocks.map(self._model.gate_proba, self.params_)
        first = np.bincount(proba.argmax(axis=0), minlength=len(proba)) / len(blocks)
        dead = np.flatnonzero(proba.sum(axis=1) < 1.0)
        return ExpertLoad(first, (proba > 0).mean(axis=1), proba.mean(axis=1), dead)

    def score_samples(self, X, y=None):
        """Return the log density (natural logarithm) of each row, (n_samples,).

        Without y the density at ``predict(X)`` is returned, a measure of how sharp the prediction is.
        """
        if y is None:
            mixture = self.predict_distribution(X)
            return mixture.logpdf(mixture.mean())
        return self._blocks(X, y).map(lambda b, p: self._model.posterior(b, p)[2], self.params_)

    def loglik(self, X, y, sample_weight=None):
        """Return the log-likelihood: natural logarithms of densities, total over rows, times the weights."""
        return float(self._blocks(X, y, sample_weight).sum(self._model.loglik, self.params_))

    def aic(self, X, y, sample_weight=None):
        """Return Akaike's criterion, -2 l + 2 df (smaller is better)."""
        return -2.0 * self.loglik(X, y, sample_weight) + 2.0 * self.n_parameters_

    def bic(self, X, y, sample_weight=None):
        """Return the Bayesian criterion, -2 l + df log n with n the sum of the weights (smaller is better)."""
        return self._bic(self._blocks(X, y, sample_weight))

    def _bic(self, blocks):
        loglik = blocks.sum(self._model.loglik, self.params_)
        return float(-2.0 * loglik + self.n_parameters_ * np.log(blocks.total_weight))

    def icl(self, X, y, sample_weight=None):
        """Return the integrated complete-data criterion: BIC plus twice the entropy of the responsibilities."""

        def entropy(block, params):
            return float(entropies(self._model.posterior(block, params)[1], block.weight).sum())

        blocks = self._blocks(X, y, sample_weight)
        return self._bic(blocks) + 2.0 * blocks.sum(entropy, self.params_)

    def sample(self, X, random_state=None):
        """Draw one response for each row of X, (n_samples,)."""
        return self.predict_distribution(X).sample(random_state=random_state)
