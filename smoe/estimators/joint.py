"""The estimator that fits x and y together: a Gaussian law of x and a line for every expert."""

from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin

from smoe.diagnostics import Diagnosis, diagnose
from smoe.estimators.base import MixtureEstimator, from_fit, name_of, of_fit
from smoe.experts import JointGaussianExpert, MultivariateGaussianExpert
from smoe.features import Roles
from smoe.fitted import FittedMixture
from smoe.fitted_joint import FittedJointMixture
from smoe.gates import SoftmaxGate
from smoe.hints import Data, FilePath, Seed
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams
from smoe.rows import ArraySource
from smoe.solvers import Solver
from smoe.starts import Start
from smoe.validation import Columns, check_number, may_count_rows

__all__ = ["JointGaussianMoERegressor"]

_SMALLEST = 1e-12  # floor with which covariance matrices of x can still be inverted
_NO_COLUMNS = np.zeros(0, dtype=int)


@dataclass(eq=False, repr=False)
class JointGaussianMoERegressor(RegressorMixin, MixtureEstimator):
    r"""Mixture of Gaussian-gated linear experts, fitted to x and y together by maximum likelihood.

    .. math:: p(x, y) = \sum_{i=1}^{K} \alpha_i\, N_d(x;\; c_i, \Gamma_i)\, N_q(y;\; A_i x + b_i,\; \Sigma_i)

    Every expert has a share, a place in x and a linear regression. Given x this is a mixture of experts with a Gaussian
    gate, by which it predicts,

    .. math:: p(y|x) = \sum_i \pi_i(x)\, N_q(y;\; A_i x + b_i,\; \Sigma_i), \qquad
              \pi_i(x) \propto \alpha_i\, N_d(x;\; c_i, \Gamma_i)

    With "full" covariances it is a mixture of normal laws of (x, y), written as regressions. The law of x that it
    learns fills in what is missing: X may hold NaN in ``fit`` and in predictions, and is then integrated out. That is
    right where values are missing at random: whether one is missing may depend on what is observed, not on the value.

    Also known as cluster-weighted model, or as Gaussian locally-linear mapping. ``MoERegressor(gate="gaussian")`` fits
    the same p(y|x) without a law of x: take that one where x is not a mixture of normal laws, such as columns of few
    values.

    Parameters
    ----------
    n_experts : int, default=2
        Number of experts.
    covariance : str, default="full"
        Model of the covariance matrices of x: "full", "diag" or "spherical", each expert's own, or "tied", full and the
        same for all; or three letters as in `smoe.experts.MultivariateGaussianExpert`. Those of y given x are each
        expert's own.
    solver : str or Solver, default="auto"
        A name from ``smoe.solvers.SOLVERS`` or an object. "auto" runs EM into the basin and Newton to the top.
    start : str, Start or MoEParams, default="auto"
        Where fits begin: a name from ``smoe.starts.STARTS``, an object, or ``params_`` of another joint fit.
    n_init : int or "auto", default="auto"
        Number of starts that are screened; "auto" is 20 per expert and at least 40, or one for one expert.
    max_iter : int or None, default=None
        Largest number of iterations of a solver given by name; None leaves it to the solver.
    tol : float, default=1e-8
        Largest score norm per row, in standardised units, of a converged fit, for a solver given by name.
    variance_floor : float, default=1e-8
        Smallest variance of an expert, in x and in y, as a share of the variance of the column, at least 1e-12. The
        likelihood is unbounded without one: a law may shrink onto few rows, or onto one value of a column. A fit that
        ends on the floor is not converged and names expert and column.
    random_state : int, Generator, RandomState or None, default=None
        Draws the starts.
    n_jobs : int or None, default=None
        Number of threads. Results do not depend on it.
    verbose : int, default=0
        Print a line per round of the search, while it works.
    time_limit : float or None, default=None
        Seconds after which the search ends.
    checkpoint : path or None, default=None
        A file in which the fit keeps what it has found, every few seconds and when it is interrupted: ``fit`` with the
        same settings and rows goes on from there. It is removed when the fit is done.
    warm_start : bool, default=False
        Begin from the parameters of the last fit where their shapes agree.

    Attributes
    ----------
    proportions_ : ndarray of shape (n_experts,)
        Shares of the experts.
    centres_ : ndarray of shape (n_experts, n_features)
        Means of x.
    covariances_ : ndarray of shape (n_experts, n_features, n_features)
        Covariance matrices of x (maximum likelihood, no degrees of freedom taken off).
    expert_coef_, expert_intercept_, expert_variance_ : ndarray
        The regressions of y on all of x, as those of `MoERegressor`; ``expert_covariance_`` of several responses.
    gate_coef_, gate_intercept_, gate_curvature_ : ndarray
        The gate given all of x, see `smoe.gates.GaussianGate`.
    loglik_ : float
        Log-likelihood of x and y together: the natural logarithm of the density of what is observed, total over rows,
        times the weights. It does not compare with that of y given x.
    loglik_x_ : float
        Log-likelihood of x alone under the fit; the difference is that of y given x.
    aic_, bic_, icl_ : float
        Criteria of the joint fit.
    n_parameters_ : int
        Free parameters of the joint law, the degrees of freedom of AIC and BIC.
    converged_, status_ : bool, str
        Whether the fit is a certified maximum of the joint likelihood, and why not.
    params_ : MoEParams
        The joint law: shares as a gate without features, and `smoe.experts.JointGaussianParams`.
    standard_errors_, covariance_ : MoEParams, ndarray or None
        From the observed information of the joint law, whose parameters are all identified; None without certificate.
    conditional_ : FittedMixture
        The law of y given all of x. ``MoERegressor(gate=GaussianGate(...), start=conditional_.params)`` goes on from it
        to the maximum of the likelihood of y given x.
    fitted_ : smoe.fitted_joint.FittedJointMixture
        All that the fit leaves, as one value.
    starts_, n_iter_, trace_, score_norm_ :
        As of `MoERegressor`.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only for data with column names.

    Notes
    -----
    Not identified: the numbering of the experts only, which are ordered by the mean response of their rows. What
    estimates p(y|x) well is not guaranteed by a joint fit: it is consistent for p(y|x) if x is the mixture that it is
    said to be, and then has smaller errors than the conditional fit; where x is not, experts are spent on the shape of
    the cloud of x. A row without any x contributes log p(y); a missing y is refused, as such a row tells of x only.

    References
    ----------
    Xu, L., Jordan, M. I. and Hinton, G. E. (1995). An alternative model for mixtures of experts. Advances in Neural
    Information Processing Systems 7, 633-640.

    Ghahramani, Z. and Jordan, M. I. (1994). Supervised learning from incomplete data via an EM approach. Advances in
    Neural Information Processing Systems 6, 120-127.

    Deleforge, A., Forbes, F. and Horaud, R. (2015). High-dimensional regression with Gaussian mixtures and
    partially-latent response variables. Statistics and Computing 25, 893-911.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe import JointGaussianMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = JointGaussianMoERegressor(2, random_state=0).fit(X, y)
    >>> model.converged_, round(model.loglik_, 3), model.centres_.round(2).ravel()
    (True, -1130.264, array([54.48, 79.97]))
    >>> model.predict([[80.0], [np.nan]]).round(2)  # nothing known: the mean of y
    array([4.29, 3.49])
    """

    n_experts: int = 2
    _: KW_ONLY
    covariance: str = "full"  # type: ignore[assignment]  # takes the name of a method
    solver: str | Solver = "auto"
    start: str | Start | MoEParams = "auto"
    n_init: int | str = "auto"
    max_iter: int | None = None
    tol: float = 1e-8
    variance_floor: float = 1e-8
    random_state: Seed = None
    n_jobs: int | None = None
    verbose: int = 0
    time_limit: None | float = None
    checkpoint: None | FilePath = None
    warm_start: bool = False

    gate_, expert_ = map(from_fit, ("conditional.model.gate", "conditional.model.expert"))
    conditional_: ClassVar[FittedMixture] = from_fit("conditional")
    proportions_: ClassVar[np.ndarray] = from_fit("proportions")
    loglik_x_: ClassVar[float] = from_fit("loglik_x")
    centres_: ClassVar[np.ndarray] = from_fit("params.expert.centre")
    covariances_: ClassVar[np.ndarray] = from_fit("params.expert.of_x.covariance")

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

    def diagnose(  # type: ignore[override]  # a formula does not say what y is
        self, X: Data, y: ArrayLike, random_state: Seed = None, *, sample_weight: ArrayLike | None = None
    ) -> Diagnosis:
        """Return residuals, PIT values and what they and the experts say about y given x; no value may be missing.

        See `smoe.diagnostics.diagnose`.
        """
        return diagnose(self.conditional_, X, y, random_state, sample_weight=sample_weight)

    def _fit(self, X, y, sample_weight):
        """Check everything and climb; return the working coordinates and the number of rows of positive weight."""
        response = name_of(y)
        check_number(self.variance_floor, "variance_floor", _SMALLEST, high=1e6)
        of_y = MultivariateGaussianExpert("full", self.variance_floor).bind(y)
        X, y, weight = self._validated(X, y, sample_weight, of_y, missing=True)
        columns = Columns.of(self)
        _refuse_unseen(X, columns.named())
        names = getattr(of_y, "responses", [response or "y"])
        names = tuple(columns.named()), tuple(names)
        expert = JointGaussianExpert(self.covariance, self.variance_floor, *names, flat=y.ndim == 1)
        expert.check()
        model = MixtureOfExperts(SoftmaxGate(), expert)
        solver = self._checked_solver(model)
        start = self._resolved_start(model, 0, 0)
        known = {"columns": columns, "response": response, "solver": solver, "n_jobs": self.n_jobs}
        known |= {"counts_rows": may_count_rows(weight), "gate_columns": _NO_COLUMNS, "expert_columns": _NO_COLUMNS}
        known |= {"kind": FittedJointMixture}
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
