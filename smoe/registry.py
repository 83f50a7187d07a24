"""Names for objects: one rule for gates, experts, solvers and starts."""

from sklearn.base import clone

from smoe.texts import with_article

__all__ = ["resolve"]


def resolve(choice, registry, base, argument):
    """Return an object of its own for a name of the registry, or a clone of the object given.

    Raises
    ------
    ValueError
        An unknown name; the message lists what exists.
    TypeError
        Neither a name nor an instance of ``base``.
    """
    if isinstance(choice, str):
        if choice not in registry:
            raise ValueError(f"{argument}={choice!r} is not known; choose one of {', '.join(map(repr, registry))}.")
        return registry[choice]()
    if isinstance(choice, base):
        return clone(choice)
    hint = f" Call the class: {argument}={choice.__name__}()." if isinstance(choice, type) else ""
    raise TypeError(f"{argument} must be a name or {with_article(base.__name__)} object, got {choice!r}.{hint}")
