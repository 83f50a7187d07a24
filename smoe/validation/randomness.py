"""Where random numbers come from: one rule for every ``random_state`` and ``rng``."""

import copy
import numbers

import numpy as np
from sklearn.utils import check_random_state

__all__ = ["check_generator", "check_seed", "own_generator"]


def check_generator(random_state, argument="random_state"):
    """Return a NumPy Generator for an int, a RandomState, a Generator or None.

    A Generator is returned itself; a RandomState is advanced; an int always gives the same numbers.
    """
    if isinstance(random_state, np.random.Generator):
        return random_state
    return np.random.default_rng(check_seed(random_state, argument))


def check_seed(random_state, argument="random_state"):
    """Return four integers that stand for the same, for those who spawn generators of their own."""
    if isinstance(random_state, np.random.Generator):
        return random_state.integers(2**31, size=4).tolist()
    kinds = numbers.Integral | np.random.RandomState | None
    if not isinstance(random_state, kinds) or isinstance(random_state, bool | np.bool_):
        raise TypeError(
            f"{argument} must be an int, a numpy Generator or RandomState, or None, got {random_state!r}; "
            "for instance numpy.random.default_rng(0)."
        )
    if isinstance(random_state, numbers.Integral) and not 0 <= random_state < 2**32:
        raise ValueError(f"{argument} must lie between 0 and 2**32 - 1, got {random_state}.")
    return check_random_state(random_state).randint(2**31, size=4).tolist()


def own_generator(random_state, argument="random_state"):
    """Return a Generator that begins where the random state stands and leaves it there: threads may share that."""
    if isinstance(random_state, numbers.Integral) and not isinstance(random_state, bool | np.bool_):
        if random_state < 0:
            raise ValueError(f"{argument} must not be negative, got {random_state}.")
        return np.random.default_rng(random_state)
    return check_generator(copy.deepcopy(random_state), argument)
