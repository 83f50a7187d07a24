"""What a pass over the rows costs, how it grows with the sizes, and what solvers make of it; all in this process."""

import time
from collections import Counter
from functools import partial

import numpy as np
from overspecified import CountedBlocks, draw, near_truth
from speed_common import MODEL, Result, paired, random_problem, seconds, two_experts, working

from smoe import MoERegressor
from smoe.datasets import make_moe
from smoe.experts import GaussianExpert, LinearExpert
from smoe.families import Binomial, Poisson
from smoe.features import Roles
from smoe.gates import GATES, SoftmaxGate
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams
from smoe.rows import ArraySource, Blocks, Scaling
from smoe.rows.grouped import by_group
from smoe.solvers import EM, EMNewton, certify
from smoe.starts import FromParams
from smoe.threads import spread

WORDS = {"statistics": "EM pass", "curvature": "pass with score and information"}


def passes(options):
    """One pass in multiples of numpy's exponential."""
    n, numbers = options.pick(1_000_000, 100_000), np.random.default_rng(0).normal(size=1_000_000)
    yield Result("numpy exp, per number", _exp(numbers), "ns")
    for name, visit, k, d, bar in (
        ("EM pass", MODEL.statistics, 2, 1, "<= 20"),
        ("EM pass", MODEL.statistics, 4, 8, "<= 90"),
        ("pass with score and information", MODEL.curvature, 3, 1, "<= 60"),
    ):
        moe = make_moe(n, d, k, random_state=0)
        blocks, params = working(moe.data, moe.target, moe.params)
        before = _exp(numbers)
        cost = _median(partial(blocks.sum, visit, params), options.pick(7, 3)) / n * 1e9
        unit = (before + _exp(numbers)) / 2
        yield Result(f"{name}, k={k} d={d} n={n:,}", cost / unit, "exp", bar, f"{cost:.1f} ns per row")
    repeats = options.pick(15, 5)
    for k, d, n in ((2, 1, options.pick(1_000_000, 100_000)), (3, 3, options.pick(100_000, 20_000))):
        yield from _beside(k, d, n, repeats)


def _beside(k, d, n, repeats):
    """EM passes of counts, and of groups of two rows, in units of that of Gaussian experts and single rows."""
    rng, columns = np.random.default_rng(0), np.arange(d)
    X, y, pairs = np.repeat(rng.normal(size=(n // 2, d)), 2, axis=0), rng.poisson(3.0, n), np.arange(n) // 2
    scaling, rows = Scaling.identity(columns, columns), ArraySource(X, y)
    groups = by_group(ArraySource(np.column_stack([X, pairs]), y), d, columns)
    gaussian, poisson, logit = GaussianExpert(), LinearExpert(Poisson()), LinearExpert(Binomial())
    calls = {}
    for name, expert, source in (
        ("Gaussian", gaussian, rows),
        ("Poisson", poisson, rows),
        ("binomial", logit, ArraySource(X, np.minimum(y, 1.0))),
        ("pairs of rows, Gaussian", gaussian, groups),
        ("pairs of rows, Poisson", poisson, groups),
    ):
        model = MixtureOfExperts(SoftmaxGate(), expert)
        blocks = Blocks(model, source, scaling, Roles(group=d) if source is groups else Roles())
        calls[name] = partial(blocks.sum, model.statistics, model.init_params(k, d, d))
    times = paired(repeats, *calls.values())
    costs, ratios = np.median(times, axis=0) / n * 1e9, np.median(times / times[:, :1], axis=0)
    bars = {"Poisson": "<= 2", "pairs of rows, Gaussian": "<= 1.5"}
    for name, cost, ratio in list(zip(calls, costs, ratios, strict=True))[1:]:
        where = f"k={k} d={d} n={n:,}"
        yield Result(f"EM pass, {name} / Gaussian, {where}", ratio, "", bars.get(name, ""), f"{cost:.1f} ns per row")


def gates(options):
    """A pass of EM, and one with score and information, of each gate in units of the softmax gate's."""
    n, k, d = options.pick(100_000, 10_000), 4, 2
    X, y, params = random_problem(n, d, k)
    columns, source = np.arange(d), ArraySource(X, y)
    scaling = Scaling.identity(columns, columns)
    for kind in ("statistics", "curvature"):
        calls = {}
        for name, recipe in GATES.items():
            model = MixtureOfExperts(recipe(), GaussianExpert())
            if kind == "curvature" and not model.gate.smooth:
                continue
            part = perturbed(model.gate, k, d)
            visit = getattr(model, kind)
            calls[name] = partial(Blocks(model, source, scaling).sum, visit, MoEParams(part, params.expert))
        times = paired(options.pick(15, 3), *calls.values())
        costs, ratios = np.median(times, axis=0) / n * 1e9, np.median(times / times[:, :1], axis=0)
        for name, cost, ratio in list(zip(calls, costs, ratios, strict=True)):
            bar = "" if name == "softmax" else "<= 3"
            where = f"{name}, k={k} d={d} n={n:,}"
            yield Result(f"{WORDS[kind]}, {where}", ratio, "softmax", bar, f"{cost:.1f} ns per row")


def perturbed(gate, k, d):
    """Return parameters of a gate away from where it is flat."""
    rng, params = np.random.default_rng(1), gate.init_params(k, d)
    free = gate.free(params)
    moved = {
        name: np.where(
            getattr(free, name),
            np.abs(a + rng.normal(size=np.shape(a))) if gate.fields[name].bounded else a + rng.normal(size=np.shape(a)),
            a,
        )
        for name, a in params._asdict().items()
    }
    return gate.canonical(params._replace(**moved))


def _exp(numbers):
    """Nanoseconds per number; by itself, because in turns with a pass it finds a cold cache and looks twice as slow."""
    return _median(partial(np.exp, numbers)) / len(numbers) * 1e9


def _median(call, repeats=15):
    return float(np.median(paired(repeats, call)))


class NamedBlocks(CountedBlocks):
    """Blocks that count the passes of each kind."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.kinds = Counter()

    def sum(self, visit, params, *args):
        """Count, then visit."""
        self.kinds[getattr(visit, "__name__", "other")] += 1
        return super().sum(visit, params, *args)


def certified(options):
    """The over-specified benchmark: passes and time to a certified maximum, the worst of several draws."""
    n, seeds = options.pick(100_000, 10_000), options.pick(5, 2)
    ends = [_certify_one(n, seed) for seed in range(seeds)]
    counts, ratios, valid = zip(*ends, strict=True)
    worst = max(counts, key=lambda kinds: kinds.total())
    kinds = ", ".join(f"{count} {name}" for name, count in worst.most_common())
    where = f"k=3 n={n:,}, worst of {seeds}"
    yield Result(f"passes to a certificate, {where}", worst.total(), "", "<= 100", kinds)
    note = f"{sum(valid)} of {seeds} certified; median {np.median(ratios):.2f}"
    yield Result(f"its time / 100 EM passes, {where}", max(ratios), "", "<= 1.5", note)


def _certify_one(n, seed):
    """Return the passes by kind, the time in units of 100 EM passes, and whether the maximum is certified."""
    X, y = draw(n, seed)
    blocks, start = working(X, y, near_truth(3, n, np.random.default_rng(seed)), NamedBlocks)
    before = _median(partial(blocks.sum, MODEL.statistics, start))
    blocks.kinds.clear()
    begin = time.perf_counter()
    certificate = certify(MODEL, blocks, EMNewton().solve(MODEL, blocks, start), 1e-8)
    took, kinds = time.perf_counter() - begin, blocks.kinds.copy()
    one = (before + _median(partial(blocks.sum, MODEL.statistics, start))) / 2
    return kinds, took / (100 * one), certificate.valid


def _two_cores(repeats):
    """What two threads gain where nothing is shared: numpy's exponential of numbers in the cache, over and over."""
    numbers = np.random.default_rng(0).normal(size=10_000)

    def work(_):
        out = np.empty_like(numbers)
        for _ in range(5_000):
            np.exp(numbers, out=out)

    def both(n_threads):
        list(spread(work, range(2), n_threads))

    times = paired(repeats, partial(both, 1), partial(both, 2))
    return float(np.median(times[:, 0] / times[:, 1]))


def threads(options):
    """One fit from one start with one thread and with two, beside what the machine's two cores are worth."""
    yield Result("numpy exp with 1 thread / 2 threads", _two_cores(options.pick(9, 3)), "")
    n = options.pick(2_000_000, 200_000)
    problem = two_experts(n)

    def fit(n_jobs):
        MoERegressor(2, start=FromParams(problem.start), random_state=0, n_jobs=n_jobs).fit(problem.X, problem.y)

    fit(2)
    times = np.array([[seconds(fit, n_jobs) for n_jobs in (1, 2)] for _ in range(options.pick(3, 2))])
    one, two = np.median(times, axis=0)
    gain = np.median(times[:, 0] / times[:, 1])
    yield Result(f"fit with 1 thread / 2 threads, n={n:,}", gain, "", ">= 1.7", f"{one:.2f} s, {two:.2f} s")


def linear(options):
    """Time of five EM iterations against the number of rows; the picture."""
    largest = options.pick(7, 5)
    problem = two_experts(10**largest)
    sizes, times = 10 ** np.arange(3, largest + 1), []
    for n in sizes:
        blocks, start = working(problem.X[:n], problem.y[:n], problem.truth)
        took = _median(partial(EM(5, 0.0).solve, MODEL, blocks, start), max(3, 10**5 // n))
        times.append(took)
        yield Result(f"five EM iterations, n={n:,}", took * 1e3, "ms", note=f"{took / n * 1e9:.0f} ns per row")
    slope = np.polyfit(np.log(sizes[1:]), np.log(times[1:]), 1)[0]
    yield Result(f"slope of log time on log n, n=10,000..{sizes[-1]:,}", slope, "", "0.9..1.05")
    if options.plot:
        _plot(options)


def _plot(options):
    """Save what a row costs in an EM pass against n, d and k."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    n, repeats = options.pick(100_000, 20_000), options.pick(7, 3)
    panels = {  # (n, d, k)
        "rows n (d=1, k=2)": [(10**e, 1, 2) for e in range(3, options.pick(7, 5))],
        f"features d (k=2, n={n:,})": [(n, d, 2) for d in (1, 2, 4, 8, 16, 24, 32)],
        f"experts k (d=1, n={n:,})": [(n, 1, k) for k in (2, 3, 4, 6, 8, 12, 16)],
    }
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for i, (title, sizes) in enumerate(panels.items()):
        cost = [_row_cost(*size, repeats) for size in sizes]
        axes[i].plot([size[i] for size in sizes], cost, "o-")
        axes[i].set(xlabel=title, xscale="linear" if i else "log")
        axes[i].set_ylim(0, 1.1 * max(cost))
        if i:
            axes[i].xaxis.get_major_locator().set_params(integer=True)
        axes[i].grid(alpha=0.3)
    axes[0].set_ylabel("ns per row and EM pass")
    figure.savefig(options.plot, dpi=120)
    plt.close(figure)


def _row_cost(n, d, k, repeats):
    """Nanoseconds per row of one EM pass."""
    blocks, params = working(*random_problem(n, d, k))
    return _median(partial(blocks.sum, MODEL.statistics, params), repeats) / n * 1e9


def small(options):
    """A hundred rows from a given start, the solver called directly; the data are transformed within the time."""
    repeats, seeds = options.pick(20, 5), range(5)
    climb, check, valid = [], [], 0
    for seed in seeds:
        problem = two_experts(100, seed)
        first = EMNewton().solve(MODEL, *working(problem.X, problem.y, problem.start))
        for _ in range(repeats):
            blocks, start = working(problem.X, problem.y, problem.start)
            climb.append(seconds(EMNewton().solve, MODEL, blocks, start))
            check.append(seconds(certify, MODEL, blocks, first, 1e-8))
        valid += certify(MODEL, blocks, first, 1e-8).valid
    note = f"{valid} of {len(seeds)} draws certified"
    yield Result("from a start to the maximum, n=100 k=2", np.median(climb) * 1e3, "ms", "<= 1.5", note)
    yield Result("its certificate", np.median(check) * 1e3, "ms")
