"""Does the default solver end at a stationary point of an over-specified model?

    python benchmarks/overspecified.py

Three experts are fitted to data from two (truth T0: y = 20 x - 5 left of x = 0.32, y = -20 x + 15 right of it), from a
start near the truth. Prints the score norm per row, the passes over the rows, and where EM alone ends.
"""

import os
import time

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np

from smoe.datasets import make_moe
from smoe.experts import GaussianExpert, GaussianExpertParams
from smoe.gates import LinearGateParams, SoftmaxGate
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams
from smoe.rows import ArraySource, Blocks, standardise
from smoe.solvers import EM, EMNewton, certify

MODEL = MixtureOfExperts(SoftmaxGate(), GaussianExpert())
T0 = MoEParams(
    LinearGateParams(np.array([[25.0], [0.0]]), np.array([-8.0, 0.0])),
    GaussianExpertParams(np.array([[-20.0], [20.0]]), np.array([15.0, -5.0]), np.array([0.09, 0.16])),
)


class CountedBlocks(Blocks):
    """Blocks that count the passes over them, also when one block is all: EM then makes them one by one."""

    only, n_passes = None, 0

    def sum(self, visit, params, *args):
        """Count, then visit."""
        self.n_passes += 1
        return super().sum(visit, params, *args)


def draw(n, rng):
    """Draw from T0 with x uniform on [0, 1]."""
    data = make_moe(n, params=T0, covariates=lambda n, rng: rng.uniform(0, 1, (n, 1)), random_state=rng)
    return data.data, data.target


def near_truth(n_experts, n, rng):
    """Put atoms on the true experts, every one covered, and jitter them as the published experiment does."""
    atom = np.concatenate([np.arange(2), rng.integers(2, size=n_experts - 2)])
    gate_sd, expert_sd = 0.005 * n**-0.083, 0.05 * n**-0.083

    def near(values, sd):
        return values[atom] + rng.normal(0, sd, values[atom].shape)

    expert = T0.expert
    variance = np.abs(near(expert.variance, expert_sd)) + 1e-3
    return MoEParams(
        LinearGateParams(near(T0.gate.coef, gate_sd), near(T0.gate.intercept, gate_sd)),
        GaussianExpertParams(near(expert.coef, expert_sd), near(expert.intercept, expert_sd), variance),
    )


def main():
    """Fit at two sizes from several seeds."""
    for n in (10_000, 100_000):
        for seed in range(5):
            X, y = draw(n, seed)
            columns = np.arange(1)
            source = ArraySource(X, y)
            scaling = standardise(MODEL, source, columns, columns)
            blocks = CountedBlocks(MODEL, source, scaling)
            start = scaling.from_units(MODEL, near_truth(3, n, np.random.default_rng(seed)))
            begin = time.perf_counter()
            fit = EMNewton().solve(MODEL, blocks, start)
            seconds, passes = time.perf_counter() - begin, blocks.n_passes
            em = EM(max_iter=300, tol=0.0).solve(MODEL, blocks, start)
            status = certify(MODEL, blocks, fit, 1e-8).status
            print(
                f"n={n} seed={seed}: score norm per row {fit.score_norm:.1e} after {passes} passes, {seconds:.2f} s; "
                f"300 EM iterations end {fit.loglik - em.loglik:.3f} lower; {status}",
                flush=True,
            )


if __name__ == "__main__":
    main()
