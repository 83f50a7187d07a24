"""Names for what arguments may be, for hints of types."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["ColumnSpec", "Data", "FilePath", "Model", "Names", "Seed"]

Data = Any  # rows of X: arrays, nested lists, data frames, dask collections, sources of `smoe.rows`
Model = Any  # a fitted estimator, or its ``fitted_``
Seed = None | int | np.random.Generator | np.random.RandomState
FilePath = str | PathLike[str]
Names = Sequence[str] | np.ndarray
ColumnSpec = None | ArrayLike | slice | Callable
