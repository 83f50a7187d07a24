"""The search for the maximum: screen many starts on a sample, finish the best few, swap their experts, certify."""

import time
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from math import ceil
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from smoe.chance import merit, preference
from smoe.checkpoint import Checkpoint, Interrupted
from smoe.closing import closing
from smoe.order import stable_order
from smoe.params import permute
from smoe.places import PLACES, better_places
from smoe.pool import SWAP, Pool, distance
from smoe.second_look import LINES, second_look
from smoe.solvers import EM, certify
from smoe.solvers.base import summarise
from smoe.solvers.working_set import WIDE, is_wide, narrowed, telling
from smoe.starts import FromSoftmax, Start
from smoe.texts import with_article
from smoe.threads import driving

__all__ = ["Agreement", "StartRecord", "Unwatched", "agreement", "n_sharing", "search"]

_SAMPLE = 1000  # rows for screening, more when the parameters are many
_ROWS_PER_PARAMETER = 15
_SWAPPED = 2000  # so many rows are the sample itself; with more, what swaps gain on a sample is chance
_RUNGS = 8, 8, 14  # EM iterations of all starts, of the better half of these, and of the better half of those
_FINISHED = 5  # starts that are taken to the end
_SAME = 0.02  # mean absolute difference of row log densities (nats) of starts in one basin
_SHARED = 50_000  # with fewer rows, threads take one start each
_PART = 20_000  # rows on which leaders are finished first if there are many more
_POLISHED = 2**17  # rows on which the best of these are finished next if there are very many more: it saves a pass
_NUMBERS = 2**24  # that these rows may have
_AGREE = 1e-3  # difference of log-likelihoods at one maximum
_JOINED = 1e-6  # the same of fits at one maximum
_POOL = 16  # fits between which experts are swapped
_ROUND = 8  # swaps at a time
_FEW = 500  # rows; with more, swaps are fewer
_MOST = 8.0  # swaps per start
_PATIENCE = 0.5  # swaps per start and further expert without a gain after which the search ends if all ends agree
_DOUBT = 3.0  # how many more per start if all ends differ
_NEW = 3  # members that are new and finished
INSIDE = "Inside"  # the record of what began where a search with a simpler gate ended
_SWAPS = "Swaps"  # the record of how many there were
_SCREENED = 0.5  # share of a time limit after which no further start is screened
_STOPPED = "a callback ended the search"


class StartRecord(NamedTuple):
    """What became of one start.

    Log-likelihoods are totals in the user's units; the screened one extrapolates from the sample.
    """

    start: str
    screened_loglik: float
    loglik: float
    n_iter: int
    status: str


class Agreement(NamedTuple):
    """How sure the search is.

    ``n_finished`` starts were taken to the end, ``n_agree`` of these ended at the log-likelihood of the fit and
    ``n_higher`` above it; then ``n_swaps`` experts were swapped.
    """

    n_finished: int
    n_agree: int
    n_higher: int
    n_swaps: int

    def __str__(self):
        words = f"{self.n_agree} of {self.n_finished} that were finished ended here"
        led = "led no higher" if self.n_agree else "led here"
        return f"{words}; {self.n_swaps} swaps of experts {led}" if self.n_swaps else words


def agreement(records, loglik):
    """Return the `Agreement` of these records with this log-likelihood.

    Ends of swaps descend from one another, so that their agreement says nothing: they are left out.
    """
    ends = np.array([record.loglik for record in records if not record.start.startswith(SWAP)])
    above = ends[np.isfinite(ends)] - loglik
    n_swaps = sum(record.n_iter for record in records if record.start == _SWAPS)
    return Agreement(len(above), int(np.sum(np.abs(above) <= _AGREE)), int(np.sum(above > _AGREE)), n_swaps)


def n_sharing(n_rows, n_jobs):
    """Return how many threads share the rows of one fit at a time; with few rows they take one start each."""
    return effective_n_jobs(n_jobs) if n_rows >= _SHARED else 1


class Unwatched:
    """Hears which stage a search is in, and says when it is to end; this one does neither."""

    waits = stopped = False

    @contextmanager
    def stage(self, name, n):
        """Announce a stage of ``n`` pieces, of which each is to be reported by calling what is yielded."""
        yield lambda: None


def search(
    task,
    blocks,
    start,
    n_init,
    solver,
    tol,
    rng,
    n_jobs=None,
    verbose=0,
    time_limit=None,
    checkpoint=None,
    watcher=None,
):
    """Return the best `Fit`, its `Certificate` and one `StartRecord` per start, then one per finished swap.

    Fits are ordered by `smoe.chance.preference`: degenerate ends (a variance on its floor, an empty expert), whose
    log-likelihoods can be arbitrarily high, lose to any regular one, and experts on few rows are charged what chance
    lines gain. As long as all that was finished is degenerate, the next starts are finished. One proposal only is
    finished without screening. Experts of the ends are swapped as long as that leads higher. Threads take
    one start each, unless they share the rows (``blocks.shared_by``).

    What a ``checkpoint`` (a `smoe.checkpoint.Checkpoint`) knows is not done again; it is removed at the end, unless the
    search was cut short. Ctrl-C raises `smoe.checkpoint.Interrupted` with the best so far, if there is any. A
    ``watcher`` (such as `Unwatched`) hears of every stage, and may end the search.
    """
    threads = 1 if blocks.n_threads > 1 else effective_n_jobs(n_jobs)
    checkpoint = Checkpoint() if checkpoint is None else checkpoint
    if start.needs_rows and is_wide(task.model, blocks.scaling):
        settings = n_jobs, verbose, time_limit, checkpoint, watcher
        return _search_few(task, blocks, start, n_init, solver, tol, rng, *settings)
    clock = _Clock(time_limit, verbose, watcher or Unwatched())
    one = _Search(task, blocks, solver, tol, rng, threads, clock, checkpoint)
    try:
        with driving:
            found = one.best_of(start, n_init)
    except KeyboardInterrupt:
        checkpoint.write()
        if (found := one.best_so_far(start, n_init)) is None:
            raise
        raise Interrupted(found) from None
    if one.clock.stopped:
        checkpoint.write()
    else:
        checkpoint.remove()
    return found


def _search_few(task, blocks, start, n_init, solver, *settings):
    """Search in the few columns that tell most of y by themselves, then finish in all of them."""
    columns = telling(task.model, blocks, WIDE)
    model, rows = narrowed(task.model, blocks, columns)
    few = task._replace(model=model, scaling=rows.scaling)

    def widened(found):
        params = columns.expand(task.model, found[0].params, blocks.scaling)
        return found[0]._replace(params=params, curvature=None), *found[1:]

    try:
        begin, _, records = widened(search(few, rows, start, n_init, solver, *settings[:-2], None, settings[-1]))
    except Interrupted as interrupted:
        raise Interrupted(widened(interrupted.found)) from None
    *found, last = search(task, blocks, _Given(begin.params), 1, solver, *settings)
    return *found, [*records, *last]


class _Given(Start):
    """Begin at these parameters, in working coordinates."""

    needs_rows = False

    def __init__(self, params):
        self.params = params

    def propose(self, task, rng):
        return self.params


class _Clock:
    """Says what is going on, and whether time is up."""

    def __init__(self, limit, verbose, watcher):
        self.limit, self.verbose, self.watcher, self.begin, self.late = limit, verbose, watcher, time.monotonic(), False

    @property
    def ticks(self):
        """Whether anybody wants to know before all is done."""
        return self.limit is not None or self.watcher.waits

    @property
    def stopped(self):
        """Why the search ended before its end, in words, or nothing."""
        return f"time_limit={self.limit:g} ended the search" if self.late else _STOPPED * self.watcher.stopped

    def up(self, share=1.0):
        """Whether this share of the time limit is over, or the watcher wants no more."""
        self.late |= self.limit is not None and time.monotonic() - self.begin >= share * self.limit
        return bool(self.stopped)

    def stage(self, name, n):
        """Announce a stage of n pieces; none without a name."""
        return Unwatched().stage(name, n) if name is None else self.watcher.stage(name, n)

    def say(self, words):
        if self.verbose:
            print(f"{time.monotonic() - self.begin:8.1f} s  {words}", flush=True)


class _Search:
    """One search: screened starts by number, their order, the sample they were screened on, and ends."""

    def __init__(self, task, blocks, solver, tol, rng, threads, clock, checkpoint):
        self.task, self.model, self.blocks, self.solver, self.tol = task, task.model, blocks, solver, tol
        self.rng, self.clock, self.checkpoint = rng, clock, checkpoint
        self.first = deepcopy(rng)  # a search within begins as one by itself would
        self.finished = []
        self.batch = threads if clock.ticks else None
        self.run = Parallel(threads, prefer="threads")
        self.offset = blocks.loglik_offset
        self.screened, self.rank, self.ends, self.joined, self.swaps = {}, [], {}, {}, {}
        self.more = None
        self.n_swaps = self.n_idle = 0

    def best_of(self, start, n_init):
        """Return the best fit, its certificate and the records."""
        if n_init > 1 or start.needs_rows:
            self._draw_sample()
        proposals = dict(enumerate(start.propose(self.task, self.rng) for _ in range(n_init)))
        if n_init > 1:
            self._screen(proposals)
            proposals = {i: self.screened[i].params for i in self._leaders()}
        self._finish_leaders(proposals)
        if start.swaps and n_init > 1 and self._may_gain():
            self._swap(n_init)
        if start.swaps and n_init > 1 and self._may_overlook():
            self._look_again()
        if n_init > 1 and self._may_begin_inside(start):
            self._begin_inside(start, n_init)
        if n_init > 1 and self._has_places():
            self._try_places()
        fit, certificate = self._leader()
        if self.clock.stopped:
            certificate = certificate.noted(self.clock.stopped)
        return fit, certificate, self._records(start, n_init)

    def best_so_far(self, start, n_init):
        """Return what `best_of` does, of a search that was interrupted, or None if nothing has seen all rows."""
        ends, under_way = [*self.ends.values(), *self.swaps.values(), *self.finished], self.checkpoint.under_way
        if not ends and under_way:
            ends = [self._end_at(max(under_way.values(), key=lambda one: one[0])[1])]
        if not ends:
            return None
        fit, certificate = max(ends, key=_merit)
        return fit, certificate.noted("interrupted")._replace(valid=False, flat=False), self._records(start, n_init)

    def _end_at(self, params):
        """Return a fit that ends where it is, and its certificate."""
        sums = self.blocks.sum(self.model.statistics, params)
        fit = summarise(self.model, self.blocks, params, sums, 0, self.tol, [sums.loglik], "not at its end")
        return self._certified(fit)

    def _draw_sample(self):
        n_free, n_rows = self.model.chart(_blank(self.task)).n_free, self.blocks.n_distinct
        size = max(_SAMPLE, _ROWS_PER_PARAMETER * n_free, n_rows if n_rows <= _SWAPPED else 0)
        if self._races():
            sizes = [size, _PART, _POLISHED] if self._polishes() else [size, _PART]
            rngs = [self.rng, *(deepcopy(self.rng) for _ in sizes[1:])]
            self.sample, self.part, *more = self.blocks.several_representatives(sizes, rngs)
            self.more = more[0] if more else None
        else:
            self.sample = self.blocks.representatives(size, self.rng)
        self.task = self.task._replace(block=self.sample.block)

    def _each(self, stage, function, items, share=1.0):
        """Return what the function makes of the items by key, of the first ones only when time is up."""
        keys, done, piece = list(items), {}, delayed(self.checkpoint.piece)
        with self.clock.stage(stage, len(keys)) as tick:
            while len(done) < len(keys) and not (done and self.clock.up(share)):
                batch = keys[len(done) :][: self.batch]
                done.update(zip(batch, self.run(piece(function, items[key]) for key in batch), strict=True))
                for _ in batch:
                    tick()
        return done

    def _screen(self, proposals):
        """Look at every start, and longer at the better ones, by short runs of EM or in the solver's own way."""
        if hasattr(self.solver, "screen"):
            self._look(self.solver.screen, proposals)
            self._look(self.solver.rescreen, self._better(proposals, max(_FINISHED, len(proposals) // 4)))
        else:
            for n_iter in _RUNGS:
                self._look(EM(n_iter, 0.0).short_run, proposals)
                proposals = self._better(proposals, max(2 * _FINISHED, len(proposals) // 2))
        self._tell(f"{len(self.screened)} starts screened on {len(self.sample)} rows", self._seen(self.rank[0]))

    def _look(self, run, proposals):
        self.screened |= self._each("screen", lambda params: run(self.model, self.sample, params), proposals, _SCREENED)
        self.rank = _ranked(self.model, self.sample, self.screened)

    def _better(self, proposals, n):
        first = [i for i in self.rank if i in proposals][:n]
        return {i: self.screened[i].params for i in first}

    def _seen(self, i):
        """The log-likelihood of a screened start, extrapolated from the sample."""
        if i not in self.screened:
            return np.nan
        return float(self.blocks.total_weight / self.sample.total_weight * self.screened[i].loglik - self.offset)

    def _tell(self, words, loglik):
        self.clock.say(f"{words}: log-likelihood {loglik:.4f}")

    def _rows(self, fit):
        return self.model.posterior(self.sample.block, fit.params)[2]

    def _leaders(self):
        """Return the starts in the order in which they deserve to be finished.

        Two starts are on the way to the same maximum when their row log densities differ by little on average; the
        second of such a pair comes after all others.
        """
        fits = {i: self.screened[i] for i in self.rank}
        leaders = self._apart(fits, 2 * _n_finished(self.model, self.solver))
        return [*leaders, *(i for i in self.rank if i not in leaders)]

    def _apart(self, fits, most):
        """Return the keys of the first few fits that differ from all before them."""
        chosen, rows, weight = [], [], self.sample.block.weight
        for key, fit in fits.items():
            here = self._rows(fit)
            if all(distance(here, other, weight) > _SAME for other in rows):
                chosen.append(key)
                rows.append(here)
            if len(chosen) == most:
                break
        return chosen

    def _finish_leaders(self, leaders):
        """Finish the first few leaders, and the next few as long as all ends are degenerate."""
        n_finished, left = _n_finished(self.model, self.solver), list(leaders)
        while left and all(c.spurious for _, c in self.ends.values()) and not (self.ends and self.clock.up()):
            proposals = {i: leaders[i] for i in left[:n_finished]}
            left = left[n_finished:]
            raced, same = self._race(proposals)
            self.ends.update(self._each("finish", self._finish if raced is proposals else self._finish_raced, raced))
            self.joined.update(same)
            self._tell(f"{len(self.ends)} starts finished, {self._n_agreeing()} of them here", self._top())

    def _finish(self, params):
        return self._finished_by(self.solver.solve, params)

    def _finish_raced(self, params):
        return self._finished_by(self.solver.finish, params)

    def _finished_by(self, solve, params):
        blocks = self.checkpoint.watched(self.model, self.blocks, params)
        fit = solve(self.model, blocks, self.checkpoint.begun(params))
        self.finished.append(self._certified(fit))
        return self.finished[-1]

    def _certified(self, fit):
        fit = fit._replace(closing=closing(self.model, self.blocks, fit.params))
        return fit, certify(self.model, self.blocks, fit, self.tol)

    def _leader(self):
        """Return the best fit of all that are finished, and its certificate."""
        return max([*self.ends.values(), *self.swaps.values()], key=_merit)

    def _top(self):
        return float(self._leader()[0].loglik - self.offset)

    def _n_agreeing(self):
        """How many ends are at the best one."""
        values = [_merit(end) for end in self.ends.values()]
        best = max(values)
        return sum(value[:-1] == best[:-1] and best[-1] - value[-1] <= _AGREE for value in values)

    def _race(self, proposals):
        """Finish the leaders on a part of many rows first, and go on with one of those that arrive at the same place.

        Returns the parameters to go on from, and which start the others joined.
        """
        if len(proposals) == 1 or not self._races():
            return proposals, {}
        part = self.part
        fits = self._each("race", lambda params: self.solver.solve(self.model, part, params), proposals)
        rows = {i: self.model.posterior(part.block, fit.params)[2] for i, fit in fits.items()}
        kept, joined = {}, {}
        for i in _ranked(self.model, part, fits):
            same = [j for j in kept if distance(rows[i], rows[j], part.block.weight) < _JOINED]
            if same:
                joined[i] = same[0]
            else:
                kept[i] = self._in_order(part, fits[i].params)
        return kept | (self._each("race", self._polish, kept) if self.more else {}), joined

    def _polish(self, params):
        return self._in_order(self.more, self.solver.finish(self.model, self.more, params).params)

    def _races(self):
        """Whether rows are so many that leaders are finished on a part of them first."""
        return len(self.blocks) >= 4 * _PART and not hasattr(self.solver, "screen")

    def _polishes(self):
        """Whether reading all rows costs so much that another part of them is worth a pass."""
        width = self.blocks.source.n_features
        return len(self.blocks) >= 16 * _POLISHED and _POLISHED * width <= _NUMBERS

    def _in_order(self, part, params):
        """Return the same density with its experts as they will be reported: its curvature then serves for that too."""
        if not self.model.gate.smooth:
            return params
        return part.scaling.canonical(self.model, permute(params, stable_order(self.model, part, params)[0]))

    def _may_gain(self):
        """Whether swaps of experts may lead higher: also where ends agree, which may all be wrong."""
        several = self.task.n_experts > 1 and not hasattr(self.solver, "screen")
        return several and self.sample.complete and not self.clock.up()

    def _swap(self, n_init):
        """Swap experts in a pool of ends and screened starts, as long as that leads higher; finish what is new.

        The more ends disagree, the longer it goes on without a gain.
        """
        pool, doubt = Pool(self.model, self.sample, self._first_members()), 1.0 - self._n_agreeing() / len(self.ends)
        most = n_init * min(_MOST, max(1.0, _MOST * _FEW / len(self.sample)))
        least = _PATIENCE * (self.task.n_experts - 1)
        with self.clock.stage("swap", ceil(most / _ROUND)) as tick:
            while pool.n_children < most and pool.n_idle < (least + _DOUBT * doubt) * n_init and not self.clock.up():
                if pool.swaps(partial(self._each, None), _ROUND, self.rng):
                    doubt = 1.0
                    self._tell(f"{pool.n_children} swaps of experts", pool.best.fit.loglik - self.offset)
                tick()
        self.swaps = self._each("finish", self._finish, self._worth_finishing(pool))
        self.n_swaps, self.n_idle = pool.n_children, pool.n_idle
        self._tell(f"{pool.n_children} swaps of experts, {len(self.swaps)} ends", self._top())

    def _worth_finishing(self, pool):
        """Return the best children that are not on their way to what is better than they are."""
        fits = {member.name: member.fit for member in pool.members} | {i: end[0] for i, end in self.ends.items()}
        rank = _ranked(self.model, self.sample, fits)
        new = [key for key in self._apart({key: fits[key] for key in rank}, len(fits)) if str(key).startswith(SWAP)]
        return {name: fits[name].params for name in new[:_NEW]}

    def _may_overlook(self):
        """Whether the sample may have none of some expert's rows."""
        few = self.sample.complete or self.blocks.source.grouped  # groups are of many rows and of several sizes
        return self.task.n_experts > 1 and not (few or hasattr(self.solver, "screen") or self.clock.up())

    def _look_again(self):
        """Ask the rows that the best end explains worst for an expert of their own; finish what they say."""
        best = max(self.ends.values(), key=_merit)[0]
        params = second_look(self.model, self.blocks, best, self.rng)
        if params is not None:
            self.n_swaps = LINES * self.task.n_experts
            self.swaps = self._each("finish", self._finish, {f"{SWAP} (second look)": params})
            self._tell(f"{self.n_swaps} lines through what was explained worst", self._top())

    def _may_begin_inside(self, start):
        """Whether fits begin with those of a simpler gate, which may then be searched for by itself."""
        plain = not self.model.penalties and self.model.constraints is None
        return isinstance(start, FromSoftmax) and self.task.n_experts > 1 and plain and not self.clock.up()

    def _begin_inside(self, start, n_init):
        """Finish from where a search of its own ends with a simpler gate: what contains that gate is never below."""
        gate, within, n_within = start.inside(self.task, n_init)
        model = self.model._replace(gate=gate)
        rows = type(self.blocks)(model, self.blocks.source, self.blocks.scaling, self.blocks.roles)
        settings = self.solver, self.tol, deepcopy(self.first), self.run.n_jobs, self.clock, self.checkpoint
        simpler = _Search(self.task._replace(model=model), rows.shared_by(self.blocks.n_threads), *settings)
        fit, _, _ = simpler.best_of(within, n_within)
        self.swaps |= self._each("finish", self._finish, {INSIDE: start.above(self.task, fit.params)})
        self._tell(f"from the end of a search with {with_article(type(gate).__name__)}", self._top())

    def _has_places(self):
        """Whether which expert has which place is part of the model."""
        several = self.task.n_experts > 1 and not self.model.gate.exchangeable
        return several and not (hasattr(self.solver, "screen") or self.clock.up())

    def _try_places(self):
        """Move the experts of the best end between their places; finish what may lead higher."""
        best = self._leader()[0]
        found = better_places(self.model, self.sample, best.params, partial(self._each, None), self.rng)
        self.swaps |= self._each("finish", self._finish, {f"{PLACES} {i}": params for i, params in enumerate(found, 1)})
        self._tell(f"{len(found)} other orders of experts", self._top())

    def _first_members(self):
        """Return the distinct ends, and of the screened starts the next ones that differ from all of these."""
        ends = sorted(self.ends, key=lambda i: _rounded(_merit(self.ends[i])), reverse=True)
        fits = {f"end {i}": self.ends[i][0] for i in ends} | {f"start {i}": self.screened[i] for i in self.rank}
        return {name: fits[name] for name in self._apart(fits, _POOL)}

    def _records(self, start, n_init):
        name = type(start).__name__
        records = [self._record(f"{name} {i}", i, self.ends.get(i)) for i in range(n_init)]
        if self.n_swaps:
            gained = self.n_swaps - self.n_idle
            status = f"the last gain after {gained}" if gained else "no gain"
            records.append(StartRecord(_SWAPS, np.nan, np.nan, self.n_swaps, status))
        return records + [self._record(name, name, end) for name, end in self.swaps.items()]

    def _record(self, name, i, end):
        if end is not None:
            fit, certificate = end
            return StartRecord(name, self._seen(i), float(fit.loglik - self.offset), fit.n_iter, certificate.status)
        status = f"joined start {self.joined[i]} on {_PART} rows" if i in self.joined else "screened out"
        if i not in self.screened:
            status = "not screened: time was up"
        return StartRecord(name, self._seen(i), np.nan, 0, status)


def _n_finished(model, solver):
    return getattr(solver, "n_finished", model.gate.n_finished)


def _ranked(model, rows, fits):
    """Return the starts in order of merit."""
    return sorted(fits, key=lambda i: merit(model, rows, fits[i]), reverse=True)


def _blank(task):
    scaling = task.scaling
    return task.model.init_params(task.n_experts, len(scaling.gate.columns), len(scaling.expert.columns))


def _merit(end):
    fit, certificate = end
    value = fit.loglik if fit.objective is None else fit.objective
    return preference(certificate.spurious, value, certificate.price)


def _rounded(merit):
    """Tell ends at one maximum apart by their order alone and not by rounding: their labels may differ."""
    return *merit[:-1], round(merit[-1], 3)
