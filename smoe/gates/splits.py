"""Shapes of trees: nodes, and the splits that they make of the leaves, counted from the left."""

from functools import cached_property
from typing import NamedTuple

__all__ = ["Node", "Split", "balanced", "in_words", "parsed", "sticks"]

_DEEPEST = 100


class Split(NamedTuple):
    """A node: the leaves (first, one past the last) of its branches, and the leaves whose rows are all but the last's.

    A row belongs to the last leaf of its branch, so that each leaf but the last has exactly one.
    """

    branches: tuple
    rows: list
    constant: bool
    depth: int

    @property
    def low(self):
        """The first leaf."""
        return self.branches[0][0]

    @property
    def high(self):
        """One past the last leaf."""
        return self.branches[-1][1]


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
        """The `Split` of every node, the root first."""
        return list(_splits(self, 0, 0))


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


def _children(shape):
    if isinstance(shape, int) and not isinstance(shape, bool) and shape >= 1:
        return (1,) * shape if shape > 1 else ()
    if isinstance(shape, tuple | list) and len(shape) > 1:
        return tuple(shape)
    raise ValueError(
        f"tree must be made of whole numbers (a node with as many experts; 1 is an expert) and tuples of at least two "
        f"branches, got {shape!r}."
    )


def _check_paths(shape, constant):
    for path in constant:
        here = shape
        for branch in path:
            children = _children(here)
            if not (isinstance(branch, int) and 0 <= branch < len(children)):
                raise ValueError(f"constant: the tree {shape!r} has no node {path!r}.")
            here = children[branch]
        if not _children(here) and path:
            raise ValueError(f"constant: {path!r} is a leaf of the tree {shape!r}, no node.")


def _splits(node, low, depth):
    if not node.children:
        return
    edges = [low]
    for child in node.children:
        edges.append(edges[-1] + child.n_leaves)
    branches = tuple(zip(edges[:-1], edges[1:], strict=True))
    yield Split(branches, [high - 1 for _, high in branches[:-1]], node.constant, depth)
    for child, (first, _) in zip(node.children, branches, strict=True):
        yield from _splits(child, first, depth + 1)


def in_words(root, on_leaf, params, names):
    """Yield a line for each branch but a node's last: its experts against those of the last, and the log odds."""
    for split in root.splits:
        last = _group(on_leaf, split.branches[-1])
        for row, branch in zip(split.rows, split.branches, strict=False):
            odds = _odds(params.coef[on_leaf[row]], params.intercept[on_leaf[row]], names)
            yield f"{'  ' * split.depth}{_group(on_leaf, branch)} against {last}: {odds}"


def _group(on_leaf, branch):
    experts = sorted(on_leaf[slice(*branch)].tolist())
    return str(experts[0]) if len(experts) == 1 else "{" + ", ".join(map(str, experts)) + "}"


def _odds(coef, intercept, names):
    pairs = [*((value, f" {name}") for value, name in zip(coef, names, strict=True)), (intercept, "")]
    terms = [(value, name) for value, name in pairs if value != 0.0]
    if not terms:
        return "0"
    (first, name), *others = terms
    return f"{first:.4g}{name}" + "".join(f" {'-' if value < 0 else '+'} {abs(value):.4g}{n}" for value, n in others)
