"""Likelihood-ratio tests: nested models by chi-square, numbers of experts by the parametric bootstrap."""

import warnings
from typing import NamedTuple

from scipy.stats import chi2
from sklearn.exceptions import ConvergenceWarning

from smoe.criteria import loglik
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


def likelihood_ratio_test(restricted, full, X, y, sample_weight=None):
    r"""Test a restricted fit against a fuller one by their likelihood ratio.

    .. math:: T = 2\,(\hat\ell_{\mathrm{full}} - \hat\ell_{\mathrm{restricted}}) \to \chi^2_{\mathrm{df}},
              \qquad \mathrm{df} = p_{\mathrm{full}} - p_{\mathrm{restricted}},

    if the restriction holds and the full model's parameters are identified under it (Wilks). Both have the same number
    of experts, the same gate and the same family; the restricted one has left out columns of the gate or of the
    experts. For numbers of experts see `smoe.selection.n_experts_test`.

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
        data; or the gate's columns of a top-K gate are to be tested, whose likelihood jumps.

    Warns
    -----
    ConvergenceWarning
        A fit is not a certified maximum, or the full one is less likely than the restricted one.

    References
    ----------
    Wilks, S. S. (1938). The large-sample distribution of the likelihood ratio for testing composite hypotheses. Annals
    of Mathematical Statistics 9, 60-62.

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
    """
    logliks, restricted, full = [], check_mixture(restricted, "restricted"), check_mixture(full, "full")
    for name, model in (("restricted", restricted), ("full", full)):
        logliks.append(loglik_where_fitted(model, name, X, y, sample_weight))
        if not model.converged:
            message = f"the {name} fit is not a certified maximum: {model.status}"
            warnings.warn(message, ConvergenceWarning, stacklevel=2)
    df = _degrees_of_freedom(restricted, full)
    statistic = 2.0 * (logliks[1] - logliks[0])
    if statistic < -SAME * max(1.0, abs(logliks[1])):
        message = (
            f"the full fit is less likely than the restricted one (by {-statistic / 2:.3g}), so it is not at its "
            "maximum: fit it again with more starts (n_init)"
        )
        warnings.warn(message, ConvergenceWarning, stacklevel=2)
    return LikelihoodRatioTest(statistic, df, float(chi2.sf(max(statistic, 0.0), df)), *logliks)


def loglik_where_fitted(fit, name, X, y, sample_weight):
    """Return the log-likelihood of a `FittedMixture` on its data. Raise ValueError if it was fitted to others."""
    found = loglik(fit, X, y, sample_weight)
    if abs(found - fit.loglik) > SAME * max(1.0, abs(found)):
        raise ValueError(
            f"{name}: its log-likelihood on these data is {found:.6g}, where it was fitted {fit.loglik:.6g}; "
            "tests need the fit to X, y and sample_weight."
        )
    return found


def _degrees_of_freedom(restricted, full):
    """Return the difference in free parameters. Raise ValueError where the models are not nested."""
    if restricted.n_experts != full.n_experts:
        raise ValueError(
            f"restricted has {restricted.n_experts} experts and full has {full.n_experts}: under the smaller model the "
            "additional experts are not identified, and the statistic has no chi-square distribution. Use "
            "smoe.selection.n_experts_test, which finds its distribution by the parametric bootstrap."
        )
    for side in ("gate", "expert"):
        one, other = (_recipe(model, side) for model in (restricted, full))
        if one != other:
            raise ValueError(f"restricted and full have different {side}s: {one} and {other}; they are not nested.")
        extra = set(getattr(restricted, f"{side}_columns")) - set(getattr(full, f"{side}_columns"))
        if extra:
            columns = sorted(map(int, extra))
            raise ValueError(f"not nested: the {side} of restricted sees columns {columns} of X, full's does not.")
    if not full.model.gate.smooth and len(restricted.gate_columns) < len(full.gate_columns):
        raise ValueError(
            f"the likelihood of {type(full.model.gate).__name__} jumps in the gate's parameters: its columns cannot be "
            "tested by chi-square; compare by cross-validation or BIC."
        )
    df = full.n_parameters - restricted.n_parameters
    if df < 1:
        raise ValueError(f"full has {df} more free parameters than restricted; there is nothing to test.")
    return df


def _recipe(model, side):
    """Which gate or family this is, by name and settings."""
    family = getattr(model.model, side)
    return f"{type(family).__name__}({', '.join(f'{k}={v!r}' for k, v in sorted(family.get_params().items()))})"
