"""A fit as one page of HTML that opens offline: summary, diagnosis, pictures."""

import base64
import html
import io
import os

from smoe.files import write_whole
from smoe.optional import needed
from smoe.validation import check_path

__all__ = ["write_report"]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
h1, p { overflow-wrap: anywhere; }
pre { overflow-x: auto; background: #f6f6f6; padding: 0.8rem; font-size: 0.85rem; line-height: 1.35; }
img { max-width: 100%; height: auto; }
.good { color: #176117; } .doubt { color: #8f2d00; }
"""


def write_report(path, model, X=None, y=None, names=None, title="Mixture of experts"):
    """Write what there is to see of a fit into one file.

    Parameters
    ----------
    path : str or path
        Written whole or not at all.
    model : estimator
        Fitted.
    X, y : array-like, default=None
        Rows, of the fit or others, for the diagnosis and for pictures of data; None for a report without them.
    names : list of str or None, default=None
        What to call the columns of X.
    title : str
        The heading.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    check_path(path)
    os.environ.setdefault("MPLBACKEND", "Agg")
    needed("matplotlib", "a report", "'smoe[plots]'")
    from smoe import plots

    good = "good" if model.converged_ else "doubt"
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f'<p>Certificate: <strong class="{good}">{html.escape(model.status_)}</strong></p>',
        _section("Summary", _text(model.summary(names))),
        _section("Slopes", _picture(plots, "slopes", lambda: plots.plot_coefficients(model, names=names))),
    ]
    if X is not None:
        diagnosis = model.diagnose(X, y, random_state=0)
        numbers = getattr(model, "response_kind", "numbers") == "numbers"
        parts.append(_section("Diagnosis", _text(diagnosis)))
        parts.append(_section("Residuals", _picture(plots, "residuals", lambda: plots.plot_diagnostics(diagnosis))))
        if numbers:
            parts.append(_section("Fit", _picture(plots, "fit", lambda: _over_first(plots, model, X, y, names))))
    body = "\n".join(parts)
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
    page = f"<!doctype html>\n<html lang=en><head>{head}</head>\n<body>\n{body}\n</body></html>\n"
    write_whole(path, page.encode())


def _over_first(plots, model, X, y, names):
    """Draw the fit over its first feature, called by its name."""
    figure = plots.plot_fit(model, X, y, feature=0)
    if names is not None:
        figure.axes[-1].set_xlabel(str(names[0]).replace("$", r"\$"))
    return figure


def _section(heading, content):
    return f"<h2>{heading}</h2>\n{content}"


def _text(value):
    return f"<pre>{html.escape(str(value))}</pre>"


def _picture(plots, name, draw):
    """Return a picture within the page, or why there is none: not every family has every picture."""
    try:
        figure = draw()
    except (ValueError, TypeError, NotImplementedError) as error:
        return f"<p>No picture: {html.escape(str(error))}</p>"
    content = io.BytesIO()
    figure.savefig(content, dpi=130, format="png", bbox_inches="tight")
    plots.plt.close(figure)
    return f'<img alt="{name}" src="data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}">'
