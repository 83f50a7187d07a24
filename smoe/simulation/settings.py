"""Settings as JSON has them: the same words for the same settings, in every process."""

from functools import partial

import numpy as np
from sklearn.base import BaseEstimator

__all__ = ["described"]

_WITHOUT_INFLUENCE = ("n_jobs", "verbose", "random_state")  # on a record: cells have seeds of their own


def described(value):
    """Return objects as their class and parameters, functions as their names, arrays as lists."""
    if isinstance(value, BaseEstimator):
        params = {name: v for name, v in value.get_params(deep=False).items() if name not in _WITHOUT_INFLUENCE}
        return {"class": type(value).__name__, **described(params)}
    if isinstance(value, dict):
        return {str(name): described(entry) for name, entry in value.items()}
    if hasattr(value, "_asdict"):
        return described(value._asdict())
    if isinstance(value, list | tuple):
        return [described(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, partial):
        return {"function": described(value.func), "args": described(value.args), **described(value.keywords)}
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)
