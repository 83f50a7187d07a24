"""The command line, ``python -m smoe``: list, run, plot, fit, warm-up. Mistakes get one stderr line and exit code 2."""

import argparse
import json
import math
import os
import sys
import warnings
from pathlib import Path

__all__ = ["main"]

_RECORDS, _STUDY, _RATES = "records.jsonl", "study.json", "rates.json"
_CENTERS = ("median", "mean")
_MISTAKE = 2
_INTERRUPTED = 130


def main(argv=None):
    """Run a command and return its exit code: 0, 2 for a mistake of the user, 130 when interrupted.

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
        arguments = _parser().parse_args(argv)
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            _run_command(arguments)
    except SystemExit as end:  # argparse: help, or a mistake that it has explained
        return end.code
    except KeyboardInterrupt:
        print("smoe: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        print(f"smoe: {_one_line(error)}", file=sys.stderr)
        return _MISTAKE
    return 0


def _run_command(arguments):
    try:
        arguments.command(arguments)
    except SystemError as error:
        from smoe._kernels._signals import raise_cause

        raise_cause(error)
        raise


def _one_line(message):
    return " ".join(str(message).split())


def _show_warning(message, *_, **__):
    print(f"smoe: warning: {_one_line(message)}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints fit on one line."""

    def error(self, message):
        self.exit(_MISTAKE, f"{self.prog}: {_one_line(message)} (see {self.prog} --help)\n")


def _parser():
    parser = _Parser(prog="smoe", description="Statistical mixtures of experts.", allow_abbrev=False)
    commands = parser.add_subparsers(metavar="{list,run,plot,fit,warm-up}", required=True)
    _add_list(commands)
    _add_run(commands)
    _add_plot(commands)
    _add_fit(commands)
    _add(commands, "warm-up", _warm_up, "Compile everything common for this machine, ahead of the first fit.")
    return parser


def _add(commands, name, command, text):
    parser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.set_defaults(command=command)
    return parser


def _integer(least):
    def convert(text):
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return convert


def _jobs(text):
    value = _integer(-1)(text)
    if value == 0:
        raise argparse.ArgumentTypeError("0 processes cannot work; -1 is as many as there are cores")
    return value


def _write_json(path, value):
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _draw(path, draw):
    """Save the figure that ``draw(plots)`` returns. What draws is loaded late: it is slow and need not be there."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    try:
        import smoe.plots as plots
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install smoe[plots]") from None
    figure = draw(plots)
    figure.savefig(path, dpi=150)
    plots.plt.close(figure)
    print(f"picture: {path}")


# list -----------------------------------------------------------------------------------------------------------------


def _add_list(commands):
    parser = _add(commands, "list", _list, "List the convergence studies, or describe one.")
    parser.add_argument("name", nargs="?", help="the study to describe")


def _list(arguments):
    from smoe.simulation import papers

    if arguments.name is None:
        width = max(map(len, papers.STUDIES))
        for name, study in papers.STUDIES.items():
            print(f"{name:<{width}}  {study.description}")
        return
    print(papers.describe(arguments.name))


# run, plot ------------------------------------------------------------------------------------------------------------


def _add_run(commands):
    parser = _add(commands, "run", _run, "Run a convergence study; write records, rates and a picture.")
    parser.add_argument("name", help="a study that 'list' shows")
    parser.add_argument("--scale", default="quick", help="quick, standard or paper (default: quick)")
    parser.add_argument("--start", help="near_truth or data (default: the study's own)")
    parser.add_argument("--seed", type=_integer(0), default=0, help="random state (default: 0)")
    parser.add_argument("--jobs", type=_jobs, default=1, help="number of processes, -1 for all cores (default: 1)")
    parser.add_argument("--out", type=Path, help="directory of the results (default: NAME-SCALE)")
    parser.add_argument("--resume", action="store_true", help="go on with the records that are in --out")


def _run(arguments):
    from smoe.simulation import papers

    study = papers.build(arguments.name, arguments.scale, start=arguments.start, random_state=arguments.seed)
    out = arguments.out or Path(f"{arguments.name}-{arguments.scale}")
    records = out / _RECORDS
    if records.exists() and not arguments.resume:
        raise ValueError(f"{records} is there already: go on with it by --resume, or choose another --out.")
    out.mkdir(parents=True, exist_ok=True)
    print(papers.STUDIES[arguments.name].description)
    print(f"{len(study.sizes)} sizes from {study.sizes[0]} to {study.sizes[-1]}, {study.n_replications} replications")
    if not (out / _STUDY).exists() or not records.exists():
        _write_json(out / _STUDY, {"name": arguments.name, "scale": arguments.scale})
    result = study.run(n_jobs=arguments.jobs, store=records, progress=True)
    _report(result, out, arguments.name, "median", None)


def _add_plot(commands):
    parser = _add(commands, "plot", _plot, "Draw the records of a study again, also while it runs.")
    parser.add_argument("out", type=Path, metavar="DIR", help="a directory that 'run' wrote")
    parser.add_argument("--center", choices=_CENTERS, default="median", help="of each size (default: median)")
    parser.add_argument("--n-min", type=_integer(1), help="smallest size for the slopes")


def _plot(arguments):
    from smoe.simulation import StudyResult

    records, study = arguments.out / _RECORDS, arguments.out / _STUDY
    if not records.is_file():
        raise ValueError(f"there is no {records}; 'run' writes it.")
    result = StudyResult.from_store(records)
    if not result.records:
        raise ValueError(f"{records} has no fits yet.")
    name = _study_name(study) if study.is_file() else None
    _report(result, arguments.out, name, arguments.center, arguments.n_min)


def _study_name(path):
    """Return the name of the study in a file that 'run' wrote."""
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["name"]
    except (ValueError, TypeError, KeyError):
        name = None
    if not isinstance(name, str):
        raise ValueError(f"{path} does not say which study this is; remove it to plot without theory.")
    return name


def _report(result, out, name, center, n_min):
    """Print and write the rates, and draw them."""
    from smoe.simulation import papers

    study = papers.STUDIES.get(name)
    theory, shown = (study.theory, study.shown) if study else ({}, result.losses)
    rates = [rate for loss in result.losses for c in _CENTERS for rate in _rates(result, loss, c, n_min, theory)]
    known = [loss for loss in shown if any(r["loss"] == loss and r["center"] == center for r in rates)]
    if not known and n_min is not None:  # nothing is overwritten by nothing
        raise ValueError(f"no rates: {_why_no_rate(result, shown, center, n_min)}")
    shares = ("share_below_truth", "share_uncertified", "share_failed")
    summary = {"study": name, "fits": len(result.records), "sizes": result.sizes}
    summary |= {share: getattr(result, share) for share in shares}
    _write_json(out / _RATES, {**summary, "rates": rates})
    _print_rates(result, [r for r in rates if r["loss"] in known and r["center"] == center])
    print(f"rates of {len({rate['loss'] for rate in rates})} numbers: {out / _RATES}")
    if not known:
        print(f"no picture: {_why_no_rate(result, shown, center, n_min)}")
    else:
        _draw(out / "rates.png", lambda plots: plots.plot_rates(result, known, theory, center, n_min))


def _rates(result, loss, center, n_min, theory):
    """Return the rate as a dict in a list, or an empty list where there is none."""
    try:
        rate = result.rate(loss, center, n_min)._asdict()
    except ValueError:
        return []
    low, high = rate.pop("interval")
    entries = {"loss": loss, "theory": theory.get(loss), **rate, "low": low, "high": high}
    return [{key: None if isinstance(v, float) and math.isnan(v) else v for key, v in entries.items()}]


def _why_no_rate(result, shown, center, n_min):
    """Return in words why the first loss has no rate."""
    if not shown:
        return "the records have no losses"
    try:
        result.rate(shown[0], center, n_min)
    except ValueError as error:
        return str(error)


def _print_rates(result, rates):
    print(
        f"{len(result.records)} fits: {result.share_below_truth:.1%} less likely than the truth, "
        f"{result.share_uncertified:.1%} uncertified, {result.share_failed:.1%} raised an error"
    )
    width = max((len(rate["loss"]) for rate in rates), default=0)
    for rate in rates:
        interval = "" if rate["low"] is None else f" ({rate['low']:.3f} to {rate['high']:.3f})"
        theory = "" if rate["theory"] is None else f", theory {rate['theory']:g}"
        print(f"{rate['loss']:<{width}}  slope of the {rate['center']} {rate['slope']:.3f}{interval}{theory}")


# fit ------------------------------------------------------------------------------------------------------------------


def _add_fit(commands):
    parser = _add(commands, "fit", _fit, "Fit a mixture of experts to the columns of a csv file with a header.")
    parser.add_argument("data", type=Path, help="the file")
    parser.add_argument("--y", required=True, metavar="COL", help="column of the response")
    parser.add_argument("--x", metavar="COLS", help="columns of the features, with commas (default: all others)")
    parser.add_argument("--experts", type=_integer(1), default=2, metavar="K", help="number of experts (default: 2)")
    parser.add_argument("--gate", default="softmax", help="a name from smoe.gates.GATES (default: softmax)")
    parser.add_argument("--top-k", type=_integer(1), metavar="K", help="experts per row of the gate top_k")
    parser.add_argument("--seed", type=_integer(0), default=0, help="random state (default: 0)")
    parser.add_argument("--out", type=Path, help="directory for fit.json and fit.png")


def _fit(arguments):
    from smoe.estimators import MoERegressor
    from smoe.tables import read_columns

    X, y, names = read_columns(arguments.data, arguments.y, arguments.x and arguments.x.split(","))
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
    model = MoERegressor(arguments.experts, gate=_gate(arguments), random_state=arguments.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the summary has the certificate
        model.fit(X, y)
    print(model.summary(names))
    if arguments.out is None:
        return
    _write_json(arguments.out / "fit.json", _fit_as_json(model, arguments, names))
    print(f"numbers: {arguments.out / 'fit.json'}")
    _draw(arguments.out / "fit.png", lambda plots: _fit_figure(plots, model, X, y, names, arguments.y))


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


def _fit_as_json(model, arguments, names):
    from smoe.simulation.settings import described

    errors = model.standard_errors_
    return {
        "data": str(arguments.data),
        "y": arguments.y,
        "x": names,
        "gate": described(model.gate_),
        "seed": arguments.seed,
        "rows": int(model.n_samples_),
        "loglik": model.loglik_,
        "certified": bool(model.converged_),
        "status": model.status_,
        "n_parameters": model.n_parameters_,
        "params": described(model.params_),
        "standard_errors": None if errors is None else _finite(described(errors)),
    }


def _finite(value):
    """Replace NaN, which JSON has not, by None."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _fit_figure(plots, model, X, y, names, y_name):
    """Draw the fit over its first feature, the others at their medians."""
    figure = plots.plot_fit(model, X, y, feature=0)
    figure.axes[0].set_ylabel(y_name)
    figure.axes[1].set_xlabel(names[0] if len(names) == 1 else f"{names[0]} (others at their medians)")
    return figure


# warm-up --------------------------------------------------------------------------------------------------------------


def _warm_up(arguments):
    from smoe._kernels._cache import be_silent, directory
    from smoe.warm_up import warm_up

    be_silent()
    print("compiling for this machine; this may take minutes", flush=True)
    for name, seconds in warm_up():
        print(f"{name:<40} {seconds:6.1f} s", flush=True)
    print(f"kept in {directory()}" if directory() else "kept nowhere: set NUMBA_CACHE_DIR to a directory for it")
