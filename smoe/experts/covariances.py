r"""Models of the covariance matrices of several responses, and their maximum-likelihood estimates.

A covariance matrix is a chain of regressions (a modified Cholesky decomposition): response j has the innovation
variance :math:`d_j` about its regression on the responses before it,

.. math:: T \Sigma T^\top = \mathrm{diag}(d_1, \ldots, d_q), \qquad T_{jj} = 1, \quad T_{jl} = -\phi_{jl} \; (l < j)

Any :math:`d_j > 0` and :math:`\phi_{jl}` give a covariance matrix, so that entries are free or bounded one by one. A
model has three letters: whether the volume :math:`|\Sigma|^{1/q}`, the shape (the ratios of the :math:`d_j` to it) and
the regressions are equal for all experts (E), vary with the expert (V), or are those of the unit matrix (I).
"""

import numpy as np

from smoe._kernels.covariances import chain, equal_shapes

__all__ = ["COVARIANCES", "by_axes", "contrasts", "estimate", "letters_of", "n_pairs"]

_WORDS = {"full": "VVV", "diag": "VVI", "spherical": "VII", "tied": "EEE"}
_CHAINS = ("EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVV", "VVV")
_AXES = ("EEV", "VEV")
COVARIANCES = (*_WORDS, *_CHAINS, *_AXES)


def letters_of(covariance):
    """Return the letters of volume, shape and orientation that a name stands for."""
    return _WORDS.get(covariance, covariance)


def by_axes(letters):
    """Whether matrices of the model are not chains, but have eigenvalues and axes: see ``smoe.experts.axes``."""
    return letters in _AXES


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
        volumes, ratios, slopes = equal_shapes(scatter, weight, np.exp(np.log(before[0]).mean(axis=1)), floor)
        return volumes[:, None] * ratios, slopes
    if volume == "E" and shape != "V":
        scatter, weight, used = scatter.sum(axis=0)[None], np.array([total]), np.array([True])
    covariance = scatter / np.where(used, weight, 1.0)[:, None, None]
    found = _spherical(covariance, floor) if shape == "I" else chain(covariance, floor)
    found = tuple(np.where(used[:, None], new, old) for new, old in zip(found, before, strict=True))
    return _equal_volumes(*found, weight, floor) if volume == "E" and shape == "V" else found


def _spherical(covariance, floor):
    n, q, _ = covariance.shape
    square = np.maximum(np.trace(covariance, axis1=1, axis2=2) / q, floor)
    return np.repeat(square[:, None], q, axis=1), np.zeros((n, n_pairs(q)))


def _equal_volumes(variances, slopes, weight, floor):
    volume = np.exp(np.log(variances).mean(axis=1))
    common = max(weight @ volume / weight.sum(), floor)
    return variances * (common / volume)[:, None], slopes
