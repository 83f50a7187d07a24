"""What the measurements share: options, results, timers and the problems that are timed."""

import re
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import numpy as np

from smoe.datasets import make_moe
from smoe.experts import GaussianExpert, GaussianExpertParams
from smoe.gates import LinearGateParams, SoftmaxGate
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams
from smoe.rows import ArraySource, Blocks, Scaling, standardise

MODEL = MixtureOfExperts(SoftmaxGate(), GaussianExpert())
CROSSING = MoEParams(
    LinearGateParams(np.array([[3.0], [0.0]]), np.zeros(2)),
    GaussianExpertParams(np.array([[2.0], [-2.0]]), np.array([0.5, -0.5]), np.array([0.25, 0.25])),
)


class Options(NamedTuple):
    """How thorough a run is: ``limit`` is the longest time for a fit, in seconds; ``plot`` where the picture goes."""

    quick: bool = False
    limit: float = 300.0
    plot: str | None = None

    def pick(self, full, quick):
        """Return the size for this kind of run."""
        return quick if self.quick else full


class Result(NamedTuple):
    """One line of the table. ``value`` is None for what could not be measured; the note says why.

    ``bar`` reads "<= 20", ">= 10" or "0.9..1.05"; empty for what is only reported. ``at_least`` marks a value that is
    a lower bound, because something took longer than the limit.
    """

    name: str
    value: float | None
    unit: str
    bar: str = ""
    note: str = ""
    at_least: bool = False

    @property
    def met(self):
        """Whether the bar is met; None where there is no bar or no answer."""
        if not self.bar or self.value is None or not np.isfinite(self.value):
            return None
        numbers = [float(word) for word in re.findall(r"\d+\.?\d*", self.bar)]
        if self.bar.startswith(">="):
            enough = self.value >= numbers[0]
            return None if self.at_least and not enough else enough
        if self.bar.startswith("<="):
            return self.value <= numbers[0]
        return numbers[0] <= self.value <= numbers[1]


def seconds(call, *args):
    """Time one call."""
    begin = time.perf_counter()
    call(*args)
    return time.perf_counter() - begin


def paired(repeats, *calls):
    """Time the calls in turn, ``repeats`` times after a warm-up; return seconds (repeats, n_calls).

    Turns spread what else the machine does over all calls alike.
    """
    for call in calls:
        call()
    return np.array([[seconds(call) for call in calls] for _ in range(repeats)])


class Problem(NamedTuple):
    """Data and two starts of the same kind: parameters in the user's units, and a split of the rows."""

    X: np.ndarray
    y: np.ndarray
    truth: MoEParams
    start: MoEParams
    label: np.ndarray


def two_experts(n, seed=0):
    """Draw two crossing lines; the start is a flat gate and the regressions of the halves of y."""
    moe = make_moe(n, params=CROSSING, random_state=seed)
    label = (moe.target > np.median(moe.target)).astype(int)
    return Problem(moe.data, moe.target, moe.params, split_start(moe.data, moe.target, label), label)


def split_start(X, y, label):
    """Return a flat gate and the least-squares line of each part of the rows."""
    k, (n, d) = label.max() + 1, X.shape
    Z = np.column_stack([X, np.ones(n)])
    lines = np.array([np.linalg.lstsq(Z[label == i], y[label == i])[0] for i in range(k)])
    variance = np.array([np.mean((y - Z @ lines[i])[label == i] ** 2) for i in range(k)])
    gate = LinearGateParams(np.zeros((k, d)), np.zeros(k))
    return MoEParams(gate, GaussianExpertParams(lines[:, :-1], lines[:, -1], variance))


def random_problem(n, d, k, seed=0):
    """Draw from k random experts, however small their shares are."""
    rng = np.random.default_rng(seed)
    gate = SoftmaxGate().canonical(LinearGateParams(rng.normal(size=(k, d)), rng.normal(size=k)))
    expert = GaussianExpertParams(rng.normal(0, 3, (k, d)), rng.normal(0, 3, k), rng.uniform(0.3, 0.8, k) ** 2)
    moe = make_moe(n, params=MoEParams(gate, expert), random_state=seed)
    return moe.data, moe.target, moe.params


def working(X, y, params, kind=Blocks):
    """Return the rows as the estimators visit them, and the parameters in those coordinates."""
    columns = np.arange(X.shape[1])
    source = ArraySource(X, y)
    scaling = standardise(MODEL, source, columns, columns)
    return kind(MODEL, source, scaling), scaling.from_units(MODEL, params)


def loglik(X, y, params):
    """Return the log-likelihood of y given X in the user's units, the same sum for whoever made the parameters."""
    columns = np.arange(X.shape[1])
    return float(Blocks(MODEL, ArraySource(X, y), Scaling.identity(columns, columns)).sum(MODEL.loglik, params))


def posterior(X, y, params):
    """Return the responsibilities (n, n_experts) at these parameters."""
    columns = np.arange(X.shape[1])
    blocks = Blocks(MODEL, ArraySource(X, y), Scaling.identity(columns, columns))
    return blocks.map(lambda block, p: MODEL.posterior(block, p)[1], params).T


def moe_params(gate, lines, variance):
    """Make smoe's parameters of gate and lines (k, d + 1), intercepts last, with the last row of the gate at zero."""
    gate = gate - gate[-1]
    return MoEParams(
        LinearGateParams(gate[:, :-1], gate[:, -1]),
        GaussianExpertParams(lines[:, :-1], lines[:, -1], np.asarray(variance, dtype=float)),
    )


def package_version(name):
    """Return the version of a Python package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def r_version(package):
    """Return the version of an R package, or None."""
    code = f'cat(as.character(packageVersion("{package}")))'
    done = subprocess.run(["Rscript", "-e", code], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None
