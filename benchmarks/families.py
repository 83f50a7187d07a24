"""Families of experts: does a default fit reach the truth, and do intervals cover?

    python benchmarks/families.py [truth|coverage] [--family NAME ...] [--first SEED] [--count N]

truth     a softmax gate with 2 and 3 experts of each family, 1 and 2 features, 3,000 rows, 20 truths each; a fit below
          the truth's log-likelihood has not found the maximum. Binomials have 10 trials; classifiers have 2, 3 and 5
          classes and 5,000 rows
coverage  95 % intervals of the experts' coefficients at 2,000 rows, fits begun at the truth, 200 data sets each
"""

import argparse
import os
import time
import warnings

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np

from smoe import MoEClassifier, MoERegressor
from smoe.experts import EXPERTS

COVERED = ("poisson", "negative_binomial", "gamma", "binomial", "student_t")
CLASSES = ("multinomial", "ordinal")
TRIALS = 10


def estimator(name, k, d, **settings):
    if name in CLASSES:
        return MoEClassifier(k, expert=name, **settings)
    return MoERegressor(k, expert=name, trials_feature=d if name == "binomial" else None, **settings)


def anything(name, n, n_classes, rng):
    """Responses that the family can have, to learn the shapes of its parameters from."""
    if name == "multivariate_gaussian":
        return rng.normal(size=(n, 2))
    return np.arange(n) % n_classes if name in CLASSES else rng.integers(1, TRIALS, n).astype(float)


class Truth:
    """Experts whose predictors are some units apart, in the scale of a logarithm; a gate that hesitates in places."""

    def __init__(self, name, k, d, rng, n_classes=3):
        self.name, self.d = name, d
        model = estimator(name, k, d, n_init=1, max_iter=1, random_state=0)
        any_fit = fit(model, self.covariates(60, rng), anything(name, 60, n_classes, rng))[0]
        self.fitted = any_fit.fitted_
        gate = self.fitted.params.gate._replace(
            coef=np.vstack([rng.normal(0, 2, (k - 1, d)), np.zeros((1, d))]),
            intercept=np.append(rng.normal(0, 0.5, k - 1), 0.0),
        )
        self.params = self.fitted.params._replace(gate=gate, expert=self._experts(rng))

    def _experts(self, rng):
        experts = self.fitted.params.expert
        slope = 2.0 if self.name in CLASSES else 0.8
        k, *outputs = np.shape(experts.intercept)
        levels = rng.permutation(np.linspace(0.0, 3.0, k)) + rng.normal(0, 0.3, k) - 1.5 * (self.name == "binomial")
        if outputs:
            levels = levels[:, None] * rng.normal(size=outputs)
        own = {name: self._own(name, np.shape(getattr(experts, name)), rng) for name in experts._fields[2:]}
        return experts._replace(coef=rng.normal(0, slope, np.shape(experts.coef)), intercept=levels, **own)

    def _own(self, name, shape, rng):
        """Dispersions and the like, about where a fit knows nothing; whatever else families have, of order one."""
        if self.name == "multivariate_gaussian":
            return rng.normal(0, 0.5, shape) if name == "regression" else rng.uniform(0.3, 1.0, shape)
        if self.name in CLASSES:
            return rng.uniform(1.0, 3.0, shape)
        return getattr(EXPERTS[self.name]().init_params(shape[0], self.d), name) * rng.uniform(0.6, 1.4, shape)

    def covariates(self, n, rng):
        X = rng.uniform(-1, 1, (n, self.d))
        return np.column_stack([X, np.full(n, TRIALS)]) if self.name == "binomial" else X

    def draw(self, n, rng):
        """Return rows and their log-likelihood."""
        X, model = self.covariates(n, rng), self.fitted.model
        y = model.sample(self.fitted.blocks(X).take(slice(None)), self.params, rng)[0]
        y = y.astype(int) if self.name in CLASSES else y.T
        return X, y, self.fitted.blocks(X, y).sum(model.loglik, self.params)


def fit(model, X, y):
    """Fit; return the model and the CPU seconds it took."""
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    return model, time.process_time() - begin


def truths(name, first, count, n_classes=3):
    """Print how many fits reach the truth."""
    gaps, seconds, certified = [], [], 0
    for i in range(count):
        rng = np.random.default_rng(first + i)
        k, d = 2 + i % 2, 1 + i // 2 % 2
        X, y, loglik = Truth(name, k, d, rng, n_classes).draw(5000 if name in CLASSES else 3000, rng)
        model, spent = fit(estimator(name, k, d, random_state=0), X, y)
        gaps.append(model.loglik_ - loglik)
        seconds.append(spent)
        certified += model.converged_
        if gaps[-1] < 0:
            print(f"  {name} seed {first + i}: {gaps[-1]:.3f} ({model.status_})", flush=True)
    reached, words = np.sum(np.array(gaps) >= 0), f"{name}, {n_classes} classes" if name in CLASSES else name
    print(
        f"{words:32s} reached {reached} of {count}, certified {certified}; "
        f"CPU seconds: median {np.median(seconds[1:]):.2f}, largest {max(seconds[1:]):.2f}",
        flush=True,
    )


def coverage(name, first, count):
    """Print the coverage of each coefficient of the experts."""
    truth = Truth(name, 2, 1, np.random.default_rng(3))
    wanted = np.argsort(truth.params.expert.intercept)
    inside, used = 0, 0
    for i in range(count):
        X, y, _ = truth.draw(2000, np.random.default_rng(first + i))
        model = fit(estimator(name, 2, 1, start=truth.params), X, y)[0]
        if not model.converged_:
            continue
        order = np.argsort(model.expert_intercept_)
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
    if args.set == "coverage":
        for name in args.family or COVERED:
            coverage(name, args.first, args.count or 200)
        return
    for name in args.family or EXPERTS:
        for n_classes in (2, 3, 5) if name == "multinomial" else (3, 5) if name == "ordinal" else (3,):
            truths(name, args.first, args.count or 20, n_classes)


if __name__ == "__main__":
    main()
