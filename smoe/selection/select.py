"""Choose the number of experts by a criterion along a growing path of fits."""

import itertools
import numbers
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.utils import indexable

from smoe.estimators import MixtureEstimator
from smoe.estimators.base import rows_of
from smoe.hints import Data, Seed
from smoe.optional import needed
from smoe.selection.criteria import CRITERIA, information_criteria, slope_heuristic
from smoe.selection.path import fresh_fits, grown
from smoe.validation import check_floats, check_generator, check_n_jobs, check_weights

__all__ = ["Selection", "select_n_experts"]

_COLUMNS = ("n_experts", "loglik", "df", "price", "aic", "bic", "icl", "converged", "status")


@dataclass(frozen=True, eq=False)
class Selection:
    """A path of fits and the choice among them.

    Attributes
    ----------
    n_experts_ : int
        The number of experts chosen.
    best_estimator_ : MoERegressor
        The fit with that many.
    estimators_ : tuple of MoERegressor
        All fits, from the smallest to the largest.
    criterion : str
        Name of the criterion.
    table : dict of str to tuple
        Columns ``n_experts``, ``loglik``, ``df`` (free parameters), ``price`` (log-likelihood that the best chance
        lines on as few rows as some of the experts would gain, beyond BIC's own charge), ``aic``, ``bic`` and ``icl``
        (both include twice the price), ``converged`` (whether the fit is a certified maximum), ``status`` (or why not)
        and ``criterion``. Criteria are smaller for better models.
    """

    n_experts_: int
    criterion: str
    table: dict
    estimators_: tuple = field(repr=False)

    @property
    def best_estimator_(self) -> Any:
        """The fit with the chosen number of experts."""
        return self.estimators_[self.table["n_experts"].index(self.n_experts_)]

    def to_frame(self) -> Any:
        """Return the table as a pandas data frame, one row per number of experts."""
        return needed("pandas", "to_frame()").DataFrame(self.table).set_index("n_experts")

    def __str__(self):
        heads = "".join(f"{name:>13}" for name in ("AIC", "BIC", "ICL", self.criterion))
        lines = [f"{'k':>3}{'loglik':>14}{'df':>5}{'price':>9}{heads}  certificate"]
        for k, loglik, df, price, aic, bic, icl, _, status, value in zip(*self.table.values(), strict=True):
            mark = "<" if k == self.n_experts_ else " "
            criteria = f"{aic:>13.3f}{bic:>13.3f}{icl:>13.3f}{value:>13.3f}"
            lines.append(f"{k:>3}{loglik:>14.3f}{df:>5}{price:>9.2f}{criteria}{mark} {status}")
        return "\n".join(lines)


def select_n_experts(
    estimator: Any,
    X: Data,
    y: ArrayLike | None,
    n_experts: Iterable[int] = range(1, 7),
    criterion: str | Callable = "bic",
    *,
    sample_weight: ArrayLike | None = None,
    cv: Any = 5,
    random_state: Seed = None,
    n_jobs: int | None = None,
) -> Selection:
    r"""Fit mixtures of several sizes and choose one by a criterion; smaller values are better.

    Each size is fitted from fresh starts, and from the fit before with one expert split in two: every expert is split
    in several ways, the splits are screened by a few EM iterations, the best are taken to the end. As a mixture
    contains all smaller ones, the log-likelihood never falls along the path.

    Parameters
    ----------
    estimator : MoERegressor
        Its own ``n_experts`` is not used; it is not changed.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    n_experts : iterable of int, default=range(1, 7)
        Numbers of experts to compare.
    criterion : {"bic", "aic", "icl", "cv", "slope", "jump"} or callable, default="bic"
        - "bic": :math:`-2\ell + \mathrm{df} \log n` plus twice the price of experts on few rows, see Notes; "aic":
          :math:`-2\ell + 2\,\mathrm{df}`; "icl": BIC plus twice the entropy of the responsibilities, which asks for
          experts that do not overlap;
        - "cv": minus twice the held-out log-likelihood, scaled to all rows;
        - "slope", "jump": :math:`-2\ell + 4 \hat\kappa\, \mathrm{df}` with a constant from the data, see
          `slope_heuristic`; needs at least five sizes;
        - a callable ``criterion(model, X, y)``, also given ``sample_weight=`` if there are weights, that returns a
          number for a fitted model.
    sample_weight : array-like of shape (n_samples,), default=None
    cv : int, splitter or iterable, default=5
        Folds of the criterion "cv". An int means that many folds of shuffled rows, with the same shares of the classes
        if there are such; of whole groups where the estimator has ``group_feature``. Splitters are given these groups.
    random_state : int, Generator, RandomState or None, default=None
        Draws splits, folds and, if the estimator has no ``random_state`` of its own, fresh starts.
    n_jobs : int or None, default=None
        Number of threads for the fits from fresh starts.

    Returns
    -------
    Selection

    Raises
    ------
    ValueError, TypeError
        No, repeated or impossible numbers of experts, more than rows, an unknown criterion, one that is not finite, or
        a range too short for the slope heuristic.

    Warns
    -----
    ConvergenceWarning
        Fits that are no certified maxima; a comparison of their criteria is not one of maxima.

    Notes
    -----
    Among n rows some few always lie almost on a line. BIC and ICL charge an expert on N distinct rows, with q
    coefficients, for what the best such line gains by chance, if that is more than they charge for it anyway:

    .. math:: \max\Big(0,\; \frac{N}{N - q} \Big(q \log \frac{e n}{N} + 5\Big) - \frac{q + 2}{2} \log n\Big),

    which is infinite for :math:`N \le q`, and nothing for one expert alone.

    The log-likelihood of a sparse gate that ranks by slope and selects several experts may fall: no such mixture
    contains the smaller ones.

    References
    ----------
    Biernacki, C., Celeux, G. and Govaert, G. (2000). Assessing a mixture model for clustering with the integrated
    completed likelihood. IEEE Transactions on Pattern Analysis and Machine Intelligence 22, 719-725.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import make_moe
    >>> from smoe.selection import select_n_experts
    >>> moe = make_moe(500, n_experts=2, random_state=3)
    >>> found = select_n_experts(SoftmaxMoERegressor(random_state=0), moe.data, moe.target, range(1, 4))
    >>> found.n_experts_, found.table["df"]
    (2, (3, 8, 13))
    """
    check_estimator(estimator)
    check_criterion(criterion)
    check_n_jobs(n_jobs)
    rows, _, groups, expert = rows_of(estimator, X, y)
    X, y = indexable(X, y)
    sizes = check_sizes(n_experts, len(rows), sample_weight, groups)
    rng = check_generator(random_state)
    folds = checked_folds(cv) if criterion == "cv" else None
    if estimator.random_state is None:
        estimator = clone(estimator).set_params(random_state=int(rng.integers(2**31)))
    if expert.classes is not None:  # folds may lack some
        estimator = clone(estimator).set_params(expert=expert)
    [fits] = fresh_fits(estimator, sizes, [(X, y, sample_weight)], n_jobs)
    path = grown(fits, X, y, sample_weight, rng)
    table = _tabulate(path, X, y, sample_weight)
    if criterion == "cv":
        parts = parts_of(drawn_folds(folds, expert, rng, groups), X, y, groups)
        values = _cross_validated(estimator, sizes, X, y, sample_weight, parts, rng, n_jobs)
    else:
        values = _values(criterion, table, path, X, y, sample_weight)
    table["criterion"] = tuple(_checked(values, priced=criterion in ("bic", "icl")))
    chosen = sizes[int(np.argmin(values))]
    _warn(table, chosen)
    name = criterion if isinstance(criterion, str) else getattr(criterion, "__name__", "criterion")
    return Selection(chosen, name, table, tuple(path))


def check_estimator(estimator):
    """Return an estimator of mixtures of experts, fitted or not. Raise TypeError for anything else."""
    if not isinstance(estimator, MixtureEstimator):
        raise TypeError(f"estimator must be a mixture of experts such as MoERegressor, got {estimator!r}.")
    return estimator


def check_sizes(n_experts, n_rows, sample_weight, groups=None):
    """Return the numbers of experts in order. Refuse what is none."""
    try:
        sizes = list(n_experts)
    except TypeError:
        raise TypeError(f"n_experts must be a sequence of integers such as range(1, 7), got {n_experts!r}.") from None
    if not sizes:
        raise ValueError("n_experts is empty: give at least one number of experts, such as range(1, 7).")
    for size in sizes:
        if not isinstance(size, numbers.Integral) or isinstance(size, bool | np.bool_):
            raise TypeError(f"n_experts must hold integers, got {size!r}.")
    sizes = sorted(map(int, sizes))
    if sizes[0] < 1:
        raise ValueError(f"n_experts must hold positive integers, got {sizes[0]}.")
    if len(set(sizes)) < len(sizes):
        raise ValueError(f"n_experts holds a number twice: {sizes}.")
    used = check_weights(sample_weight, n_rows) > 0
    n_used, what = (int(used.sum()), "rows") if groups is None else (len(np.unique(groups[used])), "groups")
    if sizes[-1] > n_used:
        raise ValueError(
            f"n_experts goes up to {sizes[-1]}, which is larger than the number of {what} with positive weight, "
            f"{n_used}."
        )
    return sizes


def check_criterion(criterion):
    """Refuse an unknown criterion."""
    if not callable(criterion) and not (isinstance(criterion, str) and criterion in CRITERIA):
        raise ValueError(f"criterion={criterion!r} is not known; choose one of {', '.join(CRITERIA)}, or a callable.")


def _tabulate(path, X, y, sample_weight):
    rows = [
        (fit.n_experts, fit.loglik_, fit.n_parameters_, fit.fitted_.certificate.price)
        + (*information_criteria(fit.fitted_, X, y, sample_weight), fit.converged_, fit.status_)
        for fit in path
    ]
    return dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True))


def _values(criterion, table, path, X, y, sample_weight):
    if callable(criterion):
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        return [_number(criterion(fit, X, y, **weights)) for fit in path]
    if criterion in ("slope", "jump"):
        return slope_heuristic(table["loglik"], table["df"], criterion).values.tolist()
    return table[criterion]


def _number(value):
    number = check_floats(value, "what criterion returns")
    if number.size != 1:
        raise TypeError(f"what criterion returns must be one number, got {value!r}.")
    return number.item()


def checked_folds(cv):
    """Return a splitter, or the number of folds that are to be drawn."""
    if isinstance(cv, numbers.Integral):
        return KFold(cv).n_splits
    if isinstance(cv, bytes) or isinstance(cv, Iterable) and not hasattr(cv, "split"):
        cv = [_pair(entry) for entry in cv]
    try:
        return check_cv(cv)
    except ValueError:
        raise ValueError(f"cv must be an integer, a splitter or an iterable of splits, got {cv!r}.") from None


def _pair(entry):
    """Return the rows to fit to and those held out."""
    if isinstance(entry, tuple | list) and len(entry) == 2:
        pair = tuple(np.asarray(rows, dtype=None if len(rows) else int) for rows in entry if isinstance(rows, Iterable))
        if len(pair) == 2 and all(rows.ndim == 1 and rows.dtype.kind in "iub" for rows in pair):
            return pair
    raise TypeError(f"cv must yield pairs of two arrays of row numbers, to fit to and to hold out; got {entry!r}.")


def drawn_folds(folds, expert, rng, groups=None):
    if not isinstance(folds, numbers.Integral):
        return folds
    kind = KFold if expert.classes is None or groups is not None else StratifiedKFold
    drawn = kind(folds, shuffle=True, random_state=int(rng.integers(2**31)))
    return drawn if groups is None else _Whole(drawn)


class _Whole(NamedTuple):
    """Folds of whole groups."""

    folds: KFold

    def split(self, _X, _y, groups):
        """Yield rows to fit to and rows held out."""
        for parts in self.folds.split(np.arange(groups.max() + 1)):
            yield tuple(np.flatnonzero(np.isin(groups, part)) for part in parts)


def _cross_validated(estimator, sizes, X, y, sample_weight, parts, rng, n_jobs):
    """Return minus twice the held-out log-likelihood of each size, scaled to all rows."""
    weight = check_weights(sample_weight, len(y))
    train = [tuple(rows_at(data, rows) for data in (X, y, weight)) for rows, _ in parts]
    total, mass = np.zeros(len(sizes)), 0.0
    for fits, rows, (_, test) in zip(fresh_fits(estimator, sizes, train, n_jobs), train, parts, strict=True):
        if np.any(weight[test] > 0):
            held_out = tuple(rows_at(data, test) for data in (X, y, weight))
            total += [fit.loglik(*held_out) for fit in grown(fits, *rows, rng)]
            mass += weight[test].sum()
    if not mass:
        raise ValueError("cv holds out no rows of positive weight.")
    return -2.0 * weight.sum() * total / mass


def parts_of(folds, X, y, groups=None):
    """Return pairs of rows to fit to and rows held out."""
    parts = list(folds.split(X, y, groups))
    if not parts:
        raise ValueError("cv yields no folds.")
    for rows in itertools.chain(*parts):
        if len(rows) and not -len(y) <= np.min(rows) <= np.max(rows) < len(y):
            raise ValueError(f"cv yields rows from {np.min(rows)} to {np.max(rows)}, but there are {len(y)} rows.")
    return parts


def rows_at(data, rows):
    """Return some rows of an array, a data frame or a list."""
    if hasattr(data, "iloc"):
        return data.iloc[rows]
    return data[rows] if hasattr(data, "shape") else np.asarray(data)[rows]


def _checked(values, priced):
    """Return the values as floats; those with a price may be infinite."""
    if np.any(np.isnan(values)) or not (priced or np.all(np.isfinite(values))):
        raise ValueError(f"the criterion must be a finite number for every number of experts, got {list(values)}.")
    return map(float, values)


def _warn(table, chosen):
    doubtful = [k for k, good in zip(table["n_experts"], table["converged"], strict=True) if not good]
    if doubtful:
        status = dict(zip(table["n_experts"], table["status"], strict=True))
        which = "the chosen one among them" if chosen in doubtful else f"the chosen one, {chosen}, is"
        warnings.warn(
            f"not certified maxima: the fits with {', '.join(map(str, doubtful))} experts ({which}); "
            + "; ".join(f"{k}: {status[k]}" for k in doubtful),
            ConvergenceWarning,
            stacklevel=3,
        )
