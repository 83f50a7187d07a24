"""Rows of dask arrays and data frames, visited where they are."""

import threading
import uuid
from collections import defaultdict
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

import numpy as np

from smoe.params import tree_sum
from smoe.rows.source import ArraySource, Raw, Source
from smoe.threads import driving, spread
from smoe.validation import check_labels

__all__ = ["DaskRows", "brought", "is_dask", "mapped"]

_FEW = 200_000  # rows; of fewer, asking for a pass takes longer than the pass
_NUMBERS = 2**25  # that are brought at most
_JOINED = 8  # sums of workers that are added up at a time

_here = threading.local()  # the partitions that a task has been given


def is_dask(values):
    """Whether this is a collection of dask."""
    return hasattr(values, "__dask_graph__")


def brought(source):
    """Return the rows of a `DaskRows` as arrays if they are few; any other source as it is."""
    if not isinstance(source, DaskRows) or source.n_rows >= _FEW or source.n_rows * source.n_features > _NUMBERS:
        return source
    here = ArraySource(*source.whole()[:3])
    here.names, here.response = source.names, source.response
    return here


class DaskRows(Source):
    """Rows of dask arrays or data frames. Estimators make it of the collections that ``fit`` is given.

    With a client of ``distributed``, partitions are loaded into the workers' memory once, and a pass is one task for
    each thread of each worker, which visits the partitions there and returns sums. Without a client, partitions are
    computed anew in each pass unless ``persist()`` was called before.

    Parameters
    ----------
    X : dask array of shape (n_samples, n_features), or dask data frame
        The number of rows of its partitions may be unknown.
    y : dask array of shape (n_samples,) or (n_samples, q), or dask series or data frame, or None
        In partitions of the same rows.
    weight : dask array or series of shape (n_samples,), or None
        All positive.
    classes : bool, default=False
        Whether y are labels of classes: ``found`` are those that occur, ``code`` puts numbers in their place.

    Raises
    ------
    ValueError
        Partitions of X, y and weight that do not have the same numbers of rows, or no rows.
    RuntimeError
        Later on: the client has been closed, or a worker has died that had what cannot be computed again.
    """

    def __init__(self, X: Any, y: Any = None, weight: Any = None, classes: bool = False) -> None:
        import dask

        self._key = uuid.uuid4().hex
        self.names, self.response = _names(X), None if y is None else _names(y)
        sides = [_partitions(side) for side in (X, y, weight)]
        _refuse_unequal([len(side) for side in sides if side is not None], "partitions")
        n = len(sides[0])
        parts = [dask.delayed(_raw)(*(None if side is None else side[i] for side in sides), classes) for i in range(n)]
        self._client = _client()
        self._parts = list(dask.optimize(*parts)) if self._client is None else self._client.compute(parts)
        shapes = self._shapes()
        self._ends = np.cumsum([rows[0] for rows, _, _ in shapes])
        for rows, _, _ in shapes:
            _refuse_unequal(rows, "rows")
        self.n_rows, self.n_features = int(self._ends[-1]), shapes[0][1]
        if not self.n_rows:
            raise ValueError("X has no rows.")
        self.total_weight = float(sum(weight for *_, weight in shapes))

    def __getstate__(self):
        """Leave the client and the partitions behind: tasks are given what they need."""
        return vars(self) | {"_client": None, "_parts": None}

    @property
    def found(self):
        """The labels that occur, sorted, or in the order of an ordered category."""
        numbers = range(len(self._parts))
        labels, levels = zip(*self._called(_labels, numbers, numbers), strict=True)
        return _joined_labels(_flat(labels), [level for level in levels if level is not None])

    def code(self, read):
        """Let y be the codes that ``read(labels)`` returns."""
        found = np.sort(np.asarray(self.found))
        self._change(_coded, found, read(found))

    def totals(self, n_classes):
        """Return the weight of each class, (n_classes,), once y are codes."""
        numbers = range(len(self._parts))
        return sum(self._called(_totals, numbers, [n_classes] * len(self._parts)))

    def weigh(self, factors):
        """Multiply the weights by the factor of each row's class."""
        self.total_weight = float(self.totals(len(factors)) @ factors)
        self._change(_weighed, factors)

    def _change(self, function, *args):
        """Put function(partition, *args) in the place of each partition."""
        import dask

        if self._client is None:
            self._parts = [dask.delayed(function)(part, *args) for part in self._parts]
            return
        with self._in_touch():
            self._parts = [self._client.submit(function, part, *args, pure=False) for part in self._parts]
        self._held = None

    def cuts(self, size):
        """Return the slices of the partitions that have rows."""
        starts = [0, *map(int, self._ends[:-1])]
        return [slice(low, int(high)) for low, high in zip(starts, self._ends, strict=True) if high > low]

    def read(self, rows):
        """Return the rows of one partition."""
        found = getattr(_here, "parts", {}).get((self._key, rows.start))
        return self._fetch([self._number(rows.start)])[0] if found is None else found

    def whole(self):
        """Return all rows in memory."""
        parts = [raw[:3] for raw in self._fetch(range(len(self._parts)))]
        return Raw(*(None if side[0] is None else np.concatenate(side) for side in zip(*parts, strict=True)))

    def take(self, rows):
        """Return few rows by their indices."""
        rows = np.asarray(rows)
        number = np.searchsorted(self._ends, rows, side="right")
        order, found = np.argsort(number, kind="stable"), np.unique(number)
        own = [rows[number == i] - (self._ends[i - 1] if i else 0) for i in found]
        parts = self._called(_some, found, own) if len(rows) else [self._called(_some, [0], [rows])[0]]
        back = np.argsort(order, kind="stable")
        return Raw(*(None if s[0] is None else np.concatenate(s)[back] for s in zip(*parts, strict=True)))

    def run(self, task, parts, n_threads=1):
        """Yield task(part) in the order of the parts, slices or lists of them, done where these are."""
        if self._client is None:
            yield from spread(task, parts, n_threads)
            return
        with self._in_touch():
            places = self._by_place([_slices(part)[0] for part in parts])
            futures = [self._submit(_each, task, [parts[i] for i in own], place) for place, own in places]
            found = dict(zip([i for _, own in places for i in own], _flat(self._client.gather(futures)), strict=True))
        yield from (found[i] for i in range(len(parts)))

    def reduce(self, task, parts, n_threads=1):
        """Return the sum of task(part); each worker adds up what it has."""
        if self._client is None:
            return super().reduce(task, parts, n_threads)
        slices = _flat(parts)
        with self._in_touch():
            places = self._by_place(slices)
            futures = [self._submit(_all, task, [slices[i] for i in own], place) for place, own in places]
            while len(futures) > _JOINED:  # a tree: the client adds up few
                groups = [futures[i : i + _JOINED] for i in range(0, len(futures), _JOINED)]
                futures = [self._client.submit(tree_sum, group, pure=False) for group in groups]
            return tree_sum(self._client.gather(futures))

    def _number(self, row):
        return int(np.searchsorted(self._ends, row, side="right"))

    def _by_place(self, slices):
        """Return a worker and the numbers of the slices that it shall visit, for each thread of each worker."""
        threads, own = self._client.nthreads(), defaultdict(list)
        if self._held is None or not threads.keys() >= set(self._held):  # at first, and when a worker has died
            holders = self._client.who_has(self._parts)
            self._held = [next(iter(holders[part.key]), None) for part in self._parts]
        for i, rows in enumerate(slices):
            own[self._held[self._number(rows.start)]].append(i)
        several = {place: min(threads.get(place, 1), len(those)) for place, those in own.items()}
        return [(place, those[i :: several[place]]) for place, those in own.items() for i in range(several[place])]

    _held = None  # which worker has which partition, as far as is known

    def _submit(self, function, task, parts, place):
        starts = [rows.start for rows in _flat([_slices(part) for part in parts])]
        data = [self._parts[self._number(start)] for start in starts]
        where = {} if place is None else {"workers": [place], "allow_other_workers": True}
        return self._client.submit(function, task, parts, self._key, starts, data, pure=False, **where)

    def _fetch(self, numbers):
        return self._called(_itself, numbers, [None] * len(numbers))

    def _called(self, function, numbers, arguments):
        """Return function(partition, argument) of some partitions."""
        import dask

        parts = [self._parts[i] for i in numbers]
        if self._client is None:
            whole = dask.compute(*parts, scheduler="synchronous", optimize_graph=False)
            return [function(part, a) for part, a in zip(whole, arguments, strict=True)]
        with self._in_touch():
            return self._client.gather(self._client.map(function, parts, arguments, pure=False))

    @contextmanager
    def _in_touch(self):
        """Say in words that a client has gone, or what a worker had."""
        try:
            yield
        except Exception as error:
            if self._client.status != "running":
                words = "the dask client is gone, closed or without its scheduler: connect again, and fit anew"
                raise RuntimeError(f"{words} (checkpoint=... lets a fit go on where it was).") from error
            if isinstance(error, CancelledError):
                words = "a worker of the dask cluster died, and what it had cannot be computed again"
                raise RuntimeError(f"{words}: partitions must be tasks that load, not scattered data.") from error
            raise

    def _shapes(self):
        return self._called(_shape, range(len(self._parts)), [None] * len(self._parts))


def mapped(X, function, like, columns=None):
    """Return function(partition) of the partitions of X as a dask collection of the same kind.

    Parameters
    ----------
    X : dask array or data frame
    function : callable
        Makes an array of a partition, one entry or one line for each row.
    like : array of shape (n,) or (n, n_columns)
        An array of the kind that it makes, of any length.
    columns : list or None, default=None
        What columns are called in a frame.
    """
    if hasattr(X, "map_partitions"):
        return X.map_partitions(_of_frame, function, like, columns, meta=_framed(like, like, columns)[:0])
    X = X.rechunk({1: -1})
    shape = {"drop_axis": 1} if like.ndim == 1 else {"chunks": (X.chunks[0], like.shape[1:])}
    return X.map_blocks(_or_none, function, like, dtype=like.dtype, meta=like[:0], **shape)


def _or_none(part, function, like):
    return function(part) if len(part) else like[:0]


def _of_frame(part, function, like, columns):
    return _framed(_or_none(part, function, like), like, columns, part.index)


def _framed(values, like, columns, index=None):
    import pandas as pd

    if values.ndim > 1:
        return pd.DataFrame(values, index=index, columns=columns)
    return pd.Series(values, index=index, dtype=pd.Series(like).dtype)


def _client():
    """Return the client of distributed that collections are computed by, or None."""
    try:
        from distributed import get_client

        return get_client()
    except (ImportError, ValueError):
        return None


def _names(values):
    columns, name = getattr(values, "columns", None), getattr(values, "name", None)
    if getattr(values, "ndim", 2) == 2 and columns is not None and hasattr(values, "map_partitions"):
        return [str(column) for column in columns]
    return name if hasattr(values, "map_partitions") and isinstance(name, str) else None


def _partitions(values):
    """Return the partitions of a collection along its rows, or None."""
    if values is None:
        return None
    if not is_dask(values):
        raise TypeError(f"X, y and sample_weight must all be dask collections, got {type(values).__name__} among them.")
    if not hasattr(values, "map_partitions") and values.ndim > 1:
        values = values.rechunk({1: -1})
    return list(np.ravel(values.to_delayed()))


def _refuse_unequal(numbers, what):
    if len(set(numbers)) > 1:
        words = "repartition or rechunk them alike"
        raise ValueError(f"X, y and sample_weight have {' and '.join(map(str, numbers))} {what}: {words}.")


def _raw(X, y, weight, classes):
    """Return a partition as rows of floats; labels stay what they are."""
    X = np.asarray(X, dtype=float)
    X = X if X.flags.c_contiguous or X.flags.f_contiguous else np.ascontiguousarray(X)
    numbers = [
        None if side is None else np.ascontiguousarray(side, dtype=float) for side in (not classes and y, weight)
    ]
    return Raw(X, y if classes else numbers[0], numbers[1])


def _labels(raw, number):
    """Return the labels that occur in a partition, and the levels of an ordered category, if it is one."""
    if not len(raw.X):
        return [], None
    try:
        labels = np.unique(check_labels(raw.y)).tolist()
    except ValueError as error:
        raise ValueError(f"partition {number}: {error}") from None
    kind = getattr(raw.y, "dtype", None)
    return labels, list(kind.categories) if getattr(kind, "ordered", False) else None


def _joined_labels(labels, levels):
    """Return the labels of all partitions, each once."""
    if len({isinstance(label, str) for label in labels}) > 1:
        raise ValueError("y mixes strings and numbers: labels must be of one kind.")
    found = np.unique(np.array(labels))
    if not levels or any(other != levels[0] for other in levels):
        return found
    import pandas as pd

    return pd.Categorical(found, categories=levels[0], ordered=True)


def _coded(raw, found, codes):
    return raw._replace(y=codes[np.searchsorted(found, np.asarray(raw.y, dtype=found.dtype))])


def _totals(raw, n_classes):
    return np.bincount(raw.y.astype(int), raw.weight, n_classes)


def _weighed(raw, factors):
    factor = factors[raw.y.astype(int)]
    return raw._replace(weight=factor if raw.weight is None else raw.weight * factor)


def _shape(raw, _):
    weight = len(raw.X) if raw.weight is None else raw.weight.sum()
    return [len(side) for side in raw[:3] if side is not None], raw.X.shape[1], weight


def _some(raw, rows):
    return [None if side is None else side[rows] for side in raw[:3]]


def _itself(raw, _):
    return raw


def _slices(part):
    return [part] if isinstance(part, slice) else part


def _flat(lists):
    return [one for several in lists for one in several]


def _with_partitions(key, starts, data):
    _here.parts = {(key, start): raw for start, raw in zip(starts, data, strict=True)}


@driving
def _each(task, parts, key, starts, data):
    """Do a task for parts whose partitions are here."""
    _with_partitions(key, starts, data)
    try:
        return [task(part) for part in parts]
    finally:
        _here.parts = {}


@driving
def _all(task, slices, key, starts, data):
    """Do a task for all slices together."""
    return _each(task, [slices], key, starts, data)[0]
