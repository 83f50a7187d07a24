"""Rows: X with its response, weights, groups."""

import numbers
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import check_array, validate_data

from smoe.validation.groups import with_codes
from smoe.validation.missing import missing_in_words
from smoe.validation.response import FLOATS, check_response, refuse_not_finite
from smoe.validation.scalars import check_number, refuse_masked

__all__ = ["FLOATS", "MISSING", "Columns", "check_rows", "check_weights", "may_count_rows"]

MISSING = object()  # a response that is not wanted; None is one that was forgotten
_LARGEST_TOTAL = 1e303  # of weights: times a log density it is still a float64
_FAR = 4.0  # times too large or too small a sum of weights to be about the number of rows


def check_rows(estimator, X, y=MISSING, read=check_response, **settings):
    """Return X (n_samples, n_features) and y (n_samples,) or (n_samples, q) as floats; y is None if it is not wanted.

    Parameters
    ----------
    estimator : estimator
        Learns the names and number of the columns, or with ``reset=False`` compares them.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, q)
    read : callable
        Makes floats of y, and refuses what is none.
    **settings
        Of ``sklearn.utils.validation.validate_data``. With ``dtype=FLOATS`` float32 stays what it is, with
        ``missing=True`` X may hold NaN.

    Raises
    ------
    ValueError
        What makes no sense as X or y; the message names it.
    """
    if hasattr(X, "cuts"):
        raise TypeError(
            f"X is a {type(X).__name__}: this needs arrays; X.whole() has the rows as such, X, y and weight."
        )
    refuse_masked(X, "X")
    _refuse_repeated_names(X)
    if y is MISSING:
        return _validated(estimator, X, **settings), None
    if y is None and not settings.get("reset", True):
        raise ValueError("y is None: pass the response, one number for each row of X.")
    y = None if y is None else read(y)  # scikit-learn has words of its own for a fit without y
    return _validated(estimator, X, y, multi_output=np.ndim(y) > 1, **settings)


def learn_columns(estimator, source):
    """Let an estimator know the number and the names of the columns of a source."""
    vars(estimator).pop("feature_names_in_", None)
    estimator.n_features_in_ = source.n_features
    if source.names is not None:
        estimator.feature_names_in_ = np.array(source.names, dtype=object)


def refuse_beside_source(y, sample_weight):
    """Raise ValueError for a response or weights beside a source."""
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None and value is not MISSING:
            raise ValueError(f"{name}: a source brings its own; name the column when you make the source.")


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns of X that an estimator was fitted to, and what scikit-learn needs to compare others with them.

    Attributes
    ----------
    kind : type
        The estimator's class, which messages name.
    count : int
        How many columns there are.
    names : ndarray of str or None
        What a data frame called them.
    design : smoe.formulas.Design or None
        What makes these columns of a data frame, where a formula has.
    group : int or None
        Which of them holds the labels of groups.
    """

    kind: type
    count: int
    names: np.ndarray | None
    design: Any = None
    group: int | None = None

    @classmethod
    def of(cls, estimator, design=None):
        """Return those that an estimator has just learnt."""
        return cls(type(estimator), estimator.n_features_in_, getattr(estimator, "feature_names_in_", None), design)

    def check_rows(self, X, y=MISSING, **settings):
        """Return new X and y as `check_rows` does, with these columns."""
        X = with_codes(X if self.design is None else self.design.rows(X), self.group)
        like = object.__new__(self.kind)  # no settings: scikit-learn asks for the class and the columns only
        like.n_features_in_ = self.count
        if self.names is not None:
            like.feature_names_in_ = self.names
        return check_rows(like, X, y, reset=False, **settings)

    def check_source(self, source):
        """Raise ValueError unless the rows of a source have these columns, in this order."""
        names = None if self.names is None or source.names is None else list(self.names)
        if source.n_features != self.count or names not in (None, source.names):
            wanted = f"{self.count} columns" if self.names is None else list(self.names)
            raise ValueError(
                f"the fit has {wanted}, this {type(source).__name__} has {source.names or source.n_features}."
            )

    def named(self, names=None):
        """Return these names for the columns, or those of the data, or x0, x1, ..."""
        if names is None:
            names = [f"x{j}" for j in range(self.count)] if self.names is None else self.names
        if not isinstance(names, list | tuple | np.ndarray) or len(names) != self.count or np.ndim(names[0]):
            raise ValueError(f"names must be a list of {self.count}, one per column of X, got {names!r}.")
        return [str(name) for name in names]


def _validated(estimator, X, *y, missing=False, **settings):
    """Let scikit-learn look at X; say whose fault it is where NumPy fails to make numbers of it, and which are none."""
    try:
        found = validate_data(estimator, X, *y, ensure_all_finite=False, **{"dtype": np.float64, **settings})
    except (TypeError, ValueError, OverflowError) as error:
        if "NaN" in str(error) and not issparse(X) and (why := missing_in_words(X, "X")):
            raise ValueError(why) from None
        plain = type(error) in (TypeError, ValueError, OverflowError) and not issparse(X)
        if plain and (why := _no_numbers(X)):
            kind = TypeError if type(error) is TypeError else ValueError
            raise kind(f"X must be an array of numbers, (n_samples, n_features): {why}.") from None
        raise
    refuse_not_finite(found[0] if y else found, "X", X, missing)
    return found


def _no_numbers(values):
    """Return why NumPy makes no floats of values, or nothing if it does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # complex numbers have an error of their own
        try:
            np.asarray(values, dtype=float)
        except (TypeError, ValueError, OverflowError) as error:
            return str(error)
    return ""


def _refuse_repeated_names(X):
    names = getattr(X, "columns", None)
    if names is None or callable(names):
        return
    names = list(names)
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"X has more than one column {name!r}: each must have a name of its own.")


def check_weights(sample_weight, n_samples):
    """Return weights (n_samples,) as floats.

    Raises
    ------
    ValueError
        Wrong length, a negative, NaN or infinite weight, no positive one, or a sum that is too large.
    """
    if sample_weight is None:
        return np.broadcast_to(1.0, n_samples)  # takes no memory
    refuse_masked(sample_weight, "sample_weight")
    if isinstance(sample_weight, numbers.Real):
        check_number(sample_weight, "sample_weight", 0.0)
        sample_weight = np.full(n_samples, float(sample_weight))
    if why := _no_numbers(sample_weight):
        raise ValueError(f"sample_weight must be numbers, one per row: {why}.")
    weight = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weight.shape != (n_samples,):
        raise ValueError(f"sample_weight must have shape ({n_samples},), got {weight.shape}.")
    tiny = np.finfo(float).tiny
    if np.any((weight > 0) & (weight < tiny)):
        raise ValueError(f"sample_weight has positive weights below {tiny:.1e}, which float64 cannot divide by; use 0.")
    if np.any(weight < 0):
        raise ValueError(f"sample_weight must not be negative; the smallest is {weight.min()}.")
    if not np.any(weight > 0):
        raise ValueError("sample_weight is zero for every row; at least one must be positive.")
    if not weight.max() <= _LARGEST_TOTAL / n_samples:
        raise ValueError(f"sample_weight must add up to less than {_LARGEST_TOTAL:.0e}; the largest is {weight.max()}.")
    return weight


def may_count_rows(weight):
    """Whether positive weights may be numbers of rows, or add up to about theirs.

    Standard errors of weights that do neither are wrong by a factor of two or more. Equal weights are left alone.
    """
    n, first = len(weight), weight[0]
    if not weight.strides[0] or near_number(weight.sum(), n) or np.all(weight == first):
        return True
    return bool(np.all(weight == np.round(weight)))


def near_number(total, n_rows):
    """Whether weights of this total may add up to the number of rows, more or less."""
    return n_rows / _FAR <= total <= n_rows * _FAR
