"""A start near the truth, as the published experiments have it."""

from collections.abc import Sequence

import numpy as np

from smoe.hints import Seed
from smoe.params import MoEParams
from smoe.simulation.truth import Truth
from smoe.validation import check_generator, check_index, check_instance, check_number

__all__ = ["near_truth"]

_SHRINK = -0.083  # power of n in the published jitter


def near_truth(
    truth: Truth,
    n_experts: int,
    n: int,
    rng: Seed,
    gate_sd: float = 0.005,
    expert_sd: float = 0.05,
    extra: Sequence[int] | None = None,
) -> MoEParams:
    r"""Return the truth's parameters with noise, each true expert standing for one fitted expert or several.

    Every true expert is covered once, in order, by the last fitted experts; the additional ones come first and are
    assigned at random. So the last expert, whose gate is pinned, stays the truth's. Entries get noise
    :math:`N(0, (\sigma n^{-0.083})^2)`, those that are bounded below (variances, a temperature) on the log scale;
    entries that the gate's convention pins get none.

    Parameters
    ----------
    truth : Truth
        Its model and parameters, in the user's units.
    n_experts : int
        At least as many as the truth has.
    n : int
        Number of rows of the data to come.
    rng : Generator, RandomState, int or None
    gate_sd, expert_sd : float
        :math:`\sigma` of the gate's and of the experts' entries. (The published code gives an expert's slope and
        intercept the same draw; here every entry has its own.)
    extra : sequence of int, default=None
        Which true experts the additional ones stand for; None draws them.

    Returns
    -------
    MoEParams

    Raises
    ------
    ValueError
        Fewer experts than the truth has, or ``extra`` of another length than there are additional experts.
    """
    check_instance(truth, Truth, "truth")
    check_number(n_experts, "n_experts", 1, integer=True)
    check_number(n, "n", 1, integer=True)
    for name, sd in (("gate_sd", gate_sd), ("expert_sd", expert_sd)):
        check_number(sd, name, 0.0, high=100.0)
    rng, n_true = check_generator(rng, "rng"), truth.n_experts
    if n_experts < n_true:
        raise ValueError(f"n_experts={n_experts}: a start near the truth needs at least its {n_true} experts.")
    if extra is None:
        extra = rng.integers(n_true, size=n_experts - n_true)
    if not isinstance(extra, list | tuple | np.ndarray) or len(extra) != n_experts - n_true:
        raise ValueError(f"extra={extra!r}: n_experts={n_experts} is {n_experts - n_true} more than the truth has.")
    for i in extra:
        check_index(i, "extra", n_true, "the truth", "expert")
    atoms = np.concatenate([extra, np.arange(n_true)]).astype(int)
    (gate, expert), shrink = truth.params, float(n) ** _SHRINK
    model, spreads = truth.model, (gate_sd * shrink, expert_sd * shrink)
    copies = model.gate.permute(gate, atoms), model.expert.permute(expert, atoms)
    pairs = zip((model.gate, model.expert), copies, spreads, strict=True)
    return MoEParams(*(_jittered(owner, part, spread, rng) for owner, part, spread in pairs))


def _jittered(family, params, sd, rng):
    free, declared = family.free(params)._asdict(), family.fields
    fields = {}
    for name, value in params._asdict().items():
        value = np.asarray(value, dtype=float)
        noise = sd * rng.normal(size=value.shape) * free[name]
        fields[name] = value * np.exp(noise) if declared[name].bounded else value + noise
    return type(params)(**fields)
