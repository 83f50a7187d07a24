"""Shapes of trees: nodes, and the splits that they make of the leaves, counted from the left."""

import numbers
from functools import cached_property
from typing import NamedTuple

import numpy as np

__all__ = [
    "Node",
    "Splits",
    "balanced",
    "frozen",
    "gathered",
    "in_words",
    "log_odds",
    "parsed",
    "sticks",
    "walk",
]

_DEEPEST = 100
_WIDEST = 1000  # branches of a node


class Splits(NamedTuple):
    """The branches of all nodes, the root's first: what kernels take.

    ``low`` and ``high`` are the first leaf of each branch and one past its last, ``first`` the first branch of each
    node and one past all branches. The row of a branch is that of its last leaf, so that each leaf but the last has
    one; ``sloping`` says which leaves' rows have slopes.
    """

    low: np.ndarray
    high: np.ndarray
    first: np.ndarray
    sloping: np.ndarray

    def nodes(self):
        """Yield the branches (low, high) of each node."""
        branches = list(zip(self.low.tolist(), self.high.tolist(), strict=True))
        for start, stop in zip(self.first[:-1], self.first[1:], strict=True):
            yield branches[start:stop]


class _Shape(NamedTuple):
    children: tuple
    constant: bool


class Node(_Shape):
    """A node with its branches, or a leaf, which has none. Equal nodes have one shape."""

    @cached_property
    def n_leaves(self):
        """Number of leaves below it."""
        return sum(child.n_leaves for child in self.children) if self.children else 1

    @cached_property
    def splits(self):
        """The `Splits` of its leaves."""
        branches, first, sloping = [], [0], np.ones(self.n_leaves, dtype=bool)
        for node, own in walk(self):
            branches += own
            first.append(len(branches))
            sloping[[high - 1 for _, high in own[:-1]]] = not node.constant
        low, high = np.array(branches, dtype=np.int64).reshape(-1, 2).T.copy()
        return Splits(low, high, np.array(first), sloping)


def walk(node, low=0):
    """Yield each node and the leaves (low, high) of its branches, from the root down."""
    if not node.children:
        return
    edges = [low]
    for child in node.children:
        edges.append(edges[-1] + child.n_leaves)
    yield node, list(zip(edges[:-1], edges[1:], strict=True))
    for child, first in zip(node.children, edges, strict=False):
        yield from walk(child, first)


def balanced(n_leaves, branching):
    """Return the shape that divides the leaves as evenly as it goes."""
    if n_leaves <= branching:
        return n_leaves
    share, more = divmod(n_leaves, branching)
    return tuple(balanced(share + (c < more), branching) for c in range(branching))


def sticks(n_leaves):
    """Return the shape that takes off one leaf after the other."""
    return n_leaves if n_leaves <= 2 else (1, sticks(n_leaves - 1))


def parsed(shape, constant=(), path=()):
    """Return the `Node` of nested tuples and ints; ``constant`` are the paths of nodes with constant weights."""
    if not path:
        _check_paths(shape, constant)
    if len(path) > _DEEPEST:
        raise ValueError(f"tree is deeper than {_DEEPEST} nodes.")
    children = _children(shape)
    return Node(tuple(parsed(child, constant, (*path, c)) for c, child in enumerate(children)), path in constant)


def frozen(nested, name):
    """Return nested tuples and ints, with tuples in place of lists such as a file may hold, or raise TypeError."""
    if isinstance(nested, list | tuple):
        return tuple(frozen(one, name) for one in nested)
    if isinstance(nested, bool) or not isinstance(nested, numbers.Integral):
        raise TypeError(f"{name} must be made of nested tuples and whole numbers, got {nested!r}.")
    return int(nested)


def _children(shape):
    if isinstance(shape, int) and 1 <= shape <= _WIDEST:
        return (1,) * shape if shape > 1 else ()
    if isinstance(shape, tuple | list) and len(shape) > 1:
        return tuple(shape)
    raise ValueError(
        f"tree must be made of whole numbers (a node with as many experts, at most {_WIDEST}; 1 is an expert) and "
        f"tuples of at least two branches, got {shape!r}."
    )


def _check_paths(shape, constant):
    if not isinstance(constant, tuple) or not all(isinstance(path, tuple) for path in constant):
        raise TypeError(
            f"constant must be a tuple of paths, each a tuple of numbers of branches such as (0, 1), got {constant!r}."
        )
    for path in constant:
        here = shape
        for branch in path:
            children = _children(here)
            if not (isinstance(branch, int) and 0 <= branch < len(children)):
                raise ValueError(f"constant: the tree {shape!r} has no node {path!r}.")
            here = children[branch]
        if not _children(here) and path:
            raise ValueError(f"constant: {path!r} is a leaf of the tree {shape!r}, no node.")


def gathered(node, overlap):
    """Return the experts leaf by leaf, those that share most under one branch, the largest branches filled first.

    Parameters
    ----------
    node : Node
    overlap : array of shape (n_experts, n_experts)
        How much two experts share.
    """

    def fill(node, left):
        if not node.children:
            return left
        groups, left = {}, list(left)
        for c in sorted(range(len(node.children)), key=lambda c: -node.children[c].n_leaves):
            groups[c] = _closest(node.children[c].n_leaves, left, overlap)
            left = [i for i in left if i not in groups[c]]
        return [i for c, child in enumerate(node.children) for i in fill(child, groups[c])]

    return fill(node, list(range(len(overlap))))


def _closest(size, left, overlap):
    """Return so many of the experts left, beginning with those that share most."""
    group = []
    while len(group) < size:
        rest = [i for i in left if i not in group]
        group.append(max(rest, key=lambda i: sum(overlap[i, j] for j in group or rest if j != i)))
    return group


def in_words(node, rows, names, low=0, depth=0):
    """Yield a line for each branch but a node's last: its experts against those of the last, and the log odds."""
    if not node.children:
        return
    ((_, branches), *_), experts = walk(node, low), [row[0] for row in rows]
    for first, stop in branches[:-1]:
        odds = log_odds(*rows[stop - 1][1:], names)
        yield f"{'  ' * depth}{_group(experts[first:stop])} against {_group(experts[slice(*branches[-1])])}: {odds}"
    for child, (first, _) in zip(node.children, branches, strict=True):
        yield from in_words(child, rows, names, first, depth + 1)


def _group(experts):
    return str(experts[0]) if len(experts) == 1 else "{" + ", ".join(map(str, sorted(experts))) + "}"


def log_odds(coef, intercept, names):
    """Return log odds in words, such as "2 age - 1.5"."""
    pairs = [*((value, f" {name}") for value, name in zip(coef, names, strict=True)), (intercept, "")]
    terms = [(value, name) for value, name in pairs if value != 0.0]
    if not terms:
        return "0"
    (first, name), *others = terms
    return f"{first:.4g}{name}" + "".join(f" {'-' if value < 0 else '+'} {abs(value):.4g}{n}" for value, n in others)
