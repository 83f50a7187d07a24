"""A study on disk survives being killed, cut off and short of room, and never mixes settings."""

import contextlib
import errno
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import studies
from studies import Stumbling, comparable, study

from smoe.simulation import Record, Store, StudyResult, store
from smoe.simulation.store import decode, encode, read_store
from smoe.solvers import EMNewton

SETTINGS = {"truth": "T0", "solver": {"tol": 1e-8}, "n_experts": 2}


def record(n=10, replication=0, loglik=-1.5, losses=None):
    parameters = {"gate": {"coef": [[0.1]]}, "expert": {"variance": [0.3]}}
    seed = [0, n, replication]
    return Record(
        n, replication, seed, parameters, loglik, -2.0, 1e-9, 7, True, "converged", 0.5, losses or {"D1": 0.1}
    )


def written(path, records=(), settings=SETTINGS):
    with Store(path, settings) as disk:
        disk.append(records)
    return path


def kept(path):
    return read_store(path)[1]


def test_records_come_back(tmp_path):
    records = [record(10, 0), record(10, 1, losses={"cells": {"coef": [0.1, 0.2]}})]
    path = written(tmp_path / "study.jsonl", records)
    assert read_store(path) == (SETTINGS, records)
    with Store(path, SETTINGS) as disk:
        assert disk.records == records
        disk.append([record(20, 0)])
    assert kept(path) == [*records, record(20, 0)]


def test_of_two_records_of_a_cell_the_first_counts(tmp_path):
    path = written(tmp_path / "study.jsonl", [record(10, 0), record(10, 0, loglik=-9.0), record(10, 1)])
    assert kept(path) == [record(10, 0), record(10, 1)]


def test_floats_come_back_exactly(rng):
    values = rng.integers(0, 2**64, 5000, dtype=np.uint64).view(float).tolist()
    values += [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308, 0.1]
    line = encode({"values": values, "pair": {"a": math.nan}})

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    json.loads(line, parse_constant=refuse)
    back = decode(line)
    assert np.array(back["values"]).tobytes() == np.where(np.isnan(values), np.nan, values).tobytes()
    assert math.isnan(back["pair"]["a"])


def test_a_last_line_cut_off_anywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)
    records = [record(10, 0), record(10, 1), record(20, 0)]
    whole = written(tmp_path / "whole.jsonl", records).read_bytes()
    ends = np.flatnonzero(np.frombuffer(whole, dtype=np.uint8) == ord("\n")) + 1
    path = tmp_path / "cut.jsonl"
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        n_whole = max(int((ends - 1 <= cut).sum()) - 1, 0)  # a line that lacks its line end only is whole
        with Store(path, SETTINGS) as disk:
            assert disk.records == records[:n_whole], cut
            disk.append(records[n_whole:])
        assert path.read_bytes() == whole, cut


def test_zeros_left_by_a_power_cut(tmp_path):
    whole = written(tmp_path / "study.jsonl", [record(10, 0), record(10, 1)]).read_bytes()
    path = tmp_path / "zeros.jsonl"
    path.write_bytes(bytes(100))
    assert written(path, [record(10, 0), record(10, 1)]).read_bytes() == whole
    path.write_bytes(whole + bytes(100))
    assert written(path).read_bytes() == whole
    first, second, third = whole.splitlines(keepends=True)
    path.write_bytes(first + bytes(len(second)) + third + third)
    with pytest.warns(UserWarning, match=r"1 line\(s\) of .*zeros.jsonl cannot be read; their cells count as missing"):
        disk = Store(path, SETTINGS)
    with disk:
        assert disk.records == [record(10, 1)]
        disk.append([record(10, 0)])
    with pytest.warns(UserWarning, match="cannot be read"):
        assert kept(path) == [record(10, 1), record(10, 0)]


@pytest.mark.parametrize(
    "content", [b"x,y\n1,2\n", b"notes", b"{}\n", b'{"format": "smoe study", "version": 99}\n', b"\n"]
)
def test_other_files_are_left_alone(content, tmp_path):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not the file of a study.*left as it is"):
        Store(path, SETTINGS)
    assert path.read_bytes() == content


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="is not a regular file"):
        Store(tmp_path, SETTINGS)
    with pytest.raises(FileNotFoundError):
        Store(tmp_path / "no" / "such", SETTINGS)
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(ValueError, match="holds no study yet"):
        StudyResult.from_store(empty)


def test_other_settings_are_refused(tmp_path):
    path = written(tmp_path / "study.jsonl", [record()])
    before = path.read_bytes()
    other = {"truth": "T0", "solver": {"tol": 1e-6}, "start": "data"}
    with pytest.raises(ValueError) as caught:
        Store(path, other)
    assert "other settings: solver.tol is 1e-08 there and 1e-06 here; " in str(caught.value)
    assert "n_experts is 2 there and 'absent' here; start is 'absent' there and 'data' here." in str(caught.value)
    assert path.read_bytes() == before
    with Store(path, SETTINGS):  # the lock is released
        pass


def test_a_refused_file_keeps_its_last_half_line(tmp_path):
    path = written(tmp_path / "study.jsonl", [record()])
    path.write_bytes(path.read_bytes()[:-9])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="other settings"):
        Store(path, {})
    assert path.read_bytes() == before


def test_a_study_refuses_another_ones_file(tmp_path):
    path = tmp_path / "study.jsonl"
    study(sizes=[60]).run(store=path)
    with pytest.raises(ValueError, match="other settings: fitter.tol is 1e-08 there and 1e-06 here; random_state is 0"):
        study(sizes=[60], fitter=EMNewton(tol=1e-6), random_state=1).run(store=path)


def test_other_versions_are_said(tmp_path, monkeypatch):
    path = written(tmp_path / "study.jsonl")
    assert set(decode(path.read_bytes())["versions"]) == {"smoe", "numpy", "scipy", "numba", "python"}
    monkeypatch.setattr(store, "_versions", lambda: {**decode(path.read_bytes())["versions"], "numpy": "99"})
    with pytest.warns(UserWarning, match=r"begun with other versions.*: numpy is .* there and '99' here"):
        written(path)


def test_one_process_at_a_time(tmp_path):
    path = tmp_path / "study.jsonl"
    with Store(path, SETTINGS) as disk:
        with pytest.raises(RuntimeError, match=r"another process writes .*study.jsonl; wait for it"):
            Store(path, SETTINGS)
        disk.append([record()])
        assert kept(path) == [record()]  # reading is free
    written(path)


def test_without_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "fcntl", None)
    with Store(tmp_path / "study.jsonl", SETTINGS) as disk:
        written(disk.path, [record()])


class SmallDisk:
    """A file that takes so many bytes more, then part of a write, then none."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        data = data[: self.room]
        self.room -= len(data)
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 1, 200, 400])
def test_a_full_disk(room, tmp_path):
    path = written(tmp_path / "study.jsonl", [record(10, 0)])
    before = path.read_bytes()
    with Store(path, SETTINGS) as disk:
        disk._file = SmallDisk(disk._file, room)
        with pytest.raises(OSError, match="cannot write .*study.jsonl: No space left.*make room and run") as caught:
            disk.append([record(10, 1), record(10, 2)])
        assert caught.value.errno == errno.ENOSPC and path.read_bytes() == before
        disk._file.room = 10_000
        disk.append([record(10, 1)])
    assert kept(path) == [record(10, 0), record(10, 1)]


def test_a_file_that_may_not_grow(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "study.jsonl"
    complete = study(n_replications=6).run().records
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(OSError, match="cannot write .*File too large") as caught:
            study(n_replications=6).run(store=path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    saved = kept(path)
    assert 0 < len(saved) < 18
    resumed = study(n_replications=6).run(store=path).records
    assert comparable(resumed) == comparable(complete) and set(map(repr, saved)) <= set(map(repr, resumed))


def test_nothing_is_computed_twice(tmp_path, monkeypatch):
    path = tmp_path / "study.jsonl"
    first = study(n_replications=2).run(store=path)
    content = path.read_bytes()

    def refuse(self, model, blocks, params):
        raise AssertionError("computed again")

    monkeypatch.setattr(EMNewton, "solve", refuse)
    again = study(n_replications=2).run(store=path)
    assert again.records == first.records == StudyResult.from_store(path).records
    assert path.read_bytes() == content
    assert StudyResult.from_store(path).settings == first.settings


def test_a_study_grows_in_its_file(tmp_path):
    path = tmp_path / "study.jsonl"
    study(sizes=[60, 100], n_replications=2).run(store=path)
    grown = study(sizes=[60, 200], n_replications=3).run(store=path)
    assert [r.address for r in grown.records] == [(n, r) for n in (60, 200) for r in range(3)]
    assert comparable(grown.records) == comparable(study(sizes=[60, 200], n_replications=3).run().records)
    assert len(StudyResult.from_store(path).records) == 4 + 4


def test_failed_fits_are_kept(tmp_path):
    path = tmp_path / "study.jsonl"
    one = study(sizes=[60, 61], n_replications=1, fitter=Stumbling())
    with pytest.warns(UserWarning, match="errors in 1 of 2 cells"):
        one.run(store=path)
    failed = kept(path)[1]
    assert (failed.n, failed.status, failed.parameters) == (60, "failed: LinAlgError: stumbled", None)
    assert math.isnan(failed.loglik)


def damaged_header(**changes):
    header = {"format": "smoe study", "version": 1, "settings": SETTINGS, "versions": {}, **changes}
    return encode({key: value for key, value in header.items() if value is not None})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"version": 2}, r"a newer one wrote it \(format 2, known up to 1\); update smoe"),
        ({"version": None}, "its first line is damaged, it should have version, settings and versions"),
        ({"version": "1"}, "its first line is damaged"),
        ({"settings": None}, "its first line is damaged"),
        ({"settings": [1]}, "its first line is damaged"),
        ({"versions": None}, "its first line is damaged"),
    ],
)
def test_headers_that_are_damaged_or_newer(changes, message, tmp_path):
    path = tmp_path / "study.jsonl"
    path.write_bytes(damaged_header(**changes) + encode(record()._asdict()))
    before = path.read_bytes()
    for read in (read_store, lambda path: Store(path, SETTINGS)):
        with pytest.raises(ValueError, match=message):
            read(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"n": "abc"},
        {"n": 10.0},
        {"n": True},
        {"n": -10},
        {"replication": None},
        {"seed": None},
        {"seed": []},
        {"seed": [0, 10, 7]},
        {"seed": [0, 10]},
        {"parameters": []},
        {"parameters": {"gate": {"coef": "wide"}}},
        {"loglik": None},
        {"loglik": "high"},
        {"truth_loglik": [1.0]},
        {"score_norm": True},
        {"iterations": 1.5},
        {"converged": 1},
        {"converged": "yes"},
        {"status": None},
        {"seconds": {}},
        {"losses": None},
        {"losses": [1.0]},
        {"losses": {"D1": "small"}},
        {"losses": {"D1": {"cells": [0.1, None]}}},
        {"more": 1},
    ],
)
def test_lines_with_fields_of_a_wrong_type_count_as_missing(change, tmp_path):
    path = written(tmp_path / "study.jsonl", [record(10, 1)])
    path.write_bytes(path.read_bytes() + encode({**record(10, 0)._asdict(), **change}))
    with pytest.warns(UserWarning, match=r"1 line\(s\) of .* cannot be read"), Store(path, SETTINGS) as disk:
        assert disk.records == [record(10, 1)]
        disk.append([record(10, 0)])
    with pytest.warns(UserWarning, match="cannot be read"):
        assert kept(path) == [record(10, 1), record(10, 0)]


def test_numbers_that_are_not_finite_are_records(tmp_path):
    odd = record(10, 0, loglik=-math.inf, losses={"D1": math.inf})
    assert kept(written(tmp_path / "study.jsonl", [odd])) == [odd]


def test_a_record_with_another_seed_counts_as_missing(tmp_path):
    settings = {**SETTINGS, "random_state": 5}
    right = record(10, 1)._replace(seed=[5, 10, 1])
    path = written(tmp_path / "study.jsonl", [record(10, 0), right], settings)
    with pytest.warns(UserWarning, match=r"1 line\(s\) .* cannot be read"), Store(path, settings) as disk:
        assert disk.records == [right]


def test_lines_nested_too_deep_count_as_missing(tmp_path):
    path = written(tmp_path / "study.jsonl", [record(10, 0)])
    whole = path.read_bytes()
    deep = b'{"losses": {"D1": ' + b"[" * 2000 + b"]" * 2000 + b', "w": "NaN"}}\n'
    path.write_bytes(whole + b"[" * 100_000 + b"\n" + deep + b"[" * 100_000)
    with pytest.warns(UserWarning, match=r"2 line\(s\) of .* cannot be read"), Store(path, SETTINGS) as disk:
        assert disk.records == [record(10, 0)]
        disk.append([record(10, 1)])
    with pytest.warns(UserWarning, match="cannot be read"):
        assert kept(path) == [record(10, 0), record(10, 1)]
    path.write_bytes(b"[" * 100_000 + b"\n")
    with pytest.raises(ValueError, match="is not the file of a study"):
        kept(path)


def test_a_study_refuses_the_file_of_other_losses(tmp_path):
    path = tmp_path / "study.jsonl"
    study(sizes=[60], n_replications=1, losses={"L": lambda p, t: 1.0}).run(store=path)
    before = path.read_bytes()
    for losses in ({"L": lambda p, t: 1000.0}, {"L": "D1"}):
        with pytest.raises(ValueError, match="other settings: losses.L"):
            study(sizes=[60], n_replications=2, losses=losses).run(store=path)
    with pytest.raises(ValueError, match="other settings: start"):
        study(sizes=[60], losses={"L": lambda p, t: 1.0}, start=lambda t, k, n, rng: t.params).run(store=path)
    assert path.read_bytes() == before
    study(sizes=[60], n_replications=2, losses={"L": lambda p, t: 1.0}).run(store=path)
    assert [r.losses for r in kept(path)] == [{"L": 1.0}] * 2


SCRIPT = """
    import sys
    import studies

    if __name__ == "__main__":
        losses = {"slow": studies.slow_loss}
        studies.study(losses=losses, n_replications=20).run(n_jobs=int(sys.argv[1]), store=sys.argv[2])
"""


@contextlib.contextmanager
def running(script, n_jobs, path):
    """The script in a session of its own; worker processes that outlive it end with the test."""
    folders = [str(Path(studies.__file__).parent), str(Path(store.__file__).parents[2])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    command = [sys.executable, str(script), str(n_jobs), str(path)]
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def n_lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.sweep
def test_killed_twice(tmp_path):
    script, path = tmp_path / "script.py", tmp_path / "study.jsonl"
    script.write_text(textwrap.dedent(SCRIPT))
    content = b""
    for n_jobs in (2, 1):
        with running(script, n_jobs, path) as process:
            deadline = time.monotonic() + 60
            while n_lines(path) < content.count(b"\n") + 8:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.01)
            process.kill()
            assert process.wait() == -signal.SIGKILL
            assert path.read_bytes().startswith(content[: content.rfind(b"\n") + 1])
            content = path.read_bytes()
            assert content.count(b"\n") < 61
            with Store(path, read_store(path)[0]):  # no worker that is left holds the lock
                pass
    study(losses={"slow": studies.variance_loss}, n_replications=20).run(store=path)
    assert path.read_bytes().startswith(content[: content.rfind(b"\n") + 1]) and n_lines(path) == 61
    uninterrupted = study(losses={"slow": studies.variance_loss}, n_replications=20).run().records
    assert comparable(kept(path)) == comparable(uninterrupted)
