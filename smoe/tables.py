"""Numbers from csv files, without pandas."""

import csv
import gzip
import io
import math
import os
import re
import sys
import warnings
import zlib
from array import array
from contextlib import contextmanager
from itertools import islice

import numpy as np

from smoe.validation import check_path

__all__ = ["read_columns"]

_CHUNK = 1000  # rows that are text at a time
_DECIMAL = set("0123456789+-.eE \t")  # float() takes more: other scripts' digits, 1_0, nan
_UNNAMED = re.compile(r"(Unnamed: \d+)?")  # what pandas calls a column without a name when it reads one
_OTHERS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}


def read_columns(path, y, x=None, *, sep=None, decimal=".", encoding="utf-8"):
    r"""Return the columns of a csv file with a header as X, y and the names of X's columns.

    Parameters
    ----------
    path : str or path-like
        A name that ends in ".gz" is unpacked; "-" is standard input.
    y : str
        Column of the response.
    x : list of str or None, default=None
        Columns of the features, None for all but the response and those without a name, such as pandas' row numbers.
    sep : str or None, default=None
        The character between the columns; None for ",", or for ";" if the decimal mark is ",".
    decimal : {".", ","}, default="."
        The decimal mark.
    encoding : str, default="utf-8"
        Of the text, such as "latin-1", "cp1252" or "utf-16".

    Returns
    -------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
    names : list of str

    Raises
    ------
    ValueError
        A column that is not there or there twice, a row of another length, or an entry that is not a finite decimal
        number; the message has its line and column.
    OSError
        The file cannot be read.

    Warns
    -----
    UserWarning
        Columns without a name were left out.

    Examples
    --------
    >>> from importlib.resources import files
    >>> from smoe.tables import read_columns
    >>> X, y, names = read_columns(files("smoe.datasets") / "data" / "engel.csv", "foodexp")
    >>> X.shape, y[:2], names
    ((235, 1), array([255.8..., 310.9...]), ['income'])
    """
    check_path(path)
    path, sep = os.fsdecode(path), _checked_separator(sep, decimal)
    place = "standard input" if path == "-" else path
    with _opened(path, encoding) as file:
        lines = csv.reader(file, delimiter=sep)
        try:
            header = [name.strip() for name in next(lines, [])]
            names = _chosen(place, header, y, x, sep)
            columns = [header.index(name) for name in [*names, y]]
            table = _table(place, lines, header, columns, decimal)
        except UnicodeError:
            text = "UTF-8" if encoding == "utf-8" else encoding
            raise ValueError(
                f"{place} is not {text} text; give its encoding, such as encoding='latin-1', 'cp1252' or 'utf-16' "
                "(--encoding)."
            ) from None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{place} is cut off or damaged: {error}.") from None
        except csv.Error as error:
            raise ValueError(f"{place}, line {lines.line_num}: {error}.") from None
    if not len(table):
        raise ValueError(f"{place} has no rows below its header.")
    return table[:, :-1], table[:, -1], names


@contextmanager
def _opened(path, encoding):
    """Yield the text; a mark of the byte order at its begin is no part of it."""
    encoding = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    settings = {"encoding": encoding, "newline": ""}
    try:
        "".encode(encoding)
    except LookupError:
        raise ValueError(f"encoding={encoding!r} is not known; 'latin-1', 'cp1252' and 'utf-16' are.") from None
    if path == "-":
        text = io.TextIOWrapper(sys.stdin.buffer, **settings)
        try:
            yield text
        finally:
            text.detach()
        return
    with gzip.open(path, "rt", **settings) if path.endswith(".gz") else open(path, **settings) as file:
        yield file


def _checked_separator(sep, decimal):
    if decimal not in (".", ","):
        raise ValueError(f"decimal must be '.' or ',', got {decimal!r}.")
    if sep is None:
        return "," if decimal == "." else ";"
    if not isinstance(sep, str) or len(sep) != 1 or sep in '"\r\n':
        raise ValueError(f"sep must be one character, neither a quote nor a line end, got {sep!r}.")
    if sep == decimal:
        raise ValueError(f"sep and decimal are both {sep!r}.")
    return sep


def _chosen(path, header, y, x, sep):
    """Return the names of the features, all of which the header has once."""
    if not header:
        raise ValueError(
            f"{path} is empty or begins with an empty line; its first line should have the names of the columns."
        )
    names = _named(path, [name for name in header if name != y]) if x is None else [name.strip() for name in x]
    for name in [y, *names]:
        if name not in header:
            raise ValueError(
                f"{path} has no column {name!r}; its columns are {', '.join(header)}.{_other_separator(header, sep)}"
            )
    if y in names:
        raise ValueError(f"column {y!r} cannot be the response and a feature.")
    twice = sorted({name for name in [y, *names] if header.count(name) > 1})
    if twice:
        raise ValueError(f"{path} has more than one column {twice[0]!r}.")
    if len(set(names)) < len(names):
        raise ValueError(f"a feature is named twice: {', '.join(names)}.")
    if not names:
        raise ValueError(f"{path} has no column beside the response {y!r} that has a name.")
    return names


def _named(path, names):
    """Leave out what has no name, and say so."""
    named = [name for name in names if not _UNNAMED.fullmatch(name)]
    if len(named) < len(names):
        left_out = sorted(set(names) - set(named))
        warnings.warn(
            f"{path}: {len(names) - len(named)} column(s) without a name, such as row numbers, left out of the "
            f"features; name {' or '.join(map(repr, left_out))} among them to use it",
            stacklevel=4,
        )
    return named


def _other_separator(header, sep):
    """Return a hint if the header looks as if something else stood between the columns."""
    found = [other for other in _OTHERS if other != sep and len(header) == 1 and other in header[0]]
    if not found:
        return ""
    return f" Are they separated by {_OTHERS[found[0]]}? Then give sep={found[0]!r} (--sep {_typed(found[0])})."


def _typed(sep):
    return "tab" if sep == "\t" else f"'{sep}'"


def _table(path, lines, header, columns, decimal):
    """Return the numbers of these columns, (n, len(columns)); text is kept for some rows at a time only."""
    numbers = array("d")
    while rows := list(islice(((lines.line_num, row) for row in lines if row), _CHUNK)):
        for line, row in rows:
            if len(row) != len(header):
                raise ValueError(f"{path}, line {line}: {len(row)} entries, but the header has {len(header)}.")
        texts = [row[column] for _, row in rows for column in columns]
        chunk = _floats(texts, decimal)
        if chunk is None:
            raise ValueError(_first_fault(path, rows, header, columns, decimal))
        numbers.extend(chunk)
    return np.frombuffer(numbers).reshape(-1, len(columns))


def _floats(texts, decimal):
    """Return texts as an array of numbers, None if one of them is not a finite number."""
    joined = "".join(texts)
    if not set(joined) <= (_DECIMAL if decimal == "." else _DECIMAL - {"."} | {","}):
        return None
    try:
        values = array("d", map(float, texts if decimal == "." else (text.replace(",", ".") for text in texts)))
    except ValueError:
        return None
    return values if np.isfinite(np.frombuffer(values)).all() else None


def _first_fault(path, rows, header, columns, decimal):
    """Return in words which entry is not a number."""
    for line, row in rows:
        for column in columns:
            text = row[column]
            if _floats([text], decimal) is None:
                kind = "finite number" if _is_float(text.replace(decimal, ".")) else "number"
                hint = _other_mark(text, decimal)
                return f"{path}, line {line}, column {header[column]!r}: {text!r} is not a {kind}.{hint}"


def _is_float(text):
    """Whether Python would take text for a number that is not finite."""
    try:
        return not math.isfinite(float(text))
    except ValueError:
        return False


def _other_mark(text, decimal):
    other = "," if decimal == "." else "."
    if _floats([text], other) is None or other not in text:
        return ""
    return f" If {other!r} is the decimal mark, give decimal={other!r} (--decimal {other})."
