"""Does a default fit reach the log-likelihood of the truth that the data were drawn from?

    python benchmarks/truth.py [--hard] [--first SEED]

A fit below the truth's log-likelihood has not found the maximum. The plain set has 60 truths with 2 to 5 experts,
1 to 4 features and 3,000 rows, the hard one 32 truths with 6 and 8 experts, up to 8 features and 6,000 rows.
"""

import argparse
import itertools
import os
import time
import warnings

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from smoe import SoftmaxMoERegressor
from smoe.datasets import make_moe


def plain_set():
    """Sixty cases: every pair of sizes at least three times."""
    sizes = list(itertools.product((2, 3, 4, 5), (1, 2, 3, 4)))
    return [(*sizes[i % len(sizes)], 3000, i) for i in range(60)]


def hard_set():
    """Thirty-two cases: every pair of sizes four times."""
    sizes = list(itertools.product((6, 8), (1, 2, 4, 8)))
    return [(*sizes[i % len(sizes)], 6000, i) for i in range(32)]


def main():
    """Fit every case and print the distance to the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hard", action="store_true")
    parser.add_argument("--first", type=int, default=0, help="added to every seed")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    cases, reached, seconds, uncertified = hard_set() if args.hard else plain_set(), 0, 0.0, 0
    warm = make_moe(200, random_state=0)
    SoftmaxMoERegressor(random_state=0).fit(warm.data, warm.target)
    for k, d, n, seed in cases:
        truth = make_moe(n, n_features=d, n_experts=k, random_state=args.first + seed)
        begin = time.perf_counter()
        model = SoftmaxMoERegressor(k, random_state=0).fit(truth.data, truth.target)
        seconds += time.perf_counter() - begin
        gap = model.loglik_ - truth.loglik
        reached += gap >= 0
        uncertified += not model.converged_
        note = "" if model.converged_ else f"  ({model.status_})"
        print(f"k={k} d={d} n={n} seed={args.first + seed}: fit - truth = {gap:9.3f}{note}", flush=True)
    print(f"reached {reached} of {len(cases)} in {seconds:.1f} s on one core; {uncertified} not certified")


if __name__ == "__main__":
    main()
