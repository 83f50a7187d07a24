"""What a fit has done so far, on disk: a fit that was killed goes on from there.

A search is a sequence of pieces of work (a start screened, a leader finished) that is the same each time for the same
settings, rows and state of the generator. So it is enough to keep the state and what the pieces have found, by the
parameters that they began with: the next fit goes the same way and does again only what costs little. Of a piece under
way the best parameters are kept.
"""

import hashlib
import pickle
import threading
import time
from pathlib import Path

import numpy as np

from smoe.files import write_whole
from smoe.mixture import Curvature, Statistics
from smoe.params import MoEParams, flatten

__all__ = ["Checkpoint", "Interrupted", "fingerprint"]

_EVERY = 5.0  # seconds between two writings; what takes less is not worth a file
_MAGIC = b"smoe checkpoint 1\n"
_FIRST = 100  # rows that are compared themselves; of all others the working coordinates tell


class Interrupted(KeyboardInterrupt):  # noqa: N818 - it is no error either
    """Ctrl-C in a fit that had found something: ``found`` is what `smoe.search.search` returns."""

    def __init__(self, found):
        super().__init__()
        self.found = found


def fingerprint(blocks):
    """Return a digest of the rows of a fit: how many, the first ones, and the working coordinates of all."""
    source, scaling = blocks.source, blocks.scaling
    first = source.take(np.arange(min(_FIRST, source.n_rows)))
    views = [part for view in (scaling.gate, scaling.expert) for part in (view.columns, view.shift, view.scale)]
    numbers = [source.n_rows, source.total_weight, *first[:3], *views, scaling.y_shift, scaling.y_scale]
    digest = hashlib.sha256()
    for values in numbers:
        rounded = np.zeros(0) if values is None else np.asarray(values, dtype=np.float32)  # sums differ by rounding
        digest.update(np.ascontiguousarray(rounded).tobytes())
    return digest.hexdigest()


class Checkpoint:
    """What a search has found, in memory, and in a file if there is a path; `search` asks it before it works.

    Parameters
    ----------
    path : path or None
    settings : dict
        Of the estimator, as JSON has them.
    rows : str
        The `fingerprint` of the rows.
    rng : Generator
        It is set back to where it was when the fit that is in the file began.

    Raises
    ------
    ValueError
        The file is no checkpoint, or one of another fit.
    """

    def __init__(self, path=None, settings=None, rows="", rng=None):
        self.path = None if path is None else Path(path)
        self._lock, self._written = threading.Lock(), time.monotonic()
        self._done, self.under_way, self._before = {}, {}, {}
        if self.path is None:
            return
        self._known = {"settings": settings, "rows": rows, "state": rng.bit_generator.state}
        if self.path.exists():
            self._resume(rng)
        else:
            self.write()  # a folder that is not there, or not ours, is told at once

    def _resume(self, rng):
        found = _read(self.path)
        _refuse_other(self.path, found, self._known)
        rng.bit_generator.state = self._known["state"] = found["state"]
        self._done, self._before = found["done"], found["under_way"]

    def piece(self, function, item):
        """Return function(item), or what is known of it; an item is parameters, or has them beside others."""
        if self.path is None:
            return function(item)
        key = function.__qualname__, _key(item)
        if key not in self._done:
            found = function(item)
            with self._lock:
                self._done[key] = found
            self._write_now_and_then()
        return self._done[key]

    def begun(self, params):
        """Return the best parameters that a run from these ones had reached, or these."""
        return self._before.get(_key(params), (None, params))[1]

    def watched(self, model, blocks, params):
        """Return the same rows, whose passes tell how far the run from these parameters is."""
        key = _key(params)

        def note(here, sums):
            value = model.objective(here, sums, blocks.total_weight)
            if value > self.under_way.get(key, (-np.inf,))[0]:
                with self._lock:
                    self.under_way[key] = value, here
                self._write_now_and_then()

        return _Watched(blocks, note)

    def _write_now_and_then(self):
        if self.path is not None and time.monotonic() - self._written >= _EVERY:
            self.write()

    def write(self):
        """Write the file, if there is a path, so that there always is a whole one."""
        if self.path is None:
            return
        with self._lock:
            state = {**self._known, "done": self._done, "under_way": {**self._before, **self.under_way}}
            write_whole(self.path, _MAGIC + pickle.dumps(state))
            self._written = time.monotonic()

    def remove(self):
        """Remove the file of a fit that has come to its end."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


class _Watched:
    """Blocks that tell of each pass which adds up a log-likelihood."""

    def __init__(self, blocks, note):
        self._blocks, self._note = blocks, note

    def __getattr__(self, name):
        return getattr(self._blocks, name)

    def __len__(self):
        return len(self._blocks)

    def sum(self, visit, params, *args):
        found = self._blocks.sum(visit, params, *args)
        if isinstance(params, MoEParams) and isinstance(found, Statistics | Curvature):
            self._note(params, found)
        return found


def _key(item):
    params, rest = (item, ()) if isinstance(item, MoEParams) else (item.params, item._replace(params=None))
    return hashlib.sha256(flatten(params).tobytes() + repr(rest).encode()).hexdigest()


def _read(path):
    data = path.read_bytes()
    if not data.startswith(_MAGIC):
        raise ValueError(f"checkpoint: {path} is there and no checkpoint of this version of smoe; name another file.")
    return pickle.loads(data[len(_MAGIC) :])


def _refuse_other(path, found, wanted):
    """Raise ValueError for a checkpoint of other settings or rows."""
    theirs, ours = found["settings"], wanted["settings"]
    other = [name for name in {**theirs, **ours} if theirs.get(name, path) != ours.get(name, path)]
    what = f"settings ({', '.join(other)})" if other else "rows" if found["rows"] != wanted["rows"] else ""
    if what:
        raise ValueError(f"checkpoint: {path} is of a fit with other {what}; delete it, or name another file.")
