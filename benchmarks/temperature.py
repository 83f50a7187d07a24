"""How fast a learned temperature is estimated, and that it is not where only coefficients over temperature are.

    python benchmarks/temperature.py [--seeds 20]

Two experts, one feature, x uniform on [-1, 1]; default fits, data-driven starts. Median absolute errors of slopes,
intercept and temperature (of slopes and intercept over temperature without an activation) at 1,000, 10,000 and 100,000
rows: with a root-n rate each step divides them by about sqrt(10) = 3.2.
"""

import argparse
import itertools
import os
import warnings

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np

from smoe import DenseToSparseMoERegressor
from smoe.datasets import make_moe
from smoe.experts import GaussianExpertParams
from smoe.gates import ActivationDenseToSparseGate, DenseToSparseGate, TemperatureGateParams
from smoe.params import MoEParams, flatten, permute

EXPERT = GaussianExpertParams(np.array([[2.0], [-3.0]]), np.array([3.0, -2.0]), np.array([0.16, 0.25]))
GATE = TemperatureGateParams(np.array([[8.0], [2.0]]), np.array([0.2, 0.0]), np.array(0.1))


def errors(gate, fitted):
    """Absolute errors of the gate's parameters after relabelling and choice of a representative."""
    truth = MoEParams(gate.canonical(GATE), EXPERT)
    orders = itertools.permutations(range(2))
    fitted = min(
        (permute(fitted, list(order)) for order in orders),
        key=lambda p: np.linalg.norm(flatten(p.expert) - flatten(truth.expert)),
    )
    fit = gate.canonical(fitted.gate)
    slope = np.abs(fit.coef - truth.gate.coef).max()
    return slope, abs(fit.intercept[0] - truth.gate.intercept[0]), abs(fit.temperature - truth.gate.temperature)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    warnings.simplefilter("ignore")
    print("activation      n    slopes  intercept  temperature   certified")
    for activation in ("sigmoid", "tanh", None):
        gate = DenseToSparseGate() if activation is None else ActivationDenseToSparseGate(activation)
        for n in (1_000, 10_000, 100_000):
            found, certified = [], 0
            for seed in range(seeds):
                moe = make_moe(n, params=MoEParams(GATE, EXPERT), gate=gate, random_state=seed)
                model = DenseToSparseMoERegressor(2, activation=activation, random_state=0).fit(moe.data, moe.target)
                found.append(errors(gate, model.params_))
                certified += model.converged_
            slope, intercept, tau = np.median(found, axis=0)
            row = f"{activation!s:10s} {n:7d} {slope:8.4f} {intercept:10.4f} {tau:12.4f}"
            print(f"{row} {certified:5d} of {seeds}", flush=True)


if __name__ == "__main__":
    main()
