"""Signals and compiled code: neither numba nor what it has compiled can stand an exception out of a signal handler."""

import functools
import gc
import signal
import threading
from contextlib import contextmanager

__all__ = ["raise_cause", "signals_held", "uncollected", "undisturbed"]


def raise_cause(error):
    """Raise what a signal handler raised in compiled code, which makes a chain of SystemErrors of it, if it did."""
    cause = error
    while isinstance(cause, SystemError):
        cause = cause.__cause__
    if cause is not None and cause is not error:
        raise cause from None


@contextmanager
def signals_held():
    """Let the signals that Python handles wait until the end of this context; other threads never get them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: handler for number in signal.valid_signals() if callable(handler := signal.getsignal(number))}
    came = []
    for number in handlers:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(came):
            signal.raise_signal(number)


@contextmanager
def uncollected():
    """Let garbage wait until the end of this context: a compiler keeps most of what it makes, and looking is dear."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def undisturbed(dispatcher):
    """Hold signals and garbage collection back while numba compiles a kernel or loads it.

    An exception out of a signal handler breaks numba's registries.
    """
    if not hasattr(dispatcher, "_compile_for_args"):  # plain Python
        return dispatcher
    compile_for = dispatcher._compile_for_args

    @functools.wraps(compile_for)
    def compile_undisturbed(*args, **kwargs):
        with signals_held(), uncollected():
            return compile_for(*args, **kwargs)

    dispatcher._compile_for_args = compile_undisturbed
    return dispatcher
