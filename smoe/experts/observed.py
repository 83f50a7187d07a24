"""Normal vectors of which some coordinates are missing (NaN): densities of the others, and what these tell of them."""

import numpy as np

__all__ = ["completed", "observed_log_prob", "patterns"]

_LOG_TAU = np.log(2.0 * np.pi)
_NONE = 4.0 * np.finfo(float).eps  # share of the largest eigenvalue that is rounding


def patterns(columns):
    """Return pairs of indices of rows, and which coordinates (p,) are there in these rows, for columns (p, m)."""
    missing = np.isnan(columns)
    if not missing.any():
        return [(slice(None), np.ones(len(columns), dtype=bool))]
    _, first, label = np.unique(np.packbits(missing, axis=0), axis=1, return_index=True, return_inverse=True)
    label = label.ravel()
    return [(np.flatnonzero(label == i), ~missing[:, row]) for i, row in enumerate(first)]


def observed_log_prob(columns, observed, mean, covariance):
    """Return the log densities (k, m) of the observed coordinates under normal laws (k, p) and (k, p, p)."""
    white, logdet, _ = _whitened(columns, observed, mean, covariance)
    return -0.5 * ((white**2).sum(axis=1) + logdet[:, None] + observed.sum() * _LOG_TAU)


def completed(columns, observed, mean, covariance):
    """Return expected values (k, p, m) given the observed ones, and the covariance matrices (k, p, p) about these."""
    white, _, root = _whitened(columns, observed, mean, covariance)
    across = covariance[:, ~observed][:, :, observed] @ root
    filled = np.repeat(columns[None], len(mean), axis=0)
    filled[:, ~observed] = mean[:, ~observed, None] + across @ white
    spread = np.zeros(covariance.shape)
    missing = np.flatnonzero(~observed)
    left = covariance[:, ~observed][:, :, ~observed] - across @ np.swapaxes(across, 1, 2)
    spread[:, missing[:, None], missing] = left
    return filled, spread


def _whitened(columns, observed, mean, covariance):
    """Return distances from the mean in uncorrelated units (k, n, m), log determinants, and what makes them, (k, n, n).

    Eigenvalues that are lost in rounding are not taken for less than that, so that no matrix is too singular.
    """
    values, vectors = np.linalg.eigh(covariance[:, observed][:, :, observed])
    values = np.maximum(values, _NONE * values.max(axis=1, initial=0.0)[:, None])
    root = vectors / np.sqrt(values)[:, None]
    apart = columns[observed] - mean[:, observed, None]
    return np.swapaxes(root, 1, 2) @ apart, np.log(values).sum(axis=1), root
