"""Do confidence and prediction intervals cover as often as they say?

    python benchmarks/interval_coverage.py [SETTING ...] [--replications 500] [--rows 2000] [--jobs 2]

Every replication draws data from a fixed truth, fits (with defaults and data-driven starts; gates other than softmax
and temperature from the truth), and asks whether the 95 % interval of each parameter, from the observed information and
from the sandwich, and of the mean at five places, has the true value in it, and what share of fresh responses the 90 %
prediction intervals hold. Only certified fits count; how many are not is printed. "se/sd" is the mean standard error
over the standard deviation of the estimates, "bias/sd" their bias over it.

softmax      two experts, one feature, the model is right
t5           the same with errors from Student's t with 5 degrees of freedom: the model is wrong, and the true values
             are those of a fit to 2,000,000 rows (for the regression lines they are the truth's)
temperature  sigmoid of the slopes over a learned temperature; relative standard errors of slopes and temperature
             between 0.1 and 0.2
weak-temperature
             the same with relative standard errors of 0.3: far from normal
top-1        a partition of the line into three regions
top-2        two of three experts on each row
gaussian     a full Gaussian gate: one expert has a place in the middle of the other
tree         a balanced tree of three experts
"""

import argparse
import os
import sys
import warnings
from dataclasses import replace
from pathlib import Path

# numba imports a package of this file's name where there is one.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from joblib import Parallel, delayed

from smoe import DenseToSparseMoERegressor, MoERegressor, SoftmaxMoERegressor, TopKMoERegressor
from smoe.datasets import make_moe
from smoe.experts import GaussianExpertParams
from smoe.gates import (
    ActivationDenseToSparseGate,
    GaussianGate,
    GaussianGateParams,
    LinearGateParams,
    SoftmaxGate,
    TemperatureGateParams,
    TopKGate,
    TreeGate,
    TreeGateParams,
)
from smoe.params import MoEParams, flatten
from smoe.starts import FromParams

# Experts in the order in which fits report them: by the mean response of their rows.
TWO = GaussianExpertParams(np.array([[2.0], [-1.0]]), np.array([-1.5, 1.5]), np.array([0.25, 0.36]))
TWO_FAR = GaussianExpertParams(np.array([[-3.0], [2.0]]), np.array([-2.0, 3.0]), np.array([0.25, 0.16]))
THREE = GaussianExpertParams(np.array([[1.0], [-2.0], [1.5]]), np.array([-4.0, 0.0, 4.0]), np.array([0.25, 0.16, 0.36]))
SETTINGS = {
    "softmax": (SoftmaxGate(), LinearGateParams(np.array([[2.0], [0.0]]), np.array([0.5, 0.0])), TWO),
    "temperature": (
        ActivationDenseToSparseGate("sigmoid"),
        TemperatureGateParams(np.array([[3.0], [16.0]]), np.array([0.05, 0.0]), np.array(0.1)),
        TWO_FAR,
    ),
    "weak-temperature": (
        ActivationDenseToSparseGate("sigmoid"),
        TemperatureGateParams(np.array([[2.0], [8.0]]), np.array([-0.2, 0.0]), np.array(0.1)),
        TWO_FAR,
    ),
    "top-1": (TopKGate(1), LinearGateParams(np.array([[-6.0], [-3.0], [0.0]]), np.array([-1.0, 0.5, 0.0])), THREE),
    "gaussian": (
        GaussianGate("full"),
        GaussianGateParams(np.array([[0.5], [0.0]]), np.array([1.0, 0.0]), np.array([[[-8.0]], [[0.0]]])),
        TWO,
    ),
    "tree": (
        TreeGate(),
        TreeGateParams(np.array([[-3.0], [-4.0], [0.0]]), np.array([-1.0, 1.0, 0.0]), np.arange(3.0)),
        THREE,
    ),
    "top-2": (TopKGate(2), LinearGateParams(np.array([[-3.0], [0.0], [0.0]]), np.array([0.3, 1.2, 0.0])), THREE),
}
SETTINGS["t5"] = SETTINGS["softmax"]
ESTIMATORS = {
    "softmax": SoftmaxMoERegressor(2),
    "t5": SoftmaxMoERegressor(2),
    "temperature": DenseToSparseMoERegressor(2, activation="sigmoid"),
    "weak-temperature": DenseToSparseMoERegressor(2, activation="sigmoid"),
    "top-1": TopKMoERegressor(3, top_k=1, n_init=1),
    "top-2": TopKMoERegressor(3, top_k=2, n_init=1),
    "gaussian": MoERegressor(2, gate="gaussian"),
    "tree": MoERegressor(3, gate="tree"),
}
FROM_DATA = ("softmax", "t5", "temperature", "weak-temperature")
PLACES = np.linspace(-0.9, 0.9, 5)[:, None]


def draw(name, n, seed):
    """Draw rows from a truth."""
    gate, gate_params, expert = SETTINGS[name]
    moe = make_moe(n, params=MoEParams(gate.canonical(gate_params), expert), gate=gate, random_state=seed)
    if name != "t5":
        return moe.data, moe.target
    noise = np.random.default_rng(seed).standard_t(5, n) * np.sqrt(3 / 5)
    mean = expert.intercept[moe.label] + expert.coef[moe.label, 0] * moe.data[:, 0]
    return moe.data, mean + noise * np.sqrt(expert.variance[moe.label])


def truth_of(name):
    """Return the true parameters and the true mean at the places."""
    gate, gate_params, expert = SETTINGS[name]
    model = ESTIMATORS[name].set_params(random_state=0)
    X, y = draw(name, 2_000_000 if name == "t5" else 5000, 0)
    model.fit(X, y)
    if name != "t5":
        model.fitted_ = replace(model.fitted_, params=MoEParams(gate.canonical(gate_params), expert))
    return flatten(model.params_), model.predict(PLACES), model.summary().names


def replicate(name, n, seed, truth, mean):
    """Return what the intervals of one fit hold, or nothing for a fit without certificate."""
    warnings.simplefilter("ignore")
    X, y = draw(name, n, seed + 1)
    gate, gate_params, expert = SETTINGS[name]
    start = "auto" if name in FROM_DATA else FromParams(MoEParams(gate_params, expert))
    model = ESTIMATORS[name].set_params(random_state=seed, start=start).fit(X, y)
    if not model.converged_:
        return None
    robust = model.covariance("sandwich", X, y)
    tables = [model.summary(covariance=covariance).table for covariance in (None, robust)]
    held = [np.where(np.isnan(t[:, 1]), np.nan, (t[:, 4] <= truth) & (truth <= t[:, 5])) for t in tables]
    bands = [model.mean_interval(PLACES, covariance=covariance) for covariance in (None, robust)]
    held_mean = [(b[:, 0] <= mean) & (mean <= b[:, 1]) for b in bands]
    fresh_X, fresh_y = draw(name, 2000, seed + 1_000_001)
    low, high = model.predict_interval(fresh_X, 0.9).T
    share = np.mean((low <= fresh_y) & (fresh_y <= high))
    errors = [table[:, 1] for table in tables]
    return np.array(held), np.array(held_mean, dtype=float), tables[0][:, 0], np.array(errors), share


def report(name, n, replications, jobs):
    """Run one setting and print its table."""
    truth, mean, names = truth_of(name)
    cells = (delayed(replicate)(name, n, seed, truth, mean) for seed in range(replications))
    found = [cell for cell in Parallel(jobs)(cells) if cell is not None]
    held, held_mean, estimates, errors, share = (np.array(column) for column in zip(*found, strict=True))
    print(f"\n{name}: {n} rows, {replications} replications, {replications - len(found)} without certificate")
    print(
        f"{'95 % intervals of':<24}{'truth':>9}{'bias/sd':>9}{'observed':>10}{'se/sd':>7}{'sandwich':>10}{'se/sd':>7}"
    )
    spread = estimates.std(axis=0)
    for j, entry in enumerate(names):
        if np.isnan(held[:, 0, j]).all():
            continue
        bias, (a, b) = (estimates[:, j].mean() - truth[j]) / spread[j], errors[:, :, j].mean(axis=0) / spread[j]
        rates = np.nanmean(held[:, :, j], axis=0)
        print(f"{entry:<24}{truth[j]:9.3f}{bias:9.2f}{rates[0]:10.1%}{a:7.3f}{rates[1]:10.1%}{b:7.3f}", flush=True)
    for x, rates in zip(PLACES[:, 0], held_mean.mean(axis=0).T, strict=True):
        print(f"{f'mean at x = {x:g}':<42}{rates[0]:10.1%}{rates[1]:17.1%}")
    print(f"90 % prediction intervals hold {share.mean():.2%} of fresh responses", flush=True)


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=[*ESTIMATORS, []], default=[])
    parser.add_argument("--replications", type=int, default=50)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    print("a share of 95 % has a standard error of", f"{np.sqrt(0.95 * 0.05 / arguments.replications):.1%}")
    for name in arguments.what or ESTIMATORS:
        report(name, arguments.rows, arguments.replications, arguments.jobs)


if __name__ == "__main__":
    main()
