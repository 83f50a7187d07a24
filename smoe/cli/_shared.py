"""What the commands share: arguments, lines on the terminal, files."""

import argparse
import contextlib
import io
import json
import os
import sys

from smoe.files import finite, write_whole
from smoe.texts import printable

__all__ = ["add_format", "add_parser", "complain", "integer", "one_line", "say", "write_json", "write_picture"]

_FORMATS = ("png", "pdf", "svg")


def add_parser(commands, name, command, text):
    """Return the parser of a new command."""
    parser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.set_defaults(command=command)
    return parser


def add_format(parser):
    """Add the option for the kind of picture."""
    parser.add_argument("--format", choices=_FORMATS, default="png", help="of the picture (default: png)")


def integer(least):
    """Return a converter of text to integers from here on."""

    def convert(text):
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return convert


def one_line(message):
    """Return text for one line of a terminal."""
    return printable(" ".join(str(message).split()))


def say(text):
    """Print lines; what the terminal cannot show is escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(printable(text, "\n").encode(encoding, "backslashreplace").decode(encoding))


def complain(message):
    """Print a line on stderr, if anybody listens."""
    with contextlib.suppress(OSError):
        print(f"smoe: {one_line(message)}", file=sys.stderr, flush=True)


def write_json(path, value):
    """Write a file of JSON, whole or not at all."""
    write_whole(path, (json.dumps(finite(value), indent=2, allow_nan=False) + "\n").encode())


def write_picture(path, draw):
    """Save the figure that ``draw(plots)`` returns. What draws is loaded late: it is slow and need not be there."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    try:
        import smoe.plots as plots
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install smoe[plots]") from None
    figure, content = draw(plots), io.BytesIO()
    with plots.plt.rc_context({"pdf.fonttype": 42}):  # publishers refuse type 3
        figure.savefig(content, dpi=150, format=path.suffix[1:])
    plots.plt.close(figure)
    write_whole(path, content.getvalue())
