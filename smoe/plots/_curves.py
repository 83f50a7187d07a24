"""Predictions along one column: at the points of a grid, averaged over what the other columns are."""

from typing import NamedTuple

import numpy as np

from smoe.inference.estimates import mean_interval

__all__ = ["OTHERS", "Curves", "chosen_column", "curves"]

# What the other columns are, and how a picture says it.
OTHERS = {
    "near": "other columns: those of the rows around each {0}, averaged",
    "average": "other columns: averaged over all rows, whatever their {0}",
    "median": "other columns: at their medians",
}
_GRID, _MARGIN = 400, 0.03
_COARSE, _ROWS = 100, 200  # points and rows at each of them, where rows are averaged
_NEAR = 50  # one in so many rows is near
_HALVINGS = 50


class Curves(NamedTuple):
    """Along a grid (m,): mean, band (2, m), confidence band of the mean or None; by expert means and shares (m, K)."""

    grid: np.ndarray
    mean: np.ndarray
    band: np.ndarray
    mean_band: np.ndarray
    lines: np.ndarray
    proba: np.ndarray


def chosen_column(feature, names):
    """Return the index of the column on the horizontal axis."""
    if feature is None and len(names) == 1:
        return 0
    if isinstance(feature, str) and feature in names:
        return names.index(feature)
    if isinstance(feature, int | np.integer) and 0 <= feature < len(names):
        return int(feature)
    raise ValueError(f"feature={feature!r}: choose the column for the horizontal axis, one of {names} or its index.")


def curves(fit, X, column, others, coverage, mean_coverage):
    """Return the `Curves` of a fit along one column of X."""
    values = np.asarray(X, dtype=float)
    others = "median" if values.shape[1] == 1 else others
    grid, rows = _PLACES[others](values, column)
    n_points, n_rows = rows.shape[:2]
    frame = _like(X, rows.reshape(-1, rows.shape[2]))

    def averaged(found, weight=None):
        """Averages over the rows of each point."""
        found = found.reshape(n_points, n_rows, -1)
        return found.mean(axis=1) if weight is None else (weight * found).sum(axis=1)

    proba = fit.gate_proba(frame)
    share = averaged(proba)
    weight = proba.reshape(n_points, n_rows, -1) / np.where(share > 0, n_rows * share, 1.0)[:, None]
    ends = None if mean_coverage is None else averaged(mean_interval(fit, frame, mean_coverage)).T
    return Curves(
        grid,
        averaged(fit.predict(frame))[:, 0],
        _band(fit.predict_distribution(frame), coverage, n_points),
        ends,
        averaged(fit.expert_predict(frame), weight),
        share,
    )


def _band(mixture, coverage, n_points):
    """Equal-tailed limits of the average of each point's distributions, (2, n_points), by halving."""
    ends = mixture.interval(coverage).T.reshape(2, n_points, -1)
    low, high = ends.min(axis=2), ends.max(axis=2)
    if ends.shape[2] == 1:
        return low
    for side, tail in enumerate((mixture.cdf, mixture.sf)):
        for _ in range(_HALVINGS):
            middle = 0.5 * (low[side] + high[side])
            mass = tail(np.repeat(middle, ends.shape[2])).reshape(n_points, -1).mean(axis=1)
            above = (mass > 0.5 * (1.0 - coverage)) == (side == 0)  # the limit lies below the middle
            low[side], high[side] = np.where(above, low[side], middle), np.where(above, middle, high[side])
    return 0.5 * (low + high)


def _points(values, column, n_points):
    low, high = values[:, column].min(), values[:, column].max()
    margin = _MARGIN * (high - low)
    return np.linspace(low - margin, high + margin, n_points)


def _at_medians(values, column):
    grid = _points(values, column, _GRID)
    rows = np.tile(np.median(values, axis=0), (_GRID, 1, 1))
    rows[:, 0, column] = grid
    return grid, rows


def _at_all_rows(values, column):
    grid = _points(values, column, _COARSE)
    chosen = np.random.default_rng(0).permutation(len(values))[:_ROWS]
    rows = np.tile(values[chosen], (_COARSE, 1, 1))
    rows[:, :, column] = grid[:, None]
    return grid, rows


def _at_rows_near(values, column):
    """Groups of neighbours in the order of the column; where each is: the mean of its values."""
    order = np.argsort(values[:, column], kind="stable")
    size = int(np.clip(len(values) // _NEAR, min(10, len(values)), _ROWS))
    first = np.unique(np.linspace(0, len(values) - size, _COARSE).astype(int))
    rows = values[order[first[:, None] + np.arange(size)]]
    grid = rows[:, :, column].mean(axis=1)
    new = np.append(True, np.diff(grid) > 0)  # ties
    return grid[new], rows[new]


_PLACES = {"near": _at_rows_near, "average": _at_all_rows, "median": _at_medians}


def _like(X, rows):
    """Return rows of the same kind as X."""
    if not hasattr(X, "columns"):
        return rows
    if hasattr(X, "iloc"):
        return type(X)(rows, columns=X.columns)
    return type(X)(dict(zip(X.columns, rows.T, strict=True)))
