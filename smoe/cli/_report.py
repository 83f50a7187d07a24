"""``smoe report``."""

from pathlib import Path

from smoe.cli._shared import add_parser, say
from smoe.optional import needed
from smoe.texts import printable

__all__ = ["add_command"]


def add_command(commands):
    """Add ``report`` to the parsers."""
    parser = add_parser(commands, "report", _report, "Write a fit into one page of HTML that opens offline.")
    parser.add_argument("fit", help="a file of smoe fit or of model.save")
    parser.add_argument("--data", help="a csv file with a header: rows for the diagnosis and the pictures")
    parser.add_argument("--y", metavar="COL", help="column of the response (default: that of the fit)")
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="the page (default: report.html)")


def _report(arguments):
    from smoe.estimators import load
    from smoe.report import write_report
    from smoe.saved import read_document
    from smoe.tables import read_columns

    model, about = load(arguments.fit), read_document(arguments.fit)
    learnt = getattr(model, "feature_names_in_", None)
    names = about.get("x") if learnt is None else list(learnt)
    X = y = None
    if arguments.data is not None:
        response = arguments.y or about.get("y") or model.fitted_.response
        if names is None or response is None:
            raise ValueError(f"{arguments.fit} has no names of columns, so --data has nothing to be matched with.")
        X, y, _ = read_columns(arguments.data, response, names)
        X = X if learnt is None else _frame(X, names)
    title = printable(f"{about.get('y') or model.fitted_.response or 'y'}: {model.fitted_.title}")
    write_report(arguments.out, model, X, y, names, title)
    say(f"report: {arguments.out}")


def _frame(X, names):
    """Return rows with the names that a fit to a data frame asks for."""
    return needed("pandas", "--data for a fit to a data frame").DataFrame(X, columns=names)
