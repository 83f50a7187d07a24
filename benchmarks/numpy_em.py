"""The textbook EM algorithm for a softmax mixture of Gaussian linear experts, in plain numpy.

One row per expert and one column per observation, so that sums over experts run along the short axis; residuals are
computed once per iteration. The gate makes one Newton step per iteration, as smoe's EM does.
"""

import numpy as np


def e_step(scores, residual, variance):
    """Return gate probabilities, responsibilities (k, n) and the log-likelihood."""
    scores = scores - scores.max(axis=0)
    proba = np.exp(scores)
    total = proba.sum(axis=0)
    joint = scores - np.log(total) - 0.5 * (residual**2 / variance[:, None] + np.log(2 * np.pi * variance)[:, None])
    top = joint.max(axis=0)
    resp = np.exp(joint - top)
    mass = resp.sum(axis=0)
    return proba / total, resp / mass, float(np.sum(np.log(mass) + top))


def gate_step(Z, proba, resp):
    """Return the Newton step for all rows of the gate but the last, which is pinned to zero."""
    free, width = len(proba) - 1, Z.shape[1]
    gradient = (resp - proba)[:free] @ Z
    information = np.empty((free, width, free, width))
    for i in range(free):
        for j in range(i + 1):
            weight = proba[i] * ((i == j) - proba[j])
            information[i, :, j] = information[j, :, i] = (Z.T * weight) @ Z
    size = free * width
    return np.linalg.solve(information.reshape(size, size), gradient.ravel()).reshape(free, width)


def expert_step(Z, y, resp):
    """Return lines (k, d + 1), variances and residuals (k, n) of the weighted regressions."""
    lines = np.array([np.linalg.solve((Z.T * r) @ Z, Z.T @ (r * y)) for r in resp])
    residual = y - lines @ Z.T
    return lines, np.einsum("kn,kn,kn->k", resp, residual, residual) / resp.sum(axis=1), residual


def numpy_em(X, y, start, max_iter, tol=0.0):
    """Iterate from ``start``; return gate and lines (k, d + 1), variances and the log-likelihood before each step.

    Stops when the mean log-likelihood gains less than ``tol``.
    """
    Z = np.column_stack([X, np.ones(len(X))])
    gate = np.column_stack([start.gate.coef, start.gate.intercept])
    lines, variance = np.column_stack([start.expert.coef, start.expert.intercept]), start.expert.variance
    residual, trace = y - lines @ Z.T, []
    for _ in range(max_iter):
        proba, resp, loglik = e_step(gate @ Z.T, residual, variance)
        trace.append(loglik)
        if len(trace) > 1 and trace[-1] - trace[-2] < tol * len(y):
            break
        gate[:-1] += gate_step(Z, proba, resp)
        lines, variance, residual = expert_step(Z, y, resp)
    return gate, lines, variance, trace
