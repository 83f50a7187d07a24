"""Rows of dask arrays and data frames, visited where they are."""

import threading
import uuid
from collections import defaultdict

import numpy as np

from smoe.params import tree_sum
from smoe.rows.source import ArraySource, Raw, Source
from smoe.threads import driving, spread

__all__ = ["DaskRows", "brought", "is_dask", "mapped"]

_FEW = 200_000  # rows; of fewer, asking for a pass takes longer than the pass
_NUMBERS = 2**25  # that are brought at most

_here = threading.local()  # the partitions that a task has been given


def is_dask(values):
    """Whether this is a collection of dask."""
    return hasattr(values, "__dask_graph__")


def brought(source):
    """Return the rows of a `DaskRows` as arrays if they are few, else itself."""
    if source.n_rows >= _FEW or source.n_rows * source.n_features > _NUMBERS:
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

    Raises
    ------
    ValueError
        Partitions of X, y and weight that do not have the same numbers of rows, or no rows.
    """

    def __init__(self, X, y=None, weight=None):
        import dask

        self._key = uuid.uuid4().hex
        self.names, self.response = _names(X), None if y is None else _names(y)
        sides = [_partitions(side) for side in (X, y, weight)]
        _refuse_unequal([len(side) for side in sides if side is not None], "partitions")
        n = len(sides[0])
        parts = [dask.delayed(_raw)(*(None if side is None else side[i] for side in sides)) for i in range(n)]
        self._client = _client()
        self._parts = dask.optimize(*parts) if self._client is None else self._client.compute(parts)
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
        places = self._by_place([_slices(part)[0] for part in parts])
        futures = [self._submit(_each, task, [parts[i] for i in own], place) for place, own in places]
        found = dict(zip([i for _, own in places for i in own], _flat(self._client.gather(futures)), strict=True))
        yield from (found[i] for i in range(len(parts)))

    def reduce(self, task, parts, n_threads=1):
        """Return the sum of task(part); each worker adds up what it has."""
        if self._client is None:
            return super().reduce(task, parts, n_threads)
        slices = _flat(parts)
        futures = [self._submit(_all, task, [slices[i] for i in own], place) for place, own in self._by_place(slices)]
        return tree_sum(self._client.gather(futures))

    def _number(self, row):
        return int(np.searchsorted(self._ends, row, side="right"))

    def _by_place(self, slices):
        """Return a worker and the numbers of the slices that it shall visit, for each thread of each worker."""
        if self._held is None:
            holders = self._client.who_has(self._parts)
            self._held = [next(iter(holders[part.key]), None) for part in self._parts]
        threads, own = self._client.nthreads(), defaultdict(list)
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
        return self._client.gather(self._client.map(function, parts, arguments, pure=False))

    def _shapes(self):
        return self._called(_shape, range(len(self._parts)), [None] * len(self._parts))


def mapped(X, function):
    """Return function(partition) of the partitions of X, a number for each row, as a dask collection like y."""
    if hasattr(X, "map_partitions"):
        import pandas as pd

        def of_frame(part):
            return pd.Series(function(part) if len(part) else np.empty(0), index=part.index, dtype=float)

        return X.map_partitions(of_frame, meta=pd.Series(dtype=float))

    def of_array(part):
        return function(part) if len(part) else np.empty(0)

    return X.rechunk({1: -1}).map_blocks(of_array, drop_axis=1, dtype=float, meta=np.empty(0))


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


def _raw(X, y, weight):
    """Return a partition as rows of floats."""
    X = np.asarray(X, dtype=float)
    X = X if X.flags.c_contiguous or X.flags.f_contiguous else np.ascontiguousarray(X)
    return Raw(X, *(None if side is None else np.ascontiguousarray(side, dtype=float) for side in (y, weight)))


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
