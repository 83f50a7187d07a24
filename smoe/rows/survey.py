"""One look at all rows before a fit: what no fit takes is refused with the place where it is."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from smoe.features import Roles
from smoe.rows.columns import joined_sizes, size_of
from smoe.rows.source import Source
from smoe.validation.rows import near_number

__all__ = ["Survey", "survey"]

_BLOCK = 2**16


class Survey(NamedTuple):
    """What a fit must know of all rows: whether there is an event, most trials, whether weights may be counts.

    And largest absolute values and means of the columns of X, and of y, (2, n_columns), if somebody has looked at them.
    """

    event: bool
    trials: float
    counts_rows: bool
    sizes: tuple | None = None


class _Seen(NamedTuple):
    event: bool
    trials: float
    lightest: float
    heaviest: float
    whole: bool
    sizes: tuple


def survey(
    source: Source, expert: Any, roles: Roles, names: Sequence[str], response: bool = True, n_threads: int = 1
) -> Survey:
    """Look at all rows and return a `Survey`.

    Parameters
    ----------
    source : Source
    expert : Expert
        Says which responses it takes.
    roles : Roles
        Which columns are an offset, an exposure, numbers of trials or events.
    names : list of str
        What the columns of X are called.
    response : bool, default=True
        Whether there is a response to be looked at.
    n_threads : int, default=1

    Raises
    ------
    ValueError
        A number that is missing, NaN or infinite, a weight that is not positive, a response that the experts do not
        take, or a column that is not what its role needs.
    """

    def one(rows):
        raw = source.read(rows)
        X, y, weight = (None if a is None else a[raw.rows] for a in raw[:3])
        _refuse_missing(source, rows, X, [f"column {name!r}" for name in names])
        if response:
            flat = y.reshape(len(y), -1)
            _refuse_missing(
                source, rows, flat, ["y"] if y.ndim == 1 else [f"column {j} of y" for j in range(y.shape[1])]
            )
        if weight is not None:
            _refuse_missing(source, rows, np.where(weight > 0, weight, np.nan)[:, None], ["the weight"], "not positive")
        try:
            roles.check(X, names, events=response)
            if response:
                expert.check_response(y, roles.trials_of(X), roles.event_of(X))
        except ValueError as error:
            raise ValueError(f"in the rows from {source.where(rows.start)} on: {error}") from None
        share = (np.ones(len(X)) if weight is None else weight) / source.total_weight
        sizes = size_of(X.T, share), size_of(y.reshape(len(y), -1).T, share) if response else None
        return _seen(weight, roles.trials_of(X), roles.event_of(X), sizes)

    found: Any = _Seen._make(zip(*source.run(one, source.cuts(_BLOCK), n_threads), strict=True))
    equal = min(found.lightest) == max(found.heaviest)
    counts = equal or all(found.whole) or near_number(source.total_weight, source.n_rows)
    sizes = tuple(map(joined_sizes, zip(*found.sizes, strict=True))) if response else None
    return Survey(any(found.event), max(found.trials), counts, sizes)


def _refuse_missing(source, rows, values, what, words="missing, NaN or infinite"):
    if np.isfinite(values).all():
        return
    row, column = np.argwhere(~np.isfinite(values))[0]
    raise ValueError(f"{what[column]} is {words} in {source.where(rows.start + row)}: fill it, or leave the row out.")


def _seen(weight, trials, event, sizes):
    weight, whole = (np.ones(1), True) if weight is None else (weight, bool(np.all(weight == np.round(weight))))
    event = event is None or bool(event.any())
    return _Seen(event, 1.0 if trials is None else trials.max(), weight.min(), weight.max(), whole, sizes)
