"""The search for the maximum: screen many starts on a sample, finish the best few on all rows, certify, choose."""

from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from smoe.chance import merit, preference
from smoe.pool import Pool, distance
from smoe.solvers import EM, Certificate, Fit, certify

__all__ = ["StartRecord", "agreement", "n_sharing", "search"]

_SAMPLE = 1000  # rows for screening, more when the parameters are many
_ROWS_PER_PARAMETER = 15
_SCREENING = 30  # EM iterations of each start
_FINISHED = 5  # starts that are taken to the end
_SAME = 0.02  # mean absolute difference of row log densities (nats) of starts in one basin
_SHARED = 50_000  # with fewer rows, threads take one start each
_PART = 20_000  # rows on which leaders are finished first if there are many more
_AGREE = 1e-3  # difference of log-likelihoods at one maximum
_POOL = 8  # fits between which experts are swapped
_ROUND = 8  # swaps at a time
_SWAPPED = 2000  # with more distinct rows, what swaps gain on a sample is chance
_FEW = 500  # rows; with more, swaps are fewer
_MOST = 4.0  # swaps per start
_PATIENCE = 1.0  # swaps per start without a gain, after which the search ends
_NEW = 3  # members that are new and finished
_JOINED = 1e-6  # the same of fits at one maximum


class StartRecord(NamedTuple):
    """What became of one start.

    Log-likelihoods are totals in the user's units; the screened one extrapolates from the sample.
    """

    start: str
    screened_loglik: float
    loglik: float
    n_iter: int
    status: str


def agreement(records, loglik):
    """Return how many starts were finished, how many of these ended at this log-likelihood, and how many above it."""
    ends = np.array([record.loglik for record in records if not record.start.startswith("Swap")])
    above = ends[np.isfinite(ends)] - loglik
    return len(above), int(np.sum(np.abs(above) <= _AGREE)), int(np.sum(above > _AGREE))


def n_sharing(n_rows, n_jobs):
    """Return how many threads share the rows of one fit at a time; with few rows they take one start each."""
    return effective_n_jobs(n_jobs) if n_rows >= _SHARED else 1


def search(task, blocks, start, n_init, solver, tol, rng, n_jobs=None, verbose=0):
    """Return the best `Fit`, its `Certificate` and one `StartRecord` per start.

    Fits are ordered by `smoe.chance.preference`: degenerate ends (a variance on its floor, an empty expert), whose
    log-likelihoods can be arbitrarily high, lose to any regular one, and experts on few rows are charged what chance
    lines gain. As long as all that was finished is degenerate, the next starts are finished. One proposal only is
    finished without screening. Threads take one start each, unless they share the rows (``blocks.shared_by``).
    """
    run = Parallel(1 if blocks.n_threads > 1 else effective_n_jobs(n_jobs), prefer="threads")
    return _search(run, task, blocks, start, n_init, solver, tol, rng, verbose)


def _search(run, task, blocks, start, n_init, solver, tol, rng, verbose):
    screened, seen = {}, {}
    offset = task.scaling.loglik_offset(blocks.total_weight)
    if n_init > 1 or start.needs_rows:
        n_free = task.model.chart(_blank(task)).n_free
        sample = blocks.representatives(max(_SAMPLE, _ROWS_PER_PARAMETER * n_free), rng)
        task = task._replace(block=sample.block)
    proposals = dict(enumerate(start.propose(task, rng) for _ in range(n_init)))
    if n_init > 1:
        screened = _screen(run, task.model, sample, solver, proposals)
        proposals = {i: screened[i].params for i in _leaders(task, sample, screened)}
        share = blocks.total_weight / sample.total_weight
        seen = {i: share * fit.loglik - offset for i, fit in screened.items()}
    ends, joined = _finish_leaders(run, task, blocks, solver, tol, proposals, rng)
    records = [_record(i, start, seen.get(i, np.nan), ends.get(i), joined.get(i), offset) for i in range(n_init)]
    ends = list(ends.values())
    if start.swaps and n_init > 1 and sample.complete and _may_gain(task, solver, ends, len(sample)):
        found = _swap(run, task, blocks, solver, tol, ends, screened, sample, n_init, rng)
        records += [_swap_record(name, end, offset) for name, end in found.items()]
        ends += found.values()
    best = max(ends, key=_merit)
    if verbose:
        _report(records)
    return *best, records


def _may_gain(task, solver, ends, n_rows):
    """Whether swaps of experts may lead higher: not if all agree."""
    if task.n_experts == 1 or n_rows > _SWAPPED or hasattr(solver, "screen"):
        return False
    values = [_merit(end) for end in ends]
    return not (len(ends) > 2 and all(_same(value, values[0]) for value in values))


def _same(one, other):
    return one[:-1] == other[:-1] and abs(one[-1] - other[-1]) <= _AGREE


def _swap(run, task, blocks, solver, tol, ends, screened, sample, n_init, rng):
    """Swap experts in a pool of ends and screened starts, as long as that leads higher; finish the best that is new."""
    pool = Pool(task.model, sample, _first_members(task, ends, screened, sample))
    idle, most = 0, n_init * min(_MOST, max(1.0, _MOST * _FEW / len(sample)))

    def climbed(children, climb):
        return run(delayed(climb)(child) for child in children)

    while pool.n_children < most and idle < _PATIENCE * n_init:
        idle = 0 if pool.swaps(climbed, _ROUND, rng) else idle + _ROUND
    new = pool.new()[:_NEW]
    finished = run(delayed(_finish)(task, blocks, solver, tol, member.fit.params) for member in new)
    return {member.name: end for member, end in zip(new, finished, strict=True)}


def _first_members(task, ends, screened, sample):
    """Return the distinct ends, and of the screened starts the next ones that differ from all of these."""
    fits = [fit for fit, _ in sorted(ends, key=_merit, reverse=True)]
    rank = _ranked(task.model, sample, screened)
    members, rows = {}, []
    for fit in fits + [screened[i] for i in rank]:
        here = task.model.posterior(sample.block, fit.params)[2]
        if all(distance(here, other, sample.block.weight) > _SAME for other in rows):
            members[f"Start {len(rows)}"] = fit
            rows.append(here)
        if len(rows) == _POOL:
            break
    return members


def _finish_leaders(run, task, blocks, solver, tol, leaders, rng):
    """Finish the first few leaders, and the next few as long as all ends are degenerate.

    Returns the ends, and which start others joined.
    """
    n_finished, ends, joined, left = _n_finished(task.model, solver), {}, {}, list(leaders)
    while left and all(certificate.degenerate for _, certificate in ends.values()):
        proposals = {i: leaders[i] for i in left[:n_finished]}
        left = left[n_finished:]
        proposals, same = _race(run, task, blocks, solver, proposals, rng)
        finished = run(delayed(_finish)(task, blocks, solver, tol, params) for params in proposals.values())
        ends.update(zip(proposals, finished, strict=True))
        joined.update(same)
    return ends, joined


def _n_finished(model, solver):
    return getattr(solver, "n_finished", model.gate.n_finished)


def _screen(run, model, sample, solver, proposals):
    """Return a short run of every start, and a second look at the better part if the solver has one."""
    look = getattr(solver, "screen", EM(_SCREENING, 0.0).short_run)
    fits = dict(enumerate(run(delayed(look)(model, sample, params) for params in proposals.values())))
    if hasattr(solver, "rescreen"):
        second = _ranked(model, sample, fits)[: max(_FINISHED, len(fits) // 4)]
        looks = run(delayed(solver.rescreen)(model, sample, fits[i].params) for i in second)
        fits.update(zip(second, looks, strict=True))
    return fits


def _ranked(model, rows, fits):
    """Return the starts in order of merit."""
    return sorted(fits, key=lambda i: merit(model, rows, fits[i]), reverse=True)


def _blank(task):
    scaling = task.scaling
    return task.model.init_params(task.n_experts, len(scaling.gate.columns), len(scaling.expert.columns))


def _race(run, task, blocks, solver, proposals, rng):
    """Finish the leaders on a part of many rows first, and go on with one of those that arrive at the same place.

    Returns the parameters to go on from, and which start the others joined.
    """
    if len(proposals) == 1 or len(blocks) < 4 * _PART or hasattr(solver, "screen"):
        return proposals, {}
    part = blocks.representatives(_PART, rng)
    fits = run(delayed(solver.solve)(task.model, part, params) for params in proposals.values())
    fits = dict(zip(proposals, fits, strict=True))
    rows = {i: task.model.posterior(part.block, fit.params)[2] for i, fit in fits.items()}
    kept, joined = {}, {}
    for i in _ranked(task.model, part, fits):
        same = [j for j in kept if distance(rows[i], rows[j], part.block.weight) < _JOINED]
        if same:
            joined[i] = same[0]
        else:
            kept[i] = fits[i].params
    return kept, joined


def _leaders(task, sample, screened):
    """Return the starts in the order in which they deserve to be finished.

    Two starts are on the way to the same maximum when their row log densities differ by little on average; the second
    of such a pair comes after all others.
    """
    block = sample.block
    rank = _ranked(task.model, sample, screened)
    rows = {i: task.model.posterior(block, screened[i].params)[2] for i in rank}
    leaders = []
    for i in rank:
        if all(distance(rows[i], rows[j], block.weight) > _SAME for j in leaders):
            leaders.append(i)
    return leaders + [i for i in rank if i not in leaders]


def _finish(task, blocks, solver, tol, params) -> tuple[Fit, Certificate]:
    fit = solver.solve(task.model, blocks, params)
    return fit, certify(task.model, blocks, fit, tol)


def _merit(end):
    fit, certificate = end
    value = fit.loglik if fit.objective is None else fit.objective
    return preference(certificate.degenerate, value, certificate.price)


def _record(i, start, screened, end, joined, offset):
    name, screened = f"{type(start).__name__} {i}", float(screened)
    if joined is not None:
        return StartRecord(name, screened, np.nan, 0, f"joined start {joined} on {_PART} rows")
    if end is None:
        return StartRecord(name, screened, np.nan, 0, "screened out")
    fit, certificate = end
    return StartRecord(name, screened, float(fit.loglik - offset), fit.n_iter, certificate.status)


def _swap_record(name, end, offset):
    fit, certificate = end
    return StartRecord(name, np.nan, float(fit.loglik - offset), fit.n_iter, certificate.status)


def _report(records):
    for record in records:
        if np.isfinite(record.loglik):
            print(f"{record.start}: log-likelihood {record.loglik:.6f}, {record.n_iter} iterations, {record.status}")
