"""What a fit says about its parameters, as functions of a `smoe.fitted.FittedMixture`: the methods of estimators."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from smoe.hints import Data, Names
from smoe.inference import delta, wald
from smoe.inference.bootstrap_result import BootstrapResult
from smoe.inference.covariance import KINDS, WEIGHTS, Covariance
from smoe.inference.covariance import covariance as covariance_from_rows
from smoe.inference.delta import DeltaMethod
from smoe.inference.summary import Summary, coefficient_table
from smoe.inference.wald import WaldTest
from smoe.params import MoEParams, flatten, unflatten
from smoe.rows import Source
from smoe.search import agreement
from smoe.texts import printable
from smoe.validation import check_level

__all__ = ["chosen_covariance", "conf_int", "covariance", "delta_method", "mean_interval", "summary", "wald_test"]

_NO_COUNTS = "the weights cannot be numbers of rows, for which AIC, BIC and observed standard errors take them"
_ENOUGH_GROUPS = 40
_LARGEST_SQUARED = 1e100  # total weight whose square, times that of a score, is a float64
_NOT_THE_FIT = 1e-5  # score norm per row, in units of the fit, on rows that are not those of the fit


def covariance(
    fit: Any,
    kind: str = "observed",
    X: Data = None,
    y: ArrayLike | None = None,
    *,
    groups: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    weights: str = "frequency",
    correction: bool | str = False,
) -> Covariance:
    r"""Return the covariance of the parameters: gate, experts and variances together.

    .. math:: H^{-1}, \qquad H^{-1} \Big(\sum w\, s s^\top\Big) H^{-1}, \qquad
              H^{-1} \Big(\sum_g s_g s_g^\top\Big) H^{-1}

    with H the exact observed information, s the score of a row and s_g the sum of w s over the rows of a group.
    The first supposes that the model is right; the sandwich holds also where the distribution of y is not what the
    experts suppose (the parameters are then those that are nearest in Kullback-Leibler divergence); the clustered
    one also where rows of a group depend on each other, and needs many groups, some 40 or more. With sampling
    weights the sandwich has :math:`w^2\, s s^\top`, so that the scale of the weights does not matter.

    Parameters
    ----------
    kind : {"observed", "sandwich", "cluster"}, default="observed"
    X : array-like of shape (n_samples, n_features), default=None
    y : array-like of shape (n_samples,), default=None
        The rows of the fit, which estimators do not keep. "sandwich" and "cluster" need them; "observed" without
        them is what the fit has found.
    groups : array-like of shape (n_samples,), default=None
        Labels of the groups, for "cluster".
    sample_weight : array-like of shape (n_samples,), default=None
        The weights of the fit.
    weights : {"frequency", "sampling"}, default="frequency"
        What they are. Frequencies count rows: weight 2 is the row twice, two independent draws. Sampling weights
        (survey weights, inverse probabilities) say for how many units a single draw stands; "observed" has no
        answer for them, "cluster" the same.
    correction : bool or "df", default=False
        For small samples. True multiplies by G / (G - 1), G the number of groups, or of rows for "sandwich", as
        Stata's ``vce(cluster)`` and ``vce(robust)`` do after maximum likelihood. "df" multiplies by (n - 1) / (n - df)
        on top, df the number of free parameters: n / (n - df) for "sandwich", and for "cluster" what Stata's
        ``regress`` and statsmodels do.

    Returns
    -------
    Covariance
        ``matrix``, ``names``, ``standard_errors`` (shaped like ``params_``), ``reason``.

    Raises
    ------
    ValueError
        An unknown kind; X or y missing; groups missing, of the wrong length, or only one of them; sampling weights
        or a correction for "observed".

    Warns
    -----
    UserWarning
        Fewer than 40 groups, or fewer than parameters: the standard errors are too small.
    ConvergenceWarning
        The fit is not certified, or the score does not vanish on these rows: they are not those of the fit.

    Notes
    -----
    Standard errors are NaN for entries that the gate pins, for aliased columns, for directions that the data do not
    determine (``reason`` names who takes part), and for top-K gates, whose boundaries converge at the rate 1/n.

    References
    ----------
    White, H. (1982). Maximum likelihood estimation of misspecified models. Econometrica 50, 1-25.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_engel
    >>> X, y = load_engel(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> robust = model.covariance("sandwich", X, y)
    >>> robust.standard_errors.expert.coef.round(3)
    array([[0.037],
           [0.121]])
    """
    if isinstance(X, Source) and groups is None and kind == "cluster":
        groups = X.labels()
    _check_kind(kind, X, y, groups)
    _check_weights_kind(kind, weights, correction)
    _warn_uncertified(fit)
    if X is None:
        return fit.covariance
    blocks, codes = fit.working_blocks(X, y, sample_weight, groups)
    if (kind == "cluster" or weights == "sampling") and blocks.total_weight > _LARGEST_SQUARED:
        raise ValueError(
            f"sample_weight must add up to less than {_LARGEST_SQUARED:.0e}, whose squares a clustered covariance "
            f"needs, got {blocks.total_weight:.3g}."
        )
    model, named = fit.model, fit.covariance.entries
    params = blocks.scaling.from_units(model, fit.params)
    if fit.converged:
        _warn_of_other_rows(model, blocks, params)
    if codes is not None:
        codes = np.unique(codes, return_inverse=True)[1]  # groups whose rows all have weight zero are none
        _warn_of_few_groups(int(codes.max()) + 1, fit.n_parameters)
    found = covariance_from_rows(model, blocks, params, fit.certificate, named, kind, codes, weights, correction)
    return replace(found, params=fit.params)  # without the rounding of the way there and back


def delta_method(fit: Any, function: Callable, *, covariance: Covariance | None = None) -> DeltaMethod:
    r"""Return the standard error of a function of the parameters.

    .. math:: \sqrt{\nabla g(\hat\theta)^\top \, V \, \nabla g(\hat\theta)}

    with V the covariance of the parameters and the gradient by five-point differences.

    Parameters
    ----------
    function : callable
        Takes parameters in the user's units, shaped like ``params_``, and returns a number or an array. It must be
        smooth at the estimates.
    covariance : Covariance or None, default=None
        What ``covariance(...)`` has returned; None for that of the fit.

    Returns
    -------
    DeltaMethod
        ``estimate``, ``std_err``, ``reason`` and ``interval(coverage)``. Standard errors are NaN where the function
        depends on a direction that is not estimated.

    Raises
    ------
    ValueError
        The function is not finite or not smooth at the estimates.

    Warns
    -----
    ConvergenceWarning
        The fit is not certified.

    Examples
    --------
    The income at which both lines of Engel's data meet:

    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_engel
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(*load_engel(return_X_y=True))
    >>> def crossing(params):
    ...     intercept, slope = params.expert.intercept, params.expert.coef[:, 0]
    ...     return (intercept[0] - intercept[1]) / (slope[1] - slope[0])
    >>> found = model.delta_method(crossing)
    >>> round(found.estimate, 1), round(found.std_err, 1)
    (1295.9, 242.1)
    """
    return delta.delta_method(function, chosen_covariance(fit, covariance))


def mean_interval(fit: Any, X: Data, coverage: float = 0.95, *, covariance: Covariance | None = None) -> np.ndarray:
    r"""Return the confidence interval of the mean of y given x.

    .. math:: \hat\mu(x) \mp z \sqrt{\nabla\mu(x)^\top \, V \, \nabla\mu(x)}, \qquad
              \mu(x) = \sum_k \pi_k(x) \, E_k(y|x)

    It says how surely the mean is known, row by row, and shrinks with the data; ``predict_interval`` says where y
    falls. For a top-K gate the experts selected are taken as known: the interval means little within some 1/n of
    a boundary.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    coverage : float, default=0.95
    covariance : Covariance or None, default=None
        What ``covariance(...)`` has returned, a robust one for example; None for that of the fit.

    Returns
    -------
    ndarray of shape (n_samples, 2)
        NaN where the mean depends on a direction that is not estimated.

    Raises
    ------
    ValueError
        The mean is infinite, as that of log-logistic experts whose scale is one or more.

    Warns
    -----
    ConvergenceWarning
        The fit is not certified.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_engel
    >>> X, y = load_engel(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> model.mean_interval([[1000.0]]).round(1)
    array([[636.8, 676.2]])
    """
    blocks = fit.blocks(X)
    delta.normal_quantile(coverage)
    return delta.mean_interval(fit.model, blocks, fit.params, chosen_covariance(fit, covariance), coverage)


def wald_test(fit: Any, R: Any, r: ArrayLike = 0.0, *, covariance: Covariance | None = None) -> WaldTest:
    r"""Test linear restrictions on the parameters.

    .. math:: W = (R\hat\theta - r)^\top (R V R^\top)^{-1} (R\hat\theta - r) \sim \chi^2_q

    Parameters
    ----------
    R : array of shape (q, n_entries) or (n_entries,), str, dict, or list of str or dict
        A matrix on the parameters in the order of ``summary().to_frame()``; or names of parameters (each equals r);
        or linear combinations {name: factor}. ``smoe.inference.equal_coefficients`` and ``no_effect`` build those
        for equal slopes of two experts and for a covariate without effect.
    r : float or array of shape (q,), default=0
    covariance : Covariance or None, default=None
        What ``covariance(...)`` has returned; None for that of the fit.

    Returns
    -------
    WaldTest
        ``statistic``, ``df``, ``p_value``, ``reason``.

    Raises
    ------
    ValueError
        R of the wrong shape, unknown names, restrictions that follow from each other or concern pinned parameters
        only, r of the wrong shape.

    Warns
    -----
    ConvergenceWarning
        The fit is not certified, or the restrictions concern what is not estimated; the test is then NaN.

    Notes
    -----
    The number of experts cannot be tested in this way: with equal experts the gate is not identified.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_engel
    >>> from smoe.inference import equal_coefficients
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(*load_engel(return_X_y=True))
    >>> test = model.wald_test(equal_coefficients(model.covariance(), 0, 1))
    >>> test.df, round(test.statistic, 1)
    (1, 17.3)
    >>> test == model.wald_test({"expert 0: x0": 1, "expert 1: x0": -1})
    True
    """
    test = wald.wald_test(R, r, chosen_covariance(fit, covariance))
    if test.reason:
        warnings.warn(f"no Wald test: {test.reason}", ConvergenceWarning, stacklevel=3)
    return test


def conf_int(fit: Any, coverage: float = 0.95, *, covariance: Covariance | BootstrapResult | None = None) -> MoEParams:
    """Return confidence intervals of the parameters, those of ``summary``.

    Parameters
    ----------
    coverage : float, default=0.95
    covariance : Covariance, BootstrapResult or None, default=None
        What ``covariance(...)`` or ``bootstrap`` has returned; None for the covariance of the fit. Intervals of a
        bootstrap are percentiles.

    Returns
    -------
    MoEParams
        Parameters with low and high on one more axis, the last; NaN where there is no standard error.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_engel
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(*load_engel(return_X_y=True))
    >>> model.conf_int().expert.coef.round(2)
    array([[[0.56, 0.66]],
    <BLANKLINE>
           [[0.27, 0.49]]])
    """
    table = _coefficients(fit, check_level(coverage, "coverage"), covariance)[0]
    low, high = (unflatten(table[:, j], fit.params) for j in (4, 5))
    sides = [type(one)(*(np.stack(ends, axis=-1) for ends in zip(one, two, strict=True)))
             for one, two in zip(low, high, strict=True)]  # fmt: skip
    return MoEParams(*sides)


def summary(
    fit: Any,
    names: Names | None = None,
    *,
    coverage: float = 0.95,
    covariance: Covariance | BootstrapResult | None = None,
) -> Summary:
    """Return the table of estimates, standard errors, z statistics, p values and confidence intervals.

    Variances and a learned temperature are not tested against zero, which is no value of theirs; their interval is
    that of their logarithm.

    Parameters
    ----------
    names : list of str or None, default=None
        What to call the columns of X; None for their names in the data, or else x0, x1, ...
    coverage : float, default=0.95
        Of the confidence intervals.
    covariance : Covariance, BootstrapResult or None, default=None
        What ``covariance(...)`` or ``bootstrap`` has returned; None for the covariance of the fit. Intervals of a
        bootstrap are percentiles.

    Returns
    -------
    Summary
        ``print`` it, look at it in a notebook, or take ``to_frame()``, ``to_latex()`` or ``wide()``.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_engel
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(*load_engel(return_X_y=True))
    >>> frame = model.summary(["income"]).to_frame()
    >>> frame.loc["expert 0: income", ["estimate", "std_err"]].round(3).tolist()
    [0.61, 0.024]
    """
    coverage = check_level(coverage, "coverage")
    table, label, reason = _coefficients(fit, coverage, covariance)
    notes = "; ".join(filter(None, [reason, "" if fit.counts_rows else _NO_COUNTS]))
    named = fit.covariance.entries if names is None else fit.entries(names)
    return Summary(fit.title, _facts(fit, label), named, table, coverage, notes, fit.pinned, _zero(fit))


def _coefficients(fit, coverage, source):
    """Return the table of the estimates, what its standard errors come from, and why some are missing."""
    estimate, fields = flatten(fit.params), fit.model.fields
    bounded = np.array([getattr(fields, one.part)[one.field].bounded for one in fit.covariance.entries])
    if isinstance(source, BootstrapResult):
        if not np.array_equal(flatten(source.estimate), estimate):
            raise ValueError("covariance belongs to another fit.")
        table = coefficient_table(estimate, flatten(source.standard_errors()), bounded, coverage)
        ends = source.interval(coverage)
        for side in (0, 1):
            table[:, 4 + side] = flatten(MoEParams(*[type(p)(*(f[..., side] for f in p)) for p in ends]))
        return table, f"{source.kind} bootstrap, {len(source.logliks)} refits", ""
    found = fit.covariance if source is None else chosen_covariance(fit, source)
    table = coefficient_table(estimate, flatten(found.standard_errors), bounded, coverage)
    return table, found.label, found.reason


def _zero(fit):
    """Return which slopes a penalty has taken out; None without such a penalty."""
    if fit.model.kinked is None:
        return None
    slopes = np.array([entry.feature is not None for entry in fit.covariance.entries])
    return slopes & (flatten(fit.params) == 0)


def _columns_in_use(fit):
    """A line on how many columns have slopes, where a penalty takes them out."""
    if (zero := _zero(fit)) is None:
        return []
    words = []
    for side, columns in (("gate", fit.gate_columns), ("expert", fit.expert_columns)):
        rows = zip(fit.covariance.entries, zero, strict=True)
        used = {entry.feature for entry, out in rows if entry.part == side and entry.feature is not None and not out}
        words.append(f"{side}{'s' if side == 'expert' else ''} {len(used)} of {len(columns)}")
    return [("columns with slopes", ", ".join(words))]


def _constraints(fit):
    """A line on what is constrained, if anything is."""
    if fit.model.constraints is None:
        return []
    names = fit.columns.named()
    return [("constraints", printable(fit.model.constraints.words([names[i] for i in fit.expert_columns])))]


def _facts(fit, label):
    """What stands above the table."""
    named = isinstance(fit.response, str) and fit.response
    of_rows = f", of {fit.rows_per_group:g} rows on average" if fit.what == "group" else ""
    return [
        *([("response", printable(fit.response))] if named else []),
        (f"{fit.what}s (sum of weights)", f"{fit.n_rows:g}{of_rows}"),
        ("log-likelihood", f"{fit.loglik:.6f}"),
        ("free parameters", f"{fit.n_parameters}"),
        ("AIC, BIC, ICL", f"{fit.aic:.3f}, {fit.bic:.3f}, {fit.icl:.3f}"),
        ("", f"BIC with n = {fit.n_rows:g}; ICL adds twice the entropy of the {fit.what}s' memberships"),
        *_columns_in_use(fit),
        *_constraints(fit),
        ("standard errors", label),
        ("certificate", f"{fit.status} (score norm per {fit.what} {fit.score_norm:.1e})"),
        ("starts", str(agreement(fit.starts, fit.loglik))),
    ]


def chosen_covariance(fit, covariance):
    """Return the covariance that a method was given, or that of the fit."""
    if covariance is None:
        _warn_uncertified(fit, stacklevel=5)
        return fit.covariance
    if not isinstance(covariance, Covariance):
        raise TypeError(f"covariance must be what model.covariance(...) returns, got {type(covariance).__name__}.")
    if not np.array_equal(flatten(covariance.params), flatten(fit.params)):
        raise ValueError("covariance belongs to another fit.")
    return covariance


def _warn_uncertified(fit, stacklevel=4):
    if not fit.converged:
        message = f"inference after a fit that is not a certified maximum: {fit.status}"
        warnings.warn(message, ConvergenceWarning, stacklevel=stacklevel)


def _check_kind(kind, X, y, groups):
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, got {kind!r}.")
    alone = X is not None and y is None and not isinstance(X, Source)
    if alone or (X is None and (y is not None or kind != "observed")):
        raise ValueError(f"kind={kind!r} needs both X and y of the fit, which estimators do not keep.")
    if (groups is not None) != (kind == "cluster"):
        raise ValueError(f"groups are for kind='cluster', which needs them; got kind={kind!r}, groups={groups!r}.")


def _check_weights_kind(kind, weights, correction):
    if not isinstance(weights, str) or weights not in WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(map(repr, WEIGHTS))}, got {weights!r}.")
    if kind == "observed" and weights == "sampling":
        raise ValueError(
            "kind='observed' takes weights for numbers of rows; with weights='sampling' ask for kind='sandwich', or "
            "for 'cluster' with groups of sampled units."
        )
    if not isinstance(correction, bool | np.bool_) and not (isinstance(correction, str) and correction == "df"):
        raise TypeError(f"correction must be True, False or 'df', got {correction!r}.")
    if correction and kind == "observed":
        raise ValueError("correction is for kind='sandwich' and 'cluster'; kind='observed' has none.")


def _warn_of_few_groups(n_groups, n_parameters):
    if n_groups < _ENOUGH_GROUPS or n_groups <= n_parameters:
        message = (
            f"{n_groups} groups for {n_parameters} free parameters: clustered standard errors need some "
            f"{_ENOUGH_GROUPS} groups, and more than parameters, or they are too small; see also "
            "bootstrap(kind='case', groups=...)"
        )
        warnings.warn(message, UserWarning, stacklevel=4)


def _warn_of_other_rows(model, blocks, params):
    """Experts of a maximum have no score on the rows that they were fitted to."""
    chart = model.chart(params)
    score = model.score(params, blocks.sum(model.statistics, params, False), blocks.total_weight)
    expert = chart.gradient(score, params)[int(chart.free[: flatten(params.gate).size].sum()) :]
    largest = np.abs(expert).max() / blocks.total_weight
    if largest > _NOT_THE_FIT:
        message = f"the experts' score is {largest:.1e} per row, not zero: X, y are not the data of the fit"
        warnings.warn(message, ConvergenceWarning, stacklevel=4)
