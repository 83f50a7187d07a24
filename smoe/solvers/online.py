r"""Online EM: one step of stochastic approximation for every thousand rows, which are then forgotten.

Means of sufficient statistics are kept instead of rows. With the t-th batch, of mean statistics :math:`\bar s_t`,

.. math:: s \leftarrow (1 - \gamma_t)\, s + \gamma_t\, \bar s_t, \qquad \gamma_t = (t + 2)^{-0.6},

and the experts are those of the M-step from s. The gate has no sufficient statistics: its information is averaged
likewise, and it moves by :math:`\gamma_t` times Newton's step along the score of the batch. What is reported is an
average of the parameters along the way, in which the t-th counts for 4 / (t + 4). The first rows, which are fitted as a
whole, count as so many batches.
"""

from dataclasses import dataclass, replace

import numpy as np

from smoe._kernels.gate_steps import damped_step
from smoe.params import MoEParams, chart_of, tree_scale, tree_sum
from smoe.rows import ArraySource, Blocks, Raw, Scaling
from smoe.solvers.base import score_norm

__all__ = ["BATCH", "OnlineEM", "begin", "refuse_offline"]

BATCH = 1000  # rows, or their weight, of one step
_POWER = 0.6
_RECENT = 3  # the larger, the less early parameters count in the average


@dataclass(frozen=True, eq=False, repr=False)
class OnlineEM:
    """The state of online EM, a value.

    Attributes
    ----------
    model : MixtureOfExperts
    scaling : Scaling
        The working coordinates, which do not change any more.
    roles : Roles
    current, average : MoEParams
        The parameters, in working coordinates, and what is reported.
    stats : Statistics
        Means per row of the statistics.
    waiting : Raw
        Rows that are less than a batch.
    n_steps : int
    total_weight : float
        Of all rows that were used.
    loglik : float
        Log density of all rows that were used, in the user's units, each at the parameters before its step.
    score_norm : float
        Of the last batch.
    """

    model: object
    scaling: Scaling
    roles: object
    current: MoEParams
    average: MoEParams
    stats: object
    waiting: Raw
    n_steps: int
    total_weight: float
    loglik: float
    score_norm: float

    def __repr__(self):
        return f"OnlineEM({self.n_steps} steps, {self.total_weight:.6g} rows, {len(self.waiting.X)} waiting)"

    def taken(self, X, y, weight):
        """Return the state after these rows; what is less than a batch waits."""
        rows = _joined(self.waiting, Raw(X, y, weight))
        batch = np.floor(np.cumsum(rows.weight) / BATCH * (1 + 1e-12)).astype(int)
        ends = np.flatnonzero(np.diff(batch, prepend=0)) + 1
        state, start = self, 0
        for end in ends:
            state, start = state._step(_part(rows, start, end)), end
        return replace(state, waiting=_part(rows, start, len(rows.X)))

    def _step(self, rows):
        """Do one step with a batch."""
        blocks = Blocks(self.model, ArraySource(*rows[:3]), self.scaling, self.roles)
        total, gate = blocks.total_weight, self.model.gate
        found = blocks.sum(self.model.statistics, self.current)
        new, g = tree_scale(found, 1.0 / total), (self.n_steps + 2.0) ** -_POWER
        stats = tree_sum([tree_scale(self.stats, 1.0 - g), tree_scale(new, g)])
        chart = chart_of(gate, self.current.gate)
        slope = chart.gradient(new.gate_score, self.current.gate)
        bend = chart.information(stats.gate_information, self.current.gate)
        moved = chart.pack(self.current.gate) + (g * damped_step(slope, bend) if slope.size else 0.0)
        current = MoEParams(chart.unpack(moved), self.model.expert.m_step(stats.expert, self.current.expert))
        share = (_RECENT + 1.0) / (self.n_steps + 1.0 + _RECENT)
        return replace(
            self,
            current=current,
            average=tree_sum([tree_scale(self.average, 1.0 - share), tree_scale(current, share)]),
            stats=stats,
            n_steps=self.n_steps + 1,
            total_weight=self.total_weight + total,
            loglik=self.loglik + found.loglik - blocks.loglik_offset,
            score_norm=score_norm(self.model, self.current, self.model.score(self.current, found, total), total),
        )


def begin(model, source, scaling, roles, params, loglik):
    """Return the state at parameters (in working coordinates) that were fitted to the first rows, an `ArraySource`."""
    blocks = Blocks(model, source, scaling, roles)
    stats = blocks.sum(model.statistics, params)
    total = blocks.total_weight
    norm = score_norm(model, params, model.score(params, stats, total), total)
    waiting = Raw(source.X[:0], source.y[:0], np.zeros(0))
    mean = tree_scale(stats, 1.0 / total)
    return OnlineEM(model, scaling, roles, params, params, mean, waiting, round(total / BATCH), total, loglik, norm)


def refuse_offline(model):
    """Raise ValueError for a model that online EM has no step for."""
    if not model.expert.exact_m_step:
        name = model.expert.name
        raise ValueError(f"partial_fit needs experts whose M-step is exact, as that of Gaussian ones; not so {name}.")
    if model.active_penalties:
        raise ValueError(f"partial_fit takes no penalties, and there is {model.active_penalties[0].words}.")
    if model.constraints is not None:
        raise ValueError("partial_fit takes no constraints.")
    if not model.gate.smooth or model.gate.default_solver != "em_newton":
        raise ValueError(f"partial_fit needs a smooth gate with an information, as 'softmax'; got {model.gate!r}.")


def _joined(first, second):
    return Raw(*(np.concatenate(pair) for pair in zip(first[:3], second[:3], strict=True)))


def _part(rows, start, end):
    return Raw(*(side[start:end] for side in rows[:3]))
