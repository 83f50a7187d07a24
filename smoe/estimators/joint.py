"""The estimator that fits x and y together: a Gaussian law of x and a line for every expert."""

from dataclasses import KW_ONLY, dataclass, replace

import numpy as np
from sklearn.base import RegressorMixin

from smoe.diagnostics import diagnose
from smoe.estimators.base import MixtureEstimator, from_fit, name_of, of_fit
from smoe.experts import MultivariateGaussianExpert
from smoe.experts.joint_gaussian import JointGaussianExpert
from smoe.features import Roles
from smoe.fitted_joint import FittedJointMixture
from smoe.gates import SoftmaxGate
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams
from smoe.rows import ArraySource
from smoe.solvers import Solver
from smoe.starts import Start
from smoe.validation import Columns, check_n_jobs, check_number, may_count_rows

__all__ = ["JointGaussianMoERegressor"]

_NO_COLUMNS = np.zeros(0, dtype=int)


@dataclass(eq=False, repr=False)
class JointGaussianMoERegressor(RegressorMixin, MixtureEstimator):
    n_experts: int = 2
    _: KW_ONLY
    covariance: str = "full"
    solver: str | Solver = "auto"
    start: str | Start | MoEParams = "auto"
    n_init: int | str = "auto"
    max_iter: int | None = None
    tol: float = 1e-8
    variance_floor: float = 1e-8
    random_state: None | int | np.random.Generator | np.random.RandomState = None
    n_jobs: int | None = None
    verbose: int = 0
    time_limit: None | float = None
    warm_start: bool = False

    gate_, expert_ = map(from_fit, ("conditional.model.gate", "conditional.model.expert"))
    conditional_, proportions_, loglik_x_ = map(from_fit, ("conditional", "proportions", "loglik_x"))
    centres_, covariances_ = map(from_fit, ("params.expert.centre", "params.expert.of_x.covariance"))

    predict = of_fit(FittedJointMixture.predict)
    predict_given = of_fit(FittedJointMixture.predict_given)
    predict_quantiles = of_fit(FittedJointMixture.predict_quantiles)
    predict_interval = of_fit(FittedJointMixture.predict_interval)
    predict_distribution = of_fit(FittedJointMixture.predict_distribution)
    gate_proba = of_fit(FittedJointMixture.gate_proba)
    responsibilities = of_fit(FittedJointMixture.responsibilities)
    expert_predict = of_fit(FittedJointMixture.expert_predict)
    score_samples = of_fit(FittedJointMixture.score_samples)
    score_samples_joint = of_fit(FittedJointMixture.score_samples_joint)
    score_samples_x = of_fit(FittedJointMixture.score_samples_x)
    sample = of_fit(FittedJointMixture.sample)
    sample_joint = of_fit(FittedJointMixture.sample_joint)

    def diagnose(self, X, y, random_state=None, *, sample_weight=None):
        """Return residuals, PIT values and what they and the experts say about y given x; no value may be missing.

        See `smoe.diagnostics.diagnose`.
        """
        return diagnose(self.conditional_, X, y, random_state, sample_weight=sample_weight)

    def _fit(self, X, y, sample_weight):
        """Check everything and climb; return the working coordinates and the number of rows of positive weight."""
        response = name_of(y)
        check_number(self.variance_floor, "variance_floor", np.finfo(float).tiny, high=1e6)
        of_y = MultivariateGaussianExpert("full", self.variance_floor).bind(y)
        X, y, weight = self._validated(X, y, sample_weight, of_y, ensure_all_finite="allow-nan")
        columns = Columns.of(self)
        _refuse_unseen(X, columns.named())
        names = getattr(of_y, "responses", [response or "y"])
        expert = JointGaussianExpert(self.covariance, self.variance_floor, tuple(columns.named()), tuple(names))
        expert.check()
        model = MixtureOfExperts(SoftmaxGate(), expert)
        solver = self._resolved_solver(model.gate)
        solver.check()
        check_n_jobs(self.n_jobs)
        if self.time_limit is not None:
            check_number(self.time_limit, "time_limit", 0.0)
        start = self._resolved_start(model, 0, 0)
        known = {"columns": columns, "response": response, "solver": solver, "n_jobs": self.n_jobs}
        known |= {"counts_rows": may_count_rows(weight), "gate_columns": _NO_COLUMNS, "expert_columns": _NO_COLUMNS}
        known |= {"kind": FittedJointMixture, "flat": y.ndim == 1}
        scaling = self._climb(model, ArraySource(X, np.column_stack([y, X]), weight), Roles(), start, known)
        loglik_x = float(weight @ self.fitted_.score_samples_x(X))
        self.fitted_ = replace(self.fitted_, loglik_x=loglik_x)
        return scaling, len(X)

    def __sklearn_tags__(self):
        """Say that X may hold NaN, and y several columns."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.multi_output = True
        return tags


def _refuse_unseen(X, names):
    """Raise ValueError for a column without any value."""
    unseen = np.flatnonzero(np.isnan(X).all(axis=0))
    if len(unseen):
        which = ", ".join(repr(names[j]) for j in unseen)
        raise ValueError(f"X: no row has a value of {which}, so nothing can be learnt of it; leave it out.")
