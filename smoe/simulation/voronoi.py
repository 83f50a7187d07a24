"""Voronoi losses: how far fitted parameters are from the true ones when there may be more fitted experts than true."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from smoe.experts import GaussianExpert, GaussianExpertParams
from smoe.fields import check_part
from smoe.gates import GATES, Gate
from smoe.params import MoEParams, n_experts_of, permute
from smoe.registry import resolve
from smoe.simulation._orders import rbar
from smoe.simulation._translations import best_scale, best_shift
from smoe.validation import check_choice, check_number

__all__ = ["parameter_errors", "rbar", "voronoi_cells", "voronoi_loss"]


class _Atoms(NamedTuple):
    """Parameters of the representative that is compared: one row per expert."""

    weight: np.ndarray  # (k,)
    slope: np.ndarray  # (k, d) of the gate
    coef: np.ndarray  # (k, p)
    intercept: np.ndarray  # (k,)
    variance: np.ndarray  # (k,)
    temperature: float


class _Comparison(NamedTuple):
    """Fitted atoms against the true atom of their cell, after the translations."""

    cell: np.ndarray  # (k,) index of the true atom
    loss: np.ndarray  # (k*,) what each cell adds to the loss
    weight_error: np.ndarray  # (k*,)
    gaps: dict  # absolute differences of the atoms, (k,) each


def voronoi_cells(
    fitted: MoEParams, true: MoEParams, cells: str = "expert", *, gate: Any = None, infimum: bool = True
) -> np.ndarray:
    r"""Return the index of the true atom nearest to each fitted atom.

    .. math:: A_j = \{i : \|\theta_i - \theta_j^*\| \le \|\theta_i - \theta_l^*\| \text{ for all } l\}

    in the Euclidean norm. A tie goes to the true atom of lowest index. A cell may be empty.

    Parameters
    ----------
    fitted, true : MoEParams
        k fitted and k* true experts, in any order; k < k* is allowed.
    cells : {"expert", "all"}, default="expert"
        What an atom is: the expert's (a, b, v), or the gate's slope with them, (b1, a, b, v).
    gate : Gate or str, default=None
        The gate, None for softmax. Matters for "all" only.
    infimum : bool, default=True
        Matters for "all" only. Gate slopes that the density knows up to a common shift are compared after the shift
        that attains the infimum in the loss "D1" with cells="expert"; with False both gates have their last expert
        pinned to zero, and the cells then depend on how the experts are numbered.

    Returns
    -------
    ndarray of int, shape (k,)

    Raises
    ------
    ValueError, TypeError
        Parameters that are not finite, do not agree in their features, or are no Gaussian experts'.

    References
    ----------
    Manole, T. and Ho, N. (2022). Refined convergence rates for maximum likelihood estimation under finite mixture
    models. ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.experts import GaussianExpertParams
    >>> from smoe.gates import LinearGateParams
    >>> from smoe.params import MoEParams, permute
    >>> from smoe.simulation import voronoi_cells
    >>> gate = LinearGateParams(np.array([[25.0], [0.0]]), np.array([-8.0, 0.0]))
    >>> expert = GaussianExpertParams(np.array([[-20.0], [20.0]]), np.array([15.0, -5.0]), np.array([0.09, 0.16]))
    >>> true = MoEParams(gate, expert)
    >>> voronoi_cells(permute(true, [1, 0, 1]), true)
    array([1, 0, 1])
    """
    fitted, true, gate = _checked(fitted, true, gate)
    return _cells(_atoms(fitted, gate, infimum), _atoms(true, gate, infimum), cells, gate, infimum)


def voronoi_loss(
    fitted: MoEParams,
    true: MoEParams,
    kind: str = "D2",
    *,
    cells: str = "expert",
    gate: Any = None,
    exponent: Any = None,
    infimum: bool = True,
    selected: ArrayLike | None = None,
) -> float:
    r"""Return the Voronoi loss between fitted and true parameters.

    For the softmax gate, with :math:`\Delta` the difference between atom i and the true atom j of its cell,

    .. math::
        D_2 = \inf_{t_1, t_2} \sum_{|A_j| = 1} \sum_{i \in A_j} e^{\beta_{0i}}
              \|(\Delta\beta_1 - t_2, \Delta a, \Delta b, \Delta v)\|
            + \sum_{|A_j| > 1} \sum_{i \in A_j} e^{\beta_{0i}} \left[\|(\Delta\beta_1 - t_2, \Delta b)\|^{r}
            + \|(\Delta a, \Delta v)\|^{r/2}\right]
            + \sum_j \Big|\sum_{i \in A_j} e^{\beta_{0i}} - e^{\beta_{0j}^* + t_1}\Big|

    with :math:`r = \bar r(|A_j|)`, see `rbar`. D1 has the first sum for every cell, whatever its size: it is the loss
    of fits with as many experts as the truth, and on a split cell a plain weighted sum of distances. The sum over an
    empty cell is zero and its weight term remains.

    "sharp" has other powers on a split cell, which the density bounds as well and which say more: gate slopes and
    slopes of the experts are known to their squares, whatever the size of the cell,

    .. math:: \sum_{|A_j| > 1} \sum_{i \in A_j} e^{\beta_{0i}} \left[\|\Delta\beta_1 - t_2\|^2 + \|\Delta a\|^2
              + |\Delta b|^{r} + |\Delta v|^{r/2}\right]

    Where every true expert has two fitted atoms or more, as k = 2 k* may give, neither is a loss: all weights may be
    multiplied by one function of x, :math:`\sum_l c_l \exp(t_l^\top x)`, which leaves the density as it is and sends
    atoms of one expert as far apart as one likes. "D2" and "sharp" are refused there.

    The other gates:

    * Top-K: the sums run over the cells of a K-subset of the true experts, and the largest over all subsets is taken.
      The summands do not depend on the subset, so that is the sum of the K largest summands. The translations are those
      that attain the infimum of the sum over *all* cells; the result is between the infimum of the maximum and k*/K
      times it, so it has the same rate. With K = 1 the scale of the scores is not identified, and the slopes, centred,
      are given length one.
    * Dense-to-sparse with linear scores: only slopes and intercepts over the temperature are identified, so this is the
      softmax loss of :math:`\beta_1/\tau` and :math:`\beta_0/\tau`.
    * Activated scores: weights :math:`e^{\beta_0/\tau}`; an atom alone adds :math:`|\Delta\beta_1| + |\Delta\tau| +
      |\Delta a| + |\Delta b| + |\Delta v|`, one of several :math:`|\Delta\beta_1|^2 + |\Delta\tau|^2 + |\Delta a|^2 +
      |\Delta b|^r + |\Delta v|^{r/2}`. There is no t2. Where the temperature lies on a ray (ReLU) both gates are
      represented by temperature one; two true experts under an odd activation have two equivalent sets of slopes, and
      the nearer one counts.

    Parameters
    ----------
    fitted, true : MoEParams
        k fitted and k* true experts, in any order; k < k* is allowed. Variances, not standard deviations.
    kind : {"D1", "D2", "sharp"}, default="D2"
        "sharp" is for gates with linear scores.
    cells : {"expert", "all"}, default="expert"
        See `voronoi_cells`.
    gate : Gate or str, default=None
        The true gate, None for softmax. Top-K: its ``top_k`` is the K of the truth, not that of the fit.
    exponent : float or callable, default=None
        r of cells of more than one atom, at least 2: a number, or a function of their size; None means `rbar`.
    infimum : bool, default=True
        False means t1 = t2 = 0 after pinning the last expert of either gate to zero (``gate.canonical``), as in the
        published code and in the display for the top-K gate. The loss then depends on how experts are numbered and does
        not converge when the reference expert is split.
    selected : array of bool of shape (k,), default=None
        Which fitted atoms are selected on some row, see `selected_experts`; None for all. The others are no part of the
        density and leave the cells.

    Returns
    -------
    float
        In the units of the parameters; 0.0 for equal parameters.

    Raises
    ------
    ValueError, TypeError
        A cell of four or more atoms without ``exponent``; "D2" or "sharp" where every true expert has two atoms or
        more (``infimum=False`` is let through, as a published number that is no loss); an argument that makes no sense.

    Notes
    -----
    The display is proportional to the scale of the fitted weights, and a gate does not determine it. With the infimum,
    fitted and true weights are each scaled to add up to one, so that the loss is a function of the two densities: it
    depends neither on the numbering of the experts nor on which one is pinned. The display for other fitted intercepts
    is this value times the sum of their exponentials. t1 is a weighted median, exact; t2 is the minimum of a convex
    function, to rounding.

    References
    ----------
    Nguyen, H., Nguyen, T. and Ho, N. (2023). Demystifying softmax gating function in Gaussian mixture of experts.
    NeurIPS. Nguyen, H., Akbarian, P., Yan, F. and Ho, N. (2024). Statistical perspective of top-K sparse softmax gating
    mixture of experts. ICLR. Nguyen, H., Akbarian, P. and Ho, N. (2024). Is temperature sample efficient for softmax
    Gaussian mixture of experts? ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.experts import GaussianExpertParams
    >>> from smoe.gates import LinearGateParams
    >>> from smoe.params import MoEParams
    >>> from smoe.simulation import voronoi_loss
    >>> gate = LinearGateParams(np.array([[25.0], [0.0]]), np.array([-8.0, 0.0]))
    >>> expert = GaussianExpertParams(np.array([[-20.0], [20.0]]), np.array([15.0, -5.0]), np.array([0.09, 0.16]))
    >>> fitted = MoEParams(gate, expert._replace(intercept=np.array([15.0, -5.1])))
    >>> round(voronoi_loss(fitted, MoEParams(gate, expert), "D1"), 6)
    0.099966
    """
    fitted, true, gate = _checked(fitted, true, gate)
    fitted = _used(fitted, selected)
    compared = _compare(fitted, true, gate, kind, exponent, cells, infimum)
    if infimum and kind != "D1":
        _refuse_flat(kind, np.bincount(compared.cell, minlength=len(compared.loss)), gate)
    return _total(compared, gate)


def parameter_errors(
    fitted: MoEParams,
    true: MoEParams,
    *,
    kind: str = "D2",
    cells: str = "expert",
    gate: Any = None,
    exponent: Any = None,
    infimum: bool = True,
    selected: ArrayLike | None = None,
) -> dict[str, np.ndarray]:
    r"""Return the errors of each group of parameters, cell by cell.

    The gate is compared after the translations that attain the infimum of `voronoi_loss` with the same arguments, in
    the representative that it uses (weights that add up to one). ``kind="D2"`` matters on split cells, whose slopes
    converge slowly and must not drag t2 along.

    Parameters
    ----------
    fitted, true, kind, cells, gate, exponent, infimum, selected
        As in `voronoi_loss`, but for any cells.

    Returns
    -------
    dict of str to ndarray of shape (k*,)
        ``gate_weight``: :math:`|\sum_{i \in A_j} e^{\beta_{0i}} - e^{\beta_{0j}^* + t_1}|`, one number for the cell;
        ``gate_coef``, ``expert_coef``, ``expert_intercept``, ``expert_variance``: the largest Euclidean distance of an
        atom of the cell from the true one, NaN for an empty cell; ``temperature``, only for gates with activated
        scores: the same number for every cell that is not empty.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.experts import GaussianExpertParams
    >>> from smoe.gates import LinearGateParams
    >>> from smoe.params import MoEParams
    >>> from smoe.simulation import parameter_errors
    >>> gate = LinearGateParams(np.array([[25.0], [0.0]]), np.array([-8.0, 0.0]))
    >>> expert = GaussianExpertParams(np.array([[-20.0], [20.0]]), np.array([15.0, -5.0]), np.array([0.09, 0.16]))
    >>> fitted = MoEParams(gate, expert._replace(intercept=np.array([15.5, -5.0])))
    >>> parameter_errors(fitted, MoEParams(gate, expert))["expert_intercept"]
    array([0.5, 0. ])
    """
    fitted, true, gate = _checked(fitted, true, gate)
    compared = _compare(_used(fitted, selected), true, gate, kind, exponent, cells, infimum)
    errors = {"gate_weight": compared.weight_error}
    for name, gap in compared.gaps.items():
        errors[name] = np.full(len(compared.loss), np.nan)
        np.fmax.at(errors[name], compared.cell, gap)
    return errors


# The comparison -------------------------------------------------------------------------------------------------------


def _compare(fitted, true, gate, kind, exponent, cells, infimum):
    """Compare with each equivalent truth that no translation reaches; return the nearest."""
    exponents, atoms = _exponents(kind, exponent), _atoms(fitted, gate, infimum)
    if kind == "sharp" and not _slopes_shift(gate):
        raise ValueError("kind='sharp' is for gates with linear scores; for activated ones D2 has these powers.")
    results = [
        _compare_atoms(atoms, truth, gate, kind == "sharp", exponents, cells, infimum)
        for truth in _mirrors(_atoms(true, gate, infimum), true.gate, gate)
    ]
    return min(results, key=lambda compared: _total(compared, gate))


def _compare_atoms(fitted, true, gate, sharp, exponents, cells, infimum):
    cell = _cells(fitted, true, cells, gate, infimum)
    weight = np.bincount(cell, fitted.weight, len(true.weight))
    scale = best_scale(weight, true.weight) if infimum else 1.0
    weight_error = np.abs(weight - scale * true.weight)
    power = exponents(np.bincount(cell, minlength=len(true.weight)))[cell]
    if _slopes_shift(gate):
        shift = _shift(fitted, true, cell, power, sharp) if infimum else 0.0
        gaps = _gaps(fitted, true, cell, shift)
        terms = (_sharp_terms if sharp else _linear_terms)(gaps, power)
    else:
        gaps = _gaps(fitted, true, cell, 0.0)
        gaps["temperature"] = np.full(len(cell), abs(fitted.temperature - true.temperature))
        terms = _activated_terms(gaps, power)
    loss = np.bincount(cell, fitted.weight * terms, len(true.weight)) + weight_error
    return _Comparison(cell, loss, weight_error, gaps)


def _total(compared, gate):
    """The largest sum over a K-subset of the cells; K is all of them for a dense gate."""
    k = len(compared.loss)
    return float(np.sort(compared.loss)[k - gate.n_selected(k) :].sum())


def _gaps(fitted, true, cell, shift):
    """Distances of the fitted atoms from the true atom of their cell, (k,) each."""
    return {
        "gate_coef": np.linalg.norm(fitted.slope - true.slope[cell] - shift, axis=1),
        "expert_coef": np.linalg.norm(fitted.coef - true.coef[cell], axis=1),
        "expert_intercept": np.abs(fitted.intercept - true.intercept[cell]),
        "expert_variance": np.abs(fitted.variance - true.variance[cell]),
    }


def _linear_terms(gaps, power):
    """Power one: the distance of everything. Above: (b1, b) and (a, v) apart, at r and r/2."""
    first = gaps["gate_coef"] ** 2 + gaps["expert_intercept"] ** 2
    second = gaps["expert_coef"] ** 2 + gaps["expert_variance"] ** 2
    return np.where(power == 1, np.sqrt(first + second), first ** (0.5 * power) + second ** (0.25 * power))


def _sharp_terms(gaps, power):
    """Power one: the distance of everything. Above: squares of both slopes, the intercept at r, the variance at r/2."""
    slopes = gaps["gate_coef"] ** 2 + gaps["expert_coef"] ** 2
    intercept, variance = gaps["expert_intercept"], gaps["expert_variance"]
    alone = np.sqrt(slopes + intercept**2 + variance**2)
    return np.where(power == 1, alone, slopes + intercept**power + variance ** (0.5 * power))


def _activated_terms(gaps, power):
    """Power one: the sum of the distances. Above: squares, but the intercept at r and the variance at r/2."""
    slope, coef, temperature = gaps["gate_coef"], gaps["expert_coef"], gaps["temperature"]
    intercept, variance = gaps["expert_intercept"], gaps["expert_variance"]
    several = slope**2 + temperature**2 + coef**2 + intercept**power + variance ** (0.5 * power)
    return np.where(power == 1, slope + temperature + coef + intercept + variance, several)


def _shift(fitted, true, cell, power, sharp=False):
    """The t2 that attains the infimum for these cells and powers."""
    gaps = _gaps(fitted, true, cell, 0.0)
    rest = gaps["expert_coef"] ** 2 + gaps["expert_variance"] ** 2
    base = gaps["expert_intercept"] ** 2 + np.where(power == 1, rest, 0.0)
    if sharp:  # gate slopes of a split cell have squares of their own
        base, power = np.where(power == 1, base, 0.0), np.minimum(power, 2.0)
    return best_shift(fitted.slope - true.slope[cell], base, power, fitted.weight)


def _refuse_flat(kind, sizes, gate):
    """Raise where gate slopes of copies can run off with the density left as it is."""
    if _slopes_shift(gate) and gate.n_selected(len(sizes)) in (1, len(sizes)) and sizes.min() > 1:
        raise ValueError(
            f"kind={kind!r} is no loss here: every true expert has two fitted atoms or more (cells of "
            f"{', '.join(map(str, sizes))}), so that the density leaves their gate slopes open; fit fewer than "
            "twice as many experts as are true, or compare densities with density_error."
        )


def _used(params, selected):
    """Return the parameters of the atoms that are selected somewhere."""
    if selected is None:
        return params
    k = n_experts_of(params)
    try:
        mask = np.asarray(selected)
    except ValueError:  # a ragged list
        mask = np.empty(0)
    if mask.shape != (k,) or mask.dtype != bool or not mask.any():
        raise ValueError(
            f"selected must hold {k} booleans, one for each fitted expert, not all False; got {selected!r}."
        )
    return permute(params, np.flatnonzero(mask))


def _cells(fitted, true, cells, gate, infimum):
    if not isinstance(cells, str) or cells not in ("expert", "all"):
        raise ValueError(f"cells={cells!r} is not known; choose 'expert' (a, b, v) or 'all' (b1, a, b, v).")
    one, other = (np.column_stack([p.coef, p.intercept, p.variance]) for p in (fitted, true))
    cell = _nearest(one, other)
    if cells == "expert":
        return cell
    shift = _shift(fitted, true, cell, np.ones(len(cell))) if infimum and _slopes_shift(gate) else 0.0
    return _nearest(np.column_stack([fitted.slope - shift, one]), np.column_stack([true.slope, other]))


def _nearest(points, centres):
    return ((points[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)


def _exponents(kind, exponent):
    """Return a function from the sizes of the cells to their powers."""
    check_choice(kind, "kind", ("D1", "D2", "sharp"))
    order = exponent if callable(exponent) else rbar if exponent is None else lambda m: exponent

    def power(m):
        if m <= 1 or kind == "D1":
            return 1.0
        r = order(int(m))
        check_number(r, "exponent", 2.0)
        return float(r)

    return lambda sizes: np.array([power(m) for m in sizes])


# Representatives ------------------------------------------------------------------------------------------------------


def _slopes_shift(gate):
    """Whether the gate knows its slopes up to a common shift only: it then pins the last one."""
    return not gate.free(gate.init_params(2, 1)).coef[-1].any()


def _atoms(params, gate, infimum):
    """Return the representative; with the infimum one that does not depend on the numbering of the experts."""
    gate_params = gate.canonical(params.gate)
    slope, log_weight = gate_params.coef, gate_params.intercept
    temperature = float(getattr(gate_params, "temperature", 1.0))
    log_weight = log_weight / temperature
    if _slopes_shift(gate):
        slope = slope / temperature
    if infimum:
        if gate.n_selected(len(slope)) == 1:
            length = np.linalg.norm(slope - slope.mean(axis=0))
            slope, log_weight = (field / (length or 1.0) for field in (slope, log_weight))
        log_weight = log_weight - logsumexp(np.sort(log_weight))  # sorted: rounding must not depend on the numbering
    with np.errstate(over="ignore"):  # a gate that has run away has infinite weights, and an infinite loss
        weight = np.exp(log_weight)
    return _Atoms(weight, slope, *map(np.asarray, params.expert), temperature)


def _mirrors(atoms, params, gate):
    """Return the atoms and, for two experts, those with swapped and negated slopes if their density is the same."""
    slopes = params.coef
    if _slopes_shift(gate) or len(slopes) != 2:
        return [atoms]
    mirrored = params._replace(coef=-slopes[::-1])
    same = all(np.array_equal(a, b) for a, b in zip(gate.canonical(mirrored), gate.canonical(params), strict=True))
    return [atoms, atoms._replace(slope=-atoms.slope[::-1])] if same else [atoms]


def _checked(fitted, true, gate):
    """Return parameters of float arrays and the gate as an object; refuse what cannot be compared."""
    gate = resolve("softmax" if gate is None else gate, GATES, Gate, "gate")
    fitted, true = _checked_params(fitted, gate, "fitted"), _checked_params(true, gate, "true")
    gate.check(n_experts_of(true))
    if not gate.nested or {*gate.fields} - {"coef", "intercept", "temperature"}:
        raise ValueError(
            f"gate: no Voronoi loss is known for {type(gate).__name__}; compare densities with density_error."
        )
    if n_experts_of(true) == 1 and not _slopes_shift(gate):
        raise ValueError("true has one expert, whose gate is not identified; compare it as a softmax gate.")
    for side in MoEParams._fields:
        d, other = (np.shape(getattr(params, side).coef)[1] for params in (fitted, true))
        if d != other:
            raise ValueError(f"fitted.{side} has {d} features, true.{side} has {other}.")
    return fitted, true, gate


def _checked_params(params, gate, name):
    if not isinstance(params, MoEParams):
        raise TypeError(f"{name} must be MoEParams(gate, expert), got {type(params).__name__}.")
    wanted = type(gate.init_params(1, 1))
    if not isinstance(params.gate, wanted):
        raise TypeError(f"{name}.gate must be {wanted.__name__} for {gate!r}, got {type(params.gate).__name__}.")
    fields = getattr(params.expert, "_fields", None)
    if fields != GaussianExpertParams._fields:
        raise TypeError(f"{name}.expert must have coef, intercept and variance, got {fields or params.expert!r}.")
    shapes = [np.shape(part.coef) for part in params]
    if any(len(shape) != 2 or 0 in shape for shape in shapes) or shapes[0][0] != shapes[1][0]:
        raise ValueError(
            f"{name}: coef must have shape (n_experts, n_features), got gate {shapes[0]}, expert {shapes[1]}."
        )
    expert = GaussianExpert()
    return MoEParams(
        check_part(params.gate, gate.init_params(*shapes[0]), gate.fields, f"{name}.gate"),
        check_part(params.expert, expert.init_params(*shapes[1]), expert.fields, f"{name}.expert"),
    )
