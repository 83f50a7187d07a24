"""What passes over the rows tell of the columns: means, scales, correlations, and how their numbers were rounded.

All are passes over a source, of which they see what a view shows (see ``smoe.rows.View``).
"""

import numpy as np

from smoe._kernels.moments import weighted_grams
from smoe.rows.source import Source

__all__ = ["Response", "are_single", "gram", "joined_sizes", "mean_and_scale", "observed_mean_and_scale", "size_of"]

_BLOCK = 16384
_SHARED = 12  # columns from which threads gain: with fewer they wait for one another (measured)
_CONSTANT = 1e-13  # spread, relative to the largest value, that is rounding and no information
_GLANCE = 64  # rows that tell of most columns that they are not rounded to float32


class Response(Source):
    """The rows of a source with y in place of X."""

    def __init__(self, source):
        self.source = source
        self.n_rows, self.total_weight = source.n_rows, source.total_weight
        self.n_features = source.take(np.arange(1)).y[0].size

    def read(self, rows):
        """Return the rows of one slice."""
        return _response(self.source.read(rows))

    def take(self, rows):
        """Return few rows by their indices."""
        return _response(self.source.take(rows))

    def where(self, row):
        """Say where a row is."""
        return self.source.where(row)

    def cuts(self, size):
        """Return the slices of the source."""
        return self.source.cuts(size)

    def run(self, task, parts, n_threads=1):
        """Do what the source does."""
        return self.source.run(task, parts, n_threads)


def _response(raw):
    return raw._replace(X=raw.y.reshape(len(raw.y), -1), y=None)


def _visited(visit, source, view, n_threads):
    """Return visit(Z, share) block by block: the view's design and shares of weight."""
    total = source.total_weight

    def one(rows):
        raw = source.read(rows)
        own = raw.rows
        share = np.full(own.stop - own.start, 1.0) if raw.weight is None else raw.weight[own]
        return visit(view.design(raw.X, own.start, own.stop), share / total)

    return list(source.run(one, source.cuts(_BLOCK), n_threads if len(view.columns) >= _SHARED else 1))


def _size(Z, share):
    return size_of(Z[:-1], share)


def size_of(columns, share):
    """Return largest absolute value and mean of each column, (2, n_columns), of rows with these shares of weight."""
    return np.array([np.maximum(columns.max(axis=1), -columns.min(axis=1)), columns @ share])


def joined_sizes(parts):
    """Return the sizes of all rows from those of parts."""
    return np.array([np.max([part[0] for part in parts], axis=0), sum(part[1] for part in parts)])


def _gram(Z, share):
    return weighted_grams(share[None], Z)[0]


def gram(source, view, centred, n_threads):
    """Return the mean of z z' over the rows, and the means of z; what is left of those by rounding is taken off."""
    found = sum(_visited(_gram, source, view, n_threads))
    rest = found[:-1, -1]
    return found[:-1, :-1] - np.outer(rest, rest) if centred else found[:-1, :-1], rest


def _squares(Z, share):
    return np.array([Z[:-1] ** 2 @ share, Z[:-1] @ share])


def squares(source, view, centred, n_threads):
    """Return what `gram` does without the products of different columns."""
    found, rest = sum(_visited(_squares, source, view, n_threads))
    return found - rest**2 if centred else found, rest


def mean_and_scale(source, plain, centred=True, n_threads=1, sizes=None, products=True):
    """Weighted means and ML standard deviations of the columns, which ones are constant, and what is left of them.

    That is the Gram matrix of the standardised columns (None without ``products``), and their sizes in the same units.
    No value overflows. It takes two passes, or one if the ``sizes`` are known.

    Raises
    ------
    ValueError
        A number is NaN or infinite.
    """
    sizes = joined_sizes(_visited(_size, source, plain, n_threads)) if sizes is None else sizes
    largest, mean = sizes
    if not np.isfinite(largest).all():
        raise ValueError(_first_not_finite(source, plain))
    unit = np.where(largest > 0, largest, 1.0)
    moments, rest = (gram if products else squares)(source, plain._replace(shift=mean, scale=unit), True, n_threads)
    mean = mean / unit + rest
    square = moments.diagonal() if products else moments
    sd = np.sqrt(np.maximum(square, 0.0))
    size, constant = np.hypot(mean, sd), sd <= _CONSTANT
    around = mean
    if not centred:
        sd = np.where(constant, np.sqrt(square + mean**2), sd)
        constant, mean = largest == 0, np.zeros(len(mean))
    own = np.where(constant, 1.0, sd)
    if products:
        moments = (moments if centred else moments + np.outer(around, around)) / np.outer(own, own)
    return unit * mean, unit * sd, constant, moments if products else None, size / own


def observed_mean_and_scale(source):
    """Return the same first three of columns some of whose values are missing (NaN): weighted means and so on."""

    def totals(function):
        """Add up function(values, weights), zero where they are missing, over the blocks."""
        found = 0.0
        for rows in source.cuts(_BLOCK):
            raw = source.read(rows)
            X, weight = raw.X[raw.rows], 1.0 if raw.weight is None else raw.weight[raw.rows, None]
            there = ~np.isnan(X)
            found = found + function(np.where(there, X, 0.0), there * weight)
        return found

    with np.errstate(over="ignore", invalid="ignore"):
        weight, size = totals(lambda X, w: np.array([w.sum(axis=0), (np.abs(X) * w).sum(axis=0)]))
        unit = np.where(size > 0, size / weight, 1.0)
        mean = totals(lambda X, w: (X / unit * w).sum(axis=0)) / weight
        mean += totals(lambda X, w: ((X / unit - mean) * w).sum(axis=0)) / weight
        sd = np.sqrt(totals(lambda X, w: ((X / unit - mean) ** 2 * w).sum(axis=0)) / weight)
    return unit * mean, unit * sd, sd <= _CONSTANT * np.hypot(mean, sd)


def _first_not_finite(source, plain):
    """Say which number is the first that is NaN or infinite."""
    for rows in source.cuts(_BLOCK):
        raw = source.read(rows)
        wrong = np.argwhere(~np.isfinite(raw.X[raw.rows][:, plain.columns]))
        if len(wrong):
            of_y, column = isinstance(source, Response), f"column {plain.columns[wrong[0, 1]]} of "
            what = "y" if of_y and source.n_features == 1 else column + ("y" if of_y else "X")
            place = source.where(rows.start + wrong[0, 0])
            return f"{what} is NaN or infinite in {place}: fill it, or leave the row out."
    return "X or y holds NaN or infinity."


def _singles(Z, _share):
    """Whether each column holds float32 numbers only, whether some use all digits, and whether all are integers."""
    with np.errstate(over="ignore", under="ignore"):
        single = Z[:-1].astype(np.float32)
    full = (single.view(np.int32) & 1).any(axis=1)
    integer = (single == np.rint(single)) & (np.abs(single) < 2**24)
    return np.array([(single == Z[:-1]).all(axis=1), full, integer.all(axis=1)])


def are_single(source, plain):
    """Return which columns were rounded to float32: numbers of up to 24 bits that use them all, and no integers."""
    few = min(_GLANCE, source.n_rows)
    single, _, _ = _singles(plain.design(source.take(np.arange(few)).X, 0, few), None)
    if not single.any():
        return single
    part = plain._replace(columns=plain.columns[single], shift=plain.shift[single], scale=plain.scale[single])
    fits, full, integer = np.moveaxis(_visited(_singles, source, part, 1), 1, 0)
    single[single] = fits.all(axis=0) & full.any(axis=0) & ~integer.all(axis=0)
    return single
