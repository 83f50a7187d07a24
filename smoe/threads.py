"""Threads: rows shared by several, matrices left to one, and exceptions of signal handlers that find their way out."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ContextDecorator
from functools import cache
from itertools import islice
from threading import RLock

from threadpoolctl import ThreadpoolController

from smoe._kernels._signals import raise_cause

__all__ = ["blas_controller", "driving", "spread"]

_AHEAD = 3  # tasks of each thread that are under way or done before their turn


def spread(task, items, n_threads):
    """Yield task(item) in the order of the items; few results wait for the one before, for they may be large."""
    if n_threads == 1 or len(items) <= 1:
        yield from map(task, items)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        left = iter(items)
        waiting = deque(pool.submit(task, item) for item in islice(left, _AHEAD * n_threads))
        try:
            while waiting:
                found = waiting.popleft().result()
                waiting.extend(pool.submit(task, item) for item in islice(left, 1))
                yield found
        finally:
            for future in waiting:
                future.cancel()


@cache
def blas_controller():
    """Return the switch of the threads of linear algebra; finding the libraries takes milliseconds."""
    return ThreadpoolController()


@cache
def _libraries():
    return blas_controller().select(user_api="blas").lib_controllers


class _Driving(ContextDecorator):
    """A context, or decorator, for whoever drives kernels.

    Linear algebra has one thread: matrices are small, and threads of BLAS wait for one another as soon as anything
    else runs. The setting belongs to the process, so that the first who comes saves it and the last restores it. What a
    signal handler raises in compiled code comes out as it was raised.
    """

    def __init__(self):
        self._lock, self._depth, self._saved = RLock(), 0, []

    def __enter__(self):
        with self._lock:
            if not self._depth:
                self._saved = [(library, n) for library in _libraries() if (n := library.num_threads) != 1]
                for library, _ in self._saved:
                    library.set_num_threads(1)
            self._depth += 1
        return self

    def __exit__(self, kind, error, traceback):
        with self._lock:
            self._depth -= 1
            if not self._depth:
                for library, n in self._saved:
                    library.set_num_threads(n)
        if isinstance(error, SystemError):
            raise_cause(error)


driving = _Driving()
