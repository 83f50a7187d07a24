"""A study on disk: one line of JSON per cell, only ever appended, so that a killed study goes on where it was.

The first line is a header: format, settings of the study, versions. Each further line is a `Record`. JSON has no NaN
and no infinity; they are written as the strings "NaN", "Infinity" and "-Infinity". All other floats are written so
that the same float is read back. A line that cannot be read is as good as missing: its cell is computed again.
"""

import contextlib
import json
import math
import os
import platform
import time
import warnings
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from smoe.hints import FilePath
from smoe.simulation.cells import Record, checked_record

try:
    import fcntl
except ImportError:  # not a Unix: two studies that write one file are not noticed
    fcntl = None  # type: ignore[assignment]

__all__ = ["Store", "read_store"]

_FORMAT = 1
_SIGNATURE = b'{"format": "smoe study",'  # what a header begins with, however short it was cut
_SYNC_EVERY = 1.0  # seconds: what a power cut can take; a killed process loses nothing that was appended
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def encode(value):
    """Return a line of JSON, as bytes with its line end."""
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        text = json.dumps(_worded(value), allow_nan=False)
    return text.encode() + b"\n"


def decode(line):
    """Return what `encode` was given. Raises ValueError for anything that is not a whole JSON object."""
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return _unworded(value) if b'NaN"' in line or b'Infinity"' in line else value


def _worded(value):
    if isinstance(value, dict):
        return {name: _worded(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_worded(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _unworded(value):
    if isinstance(value, dict):
        return {name: _unworded(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_unworded(entry) for entry in value]
    return _WORDS.get(value, value) if isinstance(value, str) else value


def read_store(path):
    """Return settings and records of a study on disk. Nothing is changed or locked: the study may be running.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    settings : dict
    records : list of Record

    Raises
    ------
    ValueError
        The file is not a study's.
    """
    header, records, _ = _parsed(Path(path).read_bytes(), path)
    if header is None:
        raise ValueError(f"{path} holds no study yet.")
    return header["settings"], records


class Store:
    """The file of one study, locked for this process as long as it is open; a context manager.

    The lock is the operating system's and ends with the process, however it ends. Sizes and replications are no
    settings: the record of a cell does not depend on which other cells there are, so a study may grow in its file.

    Parameters
    ----------
    path : str or path-like
        Made if it is not there. A last line that was cut off is removed.
    settings : dict
        What determines the record of a cell, as JSON has it.

    Attributes
    ----------
    records : list of Record
        Those that were there.

    Raises
    ------
    ValueError
        The file is not a study's, or that of a study with other settings; the message says which.
    RuntimeError
        Another process writes this file.
    OSError
        A write failed, for instance because the disk is full. What was written before stays.

    Warns
    -----
    UserWarning
        The file was begun with other versions of the libraries, or has lines that cannot be read.
    """

    def __init__(self, path: FilePath, settings: dict) -> None:
        self.path, self._synced = Path(path), -math.inf
        if self.path.exists() and not self.path.is_file():
            raise ValueError(f"store: {self.path} is not a regular file.")
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self._file = os.fdopen(handle, "r+b", buffering=0)
        try:
            self._lock()
            self._open(settings)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def _lock(self):
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(
                f"store: another process writes {self.path}; wait for it, or give this study a file of its own."
            ) from None
        except OSError:  # a file system without locks
            pass

    def _open(self, settings):
        """Read what is there; change the file only if it belongs to this study."""
        content, settings = self._file.readall(), decode(encode(settings))
        header, self.records, self._end = _parsed(content, self.path)
        if header is not None:
            self._compare(header, settings)
        self._cut()
        if header is None:
            header = {"format": "smoe study", "version": _FORMAT, "settings": settings, "versions": _versions()}
            self._write(encode(header))
        elif not content[: self._end].endswith(b"\n"):
            self._write(b"\n")

    def _compare(self, header, settings):
        differences = _differences(header["settings"], settings)
        if differences:
            raise ValueError(
                f"store: {self.path} holds a study with other settings: {'; '.join(differences)}. "
                "Use another file, or the settings of that study."
            )
        changed = _differences(header["versions"], _versions())
        if changed:
            warnings.warn(
                f"store: {self.path} was begun with other versions, records may differ in the last digits: "
                f"{'; '.join(changed)}",
                stacklevel=3,
            )

    def append(self, records: Iterable[Record]) -> None:
        """Write records; at most the last second of them can be lost in a power cut, none if the process is killed."""
        self._write(b"".join(encode(record._asdict()) for record in records))

    def _write(self, data):
        try:
            left = memoryview(data)
            while left:
                left = left[self._file.write(left) :]
            if time.monotonic() - self._synced >= _SYNC_EVERY:
                self._sync()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._cut()
            raise self._explained(error) from error
        self._end += len(data)

    def _explained(self, error):
        return OSError(
            error.errno,
            f"store: cannot write {self.path}: {error.strerror}. All earlier records are safe; make room and run the "
            "study again, it goes on from there.",
        )

    def _cut(self):
        """Remove what is beyond the last whole line, and go on from there."""
        self._file.truncate(self._end)
        self._file.seek(self._end)

    def _sync(self):
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Write everything to the disk and release the lock."""
        if not self._file.closed:
            try:
                self._sync()
            except OSError as error:
                raise self._explained(error) from error
            finally:
                self._file.close()


def _parsed(content, path):
    """Return header (None if there is none yet), records, and where the whole lines end."""
    lines, end = _whole_lines(content)
    if not lines:
        begun = content.rstrip(b"\0")  # what a power cut leaves of a file may be zeros
        if begun[: len(_SIGNATURE)] != _SIGNATURE[: len(begun)]:
            raise ValueError(f"store: {path} is not the file of a study; it is left as it is.")
        return None, [], 0
    header = _checked_header(_read_or_none(lines[0]) or {}, path)
    seed = header["settings"].get("random_state")
    records = [_read_or_none(line, lambda entries: checked_record(entries, seed)) for line in lines[1:]]
    unread = records.count(None)
    if unread:
        warnings.warn(
            f"store: {unread} line(s) of {path} cannot be read; their cells count as missing "
            "(so do lines that have another seed)",
            stacklevel=4,
        )
    first = {}
    for record in filter(None, records):
        first.setdefault(record.address, record)
    return header, list(first.values()), end


def _checked_header(header, path):
    if header.get("format") != "smoe study":
        raise ValueError(f"store: {path} is not the file of a study (format {_FORMAT}); it is left as it is.")
    written = header.get("version")
    if isinstance(written, int) and written > _FORMAT:
        raise ValueError(
            f"store: {path} is not the file of a study that this smoe can read: a newer one wrote it (format "
            f"{written}, known up to {_FORMAT}); update smoe. It is left as it is."
        )
    if written != _FORMAT or not all(isinstance(header.get(name), dict) for name in ("settings", "versions")):
        raise ValueError(
            f"store: {path} is not the file of a study: its first line is damaged, it should have version, settings "
            "and versions; it is left as it is."
        )
    return header


def _whole_lines(content):
    """Return the lines that are whole, and where they end; the last one may lack its line end if it can be read."""
    *lines, tail = content.split(b"\n")
    if _read_or_none(tail) is not None:
        return [*lines, tail], len(content)
    return lines, len(content) - len(tail)


def _read_or_none(line, make=dict):
    """Return what a line holds; lines nested too deep for Python are no records either."""
    try:
        return make(decode(line))
    except (ValueError, TypeError, RecursionError):
        return None


@cache
def _versions():
    found = {"python": platform.python_version()}
    for package in ("smoe", "numpy", "scipy", "numba"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a checkout that is not installed
            found[package] = "unknown"
    return found


def _differences(there, here, name=""):
    """Say in words where two settings differ."""
    if isinstance(there, dict) and isinstance(here, dict):
        names = [*there, *(key for key in here if key not in there)]
        return [
            line
            for key in names
            for line in _differences(there.get(key, "absent"), here.get(key, "absent"), f"{name}.{key}".strip("."))
        ]
    if there == here or (there != there and here != here):
        return []
    return [f"{name} is {_short(there)} there and {_short(here)} here"]


def _short(value, limit=80):
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
