"""Where a fit begins: many cheap starts are screened on a sample of the rows, the best few are finished on all."""

from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from smoe.chance import merit
from smoe.fields import check_part
from smoe.gates import SoftmaxGate
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams
from smoe.registry import resolve
from smoe.rows import Block, OneBlock, Scaling
from smoe.solvers import EM
from smoe.validation import check_number

__all__ = ["STARTS", "Elemental", "FromParams", "FromSoftmax", "KMeans", "RandomPartition", "Start", "Task"]

_MOST_FLAT = 1000
_FLAT_CLIMB = 30  # EM iterations of a flat fit that experts are taken from
_LEAST_LOAD = 1e-3  # rows: an expert without any begins with these


class Task(NamedTuple):
    """What a start may look at: a block of distinct rows in working coordinates, and how many experts are wanted."""

    model: MixtureOfExperts
    block: Block
    n_experts: int
    scaling: Scaling


class Start(BaseEstimator):
    """Proposes parameters to begin from.

    Proposals are drawn from distinct rows in an order of their own and with their weights, so that they depend
    neither on the order of the rows nor on whether a row is repeated or weighted.
    """

    needs_rows = True  # whether proposals are made from rows
    swaps = False  # whether experts are swapped between what the starts have found

    def n_proposals(self, n_experts):
        """Return how many proposals ``n_init="auto"`` asks for."""
        return max(40, 20 * n_experts)

    def propose(self, task, rng):
        """Return parameters in working coordinates."""
        raise TypeError(f"{type(self).__name__} must implement propose.")


class Elemental(Start):
    """Each expert begins as the exact regression through as few neighbouring rows as define one; the gate is flat.

    Neighbours are rows that are close in the features of gate and experts; a random row picks its neighbourhood.
    Measured on 32 random truths (2 to 5 experts, 1 to 4 features, 3,000 rows), forty screened starts reached or passed
    the truth's log-likelihood on every one; k-means starts ended far below it on most.

    Parameters
    ----------
    n_neighbors : int, default=12
        Size of a neighbourhood.

    References
    ----------
    Rousseeuw, P. J. (1984). Least median of squares regression. Journal of the American Statistical Association 79,
    871-880, for elemental subsets.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_engel
    >>> from smoe.starts import Elemental
    >>> X, y = load_engel(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, start=Elemental(n_neighbors=8), random_state=0).fit(X, y)
    >>> sum(record.start.startswith("Elemental") for record in model.starts_)
    40
    """

    swaps = True

    def __init__(self, n_neighbors: int = 12) -> None:
        self.n_neighbors = n_neighbors

    def propose(self, task, rng):
        """Return lines through neighbouring rows and a flat gate."""
        check_number(self.n_neighbors, "n_neighbors", 1, integer=True)
        block, expert = task.block, task.model.expert
        most = None if task.model.kinked is None else self.n_neighbors  # of more columns than rows few will count
        rows = [element(block, self.n_neighbors, rng, expert.rows_per_term, most)[1] for _ in range(task.n_experts)]
        gate = task.model.gate.init_params(task.n_experts, len(block.gate_Z) - 1)
        return MoEParams(gate, expert.from_elements(block.rows, block.spread(block.weight), np.array(rows)))


class KMeans(Start):
    """Experts begin as regressions on the clusters that k-means finds in (x, y). Quick, and often far from the maximum.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> X, y = load_faithful(return_X_y=True)
    >>> round(SoftmaxMoERegressor(2, start="kmeans", random_state=0).fit(X, y).loglik_, 4)
    -96.0516
    """

    def n_proposals(self, n_experts):
        """Return five: k-means itself varies little."""
        return 5

    def propose(self, task, rng):
        """Return the M-step on a clustering."""
        from sklearn.cluster import KMeans  # a slow import that other starts can do without

        block = task.block
        own = np.concatenate([block.expert_Z, np.nan_to_num(np.atleast_2d(block.y))])
        rows = np.concatenate([block.gate_Z, block.averaged(own)]).T
        n_clusters = min(task.n_experts, len(rows))
        seed = int(rng.integers(2**31))
        label = KMeans(n_clusters, n_init=1, random_state=seed).fit(rows, sample_weight=block.weight).labels_
        return _from_resp(task, np.eye(task.n_experts)[label].T)


class RandomPartition(Start):
    """Experts begin as regressions on random soft partitions of the rows, the classical and weakest start.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, start="random", random_state=0).fit(X, y)
    >>> round(model.loglik_, 4)  # the maximum is -96.0516
    -190.5881
    """

    def propose(self, task, rng):
        """Return the M-step on Dirichlet responsibilities."""
        resp = rng.dirichlet(np.full(task.n_experts, 0.5), size=len(task.block)).T
        return _from_resp(task, resp)


class FromSoftmax(Start):
    """Experts begin as those of a short fit with a softmax gate, the best of a few.

    What ``start="auto"`` means for gates whose own first steps cost more or lead astray: the trees, and those that are
    not linear. In a tree, experts that share rows tend to begin on nearby leaves.

    Parameters
    ----------
    n_flat : int, default=5
        Elemental starts of the softmax gate for each proposal.

    Examples
    --------
    >>> from smoe import MoERegressor
    >>> from smoe.datasets import load_faithful
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = MoERegressor(2, gate="gaussian", start="softmax", n_init=2, random_state=0).fit(X, y)
    >>> [record.start for record in model.starts_]  # the last one began where a search with a softmax gate ended
    ['FromSoftmax 0', 'FromSoftmax 1', 'Inside']
    """

    def __init__(self, n_flat: int = 5) -> None:
        self.n_flat = n_flat

    def n_proposals(self, n_experts):
        """Return twenty: each is the best of several."""
        return 20

    def inside(self, task, n_init):
        """Return the gate of the fits to begin from, their starts, and how many go with ``n_init`` proposals."""
        gate = task.model.gate.inside(len(task.block.gate_Z) - 1)
        start = Elemental() if gate is None else self
        n_inside = start.n_proposals(task.n_experts) * n_init / self.n_proposals(task.n_experts)
        return SoftmaxGate() if gate is None else gate, start, int(np.ceil(n_inside))

    def propose(self, task, rng):
        """Return the experts of the flat fit, and a flat gate with their loads."""
        check_number(self.n_flat, "n_flat", 1, integer=True, high=_MOST_FLAT)
        model, block = task.model._replace(gate=SoftmaxGate()), task.block
        begins = [Elemental().propose(task._replace(model=model), rng) for _ in range(self.n_flat)]
        rows, climb = OneBlock(block), EM(_FLAT_CLIMB, 0.0)
        fits = [climb.short_run(model, rows, params) for params in begins]
        params = max(fits, key=lambda fit: merit(model, rows, fit)).params
        # Places of many kinds, mostly near the likeliest.
        return self._gathered(task, params, rng.exponential(size=(task.n_experts, task.n_experts)))

    def above(self, task, params):
        """Return where to begin from the end of a fit with the gate inside: the same density if the gate has it.

        Parameters
        ----------
        task : Task
        params : MoEParams
            Of the model with `smoe.gates.Gate.inside` as its gate, or the softmax gate.
        """
        inside = task.model.gate.of_inside(params.gate)
        return self._gathered(task, params) if inside is None else MoEParams(inside, params.expert)

    def _gathered(self, task, params, noise=1.0):
        """Return the experts beside a flat gate with their loads, near each other if they share rows."""
        proba, resp, _ = task.model._replace(gate=SoftmaxGate()).posterior(task.block, params)
        gate, weight = task.model.gate, task.block.weight
        load, overlap = np.maximum(resp @ weight, _LEAST_LOAD), (proba * weight) @ proba.T * noise
        flat = gate.gathered(gate.init_params(task.n_experts, len(task.block.gate_Z) - 1), overlap)
        return MoEParams(gate.with_log_mass(flat, np.log(load / load.sum())), params.expert)


class FromParams(Start):
    """Begin from given parameters in the user's units.

    Parameters
    ----------
    params : MoEParams
        For instance ``params_`` of another fit, or a truth.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> from smoe.starts import FromParams
    >>> X, y = load_faithful(return_X_y=True)
    >>> first = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> again = SoftmaxMoERegressor(2, start=FromParams(first.params_)).fit(X, y)
    >>> len(again.starts_)
    1
    """

    needs_rows = False

    def __init__(self, params: MoEParams) -> None:
        self.params = params

    def n_proposals(self, n_experts):
        """Return one: there is nothing to draw."""
        return 1

    def propose(self, task, rng):
        """Return the parameters in working coordinates."""
        return task.scaling.from_units(task.model, _checked(self.params, task))


STARTS = {
    "auto": Elemental,
    "elemental": Elemental,
    "kmeans": KMeans,
    "random": RandomPartition,
    "softmax": FromSoftmax,
}


def resolve_start(choice, gate):
    """Return a start for a name ("auto" is the gate's), an object or parameters in the user's units."""
    choice = gate.default_start if isinstance(choice, str) and choice == "auto" else choice
    return resolve(FromParams(choice) if isinstance(choice, MoEParams) else choice, STARTS, Start, "start")


def element(block, n_neighbors, rng, per_term=1, most=None):
    """Draw a row, and as few of its neighbours as define a line, at ``most`` so many; return both, as indices.

    Where rows are grouped, the group of the row is returned, and its rows are the nearest: they are of one expert.
    """
    n_terms, m = block.expert_Z.shape
    n_rows = per_term * n_terms if most is None else min(per_term * n_terms, most)
    gate_Z = block.spread(block.gate_Z)
    features = gate_Z if gate_Z is block.expert_Z else np.concatenate([gate_Z, block.expert_Z])
    if len(features) == 1:  # no columns: neighbours are those of like responses
        features = np.nan_to_num(np.atleast_2d(block.y))
    centre = _draw(block.spread(block.weight), rng)
    away = ((features - features[:, [centre]]) ** 2).sum(axis=0)
    if block.grouped:
        group = block.spread(np.arange(len(block)))
        own, centre = group == group[centre], int(group[centre])
        away[own] = -1.0
        n_neighbors = own.sum()
    # Equal distances must not be told apart by rounding: in single precision they are ties, which row order breaks.
    neighbours = np.sort(np.argsort(away.astype(np.float32), kind="stable")[: min(max(n_neighbors, n_rows), m)])
    return centre, rng.choice(neighbours, min(n_rows, m), replace=False)


def _draw(weight, rng):
    """Draw a row with probability proportional to its weight."""
    cumulative = np.cumsum(weight)
    return min(int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")), len(weight) - 1)


def _from_resp(task, resp):
    """Return the experts' M-step on responsibilities and a flat gate."""
    block, expert = task.block, task.model.expert
    params = expert.init_params(task.n_experts, len(block.expert_Z) - 1)
    params = expert.m_step(expert.suffstats(block.rows, params, block.spread(resp * block.weight)), params)
    return MoEParams(task.model.gate.init_params(task.n_experts, len(block.gate_Z) - 1), params)


def _checked(params, task):
    """Return the parameters as arrays. Raise ValueError unless they have the model's shapes and are finite."""
    if not isinstance(params, MoEParams):
        raise ValueError(f"start: FromParams takes MoEParams such as params_ of a fit, got {type(params).__name__}.")
    scaling = task.scaling
    wanted = task.model.init_params(task.n_experts, len(scaling.gate.kept), len(scaling.expert.kept))
    try:
        parts = [
            check_part(part, blank, fields, side)
            for part, blank, fields, side in zip(params, wanted, task.model.fields, params._fields, strict=True)
        ]
    except (TypeError, ValueError) as error:
        raise ValueError(f"start: {error}") from None
    return MoEParams(*parts)
