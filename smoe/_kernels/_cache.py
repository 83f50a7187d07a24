"""Where compiled kernels are kept, and a word to the user when there is something to compile.

numba looks at one directory, the first it can write to, refuses to work where there is none, and stops at a damaged
file. Here every directory is looked at, whether it can be written or not; a damaged file is an empty one; and where
nothing can be written, kernels are compiled for the process alone.
"""

import hashlib
import os
import sys
import tempfile
import threading
import time
import warnings
from functools import cache, cached_property
from importlib import resources

from numba.core import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, NullCache

__all__ = ["KernelCache", "be_silent", "directory", "keep"]

_PATIENCE = 2.0  # seconds of compilation before the user is told
_PAUSE = 5.0  # seconds without compilation after which the user is told again


def keep(dispatcher):
    """Give a kernel its cache; plain Python functions need none."""
    if hasattr(dispatcher, "_cache"):
        dispatcher._cache = KernelCache(dispatcher.py_func)
    return dispatcher


class KernelCache(NullCache):
    """The compiled forms of one function, in all directories in which numba may keep them.

    Parameters
    ----------
    py_func : function
    """

    def __init__(self, py_func):
        self._py_func = py_func

    @cached_property
    def _stores(self):
        """Numba's own caches, in its order; looked for late, because that takes a while."""
        return list(_stores_of(self._py_func))

    @property
    def _store(self):
        """The first that can be written to, or None."""
        return next((store for store in self._stores if _is_writable(store.cache_path)), None)

    @property
    def cache_path(self):
        """The directory in which new results are kept, or None."""
        return None if self._store is None else self._store.cache_path

    def load_overload(self, sig, target_context):
        """Return what is kept, or None: it must then be compiled, and the user is told."""
        for store in self._stores:
            try:
                found = store.load_overload(sig, target_context)
            except Exception as error:  # a damaged file raises whatever comes to pickle's mind
                _empty(store, error)
                continue
            if found is not None:
                return found
        _begin(self.cache_path)
        return None

    def save_overload(self, sig, data):
        """Keep a result where that is possible."""
        _told.compiling, _told.last = _told.compiling - 1, time.monotonic()
        store = self._store
        if store is None:
            return
        try:
            store.save_overload(sig, data)
        except OSError as error:
            _warn_once(f"compiled kernels cannot be kept ({error}), so that later processes compile again; {_REMEDY}")


class _told:
    """How many kernels are being compiled, when the last was done, since when it goes on, and what the user knows.

    Kernels are compiled within the compilation of those that call them.
    """

    compiling, last, since, said, silent, warnings = 0, -float("inf"), 0.0, False, False, set()


def be_silent():
    """Say nothing of compilation in this process."""
    _told.silent = True


_WORDS = "smoe: compiling for this machine, once; this may take half a minute (python -m smoe compile: all, ahead)"
_REMEDY = "set the environment variable NUMBA_CACHE_DIR to a directory that can be written"


def _begin(path):
    """See to it that the user is told when it takes a while, unless that was said of the kernels just before."""
    if path is None:
        _warn_once(f"smoe compiles for half a minute in every process: its kernels can be kept nowhere; {_REMEDY}")
    _told.compiling += 1
    if path is not None and _told.compiling == 1 and not _told.silent:
        now = time.monotonic()
        if now - _told.last > _PAUSE:
            _told.since, _told.said = now, False
        if not _told.said:
            timer = threading.Timer(max(_told.since + _PATIENCE - now, 0.0), _say)
            timer.daemon = True
            timer.start()


def _say():
    """Tell the user on stderr, if something is being compiled still."""
    if _told.compiling and not _told.said:
        _told.said = True
        print(_WORDS, file=sys.stderr, flush=True)


def _warn_once(message):
    if message not in _told.warnings:
        _told.warnings.add(message)
        warnings.warn(message, RuntimeWarning, stacklevel=2)


def _empty(store, error):
    """Make a damaged store an empty one, to be written anew."""
    try:
        store.flush()
    except OSError:
        kind = type(error).__name__
        _warn_once(f"compiled kernels in {store.cache_path} cannot be read ({kind}: {error}); delete that directory")


@cache
def _is_writable(path):
    try:
        os.makedirs(path, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError:
        return False
    return True


def directory():
    """Return the directory in which kernels are kept, or None where none can be written."""
    from smoe._kernels.posterior import posterior  # any will do

    return getattr(posterior, "_cache", NullCache()).cache_path


def _stores_of(py_func):
    for kind in _kinds():
        try:
            yield kind(py_func)
        except Exception:  # not made for this kind of file (numba: RuntimeError), or the source is nowhere
            continue


@cache
def _kinds():
    """Return numba's cache of functions once for each way to find a directory."""
    if config.__dict__.get("CACHE_LOCATOR_CLASSES"):  # the user has chosen
        return [FunctionCache]
    return [_kind(locator) for locator in CompileResultCacheImpl._locator_classes]


def _kind(locator):
    anywhere = type(locator.__name__, (_Anywhere, locator), {})
    impl = type("KernelCacheImpl", (CompileResultCacheImpl,), {"_locator_classes": [anywhere]})
    return type("KernelStore", (FunctionCache,), {"_impl_class": impl})


class _Anywhere:
    """A way to find a directory that does not ask whether it can be written, and a stamp of all kernels together.

    A kernel has those that it calls within itself; numba's own stamp is of its own file alone.
    """

    def ensure_cache_path(self):
        """Leave this to `_is_writable`."""

    def get_source_stamp(self):
        """Return what tells whether a stored result is of this source."""
        return super().get_source_stamp(), _sources()


@cache
def _sources():
    """Return a digest of the sources of all kernels."""
    files = {file.name: file for file in resources.files("smoe._kernels").iterdir()}
    digest = hashlib.sha256()
    for name in sorted(files):
        if name in ("_inner.py", "_jit.py") or name.endswith(".py") and not name.startswith("_"):
            digest.update(files[name].read_bytes())
    return digest.hexdigest()
