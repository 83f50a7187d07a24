"""``smoe list``, ``smoe run``, ``smoe study`` and ``smoe plot``: convergence studies."""

import argparse
import json
import re
import signal
from contextlib import contextmanager
from pathlib import Path

from smoe.cli._shared import add_format, add_parser, integer, say, write_json, write_picture

__all__ = ["add_commands"]

_RECORDS, _STUDY, _RATES = "records.jsonl", "study.json", "rates.json"
_CENTERS = ("median", "mean")


def add_commands(commands):
    """Add ``list``, ``run``, ``study`` and ``plot`` to the parsers."""
    _add_list(commands)
    _add_run(commands)
    _add_study(commands)
    _add_plot(commands)


def _jobs(text):
    value = integer(-1)(text)
    if value == 0:
        raise argparse.ArgumentTypeError("0 processes cannot work; -1 is as many as there are cores")
    return value


# list -----------------------------------------------------------------------------------------------------------------


def _add_list(commands):
    parser = add_parser(commands, "list", _list, "List the convergence studies, or describe one.")
    parser.add_argument("name", nargs="?", help="the study to describe")


def _list(arguments):
    from smoe.simulation import papers

    if arguments.name is None:
        width = max(map(len, papers.STUDIES))
        for name, study in papers.STUDIES.items():
            say(f"{name:<{width}}  {study.description}")
        return
    say(papers.describe(arguments.name))


# run ------------------------------------------------------------------------------------------------------------------


def _add_run(commands):
    parser = add_parser(commands, "run", _run, "Run a convergence study; write records, rates and a picture.")
    parser.add_argument("name", help="a study that 'list' shows, or your own as MODULE:OBJECT or FILE.py:OBJECT")
    parser.add_argument("--scale", help="quick, standard or paper (default: quick)")
    parser.add_argument("--start", help="near_truth or data (default: the study's own)")
    parser.add_argument("--seed", type=integer(0), help="random state (default: 0)")
    _add_how(parser)


def _add_study(commands):
    parser = add_parser(commands, "study", _run_file, "Run a convergence study of your own, from a file.")
    parser.add_argument("name", metavar="FILE.py", help="where it is: study = ConvergenceStudy(...), or FILE.py:OBJECT")
    parser.set_defaults(scale=None, start=None, seed=None)
    _add_how(parser)


def _run_file(arguments):
    """Run the object named ``study`` of a file, if no other is named."""
    if ":" not in arguments.name:
        arguments.name += ":study"
    _run(arguments)


def _add_how(parser):
    """Add the options that every study has."""
    parser.add_argument("--jobs", type=_jobs, default=1, help="number of processes, -1 for all cores (default: 1)")
    parser.add_argument("--out", type=Path, help="directory of the results (default: NAME-SCALE)")
    parser.add_argument("--resume", action="store_true", help="go on with the records that are in --out")
    add_format(parser)


def _run(arguments):
    study, title, scale = (_own if ":" in arguments.name else _named)(arguments)
    out = arguments.out or Path("-".join(filter(None, [re.sub(r"[^\w.-]+", "-", arguments.name), scale])))
    records = out / _RECORDS
    if records.exists() and not arguments.resume:
        raise ValueError(f"{records} is there already: go on with it by --resume, or choose another --out.")
    out.mkdir(parents=True, exist_ok=True)
    say(title)
    say(f"{len(study.sizes)} sizes from {min(study.sizes)} to {max(study.sizes)}, {study.n_replications} replications")
    say(f"takes about {_in_words(study.expected_seconds(arguments.jobs))}, judged by one fit")
    if not (out / _STUDY).exists() or not records.exists():
        write_json(out / _STUDY, {"name": arguments.name, "scale": scale})
    with _ends_cleanly(arguments):
        arguments.advice = f"; what was fitted is in {records}: the same command with --resume goes on from there"
        result = study.run(n_jobs=arguments.jobs, store=records, progress=True)
    _report(result, out, arguments.name, "median", None, arguments.format)


def _in_words(seconds):
    """Return a time with one unit."""
    if seconds < 90:
        return f"{max(1.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _named(arguments):
    """Return a study of the library, its title and its scale."""
    from smoe.simulation import papers

    scale, seed = arguments.scale or "quick", arguments.seed or 0
    study = papers.build(arguments.name, scale, start=arguments.start, random_state=seed)
    return study, papers.STUDIES[arguments.name].description, scale


def _own(arguments):
    """Return the user's study, its title and nothing for the scale."""
    from smoe.cli._objects import load
    from smoe.simulation import ComparisonStudy, ConvergenceStudy

    for option in ("scale", "start", "seed"):
        if getattr(arguments, option) is not None:
            raise ValueError(f"--{option} is for the studies that 'list' shows; {arguments.name} has its own settings.")
    study = load(arguments.name)
    kinds = ConvergenceStudy | ComparisonStudy
    study = study if isinstance(study, kinds) or not callable(study) else study()
    if not isinstance(study, kinds):
        raise ValueError(f"{arguments.name} must be a ConvergenceStudy, or a function that returns one, got {study!r}.")
    return study, arguments.name, None


@contextmanager
def _ends_cleanly(arguments):
    """Let a signal that asks the process to end do what Ctrl-C does, so that worker processes end with it."""

    def end(number, frame):
        for other in before:
            signal.signal(other, signal.SIG_IGN)  # terminals send more than one
        arguments.signal = signal.Signals(number)
        raise KeyboardInterrupt

    wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {}
    try:
        for number in wanted:
            if signal.getsignal(number) == signal.SIG_DFL:  # under nohup it is ignored
                before[number] = signal.signal(number, end)
        yield
    finally:
        for number in before:
            signal.signal(number, signal.SIG_DFL)


# plot -----------------------------------------------------------------------------------------------------------------


def _add_plot(commands):
    parser = add_parser(commands, "plot", _plot, "Draw the records of a study again, also while it runs.")
    parser.add_argument("out", type=Path, metavar="DIR", help="a directory that 'run' wrote")
    parser.add_argument("--center", choices=_CENTERS, default="median", help="of each size (default: median)")
    parser.add_argument("--n-min", type=integer(1), help="smallest size for the slopes")
    add_format(parser)


def _plot(arguments):
    from smoe.simulation import StudyResult

    records, study = arguments.out / _RECORDS, arguments.out / _STUDY
    if not records.is_file():
        raise ValueError(f"there is no {records}; 'run' writes it.")
    result = StudyResult.from_store(records)
    if not result.records:
        raise ValueError(f"{records} has no fits yet.")
    name = _study_name(study) if study.is_file() else None
    _report(result, arguments.out, name, arguments.center, arguments.n_min, arguments.format)


def _study_name(path):
    """Return the name of the study in a file that 'run' wrote."""
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["name"]
    except (ValueError, TypeError, KeyError, RecursionError):
        name = None
    if not isinstance(name, str):
        raise ValueError(f"{path} does not say which study this is; remove it to plot without theory.")
    return name


def _report(result, out, name, center, n_min, picture_format):
    """Write the rates, draw them, and print them."""
    from smoe.simulation import papers

    study = papers.STUDIES.get(name)
    theory, shown, xlabel = (study.theory, study.shown, study.axis) if study else ({}, result.losses, None)
    rates = [rate for loss in result.losses for c in _CENTERS for rate in _rates(result, loss, c, n_min, theory)]
    known = [loss for loss in shown if any(r["loss"] == loss and r["center"] == center for r in rates)]
    if not known and n_min is not None:  # nothing is overwritten by nothing
        raise ValueError(f"no rates: {_why_no_rate(result, shown, center, n_min)}")
    shares = ("share_below_truth", "share_uncertified", "share_failed")
    summary = {"study": name, "fits": len(result.records), "sizes": result.sizes}
    summary |= {share: getattr(result, share) for share in shares}
    write_json(out / _RATES, {**summary, "rates": rates})
    lines = _rate_lines(result, [r for r in rates if r["loss"] in known and r["center"] == center])
    lines.append(f"rates of {len({rate['loss'] for rate in rates})} numbers: {out / _RATES}")
    try:  # what can be lost is written first
        picture = out / f"rates.{picture_format}"
        if not known:
            lines.append(f"no picture: {_why_no_rate(result, shown, center, n_min)}")
        else:
            write_picture(picture, lambda plots: plots.plot_rates(result, known, theory, center, n_min, xlabel=xlabel))
            lines.append(f"picture: {picture}")
    finally:
        for line in lines:
            say(line)


def _rates(result, loss, center, n_min, theory):
    """Return the rate as a dict in a list, or an empty list where there is none."""
    try:
        rate = result.rate(loss, center, n_min)._asdict()
    except ValueError:
        return []
    low, high = rate.pop("interval")
    return [{"loss": loss, "theory": theory.get(loss), **rate, "low": low, "high": high}]


def _why_no_rate(result, shown, center, n_min):
    """Return in words why the first loss has no rate."""
    if not shown:
        return "the records have no losses"
    try:
        result.rate(shown[0], center, n_min)
    except ValueError as error:
        return str(error)


def _rate_lines(result, rates):
    lines = [
        f"{len(result.records)} fits: {result.share_below_truth:.1%} less likely than the truth, "
        f"{result.share_uncertified:.1%} uncertified, {result.share_failed:.1%} raised an error"
    ]
    width = max((len(rate["loss"]) for rate in rates), default=0)
    for rate in rates:
        interval = "" if rate["low"] != rate["low"] else f" ({rate['low']:.3f} to {rate['high']:.3f})"
        theory = "" if rate["theory"] is None else f", theory {rate['theory']:g}"
        lines.append(f"{rate['loss']:<{width}}  slope of the {rate['center']} {rate['slope']:.3f}{interval}{theory}")
    return lines
