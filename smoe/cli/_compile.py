"""The command that compiles ahead."""

from smoe.cli._shared import add_parser, say

__all__ = ["add_command"]


def add_command(commands):
    """Add ``compile``."""
    add_parser(commands, "compile", _compile, "Compile everything common for this machine, ahead of the first fit.")


def _compile(arguments):
    from smoe._kernels._cache import be_silent, directory
    from smoe.precompile import ESTIMATORS, precompile
    from smoe.simulation.progress import progress_bar

    be_silent()
    say("compiling for this machine; this may take minutes")
    with progress_bar(len(ESTIMATORS), name="compile") as advance:
        for _ in precompile():
            advance(1)
    say(f"kept in {directory()}" if directory() else "kept nowhere: set NUMBA_CACHE_DIR to a directory for it")
