"""A tree of gates: hierarchical mixtures of experts, shared experts, stick-breaking."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from smoe._kernels.trees import tree_bends, tree_log_shares, tree_scores, tree_slopes
from smoe.fields import Field
from smoe.gates.base import Gate
from smoe.gates.predictors import PredictorGate
from smoe.gates.splits import Node, balanced, frozen, gathered, in_words, parsed, sticks
from smoe.params import n_rows, permute
from smoe.validation import check_choice, check_number

__all__ = ["TreeGate", "TreeGateParams"]


class TreeGateParams(NamedTuple):
    """Slopes ``coef`` (n_experts, n_features), ``intercept`` and ``place``, the leaf of each expert, (n_experts,).

    Leaves are counted from the left. The row of the expert on a leaf has the log odds of the largest branch that ends
    there, against the last branch beside it; the row of the last leaf is zero.
    """

    coef: np.ndarray
    intercept: np.ndarray
    place: np.ndarray


class TreeGate(PredictorGate):
    r"""A row goes down a tree of gates, from the root to the expert on a leaf.

    .. math:: \pi_l(x) = \prod_{(m, c) \text{ on the path to } l} g_{c|m}(x), \qquad
              g_{c|m}(x) = \frac{\exp(\beta_{1mc}^\top x + \beta_{0mc})}{\sum_b \exp(\beta_{1mb}^\top x + \beta_{0mb})}

    Each node is a softmax gate among its branches, or has constant weights. A tree with one node is the softmax gate;
    with two experts every tree is. One binary node below the other is stick-breaking; a constant root with a constant
    and another branch is a mixture with shared experts.

    Not identified: at every node one vector added to all slopes and one number to all intercepts (its last branch has
    zero), and the order of branches of the same shape (reported in the order of their first experts). Which expert
    sits under which node is part of the model: fits look for it among random places, and a tree with more experts does
    not contain the one with fewer, so that experts are neither dropped nor merged.

    Parameters
    ----------
    tree : {"balanced", "sticks"}, int or nested tuple, default="balanced"
        The shape. An int is a node with as many experts (1 is an expert), a tuple a node with these branches:
        ``(2, 2)`` is a root with two branches of two experts, ``(1, (1, 2))`` the sticks of four experts. "balanced"
        divides any number of experts as evenly as it goes, "sticks" takes off one after the other.
    branching : int, default=2
        Branches of each node of a balanced tree; its depth follows from the number of experts.
    constant : tuple of paths, default=()
        Nodes whose weights do not depend on x. A path has the numbers of the branches from the root: ``()`` is the
        root itself, ``(1,)`` its second branch.

    References
    ----------
    Jordan, M. I. and Jacobs, R. A. (1994). Hierarchical mixtures of experts and the EM algorithm. Neural
    Computation 6, 181-214.

    Dai, D. et al. (2024). DeepSeekMoE: towards ultimate expert specialization in mixture-of-experts language models.
    ACL, for shared experts.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.features import design
    >>> from smoe.gates import TreeGate, TreeGateParams
    >>> gate = TreeGate()
    >>> slopes, intercepts = np.array([[0.0], [2.0], [0.0], [0.0]]), np.array([np.log(3.0), 0.0, 0.0, 0.0])
    >>> params = TreeGateParams(slopes, intercepts, np.arange(4.0))
    >>> np.exp(gate.scores(design(np.array([[-9.0, 0.0, 9.0]])), params)).round(3)
    array([[0.   , 0.375, 0.75 ],
           [0.   , 0.125, 0.25 ],
           [0.5  , 0.25 , 0.   ],
           [0.5  , 0.25 , 0.   ]])
    >>> print(gate.text(params, ["age"]))
    {0, 1} against {2, 3}: 2 age
      0 against 1: 1.099
      2 against 3: 0
    """

    fields = {**PredictorGate.fields, "place": Field(fixed=True)}
    exchangeable = False
    linear = True

    def __init__(self, tree: Any = "balanced", branching: int = 2, constant: tuple = ()) -> None:
        self.tree = tree
        self.branching = branching
        self.constant = constant

    @classmethod
    def shared(cls, n_shared, n_routed):
        """Return the gate of shared and routed experts: the shared ones have constant weights, as has their group."""
        return cls((n_shared, n_routed), constant=((), (0,)) if n_shared > 1 else ((),))

    def check(self, n_experts):
        """Raise ValueError or TypeError for settings that make no sense with this many experts."""
        check_number(self.branching, "branching", 2, integer=True)
        if isinstance(self.tree, str):
            check_choice(self.tree, "tree", ("balanced", "sticks"))
        root = self.root(n_experts)
        if root.n_leaves != n_experts:
            raise ValueError(f"tree={self.tree!r} has {root.n_leaves} leaves, but n_experts={n_experts}.")

    def root(self, n_experts):
        """Return the tree with this many leaves: nodes with their branches."""
        tree = self.tree if isinstance(self.tree, str) else frozen(self.tree, "tree")
        return _root(tree, self.branching, frozen(self.constant, "constant"), n_experts)

    # Experts and leaves ----------------------------------------------------------------------------------------------

    def _of(self, params):
        """Return the splits, and which expert sits on each leaf; places count by their order alone."""
        return self.root(n_rows(params)).splits, np.argsort(params.place, kind="stable")

    def sloping(self, params):
        """Return which rows are not those of constant nodes, (n_experts,)."""
        splits, on_leaf = self._of(params)
        out = np.empty(len(on_leaf), dtype=bool)
        out[on_leaf] = splits.sloping
        return out

    def init_params(self, n_experts, n_features):
        """Return a flat gate: a branch has as much as it has experts, each of which sits where its number says."""
        params = TreeGateParams(np.zeros((n_experts, n_features)), np.zeros(n_experts), np.arange(float(n_experts)))
        return self.with_log_mass(params, np.zeros(n_experts))

    def _shares(self, u, params):
        """Return the log probabilities of the branches, the splits, and which expert sits on each leaf."""
        splits, on_leaf = self._of(params)
        return tree_log_shares(u, on_leaf, splits.first, splits.high), splits, on_leaf

    def link(self, u, params):
        """Return the logarithms of the probabilities, which add up along the path."""
        return _scores(*self._shares(u, params))

    def slopes(self, u, params):
        """Return the derivative of each score by each predictor."""
        return _slopes(*self._shares(u, params))

    def jet(self, u, params):
        """Return both from the same shares of the branches."""
        shares = self._shares(u, params)
        return _scores(*shares), _slopes(*shares)

    def bends(self, u, params, R):
        """Return the second derivatives of the sum of R * scores by pairs of predictors."""
        shares, splits, on_leaf = self._shares(u, params)
        return tree_bends(shares, R, on_leaf, splits.first, splits.low, splits.high)

    # What is not identified ------------------------------------------------------------------------------------------

    def free(self, params):
        """All rows but that of the last leaf; of constant nodes the intercepts alone."""
        free = Gate.free(self, params)
        last = self._of(params)[1][-1]
        free.coef[~self.sloping(params)], free.coef[last] = False, False
        free.intercept[last] = False
        return free

    def canonical(self, params):
        """Put branches of one shape in the order of their first experts, and zero in the rows that stand for them."""
        table, on_leaf = np.column_stack([self._sloped(params), params.intercept]), self._of(params)[1]
        order, rows = _arranged(self.root(n_rows(params)), on_leaf.tolist(), table[on_leaf])
        out = np.zeros_like(table)
        out[order] = rows
        return TreeGateParams(out[:, :-1], out[:, -1], np.argsort(order).astype(float))

    def permute(self, params, order):
        """Relabel the experts, each of which stays on its leaf. Raise ValueError for other numbers of experts."""
        if sorted(np.asarray(order).tolist()) != list(range(n_rows(params))):
            raise ValueError(
                "experts of a TreeGate can be neither dropped nor doubled, as what is left of its tree is not defined; "
                "fit a tree with another number of experts."
            )
        return permute(params, order)

    def beside(self, params, lost, host):
        """Return the parameters as they are, the lost expert last: who takes its place sits on its leaf."""
        return self.permute(params, [*(i for i in range(n_rows(params)) if i != lost), lost])

    def merge(self, params, groups, load):
        """Raise ValueError: a tree with fewer leaves is another tree."""
        raise ValueError(
            "experts of a TreeGate cannot be merged, as what is left of its tree is not defined; fit a tree with fewer "
            "experts."
        )

    def flat(self, params, share):
        """Return parameters with these places whose probabilities are the shares (n_experts,) everywhere."""
        return self.with_log_mass(params._replace(coef=np.zeros_like(params.coef)), np.log(share))

    def gathered(self, params, overlap):
        """Return the parameters with experts that share most, by overlap (n_experts, n_experts), on nearby leaves."""
        order = gathered(self.root(n_rows(params)), np.asarray(overlap))
        return params._replace(place=np.argsort(order).astype(float))

    def log_mass(self, params):
        """Return the logarithms of the probabilities where the features are zero."""
        return self.link(params.intercept[:, None], params)[:, 0]

    def with_log_mass(self, params, log_mass):
        """Return the parameters with the intercepts that give these probabilities where the features are zero."""
        (splits, on_leaf), intercept = self._of(params), np.zeros(n_rows(params))
        by_leaf = np.asarray(log_mass, dtype=float)[on_leaf]
        for node in splits.nodes():
            mass = np.array([np.logaddexp.reduce(by_leaf[low:high]) for low, high in node])
            intercept[on_leaf[[high - 1 for _, high in node[:-1]]]] = mass[:-1] - mass[-1]
        return params._replace(intercept=intercept)

    def rows(self, params):
        """Return the expert on each leaf, with the slopes and the intercept of its row."""
        on_leaf = self._of(params)[1]
        return list(zip(on_leaf.tolist(), params.coef[on_leaf], params.intercept[on_leaf], strict=True))

    def text(self, params, names=None):
        """Return the tree in words, a line for each node: which experts against which, and their log odds.

        Parameters
        ----------
        params : TreeGateParams
        names : list of str or None, default=None
            Names of the features.
        """
        params = self.canonical(params)
        names = [f"x{j}" for j in range(params.coef.shape[1])] if names is None else names
        return "\n".join(in_words(self.root(n_rows(params)), self.rows(params), names))


def _scores(shares, splits, on_leaf):
    return tree_scores(shares, on_leaf, splits.low, splits.high)


def _slopes(shares, splits, on_leaf):
    return tree_slopes(shares, on_leaf, splits.first, splits.low, splits.high)


@lru_cache
def _root(tree, branching, constant, n_experts):
    shapes = {"balanced": lambda: balanced(n_experts, branching), "sticks": lambda: sticks(n_experts)}
    return parsed(shapes[tree]() if isinstance(tree, str) else tree, constant)


def _arranged(node: Node, experts, rows):
    """Return experts and rows of the leaves below a node in canonical order; the last leaf's row is left to others."""
    if not node.children:
        return experts, np.zeros((1, rows.shape[1]))
    parts, levels, low = [], [], 0
    for child in node.children:
        high = low + child.n_leaves
        parts.append(_arranged(child, experts[low:high], rows[low:high]))
        levels.append(rows[high - 1] if high < len(experts) else np.zeros(rows.shape[1]))
        low = high
    order = _order(node.children, [min(leaves) for leaves, _ in parts])
    out = [parts[c][1] for c in order]
    for c, part in zip(order, out, strict=True):
        part[-1] = levels[c] - levels[order[-1]]
    return [expert for c in order for expert in parts[c][0]], np.concatenate(out)


def _order(children, first):
    """Return the branches, those of one shape in the order of their first experts."""
    order = list(range(len(children)))
    for shape in set(children):
        places = [c for c, child in enumerate(children) if child == shape]
        for place, c in zip(places, sorted(places, key=first.__getitem__), strict=True):
            order[place] = c
    return order
