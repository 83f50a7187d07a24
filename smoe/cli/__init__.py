"""The command line: ``smoe list | run | study | plot | fit | report | compile``. A mistake: one line, exit code 2."""

import argparse
import contextlib
import os
import signal
import sys
import warnings
from importlib import import_module

from smoe.cli import _compile, _fit, _report, _studies
from smoe.cli._shared import complain, one_line

__all__ = ["main"]

_MISTAKE = 2
_SIGNALLED = 128  # and the number of the signal, as shells have it
_BROKEN_PIPE = _SIGNALLED + 13
_ENDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", getattr(signal, "SIGHUP", None): "hung up"}


def main(argv=None):
    """Run a command and return its exit code.

    0, 2 for a mistake of the user, 130 when interrupted (128 and the number of the signal), 141 when nobody reads what
    is printed any more. What a command writes is written before it prints.

    Parameters
    ----------
    argv : list of str or None, default=None
        The arguments, None for those of the process.

    Examples
    --------
    >>> from smoe.cli import main
    >>> main(["list", "topk1-exact"])
    Top-1 gate, as many experts as the truth: T0 with variances 0.3 and 0.4, everything at n^(-1/2).
    ...
    0
    """
    try:
        code = _explained(argv)
    except BrokenPipeError:
        code = _BROKEN_PIPE
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:  # or Python would say so once more when it ends
        _mute()
        if not code and not isinstance(error, BrokenPipeError):
            complain(f"the output is lost: {error}")
        code = code or (_BROKEN_PIPE if isinstance(error, BrokenPipeError) else _MISTAKE)
    return code


def _explained(argv):
    """Run a command; whatever ends it early gets a line on stderr, but for a broken pipe."""
    arguments = argparse.Namespace()
    try:
        _parser().parse_args(argv, arguments)
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            _run_command(arguments)
    except SystemExit as end:  # argparse: help, or a mistake that it has explained
        return end.code
    except KeyboardInterrupt:
        number = getattr(arguments, "signal", signal.SIGINT)
        complain(_ENDS[number] + getattr(arguments, "advice", ""))
        return _SIGNALLED + number
    except BrokenPipeError:
        raise
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        complain(error)
        return _MISTAKE
    return 0


def _run_command(arguments):
    try:
        arguments.command(arguments)
    except SystemError as error:
        from smoe._kernels._signals import raise_cause

        raise_cause(error)
        raise


def _mute():
    """Let what is left in the buffer of stdout go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_warning(message, *_, **__):
    complain(f"warning: {message}")


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints fit on one line."""

    def error(self, message):
        self.exit(_MISTAKE, f"{self.prog}: {one_line(message)} (see {self.prog} --help)\n")


def _parser():
    parser = _Parser(prog="smoe", description="Statistical mixtures of experts.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"smoe {import_module('smoe').__version__}")
    commands = parser.add_subparsers(metavar="{list,run,study,plot,fit,report,compile}", required=True)
    _studies.add_commands(commands)
    _fit.add_command(commands)
    _report.add_command(commands)
    _compile.add_command(commands)
    return parser
