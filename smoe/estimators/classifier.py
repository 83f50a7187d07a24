"""The estimator for a response that is a class."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin

from smoe.constraints import Constraints
from smoe.estimators.base import MixtureEstimator, from_fit, of_fit
from smoe.experts import Expert
from smoe.families import Family
from smoe.fitted import FittedMixture
from smoe.gates import Gate
from smoe.hints import ColumnSpec, Data, FilePath, Seed
from smoe.params import MoEParams
from smoe.penalties import Penalty, Pull
from smoe.solvers import Solver
from smoe.starts import Start
from smoe.validation import check_choice, check_floats, check_number, check_weights

__all__ = ["MoEClassifier"]


@dataclass(eq=False, repr=False)
class MoEClassifier(ClassifierMixin, MixtureEstimator):
    r"""Mixture of experts for classes, fitted by (slightly penalised) maximum likelihood.

    .. math:: P(y = c|x) = \sum_{k=1}^{K} \pi_k(x)\, P_k(y = c|x)

    with the gate :math:`\pi` and a multinomial logit for each expert. One expert is a multinomial logistic regression.
    Two classes and more are one model.

    Parameters
    ----------
    n_experts : int, default=2
        Number of experts.
    gate : str or Gate, default="softmax"
        The gate, as for `smoe.MoERegressor`.
    expert : str, Expert or Family, default="multinomial"
        The family of experts: a name, or an object such as ``smoe.families.Multinomial(["no", "yes"])``, which says
        in which order the classes come and that there are no others. "ordinal" for classes in order.
    pull : float, default=1.0
        Strength of a small penalty that pulls gate and experts towards constant probabilities, as few rows more would
        (`smoe.penalties.Pull`): one is as much as one row for each coefficient of a predictor. It keeps coefficients
        finite where gate or experts separate the data. 0 for maximum likelihood.
    class_weight : dict, "balanced" or None, default=None
        Factors of the weights by class. "balanced" makes classes weigh alike. Probabilities are then those of a
        population with other shares of the classes.
    formula, gate_features, expert_features, offset_feature, exposure_feature, group_feature : default=None
        A formula for a data frame, or columns of X and their roles, as for `smoe.MoERegressor`; an offset is added to
        every predictor.
    solver, start, n_init, penalty, constraints, max_iter, time_limit, tol, random_state, n_jobs, verbose, checkpoint,
    warm_start
        As for `smoe.MoERegressor`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted, or in the order of an ordered category. Levels that do not occur are left out.
    expert_coef_ : ndarray of shape (n_experts, n_classes - 1, n_expert_features)
        Log odds of each class against the last one, per unit of X; (n_experts, n_expert_features) if ordinal.
    expert_intercept_ : ndarray of shape (n_experts, n_classes - 1)
        Their values at x = 0; (n_experts,) if ordinal.
    loglik_ : float
        Log-likelihood of ``params_``, without the penalty.
    gate_coef_, gate_intercept_, params_, converged_, status_, standard_errors_, fitted_, ...
        As for `smoe.MoERegressor`.

    Notes
    -----
    Mixtures of classifiers predict well and tell little about their parameters. An expert without slopes can be split
    in two without any change of the probabilities, and with two classes only :math:`P(y|x)` is identified, generically
    just enough: a gate's slope needs tens of thousands of rows. So standard errors are large, or NaN with the reason in
    ``summary()`` where the information is singular. The probabilities are always finite.

    Standard errors under the pull are those of the penalised log-likelihood. A classifier whose experts or gate
    separate the data has no maximum with ``pull=0.0``: ``status_`` says so.

    With ``class_weight``, functions that take the rows of a fit (`smoe.inference.bootstrap`, ``covariance("sandwich",
    ...)``) want the weights that the fit had: ``sample_weight`` times the factor of each row's class.

    References
    ----------
    Jordan, M. I. and Jacobs, R. A. (1994). Hierarchical mixtures of experts and the EM algorithm. Neural Computation
    6, 181-214.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from smoe import MoEClassifier
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = MoEClassifier(2, random_state=0).fit(X, load_iris().target_names[y])
    >>> model.predict(X.iloc[[0, 100]]).tolist()
    ['setosa', 'virginica']
    """

    n_experts: int = 2
    _: KW_ONLY
    gate: str | Gate = "softmax"
    expert: str | Expert | Family = "multinomial"
    pull: float = 1.0
    class_weight: None | str | dict = None
    formula: str | None = None
    gate_features: ColumnSpec = None
    expert_features: ColumnSpec = None
    offset_feature: None | int | str = None
    exposure_feature: None | int | str = None
    group_feature: None | int | str = None
    solver: str | Solver = "auto"
    start: str | Start | MoEParams = "auto"
    n_init: int | str = "auto"
    penalty: None | str | Penalty | list | tuple = None
    constraints: None | Constraints = None
    max_iter: int | None = None
    time_limit: None | float = None
    tol: float = 1e-8
    random_state: Seed = None
    n_jobs: int | None = None
    verbose: int = 0
    checkpoint: None | FilePath = None
    warm_start: bool = False

    response_kind = "classes"
    classes_: ClassVar[np.ndarray] = from_fit("model.expert.classes")
    predict_proba = of_fit(FittedMixture.predict_proba)
    predict_log_proba = of_fit(FittedMixture.predict_log_proba)
    expert_predict_proba = of_fit(FittedMixture.expert_predict_proba)
    _predict = of_fit(FittedMixture.predict)

    def predict(self, X: Data) -> Any:
        """Return the most likely classes, (n_samples,)."""
        return self._predict(X)

    def _weights(self, weight, y, expert):
        """Multiply by the factors of the classes."""
        if self.class_weight is None:
            return weight
        return check_weights(weight * self._factors(weight, y, expert.classes)[y.astype(int)], len(y))

    def _factors(self, weight, y, classes):
        """Return the factor of each class: one that has no weight has none."""
        if self.group_feature is not None:
            raise ValueError("class_weight: with group_feature rows of one group must weigh alike; leave it out.")
        if isinstance(self.class_weight, dict):
            labels = classes.tolist()
            if unknown := [label for label in self.class_weight if label not in labels]:
                raise ValueError(f"class_weight names {unknown}, which are none of the classes {labels}.")
            return check_floats([self.class_weight.get(label, 1.0) for label in labels], "class_weight")
        check_choice(self.class_weight, "class_weight", ("balanced",))
        total = np.bincount(y.astype(int), weight, len(classes))
        return np.where(total > 0, weight.sum() / (np.sum(total > 0) * np.where(total > 0, total, 1.0)), 0.0)

    def _resolved_penalties(self, gate, expert, y, weight):
        """Add the pull towards the shares of the classes."""
        found = super()._resolved_penalties(gate, expert, y, weight)
        check_number(self.pull, "pull", 0.0)
        if not self.pull:
            return found
        shares = np.bincount(y.astype(int), weight, len(expert.classes)) / weight.sum()
        return (*found, Pull(self.pull, shares))
