"""Csv files of the world: separators, decimal marks, encodings, names, and what is a number."""

import gzip
import io
import sys
import tracemalloc

import numpy as np
import pytest

from smoe.tables import read_columns


def written(tmp_path, text, encoding="utf-8", name="table.csv"):
    path = tmp_path / name
    content = text.encode(encoding)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def refused(path, y="y", x=None, **settings):
    with pytest.raises(ValueError) as caught:
        read_columns(path, y, x, **settings)
    return str(caught.value)


@pytest.mark.parametrize("text, value", [("1e5", 1e5), (" +.5\t", 0.5), ("-1.", -1.0), ("007", 7.0), ("2E-3", 0.002)])
def test_decimal_numbers(text, value, tmp_path):
    assert read_columns(written(tmp_path, f"x,y\n1,{text}\n"), "y")[1].tolist() == [value]


@pytest.mark.parametrize("text", ["1_0", "\u0663", "0x10", "1 0", "", "--1", "1e", "1.5.2", "NA", "1,5", "\u22121"])
def test_what_is_not_a_decimal_number(text, tmp_path):
    assert f"line 2, column 'y': {text!r} is not a number." in refused(written(tmp_path, f'x,y\n1,"{text}"\n'))


@pytest.mark.parametrize("text", ["inf", "-Infinity", "nan", "1e999"])
def test_numbers_that_are_not_finite(text, tmp_path):
    assert f"{text!r} is not a finite number" in refused(written(tmp_path, f"x,y\n1,{text}\n"))


def test_separators_and_decimal_marks(tmp_path):
    wanted = [[1.5], [-2000.0]], [3.0, 0.25], ["x"]

    def same(text, **settings):
        X, y, names = read_columns(written(tmp_path, text), "y", **settings)
        assert (X.tolist(), y.tolist(), names) == wanted

    same("x;y\n1,5;3\n-2e3;,25\n", decimal=",")
    same("x;y\n1.5;3\n-2e3;.25\n", sep=";")
    same("x\ty\n1,5\t3\n-2000\t0,25\n", sep="\t", decimal=",")
    assert "'1.5' is not a number. If '.' is the decimal mark, give decimal='.' (--decimal .)" in refused(
        written(tmp_path, "x;y\n1.5;3\n"), decimal=","
    )
    assert "give decimal=','" in refused(written(tmp_path, "x;y\n1,5;3\n"), sep=";")
    assert "is not a number" in refused(written(tmp_path, "x;y\n1.234,5;3\n"), decimal=",")


@pytest.mark.parametrize("sep, word", [(";", "semicolons"), ("\t", "tabs")])
def test_a_hint_at_the_separator(sep, word, tmp_path):
    assert f"Are they separated by {word}? Then give sep={sep!r}" in refused(written(tmp_path, f"x{sep}y\n1{sep}2\n"))


@pytest.mark.parametrize(
    "settings, message",
    [({"sep": ""}, "one character"), ({"sep": '"'}, "one character"), ({"decimal": "·"}, "decimal must be"),
     ({"sep": ",", "decimal": ","}, "both ','"), ({"encoding": "klingon"}, "encoding='klingon' is not known"),
     ({"encoding": "hex"}, "encoding='hex' is not known")],
)  # fmt: skip
def test_settings_that_make_no_sense(settings, message, tmp_path):
    assert message in refused(written(tmp_path, "x,y\n1,2\n"), **settings)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "UTF8", "utf-8-sig"])
def test_encodings(encoding, tmp_path):
    path = written(tmp_path, "größe,y\n1,2\n", "utf-8" if encoding == "UTF8" else encoding)
    assert read_columns(path, "y", encoding=encoding)[2] == ["größe"]


def test_another_encoding_gets_a_hint(tmp_path):
    assert "is not UTF-8 text; give its encoding" in refused(written(tmp_path, "größe,y\n1,2\n", "latin-1"))
    assert "is not utf-16 text" in refused(written(tmp_path, "größe,y\n1,2\n", "latin-1"), encoding="utf-16")


def test_standard_input_and_packed_files(tmp_path, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO("é,y\n1,2\n".encode()), encoding="ascii")
    monkeypatch.setattr(sys, "stdin", stream)
    assert read_columns("-", "y")[2] == ["é"] and not stream.buffer.closed
    path = written(tmp_path, "x,y\n" + "1,2\n" * 1000, name="table.csv.gz")
    assert read_columns(path, "y")[0].shape == (1000, 1)
    path.write_bytes(path.read_bytes()[:-12])
    assert "cut off or damaged" in refused(path)
    path.write_bytes(b"x,y\n1,2\n")
    assert "cut off or damaged" in refused(path)


def test_a_number_is_not_a_path(capsys):
    with pytest.raises(TypeError):
        read_columns(1, "y")
    print("still open")
    assert capsys.readouterr().out == "still open\n"


def test_names_that_occur_twice_matter_where_they_are_used(tmp_path):
    path = written(tmp_path, "x,z,z,y\n1,2,3,4\n")
    assert read_columns(path, "y", ["x"])[0].tolist() == [[1.0]]
    assert "more than one column 'z'" in refused(path)
    assert "more than one column 'z'" in refused(path, "z", ["x"])


def test_columns_without_a_name_are_left_out_and_said(tmp_path):
    path = written(tmp_path, ",x,y\n0,1,2\n1,3,4\n")
    with pytest.warns(UserWarning, match="1 column.s. without a name, such as row numbers, left out .* name ''"):
        X, y, names = read_columns(path, "y")
    assert (X.tolist(), names) == ([[1.0], [3.0]], ["x"])
    assert read_columns(path, "y", ["", "x"])[0].tolist() == [[0, 1], [1, 3]]
    with pytest.warns(UserWarning, match="'Unnamed: 0'"):
        assert read_columns(written(tmp_path, "Unnamed: 0,x,y\n0,1,2\n"), "y")[2] == ["x"]
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="no column beside the response"):
        read_columns(written(tmp_path, ",y\n0,1\n"), "y")


def test_the_line_of_a_fault_far_down(tmp_path):
    text = 'x,y,note\n1,2,"a\nb"\n' + "1,2,c\n" * 20_000
    assert "line 20004, column 'x': 'one' is not a number" in refused(written(tmp_path, text + "one,2,d\n"), x=["x"])
    assert "line 20004: 2 entries" in refused(written(tmp_path, text + "1,2\n"), x=["x"])


def test_memory_of_reading(tmp_path, rng):
    table = rng.normal(size=(40_000, 5)).round(6)
    path = tmp_path / "table.csv"
    np.savetxt(path, table, "%.6f", delimiter=",", header="a,b,c,d,y", comments="")
    tracemalloc.start()
    try:
        X, y, _ = read_columns(path, "y")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(np.column_stack([X, y]), table)
    assert peak < 2.5 * table.nbytes
