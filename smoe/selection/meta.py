"""Choices among fits, of the number of experts or of the weights of an elastic net, as scikit-learn estimators."""

from collections.abc import Callable, Iterable
from typing import Any, Self

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from smoe.estimators import MoEClassifier, MoERegressor, SoftmaxMoERegressor
from smoe.hints import Data, Seed
from smoe.selection.penalty_path import elastic_net_path
from smoe.selection.select import check_estimator, select_n_experts
from smoe.validation import check_nested

__all__ = ["MoEClassifierPath", "MoEClassifierSelect", "MoERegressorPath", "MoERegressorSelect"]


class BestOf(MetaEstimatorMixin, BaseEstimator):
    """What estimators have that fit another one in several ways, and answer by the best of these fits."""

    default = SoftmaxMoERegressor
    own: tuple[str, ...] = ("best_estimator_",)  # what fits leave here, and no estimator has

    def _begun(self):
        """Return a copy of what is to be fitted."""
        return self.default() if self.estimator is None else clone(check_estimator(self.estimator))

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name, those of the estimator as ``estimator__n_init``.

        Parameters
        ----------
        **params : dict
            New values by name.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            No such parameter, or one of the estimator where that is None.
        """
        check_nested(self, params)
        return super().set_params(**params)

    def __getattr__(self, name: str) -> Any:
        """Look up in the best estimator what this class does not have."""
        if name.startswith("_") or name in (*self.own, "partial_fit"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        best = self.__dict__.get("best_estimator_")
        if best is not None:
            return getattr(best, name)
        kind = self.default if self.__dict__.get("estimator") is None else type(self.estimator)
        if callable(getattr(kind, name, None)):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit before {name}.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __dir__(self):
        best = self.__dict__.get("best_estimator_")
        return sorted({*super().__dir__(), *(name for name in dir(best) if best and not name.startswith("_"))})


class Regresses(RegressorMixin):
    """What those have that answer by the best of several regressors."""

    def predict(
        self, X: Data, return_std: bool = False, *, quantiles: ArrayLike | None = None, coverage: float | None = None
    ) -> Any:
        """Return the best estimator's mean of y given x; with ``return_std`` its standard deviation too.

        ``quantiles`` or ``coverage`` ask for quantiles or an interval instead, as in ``MoERegressor.predict``.
        """
        check_is_fitted(self)
        return self.best_estimator_.predict(X, return_std, quantiles=quantiles, coverage=coverage)


class Classifies(ClassifierMixin):
    """What those have that answer by the best of several classifiers."""

    default = MoEClassifier

    def predict(self, X: Data) -> Any:
        """Return the best estimator's most likely classes, (n_samples,)."""
        check_is_fitted(self)
        return self.best_estimator_.predict(X)


class Select(BestOf):
    """What selections have whatever the response: they fit several numbers of experts and keep the best."""

    own = ("best_estimator_", "selection_", "n_experts_")

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_experts: Iterable[int] = (1, 2, 3, 4, 5, 6),
        criterion: str | Callable = "bic",
        cv: Any = 5,
        random_state: Seed = None,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.n_experts = n_experts
        self.criterion = criterion
        self.cv = cv
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Data, y: ArrayLike | None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit every number of experts and keep the best.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self
            Fitted estimator.

        Raises
        ------
        ValueError, TypeError
            See `smoe.selection.select_n_experts`.

        Warns
        -----
        ConvergenceWarning
            Fits that are no certified maxima.
        """
        self.selection_ = select_n_experts(
            self._begun(),
            X,
            y,
            self.n_experts,
            self.criterion,
            sample_weight=sample_weight,
            cv=self.cv,
            random_state=self.random_state,
            n_jobs=self.n_jobs,
        )
        self.best_estimator_ = self.selection_.best_estimator_
        self.n_experts_ = self.selection_.n_experts_
        return self


class Path(BestOf):
    """What paths have whatever the response: they fit elastic nets of several weights and keep the best."""

    default = MoERegressor
    own = ("best_estimator_", "path_", "alpha_", "alphas_")

    def __init__(
        self,
        estimator: Any = None,
        *,
        alphas: ArrayLike | None = None,
        n_alphas: int = 20,
        eps: float | None = None,
        criterion: str = "ebic",
        relax: bool = True,
        one_se: bool = False,
        cv: Any = 5,
        random_state: Seed = None,
    ) -> None:
        self.estimator = estimator
        self.alphas = alphas
        self.n_alphas = n_alphas
        self.eps = eps
        self.criterion = criterion
        self.relax = relax
        self.one_se = one_se
        self.cv = cv
        self.random_state = random_state

    def fit(self, X: Data, y: ArrayLike | None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the path and keep the best.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self
            Fitted estimator.

        Raises
        ------
        ValueError, TypeError
            See `smoe.selection.elastic_net_path`.

        Warns
        -----
        ConvergenceWarning
            The chosen fit is no certified maximum.
        """
        settings = {name: value for name, value in self.get_params(deep=False).items() if name != "estimator"}
        self.path_ = elastic_net_path(self._begun(), X, y, sample_weight=sample_weight, **settings)
        self.best_estimator_, self.alphas_ = self.path_.best_estimator_, self.path_.alphas_
        self.alpha_ = tuple(self.alphas_[self.path_.best_index_].tolist())
        return self


class MoERegressorSelect(Regresses, Select):
    r"""Mixture of experts that chooses its number of experts.

    .. math:: \hat k = \arg\min_k \mathrm{criterion}(k)

    ``fit`` calls `smoe.selection.select_n_experts`. What it found predicts: every method and fitted attribute of the
    best estimator is also one of this, so ``predict_interval``, ``summary``, ``params_`` and the like are there.

    Parameters
    ----------
    estimator : MoERegressor or None, default=None
        What is fitted, whatever its ``n_experts``; None for ``SoftmaxMoERegressor()``.
    n_experts : iterable of int, default=(1, 2, 3, 4, 5, 6)
        Numbers of experts to compare.
    criterion : {"bic", "aic", "icl", "cv", "slope", "jump"} or callable, default="bic"
        Smaller is better, see `smoe.selection.select_n_experts`.
    cv : int, splitter or iterable, default=5
        Folds of the criterion "cv".
    random_state : int, Generator, RandomState or None, default=None
        Draws splits, folds and, if the estimator has no ``random_state`` of its own, fresh starts.
    n_jobs : int or None, default=None
        Number of threads for the fits from fresh starts.

    Attributes
    ----------
    best_estimator_ : MoERegressor
        The fit that was chosen.
    n_experts_ : int
        How many experts it has.
    selection_ : Selection
        The table of all fits.
    n_features_in_, feature_names_in_, params_, loglik_, ... :
        Those of the best estimator.

    Examples
    --------
    >>> from smoe import MoERegressorSelect, SoftmaxMoERegressor
    >>> from smoe.datasets import make_moe
    >>> moe = make_moe(500, n_experts=2, random_state=3)
    >>> model = MoERegressorSelect(SoftmaxMoERegressor(random_state=0), n_experts=(1, 2, 3), random_state=0)
    >>> model.fit(moe.data, moe.target).n_experts_
    2
    >>> model.predict_interval(moe.data[:2]).shape
    (2, 2)
    """


class MoEClassifierSelect(Classifies, Select):
    r"""Mixture of experts for classes that chooses its number of experts.

    .. math:: \hat k = \arg\min_k \mathrm{criterion}(k)

    Like `MoERegressorSelect`: every method and fitted attribute of the best estimator is also one of this.

    Parameters
    ----------
    estimator : MoEClassifier or None, default=None
        What is fitted, whatever its ``n_experts``; None for ``MoEClassifier()``.
    n_experts, criterion, cv, random_state, n_jobs
        As for `MoERegressorSelect`. Folds that are drawn have the same shares of the classes.

    Attributes
    ----------
    best_estimator_ : MoEClassifier
        The fit that was chosen.
    n_experts_ : int
        How many experts it has.
    selection_ : Selection
        The table of all fits.
    classes_, n_features_in_, feature_names_in_, params_, loglik_, ... :
        Those of the best estimator.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from smoe import MoEClassifier, MoEClassifierSelect
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MoEClassifierSelect(MoEClassifier(random_state=0), n_experts=(1, 2), random_state=0)
    >>> model.fit(X, y).n_experts_
    1
    """


class MoERegressorPath(Regresses, Path):
    r"""Mixture of experts that chooses its features: a path of elastic nets, and the best of it.

    .. math:: \hat\alpha = \arg\min_\alpha \mathrm{criterion}(\alpha)

    ``fit`` calls `smoe.selection.elastic_net_path`. What it found predicts: every method and fitted attribute of the
    best estimator is also one of this, so ``predict_interval``, ``summary``, ``params_`` and the like are there.

    Parameters
    ----------
    estimator : MoERegressor or None, default=None
        What is fitted; None for ``MoERegressor()``. The elastic net among its penalties (`smoe.penalties.ElasticNet`)
        says in which proportion experts and gate have weights, the share of absolute values and the factors of columns;
        without one it is ``ElasticNet(1.0, 0.7)``.
    alphas, n_alphas, eps, criterion, relax, one_se, cv, random_state
        As for `smoe.selection.elastic_net_path`.

    Attributes
    ----------
    best_estimator_ : MoERegressor
        The fit that was chosen; with ``relax=True`` its refit without penalty, whose standard errors are given the
        selected slopes.
    alpha_ : tuple of float
        ``alpha_expert`` and ``alpha_gate`` that were chosen.
    alphas_ : ndarray of shape (n_alphas, 2)
        All pairs.
    path_ : smoe.selection.ElasticNetPath
        All fits and their table.
    n_features_in_, feature_names_in_, params_, loglik_, ... :
        Those of the best estimator.

    Notes
    -----
    Which columns are in is known only as far as they are not linear combinations of others; see
    `smoe.penalties.ElasticNet` for what else is not identified.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from smoe import MoERegressor, MoERegressorPath
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = MoERegressorPath(MoERegressor(2, n_init=5, random_state=0), n_alphas=6, eps=0.05, criterion="bic")
    >>> coef = model.fit(X, y).expert_coef_
    >>> list(X.columns[coef.any(axis=0)])[:3]
    ['sex', 'bmi', 'bp']
    """


class MoEClassifierPath(Classifies, Path):
    r"""Mixture of experts for classes that chooses its features: a path of elastic nets, and the best of it.

    .. math:: \hat\alpha = \arg\min_\alpha \mathrm{criterion}(\alpha)

    Like `MoERegressorPath`: every method and fitted attribute of the best estimator is also one of this.

    Parameters
    ----------
    estimator : MoEClassifier or None, default=None
        What is fitted; None for ``MoEClassifier()``. The elastic net among its penalties (`smoe.penalties.ElasticNet`)
        says in which proportion experts and gate have weights, the share of absolute values and the factors of columns;
        without one it is ``ElasticNet(1.0, 0.7)``.
    alphas, n_alphas, eps, criterion, relax, one_se, cv, random_state
        As for `smoe.selection.elastic_net_path`.

    Attributes
    ----------
    best_estimator_ : MoEClassifier
        The fit that was chosen; with ``relax=True`` its refit without penalty, whose standard errors are given the
        selected slopes.
    alpha_ : tuple of float
        ``alpha_expert`` and ``alpha_gate`` that were chosen.
    alphas_ : ndarray of shape (n_alphas, 2)
        All pairs.
    path_ : smoe.selection.ElasticNetPath
        All fits and their table.
    classes_, n_features_in_, feature_names_in_, params_, loglik_, ... :
        Those of the best estimator.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from smoe import MoEClassifier, MoEClassifierPath
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MoEClassifierPath(MoEClassifier(1, random_state=0), n_alphas=5, eps=0.01, criterion="bic").fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    """
