"""The command line: what it prints and writes, and one line for every mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import smoe
import smoe.precompile
from helpers import interrupt_of_compiled_code
from smoe import SoftmaxMoERegressor
from smoe.cli import main
from smoe.datasets import load_engel
from smoe.gates import GATES
from smoe.simulation import StudyResult, papers
from smoe.simulation._plan import SCALES
from smoe.tables import read_columns

ENGEL = str(Path(smoe.__file__).parent / "datasets" / "data" / "engel.csv")


@pytest.fixture(autouse=True)
def _no_window(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")


@pytest.fixture
def small(monkeypatch):
    """Make the quick scale of a study tiny."""

    def shrink(name, scale=(100, 300, 3, 2)):
        study = papers.STUDIES[name]
        monkeypatch.setitem(papers.STUDIES, name, study._replace(scales=dict.fromkeys(SCALES, scale)))
        return name

    return shrink


def run_module(*arguments, **environment):
    paths = os.pathsep.join([str(Path(smoe.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "MPLBACKEND": "Agg", **environment}
    return subprocess.run(
        [sys.executable, "-m", "smoe", *arguments], capture_output=True, text=True, timeout=120, env=environment
    )


def mistake(capsys, *arguments):
    """The one line on stderr that a mistake leaves."""
    capsys.readouterr()
    assert main(list(map(str, arguments))) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and err.endswith("\n") and "Traceback" not in err
    return err


# As a module ----------------------------------------------------------------------------------------------------------


def test_module_lists():
    done = run_module("list")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(papers.STUDIES)


def test_module_explains_mistakes():
    done = run_module("run", "softmax")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("smoe: study 'softmax' is not known; choose one of softmax-exact, ")
    assert done.stderr.count("\n") == 1


def test_listing_loads_nothing_slow():
    slow = {"numba", "scipy", "sklearn", "matplotlib"}
    code = f"import sys; from smoe.cli import main; main(['list']); sys.exit(len({slow} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, timeout=120).returncode == 0


# list -----------------------------------------------------------------------------------------------------------------


def test_a_study_is_described(capsys):
    assert main(["list", "topk2-over"]) == 0
    out = capsys.readouterr().out
    assert out.strip() == papers.describe("topk2-over") and "\nquick: 5 sizes from 300 to 3000" in out


def test_help(capsys):
    assert main(["--help"]) == 0 and "run" in capsys.readouterr().out


# run, plot ------------------------------------------------------------------------------------------------------------


def test_run_writes_records_rates_and_a_picture(small, tmp_path, capsys):
    out = tmp_path / "deep" / "results"
    assert main(["run", small("softmax-exact"), "--out", str(out), "--seed", "5"]) == 0
    printed = capsys.readouterr().out
    assert "6 fits: 0.0% less likely than the truth" in printed and "theory -0.5" in printed
    assert sorted(path.name for path in out.iterdir()) == ["rates.json", "rates.png", "records.jsonl", "study.json"]
    result = StudyResult.from_store(out / "records.jsonl")
    rates = json.loads((out / "rates.json").read_text())
    assert (rates["study"], rates["fits"], rates["sizes"]) == ("softmax-exact", 6, [100, 173, 300])
    first = rates["rates"][0]
    assert (first["loss"], first["center"], first["theory"]) == ("D1", "median", -0.5)
    assert first["slope"] == pytest.approx(result.rate("D1").slope)
    assert [record.seed[0] for record in result.records] == [5] * 6


def test_records_are_not_overwritten(small, tmp_path, capsys):
    name = small("softmax-exact")
    assert main(["run", name, "--out", str(tmp_path)]) == 0
    before = (tmp_path / "records.jsonl").read_bytes()
    assert "--resume" in mistake(capsys, "run", name, "--out", tmp_path)
    small("softmax-exact", (100, 300, 3, 3))
    capsys.readouterr()
    assert main(["run", name, "--out", str(tmp_path), "--resume"]) == 0
    after = (tmp_path / "records.jsonl").read_bytes()
    assert after.startswith(before) and after.count(b"\n") == before.count(b"\n") + 3
    assert "9 fits" in capsys.readouterr().out
    assert "other settings" in mistake(capsys, "run", small("topk1-exact"), "--out", tmp_path, "--resume")
    assert (tmp_path / "records.jsonl").read_bytes() == after


def test_default_directory(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", small("softmax-exact")]) == 0
    assert (tmp_path / "softmax-exact-quick" / "rates.png").is_file()


def test_plot_says_why_there_is_no_picture(small, tmp_path, capsys):
    main(["run", small("softmax-exact"), "--out", str(tmp_path)])
    before = (tmp_path / "rates.json").read_text()
    assert "no rates: a rate needs 'D1' at two sizes at least, got []" in mistake(
        capsys, "plot", tmp_path, "--n-min", "100000"
    )
    assert (tmp_path / "rates.json").read_text() == before


def test_a_directory_that_cannot_be_is_noticed_before_the_fit(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("smoe.estimators.MoERegressor.fit", lambda *_: pytest.fail("fitted first"))
    (tmp_path / "file").touch()
    assert "file" in mistake(capsys, "fit", ENGEL, "--y", "foodexp", "--out", tmp_path / "file")


def test_plot_draws_again(small, tmp_path, capsys):
    main(["run", small("softmax-exact"), "--out", str(tmp_path)])
    (tmp_path / "rates.png").unlink()
    assert main(["plot", str(tmp_path), "--center", "mean", "--n-min", "150"]) == 0
    assert "slope of the mean" in capsys.readouterr().out and (tmp_path / "rates.png").is_file()
    assert json.loads((tmp_path / "rates.json").read_text())["rates"][0]["n_min"] == 173
    (tmp_path / "study.json").unlink()  # a store of one's own has none
    assert main(["plot", str(tmp_path)]) == 0


@pytest.mark.parametrize("text", ["{", "[1]", "{}", '{"name": ["a"]}'])
def test_a_directory_that_does_not_say_which_study(text, small, tmp_path, capsys):
    main(["run", small("softmax-exact"), "--out", str(tmp_path)])
    (tmp_path / "study.json").write_text(text)
    assert "study.json does not say which study this is" in mistake(capsys, "plot", tmp_path)


def test_a_study_without_fits_yet(small, tmp_path, capsys):
    main(["run", small("softmax-exact"), "--out", str(tmp_path)])
    records = tmp_path / "records.jsonl"
    records.write_bytes(records.read_bytes().split(b"\n")[0] + b"\n")
    assert "records.jsonl has no fits yet" in mistake(capsys, "plot", tmp_path)


def test_too_few_sizes_for_a_rate(small, tmp_path, capsys):
    assert main(["run", small("softmax-exact", (100, 100, 1, 2)), "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "rates.json").read_text())["rates"] == []
    assert not (tmp_path / "rates.png").exists()


def test_one_replication_has_no_interval(small, tmp_path):
    assert main(["run", small("softmax-exact", (100, 300, 3, 1)), "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "rates.json").read_text())["rates"][0]["low"] is None


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "the following arguments are required"),
        (["walk"], "invalid choice: 'walk'"),
        (["run"], "the following arguments are required: name"),
        (["run", "softmax-exact", "--scale", "huge"], "scale 'huge' is not known"),
        (["run", "softmax-exact", "--jobs", "0"], "0 processes cannot work"),
        (["run", "softmax-exact", "--jobs", "two"], "'two' is not an integer"),
        (["run", "softmax-exact", "--seed", "-1"], "-1 is less than 0"),
        (["run", "softmax-exact", "--out", ENGEL], "engel.csv"),
        (["run", "temperature-dense", "--start", "data"], "start: that of temperature-dense belongs"),
        (["list", "nothing"], "study 'nothing' is not known"),
        (["plot", "nowhere"], "there is no nowhere"),
        (["plot", ".", "--center", "mode"], "invalid choice: 'mode'"),
        (["fit", "nowhere.csv", "--y", "a"], "nowhere.csv"),
        (["fit", ENGEL], "the following arguments are required: --y"),
        (["fit", ENGEL, "--y", "food"], "no column 'food'; its columns are income, foodexp"),
        (["fit", ENGEL, "--y", "foodexp", "--x", "income,rent"], "no column 'rent'"),
        (["fit", ENGEL, "--y", "foodexp", "--gate", "hard"], "--gate='hard' is not known; choose one of 'softmax', "),
        (["fit", ENGEL, "--y", "foodexp", "--experts", "0"], "0 is less than 1"),
        (["fit", ENGEL, "--y", "foodexp", "--experts", "1000"], "n_experts"),
        (["fit", ENGEL, "--y", "foodexp", "--top-k", "1"], "choose --gate top_k"),
        (["fit", ENGEL, "--y", "foodexp", "--gate", "top_k", "--top-k", "3"], "top_k=3 is larger than n_experts=2"),
    ],
)
def test_mistakes(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in mistake(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "smoe.plots", None)
    assert main(["run", small("softmax-exact"), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith("\nsmoe: pictures need matplotlib: pip install smoe[plots]\n")
    assert (tmp_path / "rates.json").is_file()
    assert "pip install smoe[plots]" in mistake(capsys, "plot", tmp_path)


def test_an_interrupt_is_no_traceback(capsys, monkeypatch):
    def interrupt(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(papers, "describe", interrupt)
    assert main(["list", "softmax-exact"]) == 130
    assert capsys.readouterr().err == "smoe: interrupted\n"


def test_an_interrupt_of_compiled_code_is_no_traceback(capsys, monkeypatch):
    def interrupt(name):
        raise interrupt_of_compiled_code()

    monkeypatch.setattr(papers, "describe", interrupt)
    assert main(["list", "softmax-exact"]) == 130
    assert capsys.readouterr().err == "smoe: interrupted\n"


# fit ------------------------------------------------------------------------------------------------------------------


def test_fit_prints_and_writes(tmp_path, capsys):
    out = tmp_path / "fit"
    assert main(["fit", ENGEL, "--y", "foodexp", "--x", "income", "--seed", "1", "--out", str(out)]) == 0
    X, y = load_engel(return_X_y=True)
    model = SoftmaxMoERegressor(2, random_state=1).fit(X, y)
    printed = capsys.readouterr().out
    table = str(model.summary(["income"]))
    assert printed.splitlines()[0] == f"{ENGEL}, 235 rows: foodexp on income"
    assert table[table.index("\nstandard errors") :] in printed and "  income " in printed
    fit = json.loads((out / "fit.json").read_text())
    assert fit["loglik"] == pytest.approx(model.loglik_, rel=1e-12)
    assert (fit["certified"], fit["rows"], fit["x"]) == (True, 235, ["income"])
    np.testing.assert_allclose(fit["params"]["expert"]["coef"], model.expert_coef_, rtol=1e-7)
    np.testing.assert_allclose(fit["standard_errors"]["gate"]["coef"][0], model.standard_errors_.gate.coef[0], 1e-6)
    assert fit["standard_errors"]["gate"]["coef"][1] == [None]
    assert (out / "fit.png").stat().st_size > 10_000


def test_fit_of_a_top_k_gate(capsys):
    assert main(["fit", ENGEL, "--y", "foodexp", "--gate", "top_k", "--top-k", "1"]) == 0
    out, err = capsys.readouterr()
    assert "TopKGate" in out and "no line of the support search" in out and err == ""


def test_fit_of_several_features(tmp_path, rng):
    X = rng.normal(size=(80, 2))
    rows = np.column_stack([X, X @ [1, 2] + 0.1 * rng.normal(size=80)])
    table = tmp_path / "data.csv"
    np.savetxt(table, rows, delimiter=",", header="first,second,out", comments="")
    assert main(["fit", str(table), "--y", "out", "--experts", "1", "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "fit.json").read_text())["x"] == ["first", "second"]
    assert (tmp_path / "fit.png").is_file()


# Tables ---------------------------------------------------------------------------------------------------------------


def table(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_columns_in_the_order_asked_for(tmp_path):
    path = table(tmp_path, '"a", b,c,name\r\n1,2,3,"x,y"\r\n\r\n4,5e0,-6,z\r\n', "utf-8-sig")
    X, y, names = read_columns(path, "b", ["c", "a"])
    assert (X.tolist(), y.tolist(), names) == ([[3, 1], [-6, 4]], [2, 5], ["c", "a"])


@pytest.mark.parametrize(
    "text, x, message",
    [
        ("", None, "is empty"),
        ("\na,b\n1,2\n", None, "begins with an empty line"),
        ("a,b\n", None, "has no rows"),
        ("a\n1\n", None, "no column beside the response 'a'"),
        ("a,b,b\n1,2,3\n", None, "more than one column 'b'"),
        ("a,b\n1,2\n1,2,3\n", None, "line 3: 3 entries, but the header has 2"),
        ("a,b\n1,2\n1,\n", None, "line 3, column 'b': '' is not a number"),
        ("a,b\n1,two\n", None, "line 2, column 'b': 'two' is not a number"),
        ("a,b\n1,nan\n", None, "line 2, column 'b': 'nan' is not a finite number"),
        ("a,b\n1,2\n", ["a"], "'a' cannot be the response and a feature"),
        ("a,b\n1,2\n", ["b", "b"], "a feature is named twice"),
        ("a,b\n1,2\n", ["c"], "no column 'c'; its columns are a, b"),
    ],
)
def test_tables_that_make_no_sense(tmp_path, text, x, message):
    with pytest.raises(ValueError, match="table.csv|column|feature") as error:
        read_columns(table(tmp_path, text), "a", x)
    assert message in str(error.value)


def test_tables_of_other_kinds(tmp_path):
    with pytest.raises(ValueError, match="not UTF-8"):
        read_columns(table(tmp_path, "a,b\n1,\xe9\n", "latin-1"), "a")
    assert main(["fit", str(tmp_path), "--y", "a"]) == 2


# compile --------------------------------------------------------------------------------------------------------------


def test_compile(capsys, monkeypatch):
    monkeypatch.setattr(smoe.precompile, "ESTIMATORS", {"softmax gate": SoftmaxMoERegressor(n_init=2, random_state=0)})
    assert main(["compile"]) == 0
    out, shown = capsys.readouterr()
    first, last = out.splitlines()
    assert first.startswith("compiling") and last.startswith("kept ") and "compile" in shown and "100" in shown


def test_compile_knows_every_gate():
    kinds = {type(estimator.gate) for estimator in smoe.precompile.ESTIMATORS.values()}
    assert kinds >= set(GATES.values())


def test_a_fit_of_the_command_line_is_loaded_and_reported(tmp_path, capsys):
    import smoe

    assert main(["fit", ENGEL, "--y", "foodexp", "--out", str(tmp_path)]) == 0
    X, y = load_engel(return_X_y=True)
    found = smoe.load(tmp_path / "fit.json")
    np.testing.assert_array_equal(found.predict(X), SoftmaxMoERegressor(2, random_state=0).fit(X, y).predict(X))
    page = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "fit.json"), "--data", ENGEL, "--out", str(page)]) == 0
    assert capsys.readouterr().out.endswith(f"report: {page}\n")
    text = page.read_text()
    assert text.count('src="data:image/png;base64,') == 3 and "No picture" not in text
    assert "http" not in text and "income" in text and str(found.diagnose(X, y, random_state=0))[:40] in text


def test_a_report_without_data_and_of_what_is_no_fit(tmp_path, capsys):
    assert main(["fit", ENGEL, "--y", "foodexp", "--experts", "1", "--out", str(tmp_path)]) == 0
    assert main(["report", str(tmp_path / "fit.json"), "--out", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").read_text().count("<img") == 1
    (tmp_path / "fit.json").write_text("{")
    assert main(["report", str(tmp_path / "fit.json")]) == 2
    assert "is no JSON, or is cut off" in capsys.readouterr().err
