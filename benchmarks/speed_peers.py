"""smoe beside other programs: an EM iteration, and a fit with defaults.

Run as a script (NAME N), it is the process of a default fit and prints seconds and log-likelihoods as JSON.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import warnings

import numpy as np
from numpy_em import numpy_em
from peers import FLEXMIX, PEERS, SMOE
from speed_common import Problem, Result, seconds, two_experts, working

from smoe.experts import LinearExpert
from smoe.families import Poisson
from smoe.gates import SoftmaxGate
from smoe.mixture import MixtureOfExperts
from smoe.rows import ArraySource, Blocks, Scaling
from smoe.solvers import EM

_ALLOWANCE = 10.0  # seconds on top of the limit, for what a process does beside the fit (R starts, files are read)


def iteration(options):
    """Seconds per EM iteration on the same rows from the same start; every peer takes its turn in every round."""
    problem, rounds = two_experts(10_000), options.pick(5, 2)
    there = [peer for peer in PEERS.values() if not peer.missing()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no run is meant to converge
        for peer in there:
            peer.per_iteration(problem)
        costs = np.array([[peer.per_iteration(problem) for peer in there] for _ in range(rounds)])
    ratios = np.median(costs / costs[:, [0]], axis=0)
    yield from _missing()
    for peer, cost, ratio in zip(there, np.median(costs, axis=0), ratios, strict=True):
        yield Result(f"{peer.name}, one iteration, n=10,000", cost * 1e3, "ms", note=_counts(peer))
        if peer is not SMOE:
            yield Result(f"{peer.name} / smoe", ratio, "", f">= {peer.bar}" if peer.bar else "")
    yield Result("smoe and numpy EM, largest difference", _difference(problem), "nats", note="log-likelihood, 20 steps")
    if not FLEXMIX.missing():
        yield from _of_counts(rounds)


def _of_counts(rounds):
    """An EM iteration of two Poisson experts beside flexmix's, from one start."""
    rng, n = np.random.default_rng(0), 10_000
    X = rng.uniform(-1, 1, (n, 1))
    first = rng.random(n) < 1 / (1 + np.exp(-2 * X[:, 0]))
    y = rng.poisson(np.exp(np.where(first, 1.5 + X[:, 0], 0.5 - X[:, 0]))).astype(float)
    above = np.where(y > np.median(y), 0.8, 0.2)
    column, model = np.arange(1), MixtureOfExperts(SoftmaxGate(), LinearExpert(Poisson()))
    blocks = Blocks(model, ArraySource(X, y), Scaling.identity(column, column))
    begin = model.init_params(2, 1, 1)
    begin = begin._replace(expert=begin.expert._replace(intercept=np.array([1.5, 0.5])))

    def ours():
        few, many = (seconds(EM(n_iter, 0.0).solve, model, blocks, begin) for n_iter in (50, 150))
        return (many - few) / 100

    ours()  # compiles
    problem, resp = Problem(X, y, None, None, None), np.column_stack([above, 1 - above])
    costs = np.array([[ours(), FLEXMIX.per_iteration_of_counts(problem, resp)] for _ in range(rounds)])
    for name, cost in zip(("smoe", "flexmix"), np.median(costs, axis=0), strict=True):
        yield Result(f"{name}, one iteration with Poisson experts, n=10,000", cost * 1e3, "ms")
    yield Result("flexmix / smoe, Poisson experts", np.median(costs[:, 1] / costs[:, 0]), "", ">= 50")


def _counts(peer):
    few, many = peer.counts
    return f"difference of {few} and {many} iterations"


def _missing():
    for peer in PEERS.values():
        if peer.missing():
            yield Result(peer.name, None, "", note=peer.missing())


def _difference(problem):
    """Return by how much the log-likelihoods along the way differ between smoe's EM and the plain one."""
    X, y, start = problem.X, problem.y, problem.start
    blocks, begin = working(X, y, start)
    offset = len(y) * np.log(blocks.scaling.y_scale)
    trace = EM(20, 0.0).solve(blocks.model, blocks, begin).trace - offset
    return float(np.abs(trace - numpy_em(X, y, start, 21)[3]).max())


def fit(options):
    """Time from call to end with defaults, each in a process of its own, and the log-likelihood reached."""
    yield from _missing()
    for n in options.pick((10_000, 100_000), (2_000,)):
        ours = _default_fit(SMOE, n, options.limit)
        yield from _rows(SMOE, n, ours, ours)
        for peer in PEERS.values():
            if peer is not SMOE and not peer.missing():
                yield from _rows(peer, n, _default_fit(peer, n, options.limit), ours)


def _rows(peer, n, end, ours):
    """Report one fit, and its time in units of smoe's."""
    name = f"{peer.name}, default fit, n={n:,}"
    if isinstance(end, str):
        yield Result(name, None, "s", note=end)
        return
    late = "loglik" not in end
    note = "longer than the limit" if late else _reached(peer, end["loglik"], np.max(ours["loglik"]))
    took = np.median(end["seconds"])
    yield Result(name, took, "s", note=note, at_least=late)
    if peer is not SMOE:
        bar = "" if peer.name == "numpy EM" else ">= 10"  # it has no defaults: one start, which was chosen here
        yield Result(f"{peer.name} / smoe", took / np.median(ours["seconds"]), "", bar, at_least=late)


def _reached(peer, logliks, best):
    """Say where the fits ended: the median, and how far the best and the worst are from smoe's best."""
    worst, top = best - np.min(logliks), best - np.max(logliks)
    gap = f"{top:.2f}" + (f" to {worst:.2f}" if worst - top > 0.005 else "") + " below smoe's best"
    other = f"; it climbs that of {peer.quantity}" if peer.quantity != "y given x" else ""
    seeds = "1 seed" if len(logliks) == 1 else f"{len(logliks)} seeds"
    return f"{seeds}: log-likelihood {np.median(logliks):.2f}, {gap}{other}"


def _default_fit(peer, n, limit):
    """Fit in a process of its own; return times and log-likelihoods, the limit if that was too slow, or "failed"."""
    command = [sys.executable, __file__, peer.name, str(n)]
    # A session of its own, so that what it started (R) ends with it.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
        child.stdout.readline()  # it is warm now
        clock = threading.Timer(limit + _ALLOWANCE, os.killpg, (child.pid, signal.SIGKILL))
        clock.start()
        found = [json.loads(text) for text in child.stdout if text.endswith("\n")]
        clock.cancel()
    if found:
        return {name: [fit[name] for fit in found] for name in ("seconds", "loglik")}
    return {"seconds": [limit]} if child.returncode == -signal.SIGKILL else "failed"


def _child(name, n):
    """Be that process."""
    problem, peer = two_experts(n), PEERS[name]
    peer.warm_up()
    print("ready", flush=True)
    for took, reached in peer.default_fits(problem):
        print(json.dumps({"seconds": took, "loglik": reached}), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    _child(sys.argv[1], int(sys.argv[2]))
