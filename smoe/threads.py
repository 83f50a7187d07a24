"""Rows shared by threads: what comes out does not depend on how many there are."""

from concurrent.futures import ThreadPoolExecutor

__all__ = ["spread"]


def spread(task, items, n_threads):
    """Yield task(item) in the order of the items."""
    if n_threads == 1 or len(items) <= 1:
        yield from map(task, items)
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            yield from pool.map(task, items)
