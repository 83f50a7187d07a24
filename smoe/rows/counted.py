"""Passes over rows, counted and shown while they go on."""

import sys
import time

from smoe.rows.source import Source

__all__ = ["Counted"]

_LONG = 2.0  # seconds from which a pass shows how far it is


class Counted(Source):
    """The rows of a source. It counts the passes, and shows on a terminal how far one is that takes long.

    Parameters
    ----------
    source : Source

    Attributes
    ----------
    n_passes : int
        The number of passes that were begun.
    """

    def __init__(self, source):
        self.source, self.n_passes = source, 0
        self.n_rows, self.n_features, self.total_weight = source.n_rows, source.n_features, source.total_weight
        self.names, self.response = source.names, source.response
        self.read, self.take, self.cuts, self.where = source.read, source.take, source.cuts, source.where
        self.whole, self.labels = source.whole, source.labels
        self.grouped, self.spread, self.in_order = source.grouped, source.spread, source.in_order

    @property
    def single(self):
        """The rows one by one."""
        return self.source.single if self.grouped else self

    def run(self, task, parts, n_threads=1):
        """Do what the source does, and tell."""
        self.n_passes += 1
        line = _Line(self.n_passes, len(parts))
        for i, found in enumerate(self.source.run(task, parts, n_threads), 1):
            line.tell(i)
            yield found
        line.end()

    def reduce(self, task, parts, n_threads=1):
        """Do what the source does; one that adds up by itself does not say how far it is."""
        if type(self.source).reduce is Source.reduce:
            return super().reduce(task, parts, n_threads)
        self.n_passes += 1
        return self.source.reduce(task, parts, n_threads)


class _Line:
    """A line on a terminal that says how far a pass is."""

    def __init__(self, number, size):
        self.number, self.size, self.begin, self.shown = number, size, time.monotonic(), False

    def tell(self, done):
        if time.monotonic() - self.begin > _LONG and sys.stderr.isatty():
            print(f"\rpass {self.number}: {done / self.size:4.0%}", end="", file=sys.stderr, flush=True)
            self.shown = True

    def end(self):
        if self.shown:
            print("\r" + " " * 20 + "\r", end="", file=sys.stderr, flush=True)
