"""One look at all rows before a fit: what no fit takes is refused with the place where it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from smoe.features import Roles
from smoe.rows.columns import Looked, Wanted, look
from smoe.rows.source import Source
from smoe.validation.rows import near_number

__all__ = ["Survey", "survey"]

_NOTHING = Wanted(None, False, False)


class Survey(NamedTuple):
    """What a fit must know of all rows: whether there is an event, most trials, whether weights may be counts.

    And what is ``looked`` at besides for the coordinates of a fit.
    """

    event: bool
    trials: float
    counts_rows: bool
    looked: Looked | None = None


@dataclass(frozen=True, eq=False)
class _Seen:
    """What there is in some rows, one after the other."""

    event: bool
    trials: float
    lightest: float
    heaviest: float
    whole: bool

    def __add__(self, other):
        return _Seen(
            self.event or other.event,
            max(self.trials, other.trials),
            min(self.lightest, other.lightest),
            max(self.heaviest, other.heaviest),
            self.whole and other.whole,
        )


def survey(
    source: Source,
    expert: Any,
    roles: Roles,
    names: Sequence[str],
    response: bool = True,
    n_threads: int = 1,
    wanted: Wanted | None = None,
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
    wanted : Wanted or None, default=None
        What a fit will need of the columns; then it is found out in the same pass.

    Raises
    ------
    ValueError
        A number that is missing, NaN or infinite, a weight that is not positive, a response that the experts do not
        take, or a column that is not what its role needs.
    """
    columns = [f"column {name!r}" for name in names]

    def check(rows, raw):
        X, y, weight = (None if a is None else a[raw.rows] for a in raw[:3])
        _refuse_missing(source, rows, X, columns)
        if response and not expert.takes_missing:
            flat = y.reshape(len(y), -1)
            what = ["y"] if y.ndim == 1 else [f"column {j} of y" for j in range(y.shape[1])]
            _refuse_missing(source, rows, flat, what)
        if weight is not None:
            _refuse_missing(source, rows, np.where(weight > 0, weight, np.nan)[:, None], ["the weight"], "not positive")
        try:
            roles.check(X, names, events=response)
            if response:
                expert.check_response(y, roles.trials_of(X), roles.event_of(X))
        except ValueError as error:
            raise ValueError(f"in the rows from {source.where(rows.start)} on: {error}") from None
        return _seen(weight, roles.trials_of(X), roles.event_of(X))

    looked = look(source, *(wanted or _NOTHING), n_threads=n_threads, check=check)
    found = looked.checked
    equal = found.lightest == found.heaviest
    counts = equal or found.whole or near_number(source.total_weight, source.n_rows)
    return Survey(found.event, found.trials, counts, looked if wanted else None)


def _refuse_missing(source, rows, values, what, words="missing, NaN or infinite"):
    if np.isfinite(values).all():
        return
    row, column = np.argwhere(~np.isfinite(values))[0]
    raise ValueError(f"{what[column]} is {words} in {source.where(rows.start + row)}: fill it, or leave the row out.")


def _seen(weight, trials, event):
    weight, whole = (np.ones(1), True) if weight is None else (weight, bool(np.all(weight == np.round(weight))))
    event = event is None or bool(event.any())
    return _Seen(event, 1.0 if trials is None else trials.max(), weight.min(), weight.max(), whole)
