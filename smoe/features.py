"""Which columns of X the gate and the experts see."""

import numbers
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from smoe.hints import ColumnSpec, Data

__all__ = ["Roles", "Rows", "choose_columns", "choose_roles", "design"]


class Rows(NamedTuple):
    """Some rows as experts see them, rows on the last axis.

    Attributes
    ----------
    Z : array of shape (n_terms, m)
        The design: features and a row of ones.
    y : array of shape (m,) or (q, m), or None
        The response, or several.
    offset : array of shape (m,) or None
        What is added to the linear predictor.
    trials : array of shape (m,) or None
        The number of trials that y counts successes of.
    event : array of shape (m,) or None
        One where y is the time of an event, zero where it is censored: the event came later.
    """

    Z: np.ndarray
    y: np.ndarray | None = None
    offset: np.ndarray | None = None
    trials: np.ndarray | None = None
    event: np.ndarray | None = None

    def at(self, y: np.ndarray) -> "Rows":
        """Return the same rows with other responses, all of them seen: what was censored is the response before."""
        return self._replace(y=y, event=None)

    def take(self, rows: Any) -> "Rows":
        """Return some of the rows: a slice, a mask or indices."""
        return Rows._make(None if a is None else np.ascontiguousarray(np.asarray(a)[..., rows]) for a in self)


class Roles(NamedTuple):
    """Columns of X that are not covariates, by their index or None.

    Attributes
    ----------
    offset : int or None
        What is added to the linear predictor.
    exposure : int or None
        What multiplies the mean under a log link: its logarithm is an offset.
    trials : int or None
        The number of trials that y counts successes of.
    event : int or None
        Whether y is the time of an event, one, or censored, zero.
    group : int or None
        The number of the group whose rows share one label.
    """

    offset: int | None = None
    exposure: int | None = None
    trials: int | None = None
    event: int | None = None
    group: int | None = None

    @property
    def columns(self) -> list[int]:
        """The columns that have a role."""
        return [column for column in self if column is not None]

    @property
    def of_rows(self) -> list[int]:
        """Those that experts see beside their design: all but that of the groups."""
        return self._replace(group=None).columns

    def offset_of(self, X: np.ndarray) -> np.ndarray | None:
        """Return the offset of each row of X, (n,), or None."""
        out = None if self.offset is None else np.array(X[:, self.offset], dtype=float)
        if self.exposure is None:
            return out
        log = np.log(X[:, self.exposure])
        return log if out is None else out + log

    def trials_of(self, X: np.ndarray) -> np.ndarray | None:
        """Return the number of trials of each row of X, (n,), or None."""
        return None if self.trials is None else np.array(X[:, self.trials], dtype=float)

    def event_of(self, X: np.ndarray) -> np.ndarray | None:
        """Return whether the event of each row of X was seen, (n,), or None."""
        return None if self.event is None else np.array(X[:, self.event], dtype=float)

    def check(self, X: np.ndarray, names: Sequence[str], events: bool = True) -> None:
        """Raise ValueError unless exposures are positive, numbers of trials whole and at least one, events zero or one.

        Without ``events`` these may be anything: rows without a response have none.
        """
        for role, words, holds in (
            ("exposure", "positive", lambda values: values > 0),
            ("trials", "whole numbers of at least 1", lambda values: (values >= 1) & (values == np.floor(values))),
            ("event", "1 (seen) or 0 (censored)", lambda values: (values == 0) | (values == 1) | (not events)),
        ):
            if (column := getattr(self, role)) is not None and not (right := holds(X[:, column])).all():
                raise ValueError(
                    f"{role}_feature={names[column]!r} must be {words}, and is not in {int((~right).sum())} rows; "
                    f"the first is row {int(right.argmin())}."
                )


def choose_roles(X: Data, names: Any, n_features: int, **specs: None | int | str) -> Roles:
    """Return the `Roles` that columns of X have.

    Parameters
    ----------
    X : array of shape (n_samples, n_features) or data frame
    names : list of str or None
        What the columns of X are called.
    n_features : int
    **specs : None, int or str
        By role: no column, or its index or name.

    Raises
    ------
    ValueError
        More than one column for a role, or one for two.
    """
    chosen = {}
    for role, spec in specs.items():
        argument = f"{role}_feature"
        if not isinstance(spec, str | numbers.Integral | None):
            raise ValueError(f"{argument} must be None or one column, as an index or a name, got {spec!r}.")
        chosen[role] = None if spec is None else int(choose_columns(spec, X, names, n_features, argument)[0])
    taken = [column for column in chosen.values() if column is not None]
    if len(set(taken)) < len(taken):
        raise ValueError(
            "offset_feature, exposure_feature, trials_feature, event_feature and group_feature must be different "
            "columns."
        )
    return Roles(**chosen)


def design(X: np.ndarray) -> np.ndarray:
    """Return what gates and experts take, (n_features + 1, m): the features and a row of ones.

    Parameters
    ----------
    X : array of shape (n_features, m)
        The features, with the rows on the last axis.
    """
    X = np.asarray(X, dtype=float)
    return np.concatenate([X, np.ones((1, X.shape[1]))])


def choose_columns(
    spec: ColumnSpec, X: Data, names: Any, n_features: int, argument: str, without: Sequence[int] = ()
) -> np.ndarray:
    """Return column indices for a choice of features.

    Parameters
    ----------
    spec : None, int, str, slice, callable or array-like of int, bool or str
        None means all columns; a callable gets X as the user passed it and returns any other choice.
    X : array or data frame
        As the user passed it.
    names : array of str or None
        Column names, if X has them.
    n_features : int
    argument : str
        Name of the argument, for messages.
    without : sequence of int
        Columns that are not meant by None, as they have another role.

    Raises
    ------
    ValueError
        Unknown names, indices out of range, a mask of the wrong length, a column chosen twice.
    """
    if callable(spec) and not isinstance(spec, type):
        spec = spec(X)
    if spec is None:
        return np.setdiff1d(np.arange(n_features), np.asarray(without, dtype=int))
    if isinstance(spec, slice):
        return _from_slice(spec, n_features, argument)
    if isinstance(spec, str | numbers.Integral):
        spec = [spec]
    if isinstance(spec, list | tuple) and len({_kind(entry) for entry in spec}) > 1:
        raise ValueError(f"{argument} must hold indices, names or booleans, not several of these, got {spec!r}.")
    try:
        chosen = np.asarray(spec)
    except ValueError:
        raise ValueError(f"{argument} must be one list of columns, got {spec!r}.") from None
    if chosen.ndim != 1:
        raise ValueError(f"{argument} must be one list of columns, got an array of shape {chosen.shape}.")
    if chosen.size == 0:
        return np.arange(0)
    if chosen.dtype == bool:
        columns = _from_mask(chosen, n_features, argument)
    elif np.issubdtype(chosen.dtype, np.integer):
        columns = _from_indices(chosen, n_features, argument)
    elif all(isinstance(name, str) for name in chosen.tolist()):
        columns = _from_names(chosen.tolist(), names, argument)
    else:
        raise ValueError(f"{argument} must hold indices, names or booleans, got {spec!r}.")
    if len(set(columns.tolist())) < len(columns):
        raise ValueError(f"{argument}={spec!r} chooses a column twice.")
    return columns


def _kind(entry):
    """What an entry of a list says: NumPy would make numbers of booleans, and names of numbers."""
    for kind in (str, bool | np.bool_, numbers.Integral):
        if isinstance(entry, kind):
            return kind
    return type(entry)


def _from_slice(spec, n_features, argument):
    try:
        return np.arange(n_features)[spec]
    except (TypeError, ValueError):
        raise ValueError(f"{argument}={spec!r} must be a slice of indices with a step other than 0.") from None


def _from_mask(mask, n_features, argument):
    if len(mask) != n_features:
        raise ValueError(f"{argument} is a mask of {len(mask)} columns, but X has {n_features}.")
    return np.flatnonzero(mask)


def _from_indices(indices, n_features, argument):
    if np.any(indices < -n_features) or np.any(indices >= n_features):
        raise ValueError(f"{argument}={indices.tolist()} is out of range: X has {n_features} columns.")
    return indices.astype(np.int64) % n_features  # kernels are compiled for each kind of array


def _from_names(chosen, names, argument):
    if names is None:
        raise ValueError(
            f"{argument}={chosen} names columns, but X has no column names; pass a data frame or use indices."
        )
    names = list(names)
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise ValueError(f"{argument}: no column {unknown} in X; the columns are {names}.")
    return np.array([names.index(name) for name in chosen])
