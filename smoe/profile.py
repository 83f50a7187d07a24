"""Who lives where: shares of experts, means and spreads of the columns inside them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from smoe.optional import needed

__all__ = ["ExpertProfile", "profile"]

_FORMAT = ".3g"


def profile(proba, X, names):
    """Return the `ExpertProfile` of rows X (n_samples, n_features) with these weights, (n_samples, n_experts)."""
    total, centre = proba.sum(axis=0), X.mean(axis=0)
    X = X - centre  # squares round less
    with np.errstate(invalid="ignore"):  # an expert without rows has no mean
        mean = proba.T @ X / total[:, None]
    variance = [weight @ (X - m) ** 2 / t if t > 0 else m for weight, m, t in zip(proba.T, mean, total, strict=True)]
    return ExpertProfile(list(names), total / len(X), centre + mean, np.sqrt(variance), centre, X.std(axis=0))


@dataclass(frozen=True, eq=False, repr=False)
class ExpertProfile:
    """What the rows of each expert look like; ``print`` it or take ``to_frame()``.

    Every row counts for every expert, by its probability. Standard deviations divide by the total weight.

    Attributes
    ----------
    names : list of str
        The columns of X.
    share : ndarray of shape (n_experts,)
        Mean probability of each expert; they add up to one.
    mean, std : ndarray of shape (n_experts, n_features)
        Of each column among the rows of each expert; NaN for an expert without rows.
    all_mean, all_std : ndarray of shape (n_features,)
        The same of all rows.
    """

    names: list
    share: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    all_mean: np.ndarray
    all_std: np.ndarray

    def to_frame(self) -> Any:
        """Return a pandas DataFrame, a row for "all" and each expert: "share", and "mean" and "std" of each column.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        pd = needed("pandas", "to_frame()")
        mean, std = np.vstack([self.all_mean, self.mean]), np.vstack([self.all_std, self.std])
        columns = {("share", ""): np.append(1.0, self.share)}
        for j, name in enumerate(self.names):
            columns |= {(name, "mean"): mean[:, j], (name, "std"): std[:, j]}
        return pd.DataFrame(columns, index=["all", *range(len(self.share))])

    def __str__(self):
        """Return a table of experts side by side: shares, and mean (standard deviation) of each column."""
        mean, std = np.vstack([self.all_mean, self.mean]), np.vstack([self.all_std, self.std])
        rows = [["", "all rows", *(f"expert {k}" for k in range(len(self.share)))]]
        rows.append(["share", *(format(share, _FORMAT) for share in [1.0, *self.share])])
        for name, m, s in zip(self.names, mean.T, std.T, strict=True):
            rows.append([name, *(f"{a:{_FORMAT}} ({b:{_FORMAT}})" for a, b in zip(m, s, strict=True))])
        widths = [max(len(row[j]) for row in rows) for j in range(len(rows[0]))]
        return "\n".join(_line(row, widths) for row in rows)

    __repr__ = __str__


def _line(cells, widths):
    first, *rest = zip(cells, widths, strict=True)
    return f"{first[0]:<{first[1]}}" + "".join(f"  {cell:>{width}}" for cell, width in rest)
