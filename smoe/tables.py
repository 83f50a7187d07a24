"""Numbers from csv files, without pandas."""

import csv
import math

import numpy as np

from smoe.validation import check_path

__all__ = ["read_columns"]


def read_columns(path, y, x=None):
    """Return the columns of a csv file with a header as X, y and the names of X's columns.

    Parameters
    ----------
    path : str or path-like
        UTF-8, with commas.
    y : str
        Column of the response.
    x : list of str or None, default=None
        Columns of the features, None for all but the response.

    Returns
    -------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
    names : list of str

    Raises
    ------
    ValueError
        A column that is not there, a row of another length, or an entry that is no finite number; the message has its
        line and column.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> from importlib.resources import files
    >>> from smoe.tables import read_columns
    >>> X, y, names = read_columns(files("smoe.datasets") / "data" / "engel.csv", "foodexp")
    >>> X.shape, y[:2], names
    ((235, 1), array([255.8..., 310.9...]), ['income'])
    """
    check_path(path)
    with open(path, newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file)
        try:
            header = [name.strip() for name in next(lines, [])]
            names = _chosen(path, header, y, x)
            columns = [header.index(name) for name in [*names, y]]
            rows = [_numbers(path, lines.line_num, row, header, columns) for row in lines if row]
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not UTF-8 text.") from None
        except csv.Error as error:
            raise ValueError(f"{path}, line {lines.line_num}: {error}.") from None
    if not rows:
        raise ValueError(f"{path} has no rows below its header.")
    table = np.array(rows)
    return table[:, :-1], table[:, -1], names


def _chosen(path, header, y, x):
    """Return the names of the features, all of which the header has once."""
    if not header:
        raise ValueError(
            f"{path} is empty or begins with an empty line; its first line should have the names of the columns."
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ValueError(f"{path} has more than one column {twice[0]!r}.")
    names = [name for name in header if name != y] if x is None else [name.strip() for name in x]
    for name in [y, *names]:
        if name not in header:
            raise ValueError(f"{path} has no column {name!r}; its columns are {', '.join(header)}.")
    if y in names:
        raise ValueError(f"column {y!r} cannot be the response and a feature.")
    if len(set(names)) < len(names):
        raise ValueError(f"a feature is named twice: {', '.join(names)}.")
    if not names:
        raise ValueError(f"{path} has no column beside the response {y!r}.")
    return names


def _numbers(path, line, row, header, columns):
    if len(row) != len(header):
        raise ValueError(f"{path}, line {line}: {len(row)} entries, but the header has {len(header)}.")
    return [_number(row[column], f"{path}, line {line}, column {header[column]!r}") for column in columns]


def _number(text, place):
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{place}: {text!r} is not a number.") from None
    if not math.isfinite(value):
        raise ValueError(f"{place}: {text!r} is not a finite number.")
    return value
