"""The scikit-learn shell: validate, resolve names to objects, search, store."""

import warnings
from contextlib import contextmanager

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning

from smoe._kernels.posterior import entropies
from smoe.experts import resolve_expert
from smoe.features import choose_columns, choose_roles
from smoe.gates import GATES, Gate
from smoe.inference import covariance
from smoe.inferred import InferredMixture
from smoe.params import copies, flatten, permute
from smoe.penalties import PENALTIES, Penalty
from smoe.registry import resolve
from smoe.rows import ArraySource, Blocks, Scaling, standardise
from smoe.search import n_sharing, search
from smoe.solvers import SOLVERS, Solver
from smoe.starts import FromParams, Task, resolve_start
from smoe.threads import driving
from smoe.validation import (
    check_experts,
    check_generator,
    check_n_jobs,
    check_nested,
    check_number,
    check_rows,
    check_weights,
    may_count_rows,
)

__all__ = ["MoERegressor"]

_ALIKE = 1e-6  # difference per row of log-likelihoods in working and in the user's units that is rounding


class MoERegressor(InferredMixture, RegressorMixin, BaseEstimator):
    r"""Mixture of experts for one response, fitted by maximum likelihood.

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
    gate_features, expert_features : None, int, str, slice, callable or list, default=None
        Columns that the gate and the experts see: indices, names (data frames), a boolean mask, or a callable that
        gets X as passed to ``fit`` and returns any of these. None means all, an empty list means an intercept only.
    offset_feature, exposure_feature : None, int or str, default=None
        The column of X that is added to the experts' linear predictor, and the one that multiplies the mean under a log
        link (a time, an area: its logarithm is an offset). They are needed by ``predict`` too, and are no covariates
        unless they are chosen as such.
    solver : str or Solver, default="auto"
        A name from ``smoe.solvers.SOLVERS`` or an object such as ``smoe.solvers.EM(max_iter=50)``. "auto" runs EM into
        the basin and Newton to the top.
    start : str, Start or MoEParams, default="auto"
        Where fits begin: a name from ``smoe.starts.STARTS``, an object such as ``smoe.starts.KMeans()``, or parameters
        in the user's units, such as ``params_`` of another fit.
    n_init : int or "auto", default="auto"
        Number of starts that are screened. "auto" leaves it to the start: elemental starts ask for 20 per expert and
        at least 40.
    penalty : None, str, Penalty or list of these, default=None
        What is taken off the log-likelihood before it is maximised: names from ``smoe.penalties.PENALTIES`` or objects
        such as ``smoe.penalties.Ridge(gate=0.01)``. ``loglik_`` and the criteria are those of the likelihood alone.
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
        Print what became of the starts.
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
        ``n_iter``, ``status``.
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
    gate_, expert_, solver_, penalties_ : objects
        The resolved gate, family, solver and penalties.
    gate_columns_, expert_columns_ : ndarray of int
        The columns that gate and experts see.
    roles_ : Roles
        The columns that are an offset or an exposure.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only for data with column names.

    Notes
    -----
    Experts are ordered by the mean response of the rows that they are responsible for, smallest first; the order does
    not depend on the start. Constant columns and columns that are linear combinations of earlier ones, up to rounding,
    get coefficient zero, with a warning; nearly collinear ones are fitted in uncorrelated combinations of them. Weights
    count rows: weight 2 is the row twice. Computations use float64; X is neither changed nor, if it is a float64 array
    that is contiguous by rows or by columns, copied. Beyond X and y a fit needs a few dozen megabytes, however many
    rows there are.

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

    def __init__(
        self,
        n_experts=2,
        *,
        gate="softmax",
        expert="gaussian",
        gate_features=None,
        expert_features=None,
        offset_feature=None,
        exposure_feature=None,
        solver="auto",
        start="auto",
        n_init="auto",
        penalty=None,
        max_iter=None,
        tol=1e-8,
        variance_floor=None,
        random_state=None,
        n_jobs=None,
        verbose=0,
        warm_start=False,
    ):
        self.n_experts = n_experts
        self.gate = gate
        self.expert = expert
        self.gate_features = gate_features
        self.expert_features = expert_features
        self.offset_feature = offset_feature
        self.exposure_feature = exposure_feature
        self.solver = solver
        self.start = start
        self.n_init = n_init
        self.penalty = penalty
        self.max_iter = max_iter
        self.tol = tol
        self.variance_floor = variance_floor
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.warm_start = warm_start

    def set_params(self, **params):
        """Set parameters by name, those of objects as ``gate__top_k``.

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
            No such parameter, or one of an object where there is but a name.
        """
        check_nested(self, params)
        return super().set_params(**params)

    def fit(self, X, y, sample_weight=None):
        """Fit by maximum likelihood.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; weight 2 equals the row twice, weight 0 equals the row absent. Survey weights give
            the right estimates, and standard errors by ``covariance("sandwich", ..., weights="sampling")``.

        Returns
        -------
        self
            Fitted estimator.

        Raises
        ------
        ValueError, TypeError
            An argument that makes no sense; the message names it and says what to do.

        Warns
        -----
        ConvergenceWarning
            The fit is not a certified maximum; ``status_`` says why. Or columns are aliased, or ``params_`` cannot hold
            the fit in the units of the data, far from zero.
        UserWarning
            The weights cannot be numbers of rows: they differ, are not whole numbers, and add up to more than four
            times the number of rows, or to less than a quarter.
        """
        with _all_or_nothing(self):
            scaling, n_rows = self._fitted(X, y, sample_weight)
        self._warn(scaling, n_rows)
        return self

    def _fitted(self, X, y, sample_weight):
        """Check everything and climb; return the working coordinates and the number of rows of positive weight."""
        previous = getattr(self, "params_", None)
        original, self._response = X, _name_of(y)
        X, y, weight = self._validated(X, y, sample_weight)
        self._choose_features(original)
        start, n_init = self._resolve(previous)
        self.roles_.check(X, self._column_names())
        self.expert_.check_response(y)
        self.expert_ = self.expert_.bind(y)
        return self._climb(X, y, weight, start, n_init, n_sharing(len(X), self.n_jobs)), len(X)

    @driving
    def _climb(self, X, y, weight, start, n_init, n_threads):
        """Search and store; return the working coordinates."""
        model, columns = self._model, (self.gate_columns_, self.expert_columns_)
        source = ArraySource(X, y, weight)
        scaling = standardise(model, source, *columns, n_threads=n_threads)
        blocks = Blocks(model, source, scaling, self.roles_).shared_by(n_threads)
        rng = check_generator(self.random_state)
        task = Task(model, None, self.n_experts, scaling)
        fit, certificate, self.starts_ = search(
            task, blocks, start, n_init, self.solver_, self._tol, rng, self.n_jobs, self.verbose
        )
        self._store(blocks, fit, certificate)
        return scaling

    def _validated(self, X, y, sample_weight):
        """Return X, y and weights without rows of weight zero."""
        X, y = check_rows(self, X, y, ensure_min_samples=2)
        weight = check_weights(sample_weight, len(y))
        used = weight > 0
        if not used.all():
            X, y, weight = X[used], y[used], weight[used]
        check_experts(self.n_experts, len(y))
        self._counts_rows = may_count_rows(weight)
        return X, y, weight

    def _resolve(self, previous):
        """Make objects of names; return the start and the number of starts."""
        self.gate_ = self._resolved_gate()
        self.expert_ = resolve_expert(self.expert)
        if self.variance_floor is not None:
            if "variance_floor" not in self.expert_.get_params():
                raise ValueError(f"variance_floor={self.variance_floor!r}: {self.expert_.name} has no variance.")
            self.expert_.set_params(variance_floor=self.variance_floor)
        self.expert_.check()
        self.gate_.check(self.n_experts)
        self.penalties_ = self._resolved_penalties()
        self.solver_ = self._resolved_solver()
        self.solver_.check()
        check_n_jobs(self.n_jobs)
        start = resolve_start(self.start)
        if self.warm_start and previous is not None and self._fits(previous):
            start = FromParams(previous)
        if isinstance(self.n_init, str) and self.n_init == "auto":
            return start, start.n_proposals(self.n_experts)
        check_number(self.n_init, "n_init", 1, integer=True)
        return start, self.n_init

    def _resolved_gate(self):
        return resolve(self.gate, GATES, Gate, "gate")

    def _resolved_penalties(self):
        chosen = [] if self.penalty is None else self.penalty
        chosen = chosen if isinstance(chosen, list | tuple) else [chosen]
        penalties = tuple(resolve(choice, PENALTIES, Penalty, "penalty") for choice in chosen)
        for penalty in penalties:
            penalty.check(self.gate_)
        return penalties

    def _resolved_solver(self):
        solvers = {"auto": SOLVERS[self.gate_.default_solver], **SOLVERS}
        solver = resolve(self.solver, solvers, Solver, "solver")
        if isinstance(self.solver, str):
            limit = {} if self.max_iter is None else {"max_iter": self.max_iter}
            solver.set_params(tol=self.tol, **limit)
        return solver

    def _fits(self, params):
        """Whether parameters of an earlier fit have the shapes of this one."""
        wanted = self._model.init_params(self.n_experts, len(self.gate_columns_), len(self.expert_columns_))
        return type(params.gate) is type(wanted.gate) and all(
            np.shape(a) == np.shape(b) for x, y in zip(params, wanted, strict=True) for a, b in zip(x, y, strict=True)
        )

    def _choose_features(self, X):
        names, d = getattr(self, "feature_names_in_", None), self.n_features_in_
        self.roles_ = choose_roles(X, names, d, offset=self.offset_feature, exposure=self.exposure_feature)
        for side in ("gate", "expert"):
            argument = f"{side}_features"
            columns = choose_columns(getattr(self, argument), X, names, d, argument, self.roles_.columns)
            setattr(self, f"{side}_columns_", columns)

    @property
    def _tol(self):
        return getattr(self.solver_, "tol", self.tol)

    def _store(self, blocks, fit, certificate):
        model, scaling = self._model, blocks.scaling
        offset = scaling.loglik_offset(blocks.total_weight)
        order, entropy = _stable_order(model, blocks, fit.params)
        order, params, self.params_, loglik = self._reported(blocks, fit, order, offset)
        certificate = certificate.permuted(order)
        if not abs(loglik + offset - fit.loglik) <= _ALIKE * blocks.total_weight:
            certificate = certificate.lost(loglik, fit.loglik - offset)
            fit = fit._replace(loglik=loglik + offset)
        self.loglik_ = float(fit.loglik - offset)
        self.trace_ = fit.trace - offset
        self.score_norm_, self.n_iter_ = fit.score_norm, fit.n_iter
        self.converged_ = certificate.valid
        self.n_parameters_ = model.chart(params).n_free
        n_gate = model.gate_chart(params.gate).n_free
        share = model.gate.n_selected(self.n_experts) / self.n_experts
        self.n_active_parameters_ = n_gate + round(share * (self.n_parameters_ - n_gate))
        self.n_samples_ = blocks.total_weight
        self.aic_ = 2.0 * self.n_parameters_ - 2.0 * self.loglik_
        self.bic_ = self.n_parameters_ * np.log(self.n_samples_) - 2.0 * self.loglik_
        self.icl_ = self.bic_ + 2.0 * entropy
        self._covariance = covariance(model, blocks, params, certificate, self._entries())
        self._certificate = certificate.named(self._covariance.separation)
        self.status_ = "; ".join(filter(None, [self._certificate.status, model.remark]))

    def _reported(self, blocks, fit, order, offset):
        """Return the experts' order, the parameters in it (working and user's units), and their log-likelihood.

        Where rows lie on the boundaries of a gate that jumps, numbering the experts anew may change the density: then
        they stay in the order in which they were found.
        """
        model, scaling = self._model, blocks.scaling
        rows = blocks.seen_in(Scaling.identity(self.gate_columns_, self.expert_columns_))

        def reported(order):
            params = scaling.canonical(model, permute(fit.params, order))
            user = scaling.to_user(model, params)
            return order, params, user, rows.sum(model.loglik, user)

        found = reported(order)
        if model.gate.smooth or abs(found[-1] + offset - fit.loglik) <= _ALIKE:
            return found
        return min(found, reported(np.arange(len(order))), key=lambda one: abs(one[-1] + offset - fit.loglik))

    def _warn(self, scaling, n_rows):
        names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
        for side, view in (("gate", scaling.gate), ("expert", scaling.expert)):
            if not view.kept.all():
                columns = names[getattr(self, f"{side}_columns_")[~view.kept]].tolist()
                warnings.warn(
                    f"columns {columns} of X are constant or linear combinations of others: their {side} coefficients "
                    "are not identified and set to zero",
                    ConvergenceWarning,
                    stacklevel=3,
                )
        if not self._counts_rows:
            warnings.warn(
                f"sample_weight counts rows, and these weights, which add up to {self.n_samples_:.6g} on {n_rows} "
                "rows, cannot be counts: standard errors, AIC and BIC take them for such. For survey weights see "
                "covariance('sandwich', X, y, sample_weight=..., weights='sampling')",
                UserWarning,
                stacklevel=3,
            )
        if not self.converged_:
            advice = "what to do: see the guide's page on the certificate"
            message = f"not a certified maximum: {self._certificate.status} ({advice})"
            warnings.warn(message, ConvergenceWarning, stacklevel=3)


@contextmanager
def _all_or_nothing(estimator):
    """Leave an estimator as it was if its fit fails: what it has learnt of new data would not belong to its old fit."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def _name_of(y):
    """Name of a response that has one: a series, or a frame of one column."""
    columns = getattr(y, "columns", None)
    names = [getattr(y, "name", None)] if columns is None or callable(columns) else list(columns)[:1]
    return next((name for name in names if isinstance(name, str)), None)


def _stable_order(model, blocks, params):
    """Order the experts by the mean response of the rows they are responsible for; empty experts come last.

    Also return the entropy of the responsibilities.
    """

    def totals(block, p):
        resp = model.posterior(block, p)[1]
        weight = block.weight
        return np.array([resp @ weight, resp @ (weight * block.y), entropies(resp, weight)])

    weight, response, entropy = blocks.sum(totals, params)
    mean = np.where(weight > 0, response / np.where(weight > 0, weight, 1.0), np.inf)
    own = flatten(params.expert)[copies(params.expert)]
    return np.lexsort((*own.T, mean)), float(entropy.sum())
