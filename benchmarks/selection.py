"""Does BIC find the number of experts, and does the dendrogram of one over-fitted mixture?

    python benchmarks/selection.py [--sets N] [--jobs N]

Data: random softmax truths with three experts (``smoe.datasets.make_moe``), 2,000 rows, one and two features in turn,
every expert on at least 15 % of the rows and well separated: the lines of any two experts differ by four standard
deviations of the noise or more, in root mean square over x. The first seeds that qualify are used.

For each data set: the path from 1 to 6 experts with BIC (does the log-likelihood ever fall?), and the dendrogram of one
fit with 8 experts. A miss of the dendrogram is looked into: what is the maximum with three experts, what does the
level with three experts lose against it, and does another fit with 8 experts (other starts) find more?
"""

import argparse
import os
import time
import warnings

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from joblib import Parallel, delayed

from smoe import SoftmaxMoERegressor
from smoe.datasets import make_moe
from smoe.selection import dendrogram, select_n_experts

ROWS, EXPERTS, OVERFITTED, GAP = 2000, 3, 8, 4.0


def separated(moe):
    """Whether the lines of any two experts are far enough apart."""
    expert = moe.params.expert
    lines = moe.data @ expert.coef.T + expert.intercept
    sd = np.sqrt(expert.variance)
    return all(
        np.sqrt(np.mean((lines[:, i] - lines[:, j]) ** 2)) >= GAP * max(sd[i], sd[j])
        for i in range(EXPERTS)
        for j in range(i)
    )


def seeds(count):
    """Return (seed, n_features) of the first data sets that qualify."""
    found, seed = [], 0
    while len(found) < count:
        n_features = 1 + len(found) % 2
        if separated(draw(seed, n_features)):
            found.append((seed, n_features))
        seed += 1
    return found


def draw(seed, n_features):
    """Return the data set of a seed."""
    return make_moe(ROWS, n_features, EXPERTS, min_share=0.15, random_state=seed)


def run(seed, n_features):
    """Return what was found on one data set."""
    warnings.simplefilter("ignore")
    moe, begin = draw(seed, n_features), time.perf_counter()
    path = select_n_experts(SoftmaxMoERegressor(random_state=0), moe.data, moe.target, random_state=0)
    middle = time.perf_counter()
    tree, big = grown_tree(moe, 0)
    end = time.perf_counter()
    loglik = np.array(path.table["loglik"])
    note = ""
    if tree.n_experts != EXPERTS:
        others = [grown_tree(moe, state) for state in range(1, 6)]
        note = (
            f"  heights {tree.heights.round(3).tolist()}, level of three loses "
            f"{loglik[EXPERTS - 1] - tree.loglik[-EXPERTS]:.1f}; other starts: k = {[t.n_experts for t, _ in others]}, "
            f"log-likelihoods {[round(m.loglik_ - big.loglik_, 1) for _, m in others]} higher"
        )
    least = np.diff(loglik).min()
    return path.n_experts_, tree.n_experts, least, loglik[EXPERTS - 1] - moe.loglik, middle - begin, end - middle, note


def grown_tree(moe, state):
    """Return the dendrogram of an over-fitted mixture, and the mixture."""
    big = SoftmaxMoERegressor(OVERFITTED, random_state=state).fit(moe.data, moe.target)
    return dendrogram(big, moe.data, moe.target), big


def main():
    """Run every data set and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    args = parser.parse_args()
    chosen = seeds(args.sets)
    results = Parallel(args.jobs, return_as="generator")(delayed(run)(*case) for case in chosen)
    rows = []
    for (seed, d), row in zip(chosen, results, strict=True):
        bic, tree, least, above, path_time, tree_time, note = row
        rows.append(row[:6])
        print(
            f"seed {seed:3d}, {d} features: BIC {bic}, dendrogram {tree}; fit - truth {above:6.2f}, smallest step of "
            f"the path {least:7.3f}; {path_time:.1f} s and {tree_time:.1f} s{note}",
            flush=True,
        )
    bic, tree, least, above, *_ = np.array(rows).T
    print(f"\nBIC finds {EXPERTS} in {np.sum(bic == EXPERTS)} of {len(rows)}: {np.bincount(bic.astype(int))[1:]}")
    print(f"dendrogram in {np.sum(tree == EXPERTS)} of {len(rows)}: {np.bincount(tree.astype(int))[1:]}")
    print(f"log-likelihood never falls in {np.sum(least >= 0)}; the truth's is reached in {np.sum(above >= 0)}")


if __name__ == "__main__":
    main()
