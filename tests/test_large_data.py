"""Rows in memory maps, in Parquet files and in dask collections give the fit of arrays, and errors say where."""

import os
import pickle
import signal
import threading
import time

import dask.array as da
import dask.dataframe as dd
import distributed
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import assert_close, quietly, sampled
from smoe import MoEClassifier, MoERegressor
from smoe.datasets import make_moe
from smoe.experts import GaussianExpert
from smoe.gates import SoftmaxGate
from smoe.mixture import MixtureOfExperts
from smoe.rows import ArraySource, Blocks, Counted, DaskRows, ParquetRows, Scaling
from smoe.rows.sample import distinct, drawn
from smoe.solvers import EM, EMNewton
from smoe.threads import spread

moe = make_moe(3_000, 2, 2, random_state=3)
X, Y = moe.data, moe.target
WEIGHT = np.random.default_rng(0).integers(1, 4, len(Y)).astype(float)
GROUPS = np.char.add("g", (np.arange(len(Y)) // 20).astype(str))
COLUMNS = {"y": Y, "a": X[:, 0], "b": X[:, 1], "w": WEIGHT, "g": GROUPS}


def write(folder, columns=COLUMNS, ends=(1_300, 1_301, 3_000), row_group_size=400):
    start = 0
    for i, stop in enumerate(ends):
        part = pa.table({name: values[start:stop] for name, values in columns.items()})
        pq.write_table(part, folder / f"{i}.parquet", row_group_size=row_group_size)
        start = stop
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("parquet"))


@pytest.fixture(scope="module")
def source(folder):
    return ParquetRows(folder, y="y", features=["a", "b"], weight="w", groups="g")


@pytest.fixture(scope="module")
def fitted():
    return MoERegressor(2, random_state=0).fit(X, Y, WEIGHT)


@pytest.fixture(scope="module")
def from_files(source):
    return MoERegressor(2, random_state=0).fit(source)


# The sample ----------------------------------------------------------------------------------------------------------


def blocks_of(X, y, weight=None, size=700):
    class Cut(ArraySource):
        def cuts(self, _):
            return super().cuts(size)

    columns = np.arange(X.shape[1])
    model = MixtureOfExperts(SoftmaxGate(), GaussianExpert())
    return Blocks(model, Cut(X, y, weight), Scaling.identity(columns, columns))


def rows_with_ties(rng):
    """Few rows of large weight, others that are there up to three times, and their numbers."""
    values = rng.normal(size=(2_000, 2))
    count = rng.integers(1, 4, 2_000)
    count[:3] = 400
    which = rng.permutation(np.repeat(np.arange(2_000), count))
    return values, count, which


@pytest.mark.parametrize("kept", [300, 5_000])
def test_the_sketch_does_not_depend_on_order_or_cuts_and_weights_are_repetitions(kept, rng):
    values, count, which = rows_with_ties(rng)
    data = [
        (values[which], None, 700),
        (values[which], None, 10_000),
        (values[which[::-1]], None, 333),
        (values, count.astype(float), 100),
    ]
    samples = []
    for rows, weight, size in data:
        found = distinct(blocks_of(rows[:, :1], rows[:, 1], weight, size), 0, kept, 0.05)
        samples.append((rows[found.rows], found.weight))
        chosen, _ = drawn(found, 50, np.random.default_rng(0))
        samples[-1] += (rows[chosen],)
    for other in samples[1:]:
        for one, first in zip(other, samples[0], strict=True):
            np.testing.assert_allclose(one, first, rtol=1e-12)
    rows, weight, _ = samples[0]
    own = (values[:, None, 0] == rows[:, 0]).argmax(axis=0)
    exact = weight == count[own]
    assert exact.all() if kept == 5_000 else set(own[exact]) >= {0, 1, 2}  # heavy ones are there for sure, as they are
    np.testing.assert_allclose(weight.sum(), count.sum())
    assert len(rows) == 2_000 if kept == 5_000 else 300 <= len(rows) <= 303


@pytest.mark.parametrize("kept", [300, 5_000])
def test_the_sketch_counts_distinct_rows(kept, rng):
    values, count, which = rows_with_ties(rng)
    blocks = blocks_of(values[which, :1], values[which, 1])
    found = distinct(blocks, 0, kept, 0.05)
    block = blocks.take(slice(0, 900))
    unit = found.unit_of(block)
    exact = 1.0 / count[which[:900]]
    if kept == 5_000:
        assert found.n_rows == 2_000
        np.testing.assert_array_equal(unit, exact)
    else:
        assert abs(found.n_rows - 2_000) < 200
        np.testing.assert_array_equal(unit[which[:900] < 3], 1 / 400)
        light = unit[which[:900] >= 3]
        assert np.ptp(light) == 0 and abs(light[0] - 0.5) < 0.1


def test_sketched_rows_without_ties_count_one_each(rng):
    blocks = blocks_of(rng.normal(size=(3_000, 1)), rng.normal(size=3_000))
    found = distinct(blocks, 0, 500, 0.05)
    assert (found.n_rows, len(found.rows), found.unit) == (3_000, 500, None)


# Memory maps ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
def test_float32_is_widened_block_by_block(order, tmp_path, monkeypatch):
    single = np.array(X, dtype=np.float32, order=order), Y.astype(np.float32)
    mapped = []
    for i, values in enumerate(single):
        mapped.append(np.memmap(tmp_path / str(i), np.float32, "w+", shape=values.shape, order=order))
        mapped[-1][:] = values
    source = ArraySource(*mapped)
    assert np.shares_memory(source.X, mapped[0]) and np.shares_memory(source.y, mapped[1])
    raw = source.read(slice(5, 9))
    assert raw.X.dtype == raw.y.dtype == float and raw.X.base is None
    model = MoERegressor(2, random_state=0).fit(*mapped)
    wanted = MoERegressor(2, random_state=0).fit(*(values.astype(float) for values in single))
    assert_close(model.params_, wanted.params_, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(model.loglik_, wanted.loglik_, rtol=1e-12)
    np.testing.assert_allclose(model.predict(mapped[0]), wanted.predict(single[0].astype(float)), rtol=1e-12)
    np.testing.assert_allclose(model.loglik(*mapped), model.loglik_, rtol=1e-9)


def test_every_second_column_is_not_copied_as_a_whole():
    wide = np.repeat(X, 2, axis=1)
    source = ArraySource(wide[:, ::2])
    assert np.shares_memory(source.X, wide)
    np.testing.assert_array_equal(source.read(slice(3, 8)).X, X[3:8])


# Parquet -------------------------------------------------------------------------------------------------------------


def test_columns_blocks_and_rows(source):
    assert (source.names, source.n_rows, source.n_features) == (["a", "b"], 3_000, 2)
    assert source.total_weight == WEIGHT.sum() and source.response == "y"
    for size, longest in [(100, 400), (900, 899)]:
        cuts = source.cuts(size)
        assert [cut.start for cut in cuts[1:]] == [cut.stop for cut in cuts[:-1]] and cuts[-1].stop == 3_000
        assert max(cut.stop - cut.start for cut in cuts) == longest
        X_again = np.concatenate([source.read(cut).X for cut in cuts])
        np.testing.assert_array_equal(X_again, X)
    rows = np.random.default_rng(1).permutation(3_000)[:40]
    raw = source.take(rows)
    np.testing.assert_array_equal(raw.X, X[rows])
    np.testing.assert_array_equal([raw.y, raw.weight], [Y[rows], WEIGHT[rows]])
    assert list(source.labels()) == list(GROUPS)
    assert source.where(1_300).startswith("row 0 of ") and source.where(1_300).endswith("1.parquet")
    np.testing.assert_array_equal(source.whole().y, Y)


def test_a_fit_of_files_is_that_of_arrays(source, from_files, fitted):
    assert from_files.converged_ and from_files.status_ == fitted.status_
    np.testing.assert_allclose(from_files.loglik_, fitted.loglik_, rtol=1e-12)
    assert_close(from_files.params_, fitted.params_, rtol=1e-8, atol=1e-8)
    assert_close(from_files.standard_errors_, fitted.standard_errors_, rtol=1e-7, atol=1e-9)
    assert list(from_files.feature_names_in_) == ["a", "b"] and from_files.n_samples_ == WEIGHT.sum()
    assert from_files.summary().to_frame() is not None
    again = MoERegressor(2, random_state=0, n_jobs=2).fit(pickle.loads(pickle.dumps(source)))
    assert_close(again.params_, from_files.params_, rtol=0, atol=0)
    assert again.loglik_ == from_files.loglik_


def test_threads_do_not_matter(source):
    columns = np.arange(2)
    blocks = Blocks(MixtureOfExperts(SoftmaxGate(), GaussianExpert()), source, Scaling.identity(columns, columns))
    params = blocks.model.init_params(2, 2, 2)
    one, four = (blocks.shared_by(n).sum(blocks.model.statistics, params) for n in (1, 4))
    assert_close(four, one, rtol=0, atol=0)
    found = blocks.shared_by(4).map(lambda block, _: block.y, None)
    np.testing.assert_array_equal(found, Y)


@pytest.mark.parametrize("ends", [(3_000,), (1_500, 3_000), tuple(range(200, 3_000, 187)) + (3_000,)])
def test_partitions_do_not_matter(ends, tmp_path, fitted):
    model = MoERegressor(2, random_state=0).fit(ParquetRows(write(tmp_path, ends=ends), "y", ["a", "b"], "w"))
    np.testing.assert_allclose(model.loglik_, fitted.loglik_, rtol=1e-12)
    assert model.status_ == fitted.status_


def test_what_a_fit_answers_about_files(source, from_files, tmp_path):
    model = from_files
    for method in ("loglik", "bic", "icl", "score"):
        wanted = getattr(model, method)(pd.DataFrame(X, columns=["a", "b"]), Y, WEIGHT)
        np.testing.assert_allclose(getattr(model, method)(source), wanted, rtol=1e-10)
    frame = pd.DataFrame(X, columns=["a", "b"])
    for method in ("predict", "predict_interval", "gate_proba", "expert_load"):
        assert_close(getattr(model, method)(source), getattr(model, method)(frame), rtol=1e-10, atol=1e-12)
    for method in ("score_samples", "responsibilities"):
        assert_close(getattr(model, method)(source), getattr(model, method)(frame, Y), rtol=1e-10, atol=1e-12)
    model.predict_to(tmp_path / "mean.npy", source)
    np.testing.assert_array_equal(np.load(tmp_path / "mean.npy", mmap_mode="r"), model.predict(source))
    np.testing.assert_array_equal(model.predict_distribution(source)[7:9].mean(), model.predict(source)[7:9])
    for kind in ("observed", "sandwich", "cluster"):
        groups = {"groups": GROUPS} if kind == "cluster" else {}
        wanted = model.covariance(kind, frame, Y, sample_weight=WEIGHT, **groups).matrix
        np.testing.assert_allclose(model.covariance(kind, source).matrix, wanted, rtol=1e-7, atol=1e-10)
    found, wanted = model.diagnose(source), model.diagnose(frame, Y, sample_weight=WEIGHT)
    np.testing.assert_allclose(found.residuals, wanted.residuals, atol=1e-9)


def test_diagnosis_of_very_many_rows_is_of_some(source, from_files, monkeypatch):
    monkeypatch.setattr("smoe.diagnostics.diagnosis._MOST", 1_000)
    found = from_files.diagnose(source, random_state=0)
    assert len(found.pit) == 1_000 and "on 1000 rows drawn from 3000" in str(found)


def test_whole_numbers_and_an_index_of_pandas(tmp_path):
    """Columns may be whole in one file and not in the next; what pandas stores beside them is no feature."""
    frame = pd.DataFrame({"y": Y, "z": np.round(X[:, 0]), "x": X[:, 1]})
    frame[:1_000].astype({"z": "int64"}).to_parquet(tmp_path / "0.parquet", index=False)
    (frame[1_000:] + [0, 0.5, 0])[["x", "z", "y"]].to_parquet(tmp_path / "1.parquet")
    source = ParquetRows(tmp_path, "y")
    assert source.names == ["z", "x"]
    np.testing.assert_array_equal(source.whole().X[998:1_002, 0], (frame.z + 0.5 * (frame.index >= 1_000))[998:1_002])
    frame[frame.x > 0].to_parquet(tmp_path / "i.parquet")
    assert ParquetRows(tmp_path / "i.parquet", "y").names == ["z", "x"]


def test_directories_are_columns_if_they_are_named(tmp_path):
    """Their names as features, groups and classes; numbers where all are numbers."""
    year = np.repeat([2019.0, 2020.5, 2021.0], 1_000)
    for i, name in enumerate(["year=2019/firm=a%20b", "year=2020.5/firm=007", "year=2021/firm=c"]):
        (inner := tmp_path / name).mkdir(parents=True)
        rows = slice(1_000 * i, 1_000 * (i + 1))
        pq.write_table(pa.table({"y": Y[rows], "a": X[rows, 0]}), inner / "0.parquet", row_group_size=300)
    assert ParquetRows(tmp_path, y="y").names == ["a"]
    source = ParquetRows(tmp_path, y="y", features=["a", "year"], groups="firm")
    np.testing.assert_array_equal(source.whole().X, np.column_stack([X[:, 0], year]))
    np.testing.assert_array_equal(source.take([2_500, 3]).X, np.column_stack([X[:, 0], year])[[2_500, 3]])
    assert source.labels().tolist() == ["a b"] * 1_000 + ["007"] * 1_000 + ["c"] * 1_000
    model = MoERegressor(2, random_state=0, n_init=5).fit(source)
    wanted = MoERegressor(2, random_state=0, n_init=5).fit(source.whole().X, Y)
    np.testing.assert_allclose(model.loglik_, wanted.loglik_, rtol=1e-12)
    assert ParquetRows(tmp_path, features=["year"]).whole().X.shape == (3_000, 1)  # no column of the files
    classes = ParquetRows(tmp_path, y="firm", features=["a"])
    assert classes.labels_of(slice(0, 1_000))[0].tolist() == ["a b"] * 1_000
    with pytest.raises(ValueError, match="column 'firm' of .* is string, not of numbers"):
        ParquetRows(tmp_path, y="y", features=["firm"])
    (tmp_path / "year=2021").rename(tmp_path / "year=__HIVE_DEFAULT_PARTITION__")
    with pytest.raises(ValueError, match="0.parquet has no column 'year'"):
        ParquetRows(tmp_path, y="y", features=["a", "year"])


def test_several_responses_in_files(tmp_path):
    second = Y + np.random.default_rng(0).normal(size=len(Y))
    write(tmp_path, {"a": X[:, 0], "u": Y, "v": second})
    settings = {"expert": "multivariate_gaussian", "random_state": 0, "n_init": 3}
    model = quietly(MoERegressor(2, **settings).fit, ParquetRows(tmp_path, ["u", "v"]))
    wanted = quietly(MoERegressor(2, **settings).fit, X[:, :1], np.column_stack([Y, second]))
    np.testing.assert_allclose(model.loglik_, wanted.loglik_, rtol=1e-10)
    assert model.expert_.responses == ["u", "v"]
    model.predict_to(tmp_path / "p", ParquetRows(tmp_path, features=["a"]))
    assert np.load(tmp_path / "p").shape == (3_000, 2)


@pytest.mark.parametrize(
    "changed, arguments, words",
    [
        ({}, {"y": "z"}, r"0.parquet has no column 'z'; its columns are \['y', 'a', 'b', 'w', 'g'\]"),
        ({}, {"y": "y", "features": ["a", "y"]}, "column 'y' is named twice"),
        ({}, {"y": "y"}, "column 'g' of .*0.parquet is string, not of numbers"),
        ({"a": pa.nulls(3_000)}, {"y": "y"}, "column 'a' of .*0.parquet has missing values only"),
        ({name: values[:0] for name, values in COLUMNS.items()}, {"y": "y", "groups": "g"}, "has no rows"),
    ],
)
def test_files_that_are_refused(changed, arguments, words, tmp_path):
    write(tmp_path, COLUMNS | changed)
    with pytest.raises(ValueError, match=words):
        ParquetRows(tmp_path, **arguments)


def test_paths_that_are_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no"):
        ParquetRows(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no file in .* ends in .parquet"):
        ParquetRows(tmp_path)
    (tmp_path / "text.parquet").write_text("a,b")
    with pytest.raises(ValueError, match="text.parquet is no Parquet file"):
        ParquetRows(tmp_path)
    (tmp_path / "text.parquet").unlink()
    with pytest.raises(TypeError, match="features must be a list of names"):
        ParquetRows(write(tmp_path), features="a")


def test_files_of_other_columns(tmp_path):
    write(tmp_path, {"y": Y[:10], "a": X[:10, 0]}, ends=(10,))
    pq.write_table(pa.table({"y": Y[:10], "a": Y[:10], "c": Y[:10]}), tmp_path / "9.parquet")
    with pytest.raises(ValueError, match=r"9.parquet has columns that the first file has not: \['c'\]"):
        ParquetRows(tmp_path, "y")
    assert ParquetRows(tmp_path, "y", ["a"]).n_rows == 20
    pq.write_table(pa.table({"y": Y[:10]}), tmp_path / "9.parquet")
    with pytest.raises(ValueError, match="9.parquet has no column 'a'"):
        ParquetRows(tmp_path, "y")


@pytest.mark.parametrize(
    "column, value, words",
    [
        ("a", np.nan, "column 'a' is missing, NaN or infinite in row 200 of .*2.parquet"),
        ("y", np.inf, "y is missing, NaN or infinite in row 200 of .*2.parquet"),
        ("w", 0.0, "the weight is not positive in row 200 of .*2.parquet"),
        ("y", -1.0, "in the rows from row 0 of .*2.parquet on: y: Poisson takes"),
    ],
)
def test_rows_that_are_refused(column, value, words, tmp_path):
    counts = COLUMNS | {"y": np.abs(np.round(Y))}
    bad = counts[column].copy()
    bad[1_501] = value
    source = ParquetRows(write(tmp_path, counts | {column: bad}), "y", ["a", "b"], "w")
    with pytest.raises(ValueError, match=words):
        MoERegressor(2, expert="poisson").fit(source)


def test_a_file_that_changes_stops_the_fit(tmp_path):
    source = ParquetRows(write(tmp_path), "y", ["a", "b"])
    os.utime(tmp_path / "2.parquet", ns=(1, 1))
    with pytest.raises(ValueError, match="2.parquet has changed, or gone"):
        MoERegressor(2).fit(source)
    (tmp_path / "2.parquet").unlink()
    with pytest.raises(ValueError, match="2.parquet has changed, or gone"):
        source.take([2_000])


def test_many_rows_take_few_passes(source, fitted, monkeypatch, capsys):
    """After a race on a part of the rows: Newton at once, and the covariance from its last pass."""
    monkeypatch.setattr("smoe.search._PART", 500)
    curved, curvature = [], MixtureOfExperts.curvature

    def counted(self, block, params):
        curved.append(len(block) if block.place.__class__ is slice else 0)
        return curvature(self, block, params)

    monkeypatch.setattr(MixtureOfExperts, "curvature", counted)
    model = MoERegressor(2, random_state=0, verbose=1).fit(source)
    assert model.n_iter_ <= 4 and sum(curved) == (model.n_iter_ + 1) * len(Y)
    told = int(capsys.readouterr().out.splitlines()[-1].removesuffix(" passes over all rows"))
    assert told == 1 + 1 + (model.n_iter_ + 1) + 1  # survey and coordinates, sample, climb, certificate and reports
    np.testing.assert_allclose(model.loglik_, fitted.loglik_, rtol=1e-12)
    assert_close(model.params_, fitted.params_, rtol=1e-7, atol=1e-9)
    assert_close(model.standard_errors_, fitted.standard_errors_, rtol=1e-6, atol=1e-9)


def test_a_poor_end_of_the_race_is_no_obstacle(source, fitted):
    """Where full steps promise too much, the usual chain follows."""
    model, blocks = fitted.fitted_.model, fitted.fitted_.working_blocks(X, Y, WEIGHT)[0]
    params = blocks.scaling.from_units(model, fitted.params_)
    far = params._replace(expert=params.expert._replace(intercept=params.expert.intercept + 0.4))
    fit = EMNewton().finish(model, blocks, far)
    assert fit.converged and fit.n_iter == len(fit.trace) - 1 > 3 and np.all(np.diff(fit.trace) > -1e-6)
    np.testing.assert_allclose(fit.loglik - blocks.loglik_offset, fitted.loglik_, rtol=1e-12)
    assert EMNewton(max_iter=2).finish(model, blocks, far).n_iter == 2
    assert EMNewton(max_iter=0).finish(model, blocks, far).n_iter == 0
    assert EM(3).finish(model, blocks, far).n_iter == 3


def test_a_long_pass_shows_how_far_it_is(source, monkeypatch, capsys):
    monkeypatch.setattr("smoe.rows.counted._LONG", -1.0)
    counted = Counted(source)
    parts = counted.cuts(100)
    assert counted.reduce(lambda rows: rows.stop - rows.start, parts) == 3_000 and capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert len(list(counted.run(counted.read, parts, 2))) == len(parts) and counted.n_passes == 2
    shown = capsys.readouterr().err
    assert "pass 2:  10%" in shown and "pass 2: 100%" in shown and shown.endswith("\r")


def test_one_thread_reads_ahead_and_errors_come_out_where_they_belong(folder, monkeypatch):
    source = ParquetRows(folder, y="y", features=["a", "b"])
    parts, raw, began, readers = source.cuts(0), ParquetRows._raw, [], set()

    def slowly(self, low, high):
        began.append(low)
        readers.add(threading.get_ident())
        return raw(self, low, high)

    def visit(rows):
        found = source.read(rows).y
        deadline = time.monotonic() + 10.0
        while rows != parts[-1] and len(began) < 2 + parts.index(rows) and time.monotonic() < deadline:
            time.sleep(0.001)  # the next one is begun while this one is visited
        assert len(began) == min(2 + parts.index(rows), len(parts))
        return found

    monkeypatch.setattr(ParquetRows, "_raw", slowly)
    np.testing.assert_array_equal(np.concatenate(list(source.run(visit, parts))), Y)
    assert began == sorted(began) and len(readers) == 2
    twice = list(source.run(lambda rows: len(source.read(rows).y) == len(source.read(rows).y), parts))
    assert twice == [True] * len(parts)  # what is not next is read anew

    def failing(self, low, high):
        if low == 2:
            raise OSError("the disk is gone")
        return raw(self, low, high)

    monkeypatch.setattr(ParquetRows, "_raw", failing)
    seen = []
    with pytest.raises(OSError, match="the disk is gone"):
        for y in source.run(lambda rows: source.read(rows).y, parts):
            seen.append(len(y))  # noqa: PERF401
    assert len(seen) == 2  # what came before it was seen


def test_what_sources_are_not_for(source, from_files, folder):
    for call, error, words in [
        (lambda: MoERegressor(2).fit(source, Y), ValueError, "y: a source brings its own"),
        (lambda: MoERegressor(2).fit(source, None, WEIGHT), ValueError, "sample_weight: a source brings its own"),
        (lambda: MoERegressor(2).fit(ParquetRows(folder, features=["a"])), ValueError, "has no response: name it"),
        (lambda: from_files.loglik(ParquetRows(folder, features=["a", "b"])), ValueError, "has no response: name it"),
        (lambda: from_files.predict(ParquetRows(folder, features=["b", "a"])), ValueError, "the fit has"),
        (lambda: from_files.expert_profile(source), TypeError, "this needs arrays"),
        (lambda: MoERegressor(4_000).fit(source), ValueError, "n_experts=4000 is larger"),
    ]:
        with pytest.raises(error, match=words):
            call()


@pytest.mark.parametrize("kind", sampled(["dictionary", "text", "number"]))
def test_classes_in_files(kind, tmp_path):
    label = np.where(Y + np.sin(3.0 * Y) > np.median(Y), "yes", "no")
    label[:40] = "perhaps"
    label = np.searchsorted(["no", "perhaps", "yes"], label) + 3 if kind == "number" else label
    stored = pa.array(label).dictionary_encode() if kind == "dictionary" else label
    write(tmp_path, {"a": X[:, 0], "w": WEIGHT, "label": stored})
    table = pd.DataFrame({"a": X[:, 0]})
    settings = {"random_state": 0, "n_init": 3, "max_iter": 200, "class_weight": "balanced" if kind == "text" else None}
    for weight, own in [(None, None)] if kind == "number" else [("w", WEIGHT)]:
        source = ParquetRows(tmp_path, y="label", features=["a"], weight=weight)
        model = quietly(MoEClassifier(2, **settings).fit, source)
        wanted = quietly(MoEClassifier(2, **settings).fit, table, label, own)
        assert model.classes_.tolist() == wanted.classes_.tolist()
        np.testing.assert_allclose(model.loglik_, wanted.loglik_, rtol=1e-10)
        np.testing.assert_allclose(model.predict_proba(source), wanted.predict_proba(table), atol=1e-5)
        np.testing.assert_array_equal(model.predict(source), model.predict(table))
        np.testing.assert_allclose(model.loglik(source), model.loglik(table, label, own), rtol=1e-12)
    if kind != "number":
        with pytest.raises(ValueError, match="text in 'label'"):
            MoERegressor(2).fit(source)


# dask ----------------------------------------------------------------------------------------------------------------


def collections(kind, n):
    """X, y and weights in so many partitions."""
    if kind == "array":
        size = -(-len(Y) // n)
        return da.from_array(X, chunks=(size, 1)), da.from_array(Y, chunks=size), da.from_array(WEIGHT, chunks=size)
    frame = dd.from_pandas(pd.DataFrame(X, columns=["a", "b"]).assign(y=Y, w=WEIGHT), npartitions=n)
    return frame[["a", "b"]], frame["y"], frame["w"]


@pytest.fixture
def far(monkeypatch):
    """Few rows stay where they are, too."""
    monkeypatch.setattr("smoe.rows.dask._FEW", 0)


def check_dask(kind, n, fitted):
    data = collections(kind, n)
    model = MoERegressor(2, random_state=0, n_init=5).fit(*data)
    np.testing.assert_allclose(model.loglik_, fitted.loglik_, rtol=1e-12)
    assert model.status_ == fitted.status_
    assert_close(model.standard_errors_, fitted.standard_errors_, rtol=1e-6, atol=1e-9)
    mean = model.predict(data[0])
    assert type(mean).__module__.startswith("dask") and mean.dtype == float
    np.testing.assert_allclose(mean.compute(), fitted.predict(X), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(model.loglik(*data), model.loglik_, rtol=1e-12)
    return model, data


@pytest.mark.parametrize("kind, n", [("array", 1), ("array", 16), ("frame", 2)])
def test_a_fit_of_dask_collections_is_that_of_arrays(kind, n, fitted, far):
    model, (X_far, y_far, _) = check_dask(kind, n, fitted)
    np.testing.assert_allclose(model.score_samples(X_far, y_far), fitted.score_samples(X, Y), rtol=1e-6, atol=1e-6)
    assert model.fitted_.response == (None if kind == "array" else "y")
    if kind == "frame":
        assert list(model.predict(X_far).compute().index) == list(range(len(Y)))
        few = X_far[X_far.a > 0]  # partitions of unknown length
        np.testing.assert_array_equal(model.predict(few).compute(), model.predict(X_far).compute()[X[:, 0] > 0])


def test_few_rows_of_dask_are_brought(fitted, monkeypatch):
    monkeypatch.setattr(DaskRows, "read", None)
    monkeypatch.setattr(DaskRows, "take", None)
    data = collections("frame", 3)
    model = MoERegressor(2, random_state=0).fit(*data)
    assert_close(model.params_, fitted.params_, rtol=1e-6, atol=1e-9)
    assert model.fitted_.response == "y" and list(model.feature_names_in_) == ["a", "b"]
    monkeypatch.setattr("smoe.rows.dask._NUMBERS", 2 * len(Y) - 1)
    with pytest.raises(TypeError):  # stays where it is
        MoERegressor(2, random_state=0).fit(*data)


def test_a_fit_on_a_cluster_is_that_of_arrays(fitted, far):
    settings = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster):
        model, (X_far, y_far, w_far) = check_dask("frame", 5, fitted)
        source = DaskRows(X_far, y_far, w_far)
        np.testing.assert_array_equal(source.take([2_999, 3, 1_700]).X, X[[2_999, 3, 1_700]])
        np.testing.assert_array_equal(source.read(source.cuts(0)[1]).y, Y[source.cuts(0)[1]])
        there = X_far.a > 0
        part = MoERegressor(2, random_state=0, n_init=5).fit(X_far[there], y_far[there])
    here = X[:, 0] > 0
    wanted = MoERegressor(2, random_state=0, n_init=5).fit(X[here], Y[here])
    np.testing.assert_allclose(part.loglik_, wanted.loglik_, rtol=1e-12)


def labels_of(kind):
    label = np.where(Y + np.sin(3.0 * Y) > np.median(Y), "yes", "no").astype("<U7")
    label[:40] = "perhaps"
    if kind == "number":
        return np.searchsorted(["no", "perhaps", "yes"], label) + 3
    ordered = kind == "ordered"
    return (
        label if kind == "text" else pd.Categorical(label, ["no", "perhaps", "yes"][:: -1 if ordered else 1], ordered)
    )


@pytest.mark.parametrize("kind", sampled(["category", "text", "number", "ordered"], 2))
def test_classes_in_dask_frames(kind, far):
    frame = pd.DataFrame({"a": X[:, 0], "w": WEIGHT}).assign(label=labels_of(kind))
    there = dd.from_pandas(frame, npartitions=4)
    expert = "ordinal" if kind == "ordered" else "multinomial"
    settings = {"expert": expert, "random_state": 0, "n_init": 3, "max_iter": 200}
    settings["class_weight"] = "balanced" if kind == "text" else None
    model = quietly(MoEClassifier(2, **settings).fit, there[["a"]], there["label"], there["w"])
    wanted = quietly(MoEClassifier(2, **settings).fit, frame[["a"]], frame["label"], WEIGHT)
    assert model.classes_.tolist() == wanted.classes_.tolist()
    np.testing.assert_allclose(model.loglik_, wanted.loglik_, rtol=1e-9)
    proba, label = model.predict_proba(there[["a"]]), model.predict(there[["a"]])
    assert list(proba.columns) == model.classes_.tolist() and list(proba.dtypes) == [float] * 3
    np.testing.assert_allclose(proba.compute(), wanted.predict_proba(frame[["a"]]), atol=1e-5)
    logs = model.predict_log_proba(there[["a"]]).compute()
    np.testing.assert_allclose(np.exp(logs), proba.compute(), atol=1e-12)
    np.testing.assert_array_equal(label.compute(), model.predict(frame[["a"]]))
    assert label.dtype == label.compute().dtype and list(label.compute().index) == list(frame.index)
    np.testing.assert_allclose(model.loglik(there[["a"]], there["label"]), model.loglik(frame[["a"]], frame["label"]))


def test_classes_in_dask_arrays(fitted, monkeypatch):
    label = labels_of("text")
    far, y_far = da.from_array(X, chunks=(700, 1)), da.from_array(label, chunks=700)
    wanted = quietly(MoEClassifier(2, random_state=0, n_init=3, max_iter=200).fit, X, label)
    for few in (2**20, 0):  # brought here, or left where they are
        monkeypatch.setattr("smoe.rows.dask._FEW", few)
        model = quietly(MoEClassifier(2, random_state=0, n_init=3, max_iter=200).fit, far, y_far)
        np.testing.assert_allclose(model.loglik_, wanted.loglik_, rtol=1e-9)
    proba = model.predict_proba(far)
    assert proba.shape == (len(X), 3) and proba.dtype == float
    np.testing.assert_allclose(proba.compute(), model.predict_proba(X), rtol=1e-12)
    assert model.predict(far).dtype == label.dtype
    np.testing.assert_array_equal(model.predict(far).compute(), model.predict(X))
    lost, mixed = label.astype(object), label.astype(object)
    lost[800], mixed[1_500:] = None, 1
    with pytest.raises(ValueError, match="partition 1: y has no class in 1 rows"):
        MoEClassifier(2).fit(far, da.from_array(lost, chunks=700))
    with pytest.raises(ValueError, match="y mixes strings and numbers"):
        MoEClassifier(2).fit(far, da.from_array(mixed, chunks=500).rechunk(700))
    with pytest.raises(ValueError, match="holds 'other', which is none of the classes"):
        model.loglik(far, da.from_array(np.full(len(X), "other"), chunks=700))


@pytest.mark.parametrize("expert", ["poisson", "binomial", "log_normal", "multivariate_gaussian", "student_t"])
def test_families_in_dask_frames(expert, far, rng):
    frame = pd.DataFrame(X, columns=["a", "b"])
    rate = np.exp(0.5 * X[:, 0] + (X[:, 1] > 0))
    y = {"poisson": rng.poisson(rate), "binomial": rng.binomial(9, rate / (1 + rate)), "student_t": Y}
    frame["y"] = y.get(expert, np.exp(Y / np.std(Y)))
    frame["other"], frame["trials"], frame["event"] = Y + rng.normal(size=len(Y)), 9.0, rng.random(len(Y)) < 0.8
    roles = {"binomial": {"trials_feature": "trials"}, "log_normal": {"event_feature": "event"}}.get(expert, {})
    columns, response = ["a", "b", *roles.values()], ["y", "other"] if expert == "multivariate_gaussian" else "y"
    there = dd.from_pandas(frame, npartitions=3)
    settings = {"expert": expert, "random_state": 0, "n_init": 3, "max_iter": 200, **roles}
    model = quietly(MoERegressor(2, **settings).fit, there[columns], there[response])
    wanted = quietly(MoERegressor(2, **settings).fit, frame[columns], frame[response])
    np.testing.assert_allclose(model.loglik_, wanted.loglik_, rtol=1e-9)
    assert model.status_ == wanted.status_
    mean = model.predict(there[columns])
    if response != "y":
        assert list(mean.columns) == response
    np.testing.assert_allclose(mean.compute(), model.predict(frame[columns]), rtol=1e-12)


def of_rows(low, high):
    """Rows that a task makes: it can make them again on another worker."""
    return pd.DataFrame(X[low:high], columns=["a", "b"]).assign(y=Y[low:high], w=WEIGHT[low:high])


def test_a_worker_that_dies_is_survived_and_a_client_that_is_gone_is_an_error(fitted, far, monkeypatch):
    """A process of the cluster is killed in the middle of a fit, by its own number; then the client closes."""
    passes, pids, submit = [], [], DaskRows._submit

    def killing(self, function, *args):
        passes.append(self._client.nthreads())
        if len(passes) == 12:
            os.kill(pids[0], signal.SIGKILL)
        return submit(self, function, *args)

    monkeypatch.setattr(DaskRows, "_submit", killing)
    settings = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster) as client:
        place, pid = next(iter(client.run(os.getpid).items()))
        pids.append(pid)
        there = [client.scatter(side, workers=[place]) for side in (X, Y)]
        lost = DaskRows(*(da.from_delayed(one, side.shape, float) for one, side in zip(there, (X, Y), strict=True)))
        frame = dd.from_map(of_rows, range(0, 3_000, 500), range(500, 3_001, 500))
        model = MoERegressor(2, random_state=0, n_init=5).fit(frame[["a", "b"]], frame["y"], frame["w"])
        assert len(passes) > 12 and len({frozenset(one) for one in passes}) > 1
        source = DaskRows(frame[["a", "b"]], frame["y"])
        with pytest.raises(RuntimeError, match="cannot be computed again: partitions must be tasks that load"):
            lost.reduce(len, [lost.cuts(0)])
    np.testing.assert_allclose(model.loglik_, fitted.loglik_, rtol=1e-12)
    assert model.status_ == fitted.status_
    for call in (lambda: source.reduce(len, [source.cuts(0)]), lambda: source.take([3])):
        with pytest.raises(RuntimeError, match="the dask client is gone"):
            call()


def test_what_travels_to_a_worker_has_no_rows(rng):
    source = DaskRows(*collections("array", 3))
    state = vars(pickle.loads(pickle.dumps(source)))
    assert state["_parts"] is None and state["n_rows"] == len(Y)
    blocks = blocks_of(X, Y)
    assert blocks.n_distinct == len(Y) and blocks.sum(lambda block, _: len(block), None) == len(Y)
    state = blocks.__getstate__()
    assert state["_cache"] is None and state["_distinct"].rows is None
    assert len(blocks.shared_by(2).representative_rows(5, rng)[0]) == 5


def test_dask_collections_that_are_refused(fitted):
    X_far, y_far, w_far = collections("array", 3)
    for call, error, words in [
        (lambda: MoERegressor(2).fit(X_far, da.from_array(Y, chunks=1_500)), ValueError, "3 and 2 partitions"),
        (lambda: MoERegressor(2).fit(X_far, da.from_array(Y, chunks=(900, 1_100, 1_000))), ValueError, "1000 and 900"),
        (lambda: MoERegressor(2).fit(X_far, Y), TypeError, "must all be dask collections, got ndarray"),
        (lambda: MoERegressor(2).fit(X_far, y_far, -w_far), ValueError, "weight is not positive in row 0"),
        (lambda: MoERegressor(2).fit(X_far), ValueError, "has no response"),
        (lambda: MoERegressor(2).fit(da.log(X_far), y_far), ValueError, "column 'x.' is missing, NaN or infinite"),
    ]:
        with pytest.raises(error, match=words), np.errstate(all="ignore"):
            call()


def test_results_of_threads_do_not_pile_up():
    begun, taken = [], []
    for found in spread(lambda i: begun.append(i) or i, range(200), 2):
        taken.append(found)
        time.sleep(1e-4)
        assert len(begun) - len(taken) < 10
    assert taken == list(range(200))


def test_what_rows_count_is_found_out_once_and_not_by_those_who_visit_them(monkeypatch, source):
    """From given parameters no sample is drawn before the closing pass."""
    depth, deepest = [0], [0]
    before = Blocks.sum

    def nested(self, *args):
        depth[0] += 1
        deepest[0] = max(depth[0], deepest[0])
        try:
            return before(self, *args)
        finally:
            depth[0] -= 1

    monkeypatch.setattr(Blocks, "sum", nested)
    monkeypatch.setattr("smoe.rows.sample._SORTED", 1_000)
    monkeypatch.setattr(distinct, "__defaults__", (1_000, *distinct.__defaults__[1:]))
    start = MoERegressor(2, random_state=0).fit(X, Y).params_
    MoERegressor(2, start=start).fit(source)
    assert deepest[0] == 1


def test_sums_of_many_workers_are_added_up_by_workers(fitted, far, monkeypatch):
    monkeypatch.setattr("smoe.rows.dask._JOINED", 2)
    settings = {"n_workers": 5, "threads_per_worker": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster) as client:
        source = DaskRows(*(da.from_array(side, chunks=(300, *side.shape[1:])) for side in (X, Y, WEIGHT)))
        gathered, gather = [], client.gather
        monkeypatch.setattr(client, "gather", lambda futures: gathered.append(len(futures)) or gather(futures))
        found = source.reduce(lambda slices: np.array([len(slices), slices[0].start]), [[s] for s in source.cuts(0)])
        assert len(source.cuts(0)) == 10 and found[0] == 10 and gathered[-1] == 2
        model = MoERegressor(2, random_state=0).fit(*(da.from_array(side, chunks=300) for side in (X, Y, WEIGHT)))
    np.testing.assert_allclose(model.loglik_, fitted.loglik_, rtol=1e-12)
