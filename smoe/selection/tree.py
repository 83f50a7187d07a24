"""The dendrogram of one over-fitted mixture: which experts merge, at what height, and where to cut."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from smoe.hints import Data
from smoe.params import MoEParams
from smoe.selection.pooling import loads, one_per_group, pooled_experts, pooled_gate, pooled_params
from smoe.selection.working import Working, at_params, working
from smoe.validation import check_choice, check_fitted, check_number

__all__ = ["Dendrogram", "dendrogram"]


@dataclass(frozen=True, eq=False)
class Dendrogram:
    """What became of one over-fitted mixture as its experts were merged, two at a time.

    Attributes
    ----------
    n_experts : int
        The number of experts chosen by the dendrogram selection criterion.
    levels : tuple of int
        Numbers of experts along the path: K, K - 1, ..., 1.
    groups : tuple
        For each level its groups of the original experts, tuples of indices.
    merges : tuple of (tuple, tuple)
        The two groups that each step merges.
    heights : ndarray of shape (K - 1,)
        The dissimilarity of each merge. Not necessarily increasing.
    loglik : ndarray of shape (K,)
        Log-likelihood at each level, without any refit (natural logarithm, total over rows).
    dsc : ndarray of shape (K,)
        The criterion, smaller is better; infinite for one expert, for which no height is left.
    omega : float
        Its weight of the mean log-likelihood.
    params : tuple of MoEParams
        Parameters of each level, in the user's units.
    """

    n_experts: int
    levels: tuple
    groups: tuple
    merges: tuple
    heights: np.ndarray
    loglik: np.ndarray
    dsc: np.ndarray
    omega: float
    params: tuple = field(repr=False)
    _estimator: object = field(repr=False)

    @property
    def linkage(self) -> np.ndarray:
        """The tree as ``scipy.cluster.hierarchy`` takes it, (K - 1, 4); heights that fall are drawn level."""
        names = {(i,): i for i in range(len(self.levels))}
        rows = []
        drawn = np.maximum.accumulate(self.heights) if len(self.heights) else self.heights
        for step, ((one, other), height) in enumerate(zip(self.merges, drawn, strict=True)):
            union = tuple(sorted(one + other))
            rows.append([names[one], names[other], height, len(union)])
            names[union] = len(self.levels) + step
        return np.array(rows, dtype=float).reshape(-1, 4)

    def cut(self, n_experts: int | None = None) -> MoEParams:
        """Return the parameters of the level with n_experts, by default the chosen one: for instance to start from."""
        return self.params[self._level(n_experts)]

    def refit(
        self, X: Data, y: ArrayLike | None, n_experts: int | None = None, sample_weight: ArrayLike | None = None
    ) -> Any:
        """Return an estimator of n_experts, by default as chosen, fitted by its own solver from where it was cut."""
        return at_params(self._estimator, self.cut(n_experts), X, y, sample_weight, solve=True)

    def _level(self, n_experts):
        n_experts = self.n_experts if n_experts is None else n_experts
        check_number(n_experts, "n_experts", 1, integer=True)
        if n_experts > len(self.levels):
            raise ValueError(f"n_experts={n_experts}: the dendrogram has {len(self.levels)} experts and no more.")
        return len(self.levels) - n_experts


def dendrogram(
    model: Any,
    X: Data,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None = None,
    *,
    dissimilarity: str = "information",
    omega: float | None = None,
) -> Dendrogram:
    r"""Merge the experts of one over-fitted mixture step by step, and choose how many there are.

    At every step the two groups of experts with the smallest dissimilarity are merged. Each level has one expert per
    group C: the M-step on the pooled responsibilities :math:`r_C = \sum_{i \in C} r_i` of the original fit, behind the
    gate nearest to the pooled one. With h_k the height of the merge that leads from k to k - 1 groups and
    :math:`\bar\ell_k` the mean log-likelihood at level k, the choice is the k between 2 and K that minimises

    .. math:: \mathrm{DSC}(k) = -(h_k + \omega_n\, \bar\ell_k), \qquad \omega_n = \log n .

    Nothing is refitted on the way: one fit with enough experts is all that is needed.

    Parameters
    ----------
    model : MoERegressor
        Fitted with more experts than are expected. It is not changed.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        The data of the fit.
    sample_weight : array-like of shape (n_samples,), default=None
    dissimilarity : {"information", "rates"}, default="information"
        "information": what sharing one label costs, per row, in complete-data log-likelihood,

        .. math:: d(C, D) = \tfrac1n (V_C + V_D - V_{C \cup D}) + \mathrm{KL}(\Pi \,\|\, \pi),
                  \qquad V_C = \max_\theta \sum_x r_C \log f(y|x; \theta),

        the second term what the gate loses because it cannot have the pooled probabilities :math:`\Pi`. For near
        experts the first is half of :math:`\frac{p_C p_D}{p_C + p_D} \|\theta_C - \theta_D\|^2` with p the shares of
        the rows and every coordinate measured by its Fisher information. It depends neither on units, nor on the
        reference expert, nor on where experts extrapolate to.

        "rates": the dissimilarity of the reference,
        :math:`\frac{w_C w_D}{w_C + w_D} (\|\Delta \beta_1\|^2 + (\Delta b)^2 + \|\Delta a\| + |\Delta v|)`, each
        coordinate with the power that belongs to its rate, on standardised data, with weights w proportional to
        :math:`\exp(\beta_0)` at the centre of X. It suits experts that overlap everywhere; gates that switch from
        expert to expert have large slopes, and it merges the wrong experts.
    omega : float or None, default=None
        :math:`\omega_n`; None means log n, n the sum of the weights.

    Returns
    -------
    Dendrogram

    Raises
    ------
    ValueError, TypeError
        A model that is not fitted or has fewer than two experts, an unknown dissimilarity, a negative ``omega``.

    Notes
    -----
    The smallest choice is two: no height belongs to one expert. Heights at more than the true number of experts vanish,
    that of the true number does not; omega makes up for what lies below. Where few rows keep two experts apart omega
    decides: a larger one asks for more experts.

    References
    ----------
    Do, D., Do, L., McKinley, S. A., Terhorst, J. and Nguyen, X. (2024). Dendrogram of mixing measures: hierarchical
    clustering and model selection for finite mixture models. arXiv:2403.01684.

    Hai, D. T., Mai, T. N., Nguyen, T., Ho, N., Nguyen, B. T. and Drovandi, C. (2025). Dendrograms of mixing measures
    for softmax-gated Gaussian mixture of experts: consistency without model sweeps. arXiv:2510.12744.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import make_moe
    >>> from smoe.selection import dendrogram
    >>> moe = make_moe(1000, n_experts=2, random_state=3)
    >>> model = SoftmaxMoERegressor(4, random_state=1).fit(moe.data, moe.target)
    >>> tree = dendrogram(model, moe.data, moe.target)
    >>> tree.n_experts, tree.groups[-2]
    (2, ((0, 1), (2, 3)))
    """
    model = check_fitted(model)
    if model.n_experts < 2:
        raise ValueError("model has one expert: a dendrogram needs at least two, better twice as many as expected.")
    check_choice(dissimilarity, "dissimilarity", _DISSIMILARITIES)
    if omega is not None:
        check_number(omega, "omega", 0.0)
    work = working(model, X, y, sample_weight)
    load = loads(work)
    measure = _DISSIMILARITIES[dissimilarity](work, load)
    levels, merges, heights, gates = _grow(tuple((i,) for i in range(model.n_experts)), measure)
    fits = [(work.params, work.blocks.sum(work.model.loglik, work.params))]
    fits += [pooled_params(work, groups, load, gate) for groups, gate in zip(levels[1:], gates, strict=True)]
    n, loglik = work.blocks.total_weight, np.array([value for _, value in fits]) - work.offset
    omega = np.log(n) if omega is None else float(omega)
    dsc = -(np.append(heights, -np.inf) + omega * loglik / n)
    chosen = len(levels) - int(np.argmin(dsc))
    params = tuple(work.to_units(params) for params, _ in fits)
    sizes = tuple(len(groups) for groups in levels)
    return Dendrogram(chosen, sizes, levels, merges, heights, loglik, dsc, omega, params, model)


def _grow(groups, measure):
    """Merge the nearest two groups until one is left."""
    levels, merges, heights, gates = [groups], [], [], []
    while len(groups) > 1:
        height, pair, gate = measure.nearest(groups)
        rest = [group for group in groups if group not in pair]
        groups = tuple(sorted([*rest, tuple(sorted(pair[0] + pair[1]))]))
        levels.append(groups), merges.append(pair), heights.append(height), gates.append(gate)
    return tuple(levels), tuple(merges), np.array(heights), gates


class _Information:
    """What sharing one label costs in complete-data log-likelihood, per row."""

    def __init__(self, work: Working, load):
        self.work, self.load = work, load
        self.values: dict = {}

    def nearest(self, groups):
        """Return the smallest dissimilarity, its pair of groups, and the gate after their merge."""
        pairs = list(itertools.combinations(groups, 2))
        self._evaluate([*groups, *(tuple(sorted(one + other)) for one, other in pairs)])
        best = (np.inf, None, None)
        for cost, pair in sorted((self._cost(*pair), pair) for pair in pairs):
            if cost >= best[0]:  # what the gate loses comes on top
                break
            union = tuple(sorted(pair[0] + pair[1]))
            merged = tuple(sorted([*(group for group in groups if group not in pair), union]))
            gate, divergence = pooled_gate(self.work, merged, self.load)
            if cost + divergence < best[0]:
                best = (cost + divergence, pair, gate)
        return best

    def _cost(self, one, other):
        union = tuple(sorted(one + other))
        lost = self.values[one] + self.values[other] - self.values[union]
        return max(float(lost), 0.0) / self.work.blocks.total_weight

    def _evaluate(self, groups):
        new = [group for group in groups if group not in self.values]
        if new:
            self.values.update(zip(new, pooled_experts(self.work, new, self.load).value, strict=True))


class _Rates:
    """The weighted distance of parameters in the reference, each coordinate with the power of its rate."""

    def __init__(self, work: Working, load):
        gate = work.model.gate.canonical(work.params.gate)
        self.params = MoEParams(gate, work.params.expert)
        self.model, scores = work.model, work.model.gate.log_mass(gate)
        self.weight = np.exp(scores - np.logaddexp.reduce(scores))

    def nearest(self, groups):
        """Return the smallest dissimilarity, its pair of groups, and no gate."""
        height, pair = min((self._distance(*pair), pair) for pair in itertools.combinations(groups, 2))
        return height, pair, None

    def _distance(self, one, other):
        w = [max(self.weight[list(group)].sum(), 1e-300) for group in (one, other)]
        pair = one_per_group(self.model, self.params, (one, other), self.weight)
        gate, expert = (_gaps(part, fields) for part, fields in zip(pair, self.model.fields, strict=True))
        slow_fields = self.model.expert.slow_fields
        slow = sum(gap**2 for name, gap in gate.items() if self.model.gate.fields[name].feature_axis is not None)
        slow += sum(gap**2 for name, gap in expert.items() if name in slow_fields)
        fast = sum(gap for name, gap in expert.items() if name not in slow_fields)
        return float(slow + fast) / (1.0 / w[0] + 1.0 / w[1])


def _gaps(part, fields):
    """Distances between the two experts of these parameters, field by field."""
    own = {name: array for name, array in part._asdict().items() if not fields[name].shared}
    return {name: np.linalg.norm(array[1] - array[0]) for name, array in own.items()}


_DISSIMILARITIES = {"information": _Information, "rates": _Rates}
