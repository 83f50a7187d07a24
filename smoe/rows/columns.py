"""What a pass over the rows tells of the columns: means, scales, correlations, and how their numbers were rounded."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from smoe._kernels.designs import standard_rows
from smoe._kernels.moments import weighted_grams
from smoe.params import tree_sum
from smoe.threads import driving

__all__ = ["Looked", "Moments", "Wanted", "gram", "look", "mean_and_scale", "observed_mean_and_scale"]

_BLOCK = 16384
_SHARED = 12  # columns from which threads gain: with fewer they wait for one another (measured)
_CONSTANT = 1e-13  # spread, relative to the largest value, that is rounding and no information
_GLANCE = 64  # rows that tell where columns are, how wide, and of most that they are not rounded to float32
_FAR = 25.0  # of a mean square about a place near the mean, relative to the variance: with more, digits are lost
_RANGE = 1e-100, 1e100  # of what squares well


class Moments(NamedTuple):
    """What a pass tells of some columns, which are in units of their own: their width in the first rows.

    ``mean`` is in the user's units, ``around`` the same mean in these units, ``product`` the mean of the products of
    what the columns differ from their means by, or of the squares alone; ``single`` says which columns were rounded to
    float32: numbers of up to 24 bits that use them all, and no integers.
    """

    columns: np.ndarray
    unit: np.ndarray
    mean: np.ndarray
    around: np.ndarray
    product: np.ndarray
    single: np.ndarray

    def of(self, columns):
        """Return the same of some of the columns."""
        at = np.searchsorted(self.columns, columns)
        product = self.product[np.ix_(at, at)] if self.product.ndim > 1 else self.product[at]
        return Moments(columns, *(side[at] for side in self[1:4]), product, self.single[at])


class Looked(NamedTuple):
    """What a look at all rows tells of the columns of X and of those of y (None where none matters).

    And what it was told to find out besides.
    """

    X: Moments  # of a fit, which may have no columns
    y: Moments | None
    checked: Any = None


class Wanted(NamedTuple):
    """What a fit must know of the columns: sorted columns of X (None if nothing), whether y, whether products."""

    columns: np.ndarray | None
    response: bool
    products: bool


class _Place(NamedTuple):
    """Where columns are and how wide, from the first rows or exactly; which may have been rounded to float32."""

    columns: np.ndarray
    shift: np.ndarray
    unit: np.ndarray
    single: np.ndarray


@dataclass(frozen=True, eq=False)
class _Sums:
    """What rows add up to about a place: weight, columns, their products or squares; farthest distances; digits used.

    ``digits`` says of columns that may have been rounded to float32 whether all of their numbers have so few digits,
    whether some use them all, and whether some are no integers.
    """

    weight: float
    first: np.ndarray
    second: np.ndarray
    reach: np.ndarray
    digits: np.ndarray

    def __add__(self, other):
        few, others = self.digits, other.digits
        return _Sums(
            self.weight + other.weight,
            self.first + other.first,
            self.second + other.second,
            np.maximum(self.reach, other.reach),
            np.array([few[0] & others[0], *(few[1:] | others[1:])]),
        )


@driving
def look(source, columns, response=True, products=True, n_threads=1, check=None):
    """Look at all rows once and return what is `Looked` for; if the first rows say little of where columns are, thrice.

    Parameters
    ----------
    source : Source
    columns : array of int or None
        The columns of X that matter, sorted; None if there is nothing to be found out but what ``check`` does.
    response : bool, default=True
        Whether to look at y.
    products : bool, default=True
        Whether the products of different columns of X are wanted, too.
    n_threads : int, default=1
    check : callable or None, default=None
        ``check(rows, raw)`` is asked of each slice, and what it returns is added up.

    Raises
    ------
    ValueError
        A number is NaN or infinite.
    """
    places = _first_places(source.single, columns, response)
    if check is None and len(columns) < _SHARED:
        n_threads = 1
    sums, checked = _about(source, places, products, n_threads, check)
    if any(_is_far(one) for one in sums):
        places = _exact_places(source, places, n_threads)
        sums, _ = _about(source, places, products, n_threads)
    found = [_moments(place, one) for place, one in zip(places, sums, strict=True)]
    return Looked(*found, *[None] * (2 - len(found)), checked)


def _first_places(source, columns, response):
    """Return the places of the columns of X, and of those of y if they matter, from the first rows."""
    if columns is None:
        return []
    raw = source.take(np.arange(min(_GLANCE, source.n_rows)))
    X = raw.X[:, columns]
    places = [_Place(columns, *_near(X), _digits(X.T)[0])]
    if response:
        y = raw.y.reshape(len(raw.y), -1)
        places.append(_Place(np.arange(y.shape[1]), *_near(y), np.zeros(y.shape[1], dtype=bool)))
    return places


def _near(X):
    """Return where the columns of a few rows are, and how wide."""
    with np.errstate(invalid="ignore", over="ignore"):
        shift = np.median(X, axis=0)  # of equal numbers it is that number
        shift = np.where(np.isfinite(shift), shift, 0.0)
        unit = np.abs(X - shift).max(axis=0)
        return shift, np.where(np.isfinite(unit) & (unit > 0), unit, np.maximum(np.abs(shift), 1.0))


def _digits(columns):
    """Whether each column holds float32 numbers only, whether some use all digits, and whether some are no integers."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        single = columns.astype(np.float32)
        integer = (single == np.rint(single)) & (np.abs(single) < 2**24)
    full = (single.view(np.int32) & 1).any(axis=1)
    return np.array([(single == columns).all(axis=1), full, ~integer.all(axis=1)])


def _added_up(source, visit, n_threads):
    """Do one pass: add up ``visit(rows, raw)`` over the slices."""

    def several(slices):
        return tree_sum([visit(rows, source.read(rows)) for rows in slices])

    return source.reduce(several, [[rows] for rows in source.cuts(_BLOCK)], n_threads)


def _share(raw, low, high, total):
    """Return the shares of all weight of some rows."""
    return (np.ones(high - low) if raw.weight is None else raw.weight[low:high]) / total


def _about(source, places, products, n_threads, check=None):
    """Return the `_Sums` of all rows about each place, and what the checks of all slices add up to."""
    total = source.single.total_weight

    def visit(rows, raw):
        checked = None if check is None else check(rows, raw)
        own = raw.rows
        cuts = ((low, min(low + _BLOCK, own.stop)) for low in range(own.start, own.stop, _BLOCK))
        return tree_sum([_sums(raw, *cut, places, products, total) for cut in cuts]), checked

    return _added_up(source, visit, n_threads)


def _sums(raw, low, high, places, products, total):
    """Return the `_Sums` of some rows about each place, as a tuple."""
    share = _share(raw, low, high, total)
    return tuple(
        _sums_of(side, low, high, place, share, products and side is raw.X)
        for side, place in zip((raw.X, raw.y), places, strict=False)
    )


def _sums_of(values, low, high, place, share, products):
    if values.ndim > 1:
        Z = standard_rows(values, low, high, place.columns, place.shift, 1.0 / place.unit)
    else:
        Z = np.array([(values[low:high] - place.shift) / place.unit, np.ones(high - low)])
    with np.errstate(over="ignore", invalid="ignore"):
        gram = weighted_grams(share[None], Z)[0] if products else None
        first = Z[:-1] @ share if gram is None else gram[:-1, -1]
        second = Z[:-1] ** 2 @ share if gram is None else gram[:-1, :-1]
        reach = np.maximum(Z[:-1].max(axis=1), -Z[:-1].min(axis=1))
    digits = np.zeros((3, len(place.columns)), dtype=bool)
    if place.single.any():
        digits[:, place.single] = _digits(values[low:high, place.columns[place.single]].T)
    return _Sums(float(share.sum()), first, second, reach, digits)


def _is_far(sums):
    """Whether digits are lost, because a place is far from the mean or the width is not that of all rows."""
    least, most = _RANGE
    with np.errstate(over="ignore", invalid="ignore"):
        square = _squares(sums.second) / sums.weight
        far = square > _FAR * (square - (sums.first / sums.weight) ** 2)
    constant = sums.reach == 0
    return bool((~(constant | (sums.reach >= least) & (sums.reach <= most)) | far & ~constant).any())


def _exact_places(source, places, n_threads):
    """Return the places with the means of all rows, in units of the largest absolute values."""
    total = source.single.total_weight

    def visit(_, raw):
        own = raw.rows
        share = _share(raw, own.start, own.stop, total)[:, None]
        sides = [side[own].reshape(len(share), -1) for side in raw[: len(places)]]
        sides = [side[:, place.columns] for side, place in zip(sides, places, strict=True)]
        return tuple(_Sizes(np.abs(side).max(axis=0), (side * share).sum(axis=0)) for side in sides)

    found = _added_up(source, visit, n_threads)
    for i, (place, sizes) in enumerate(zip(places, found, strict=True)):
        if not np.isfinite(sizes.largest).all():
            raise ValueError(_first_not_finite(source, place.columns, of_y=i == 1))
    return [
        place._replace(shift=sizes.mean, unit=np.where(sizes.largest > 0, sizes.largest, 1.0))
        for place, sizes in zip(places, found, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Sizes:
    """Largest absolute values, and means."""

    largest: np.ndarray
    mean: np.ndarray

    def __add__(self, other):
        return _Sizes(np.maximum(self.largest, other.largest), self.mean + other.mean)


def _squares(products):
    """Return the squares among products of columns, which may be all there are."""
    return products.diagonal() if products.ndim > 1 else products


def _moments(place, sums):
    """Return the `Moments` that sums about a place near the means tell."""
    rest = sums.first / sums.weight
    product = sums.second / sums.weight - (np.outer(rest, rest) if sums.second.ndim > 1 else rest**2)
    single = place.single & sums.digits.all(axis=0)
    around = place.shift / place.unit + rest
    return Moments(place.columns, place.unit, place.shift + place.unit * rest, around, product, single)


def mean_and_scale(moments, centred=True):
    """Weighted means and ML standard deviations of the columns, which ones are constant, and what is left of them.

    That is the mean products of the standardised columns, or squares alone, and their sizes in the same units.
    """
    product, around, mean = moments.product, moments.around, moments.mean
    square, several = _squares(product), product.ndim > 1
    sd = np.sqrt(np.maximum(square, 0.0))
    size = np.hypot(around, sd)
    constant = sd <= _CONSTANT * size
    if not centred:
        sd = np.where(constant, np.sqrt(square + around**2), sd)
        constant, mean = size == 0, np.zeros(len(mean))
        product = product + (np.outer(around, around) if several else around**2)
    own = np.where(constant, 1.0, sd)
    return mean, moments.unit * sd, constant, product / (np.outer(own, own) if several else own**2), size / own


def gram(source, view, centred, n_threads):
    """Return the mean of z z' over the rows, z being the columns of a view.

    What is left of their means by rounding is taken off.
    """
    total = source.total_weight

    def visit(_, raw):
        own = raw.rows
        share = _share(raw, own.start, own.stop, total)
        return weighted_grams(share[None], view.design(raw.X, own.start, own.stop))[0]

    found = _added_up(source, visit, n_threads if len(view.columns) >= _SHARED else 1)
    rest = found[:-1, -1]
    return found[:-1, :-1] - np.outer(rest, rest) if centred else found[:-1, :-1]


def observed_mean_and_scale(source):
    """Return the same first three of the columns of y, some of whose values are missing (NaN)."""

    def totals(function):
        """Add up function(values, weights), zero where they are missing, over the blocks."""
        found = 0.0
        for rows in source.cuts(_BLOCK):
            raw = source.read(rows)
            y, weight = raw.y[raw.rows], 1.0 if raw.weight is None else raw.weight[raw.rows, None]
            y = y.reshape(len(y), -1)
            there = ~np.isnan(y)
            found = found + function(np.where(there, y, 0.0), there * weight)
        return found

    with np.errstate(over="ignore", invalid="ignore"):
        weight, size = totals(lambda y, w: np.array([w.sum(axis=0), (np.abs(y) * w).sum(axis=0)]))
        unit = np.where(size > 0, size / weight, 1.0)
        mean = totals(lambda y, w: (y / unit * w).sum(axis=0)) / weight
        mean += totals(lambda y, w: ((y / unit - mean) * w).sum(axis=0)) / weight
        sd = np.sqrt(totals(lambda y, w: ((y / unit - mean) ** 2 * w).sum(axis=0)) / weight)
    return unit * mean, unit * sd, sd <= _CONSTANT * np.hypot(mean, sd)


def _first_not_finite(source, columns, of_y):
    """Say which number is the first that is NaN or infinite."""
    for rows in source.cuts(_BLOCK):
        raw = source.read(rows)
        values = (raw.y if of_y else raw.X)[raw.rows]
        wrong = np.argwhere(~np.isfinite(values.reshape(len(values), -1)[:, columns]))
        if len(wrong):
            what = "y" if of_y and values.ndim == 1 else f"column {columns[wrong[0, 1]]} of {'y' if of_y else 'X'}"
            place = source.where(rows.start + wrong[0, 0])
            return f"{what} is NaN or infinite in {place}: fill it, or leave the row out."
    return "X or y holds NaN or infinity."
