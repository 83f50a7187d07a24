"""What the best-fitting few rows of one straight line gain by chance, and what experts on few rows are charged for it.

Of n rows, N can be chosen in so many ways that some choice lies almost on a line. An expert must earn what the best
such choice gains, if that is more than BIC charges for it anyway. Search, certificate, selection and diagnosis all ask
here. A row is a distinct row: repeated and weighted rows count once.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "Load",
    "Prices",
    "chance",
    "excess",
    "is_degenerate",
    "is_exact",
    "load_of",
    "merit",
    "preference",
    "prices",
]

_SIZES = 5.0  # nats: how much the best of so many choices varies, and that the number of rows is chosen, too


def chance(rows: ArrayLike, n_rows: int, n_terms: int) -> Any:
    r"""Return what the best-fitting rows of one line gain by chance in log-likelihood, net of the choice of rows.

    .. math:: \frac{N}{N - q} \Big(q \log \frac{e n}{N} + 5\Big), \qquad \infty \text{ for } N \le q

    Parameters
    ----------
    rows : float or array
        N, the rows that an expert is responsible for.
    n_rows : int
        n, all rows.
    n_terms : int
        q, the coefficients of the expert's mean, the intercept counted.

    Examples
    --------
    >>> from smoe.chance import chance
    >>> chance([2.0, 5.0, 20.0], 100, 2).round(1)
    array([ inf, 21.7, 11.4])
    """
    rows = np.asarray(rows, dtype=float)
    enough = rows > n_terms
    size = np.where(enough, rows, n_terms + 1.0)
    return np.where(enough, size / (size - n_terms) * (n_terms * np.log(np.e * n_rows / size) + _SIZES), np.inf)


def excess(rows: ArrayLike, n_rows: int, n_terms: int, n_groups: int | None = None) -> Any:
    r"""Return how far `chance` exceeds what BIC charges for an expert's coefficients, variance and weight.

    .. math:: \max\Big(0, \mathrm{chance}(N) - \frac{q + 2}{2} \log n\Big)

    Parameters
    ----------
    rows, n_rows, n_terms : float or array, int, int
        N, n and q, as `chance` takes them.
    n_groups : int or None, default=None
        What BIC counts, where rows are grouped.

    Examples
    --------
    >>> from smoe.chance import excess
    >>> excess([5.0, 20.0, 50.0], 100, 2).round(1)
    array([12.4,  2.1,  0. ])
    """
    counted = n_rows if n_groups is None else n_groups
    return np.maximum(chance(rows, n_rows, n_terms) - 0.5 * (n_terms + 2) * np.log(counted), 0.0)


class Load(NamedTuple):
    """What each expert is responsible for, (n_experts,): distinct rows, or groups, and their weight."""

    rows: np.ndarray
    weight: np.ndarray


def load_of(model, blocks, params):
    """Return the `Load` of the experts."""

    def visit(block, p):
        resp = model.posterior(block, p)[1]
        return Load(resp @ blocks.unit_of(block), resp @ block.weight)

    return blocks.sum(visit, params)


class Prices(NamedTuple):
    """What experts are charged, and what chance lines would gain, in units of the log-likelihood, (n_experts,)."""

    excess: np.ndarray
    chance: np.ndarray


def prices(model, blocks, params, load):
    """Return the `Prices` of experts with these loads.

    Chance lines gain in proportion to the weight of the rows that they rest on, so scaling all weights scales prices
    and log-likelihood alike. One expert alone, and families whose densities are bounded, are charged nothing.
    """
    n_terms = model.chance_terms(params, len(blocks.scaling.expert.columns))
    if n_terms is None or len(load.rows) == 1:
        return Prices(np.zeros(len(load.rows)), np.zeros(len(load.rows)))
    unit = load.weight / np.maximum(load.rows, np.finfo(float).tiny)
    unit = np.where(unit > 0, unit, 1.0)
    rows, n = load.rows * blocks.rows_per_group, blocks.n_distinct * blocks.rows_per_group
    charged = np.arange(len(unit)) >= model.n_frozen  # experts that are known have chosen no rows
    found = unit * excess(rows, n, n_terms, blocks.n_distinct), unit * chance(rows, n, n_terms)
    return Prices(*(np.where(charged, one, 0.0) for one in found))


def preference(degenerate: bool, loglik: float, price: float) -> tuple:
    """Return what fits are ordered by: neither collapsed nor empty, then a finite price, then the net log-likelihood.

    Where all prices are infinite it is the log-likelihood that decides.

    Parameters
    ----------
    degenerate : bool
        Whether a variance is on its floor, or an expert is responsible for less than one row.
    loglik : float
    price : float
        Sum of the experts' `excess`, in units of the log-likelihood.

    Examples
    --------
    >>> from smoe.chance import preference
    >>> preference(False, -100.0, 3.0) > preference(False, -99.0, 12.4) > preference(True, 500.0, 0.0)
    True
    """
    loglik = loglik if np.isfinite(loglik) else -np.inf
    payable = bool(np.isfinite(price))
    return not degenerate, payable, loglik - price if payable else loglik


def merit(model, blocks, fit):
    """Return the `preference` for a fit on these rows."""
    load = load_of(model, blocks, fit.params)
    degenerate = is_degenerate(model, fit.params, load)
    value = fit.loglik if fit.objective is None else fit.objective
    price = prices(model, blocks, fit.params, load).excess.sum()
    return preference(degenerate and not is_exact(model, fit.params, load, price), value, price)


def is_exact(model, params, load, price):
    """Whether all rows lie on lines: all variances are on their floors, of experts with more rows than chance has."""
    return bool(model.expert.at_bound(params.expert).all() and np.all(load.rows >= 1.0) and np.isfinite(price))


def is_degenerate(model, params, load):
    """Whether a variance is on its floor, or an expert is responsible for less than one row."""
    return bool(model.expert.at_bound(params.expert).any() or np.any(load.rows < 1.0))
