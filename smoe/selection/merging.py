"""One expert fewer: two merged into one, or one dropped, and what the log-likelihood loses."""

from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from smoe.hints import Data
from smoe.params import MoEParams, permute
from smoe.selection.pooling import loads, pooled_params
from smoe.selection.working import at_params, working
from smoe.validation import check_fitted, check_index

__all__ = ["Reduced", "drop_expert", "merge_experts"]


class Reduced(NamedTuple):
    """A mixture with one expert fewer.

    ``estimator`` is fitted, a copy of the original's settings; ``loglik`` its log-likelihood on the data given (natural
    logarithm, total over rows); ``loss`` what that lies below the original's, negative for a gain.
    """

    estimator: object
    loglik: float
    loss: float


def merge_experts(
    model: Any,
    i: int,
    j: int,
    X: Data,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None = None,
    *,
    refit: bool = False,
) -> Reduced:
    r"""Return the mixture in which experts i and j are one.

    .. math:: r_{ij} = r_i + r_j, \qquad \pi_{ij} \approx \pi_i + \pi_j

    The expert is the M-step on the sum of their responsibilities, the gate the nearest to the one that sums their
    probabilities (in Kullback-Leibler divergence). The other experts take an M-step, too. Two experts with equal
    parameters of a maximum merge without loss.

    Parameters
    ----------
    model : MoERegressor
        Fitted; it is not changed.
    i, j : int
        Which experts, counted from zero.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    sample_weight : array-like of shape (n_samples,), default=None
    refit : bool, default=False
        Climb to the maximum from there, with the model's own solver. Without it the new ``status_`` says that it is no
        maximum.

    Returns
    -------
    Reduced
        ``estimator``, ``loglik`` and ``loss``. Experts are put in order again, so their numbers may change.

    Raises
    ------
    ValueError, TypeError
        A model that is not fitted, i = j, or no expert of that number.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.selection import merge_experts
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> merged = merge_experts(model, 0, 1, X, y)
    >>> merged.estimator.n_experts, round(merged.loss, 2)
    (1, 98.46)
    """
    model = check_fitted(model)
    i, j = (check_index(value, name, model.n_experts, "the model", "expert") for name, value in (("i", i), ("j", j)))
    if i == j:
        raise ValueError(f"i and j are both {i}: choose two experts to merge.")
    work = working(model, X, y, sample_weight)
    groups = [(k,) for k in range(model.n_experts) if k not in (i, j)]
    params, _ = pooled_params(work, [*groups, (i, j)], loads(work))
    return _reduced(model, work, work.to_units(params), X, y, sample_weight, refit)


def drop_expert(
    model: Any, i: int, X: Data, y: ArrayLike | None, sample_weight: ArrayLike | None = None, *, refit: bool = False
) -> Reduced:
    r"""Return the mixture without expert i: the others share its rows, :math:`\pi_k / (1 - \pi_i)` for a softmax gate.

    Parameters
    ----------
    model : MoERegressor
        Fitted; it is not changed.
    i : int
        Which expert, counted from zero.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    sample_weight : array-like of shape (n_samples,), default=None
    refit : bool, default=False
        Climb to the maximum from there, with the model's own solver.

    Returns
    -------
    Reduced
        ``estimator``, ``loglik`` and ``loss``.

    Raises
    ------
    ValueError, TypeError
        A model that is not fitted or has one expert, or no expert of that number.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.selection import drop_expert
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> reduced = drop_expert(model, 1, X, y, refit=True)
    >>> reduced.estimator.n_experts, round(reduced.loss, 1)
    (1, 98.5)
    """
    model = check_fitted(model)
    i = check_index(i, "i", model.n_experts, "the model", "expert")
    if model.n_experts == 1:
        raise ValueError("the model has one expert, which cannot be dropped.")
    work = working(model, X, y, sample_weight)
    kept, (gate, expert) = [k for k in range(model.n_experts) if k != i], model.params_
    params = MoEParams(model.gate_.permute(gate, kept), permute(expert, kept))
    return _reduced(model, work, params, X, y, sample_weight, refit)


def _reduced(model, work, params, X, y, sample_weight, refit):
    estimator = at_params(model, params, X, y, sample_weight, solve=refit)
    before = work.blocks.sum(work.model.loglik, work.params) - work.offset
    return Reduced(estimator, estimator.loglik_, float(before - estimator.loglik_))
