"""Distributions of responses that are vectors, their margins, and what some coordinates tell of the others."""

import numbers

import numpy as np
from numpy.typing import ArrayLike

from smoe.distribution.base import ConditionalMixture
from smoe.distribution.tabulated import normal_log_density, tabulated
from smoe.validation import check_floats

__all__ = ["VectorMixture"]


class VectorMixture(ConditionalMixture, kind="vectors"):
    r"""Distributions of a vector y of q coordinates given x, one for each row of X.

    .. math:: p(y|x) = \sum_{k=1}^{K} \pi_k(x)\, f_k(y|x), \qquad y \in \mathbb{R}^q

    Parameters
    ----------
    model : MixtureOfExperts
        Gate and family of experts.
    params : MoEParams
        Parameters in the units of X and y.
    blocks : Blocks
        The rows of X, in the same units.
    """

    def mean(self) -> np.ndarray:
        """Return the means, (n_samples, q)."""
        return self._visit(_mean).T

    def cov(self) -> np.ndarray:
        """Return the covariance matrices: within and between the experts, (n_samples, q, q)."""
        return np.moveaxis(self._visit(_cov), -1, 0)

    def std(self) -> np.ndarray:
        """Return the standard deviations of the coordinates, (n_samples, q)."""
        return np.sqrt(np.diagonal(self.cov(), axis1=1, axis2=2))

    def mean_and_std(self) -> tuple[np.ndarray, np.ndarray]:
        """Return both."""
        return self.mean(), self.std()

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the natural logarithms of the densities at y, (n_samples, q) or (q,) for every row: (n_samples,)."""
        y = self._vectors(y)
        return self._visit_rows(lambda components, rows: components.logpdf(np.ascontiguousarray(y[:, rows])))

    def mahalanobis(self, y: ArrayLike) -> np.ndarray:
        r"""Return how far y is from the mean of each expert, in its own covariance matrix, (n_samples, n_experts).

        .. math:: \sqrt{(y - m_k)^\top S_k^{-1} (y - m_k)}

        The ellipsoid within which expert k has the mass c is where the square is at most the quantile c of
        :math:`\chi^2_q`.

        Parameters
        ----------
        y : array of shape (n_samples, q) or (q,)

        Raises
        ------
        NotImplementedError
            The experts' family is not normal.
        """
        means, covariances = self._normal("distances in standard deviations")
        apart = np.moveaxis(self._vectors(y) - means, 1, -1)[..., None]
        root = np.linalg.cholesky(np.moveaxis(covariances, -1, 1))
        return np.linalg.norm(np.linalg.solve(root, apart)[..., 0], axis=-1).T

    def marginals(self) -> list[ConditionalMixture]:
        """Return the distributions of the coordinates, each by itself, a list of `RealMixture`."""
        return [self.marginal(j) for j in range(self[:1].mean().shape[1])]

    def marginal(self, j: int | str) -> ConditionalMixture:
        """Return the distributions of coordinate j, an index or the name of a response, alone, a `RealMixture`.

        Raises
        ------
        NotImplementedError
            The experts' family is not normal.
        """
        means, covariances = self._normal("margins")
        j = self._place(j, means.shape[1])
        return tabulated(self._visit(lambda c: c.log_proba), means[:, [j]], covariances[:, [j]][:, :, [j]])

    def given(self, values: dict) -> ConditionalMixture:
        r"""Return the distributions of the other coordinates, given some of them.

        With :math:`u` the known coordinates and :math:`v` the others,

        .. math:: p(v|u, x) \propto \sum_k \pi_k(x)\, N(u; m_{ku}, S_{kuu})\,
                  N(v;\; m_{kv} + S_{kvu} S_{kuu}^{-1} (u - m_{ku}),\; S_{kvv} - S_{kvu} S_{kuu}^{-1} S_{kuv})

        What is known changes the experts' probabilities, too. This is done in logarithms, and holds far from the data.

        Parameters
        ----------
        values : dict
            Coordinate (an index, or the name of a response) to its value: one number, or one for each row. At least one
            coordinate must be left.

        Returns
        -------
        VectorMixture or RealMixture
            Of the coordinates that are not given, in their order; real if one is left.

        Raises
        ------
        NotImplementedError
            The experts' family is not normal.
        """
        means, covariances = self._normal("conditional distributions")
        known, others, u = self._split(values, means.shape[1])
        log_proba = self._visit(lambda components: components.log_proba)
        parts = [_conditional(*of_expert, known, others, u) for of_expert in zip(means, covariances, strict=True)]
        log_density, mean, covariance = map(np.array, zip(*parts, strict=True))
        return tabulated(log_proba + log_density, mean, covariance)

    def _normal(self, what):
        """Return all rows' means (n_experts, q, n) and covariance matrices (n_experts, q, q, n) of normal experts."""
        if self._visit(_is_normal).all():
            return (self._visit(lambda components, i=i: components.normal[i]) for i in range(2))
        name = type(self._model.expert).__name__
        raise NotImplementedError(f"{what} are known for mixtures of normals only: {name}.normal returns None.")

    def _split(self, values, q):
        """Return the known coordinates, the others, and the known values (n_known, n)."""
        if not isinstance(values, dict) or not values:
            raise TypeError(f"given must be a dict of coordinates and their values, got {values!r}.")
        known = [self._place(j, q) for j in values]
        others = [j for j in range(q) if j not in known]
        if not others or len(set(known)) < len(known):
            raise ValueError(f"given must name each coordinate once and leave at least one of {q}, got {list(values)}.")
        rows = [np.broadcast_to(self._finite(value, j), len(self)) for j, value in values.items()]
        return known, others, np.array(rows)

    def _place(self, j, q):
        """Return the index of a coordinate."""
        names = self._model.expert.axis_labels.get("response", [])
        if j in names:
            return list(names).index(j)
        if isinstance(j, numbers.Integral):
            return range(q)[j]
        raise ValueError(f"{j!r} is no response: it must be one of {list(names) or list(range(q))}.")

    def _finite(self, value, j):
        value = check_floats(value, f"given[{j}]")
        if value.shape not in ((), (len(self),)) or not np.all(np.isfinite(value)):
            raise ValueError(f"given[{j}] must be a finite number, or one for each of {len(self)} rows.")
        return value

    def _vectors(self, y):
        """Return y as (q, n)."""
        y = check_floats(y, "y")
        q = self[:1].mean().shape[1]
        if y.shape not in ((q,), (len(self), q)):
            raise ValueError(f"y must have shape ({q},) or ({len(self)}, {q}), got {y.shape}.")
        if np.isnan(y).any():
            raise ValueError("y must be numbers, and contains NaN.")
        return np.broadcast_to(y, (len(self), q)).T


def _mean(components):
    """Return the means, (q, m)."""
    return (components.proba[:, None] * components.mean).sum(axis=0)


def _cov(components):
    """Return the covariance matrices, (q, q, m)."""
    apart = components.mean - _mean(components)
    within = components.variance + apart[:, :, None] * apart[:, None]
    return (components.proba[:, None, None] * within).sum(axis=0)


def _is_normal(components):
    return np.full(len(components), components.normal is not None)


def _conditional(mean, covariance, known, others, u):
    """Return of one expert the log density of u, and means (q, n) and covariance matrices (q, q, n) of the others."""
    S, apart = np.moveaxis(covariance, -1, 0), (u - mean[known]).T
    inner, across = S[:, known][:, :, known], S[:, known][:, :, others]
    gain = np.linalg.solve(inner, across)
    moved = mean[others] + np.einsum("nuv,nu->vn", gain, apart)
    left = S[:, others][:, :, others] - np.swapaxes(across, 1, 2) @ gain
    left = 0.5 * (left + np.swapaxes(left, 1, 2))
    return normal_log_density(apart, inner), moved, np.moveaxis(left, 0, -1)
