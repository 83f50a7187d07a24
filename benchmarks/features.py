"""Does a path of elastic nets find the features that are there, how well does it predict, and what does it cost?

    python benchmarks/features.py [recovery|wide|published] [--draws N] [--first SEED] [--criterion ebic|bic|cv]

recovery   1,000 columns, 2,000 rows, two experts; ten features in the gate and ten in each expert. The F1 score of all
           slopes, the log-likelihood of 2,000 new rows against that of the fit to the true columns, seconds of the path
wide       10,000 columns, 1,000 rows: seconds and memory of one fit
published  300 rows of six correlated columns, two experts, as Chamroukhi and Huynh (2019) drew them: sensitivity
           (zeros found) and specificity (slopes found) of both experts and the gate, beside a direct run of their
           algorithm

Bars: F1 >= 0.9, log-likelihood within 2 %, a path of 20 points in 60 s on two cores, 2 GB.

Chamroukhi, F. and Huynh, B.-T. (2019). Regularized maximum likelihood estimation and feature selection in
mixtures-of-experts models. Journal de la Societe Francaise de Statistique 160, 57-85.
"""

import argparse
import os
import resource
import time
import warnings

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from scipy.special import expit, log_expit, logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from smoe import MoERegressor
from smoe.experts import GaussianExpertParams
from smoe.gates import LinearGateParams
from smoe.params import MoEParams
from smoe.penalties import ElasticNet
from smoe.selection import elastic_net_path

PUBLISHED = MoEParams(
    LinearGateParams(np.array([[2.0, 0, 0, -1, 0, 0], np.zeros(6)]), np.array([1.0, 0.0])),
    GaussianExpertParams(np.array([[0, 1.5, 0, 0, 0, 1], [1, -1.5, 0, 0, 2, 0]]), np.zeros(2), np.ones(2)),
)


def sparse_truth(rng, n_columns, n_features=10):
    """Return parameters with slopes of 0.5 to 1 in columns that gate and experts do not share."""
    columns = rng.permutation(n_columns)[: 3 * n_features].reshape(3, -1)
    slopes = np.zeros((3, n_columns))
    for row, own in zip(slopes, columns, strict=True):
        row[own] = rng.choice([-1.0, 1.0], n_features) * rng.uniform(0.5, 1.0, n_features)
    gate = LinearGateParams(np.array([slopes[0], np.zeros(n_columns)]), np.zeros(2))
    return MoEParams(gate, GaussianExpertParams(slopes[1:], np.array([1.0, -1.0]), np.ones(2)))


def drawn(rng, truth, X):
    """Return responses of the rows."""
    odds = X @ truth.gate.coef[0] + truth.gate.intercept[0]
    label = (rng.random(len(X)) > 1.0 / (1.0 + np.exp(-odds))).astype(int)
    means = X @ truth.expert.coef.T + truth.expert.intercept
    return means[np.arange(len(X)), label] + rng.normal(size=len(X))


def support(params, flipped=False):
    """Return which slopes are not zero: the gate's columns, then those of each expert."""
    experts = params.expert.coef[::-1] if flipped else params.expert.coef
    return np.concatenate([params.gate.coef.any(axis=0)[None], experts != 0])


def f1(found, true):
    return 2.0 * (found & true).sum() / (found.sum() + true.sum())


def oracle(truth, X, y):
    """Return the fit to the true columns, from the truth, and these columns."""
    gate, expert = (np.flatnonzero(part.coef.any(axis=0)) for part in truth)
    start = MoEParams(
        truth.gate._replace(coef=truth.gate.coef[:, gate]), truth.expert._replace(coef=truth.expert.coef[:, expert])
    )
    return MoERegressor(2, start=start, gate_features=gate.tolist(), expert_features=expert.tolist()).fit(X, y)


def recovery(seeds, criterion, n=2000, n_columns=1000):
    rows = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        truth, X = sparse_truth(rng, n_columns), rng.normal(size=(2 * n, n_columns))
        y = drawn(rng, truth, X)
        begin, cpu = time.perf_counter(), time.process_time()
        estimator = MoERegressor(2, n_init=10, random_state=seed)
        path = elastic_net_path(estimator, X[:n], y[:n], criterion=criterion, random_state=seed)
        seconds = time.perf_counter() - begin, time.process_time() - cpu
        params, true = path.estimators_[path.best_index_].params_, support(truth)
        score = max(f1(support(params, flipped), true) for flipped in (False, True))
        new = X[n:], y[n:]
        best, known = path.best_estimator_.loglik(*new), oracle(truth, X[:n], y[:n]).loglik(*new)
        rows.append((score, best / known - 1.0, *seconds))
        print(
            f"draw {seed:2d}: F1 {score:.3f}, new rows {best:.1f}, oracle {known:.1f} ({100 * rows[-1][1]:+.2f} %), "
            f"{len(path.alphas_)} points, {seconds[0]:.0f} s, {seconds[1]:.0f} s of one core",
            flush=True,
        )
    worst = np.array(rows)
    print(
        f"F1: mean {worst[:, 0].mean():.3f}, least {worst[:, 0].min():.3f}; log-likelihood below the oracle's by "
        f"{100 * worst[:, 1].max():.2f} % at most; seconds: median {np.median(worst[:, 2]):.0f}, "
        f"of one core {np.median(worst[:, 3]):.0f}"
    )


def wide():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 10_000))
    y = drawn(rng, sparse_truth(rng, X.shape[1]), X)
    begin = time.perf_counter()
    model = MoERegressor(2, penalty=ElasticNet(0.06, 0.042), n_init=5, random_state=0).fit(X, y)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    seconds = time.perf_counter() - begin
    print(f"{model.n_parameters_} free parameters, {seconds:.0f} s, {memory:.2f} GB: {model.status_}")


def directly(X, y, rng):
    """Return slopes as Chamroukhi and Huynh estimate them: a grid of two penalties, the best by BIC.

    The last expert's scores are zero, all experts have one variance, EM begins once, at random responsibilities.
    """
    grid = len(y) * np.geomspace(0.01, 0.15, 5)
    first = rng.dirichlet(np.ones(2), len(y))[:, 0]
    fits = [direct_em(X, y, first, gate, expert) for gate in grid for expert in grid]
    loglik, score, slopes = max(
        fits, key=lambda fit: fit[0] - 0.5 * np.log(len(y)) * sum(map(np.count_nonzero, fit[1:]))
    )
    return np.concatenate([score[None], slopes]) != 0


def direct_em(X, y, first, gate, expert, n_iter=200, tol=1e-5):
    score, intercept, odds = np.zeros(X.shape[1]), 0.0, np.zeros(len(y))
    lines, variance = [Lasso(), Lasso()], y.var()
    step, before = 4.0 / np.linalg.eigvalsh(X.T @ X).max(), -np.inf
    for _ in range(n_iter):
        shares = np.stack([first, 1.0 - first])
        for line, share in zip(lines, shares, strict=True):
            line.set_params(alpha=expert * variance / share.sum()).fit(X, y, sample_weight=share)
        squares = np.stack([(y - line.predict(X)) ** 2 for line in lines])
        variance = (shares * squares).sum() / len(y)
        for _ in range(10):
            missing = first - expit(odds)
            moved = score + step * (X.T @ missing)
            score = np.sign(moved) * np.maximum(np.abs(moved) - step * gate, 0.0)
            intercept += 4.0 * missing.mean()
            odds = X @ score + intercept
        densities = -0.5 * (squares / variance + np.log(2.0 * np.pi * variance))
        joint = np.stack([log_expit(odds), log_expit(-odds)]) + densities
        first, loglik = expit(joint[0] - joint[1]), logsumexp(joint, axis=0).sum()
        if abs(loglik - before) < tol * abs(loglik):
            break
        before = loglik
    return loglik, score, np.stack([line.coef_ for line in lines])


def ours(X, y, seed, criterion):
    estimator = MoERegressor(2, n_init=10, random_state=seed)
    path = elastic_net_path(estimator, X, y, criterion=criterion, eps=0.02, random_state=seed)
    return support(path.estimators_[path.best_index_].params_)


def published(seeds, criterion):
    true, found = support(PUBLISHED), {"smoe": [], "directly": []}
    root = np.linalg.cholesky(0.5 ** np.abs(np.subtract.outer(np.arange(6), np.arange(6))))
    for seed in seeds:
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(300, 6)) @ root.T
        y = drawn(rng, PUBLISHED, X)
        for name, one in (("smoe", ours(X, y, seed, criterion)), ("directly", directly(X, y, rng))):
            found[name].append(max(one, one[[0, 2, 1]], key=lambda one: f1(one, true)))
    for name, supports in found.items():
        supports = np.array(supports)
        for i, part in enumerate(("gate", "expert 1", "expert 2")):
            zeros, slopes = ~supports[:, i][:, ~true[i]], supports[:, i][:, true[i]]
            print(
                f"{name:9s}{part:9s} zeros found (sensitivity) {zeros.mean():.3f}, "
                f"slopes found (specificity) {slopes.mean():.3f}"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="recovery", choices=("recovery", "wide", "published"))
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="seed of the first draw")
    parser.add_argument("--criterion", default="ebic", choices=("ebic", "bic", "aic", "cv"))
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    if args.what == "wide":
        wide()
    else:
        seeds = range(args.first, args.first + args.draws)
        {"recovery": recovery, "published": published}[args.what](seeds, args.criterion)


if __name__ == "__main__":
    main()
