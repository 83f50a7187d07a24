"""How often is one line taken for one expert, and are small true groups found?

    python benchmarks/chance.py [--sets N] [--jobs N]

Null: x uniform, y = x plus normal noise, n = 40, 60, 100, 200, constant and softmax gate; BIC chooses among 1 to 3
experts with default fits. Groups: 5 or 10 of 100 rows on another line, 6 standard deviations off.
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
from smoe.selection import select_n_experts

GATES = {"constant": [], "softmax": None}


def line(seed, n):
    """One line."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, 1))
    return X, X[:, 0] + rng.normal(size=n)


def group(seed, n, m, offset=6.0):
    """A line, and m rows of another one."""
    rng = np.random.default_rng(seed)
    x, noise = rng.uniform(-1, 1, n), rng.normal(size=n)
    y = x + noise
    y[:m] = offset - x[:m] + noise[:m]
    return x[:, None], y


def chosen(X, y, gate):
    """Return the number of experts that BIC takes, and whether that fit is certified."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SoftmaxMoERegressor(gate_features=GATES[gate], random_state=0)
        found = select_n_experts(model, X, y, (1, 2, 3), random_state=0)
    return found.n_experts_, found.best_estimator_.converged_


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    cases = [(f"line, n = {n}", 1, [line(seed, n) for seed in range(arguments.sets)]) for n in (40, 60, 100, 200)]
    cases += [(f"{m} of 100 rows", 2, [group(seed, 100, m) for seed in range(arguments.sets)]) for m in (5, 10)]
    for name, right, data in cases:
        for gate in GATES:
            begin = time.perf_counter()
            found = Parallel(arguments.jobs)(delayed(chosen)(X, y, gate) for X, y in data)
            hits, certified = sum(k == right for k, _ in found), sum(good for k, good in found if k == right)
            seconds = (time.perf_counter() - begin) / len(data)
            print(
                f"{name:<16}{gate:<10}{right} chosen in {hits} of {len(data)}, {certified} certified, {seconds:.2f} s"
            )


if __name__ == "__main__":
    main()
