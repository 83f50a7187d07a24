"""What passes over the rows tell of the columns: means, scales, correlations, and how their numbers were rounded.

All take a view of X (see ``smoe.scaling.View``) and visit it block by block.
"""

import numpy as np

from smoe._kernels.moments import weighted_grams
from smoe.threads import spread

__all__ = ["are_single", "gram", "mean_and_scale"]

_BLOCK = 16384
_SHARED = 12  # columns from which threads gain: with fewer they wait for one another (measured)
_CONSTANT = 1e-13  # spread, relative to the largest value, that is rounding and no information
_GLANCE = 64  # rows that tell of most columns that they are not rounded to float32


def _visited(visit, X, weight, view, n_threads):
    """Return visit(Z, share) block by block: the view's design and shares of weight."""
    total = weight.sum()

    def one(low):
        high = min(low + _BLOCK, len(X))
        return visit(view.design(X, low, high), weight[low:high] / total)

    return list(spread(one, range(0, len(X), _BLOCK), n_threads if len(view.columns) >= _SHARED else 1))


def _size(Z, share):
    """Largest absolute value and mean of each column."""
    return np.array([np.maximum(Z[:-1].max(axis=1), -Z[:-1].min(axis=1)), Z[:-1] @ share])


def _gram(Z, share):
    return weighted_grams(share[None], Z)[0]


def gram(X, weight, view, centred, n_threads):
    """Return the mean of z z' over the rows, and the means of z; what is left of those by rounding is taken off."""
    found = sum(_visited(_gram, X, weight, view, n_threads))
    rest = found[:-1, -1]
    return found[:-1, :-1] - np.outer(rest, rest) if centred else found[:-1, :-1], rest


def mean_and_scale(X, weight, plain, centred=True, n_threads=1):
    """Weighted means and ML standard deviations of the columns, which ones are constant, and what is left of them.

    That is the Gram matrix of the standardised columns, and their sizes in the same units. No value overflows.
    """
    sizes = _visited(_size, X, weight, plain, n_threads)
    largest, mean = np.max([size[0] for size in sizes], axis=0), sum(size[1] for size in sizes)
    unit = np.where(largest > 0, largest, 1.0)
    moments, rest = gram(X, weight, plain._replace(shift=mean, scale=unit), True, n_threads)
    mean = mean / unit + rest
    sd = np.sqrt(np.maximum(moments.diagonal(), 0.0))
    size, constant = np.hypot(mean, sd), sd <= _CONSTANT
    if not centred:
        moments = moments + np.outer(mean, mean)
        sd = np.where(constant, np.sqrt(moments.diagonal()), sd)
        constant, mean = largest == 0, np.zeros(len(mean))
    own = np.where(constant, 1.0, sd)
    return unit * mean, unit * sd, constant, moments / np.outer(own, own), size / own


def _singles(Z, _share):
    """Whether each column holds float32 numbers only, whether some use all digits, and whether all are integers."""
    with np.errstate(over="ignore", under="ignore"):
        single = Z[:-1].astype(np.float32)
    full = (single.view(np.int32) & 1).any(axis=1)
    integer = (single == np.rint(single)) & (np.abs(single) < 2**24)
    return np.array([(single == Z[:-1]).all(axis=1), full, integer.all(axis=1)])


def are_single(X, weight, plain):
    """Return which columns were rounded to float32: numbers of up to 24 bits that use them all, and no integers."""
    single, _, _ = _singles(plain.design(X, 0, min(_GLANCE, len(X))), None)
    if not single.any():
        return single
    part = plain._replace(columns=plain.columns[single], shift=plain.shift[single], scale=plain.scale[single])
    fits, full, integer = np.moveaxis(_visited(_singles, X, weight, part, 1), 1, 0)
    single[single] = fits.all(axis=0) & full.any(axis=0) & ~integer.all(axis=0)
    return single
