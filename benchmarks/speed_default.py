"""Default fits of every gate and family, one expert beside regressions of others, predictions, and a large study."""

import time
import warnings
from functools import partial

import numpy as np
from speed_common import Result, paired, seconds, two_experts

import families
from smoe import MoEClassifier, MoERegressor
from smoe.datasets import make_moe
from smoe.experts import EXPERTS
from smoe.gates import GATES
from smoe.simulation import papers

FIELDS = ("gaussian", "poisson", "multinomial")  # families that are fitted at every size
SLOW = {"conditional_poisson", "plackett_luce"}  # gates without a fused pass, in minutes at 10,000 rows


def every(options):
    """Time from call to end with defaults of each family with a softmax gate, of each gate with Gaussian experts."""
    for n in options.pick((1000, 10_000), (300,)):
        for name in EXPERTS:
            for k in options.pick((2, 3, 5) if name in FIELDS else (2,), (2,)):
                rng = np.random.default_rng(k)
                X, y, truth = families.Truth(name, k, 1, rng).draw(n, rng)
                yield _default(f"{name}, k={k}", families.estimator(name, k, 1, random_state=0), X, y, truth)
        for name in GATES:
            if name not in SLOW or n <= 1000:
                moe = make_moe(n, 2, 2, gate=name, random_state=0)
                model = MoERegressor(2, gate=name, random_state=0)
                yield _default(f"{name} gate, k=2", model, moe.data, moe.target, moe.loglik)


def _default(name, model, X, y, truth):
    """Report one fit with its kernels ready, by the clock and by the likelihood of what made the rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X[:200], y[:200])
        took = seconds(model.fit, X, y)
    note = f"{model.loglik_ - truth:+.2f} against the truth; {model.status_[:40]}"
    return Result(f"default fit, {name}, n={len(X):,}", took, "s", note=note)


def one(options):
    """One expert beside scikit-learn's regressions, which it equals: same rows, same estimates."""
    from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor

    n = options.pick(10_000, 1000)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    score = X @ [0.5, -0.3, 0.2]
    sharp = {"tol": 1e-8, "max_iter": 1000}
    for name, model, peer, y in (
        ("gaussian", MoERegressor(1), LinearRegression(), score + rng.normal(size=n)),
        (
            "poisson",
            MoERegressor(1, expert="poisson"),
            PoissonRegressor(alpha=0.0, **sharp),
            rng.poisson(np.exp(score)),
        ),
        (
            "classifier",
            MoEClassifier(1, pull=0.0),
            LogisticRegression(C=np.inf, **sharp),
            rng.random(n) < 1 / (1 + np.exp(-score)),
        ),
    ):
        times = paired(options.pick(7, 3), partial(model.fit, X, y), partial(peer.fit, X, y))
        ours, theirs = np.median(times, axis=0)
        apart = np.max(np.abs(_slopes(model, name) - np.ravel(peer.coef_)))
        note = f"{ours * 1e3:.1f} and {theirs * 1e3:.1f} ms; slopes differ by {apart:.0e}"
        yield Result(f"one expert / scikit-learn, {name}, n={n:,}", ours / theirs, "", note=note)


def _slopes(model, name):
    slopes = np.ravel(model.expert_coef_)
    return -slopes if name == "classifier" else slopes  # the last class is the one that is pinned


def predict(options):
    """Predictions for a million rows in units of the means as numpy has them: gate, lines and their product."""
    n = options.pick(1_000_000, 100_000)
    problem = two_experts(n)
    model = MoERegressor(2, random_state=0, n_init=1).fit(problem.X[:5000], problem.y[:5000])
    X, params = problem.X, model.params_

    def plain():
        scores = X @ params.gate.coef.T + params.gate.intercept
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        return np.sum(weights * (X @ params.expert.coef.T + params.expert.intercept), axis=1)

    np.testing.assert_allclose(model.predict(X), plain(), rtol=1e-10)
    rows = X[: options.pick(100_000, 10_000)]
    calls = {
        "predict": partial(model.predict, X),
        "predict with std": partial(model.predict, X, return_std=True),
        "gate_proba": partial(model.gate_proba, X),
        "score_samples": partial(model.score_samples, X, problem.y),
    }
    times = paired(options.pick(7, 3), plain, *calls.values())
    for name, ratio in zip(calls, np.median(times[:, 1:] / times[:, :1], axis=0), strict=True):
        yield Result(f"{name} / means by numpy, n={n:,}", ratio, "", "<= 3", f"numpy {np.median(times[:, 0]):.3f} s")
    per_row = np.median(times[:, 0]) / n * len(rows)
    for name, call in {
        "predict_interval": partial(model.predict_interval, rows),
        "hdr": lambda: model.predict_distribution(rows).hdr(0.9),
    }.items():
        call()
        yield Result(f"{name} / means by numpy, n={len(rows):,}", seconds(call) / per_row, "", "<= 3")


def studies(options):
    """The first published experiment at its own size: 8,000 certified fits on two cores."""
    study = papers.build("softmax-exact", options.pick("paper", "quick"))
    begin = time.perf_counter()
    result = study.run(n_jobs=2)
    took = time.perf_counter() - begin
    note = f"{len(result.records):,} fits, {result.share_below_truth:.1%} below the truth"
    yield Result("softmax-exact at the published sizes", took, "s", "<= 60", note)
