r"""Models of the covariance matrices of several responses, and their maximum-likelihood estimates.

A covariance matrix is a chain of regressions (a modified Cholesky decomposition): response j has the innovation
variance :math:`d_j` about its regression on the responses before it,

.. math:: T \Sigma T^\top = \mathrm{diag}(d_1, \ldots, d_q), \qquad T_{jj} = 1, \quad T_{jl} = -\phi_{jl} \; (l < j)

Any :math:`d_j > 0` and :math:`\phi_{jl}` give a covariance matrix, so that entries are free or bounded one by one. A
model has three letters: whether the volume :math:`|\Sigma|^{1/q}`, the shape (the ratios of the :math:`d_j` to it) and
the regressions are equal for all experts (E), vary with the expert (V), or are those of the unit matrix (I).
"""

import numpy as np

__all__ = ["COVARIANCES", "contrasts", "estimate", "letters_of", "n_pairs", "regressions"]

_WORDS = {"full": "VVV", "diag": "VVI", "spherical": "VII", "tied": "EEE"}
_LETTERS = ("EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVV", "VVV")
COVARIANCES = (*_WORDS, *_LETTERS)

_SAME_AXES = 1e-13  # share of a response's variance that responses before it leave by rounding alone
_SETTLED = 1e-13  # relative change of volumes
_MOST = 500  # alternations between volumes and shape; a few dozen are enough


def letters_of(covariance):
    """Return the letters of volume, shape and orientation that a name stands for."""
    return _WORDS.get(covariance, covariance)


def n_pairs(q):
    """Return the number of regressions of responses on earlier ones."""
    return q * (q - 1) // 2


def contrasts(letters, q):
    """Return the matrix A (q, n) with log d = A log(own parameters), the variance or volume first, then the shape."""
    volume, shape, _ = letters
    if shape == "I":
        return np.ones((q, 1))
    if volume == shape:
        return np.eye(q)
    return np.column_stack([np.ones(q), np.vstack([np.eye(q - 1), -np.ones(q - 1)])])


def regressions(entries, q):
    """Return T (..., q, q) from the regressions (..., n_pairs), row by row of what is below the diagonal."""
    out = np.broadcast_to(np.eye(q), (*entries.shape[:-1], q, q)).copy()
    if entries.shape[-1]:
        out[..., *np.tril_indices(q, -1)] = -entries
    return out


def estimate(letters, scatter, weight, before, floor):
    """Return the innovation variances (n_experts, q) and regressions (n_experts, n_pairs) of highest likelihood.

    Closed forms, or alternations between volumes and shape that climb (Celeux and Govaert 1995).

    Parameters
    ----------
    letters : str
        The model.
    scatter : array of shape (n_experts, q, q)
        Sums of squares and products of residuals.
    weight : array of shape (n_experts,)
        Rows of each expert; one without rows keeps what it has.
    before : tuple of two arrays
        What to keep: variances and regressions.
    floor : float
        Smallest innovation variance.
    """
    volume, shape, orientation = letters
    total, used = weight.sum(), weight > 0
    if not total > 0:
        return before
    if orientation == "I":
        scatter = scatter * np.eye(scatter.shape[-1])
    if volume == "V" and shape == "E":
        return _equal_shapes(scatter, weight, np.exp(np.log(before[0]).mean(axis=1)), floor)
    if volume == "E" and shape != "V":
        scatter, weight, used = scatter.sum(axis=0)[None], np.array([total]), np.array([True])
    covariance = scatter / np.where(used, weight, 1.0)[:, None, None]
    found = _spherical(covariance, floor) if shape == "I" else _decomposed(covariance, floor)
    found = tuple(np.where(used[:, None], new, old) for new, old in zip(found, before, strict=True))
    return _equal_volumes(*found, weight, floor) if volume == "E" and shape == "V" else found


def _spherical(covariance, floor):
    n, q, _ = covariance.shape
    square = np.maximum(np.trace(covariance, axis1=1, axis2=2) / q, floor)
    return np.repeat(square[:, None], q, axis=1), np.zeros((n, n_pairs(q)))


def _decomposed(covariance, floor):
    """Return innovation variances and regressions of matrices (n, q, q).

    A response that is determined by those before it leaves the regressions on itself at zero.
    """
    k, q, _ = covariance.shape
    lower, pivot = np.zeros((k, q, q)) + np.eye(q), np.empty((k, q))
    for j in range(q):
        left = covariance[:, j:, j] - np.einsum("kil,kl->ki", lower[:, j:, :j] * pivot[:, None, :j], lower[:, j, :j])
        pivot[:, j] = np.maximum(left[:, 0], 0.0)
        clear = pivot[:, j] > _SAME_AXES * covariance[:, j, j]
        lower[:, j + 1 :, j] = np.where(clear[:, None], left[:, 1:] / np.where(clear, pivot[:, j], 1.0)[:, None], 0.0)
    inverse = np.linalg.inv(lower)  # of a matrix with a unit diagonal
    return np.maximum(pivot, floor), -inverse[:, *np.tril_indices(q, -1)]


def _equal_volumes(variances, slopes, weight, floor):
    volume = np.exp(np.log(variances).mean(axis=1))
    common = max(weight @ volume / weight.sum(), floor)
    return variances * (common / volume)[:, None], slopes


def _equal_shapes(scatter, weight, volume, floor):
    """Alternate between the shape that all share, given the volumes, and the volumes given the shape."""
    q, used, total = scatter.shape[-1], weight > 0, weight.sum()
    volume = np.maximum(volume, floor)
    for _ in range(_MOST):
        shape, slopes = _decomposed((scatter / volume[:, None, None]).sum(axis=0)[None] / total, floor)
        shape = shape / np.exp(np.log(shape).mean())
        T = regressions(slopes[0], q)
        square = (np.einsum("jl,klm,jm->kj", T, scatter, T) / shape).sum(axis=1)
        new = np.maximum(np.where(used, square / (q * np.where(used, weight, 1.0)), volume), floor)
        settled = np.abs(new - volume).max() <= _SETTLED * new.max()
        volume = new
        if settled:
            break
    return volume[:, None] * shape, slopes
