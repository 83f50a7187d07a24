"""Rows in Parquet files, read row group by row group."""

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np

from smoe.hints import FilePath
from smoe.optional import needed
from smoe.rows.source import Raw, Source

__all__ = ["ParquetRows"]

_INDEX = "__index_level_"  # what pandas calls an index without a name
_MISSING = "=__HIVE_DEFAULT_PARTITION__"  # how names of directories end that tell of a missing value
_WHOLE, _NUMBER = r"-?(0|[1-9]\d{0,17})", r"-?(0|[1-9]\d*)(\.\d+)?"  # in names of directories
_here = threading.local()  # the reader that reads ahead of the pass of this thread


class _File(NamedTuple):
    """A file as it was found: where it is, its size and time, its footer, its first row, what its directories say."""

    path: Path
    stamp: tuple
    metadata: Any
    first: int
    told: dict


class ParquetRows(Source):
    """Rows in a Parquet file, or in all those of a directory, which are never in memory as a whole.

    Row groups are the blocks: each is decoded when it is visited, by the thread that visits it; where a pass has one
    thread, another reads the next block meanwhile. Of its columns only those that are named here are read. Groups of
    64,000 to 256,000 rows are best. Needs pyarrow (``pip install smoe[arrow]``).

    Parameters
    ----------
    path : str or path
        A file, or a directory: its files that end in ``.parquet``, also those further down, in the order of their
        paths. Files and directories that begin with a dot or an underscore are left out. What directories such as
        ``year=2020`` tell are columns, too, unless files have them: of numbers, if all are, or else of text.
    y : str, list of str or None, default=None
        The column of the response, which may be of text for `smoe.MoEClassifier`, or those of several. None for rows
        to predict.
    features : list of str, default=None
        The columns of X, in this order. By default all others of the files, but an index that pandas has stored.
    weight : str, default=None
        The column of the weights, all positive.
    groups : str, default=None
        The column of labels, for clustered covariances.

    Attributes
    ----------
    names : list of str
        The columns of X.
    files : list of path
        The files that have rows.

    Raises
    ------
    ValueError
        A column that is not there, or not of numbers; files with other columns than the first; no rows. Or, later on, a
        file that has changed since.

    Notes
    -----
    Whole numbers and booleans are read as floats. Missing values are refused, with file and row, when a fit looks at
    them. Sources are picklable: they hold what the footers of the files say, and no rows.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import pyarrow as pa
    >>> import pyarrow.parquet as pq
    >>> from smoe import MoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.rows import ParquetRows
    >>> X, y = load_faithful(return_X_y=True)
    >>> with TemporaryDirectory() as folder:
    ...     pq.write_table(pa.table({"eruptions": y, "waiting": X[:, 0]}), f"{folder}/faithful.parquet")
    ...     source = ParquetRows(folder, y="eruptions")
    ...     model = MoERegressor(2, random_state=0).fit(source)
    >>> source.names, model.converged_, round(model.loglik_, 4)
    (['waiting'], True, -96.0516)
    """

    def __init__(
        self,
        path: FilePath,
        y: str | list[str] | None = None,
        features: Sequence[str] | None = None,
        weight: str | None = None,
        groups: str | None = None,
    ) -> None:
        self.path, self._weight, self._groups = path, weight, groups
        self.response = y
        found = _opened(Path(path))
        schema = found[0][1]
        roles = [*([y] if isinstance(y, str) else y or []), *(c for c in (weight, groups) if c is not None)]
        self.names = _default(schema, roles) if features is None else _list_of(features)
        self.columns = [*self.names, *roles]
        _refuse_twice(self.columns)
        for file, other in found:
            texts = [groups, y] if isinstance(y, str) else [groups]
            _check_schema(file, other, self.columns, texts, schema if features is None else None)
        self._of_text = isinstance(y, str) and not _is_number(_type_of(y, *found[0]))
        self._files = [file for file, _ in found if file.metadata.num_rows]
        self.files = [file.path for file in self._files]
        self.n_rows, self.n_features = sum(file.metadata.num_rows for file in self._files), len(self.names)
        if not self.n_rows:
            raise ValueError(f"{path} has no rows.")
        where = [(i, g, file.first) for i, file in enumerate(self._files) for g in range(file.metadata.num_row_groups)]
        sizes = [self._files[i].metadata.row_group(g).num_rows for i, g, _ in where]
        self._where, self._ends = where, np.cumsum(sizes)

    @cached_property
    def total_weight(self) -> float:  # type: ignore[override]  # it is looked at when it is asked for
        """Sum of the weights: a pass over their column."""
        if self._weight is None:
            return float(self.n_rows)
        return float(sum(self._columns(g, g + 1, [self._weight])[0].sum() for g in range(len(self._where))))

    def where(self, row: int) -> str:
        """Say in which row of which file a row is."""
        file = self._file_of(row)
        return f"row {row - file.first} of {file.path}"

    def _file_of(self, row):
        return self._files[self._where[np.searchsorted(self._ends, row, side="right")][0]]

    def cuts(self, size: int) -> list[slice]:
        """Return the slices of row groups, neighbours of one file together as long as they are short."""
        out: list[slice] = []
        file = None
        for (i, _, _), stop in zip(self._where, map(int, self._ends), strict=True):
            start = out[-1].stop if out else 0
            if i == file and stop - out[-1].start <= size:
                out[-1] = slice(out[-1].start, stop)
            elif stop > start:
                out.append(slice(start, stop))
            file = i
        return out

    def read(self, rows: slice) -> Raw:
        """Return the rows of one slice, those that a reader has already or else what the file says."""
        reader = getattr(_here, "reader", None)
        found = reader.next(rows) if reader is not None and reader.source is self else None
        return self._raw(*self._groups_of(rows)) if found is None else found

    def run(self, task: Callable, parts: Sequence, n_threads: int = 1) -> Iterator:
        """Yield task(part) in the order of the parts; one thread reads ahead, of several each reads what it visits."""
        slices = [rows for part in parts for rows in ([part] if isinstance(part, slice) else part)]
        if n_threads > 1 or len(slices) < 2:
            yield from super().run(task, parts, n_threads)
            return
        with ThreadPoolExecutor(1) as pool:
            reader = _Reader(self, slices, pool)
            for part in parts:
                yield reader.during(task, part)

    def take(self, rows: np.ndarray) -> Raw:
        """Return few rows by their indices; all row groups that hold one are read."""
        rows = np.asarray(rows)
        group = np.searchsorted(self._ends, rows, side="right")
        parts, order = [], np.argsort(group, kind="stable")
        for g in np.unique(group):
            own = rows[group == g] - (self._ends[g - 1] if g else 0)
            parts.append([None if a is None else a[own] for a in self._raw(g, g + 1)[:3]])
        back = np.argsort(order, kind="stable")
        sides: Any = zip(*parts, strict=True) if parts else [[np.zeros((0, self.n_features))], [None], [None]]
        joined: list[Any] = [None if side[0] is None else np.concatenate(side)[back] for side in sides]
        return Raw(*joined)

    def labels(self) -> np.ndarray | None:
        """Return the label of each row's group, (n_rows,), or None."""
        if self._groups is None:
            return None
        parts = [self._table(g, g + 1, [self._groups]).column(0) for g in range(len(self._where))]
        return np.concatenate([part.to_numpy() for part in parts])

    def labels_of(self, rows: slice) -> tuple:
        """Return y, as it is, and the weights of one slice; no other column is read."""
        low, high = self._groups_of(rows)
        names = [name for name in (self.response, self._weight) if name is not None]
        table = self._table(low, high, names)
        y, weight = (None if name is None else table.column(name) for name in (self.response, self._weight))
        if y is not None and y.null_count:
            raise ValueError(
                f"y has no class in {y.null_count} rows of {self._file_of(rows.start).path}: leave them out."
            )
        y = y if y is None or not hasattr(y.type, "value_type") else y.cast(y.type.value_type)
        return tuple(None if side is None else side.to_numpy() for side in (y, weight))

    def _groups_of(self, rows):
        low, high = (int(np.searchsorted(self._ends, row, side="right")) for row in (rows.start, rows.stop - 1))
        return low, high + 1

    def _raw(self, low, high):
        """Return the rows of some row groups of one file; a response of text is left out."""
        several = self.response is not None and not isinstance(self.response, str)
        own = [] if self.response is None or self._of_text else self.response if several else [self.response]
        columns = self._columns(low, high, [*self.names, *own, *([self._weight] if self._weight else [])])
        n, q = self.n_features, len(own)
        y = columns[n : n + q]
        y = None if not q else np.ascontiguousarray(y.T) if several else y[0]
        return Raw(columns[:n].T, y, columns[-1] if self._weight else None)

    def _columns(self, low, high, names):
        """Return columns of some row groups as floats, (n_columns, m)."""
        table = self._table(low, high, list(dict.fromkeys(names)))
        out = np.empty((len(names), table.num_rows))
        for values, name in zip(out, names, strict=True):
            values[:] = table.column(name).to_numpy()
        return out

    def _table(self, low, high, names):
        from pyarrow.parquet import ParquetFile

        file = self._files[self._where[low][0]]
        _refuse_changed(file)
        with ParquetFile(file.path, metadata=file.metadata) as opened:
            groups = [g for _, g, _ in self._where[low:high]]
            inside = [name for name in names if name not in file.told]
            table = opened.read_row_groups(groups, columns=inside, use_threads=False)
        n = sum(file.metadata.row_group(g).num_rows for g in groups)
        return _with_told(table, {name: file.told[name] for name in names if name in file.told}, n)


class _Reader:
    """Reads the next slice of a pass while the one before is visited, if tasks read slices in their order."""

    def __init__(self, source, slices, pool):
        self.source, self._slices, self._pool = source, iter(slices), pool
        self._next, self._future = next(self._slices), None

    def during(self, task, part):
        """Return task(part), for which ``source.read`` asks this reader first."""
        before = getattr(_here, "reader", None)
        _here.reader = self
        try:
            return task(part)
        finally:
            _here.reader = before

    def next(self, rows):
        """Return the rows of the slice if it is the next one, and begin to read that after it; None if it is not."""
        if rows != self._next:
            return None
        found = self._read(rows) if self._future is None else self._future.result()
        self._next = next(self._slices, None)
        self._future = None if self._next is None else self._pool.submit(self._read, self._next)
        return found

    def _read(self, rows):
        return self.source._raw(*self.source._groups_of(rows))


def _paths(path):
    if not path.exists():
        raise ValueError(f"path: there is no {path}.")
    if path.is_file():
        return [path]
    inner = (p.relative_to(path) for p in sorted(path.rglob("*.parquet")))
    found = [path / p for p in inner if not any(part[0] in "._" for part in p.parts)]
    if not found:
        raise ValueError(f"path: no file in {path} ends in .parquet.")
    return found


def _stamp(path):
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _opened(root):
    """Return each file with its schema."""
    arrow, parquet = (needed(module, "ParquetRows", "smoe[arrow]") for module in ("pyarrow.lib", "pyarrow.parquet"))
    out, first, paths = [], 0, _paths(root)
    for path, told in zip(paths, _told(root, paths), strict=True):
        stamp = _stamp(path)
        try:
            with parquet.ParquetFile(path) as opened:
                metadata, schema = opened.metadata, opened.schema_arrow
        except arrow.ArrowInvalid as error:
            raise ValueError(f"path: {path} is no Parquet file: {error}") from None
        told = {name: value for name, value in told.items() if name not in schema.names}
        out.append((_File(path, stamp, metadata, first, told), schema))
        first += metadata.num_rows
    return out


def _told(root, paths):
    """Return what the directories of each file tell, as year=2020 does: numbers where all files have numbers."""
    folders = [path.relative_to(root).parts[:-1] for path in paths]
    told = [dict(p.split("=", 1) for p in parts if "=" in p and not p.endswith(_MISSING)) for parts in folders]
    for name in {name for one in told for name in one}:
        values = [unquote(one[name]) for one in told if name in one]
        numbers = _numbers(values)
        for one, value in zip((one for one in told if name in one), numbers or values, strict=True):
            one[name] = value
    return told


def _numbers(values):
    """Return texts as numbers, or None if some are none; 007 is text."""
    for kind, pattern in ((int, _WHOLE), (float, _NUMBER)):
        if all(re.fullmatch(pattern, value) for value in values):
            return [kind(value) for value in values]
    return None


def _with_told(table, told, n):
    """Return a table with columns of what directories tell."""
    import pyarrow as pa

    for name, value in told.items():
        column = pa.repeat(pa.scalar(value), n)
        table = table.append_column(name, column) if table.num_columns else pa.table({name: column})
    return table


def _type_of(name, file, schema):
    """Return the type of a column of the file or of its directories."""
    import pyarrow as pa

    return pa.scalar(file.told[name]).type if name in file.told else schema.field(name).type


def _refuse_changed(file):
    try:
        changed = _stamp(file.path) != file.stamp
    except FileNotFoundError:
        changed = True
    if changed:
        raise ValueError(f"{file.path} has changed, or gone, since ParquetRows looked at it: make a new one of it.")


def _default(schema, roles):
    """Return all columns without a role that are not an index of pandas."""
    stored = (schema.pandas_metadata or {}).get("index_columns", [])
    return [name for name in schema.names if name not in [*roles, *map(str, stored)] and not name.startswith(_INDEX)]


def _list_of(features):
    if isinstance(features, str) or not all(isinstance(name, str) for name in features):
        raise TypeError(f"features must be a list of names of columns, got {features!r}.")
    return list(features)


def _refuse_twice(columns):
    for name in columns:
        if columns.count(name) > 1:
            raise ValueError(f"column {name!r} is named twice among features, y, weight and groups.")


def _is_number(kind):
    from pyarrow import types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)


def _check_schema(file, schema, columns, labels, like):
    """Raise ValueError unless the columns are there and hold numbers; ``like`` has all there may be, or is None."""
    from pyarrow import types

    names = [*schema.names, *file.told]
    missing = [name for name in columns if name not in names]
    if missing:
        raise ValueError(f"{file.path} has no column {missing[0]!r}; its columns are {names}.")
    if like is not None and (more := sorted(set(schema.names) - set(like.names))):
        raise ValueError(f"{file.path} has columns that the first file has not: {more}; name the features.")
    for name in columns:
        kind = _type_of(name, file, schema)
        if types.is_null(kind):
            raise ValueError(f"column {name!r} of {file.path} has missing values only: fill it, or leave it out.")
        if not _is_number(kind) and name not in labels:
            raise ValueError(f"column {name!r} of {file.path} is {kind}, not of numbers: leave it out, or encode it.")
