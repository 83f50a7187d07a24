"""Callbacks of scikit-learn watch a search, and may end it."""

import pickle

import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from smoe import MoERegressor
from smoe.datasets import load_faithful

callback = pytest.importorskip("sklearn.callback")

FAITHFUL = load_faithful(return_X_y=True)


class Recorder:
    """Keeps what it is told, and ends the search at the end of a first task of this name."""

    def __init__(self, last=None):
        self.last, self.begun, self.ended, self.torn_down = last, [], [], 0

    def setup(self, estimator, context):
        """Nothing to do."""

    def teardown(self, estimator, context):
        self.torn_down += 1

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(_path(context))

    def on_fit_task_end(self, estimator, context):
        self.ended.append(_path(context))
        return context.task_name == self.last


def _path(context):
    return (*(() if context.parent is None else _path(context.parent)), context.task_name)


def test_they_see_every_stage_and_every_piece_of_it_and_change_nothing():
    seen = Recorder()
    model = MoERegressor(2, n_init=12, random_state=0).set_callbacks(seen).fit(*FAITHFUL)
    assert sorted(seen.begun) == sorted(seen.ended) and seen.torn_down == 1
    assert seen.begun[0] == seen.ended[-1] == ("fit",)
    stages = list(dict.fromkeys(path[1] for path in seen.begun if len(path) == 2))
    assert stages == ["screen", "finish", "swap"]
    assert seen.ended.count(("fit", "screen", "screen")) == 12 + 10 + 10  # three rungs
    assert seen.ended.count(("fit", "finish", "finish")) == sum(
        record.n_iter > 0 and record.start != "Swaps" for record in model.starts_
    )
    assert model.loglik_ == MoERegressor(2, n_init=12, random_state=0).fit(*FAITHFUL).loglik_
    assert "_watcher" not in vars(model) and not hasattr(model, "_callback_fit_ctx")


@pytest.mark.filterwarnings("ignore:not a certified maximum")
@pytest.mark.parametrize(("last", "n"), [("screen", 3), ("swap", 1)])  # a look on each rung, or parameters would lack
def test_they_may_end_the_search_and_the_status_says_so(last, n):
    seen = Recorder(last)
    model = MoERegressor(3, random_state=0).set_callbacks(seen).fit(*FAITHFUL)
    assert "a callback ended the search" in model.status_
    assert seen.ended.count(("fit", last, last)) == n
    assert model.predict(FAITHFUL[0]).shape == FAITHFUL[1].shape


def test_they_are_torn_down_where_a_fit_fails():
    seen = Recorder()
    with pytest.raises(ValueError, match="n_init"):
        MoERegressor(2, n_init=0).set_callbacks(seen).fit(*FAITHFUL)
    assert seen.torn_down == 1


def test_scores_are_monitored():
    monitor = callback.ScoringMonitor(scoring="r2")
    model = MoERegressor(2, n_init=4, random_state=0).set_callbacks(monitor).fit(*FAITHFUL)
    (row,) = monitor.get_logs().data
    assert row["r2"] == pytest.approx(model.score(*FAITHFUL))


def test_searches_within_searches_show_their_progress(capsys):
    pytest.importorskip("rich")
    pipeline = make_pipeline(StandardScaler(), MoERegressor(2, n_init=2, random_state=0))
    search = GridSearchCV(pipeline, {"moeregressor__n_experts": [1, 2]}, cv=2)
    search.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(*FAITHFUL)
    shown = capsys.readouterr().out
    assert "MoERegressor - fit" in shown and "MoERegressor - screen" in shown


def test_estimators_with_callbacks_can_be_cloned_and_pickled():
    model = MoERegressor(2, n_init=2, random_state=0).set_callbacks(Recorder()).fit(*FAITHFUL)
    assert pickle.loads(pickle.dumps(model)).loglik_ == model.loglik_
    assert clone(model).get_params() == model.get_params()
