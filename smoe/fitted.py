"""What a fitted mixture answers: parameters, predictions, probabilities, criteria, samples."""

from typing import NamedTuple

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils.validation import check_is_fitted

from smoe._kernels.posterior import entropies
from smoe.distribution import ConditionalMixture
from smoe.mixture import MixtureOfExperts
from smoe.profile import profile
from smoe.rows import ArraySource, Blocks, Scaling
from smoe.validation import MISSING, check_floats, check_n_jobs, check_rows, check_weights

__all__ = ["ExpertLoad", "FittedMixture"]


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
        return MixtureOfExperts(self.gate_, self.expert_, self.penalties_)

    def __getattr__(self, name):
        """Return an array of the parameters: ``gate_coef_``, ``expert_intercept_``, ... for every field there is."""
        side, _, field = name.rstrip("_").partition("_")
        params = vars(self).get("params_")
        if params is not None and name.endswith("_") and field in getattr(getattr(params, side, None), "_fields", ()):
            return getattr(getattr(params, side), field)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _blocks(self, X, y=MISSING, sample_weight=None, copy=False):
        """Validate new data and return its blocks, in the user's units."""
        check_is_fitted(self)
        X, y = check_rows(self, X, y, reset=False, copy=copy)
        weight = None if y is None else check_weights(sample_weight, len(y))
        self.roles_.check(X, self._column_names())
        if y is not None:
            self.expert_.check_response(y)
        scaling = Scaling.identity(self.gate_columns_, self.expert_columns_)
        blocks = Rows(self._model, ArraySource(X, y, weight), scaling, self.roles_)
        return blocks.shared_by(effective_n_jobs(check_n_jobs(self.n_jobs)))

    def _column_names(self, names=None):
        """Return these names for the columns of X, or those of the data, or x0, x1, ..."""
        if names is None:
            names = getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)])
        if not isinstance(names, list | tuple | np.ndarray) or len(names) != self.n_features_in_ or np.ndim(names[0]):
            raise ValueError(f"names must be a list of {self.n_features_in_}, one per column of X, got {names!r}.")
        return [str(name) for name in names]

    def predict(self, X, return_std=False, *, quantiles=None, coverage=None):
        """Return the mean of y given x; on request its standard deviation too, or quantiles or an interval instead.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        return_std : bool, default=False
            Also return the standard deviation of y given x: within and between the experts.
        quantiles : float or array-like of shape (n_q,), default=None
            Return these quantiles in place of the mean, as ``predict_quantiles`` does. A pipeline has ``predict``
            only: ``pipeline.predict(X, quantiles=0.9)``.
        coverage : float or None, default=None
            Return the interval that holds y with this probability in place of the mean, as ``predict_interval`` does.

        Returns
        -------
        mean : ndarray of shape (n_samples,)
            Or the quantiles, (n_samples,) or (n_samples, n_q), or the interval, (n_samples, 2).
        std : ndarray of shape (n_samples,)
            Only with ``return_std``.

        Raises
        ------
        ValueError
            More than one of ``return_std``, ``quantiles`` and ``coverage`` is asked for.
        """
        if bool(return_std) + (quantiles is not None) + (coverage is not None) > 1:
            raise ValueError("predict: ask for one of return_std, quantiles and coverage at a time.")
        if quantiles is not None:
            return self.predict_quantiles(X, quantiles)
        if coverage is not None:
            return self.predict_interval(X, coverage)
        blocks = self._blocks(X)
        if not return_std:
            return blocks.map(self._model.mean, self.params_)
        return tuple(blocks.map(self._model.mean_and_std, self.params_))

    def predict_distribution(self, X):
        """Return the distributions of y given x, one for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Copied: later changes of X do not change the distributions. (The methods of the estimator that answer at
            once do not copy.)

        Returns
        -------
        ConditionalMixture
            With ``mean``, ``std``, ``pdf``, ``cdf``, ``ppf``, ``interval``, ``hdr``, ``mode``, ``sample`` and more, as
            the kind of response has them; ``mixture[i]`` are those of some rows. It has rows of its own:
            what becomes of X afterwards does not matter to it.
        """
        return self._distribution(X, copy=True)

    def _distribution(self, X, copy=False):
        blocks = self._blocks(X, copy=copy)
        return ConditionalMixture(self._model, self.params_, blocks)

    def predict_quantiles(self, X, q):
        """Return quantiles of y given x.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        q : float or array-like of shape (n_q,)
            Levels between 0 and 1, the same for every row; 0 and 1 give the ends of the support, which for normal
            experts are minus infinity and infinity.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_q)
            Solutions of the sum over experts of gate probability times distribution function = q; for families of whole
            numbers the smallest number at which the sum is at least q.
        """
        levels = check_floats(q, "q")
        if levels.ndim > 1:
            raise ValueError(f"q must be a number or have shape (n_q,), got {levels.shape}.")
        return self._distribution(X).ppf(levels if levels.ndim == 0 else levels[None, :])

    def predict_interval(self, X, coverage=0.95):
        """Return the equal-tailed interval that holds y given x with probability ``coverage``, (n_samples, 2).

        Where y given x has several modes, ``predict_distribution(X).hdr(coverage)`` is smaller.
        """
        return self._distribution(X).interval(coverage)

    def gate_proba(self, X):
        """Return the gate's probability of each expert, (n_samples, n_experts)."""
        return self._blocks(X).map(self._model.gate_proba, self.params_).T

    def responsibilities(self, X, y):
        """Return the probability of each expert given x and y, (n_samples, n_experts)."""
        return self._blocks(X, y).map(self._model.responsibilities, self.params_).T

    def expert_predict(self, X):
        """Return the mean of y under each expert, (n_samples, n_experts).

        Not to be confused with ``predict_expert``, which says which expert the gate prefers.
        """
        return self._blocks(X).map(lambda b, p: self.expert_.mean(b.rows, p.expert), self.params_).T

    def predict_expert(self, X):
        """Return the index of the expert that the gate prefers, (n_samples,): the class of a row before y is seen.

        Not to be confused with ``expert_predict``, the mean of y under each expert. With y seen the class is
        ``responsibilities(X, y).argmax(axis=1)``.
        """
        return self.gate_proba(X).argmax(axis=1)

    def expert_load(self, X):
        """Return how much each expert is used on these rows.

        Returns
        -------
        ExpertLoad
            ``first``: share of rows on which the expert is the gate's first choice; ``selected``: share of rows on
            which its probability is not zero; ``mass``: its mean probability, all (n_experts,); ``dead``: indices of
            the experts whose probabilities add up to less than one row (rows of equal X count each: they may differ
            in y).
        """
        blocks = self._blocks(X)
        proba = blocks.map(self._model.gate_proba, self.params_)
        first = np.bincount(proba.argmax(axis=0), minlength=len(proba)) / len(blocks)
        dead = np.flatnonzero(proba.sum(axis=1) < 1.0)
        return ExpertLoad(first, (proba > 0).mean(axis=1), proba.mean(axis=1), dead)

    def expert_profile(self, X, y=None, names=None):
        """Return who lives where: the share of each expert, and means and spreads of the columns inside it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), default=None
            With it rows are weighted by ``responsibilities(X, y)``, without it by ``gate_proba(X)``.
        names : list of str or None, default=None
            What to call the columns of X; None for their names in the data, or else x0, x1, ...

        Returns
        -------
        ExpertProfile
            ``print`` it, or take ``to_frame()``.

        Examples
        --------
        >>> from smoe import SoftmaxMoERegressor
        >>> from smoe.datasets import load_faithful
        >>> X, y = load_faithful(return_X_y=True)
        >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
        >>> print(model.expert_profile(X, names=["waiting"]))
                    all rows     expert 0   expert 1
        share              1        0.355      0.645
        waiting  70.9 (13.6)  54.5 (5.79)  80 (6.02)
        """
        proba = self.gate_proba(X) if y is None else self.responsibilities(X, y)
        names = self._column_names(names)
        return profile(proba, check_rows(self, X, reset=False)[0], names)

    def standardised_gate_coef(self, X):
        """Return the gate's slopes per standard deviation of each column over these rows, comparable across columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that the standard deviations are taken from, mostly those of the fit.

        Returns
        -------
        ndarray of shape (n_experts, n_gate_features)
            Log odds against the last expert; its row is zero.
        """
        check_is_fitted(self)
        X = check_rows(self, X, reset=False)[0]
        return self.gate_coef_ * np.array([X[:, j].std() for j in self.gate_columns_])

    def score_samples(self, X, y=None):
        """Return the log density (natural logarithm) of y given x for each row, (n_samples,).

        Raises
        ------
        ValueError
            There is no y. The density has none without it, and a pipeline never passes one on: ask its last step,
            ``pipeline[-1].score_samples(pipeline[:-1].transform(X), y)``. How sharp predictions are is for
            ``predict_distribution`` to say, by ``std()`` or ``interval``.
        """
        if y is None:
            raise ValueError(
                "y is None: score_samples(X, y) is the log density of y given x. Pipelines pass no y: call it on the "
                "last step, pipeline[-1].score_samples(pipeline[:-1].transform(X), y). For how sharp predictions are "
                "see predict_distribution(X).std()."
            )
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
        return self._distribution(X).sample(random_state=random_state)
