"""The estimator for responses that are numbers, one or several."""

from dataclasses import KW_ONLY, dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if

from smoe import criteria
from smoe.constraints import Constraints
from smoe.estimators.base import MixtureEstimator, all_or_nothing, name_of, of_fit
from smoe.estimators.online import FirstRows, first_rows, reported
from smoe.experts import EXPERTS, Expert
from smoe.families import Family
from smoe.fitted import FittedMixture
from smoe.gates import Gate
from smoe.hints import ColumnSpec, Data, FilePath, Seed
from smoe.inference import estimates
from smoe.params import MoEParams
from smoe.penalties import Penalty
from smoe.rows import Source
from smoe.solvers import Solver
from smoe.solvers.online import refuse_offline
from smoe.starts import Start
from smoe.validation import check_rows, check_weights, fit_of, refuse_beside_source

__all__ = ["MoERegressor"]


def _has_online_step(self):
    """Raise AttributeError where ``partial_fit`` is not for the settings of an estimator."""
    if self.group_feature is not None:
        raise AttributeError("partial_fit: rows of one group may come in several batches; use fit for group_feature.")
    try:
        refuse_offline(self._resolved_model(self._resolved_expert(None), None, None))
    except (TypeError, ValueError) as error:
        raise AttributeError(str(error)) from None
    return True


@dataclass(eq=False, repr=False)
class MoERegressor(RegressorMixin, MixtureEstimator):
    r"""Mixture of experts for one response, or several at once, fitted by maximum likelihood.

    .. math:: p(y|x) = \sum_{k=1}^{K} \pi_k(x)\, f_k(y|x)

    with the gate :math:`\pi` and the experts :math:`f`. Many starts are screened on a sample of the rows, the best few
    are finished on all of them, and the winner is certified: score norm, curvature, collapse, emptiness, separation.

    Parameters
    ----------
    n_experts : int, default=2
        Number of experts.
    gate : str or Gate, default="softmax"
        The gate: a name from ``smoe.gates.GATES`` or an object such as ``smoe.gates.SoftmaxGate()``, whose parameters
        a grid search can set as ``gate__...`` (a name has no parameters to set).
    expert : str or Expert, default="gaussian"
        The family of experts: a name from ``smoe.experts.EXPERTS``, an object, or a `smoe.families.Family` such as
        ``smoe.families.Poisson()``.
    formula : str or None, default=None
        ``"y ~ experts | gate"`` on the columns of a data frame, which ``fit`` and ``predict`` then take in place of X:
        see the guide's page on formulas. It says what ``gate_features`` to ``event_feature`` say otherwise; without
        ``|`` gate and experts see the same. Needs formulaic. It is run as Python code: take none from strangers.
    gate_features, expert_features : None, int, str, slice, callable or list, default=None
        Columns that the gate and the experts see: indices, names (data frames), a boolean mask, or a callable that
        gets X as passed to ``fit`` and returns any of these. None means all, an empty list means an intercept only.
    offset_feature, exposure_feature : None, int or str, default=None
        The column of X that is added to the experts' linear predictor, and the one that multiplies the mean under a log
        link (a time, an area: its logarithm is an offset). They are needed by ``predict`` too, and are no covariates
        unless they are chosen as such.
    trials_feature : None, int or str, default=None
        The column of X that holds the numbers of trials of which y counts the successes, for binomial experts; needed
        by ``predict`` too, and no covariate unless it is chosen as such.
    event_feature : None, int or str, default=None
        The column of X that says whether y is the time of an event (1) or right-censored (0), the time up to which the
        event had not come; for "weibull", "log_logistic", "log_normal" and `smoe.families.TransformedGaussian`. Without
        one nothing is censored. Predictions are of the time itself: they ask for the column and not for its values.
    group_feature : None, int or str, default=None
        The column of X that says which rows belong together (all of a person, a firm): numbers or, in a data frame,
        text. All rows of a group come from one expert, :math:`p(y_g|w_g) = \sum_k \pi_k(w_g) \prod_{t \in g}
        f_k(y_t|x_t)`; what the gate sees must be the same in all of them. What counts rows then counts groups: weights,
        BIC, standard errors. The column is no covariate. Predictions are for rows of new groups. See the guide's page
        on panels.
    solver : str or Solver, default="auto"
        A name from ``smoe.solvers.SOLVERS`` or an object such as ``smoe.solvers.EM(max_iter=50)``. "auto" runs EM into
        the basin and Newton to the top.
    start : str, Start or MoEParams, default="auto"
        Where fits begin: a name from ``smoe.starts.STARTS``, an object such as ``smoe.starts.KMeans()``, or parameters
        in the user's units, such as ``params_`` of another fit.
    n_init : int or "auto", default="auto"
        Number of starts that are screened, and the unit of effort of what follows: at most eight swaps of experts per
        start. "auto" leaves it to the start: elemental starts ask for 20 per expert and at least 40.
    penalty : None, str, Penalty or list of these, default=None
        What is taken off the log-likelihood before it is maximised: names from ``smoe.penalties.PENALTIES`` or objects
        such as ``smoe.penalties.Ridge(gate=0.01)``. ``loglik_`` and the criteria are those of the likelihood alone.
    constraints : None or Constraints, default=None
        Slopes that all experts share, and slopes that are known, such as
        ``smoe.constraints.Constraints(shared=["age"], fixed={"log_time": 1.0})``.
    max_iter : int or None, default=None
        Largest number of iterations of a solver given by name; None leaves it to the solver.
    tol : float, default=1e-8
        Largest score norm per row, in standardised units, of a converged fit, for a solver given by name.
    variance_floor : float or None, default=None
        Smallest variance of an expert as a share of the variance of y; None leaves it to the family (1e-8). The
        likelihood is unbounded without one. A fit that ends on the floor is not converged and says so.
    random_state : int, Generator, RandomState or None, default=None
        Draws the starts. They do not depend on the order of the rows, nor on whether a row is repeated or weighted.
    n_jobs : int or None, default=None
        Number of threads: they take one start each, or, from 50,000 rows on, share the rows of one fit at a time.
        Results do not depend on it.
    verbose : int, default=0
        Print a line per round of the search, while it works.
    time_limit : float or None, default=None
        Seconds after which no further start is tried and no further swap is made: the best fit so far is finished and
        returned, and ``status_`` says so. What is under way is not interrupted.
    checkpoint : path or None, default=None
        A file in which the fit keeps what it has found, every few seconds and when it is interrupted: ``fit`` with the
        same settings and rows goes on from there. It is removed when the fit is done.
    warm_start : bool, default=False
        Begin from the parameters of the last fit where their shapes agree.

    Attributes
    ----------
    gate_coef_ : ndarray of shape (n_experts, n_gate_features)
        Gate slopes per unit of X; the last expert's row is zero.
    gate_intercept_ : ndarray of shape (n_experts,)
        Gate intercepts; the last is zero.
    expert_coef_ : ndarray of shape (n_experts, n_expert_features)
        Slopes of the experts.
    expert_intercept_ : ndarray of shape (n_experts,)
        Intercepts of the experts.
    expert_variance_ : ndarray of shape (n_experts,)
        Maximum-likelihood variances of the experts (not standard deviations).
    expert_covariance_ : ndarray of shape (n_experts, q, q)
        Covariance matrices of the responses given x, of multivariate Gaussian experts; their slopes are
        (n_experts, q, n_expert_features), see `smoe.experts.MultivariateGaussianParams`.
    params_ : MoEParams
        All of these as one value, in the user's units.
    loglik_ : float
        Log-likelihood of ``params_``: the natural logarithm of the density, total over rows, times the weights.
    score_norm_ : float
        Largest absolute entry of the score per row, in standardised units.
    converged_ : bool
        Whether the fit is a certified maximum.
    status_ : str
        "converged", or the reasons why it is not certified.
    n_iter_ : int
        Iterations of the winning start on all rows.
    trace_ : ndarray of shape (n_iterations + 1,)
        Log-likelihood before the first and after each of these iterations.
    starts_ : list of StartRecord
        What became of each start: ``start``, ``screened_loglik`` (extrapolated from the sample), ``loglik``,
        ``n_iter``, ``status``. Then the same of fits that swaps of experts led to and that were finished.
    n_parameters_ : int
        Free parameters, the degrees of freedom of AIC and BIC.
    n_active_parameters_ : int
        Those that take part in one prediction: the gate's and the selected experts'.
    aic_, bic_, icl_ : float
        Criteria of the fit on its own data: -2 l + 2 df, -2 l + df log n, and BIC plus twice the entropy of the
        responsibilities. Smaller is better. For other data there are the methods ``aic``, ``bic`` and ``icl``.
    standard_errors_ : MoEParams or None
        Standard errors from the observed information, NaN where an entry is pinned or not estimated at the root-n
        rate; None for a fit without certificate.
    covariance_ : ndarray of shape (n_entries, n_entries) or None
        The covariance that they come from, entries in the order of ``summary().to_frame()``.
    fitted_ : FittedMixture
        All that the fit leaves, as one value: it predicts like the estimator, and functions of ``smoe.inference``,
        ``smoe.diagnostics`` and ``smoe.plots`` take the one or the other.
    gate_, expert_, solver_, penalties_ : objects
        The resolved gate, family, solver and penalties.
    gate_columns_, expert_columns_ : ndarray of int
        The columns that gate and experts see.
    roles_ : Roles
        The columns that are an offset, an exposure, numbers of trials, events or groups.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only for data with column names.

    Notes
    -----
    Experts are ordered by the mean response of the rows that they are responsible for, smallest first; the order does
    not depend on the start. Constant columns and columns that are linear combinations of earlier ones, up to rounding,
    get coefficient zero, with a warning; nearly collinear ones are fitted in uncorrelated combinations of them. Weights
    count rows: weight 2 is the row twice. Computations use float64; X is neither changed nor, if it is an array or a
    memory map of float64 or float32, copied. Beyond X and y a fit needs a few dozen megabytes, however many rows there
    are. Rows in files and on clusters: `smoe.rows.ParquetRows`, dask collections.

    References
    ----------
    Jacobs, R. A., Jordan, M. I., Nowlan, S. J. and Hinton, G. E. (1991). Adaptive mixtures of local experts. Neural
    Computation 3, 79-87.

    Examples
    --------
    >>> from smoe import MoERegressor
    >>> from smoe.datasets import load_faithful
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    >>> model.converged_, round(model.loglik_, 4)
    (True, -96.0516)
    >>> model.gate_proba(X[:2]).round(3)
    array([[0., 1.],
           [1., 0.]])
    """

    n_experts: int = 2
    _: KW_ONLY
    gate: str | Gate = "softmax"
    expert: str | Expert | Family = "gaussian"
    formula: str | None = None
    gate_features: ColumnSpec = None
    expert_features: ColumnSpec = None
    offset_feature: None | int | str = None
    exposure_feature: None | int | str = None
    trials_feature: None | int | str = None
    event_feature: None | int | str = None
    group_feature: None | int | str = None
    solver: str | Solver = "auto"
    start: str | Start | MoEParams = "auto"
    n_init: int | str = "auto"
    penalty: None | str | Penalty | list | tuple = None
    constraints: None | Constraints = None
    max_iter: int | None = None
    tol: float = 1e-8
    variance_floor: float | None = None
    random_state: Seed = None
    n_jobs: int | None = None
    verbose: int = 0
    time_limit: None | float = None
    checkpoint: None | FilePath = None
    warm_start: bool = False

    predict = of_fit(FittedMixture.predict)
    predict_to = of_fit(FittedMixture.predict_to)
    predict_given = of_fit(FittedMixture.predict_given)
    predict_quantiles = of_fit(FittedMixture.predict_quantiles)
    predict_interval = of_fit(FittedMixture.predict_interval)
    expert_predict = of_fit(FittedMixture.expert_predict)
    mean_interval = of_fit(estimates.mean_interval)

    @available_if(_has_online_step)
    def partial_fit(self, X: Data, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Go on with more rows, which are not kept: online EM.

        The first 2,000 rows are kept and fitted as a whole, as ``fit`` does. From then on there is one step for every
        thousand rows, of length (t + 2) ** -0.6 the t-th, and ``params_`` are an average along the way (see
        ``smoe.solvers.online``). Rows that are less than a thousand wait. Coordinates are those of the first rows.

        Rows must come in random order: of data that are sorted, online EM forgets what came first.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, q)
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, which count rows. A call whose weights are all zero changes nothing.

        Returns
        -------
        self
            There is no certificate, ``status_`` says so, and there are no standard errors: for both pass ``params_`` as
            the ``start`` of a ``fit``. ``loglik_`` adds up the log density of each batch before its step, of the first
            rows after their fit; ``icl_`` is NaN. The state is in ``online_``; ``fit`` forgets it.

        Raises
        ------
        AttributeError
            Experts without an exact M-step, penalties, gates that are not smooth: ``partial_fit`` is not there.
        ValueError
            Columns that are constant, or linear combinations of others, in the first rows.

        References
        ----------
        Cappe, O. and Moulines, E. (2009). On-line expectation-maximization algorithm for latent data models. Journal of
        the Royal Statistical Society B 71, 593-613.

        Examples
        --------
        >>> from smoe import MoERegressor
        >>> from smoe.datasets import make_moe
        >>> moe = make_moe(20_000, random_state=0)
        >>> online = MoERegressor(2, random_state=0)
        >>> for low in range(0, 20_000, 500):
        ...     online = online.partial_fit(moe.data[low : low + 500], moe.target[low : low + 500])
        >>> fit = MoERegressor(2, start=online.params_).fit(moe.data, moe.target)
        >>> online.n_samples_, fit.converged_, round((fit.loglik_ - online.loglik(moe.data, moe.target)) / 20_000, 2)
        (20000.0, True, 0.0)
        """
        with all_or_nothing(self):
            self._advance(X, y, sample_weight)
        return self

    def _advance(self, X, y, sample_weight):
        """Take more rows into the state, and report it."""
        before, expert, response = vars(self).get("online_"), self._resolved_expert(y), name_of(y)
        X, y = check_rows(self, X, y, expert.read, reset=before is None, ensure_min_samples=1)
        if isinstance(sample_weight, np.ndarray) and len(sample_weight) and not np.any(sample_weight):
            return
        used = (weight := np.array(check_weights(sample_weight, len(y)))) > 0
        X, y, weight = X[used], y[used], weight[used]
        state = FirstRows(X, y, weight) if before is None else before.taken(X, y, weight)
        if isinstance(state, FirstRows) and state.due(self.n_experts):
            scaling, _ = self._fit_arrays(state.X, state.y, state.weight, expert, state.X, response)
            state = first_rows(state, self.fitted_, scaling)
        self.online_ = state
        if "fitted_" in vars(self) and getattr(before, "n_steps", -1) != getattr(state, "n_steps", 0):
            self.fitted_ = reported(self.fitted_, state)

    def score(self, X: Data, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the share of the variance of y that the means explain, R squared; of several responses the mean of it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or smoe.rows.Source
            A source brings one response and weights with it.
        y : array-like of shape (n_samples,) or (n_samples, q)
        sample_weight : array-like of shape (n_samples,), default=None
        """
        if not isinstance(X, Source):
            return super().score(X, y, sample_weight)
        refuse_beside_source(y, sample_weight)
        return criteria.r2(fit_of(self), X)

    def _resolved_expert(self, y):
        expert = super()._resolved_expert(y)
        if self.variance_floor is None:
            return expert
        if "variance_floor" not in expert.get_params():
            raise ValueError(f"variance_floor={self.variance_floor!r}: {expert.name} has no variance.")
        expert.set_params(variance_floor=self.variance_floor)
        expert.check()
        return expert

    def __sklearn_tags__(self):
        """Say that responses must be positive, or may be several, where the family of the experts says so."""
        tags = super().__sklearn_tags__()
        named = isinstance(self.expert, str) and self.expert in EXPERTS
        support = getattr(EXPERTS[self.expert]() if named else self.expert, "support", None)
        tags.target_tags.positive_only = getattr(support, "low", -1.0) >= 0
        tags.target_tags.multi_output = getattr(support, "kind", "real") == "vectors"
        return tags
