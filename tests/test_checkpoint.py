"""A fit that was killed goes on: it ends where an undisturbed one does, and does not do again what had been done."""

import numpy as np
import pytest

from helpers import assert_close, interrupt_of_compiled_code, quietly
from smoe import MoERegressor
from smoe.checkpoint import Checkpoint
from smoe.datasets import make_moe
from smoe.solvers import EM, EMNewton

moe = make_moe(150, 2, 1, random_state=1)
DATA = moe.data, moe.target


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr("smoe.checkpoint._EVERY", 0.0)


class Killed(Exception):
    pass


def killed_after(monkeypatch, n, error=Killed):
    """Let the machine fail in the n-th piece of work, and count the pieces."""
    done, piece = [], Checkpoint.piece

    def counted(self, function, item):
        def work(item):
            if len(done) == n:
                raise error
            done.append(function.__name__)
            return function(item)

        work.__qualname__ = function.__qualname__
        return piece(self, work, item)

    monkeypatch.setattr(Checkpoint, "piece", counted)
    return done


def fitted(**settings):
    return quietly(MoERegressor(**settings).fit, *DATA)


def settings(path, **others):
    return {"n_init": 6, "random_state": None, "checkpoint": path} | others


@pytest.mark.parametrize("n", [0, 10])
def test_a_killed_fit_goes_on(n, tmp_path, monkeypatch):
    path = tmp_path / "fit.ckpt"
    with monkeypatch.context() as patch:
        killed_after(patch, n)
        with pytest.raises(Killed):
            fitted(**settings(path))
    state = Checkpoint._resume
    begun = []

    def resume(self, rng):
        state(self, rng)
        begun.append(rng.bit_generator.state)

    monkeypatch.setattr(Checkpoint, "_resume", resume)
    done = killed_after(monkeypatch, np.inf)
    model = fitted(**settings(path))
    n_left = len(done)
    assert not path.exists() and len(begun) == 1
    done.clear()
    rng = np.random.default_rng()
    rng.bit_generator.state = begun[0]
    whole = fitted(**settings(path, random_state=rng))  # the same, undisturbed
    assert n_left == len(done) - n and not path.exists()
    assert model.loglik_ == whole.loglik_ and str(model.starts_) == str(whole.starts_)
    assert_close(model.params_, whole.params_, rtol=0, atol=0)


def test_a_climb_goes_on_from_the_best_it_had_reached(tmp_path, monkeypatch):
    path, one = tmp_path / "fit.ckpt", {"n_init": 1, "random_state": 0}
    whole = fitted(**settings(None, solver=EM(60), **one))

    class Fragile(EM):
        left = 20

        def _ascend(self, *args):
            type(self).left -= 1
            if type(self).left < 0:
                raise Killed
            return super()._ascend(*args)

    with pytest.raises(Killed):
        fitted(**settings(path, solver=Fragile(60), **one))
    Fragile.left = 10**6
    model = fitted(**settings(path, solver=Fragile(60), **one))
    assert model.n_iter_ == 60
    np.testing.assert_allclose(model.trace_[:41], whole.trace_[20:], rtol=1e-12)
    assert not path.exists()


def test_other_settings_rows_or_files_are_refused_in_words(tmp_path, monkeypatch):
    path = tmp_path / "fit.ckpt"
    fixed = settings(path, random_state=0)
    with monkeypatch.context() as patch:
        killed_after(patch, 3)
        with pytest.raises(Killed):
            fitted(**fixed)
    before, (X, y) = path.read_bytes(), DATA
    for other in ({"n_experts": 3}, {"random_state": 1}, {"gate": "ordered"}, {"tol": 1e-6}):
        with pytest.raises(ValueError, match=f"of a fit with other settings .*{next(iter(other))}"):
            fitted(**fixed | other)
    moved = y.copy()
    moved[-1] += 0.1
    for rows in ((X[:-1], y[:-1]), (X, moved), (X, y, np.full(len(y), 2.0))):
        with pytest.raises(ValueError, match="of a fit with other rows; delete it"):
            MoERegressor(**fixed).fit(*rows)
    assert path.read_bytes() == before
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(ValueError, match="no checkpoint of this version"):
        fitted(**fixed | {"checkpoint": notes})
    assert notes.read_text() == "mine"
    with pytest.raises(TypeError, match="checkpoint must be a string or a path"):
        fitted(**fixed | {"checkpoint": 3})
    with pytest.raises(OSError):
        fitted(**fixed | {"checkpoint": tmp_path / "nowhere" / "fit"})
    fitted(**fixed | {"verbose": 0, "time_limit": 1e6})
    assert not path.exists()


def test_time_that_is_up_leaves_the_file(tmp_path):
    path = tmp_path / "fit.ckpt"
    model = fitted(**settings(path, random_state=0, time_limit=0.0))
    assert "time_limit=0 ended the search" in model.status_ and path.exists()
    more = fitted(**settings(path, random_state=0))
    assert not path.exists() and more.loglik_ == fitted(**settings(None, random_state=0)).loglik_


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("after", [2, 10**6])
def test_an_interrupt_leaves_the_best_so_far(after, compiled):
    """In the first climb on all rows, or after it, in the second one."""

    class Tired(EMNewton):
        left = after

        def solve(self, model, blocks, params):
            type(self).n_solved += 1
            if type(self).n_solved == 2:
                raise interrupt_of_compiled_code() if compiled else KeyboardInterrupt
            return super().solve(model, Once(blocks), params)

        n_solved = 0

    class Once:
        def __init__(self, blocks):
            self.blocks = blocks

        def __getattr__(self, name):
            return getattr(self.blocks, name)

        def __len__(self):
            return len(self.blocks)

        def sum(self, *args):
            Tired.left -= 1
            if Tired.left < 0:
                raise interrupt_of_compiled_code() if compiled else KeyboardInterrupt
            return self.blocks.sum(*args)

    model = MoERegressor(random_state=0, n_init=6, solver=Tired())
    with pytest.raises(KeyboardInterrupt):
        model.fit(*DATA)
    assert not model.converged_ and "interrupted" in model.status_ and model.covariance_ is None
    assert np.isclose(model.loglik(*DATA), model.loglik_, rtol=1e-9) and np.isfinite(model.predict(DATA[0])).all()
    assert ("not at its end" in model.status_) == (after == 2)


def test_an_interrupt_before_anything_is_found_leaves_the_last_fit(monkeypatch):
    model = MoERegressor(2, random_state=0).fit(*DATA)
    before = model.loglik_
    killed_after(monkeypatch, 0, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(DATA[0][:100], DATA[1][:100])
    assert model.loglik_ == before and model.converged_
