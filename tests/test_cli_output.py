"""The command line where output, names, signals or files are unusual: nothing that was computed is lost."""

import errno
import io
import json
import os
import signal
import stat
import sys
import textwrap

import numpy as np
import pytest

import smoe
from smoe import SoftmaxMoERegressor
from smoe.cli import main
from smoe.experts import GaussianExpert
from smoe.files import write_whole
from smoe.gates import SoftmaxGate
from smoe.mixture import MixtureOfExperts
from smoe.simulation import ConvergenceStudy, StudyResult, Truth, as_params, papers
from smoe.simulation._plan import SCALES
from smoe.tables import read_columns
from smoe.texts import printable


@pytest.fixture(autouse=True)
def _no_window(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")


def table(tmp_path, names, name="table.csv"):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, len(names) - 1))
    rows = np.column_stack([x, x.sum(axis=1) + rng.normal(size=40)])
    header = ",".join('"' + text.replace('"', '""') + '"' for text in names)
    lines = [header, *(",".join(map(repr, row)) for row in rows.tolist())]
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def fit(path, *arguments):
    return main(["fit", str(path), "--y", "y", "--experts", "1", *map(str, arguments)])


class Broken(io.StringIO):
    """A stream that nobody reads, or whose disk is full."""

    encoding = "utf-8"

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise OSError(self.error, os.strerror(self.error))


def has_fit(out):
    return json.loads((out / "fit.json").read_text())["rows"] == 40 and (out / "fit.png").stat().st_size > 5000


# Output ---------------------------------------------------------------------------------------------------------------


def test_a_broken_pipe_is_quiet_and_takes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Broken(errno.EPIPE))
    assert fit(table(tmp_path, ["x", "y"]), "--out", tmp_path) == 141
    assert capsys.readouterr().err == "" and has_fit(tmp_path)
    assert main(["list"]) == 141
    assert capsys.readouterr().err == ""


def test_a_full_disk_under_the_output_takes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Broken(errno.ENOSPC))
    assert fit(table(tmp_path, ["x", "y"]), "--out", tmp_path) == 2
    assert "No space left" in capsys.readouterr().err and has_fit(tmp_path)


def test_output_that_is_lost_when_it_is_flushed(monkeypatch, capsys):
    class Late(io.StringIO):
        def flush(self):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sys, "stdout", Late())
    assert main(["list"]) == 2
    assert capsys.readouterr().err.startswith("smoe: the output is lost: ")


def test_a_terminal_that_knows_fewer_letters(tmp_path, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert fit(table(tmp_path, ["größe", "y"]), "--out", tmp_path) == 0
    assert rb"gr\xf6\xdfe" in stream.buffer.getvalue() and has_fit(tmp_path)
    assert json.loads((tmp_path / "fit.json").read_text())["x"] == ["größe"]


def test_without_matplotlib_the_summary_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "smoe.plots", None)
    assert fit(table(tmp_path, ["x", "y"]), "--out", tmp_path) == 2
    out, err = capsys.readouterr()
    assert "log-likelihood" in out and "numbers: " in out and err.count("\n") == 1
    assert (tmp_path / "fit.json").exists()


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["\x1b[31mred", "two\nlines", "\u202ebidi", "tab\there", "\x9b2J"])
def test_names_do_not_act_on_the_terminal(name, tmp_path, capsys):
    assert fit(table(tmp_path, [name, "y"])) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert all(c.isprintable() or c == "\n" for c in out) and printable(name) in lines[0]
    row = next(line for line in lines[2:] if printable(name) in line)
    assert len(row) == len(next(line for line in lines if line.startswith("  intercept")))
    assert fit(table(tmp_path, [name, "z"])) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and all(c.isprintable() or c == "\n" for c in err)


@pytest.mark.parametrize("name", [r"$\bad{x$", "US$/x$", "a_b^c"])
def test_names_are_no_formulas(name, tmp_path, monkeypatch):
    import smoe.plots as plots

    kept = []
    monkeypatch.setattr(plots.plt, "close", kept.append)
    assert fit(table(tmp_path, [name, "y"]), "--out", tmp_path) == 0 and has_fit(tmp_path)
    assert kept[0].axes[1].get_xlabel() == name.replace("$", r"\$")


def test_names_with_commas(tmp_path, capsys):
    path = table(tmp_path, ["a,b", "c", 'd "q"', "e", "y"])
    assert fit(path, "--x", '"a,b",c', "--x", '"d ""q"""', "--out", tmp_path) == 0
    assert json.loads((tmp_path / "fit.json").read_text())["x"] == ["a,b", "c", 'd "q"']
    capsys.readouterr()
    assert fit(path, "--x", "a,b") == 2 and "no column 'a'" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
def test_the_columns_that_are_used_are_said_first(tmp_path, capsys):
    path = table(tmp_path, ["", "first", "second", "y"])
    assert fit(path) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{path}, 40 rows: y on first, second\n")
    assert err.startswith("smoe: warning: ") and "without a name" in err and err.count("\n") == 1
    assert fit(path, "--x", "", "--x", "first") == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{path}, 40 rows: y on '', first\n") and err == ""


def test_tables_of_other_kinds(tmp_path, monkeypatch, capsys):
    text = table(tmp_path, ["größe", "y"]).read_text(encoding="utf-8").replace(",", "\t").replace(".", ",")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode("latin-1"))))
    options = ["--sep", "tab", "--decimal", ",", "--encoding", "latin-1", "--out", tmp_path, "--format", "svg"]
    assert fit("-", *options) == 0
    assert "y on größe" in capsys.readouterr().out and (tmp_path / "fit.svg").read_text().startswith("<?xml")


def test_the_parameters_of_a_fit_come_back(tmp_path):
    path = table(tmp_path, ["x", "y"])
    assert fit(path, "--out", tmp_path) == 0
    numbers, (X, y, _) = json.loads((tmp_path / "fit.json").read_text()), read_columns(path, "y")
    params = as_params(numbers["params"], MixtureOfExperts(SoftmaxGate(), GaussianExpert()))
    assert Truth("softmax", params).loglik(X, y) == pytest.approx(numbers["loglik"], rel=1e-12)
    model = SoftmaxMoERegressor(1, start=params).fit(X, y)
    assert model.loglik_ == pytest.approx(numbers["loglik"], rel=1e-12)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"smoe {smoe.__version__}\n"


# Files ----------------------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "deep.json"
    write_whole(path, b"old")
    path.chmod(0o640)

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_whole(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    link = tmp_path / "link.json"
    link.symlink_to(path)
    write_whole(link, b"new")
    assert link.is_symlink() and path.read_bytes() == b"new" and stat.S_IMODE(path.stat().st_mode) == 0o640


def test_an_earlier_fit_survives_a_full_disk(tmp_path, monkeypatch, capsys):
    (tmp_path / "fit.json").write_text("earlier")

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert fit(table(tmp_path, ["x", "y"]), "--out", tmp_path) == 2
    out, err = capsys.readouterr()
    assert (tmp_path / "fit.json").read_text() == "earlier"
    assert "log-likelihood" in out and "No space left" in err


# Studies --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch):
    study = papers.STUDIES["softmax-exact"]
    monkeypatch.setitem(papers.STUDIES, "softmax-exact", study._replace(scales=dict.fromkeys(SCALES, (100, 300, 3, 2))))
    return "softmax-exact"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signal here")
@pytest.mark.parametrize("name, code, word", [("SIGTERM", 143, "terminated"), ("SIGHUP", 129, "hung up")])
def test_a_signal_ends_a_study_as_an_interrupt_does(name, code, word, small, tmp_path, monkeypatch, capsys):
    def killed(self, **settings):
        try:
            os.kill(os.getpid(), getattr(signal, name))
        finally:
            os.kill(os.getpid(), getattr(signal, name))  # a second one leaves the cleaning up alone
        pytest.fail("went on")

    monkeypatch.setattr(ConvergenceStudy, "run", killed)
    heeded = signal.signal(getattr(signal, name), signal.SIG_DFL)  # whatever the suite is run by
    try:
        assert main(["run", small, "--out", str(tmp_path)]) == code
        assert signal.getsignal(getattr(signal, name)) == signal.SIG_DFL
    finally:
        signal.signal(getattr(signal, name), heeded)
    err = capsys.readouterr().err
    assert err.startswith(
        f"smoe: {word}; what was fitted is in {tmp_path / 'records.jsonl'}: the same command with --re"
    )


def test_a_signal_that_is_ignored_stays_so(small, tmp_path, monkeypatch):
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        run = ConvergenceStudy.run
        monkeypatch.setattr(
            ConvergenceStudy, "run", lambda *a, **s: os.kill(os.getpid(), signal.SIGTERM) or run(*a, **s)
        )
        assert main(["run", small, "--out", str(tmp_path)]) == 0
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_pictures_of_other_formats(small, tmp_path, capsys):
    assert main(["run", small, "--out", str(tmp_path), "--format", "svg"]) == 0
    assert main(["plot", str(tmp_path), "--format", "pdf"]) == 0
    assert (tmp_path / "rates.pdf").read_bytes().startswith(b"%PDF") and (tmp_path / "rates.svg").exists()
    assert b"/Type3" not in (tmp_path / "rates.pdf").read_bytes()


OWN = """
    from smoe.experts import GaussianExpertParams
    from smoe.gates import LinearGateParams
    from smoe.params import MoEParams
    from smoe.simulation import ConvergenceStudy, Truth
    from smoe.solvers import EMNewton

    gate = LinearGateParams([[25.0], [0.0]], [-8.0, 0.0])
    truth = Truth("softmax", MoEParams(gate, GaussianExpertParams([[-20.0], [20.0]], [15.0, -5.0], [0.1, 0.2])))
    study = ConvergenceStudy(truth, EMNewton(), [60, 100], 2, start="near_truth", losses="D1")
    number = 3

    def late():
        return study
"""


def test_a_study_of_ones_own(tmp_path, monkeypatch, capsys):
    (tmp_path / "own_study.py").write_text(textwrap.dedent(OWN))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["run", "own_study.py:study"]) == 0
    out = tmp_path / "own_study.py-study"
    assert len(StudyResult.from_store(out / "records.jsonl").records) == 4 and (out / "rates.png").exists()
    assert main(["run", "own_study:late", "--out", str(out), "--resume"]) == 0  # the same study
    assert main(["plot", str(out)]) == 0
    capsys.readouterr()
    assert main(["study", "own_study.py", "--out", "mine", "--format", "pdf"]) == 0
    assert (tmp_path / "mine" / "rates.pdf").read_bytes().startswith(b"%PDF")
    assert "takes about 1 s, judged by one fit" in capsys.readouterr().out
    (tmp_path / "json.py").write_text("study = 3")
    capsys.readouterr()
    for name, message in [
        ("own_study.py:number", "must be a ConvergenceStudy, or a function that returns one, got 3"),
        ("own_study:nothing", "no 'nothing' in own_study"),
        ("nowhere.py:study", "there is no file nowhere.py"),
        ("no_such_module_here:study", "there is no module 'no_such_module_here'"),
        ("json.py:study", "another module 'json'"),
        ("a-b:study", "is not the name of a module"),
    ]:
        assert main(["run", name]) == 2
        assert message in capsys.readouterr().err
    assert main(["run", "own_study:study", "--seed", "0"]) == 2
    assert "--seed is for the studies that 'list' shows" in capsys.readouterr().err
