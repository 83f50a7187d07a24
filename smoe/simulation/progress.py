"""How far something is and how long it will take: rich if it is installed, else tqdm, else plain lines."""

import sys
import time
from contextlib import contextmanager

__all__ = ["progress_bar"]

_EVERY = 5.0  # seconds between plain lines


@contextmanager
def progress_bar(total, done=0, name="study"):
    """Yield ``advance(amount)``; amounts are of work, so that the time left means something."""
    for kind in (_rich, _tqdm, _plain):
        try:
            context = kind(total, done, name)
        except ImportError:
            continue
        with context as advance:
            yield advance
        return


def _rich(total, done, name):
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    progress = Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True))

    @contextmanager
    def shown():
        with progress:
            task = progress.add_task(name, total=total, completed=done)
            yield lambda amount: progress.advance(task, amount)

    return shown()


def _tqdm(total, done, name):
    from tqdm import tqdm

    layout = "{desc} {percentage:3.0f}%|{bar}| {elapsed}, left {remaining}"

    @contextmanager
    def shown():
        with tqdm(total=total, initial=done, desc=name, bar_format=layout, smoothing=0.05) as bar:
            yield bar.update

    return shown()


@contextmanager
def _plain(total, done, name):
    begin = last = time.monotonic()
    at = done

    def advance(amount):
        nonlocal at, last
        at += amount
        now = time.monotonic()
        if now - last >= _EVERY or at >= total:
            last, left = now, (now - begin) * (total - at) / max(at - done, 1)
            print(f"{name}: {100 * at / total:.0f} % done, about {left:.0f} s left", file=sys.stderr, flush=True)

    yield advance
