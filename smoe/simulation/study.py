"""Studies of convergence: many fits to data from a known truth, at many sizes."""

import contextlib
import itertools
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from smoe.estimators import MixtureEstimator
from smoe.hints import FilePath
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, n_experts_of
from smoe.rows import Scaling
from smoe.settings import described
from smoe.simulation._near_truth import near_truth
from smoe.simulation._probes import probed_losses, probed_start
from smoe.simulation.cells import Arms, Cells, Record, run_batch
from smoe.simulation.losses import FAILED, evaluate, resolve_losses
from smoe.simulation.progress import progress_bar
from smoe.simulation.rates import StudyResult
from smoe.simulation.store import Store
from smoe.simulation.truth import Truth
from smoe.solvers import Solver
from smoe.solvers.base import check_supports
from smoe.starts import FromParams, Task
from smoe.validation import check_n_jobs, check_number, check_path

__all__ = ["ComparisonStudy", "ConvergenceStudy", "Study"]

_BATCH_SECONDS = 0.3  # long against the cost of handing out work, short against what a killed study may lose
_LARGEST_BATCH = 500
_FIXED_COST = 4000  # rows: what a cell costs however few rows it has (measured with two experts)
_FEW = 10  # cells, of which two would be a good part of the study
_TRUTH = ("model", "params", "n_experts", "n_features", "draw", "loglik", "describe")


class Study:
    """Cells by size and replication: how they are run, kept and counted.

    Parameters
    ----------
    cells : object
        ``run(n, replication)`` returns a `Record`, the same for the same address; ``random_state``.
    sizes : list of int
    n_replications : int
    settings : dict
        What determines the record of a cell, as JSON has it.
    """

    def __init__(self, cells, sizes, n_replications, settings):
        self._cells, self.sizes, self.n_replications, self.settings = cells, sizes, n_replications, settings

    def expected_seconds(self, n_jobs: int | None = None) -> float:
        """Return about how long a run takes, from one cell that is timed; its record is not kept.

        It is one of middle size, or of a study of few cells the smallest.

        Parameters
        ----------
        n_jobs : int or None, default=None
            Number of processes, as in `run`.
        """
        n_jobs = check_n_jobs(n_jobs)
        few = len(self.sizes) * self.n_replications < _FEW
        n = min(self.sizes) if few else sorted(self.sizes)[len(self.sizes) // 2]
        if not few:
            self.run_cell(min(self.sizes), 0)  # what is compiled or loaded is not counted
        begin = time.perf_counter()
        self.run_cell(n, 0)
        share = _cost([(n, 0)]) / _cost(itertools.product(self.sizes, range(self.n_replications)))
        return (time.perf_counter() - begin) / share / effective_n_jobs(n_jobs)

    def run_cell(self, n: int, replication: int) -> Record:
        """Return the `Record` of the cell (n, replication): but for ``seconds`` that of a run of the whole study."""
        check_number(n, "n", 1, integer=True)
        check_number(replication, "replication", 0, integer=True)
        return run_batch(self._cells, [(int(n), int(replication))])[0][0]

    def run(self, n_jobs: int | None = None, store: FilePath | None = None, progress: bool = False) -> StudyResult:
        """Compute all cells, the largest first.

        Parameters
        ----------
        n_jobs : int or None, default=None
            Number of processes, -1 for as many as there are cores, None for what ``joblib.parallel_config`` says or
            one. Under ``with joblib.parallel_config("dask")`` cells run on the cluster of the current dask client.
            Each process uses one thread.
        store : str, path-like or None, default=None
            A file that records are appended to as they come. If it is there already the study goes on from it; it
            must hold a study with the same settings, other sizes or replications aside.
        progress : bool, default=False
            Show progress and the time left: with rich if it is installed, else with tqdm, else in plain lines.

        Returns
        -------
        StudyResult
            Records by size and replication.

        Raises
        ------
        ValueError, RuntimeError, OSError
            The store holds another study, is being written by another process, or cannot be written, see
            `smoe.simulation.Store`.

        Warns
        -----
        UserWarning
            A fit or a loss raised an error.
        """
        n_jobs = check_n_jobs(n_jobs)
        if store is not None:
            check_path(store, "store")
        with contextlib.ExitStack() as stack:
            disk = None if store is None else stack.enter_context(Store(store, self.settings))
            known = {} if disk is None else {record.address: record for record in disk.records}
            cells = list(itertools.product(sorted(self.sizes, reverse=True), range(self.n_replications)))
            todo = [cell for cell in cells if cell not in known]
            records = [known[cell] for cell in cells if cell in known]
            advance = stack.enter_context(_bar(cells, todo)) if progress else None
            for batch in stack.enter_context(contextlib.closing(_computed(self._cells, todo, n_jobs))):
                if disk is not None:
                    disk.append(batch)
                if advance is not None:
                    advance(_cost(record.address for record in batch))
                records += batch
        _warn_of_failures(records)
        return StudyResult(records, self.settings)


class ConvergenceStudy(Study):
    """Fits to data from a known truth, at several sizes, many times each, for rates of convergence.

    Every cell, a number of rows n and a replication, draws its data and its start from
    ``SeedSequence(random_state, spawn_key=(n, replication))`` and is fitted on its own. So each can be computed again
    alone, and no record depends on the number of processes, on the order, or on which other cells there are. Studies
    of one truth with one ``random_state`` fit the same data: they compare solvers in pairs.

    Parameters
    ----------
    truth : Truth
        What data are drawn from; see `smoe.simulation.Truth`.
    fitter : estimator or Solver
        An unfitted estimator such as ``SoftmaxMoERegressor()``, fitted as a user would, or a `smoe.solvers.Solver`,
        run and certified without an estimator around it, which is much faster.
    sizes : sequence of int
        Numbers of rows; evenly spaced on the log scale is best for rates.
    n_replications : int, default=40
        Cells of each size.
    start : {"data", "near_truth"} or callable, default="data"
        "data": the estimator finds its own starts. "near_truth": `smoe.simulation.near_truth`. Or
        ``start(truth, n_experts, n, rng)`` that returns `smoe.params.MoEParams` in the user's units. From given
        parameters an estimator makes a single fit, whatever its ``start`` and ``n_init``.
    losses : dict, list of str or str, default=()
        Losses by name: ``loss(fitted_params, truth)`` returns a number, an array or a dict of these, and can be
        pickled. Or names from ``smoe.simulation.LOSSES``: "D1", "D2" and "sharp", see
        `smoe.simulation.voronoi_loss`, and "errors", see `smoe.simulation.parameter_errors`.
    random_state : int, default=0
    n_experts : int or None, default=None
        Experts to be fitted; None for the estimator's number, or with a solver for the truth's.
    model : MixtureOfExperts or None, default=None
        What a solver fits, None for the truth's model; for instance with more selected experts than the truth has.

    Attributes
    ----------
    settings : dict
        What determines the record of a cell, as JSON has it: all arguments but the sizes and replications. Losses are
        described by their values on the truth and on parameters near it; starts, and covariates that are functions, by
        their name and by what they give.

    Raises
    ------
    ValueError, TypeError
        An argument that makes no sense; the message names it.

    Notes
    -----
    A fit that raises an error leaves a record with ``converged`` false and the error in ``status``; a loss that raises
    is NaN, with the error added to ``status``. Either way the study goes on and warns at its end. So that mistakes show
    at once, start and losses are tried when the study is made, the losses on the truth itself.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe.experts import GaussianExpertParams
    >>> from smoe.gates import LinearGateParams
    >>> from smoe.params import MoEParams
    >>> from smoe.simulation import ConvergenceStudy, Truth
    >>> from smoe.solvers import EMNewton
    >>> gate = LinearGateParams(coef=[[25.0], [0.0]], intercept=[-8.0, 0.0])
    >>> expert = GaussianExpertParams(coef=[[-20.0], [20.0]], intercept=[15.0, -5.0], variance=[0.09, 0.16])
    >>> truth = Truth("softmax", MoEParams(gate, expert))
    >>> study = ConvergenceStudy(truth, EMNewton(), [200, 2000], n_replications=20, start="near_truth", losses="D1")
    >>> result = study.run()
    >>> len(result.records), result.share_uncertified
    (40, 0.0)
    >>> low, high = result.rate("D1").interval
    >>> low < -0.5 < high
    True
    """

    def __init__(
        self,
        truth: Truth,
        fitter: Any,
        sizes: Sequence[int],
        n_replications: int = 40,
        *,
        start: str | Callable = "data",
        losses: Any = (),
        random_state: int = 0,
        n_experts: int | None = None,
        model: Any = None,
    ) -> None:
        missing = [name for name in _TRUTH if not hasattr(truth, name)]
        if missing:
            kind = type(truth).__name__
            raise TypeError(f"truth must be a smoe.simulation.Truth, got {kind} without {', '.join(missing)}.")
        check_number(n_replications, "n_replications", 1, integer=True)
        check_number(random_state, "random_state", 0, integer=True)
        sizes = _checked_sizes(sizes)
        n_experts = _checked_fitter(fitter, truth, n_experts)
        model = _checked_model(fitter, truth, model, n_experts)
        start = _resolved_start(start, fitter)
        cells = Cells(truth, model, fitter, start, resolve_losses(losses), int(random_state), n_experts)
        _try(cells, sizes[0])
        super().__init__(cells, sizes, int(n_replications), _described(cells))


class ComparisonStudy(Study):
    """Several studies cell by cell: arms that fit the same data, or data of several truths, side by side.

    The record of a cell has the losses of each arm under its name, ``name.loss``, with ``name.gain``, how much more
    likely the fit is than the truth, and ``name.certified``. It is below the truth if a judged arm is, and uncertified
    if any arm is.

    Parameters
    ----------
    arms : dict of str to ConvergenceStudy
        With the same sizes, replications and random state. Arms of the same truth fit the same data.
    judged : list of str or None, default=None
        The arms that can hold the truth, all with None: only these make a cell lie below the truth.

    Attributes
    ----------
    settings : dict
        Those of the arms, by name.

    Raises
    ------
    ValueError, TypeError
        No arms, studies that differ in sizes, replications or random state, or names in ``judged`` that no arm has.

    Examples
    --------
    >>> from smoe.simulation import ComparisonStudy, papers
    >>> study = papers.build("softmax-exact", "quick")
    >>> both = ComparisonStudy({"exact": study, "again": study})
    >>> sorted(both.run_cell(300, 0).losses["exact"])
    ['D1', 'certified', 'density', 'gain']
    """

    def __init__(self, arms: dict, judged: Sequence[str] | None = None) -> None:
        if not isinstance(arms, dict) or not arms:
            raise TypeError(f"arms must be a dict of names and ConvergenceStudy, got {arms!r}.")
        for name, arm in arms.items():
            if not isinstance(name, str) or not isinstance(arm, ConvergenceStudy):
                raise TypeError(f"arms must be a dict of names and ConvergenceStudy, got {name!r}: {arm!r}.")
        designs = {(tuple(arm.sizes), arm.n_replications, arm._cells.random_state) for arm in arms.values()}
        if len(designs) > 1:
            raise ValueError("arms must have the same sizes, n_replications and random_state.")
        (sizes, n_replications, random_state), *_ = designs
        some = {} if judged is None else {"judged": _checked_judged(judged, arms)}
        cells = Arms({name: arm._cells for name, arm in arms.items()}, random_state, tuple(some.get("judged", arms)))
        settings = {"arms": {name: arm.settings for name, arm in arms.items()}, "random_state": random_state, **some}
        super().__init__(cells, list(sizes), n_replications, settings)


def _try(cells, n):
    """Refuse at once losses that fail on the truth itself, and a start that the model cannot take."""
    truth, model, fitter, start, losses, random_state, n_experts = cells
    remark = evaluate(losses, truth.params, truth)[1]
    if remark:
        raise ValueError(f"losses: tried on the truth's own parameters: {remark.removeprefix('; ')}.")
    if start is None:
        return
    params = start(truth, n_experts, n, np.random.default_rng(random_state))
    if isinstance(fitter, Solver):
        columns = np.arange(truth.n_features)
        task = Task(model, None, n_experts, Scaling.identity(columns, columns))
        FromParams(params).propose(task, None)
    elif not isinstance(params, MoEParams) or n_experts_of(params) != n_experts:
        raise ValueError(f"start must return MoEParams of {n_experts} experts, got {params!r}.")


def _checked_judged(judged, arms):
    """Return the names of the arms that are held against the truth."""
    known = isinstance(judged, list | tuple) and all(isinstance(name, str) and name in arms for name in judged)
    if not known or not judged:
        raise ValueError(f"judged must be names of arms, some of {', '.join(arms)}, got {judged!r}.")
    return list(judged)


def _described(cells):
    """Return what determines the record of a cell, as JSON has it."""
    truth, model, fitter, start, losses, random_state, n_experts = cells
    return {
        "truth": described(truth.describe()),
        "model": None if model is None else [described(model.gate), described(model.expert)],
        "fitter": described(fitter, () if isinstance(fitter, Solver) else ("random_state",)),  # which cells set
        "n_experts": n_experts,
        "start": _described_start(start, truth, n_experts),
        "losses": probed_losses(losses, truth, n_experts),
        "random_state": random_state,
    }


def _computed(cells, todo, n_jobs):
    """Yield lists of records as they are computed.

    Batches are cut when they are handed out. Cells come by falling size, so the time of the last ones seen is an upper
    bound for those to come, and a batch takes at most about as long as is wanted.
    """
    cell_seconds = np.inf

    def batches():
        left = iter(todo)
        while batch := list(itertools.islice(left, max(1, min(_LARGEST_BATCH, int(_BATCH_SECONDS / cell_seconds))))):
            yield batch

    parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    outputs = parallel(delayed(run_batch)(cells, batch) for batch in batches())
    try:
        for records, seconds in outputs:
            cell_seconds = seconds / len(records)
            yield records
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # work in progress that nobody waits for any more
            outputs.close()


def _cost(cells):
    return sum(n + _FIXED_COST for n, _ in cells)


def _bar(cells, todo):
    total = _cost(cells)
    return progress_bar(total, total - _cost(todo))


def _warn_of_failures(records):
    failed = [record for record in records if FAILED in record.status]
    if failed:
        n, replication = failed[0].address
        warnings.warn(
            f"errors in {len(failed)} of {len(records)} cells, for instance at n={n}, replication={replication}: "
            f"{failed[0].status}",
            stacklevel=3,
        )


def _checked_sizes(sizes):
    try:
        sizes = np.atleast_1d(sizes).tolist()
    except ValueError:
        raise TypeError(f"sizes must be a sequence of integers, got {sizes!r}.") from None
    if not sizes:
        raise ValueError("sizes is empty: give at least one number of rows.")
    for n in sizes:
        check_number(n, "sizes", 2, integer=True)
    if len(set(sizes)) < len(sizes):
        raise ValueError(f"sizes must differ from each other, got {sizes}; use n_replications for more fits of a size.")
    return sizes


def _checked_fitter(fitter, truth, n_experts):
    """Return the number of experts to be fitted."""
    is_estimator = isinstance(fitter, MixtureEstimator)
    if not is_estimator and not isinstance(fitter, Solver):
        hint = f" Call the class: {fitter.__name__}()." if isinstance(fitter, type) else ""
        raise TypeError(f"fitter must be an unfitted estimator of smoe or a Solver object, got {fitter!r}.{hint}")
    if n_experts is None:
        n_experts = fitter.n_experts if is_estimator else truth.n_experts
    check_number(n_experts, "n_experts", 1, integer=True)
    return int(n_experts)


def _checked_model(fitter, truth, model, n_experts):
    """Return the model that a solver fits; an estimator has its own."""
    if not isinstance(fitter, Solver):
        if model is not None:
            raise ValueError("model: an estimator has a model of its own; leave model out or give a Solver.")
        return None
    model = truth.model if model is None else model
    if not isinstance(model, MixtureOfExperts):
        raise TypeError(f"model must be a smoe.mixture.MixtureOfExperts, got {model!r}.")
    model.gate.check(n_experts)
    model.expert.check()
    check_supports(fitter, model)
    return model


def _resolved_start(start, fitter):
    """Return the callable, or None for the estimator's own starts."""
    if isinstance(start, str) and start == "near_truth":
        return near_truth
    if isinstance(start, str) and start == "data":
        if isinstance(fitter, Solver):
            raise ValueError("start='data' needs an estimator, which finds starts; a Solver needs start='near_truth'.")
        return None
    if not callable(start):
        raise ValueError(f"start must be 'data', 'near_truth' or callable, got {start!r}.")
    return start


def _described_start(start, truth, n_experts):
    """Return a name, or for a function what it gives."""
    if start is None or start is near_truth:
        return "data" if start is None else "near_truth"
    return {"start": described(start), "gives": probed_start(start, truth, n_experts)}
