"""Likelihood-ratio tests: nested models by chi-square, numbers of experts by the parametric bootstrap."""

import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2
from sklearn.exceptions import ConvergenceWarning

from smoe.constraints import Constraints
from smoe.criteria import loglik
from smoe.hints import Data, Model
from smoe.validation import check_mixture

__all__ = ["SAME", "LikelihoodRatioTest", "likelihood_ratio_test", "loglik_where_fitted"]

SAME = 1e-6  # relative difference of log-likelihoods that rounding explains


class LikelihoodRatioTest(NamedTuple):
    """A likelihood-ratio test: twice the difference of the log-likelihoods, its degrees of freedom and its p-value."""

    statistic: float
    df: int
    p_value: float
    loglik_restricted: float
    loglik_full: float


def likelihood_ratio_test(
    restricted: Model, full: Model, X: Data, y: ArrayLike | None, sample_weight: ArrayLike | None = None
) -> LikelihoodRatioTest:
    r"""Test a restricted fit against a fuller one by their likelihood ratio.

    .. math:: T = 2\,(\hat\ell_{\mathrm{full}} - \hat\ell_{\mathrm{restricted}}) \to \chi^2_{\mathrm{df}},
              \qquad \mathrm{df} = p_{\mathrm{full}} - p_{\mathrm{restricted}},

    if the restriction holds and the full model's parameters are identified under it (Wilks). Both have the same number
    of experts and the same gate. Either the family is the same, and the restricted one has left out columns of the gate
    or of the experts; or the columns are the same, and the restricted family is the full one with parameters on a bound
    that they may attain: Poisson in negative binomial or zero-inflated experts, negative binomial in zero-inflated
    ones, normal in Student's t. On that boundary, with d = df,

    .. math:: P(T \ge t) \le \tfrac12 P(\chi^2_{d-1} \ge t) + \tfrac12 P(\chi^2_d \ge t), \qquad t > 0,

    and this is the p-value. It is exact if one parameter is on a bound (Self and Liang). With one for each of several
    experts it is an upper bound: T is then a mixture of chi-squares with 0 to d degrees of freedom, whose weights
    depend on the correlations of the estimates (binomial ones if there are none), and the bound holds for all. Where
    the full fit lies on the bounds, too, T is zero and the p-value one.

    For numbers of experts see `smoe.selection.n_experts_test`.

    Parameters
    ----------
    restricted, full : MoERegressor or FittedMixture
        Fitted to these data, with these weights.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    sample_weight : array-like of shape (n_samples,), default=None

    Returns
    -------
    LikelihoodRatioTest
        ``statistic``, ``df``, ``p_value``, ``loglik_restricted``, ``loglik_full``.

    Raises
    ------
    NotFittedError
        A model is not fitted.
    ValueError
        The models are not nested as far as can be seen, have different numbers of experts, or were fitted to other
        data; or the gate's columns of a top-K gate are to be tested, whose likelihood jumps. Or a family is tested by
        a restricted fit that lies on a bound itself.

    Warns
    -----
    ConvergenceWarning
        A fit is not a certified maximum, or the full one is less likely than the restricted one.

    References
    ----------
    Wilks, S. S. (1938). The large-sample distribution of the likelihood ratio for testing composite hypotheses. Annals
    of Mathematical Statistics 9, 60-62.

    Self, S. G. and Liang, K.-Y. (1987). Asymptotic properties of maximum likelihood estimators and likelihood ratio
    tests under nonstandard conditions. Journal of the American Statistical Association 82, 605-610.

    Silvapulle, M. J. and Sen, P. K. (2005). Constrained Statistical Inference, chapter 3. Wiley. The bound.

    Examples
    --------
    Does the gate of Engel's data need the income?

    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_engel
    >>> from smoe.inference import likelihood_ratio_test
    >>> X, y = load_engel(return_X_y=True)
    >>> full = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> restricted = SoftmaxMoERegressor(2, gate_features=[], random_state=0).fit(X, y)
    >>> test = likelihood_ratio_test(restricted, full, X, y)
    >>> round(test.statistic, 2), test.df
    (17.96, 1)

    Do the articles of biochemists vary more than Poisson counts?

    >>> from smoe import MoERegressor
    >>> from smoe.datasets import load_biochemists
    >>> X, y = load_biochemists(return_X_y=True)
    >>> names = "poisson", "negative_binomial"
    >>> poisson, more = (MoERegressor(1, expert=name, n_init=1).fit(X, y) for name in names)
    >>> round(likelihood_ratio_test(poisson, more, X, y).statistic, 1)
    180.2
    """
    logliks, restricted, full = [], check_mixture(restricted, "restricted"), check_mixture(full, "full")
    for name, model in (("restricted", restricted), ("full", full)):
        logliks.append(loglik_where_fitted(model, name, X, y, sample_weight))
        if not model.converged:
            message = f"the {name} fit is not a certified maximum: {model.status}"
            warnings.warn(message, ConvergenceWarning, stacklevel=2)
    _refuse_not_nested(restricted, full)
    bounded = _recipe(restricted, "expert") != _recipe(full, "expert")
    if bounded:
        _refuse_other_family(restricted, full, lambda fit: loglik(fit, X, y, sample_weight), logliks[0])
    df = full.n_parameters - restricted.n_parameters
    if df < 1:
        raise ValueError(f"full has {df} more free parameters than restricted; there is nothing to test.")
    statistic, rounding = 2.0 * (logliks[1] - logliks[0]), SAME * max(1.0, abs(logliks[1]))
    if statistic < -rounding:
        message = (
            f"the full fit is less likely than the restricted one (by {-statistic / 2:.3g}), so it is not at its "
            "maximum: fit it again with more starts (n_init)"
        )
        warnings.warn(message, ConvergenceWarning, stacklevel=2)
    p_value = 1.0 if bounded and statistic <= rounding else _p_value(max(statistic, 0.0), df, bounded)
    return LikelihoodRatioTest(statistic, df, p_value, *logliks)


def _p_value(statistic, df, bounded):
    """Return the upper tail of chi-square, or of what bounds it where the parameters are on a bound.

    The cone of directions that bounds leave lies in a half-space, for which the weights are one half each.
    """
    tail = float(chi2.sf(statistic, df))
    if not bounded:
        return tail
    return 0.5 * (tail + (float(chi2.sf(statistic, df - 1)) if df > 1 else 0.0))


def loglik_where_fitted(fit, name, X, y, sample_weight):
    """Return the log-likelihood of a `FittedMixture` on its data. Raise ValueError if it was fitted to others."""
    found = loglik(fit, X, y, sample_weight)
    if abs(found - fit.loglik) > SAME * max(1.0, abs(found)):
        raise ValueError(
            f"{name}: its log-likelihood on these data is {found:.6g}, where it was fitted {fit.loglik:.6g}; "
            "tests need the fit to X, y and sample_weight."
        )
    return found


def _refuse_not_nested(restricted, full):
    """Raise ValueError where numbers of experts, gates or columns say that the models are not nested."""
    if restricted.n_experts != full.n_experts:
        raise ValueError(
            f"restricted has {restricted.n_experts} experts and full has {full.n_experts}: under the smaller model the "
            "additional experts are not identified, and the statistic has no chi-square distribution. Use "
            "smoe.selection.n_experts_test, which finds its distribution by the parametric bootstrap."
        )
    if restricted.what != full.what:
        raise ValueError("restricted and full are not nested: one has a label for each row, the other for each group.")
    gates = [_recipe(model, "gate") for model in (restricted, full)]
    if gates[0] != gates[1]:
        raise _differ("gate", *gates)
    for side in ("gate", "expert"):
        extra = set(getattr(restricted, f"{side}_columns")) - set(getattr(full, f"{side}_columns"))
        if extra:
            columns = sorted(map(int, extra))
            raise ValueError(f"not nested: the {side} of restricted sees columns {columns} of X, full's does not.")
    _refuse_looser_constraints(restricted, full)
    if not full.model.gate.smooth and len(restricted.gate_columns) < len(full.gate_columns):
        raise ValueError(
            f"the likelihood of {type(full.model.gate).__name__} jumps in the gate's parameters: its columns cannot be "
            "tested by chi-square; compare by cross-validation or BIC."
        )


def _refuse_looser_constraints(restricted, full):
    """Raise ValueError where full has a constraint that restricted has not, or has otherwise."""
    if full.model.constraints is None:
        return
    less, more = map(_constraints_of, (restricted, full))
    if more.n_frozen and more.frozen != less.frozen:
        raise ValueError("not nested: full has known experts that restricted has not.")
    seen = set(restricted.expert_columns.tolist())
    loose = [column for column in more.shared if column in seen and column not in {*less.shared, *less.fixed}]
    loose += [c for c, value in more.fixed.items() if less.fixed.get(c, None if c in seen else 0.0) != value]
    if loose:
        raise ValueError(
            f"not nested: full constrains the slopes of columns {sorted(loose)} of X, restricted does not."
        )


def _constraints_of(fit):
    """Return the constraints of a fit, with columns of X by their indices."""
    constraints = fit.model.constraints
    return Constraints([], {}) if constraints is None else constraints.by_index(fit.expert_columns.tolist())


def _refuse_other_family(restricted, full, loglik_of, wanted):
    """Raise ValueError unless the restricted fit is the full model with parameters on bounds that they may attain."""
    for side in ("gate", "expert"):
        if set(getattr(restricted, f"{side}_columns")) != set(getattr(full, f"{side}_columns")):
            raise ValueError(
                f"restricted has another family and other columns of the {side} than full: test one after the other."
            )
    point = _on_bounds(restricted, full)
    if point is None or abs(loglik_of(replace(full, params=point)) - wanted) > SAME * max(1.0, abs(wanted)):
        raise _differ("expert", *(_recipe(model, "expert") for model in (restricted, full)))
    fields = restricted.model.expert.fields
    for name, value in restricted.params.expert._asdict().items():
        if fields[name].attained and np.any(value <= fields[name].lower):
            raise ValueError(
                f"{name} of restricted is on its bound of {fields[name].lower:g}, and the statistic has no known "
                "distribution there: compare full with the family that restricted then is."
            )


def _on_bounds(restricted, full):
    """Return the parameters of full at the restricted fit, additional ones on their bounds; None if there are none."""
    fields, params = full.model.expert.fields, full.params.expert
    own = restricted.model.expert.in_terms_of(fields, restricted.params.expert)
    extra = {name: np.full(np.shape(getattr(params, name)), fields[name].lower) for name in fields.keys() - own.keys()}
    if not extra or not own.keys() <= fields.keys() or not all(fields[name].attained for name in extra):
        return None
    own = {name: np.broadcast_to(value, np.shape(getattr(params, name))) for name, value in own.items()}
    return full.params._replace(gate=restricted.params.gate, expert=type(params)(**own, **extra))


def _differ(side, one, other):
    return ValueError(f"restricted and full have different {side}s: {one} and {other}; they are not nested.")


def _recipe(model, side):
    """Which gate or family this is, by name and settings."""
    family = getattr(model.model, side)
    return f"{type(family).__name__}({', '.join(f'{k}={v!r}' for k, v in sorted(family.get_params().items()))})"
