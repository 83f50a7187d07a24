"""Does a default fit reach the log-likelihood of the truth that the data were drawn from?

    python benchmarks/truth.py [plain|hard|top-k|temperature|GATE] [--first SEED] [--jobs N]

A fit below the truth's log-likelihood has not found the maximum. The sets:

plain   softmax gate, 60 truths with 2 to 5 experts, 1 to 4 features and 3,000 rows
hard    softmax gate, 32 truths with 6 and 8 experts, up to 8 features and 6,000 rows
top-k   top-K gate, 60 truths with 3 to 5 experts, one or two of them selected, 1 to 3 features and 4,000 rows;
        the softmax fit of the same data is timed beside it
temperature  learned temperature, 40 truths for each of the activations sigmoid, tanh, gelu and none, with 2 and 3
        experts, 1 and 2 features and 4,000 rows
GATE    a name from smoe.gates.GATES: 20 truths with 3 and 4 experts, 1 and 2 features and 3,000 rows
"""

import argparse
import itertools
import os
import time
import warnings
from collections import defaultdict

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from joblib import Parallel, delayed

from smoe import MoERegressor, SoftmaxMoERegressor, TopKMoERegressor
from smoe.datasets import make_moe
from smoe.gates import GATES, ActivationDenseToSparseGate, DenseToSparseGate, SoftmaxGate, TopKGate

SETS = ("plain", "hard", "top-k", "temperature")


def cases(name):
    """Return (n_experts, gate, n_features, n_rows, seed), every combination of sizes about equally often."""
    if name in GATES:
        return [(3 + i // 2 % 2, GATES[name](), 1 + i % 2, 3000, i) for i in range(20)]
    if name == "temperature":
        sizes = list(itertools.product((2, 3), (1, 2)))
        gates = [ActivationDenseToSparseGate(g) for g in ("sigmoid", "tanh", "gelu")] + [DenseToSparseGate()]
        return [(sizes[i % 4][0], gate, sizes[i % 4][1], 4000, i) for gate in gates for i in range(40)]
    sizes, n, count = {
        "plain": (itertools.product((2, 3, 4, 5), (SoftmaxGate(),), (1, 2, 3, 4)), 3000, 60),
        "hard": (itertools.product((6, 8), (SoftmaxGate(),), (1, 2, 4, 8)), 6000, 32),
        "top-k": (itertools.product((3, 4, 5), (TopKGate(1), TopKGate(2)), (1, 2, 3)), 4000, 60),
    }[name]
    sizes = list(sizes)
    return [(*sizes[i % len(sizes)], n, i) for i in range(count)]


def timed_fit(model, truth):
    """Fit; return the model and the seconds it took."""
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(truth.data, truth.target)
    return model, time.perf_counter() - begin


def run(case, first):
    """Fit one case; return distance to the truth, seconds, seconds of the softmax fit, and the certificate."""
    k, gate, d, n, seed = case
    truth = make_moe(n, n_features=d, n_experts=k, gate=gate, random_state=first + seed)
    model, seconds = timed_fit(MoERegressor(k, gate=gate, random_state=0), truth)
    reference = seconds if gate.smooth else timed_fit(SoftmaxMoERegressor(k, random_state=0), truth)[1]
    return model.loglik_ - truth.loglik, seconds, reference, model.converged_, model.status_


def words(gate):
    """Name a gate in a few letters."""
    return ", ".join(f"{value}" for value in gate.get_params().values() if value not in ("score", 0.0, "learn")) or "-"


def main():
    """Fit every case and print the distance to the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", nargs="?", default="plain", choices=(*SETS, *GATES))
    parser.add_argument("--first", type=int, default=0, help="added to every seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    args = parser.parse_args()
    chosen, begin = cases(args.set), time.perf_counter()
    small = make_moe(200, random_state=0)  # compile, or load the compiled kernels
    timed_fit(SoftmaxMoERegressor(random_state=0), small), timed_fit(TopKMoERegressor(2, top_k=1), small)
    results = Parallel(args.jobs)(delayed(run)(case, args.first) for case in chosen)
    groups = defaultdict(list)
    for (k, gate, d, _, seed), (gap, seconds, reference, converged, status) in zip(chosen, results, strict=True):
        groups[k, words(gate), d].append((gap, seconds / reference))
        note = "" if converged else f"  ({status})"
        print(
            f"k={k} gate={words(gate)} d={d} seed={args.first + seed}: fit - truth = {gap:9.3f}, {seconds:5.2f} s{note}"
        )
    print("\n k  gate     d   reached   fit - truth: min, median, max     time / softmax fit: median")
    for (k, gate, d), rows in sorted(groups.items(), key=str):
        gap, ratio = np.array(rows).T
        spread = f"{gap.min():10.2f} {np.median(gap):10.2f} {gap.max():10.2f}"
        print(f"{k:2d}  {gate:7s} {d:2d}   {np.sum(gap >= 0):2d} of {len(gap):2d} {spread} {np.median(ratio):12.1f}")
    gaps, seconds, references, converged, _ = map(np.array, zip(*results, strict=True))
    total, ratio = time.perf_counter() - begin, np.max(seconds / references)
    print(f"\nreached {np.sum(gaps >= 0)} of {len(gaps)}; {np.sum(~converged)} not certified")
    print(f"{seconds.sum():.1f} s of fits, {total:.1f} s in all; time / softmax fit at most {ratio:.1f}")


if __name__ == "__main__":
    main()
