"""Families of experts: does a default fit reach the truth, and do intervals cover?

    python benchmarks/families.py [truth|coverage] [--family NAME ...] [--first SEED] [--count N]

truth     a softmax gate with 2 and 3 experts of each family, 1 and 2 features, 3,000 rows, 20 truths each; a fit below
          the truth's log-likelihood has not found the maximum
coverage  95 % intervals of the experts' coefficients at 2,000 rows, fits begun at the truth, 200 data sets each
"""

import argparse
import os
import time
import warnings

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from scipy import stats

from smoe import MoERegressor
from smoe.experts import EXPERTS
from smoe.gates import LinearGateParams, SoftmaxGate
from smoe.params import MoEParams
from smoe.simulation import Truth

COVERED = ("poisson", "negative_binomial", "gamma", "student_t")


def random_truth(name, k, d, rng):
    """Experts whose predictors are some units apart, in the scale of a logarithm; a gate that hesitates in places."""
    expert = EXPERTS[name]()
    blank = expert.init_params(k, d)
    own = {
        f: np.asarray(getattr(blank, f)) * rng.uniform(0.6, 1.4, np.shape(getattr(blank, f))) for f in blank._fields[2:]
    }
    levels = rng.permutation(np.linspace(0.0, 3.0, k)) + rng.normal(0, 0.3, k)
    params = blank._replace(coef=rng.normal(0, 0.8, (k, d)), intercept=levels, **own)
    gate = LinearGateParams(
        np.vstack([rng.normal(0, 2, (k - 1, d)), np.zeros((1, d))]), np.append(rng.normal(0, 0.5, k - 1), 0.0)
    )
    return Truth((SoftmaxGate(), expert), MoEParams(gate, params), covariates=stats.uniform(-1, 2))


def fit(model, X, y):
    """Fit; return the model and the CPU seconds it took."""
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    return model, time.process_time() - begin


def truths(name, first, count):
    """Print how many fits reach the truth."""
    gaps, seconds, certified = [], [], 0
    for i in range(count):
        rng = np.random.default_rng(first + i)
        truth = random_truth(name, 2 + i % 2, 1 + i // 2 % 2, rng)
        X, y = truth.draw(3000, rng)
        model, spent = fit(MoERegressor(truth.n_experts, expert=name, random_state=0), X, y)
        gaps.append(model.loglik_ - truth.loglik(X, y))
        seconds.append(spent)
        certified += model.converged_
        if gaps[-1] < 0:
            print(f"  {name} seed {first + i}: {gaps[-1]:.3f} ({model.status_})", flush=True)
    reached = np.sum(np.array(gaps) >= 0)
    print(
        f"{name:32s} reached {reached} of {count}, certified {certified}; "
        f"CPU seconds: median {np.median(seconds[1:]):.2f}, largest {max(seconds[1:]):.2f}",
        flush=True,
    )


def coverage(name, first, count):
    """Print the coverage of each coefficient of the experts."""
    truth = random_truth(name, 2, 1, np.random.default_rng(3))
    inside, used = 0, 0
    for i in range(count):
        X, y = truth.draw(2000, np.random.default_rng(first + i))
        model, _ = fit(MoERegressor(2, expert=name, start=truth.params), X, y)
        if not model.converged_:
            continue
        order = np.argsort(model.expert_intercept_)
        wanted = np.argsort(truth.params.expert.intercept)
        found, errors = model.params_.expert, model.standard_errors_.expert
        pairs = [(found.coef[order, 0], truth.params.expert.coef[wanted, 0], errors.coef[order, 0])]
        pairs += [(found.intercept[order], truth.params.expert.intercept[wanted], errors.intercept[order])]
        inside = inside + np.array([np.abs(a - b) < 1.959964 * e for a, b, e in pairs])
        used += 1
    shares = np.array2string(np.asarray(inside) / max(used, 1), precision=3).replace("\n", "")
    print(f"{name:32s} coverage of slopes and intercepts {shares} in {used} certified fits of {count}", flush=True)


def main():
    """Run one of the two for every family asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", nargs="?", default="truth", choices=("truth", "coverage"))
    parser.add_argument("--family", nargs="*", choices=list(EXPERTS))
    parser.add_argument("--first", type=int, default=0, help="added to every seed")
    parser.add_argument("--count", type=int, help="data sets per family")
    args = parser.parse_args()
    chosen = args.family or (list(EXPERTS) if args.set == "truth" else COVERED)
    for name in chosen:
        if args.set == "truth":
            truths(name, args.first, args.count or 20)
        else:
            coverage(name, args.first, args.count or 200)


if __name__ == "__main__":
    main()
