r"""Covariance matrices by their axes: eigenvalues, and the angles that turn the axes of the responses into theirs.

.. math:: \Sigma = Q \, \mathrm{diag}(\ell_1, \ldots, \ell_q) \, Q^\top, \qquad Q = \prod_{i < j} G_{ij}(\theta_{ij})

with plane rotations in the order 01, 02, ..., 12, ... Experts may share eigenvalues, or their ratios, and have axes of
their own. Derivatives are those of the chain of regressions of the same matrix, see ``smoe.experts.covariances``.
"""

import numpy as np

from smoe._kernels.covariances import chain, unit_lower
from smoe.experts.covariances import estimate

__all__ = ["chain_jet", "chain_of_axes", "estimate_axes", "planes"]


def planes(q):
    """Return the pairs of responses whose plane each angle turns."""
    return [(i, j) for i in range(q) for j in range(i + 1, q)]


def estimate_axes(volume, scatter, weight, before, floor):
    """Return eigenvalues (n_experts, q) and angles (n_experts, n_pairs) of highest likelihood.

    Each expert's axes are those of its own residuals, the largest first (Celeux and Govaert 1995, models EEV and VEV).

    Parameters
    ----------
    volume : str
        "E" for equal eigenvalues, "V" for equal ratios.
    scatter, weight, floor
        As for `smoe.experts.covariances.estimate`.
    before : tuple of two arrays
        What to keep of experts without rows.
    """
    values, vectors = (part[..., ::-1] for part in np.linalg.eigh(scatter))
    squares = np.maximum(values, 0.0)[:, :, None] * np.eye(values.shape[1])
    eigenvalues, _ = estimate(f"{volume}EI", squares, weight, (before[0], before[1] * 0.0), floor)
    angles = np.array([_angles(Q) if w > 0 else old for Q, w, old in zip(vectors, weight, before[1], strict=True)])
    return np.broadcast_to(eigenvalues, values.shape), angles


def _angles(Q):
    """Return the angles, between -pi/2 and pi/2, of an orthogonal matrix whose columns may change their signs."""
    Q, q = Q.copy(), len(Q)
    out = []
    for i in range(q):
        Q[:, i] *= -1.0 if Q[i, i] < 0 else 1.0
        for j in range(i + 1, q):
            angle = np.arctan2(Q[j, i], Q[i, i])
            c, s = np.cos(angle), np.sin(angle)
            Q[[i, j]] = np.array([[c, s], [-s, c]]) @ Q[[i, j]]
            out.append(angle)
    return np.array(out)


def _rotation(angle, plane, q, order=0):
    """Return the rotations (n_experts, q, q) by these angles, or a derivative of them."""
    i, j = plane
    c, s = np.cos(angle + order * np.pi / 2), np.sin(angle + order * np.pi / 2)
    out = np.zeros((len(angle), q, q)) if order else np.tile(np.eye(q), (len(angle), 1, 1))
    out[:, i, i], out[:, i, j], out[:, j, i], out[:, j, j] = c, -s, s, c
    return out


def _turned(angles, q):
    """Return Q (n_experts, q, q), its derivatives by each angle, and by each two."""
    pairs = planes(q)
    plain, once, twice = ([_rotation(angles[:, p], pairs[p], q, r) for p in range(len(pairs))] for r in range(3))
    after = [np.tile(np.eye(q), (len(angles), 1, 1))]
    for rotation in plain[::-1]:
        after.append(rotation @ after[-1])
    Q, after = after[-1], after[-2::-1]  # what follows each rotation
    first = np.empty((len(pairs), *Q.shape))
    second = np.empty((len(pairs), *first.shape))
    before = np.tile(np.eye(q), (len(angles), 1, 1))
    for p in range(len(pairs)):
        begun = before @ once[p]
        first[p], second[p, p] = begun @ after[p], before @ twice[p] @ after[p]
        for r in range(p + 1, len(pairs)):
            second[p, r] = second[r, p] = begun @ once[r] @ after[r]
            begun = begun @ plain[r]
        before = before @ plain[p]
    return Q, first, second


def chain_of_axes(eigenvalues, angles):
    """Return innovation variances (n_experts, q) and T (n_experts, q, q) of the covariance matrices."""
    q = eigenvalues.shape[1]
    Q = np.tile(np.eye(q), (len(angles), 1, 1))
    for plane, angle in zip(planes(q), angles.T, strict=True):
        Q = Q @ _rotation(angle, plane, q)
    variances, slopes = chain((Q * eigenvalues[:, None]) @ np.swapaxes(Q, 1, 2), 0.0)
    smallest = eigenvalues.min(axis=1, keepdims=True)  # innovation variances are larger; rounding may say otherwise
    return np.maximum(variances, smallest), unit_lower(slopes, q)


def _covariance_jet(eigenvalues, angles):
    """Return the first and second derivatives of Sigma by log eigenvalues and then angles, (n, [n,] k, q, q)."""
    q = eigenvalues.shape[1]
    Q, first, second = _turned(angles, q)
    diagonal = [np.einsum("k,ka,kb->kab", eigenvalues[:, j], Q[:, :, j], Q[:, :, j]) for j in range(q)]

    def both(A, B, values):
        half = (A * values) @ np.swapaxes(B, -1, -2)
        return half + np.swapaxes(half, -1, -2)

    values = eigenvalues[:, None]
    turns = both(first, Q, values)
    n = q + len(turns)
    out = np.zeros((n, n, *Q.shape))
    for j in range(q):
        out[j, j] = diagonal[j]
        out[j, q:] = out[q:, j] = both(first[..., j : j + 1], Q[..., j : j + 1], values[..., j : j + 1])
    half = both(first[:, None], first[None], values)
    out[q:, q:] = both(second, Q, values) + half
    return np.concatenate([diagonal, turns]), out


def chain_jet(eigenvalues, angles, variances, T):
    """Return the derivatives of (log innovation variances, slopes) by (log eigenvalues, angles), first and second.

    With M = T dSigma T', d log d_j = M_jj / d_j, and dT = -L T with the part of M below the diagonal over d in L.

    Returns
    -------
    first : array of shape (n_experts, q + n_pairs, n)
    second : array of shape (n_experts, q + n_pairs, n, n)
    """
    once, twice = _covariance_jet(eigenvalues, angles)
    back, precision = np.swapaxes(T, 1, 2), 1.0 / variances[:, None]
    M = T @ once @ back
    below = np.tril(M * precision, -1)
    logs = np.einsum("nkjj,kj->nkj", M, 1.0 / variances)
    turned = -below @ T
    across = turned[None] @ once[:, None] @ back
    M2 = T @ twice @ back + across + np.swapaxes(across, -1, -2)
    logs2 = np.einsum("nmkjj,kj->nmkj", M2, 1.0 / variances) - logs[:, None] * logs[None]
    below2 = np.tril(M2 * precision - M[:, None] * precision * logs[None, :, :, None, :], -1)
    turned2 = -(below2 @ T) - below[:, None] @ turned[None]
    row, column = np.tril_indices(T.shape[1], -1)
    first = np.concatenate([logs, -turned[..., row, column]], axis=-1)
    second = np.concatenate([logs2, -turned2[..., row, column]], axis=-1)
    return np.moveaxis(first, 0, -1), np.moveaxis(second, (0, 1), (-2, -1))
