"""The command that compiles ahead."""

from smoe.cli._shared import add_parser, say

__all__ = ["add_command"]


def add_command(commands):
    """Add ``warm-up``."""
    add_parser(commands, "warm-up", _warm_up, "Compile everything common for this machine, ahead of the first fit.")


def _warm_up(arguments):
    from smoe._kernels._cache import directory
    from smoe.warm_up import warm_up

    say("compiling for this machine; this may take minutes")
    for name, seconds in warm_up():
        say(f"{name:<40} {seconds:6.1f} s")
    say(f"kept in {directory()}" if directory() else "kept nowhere: set NUMBA_CACHE_DIR to a directory for it")
