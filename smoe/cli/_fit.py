"""``smoe fit``."""

import csv
import io
import warnings
from pathlib import Path

from smoe.cli._shared import add_format, add_parser, integer, say, write_picture
from smoe.texts import printable

__all__ = ["add_command"]


def add_command(commands):
    """Add ``fit`` to the parsers."""
    parser = add_parser(commands, "fit", _fit, "Fit a mixture of experts to the columns of a csv file with a header.")
    parser.add_argument("data", help="the file, also .gz; - for standard input")
    parser.add_argument("--y", required=True, metavar="COL", help="column of the response")
    parser.add_argument(
        "--x",
        metavar="COLS",
        action="append",
        help="columns of the features, with commas, in quotes where a name has one; may be repeated (default: all "
        "others that have a name)",
    )
    parser.add_argument("--experts", type=integer(1), default=2, metavar="K", help="number of experts (default: 2)")
    parser.add_argument("--gate", default="softmax", help="a name from smoe.gates.GATES (default: softmax)")
    parser.add_argument("--top-k", type=integer(1), metavar="K", help="experts per row of the gate top_k")
    parser.add_argument("--seed", type=integer(0), default=0, help="random state (default: 0)")
    parser.add_argument("--sep", type=_separator, help="between the columns, or tab (default: , or ; with --decimal ,)")
    parser.add_argument("--decimal", choices=(".", ","), default=".", help="decimal mark (default: .)")
    parser.add_argument("--encoding", default="utf-8", help="such as latin-1, cp1252, utf-16 (default: utf-8)")
    parser.add_argument("--out", type=Path, help="directory for fit.json and fit.png")
    add_format(parser)


def _separator(text):
    """Return the character; tabs may be spelled, as they are hard to type."""
    return {"tab": "\t", "\\t": "\t"}.get(text, text)


def _fit(arguments):
    from smoe.estimators import MoERegressor
    from smoe.tables import read_columns

    X, y, names = read_columns(
        arguments.data,
        arguments.y,
        _names(arguments.x),
        sep=arguments.sep,
        decimal=arguments.decimal,
        encoding=arguments.encoding,
    )
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
    model = MoERegressor(arguments.experts, gate=_gate(arguments), random_state=arguments.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the summary has the certificate
        model.fit(X, y)
    used = printable(
        f"{arguments.data}, {len(y)} rows: {arguments.y} on {', '.join(name or repr(name) for name in names)}"
    )
    lines = [used, "", model.summary(names)]
    try:  # what can be lost is written first
        if arguments.out is not None:
            _write(arguments, model, X, y, names, lines)
    finally:
        for line in lines:
            say(line)


def _write(arguments, model, X, y, names, lines):
    """Write numbers and picture, and add where they are to the lines."""
    from smoe.saved import as_document, write_document

    numbers, picture = arguments.out / "fit.json", arguments.out / f"fit.{arguments.format}"
    about = {"data": arguments.data, "y": arguments.y, "x": names, "seed": arguments.seed}
    write_document(numbers, as_document(model, **about))
    lines.append(f"numbers: {numbers}")
    write_picture(picture, lambda plots: _figure(plots, model, X, y, names, arguments.y))
    lines.append(f"picture: {picture}")


def _names(texts):
    """Return the names in all of these texts, each a line of a csv file; None if there are no texts."""
    if texts is None:
        return None
    try:
        return [name for text in texts for row in csv.reader(io.StringIO(text + "\n")) for name in row or [""]]
    except csv.Error as error:
        raise ValueError(f"--x: {error}.") from None


def _gate(arguments):
    """Return the gate, with the number of selected experts if there is one."""
    from smoe.gates import GATES, Gate
    from smoe.registry import resolve

    gate = resolve(arguments.gate, GATES, Gate, "--gate")
    if arguments.top_k is None:
        return gate
    if "top_k" not in gate.get_params():
        raise ValueError(f"--top-k: the gate {arguments.gate!r} has none; choose --gate top_k.")
    return gate.set_params(top_k=arguments.top_k)


def _figure(plots, model, X, y, names, y_name):
    """Draw the fit over its first feature, the others at their medians."""
    from smoe.plots._axes import literal

    figure, name = plots.plot_fit(model, X, y, feature=0), literal(names[0])
    figure.axes[0].set_ylabel(literal(y_name))
    figure.axes[1].set_xlabel(name if len(names) == 1 else f"{name} (others at their medians)")
    return figure
