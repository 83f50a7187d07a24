"""Top-K gates beyond the truth test: a boundary, over-specified fits, and the cost of prediction.

    python benchmarks/top_k.py [boundary|over|predict]

boundary   truth T0 with one expert per row, x uniform on [0, 1], 1,000 rows, 20 seeds: error of the boundary x = 0.32
over       four experts, three selected, fitted to three experts with two selected (1 feature, 4,000 rows, 10 seeds);
           once to any truth, once to truths with one expert selected on every row. Only the latter lie in the
           fitted model: elsewhere the third expert selected would have to copy a different one from region to region.
predict    200,000 rows, 20 features, 64 experts, two of them selected: time of predict against the dense softmax gate
"""

import argparse
import os
import time
import warnings

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from overspecified import T0

from smoe import SoftmaxMoERegressor, TopKMoERegressor
from smoe.datasets import make_moe
from smoe.experts import GaussianExpert, GaussianExpertParams
from smoe.gates import LinearGateParams, SoftmaxGate, TopKGate
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams
from smoe.rows import ArraySource, Blocks, Scaling


def boundary():
    """Print the error of the boundary for each seed."""
    errors = []
    for seed in range(20):
        moe = make_moe(
            1000, params=T0, gate=TopKGate(1), covariates=lambda n, rng: rng.uniform(0, 1, (n, 1)), random_state=seed
        )
        model = TopKMoERegressor(2, top_k=1, random_state=seed).fit(moe.data, moe.target)
        errors.append(abs(-model.gate_intercept_[0] / model.gate_coef_[0, 0] - 0.32))
        print(f"seed {seed}: error {errors[-1]:.5f}, fit - truth {model.loglik_ - moe.loglik:.3f}", flush=True)
    print(f"within 0.005: {np.sum(np.array(errors) < 0.005)} of 20, largest {max(errors):.5f}")


def always_one(seed):
    """Draw truths until one expert is selected on every row."""
    for attempt in range(10_000):
        moe = make_moe(4000, 1, 3, gate=TopKGate(2), random_state=1000 * seed + attempt)
        scores = moe.data @ moe.params.gate.coef.T + moe.params.gate.intercept
        if np.any(np.all(np.argsort(np.argsort(-scores, axis=1), axis=1) < 2, axis=0)):
            return moe
    raise RuntimeError("no such truth")


def over():
    """Print the distance to the truth of over-specified fits."""
    draws = {
        "any truth": lambda seed: make_moe(4000, 1, 3, gate=TopKGate(2), random_state=seed),
        "one expert on every row": always_one,
    }
    for name, draw in draws.items():
        gaps = []
        for seed in range(10):
            moe = draw(seed)
            gaps.append(TopKMoERegressor(4, top_k=3, random_state=0).fit(moe.data, moe.target).loglik_ - moe.loglik)
            print(f"{name}, seed {seed}: fit - truth {gaps[-1]:.3f}", flush=True)
        print(f"{name}: {np.sum(np.array(gaps) >= 0)} of 10 reached")


def predict():
    """Print the times of a pass of predictions with a dense and a sparse gate."""
    rng, k, d = np.random.default_rng(0), 64, 20
    X, columns = rng.normal(size=(200_000, d)), np.arange(d)
    gate = LinearGateParams(rng.normal(size=(k, d)), rng.normal(size=k))
    params = MoEParams(gate, GaussianExpertParams(rng.normal(size=(k, d)), rng.normal(size=k), np.ones(k)))
    times = {}
    for gate in (SoftmaxGate(), TopKGate(2), SoftmaxGate(), TopKGate(2)):
        model = MixtureOfExperts(gate, GaussianExpert())
        seconds = []
        for _ in range(8):
            begin = time.perf_counter()
            Blocks(model, ArraySource(X), Scaling.identity(columns, columns)).map(model.mean, params)
            seconds.append(time.perf_counter() - begin)
        times[type(gate).__name__] = min(min(seconds), times.get(type(gate).__name__, np.inf))
    print(times, f"ratio {times['SoftmaxGate'] / times['TopKGate']:.2f}")


def main():
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("boundary", "over", "predict"))
    what = parser.parse_args().what
    warnings.simplefilter("ignore")
    SoftmaxMoERegressor(1).fit(np.arange(9.0)[:, None], np.arange(9.0) % 2)  # load the kernels
    for function in (boundary, over, predict):
        if what in (None, function.__name__):
            function()


if __name__ == "__main__":
    main()
