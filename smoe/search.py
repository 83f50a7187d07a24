"""The search for the maximum: screen many starts on a sample, finish the best few on all rows, certify, choose."""

from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed

from smoe.solvers import EM, Certificate, Fit, certify
from smoe.starts import representative_rows

__all__ = ["StartRecord", "search"]

_SAMPLE = 1000  # rows for screening, more when the parameters are many
_ROWS_PER_PARAMETER = 15
_SCREENING = 15  # EM iterations of each start
_FINISHED = 5  # starts that are taken to the end
_SAME = 0.02  # mean absolute difference of row log densities (nats) of starts in one basin


class StartRecord(NamedTuple):
    """What became of one start.

    Log-likelihoods are totals in the user's units; the screened one extrapolates from the sample.
    """

    start: str
    screened_loglik: float
    loglik: float
    n_iter: int
    status: str


class _OneBlock:
    """A single block that solvers can visit like `smoe.blocks.Blocks`."""

    def __init__(self, block):
        self.block, self.total_weight = block, float(block.weight.sum())

    def sum(self, visit, params, *args):
        return visit(self.block, params, *args)


def search(task, blocks, start, n_init, solver, tol, rng, n_jobs=None, verbose=0):
    """Return the best `Fit`, its `Certificate` and one `StartRecord` per start.

    Degenerate ends (a variance on its floor, an empty expert) have arbitrarily high log-likelihoods and lose to any
    regular one. One proposal only is finished without screening.
    """
    run = Parallel(n_jobs=n_jobs, prefer="threads")
    n_free = task.model.chart(_blank(task)).n_free
    rows, weight = representative_rows(blocks, max(_SAMPLE, _ROWS_PER_PARAMETER * n_free), rng)
    task = task._replace(block=blocks.take(rows)._replace(weight=weight))
    proposals = [start.propose(task, rng) for _ in range(n_init)]
    screened = [np.nan] * n_init
    chosen = range(n_init)
    if n_init > 1:
        sample, em = _OneBlock(task.block), EM(_SCREENING, 0.0)
        fits = run(delayed(em.solve)(task.model, sample, p) for p in proposals)
        proposals = [fit.params for fit in fits]
        screened = [fit.loglik / sample.total_weight * blocks.total_weight for fit in fits]
        chosen = _leaders(task, screened, proposals)
    ends = dict(
        zip(chosen, run(delayed(_finish)(task, blocks, solver, tol, proposals[i]) for i in chosen), strict=True)
    )
    best = max(ends.values(), key=_merit)
    offset = blocks.total_weight * np.log(task.scaling.y_scale)
    records = [_record(i, start, screened[i] - offset, ends.get(i), offset) for i in range(n_init)]
    if verbose:
        _report(records)
    return *best, records


def _blank(task):
    scaling = task.scaling
    return task.model.init_params(task.n_experts, len(scaling.gate.columns), len(scaling.expert.columns))


def _leaders(task, logliks, proposals):
    """Return the starts to finish: the best by screened log-likelihood, those on the way to the same maximum once.

    Two starts are taken for the same when their row log densities differ by little on average; those left out fill
    the places that remain.
    """
    block = task.block
    rank = [int(i) for i in np.argsort(-np.nan_to_num(np.array(logliks), nan=-np.inf), kind="stable")]
    rows = {i: task.model.posterior(block, proposals[i])[2] for i in rank}
    leaders = []
    for i in rank:
        distance = [np.abs(rows[i] - rows[j]) @ block.weight / block.weight.sum() for j in leaders]
        if all(d > _SAME for d in distance):
            leaders.append(i)
    return (leaders + [i for i in rank if i not in leaders])[:_FINISHED]


def _finish(task, blocks, solver, tol, params) -> tuple[Fit, Certificate]:
    fit = solver.solve(task.model, blocks, params)
    return fit, certify(task.model, blocks, fit, tol)


def _merit(end):
    fit, certificate = end
    return not certificate.degenerate, fit.loglik


def _record(i, start, screened, end, offset):
    name = f"{type(start).__name__} {i}"
    if end is None:
        return StartRecord(name, screened, np.nan, _SCREENING, "screened out")
    fit, certificate = end
    return StartRecord(name, screened, fit.loglik - offset, fit.n_iter, certificate.status)


def _report(records):
    for record in records:
        if np.isfinite(record.loglik):
            print(f"{record.start}: log-likelihood {record.loglik:.6f}, {record.n_iter} iterations, {record.status}")
