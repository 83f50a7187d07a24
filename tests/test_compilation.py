"""Compiled kernels where nothing can be written, where files are damaged, and where signals come in between."""

import gc
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numba
import numpy as np
import pytest
from sklearn.base import clone

from helpers import interrupt_of_compiled_code, quietly
from smoe import MoERegressor
from smoe._kernels import _cache
from smoe._kernels._jit import inner, kernel
from smoe._kernels._signals import raise_cause, signals_held
from smoe._kernels.posterior import posterior, softmax
from smoe.inference import bootstrap
from smoe.mixture import MixtureOfExperts
from smoe.solvers import EM
from smoe.threads import driving

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")

# A package with one kernel, so that there is little to compile.
MODULE = """
from smoe._kernels._jit import kernel

@kernel
def inner(x):
    return 2.0 * x

@kernel
def twice(x):
    return inner(x) + 0.0
"""
# Who is root may write everywhere: permissions are looked at here as for anybody else.
PROGRAM = """
import os, sys, warnings
from smoe._kernels import _cache

_cache._PATIENCE = 0.0
closed = {closed!r}.split(",") if {closed!r} else []
reach = _cache.tempfile.TemporaryFile
def deny(*args, **kwargs):
    if any(str(kwargs["dir"]).startswith(path) for path in closed):
        raise PermissionError("read-only")
    return reach(*args, **kwargs)
_cache.tempfile.TemporaryFile = deny
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from tiny import twice
    assert twice(1.5) == 3.0
print(sum(twice.stats.cache_hits.values()), sum(twice.stats.cache_misses.values()))
for warning in caught:
    print(warning.category.__name__, warning.message)
"""


def run(source, cache, closed=""):
    """Run the program; return hits and misses of the cache, the warnings, and what came on stderr."""
    home = source.parent / "home"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), *sys.path]), "NUMBA_CACHE_DIR": str(cache)}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    command = [sys.executable, "-c", PROGRAM.format(closed=closed)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first, *warned = done.stdout.splitlines()
    return tuple(map(int, first.split())), warned, done.stderr


def stored(folder):
    return sorted(folder.rglob("*.nb[ic]"))


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A source, the directory in which its kernels are kept, and what `run` said when they were compiled."""
    source = tmp_path_factory.mktemp("tiny") / "source"
    source.mkdir()
    (source / "tiny.py").write_text(MODULE)
    return source, source.parent / "cache", run(source, source.parent / "cache")


def test_kernels_are_kept_and_the_user_is_told_once(warm):
    _, cache, (counts, warned, told) = warm
    assert counts == (0, 1) and warned == []
    assert told.count("\n") == 1 and told.startswith("smoe: compiling for this machine, once")
    assert len(stored(cache)) == 4


def test_the_user_is_told_once_and_of_what_takes_long_alone(monkeypatch, capsys):
    class Told:
        compiling, last, since, said, silent = 0, -float("inf"), 0.0, False, False

    delays, now = [], [100.0]
    timer = type("Timer", (), {"start": lambda self: None})
    monkeypatch.setattr(_cache, "_told", Told)
    monkeypatch.setattr(_cache.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(_cache.threading, "Timer", lambda delay, _: (delays.append(delay), timer())[1])
    _cache._begin("here")
    Told.compiling, Told.last, now[0] = 0, 100.5, 103.0
    _cache._say()
    _cache._begin("here")  # goes on, after other work
    assert delays == [2.0, 0.0] and capsys.readouterr().err == ""
    _cache._say()
    _cache._say()
    Told.compiling, Told.last = 0, 104.0
    _cache._begin("here")
    assert len(delays) == 2 and capsys.readouterr().err.count("compiling for this machine, once") == 1
    Told.compiling, now[0] = 0, 110.0
    _cache._begin("here")
    assert delays[2:] == [2.0] and not Told.said


def test_nowhere_to_write(warm):
    source, cache, _ = warm
    before = stored(source.parent)
    counts, warned, told = run(source, "/proc/nope", closed=str(source.parent))
    assert counts == (0, 1) and told == ""
    assert len(warned) == 1 and warned[0].startswith("RuntimeWarning") and "NUMBA_CACHE_DIR" in warned[0]
    assert stored(source.parent) == before


def test_a_warm_directory_is_used_though_only_others_can_be_written(warm):
    source, cache, _ = warm
    before = [(path, path.stat().st_mtime_ns) for path in stored(source.parent)]
    assert run(source, cache, closed=str(cache)) == ((1, 0), [], "")
    assert [(path, path.stat().st_mtime_ns) for path in stored(source.parent)] == before


def test_damaged_files_are_written_anew(warm, tmp_path):
    source, cache, _ = warm
    shutil.copytree(cache, tmp_path / "cache")
    (index,) = (tmp_path / "cache").rglob("*.inner-*.nbi")
    (data,) = (tmp_path / "cache").rglob("*.twice-*.nbc")
    index.write_bytes(b"")
    data.write_bytes(b"\x80nonsense")
    counts, warned, _ = run(source, tmp_path / "cache")
    assert counts == (0, 1) and warned == []
    assert len(stored(tmp_path / "cache")) == 4
    assert pickle.loads(index.read_bytes()) == numba.__version__
    assert data.read_bytes() != b"\x80nonsense"


def test_damaged_files_that_must_stay_are_named(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    kernel_cache = _cache.KernelCache(_cache.keep)  # of any function

    class Store:
        cache_path = str(cache)

        def load_overload(self, *_):
            raise EOFError("Ran out of input")

        def flush(self):
            raise PermissionError

    monkeypatch.setitem(kernel_cache.__dict__, "_stores", [Store()])
    monkeypatch.setattr(_cache._told, "warnings", set())
    monkeypatch.setattr(_cache._told, "compiling", 0)
    with pytest.warns(RuntimeWarning, match=f"kernels in {cache} cannot be read .EOFError.*delete that directory"):
        assert kernel_cache.load_overload(None, None) is None
    assert kernel_cache.load_overload(None, None) is None  # one warning will do


def test_a_full_disk_is_a_warning(tmp_path, monkeypatch):
    class Store:
        cache_path = str(tmp_path)

        def save_overload(self, *_):
            raise OSError(28, "No space left on device")

    kernel_cache = _cache.KernelCache(_cache.keep)
    monkeypatch.setitem(kernel_cache.__dict__, "_stores", [Store()])
    monkeypatch.setattr(_cache._told, "warnings", set())
    monkeypatch.setattr(_cache._told, "compiling", 1)
    with pytest.warns(RuntimeWarning, match="No space left.*NUMBA_CACHE_DIR"):
        kernel_cache.save_overload(None, None)


def test_the_stamp_is_of_all_kernels_together(tmp_path, monkeypatch):
    """A kernel contains those that it calls: one that is stored must not outlive a change of these."""
    stores = [store for function in (posterior, softmax) for store in function._cache._stores]
    assert len({store._impl.locator.get_source_stamp()[1] for store in stores}) == 1
    sources = _cache._sources.__wrapped__()
    monkeypatch.setattr(_cache.resources, "files", lambda _: tmp_path)
    for path in Path(_cache.__file__).parent.glob("*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert _cache._sources.__wrapped__() == sources
    with (tmp_path / "elementary.py").open("a") as file:
        file.write("# changed")
    assert _cache._sources.__wrapped__() != sources


@pytest.mark.parametrize("cause", [KeyboardInterrupt(), TimeoutError("late"), ZeroDivisionError()])
def test_what_a_handler_raised_in_compiled_code_comes_out(cause):
    with pytest.raises(type(cause)) as caught, driving:
        raise interrupt_of_compiled_code(cause)
    assert caught.value is cause


def test_a_system_error_of_its_own_stays_one():
    error = SystemError("of nobody's making")
    raise_cause(error)
    with pytest.raises(SystemError) as caught, driving:
        raise error
    assert caught.value is error


def test_a_fit_raises_what_the_handler_raised(rng):
    class Late(EM):
        def solve(self, model, blocks, params):
            raise interrupt_of_compiled_code(TimeoutError("late"))

    with pytest.raises(TimeoutError, match="late"):
        MoERegressor(2, solver=Late(), n_init=1).fit(rng.normal(size=(20, 1)), rng.normal(size=20))


def test_signals_wait_for_the_compiler(monkeypatch):
    """A handler's exception must not come out of numba's midst, but must come."""
    finished, compiled = [], kernel(lambda x: x + 1.0)
    compile_result = compiled.compile

    def slow(sig):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)  # a signal is handled between any two instructions
        out = compile_result(sig)
        finished.append(True)
        return out

    monkeypatch.setattr(compiled, "compile", slow)
    heeded = signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the suite is run by
    try:
        with pytest.raises(KeyboardInterrupt):
            compiled(1.0)
    finally:
        signal.signal(signal.SIGINT, heeded)
    assert finished == [True]
    assert compiled(1.0) == 2.0


def test_an_inner_function_is_compiled_with_the_kernel_that_calls_it():
    half = inner(lambda x: 0.5 * x)
    assert kernel(lambda x: half(x) + 1.0)(3.0) == 2.5
    with pytest.raises(TypeError):
        half(3.0)
    with pytest.raises(TypeError):
        inner(lambda a, b: a + b)(1.0, 2.0)


def test_garbage_waits_for_the_compiler(monkeypatch):
    seen, compiled = [], kernel(lambda x: x + 2.0)
    compile_result = compiled.compile
    monkeypatch.setattr(compiled, "compile", lambda sig: (seen.append(gc.isenabled()), compile_result(sig))[1])
    assert compiled(1.0) == 3.0
    gc.disable()
    try:
        assert compiled(1) == 3.0
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert seen == [False, False]


def test_handlers_are_put_back():
    def handler(*_):
        raise TimeoutError("late")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(TimeoutError, match="late"), signals_held():
            signal.raise_signal(signal.SIGALRM)
            signal.raise_signal(signal.SIGALRM)
        assert signal.getsignal(signal.SIGALRM) is handler
    finally:
        signal.signal(signal.SIGALRM, before)


def test_other_threads_compile_as_they_are():
    out = []
    thread = threading.Thread(target=lambda: out.append(kernel(lambda x: x + 3.0)(1.0)))
    thread.start()
    thread.join()
    assert out == [4.0]


def blas_threads():
    from smoe.threads import blas_controller

    return {library["num_threads"] for library in blas_controller().select(user_api="blas").info()}


@pytest.fixture
def two_threads():
    from threadpoolctl import threadpool_limits

    with threadpool_limits(2, "blas"):
        if blas_threads() != {2}:
            pytest.skip("this BLAS has one thread")
        yield


def test_blas_has_one_thread_while_kernels_are_driven(two_threads, monkeypatch, rng):
    seen = []
    for name in ("statistics", "curvature", "mean", "mean_and_std", "gate_proba", "posterior"):
        method = getattr(MixtureOfExperts, name)
        monkeypatch.setattr(
            MixtureOfExperts, name, lambda *a, method=method, **k: (seen.append(blas_threads()), method(*a, **k))[1]
        )
    X = rng.normal(size=(80, 1))
    y = np.abs(X[:, 0]) + 0.5 * rng.normal(size=80)
    model = quietly(MoERegressor(2, n_init=2, random_state=0).fit, X, y)
    seen.clear()
    for ask in (
        lambda: quietly(clone(model).fit, X, y),
        lambda: model.predict(X, return_std=True),
        lambda: quietly(model.covariance, "sandwich", X, y),
        lambda: quietly(bootstrap, model, X, y, n_resamples=2, random_state=0),
        lambda: model.loglik(X, y),
    ):
        ask()
        assert seen and set(map(tuple, seen)) == {(1,)} and blas_threads() == {2}
        seen.clear()


def test_the_last_who_drives_gives_the_threads_back(two_threads):
    with driving:
        with driving:
            assert blas_threads() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == {2}
    with pytest.raises(ValueError), driving:
        raise ValueError
    assert blas_threads() == {2}
