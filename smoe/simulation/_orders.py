"""How well atoms that share a true expert can be told from it."""

__all__ = ["ORDERS", "rbar"]

ORDERS = {1: 1, 2: 4, 3: 6}


def rbar(m: int) -> int:
    r"""Return :math:`\bar r(m)`, the order at which m atoms on one true expert can be told from it.

    It is the smallest r for which a system of polynomial equations has no nontrivial solution: 1 by convention for one
    atom, 4 for two, 6 for three. For four atoms and more only :math:`\bar r \ge 7` is known.

    Parameters
    ----------
    m : int
        Number of fitted experts in the cell.

    Raises
    ------
    ValueError
        m of 4 or more, or no positive integer.

    References
    ----------
    Ho, N. and Nguyen, X. (2016). Convergence rates of parameter estimation for some weakly identifiable finite
    mixtures. Annals of Statistics 44, 2726-2755.

    Examples
    --------
    >>> from smoe.simulation import rbar
    >>> [rbar(m) for m in (1, 2, 3)]
    [1, 4, 6]
    """
    from smoe.validation import check_number  # loads scikit-learn, for which a list of studies should not wait

    check_number(m, "m", 1, integer=True)
    if m not in ORDERS:
        raise ValueError(
            f"rbar({m}) is not known (at least 7): a cell has {m} atoms; pass exponent= a number or a function of m."
        )
    return ORDERS[m]
