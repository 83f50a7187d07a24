"""Records depend on the settings and on the address of their cell, and on nothing else."""

import contextlib
import json
import os
import sys
import time
from functools import partial

import distributed
import joblib
import numpy as np
import pytest
import studies
from sklearn.linear_model import LinearRegression
from studies import Stumbling, comparable, study, truth_of
from threadpoolctl import threadpool_limits

from helpers import assert_close, interrupt_of_compiled_code, random_expert, random_gate, sampled
from smoe import SoftmaxMoERegressor
from smoe.experts import GaussianExpert
from smoe.gates import GATES, ActivationDenseToSparseGate, TopKGate
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, flatten, permute
from smoe.settings import described
from smoe.simulation import LOSSES, ConvergenceStudy, StudyResult, as_params, near_truth, progress
from smoe.simulation.study import _computed
from smoe.solvers import EM, EMNewton, Newton, SupportSearch

MODELS = [MixtureOfExperts(GATES[name](), GaussianExpert()) for name in GATES]


def without_process(records):
    return [record._replace(losses={k: v for k, v in record.losses.items() if k != "process"}) for record in records]


@contextlib.contextmanager
def dask_cluster():
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    )
    with cluster, distributed.Client(cluster), joblib.parallel_config("dask"):
        yield


@contextlib.contextmanager
def two_processes():
    with joblib.parallel_config(n_jobs=2):
        yield


@pytest.mark.parametrize("workers", sampled([two_processes, dask_cluster]))
def test_records_do_not_depend_on_the_processes(workers):
    losses = {**studies.LOSSES, "process": studies.process_loss}
    alone = study(losses=losses).run(n_jobs=1).records
    assert {record.losses["process"] for record in alone} == {os.getpid()}
    with workers():
        shared = study(losses=losses).run().records
    processes = {record.losses["process"] for record in shared}
    assert len(processes) == 2 and os.getpid() not in processes
    assert comparable(without_process(shared)) == comparable(without_process(alone))


def test_a_cell_alone_gives_its_record():
    one = study()
    records = one.run().records
    assert [record.address for record in records] == [(n, r) for n in (60, 100, 200) for r in range(3)]
    assert comparable([one.run_cell(100, 2)]) == comparable(r for r in records if r.address == (100, 2))
    assert records[0].seed == [0, 60, 0]


def test_other_cells_make_no_difference():
    few = study(sizes=[100], n_replications=2).run().records
    many = [record for record in study().run().records if record.address in {(100, 0), (100, 1)}]
    assert comparable(few) == comparable(many)


def test_cells_and_seeds_differ():
    one, other = study(), study(random_state=1)
    logliks = [one.run_cell(100, 0), one.run_cell(100, 1), one.run_cell(101, 0), other.run_cell(100, 0)]
    assert len({record.truth_loglik for record in logliks}) == 4


def test_a_record_is_a_certified_maximum_of_its_data():
    record = study(sizes=[500]).run_cell(500, 1)
    truth = truth_of()
    data = np.random.SeedSequence(0, spawn_key=(500, 1)).spawn(1)[0]
    X, y = truth.draw(500, np.random.default_rng(data))
    params = as_params(record.parameters, truth.model)
    fitted = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    assert record.truth_loglik == truth.loglik(X, y)
    assert record.loglik == pytest.approx(truth_of(params=params).loglik(X, y), rel=1e-12)
    assert record.loglik == pytest.approx(fitted.loglik_, rel=1e-10) and record.loglik > record.truth_loglik
    assert (record.converged, record.status, record.failed, record.below_truth) == (True, "converged", False, False)
    assert record.score_norm <= 1e-8 and record.iterations > 0 and record.seconds > 0
    assert record.losses["variance"] == studies.variance_loss(params, truth)
    assert record.losses["nested"]["coef"] == np.abs(params.expert.coef).max(axis=1).tolist()
    assert params.gate.coef[-1] == 0 and params.gate.intercept[-1] == 0


@pytest.mark.parametrize("start", ["data", "near_truth"])
def test_estimators_fit_the_same_data(start):
    estimator = SoftmaxMoERegressor(7, n_init=50)
    record = study(fitter=estimator, start=start, n_experts=2).run_cell(300, 0)
    other = study().run_cell(300, 0)
    assert record.truth_loglik == other.truth_loglik
    assert record.loglik == pytest.approx(other.loglik, rel=1e-10)
    assert record.converged and estimator.get_params() == SoftmaxMoERegressor(7, n_init=50).get_params()


def test_the_estimators_number_of_experts_is_the_default():
    assert len(study(fitter=SoftmaxMoERegressor(3)).run_cell(300, 0).parameters["expert"]["variance"]) == 3


def test_a_start_of_ones_own():
    def at_truth(truth, n_experts, n, rng):
        assert (n_experts, isinstance(rng, np.random.Generator)) == (2, True)
        return truth.params

    record = study(start=at_truth, fitter=EM(max_iter=0)).run_cell(300, 0)
    assert record.loglik == pytest.approx(record.truth_loglik, rel=1e-12)
    assert not record.converged and "score norm per row" in record.status


@pytest.mark.parametrize("start", [lambda *_: None, lambda truth, *_: permute(truth.params, [0])])
def test_a_start_that_is_none_is_refused_at_once(start):
    with pytest.raises(ValueError, match="start must return MoEParams of 2 experts"):
        study(start=start, fitter=SoftmaxMoERegressor(2))


def test_an_estimator_begins_from_the_parameters_given():
    estimator = SoftmaxMoERegressor(2, solver=EM(max_iter=0), n_init=20)
    record = study(start=lambda truth, *_: truth.params, fitter=estimator).run_cell(300, 0)
    assert record.loglik == pytest.approx(record.truth_loglik, rel=1e-12)


def test_gates_are_reported_with_the_last_expert_at_zero():
    record = study(start=lambda truth, *_: permute(truth.params, [1, 0])).run_cell(300, 0)
    params = as_params(record.parameters, truth_of().model)
    assert params.gate.coef[1] == params.gate.intercept[1] == 0 and params.gate.coef[0] < -10
    assert record.loglik == pytest.approx(study().run_cell(300, 0).loglik, rel=1e-12)


def test_a_model_of_ones_own():
    dense, sparse = (MixtureOfExperts(TopKGate(k), GaussianExpert()) for k in (2, 1))
    one = ConvergenceStudy(truth_of(sparse), EM(), [100], start="near_truth", model=dense)
    assert [one.settings["model"][0]["top_k"], one.settings["truth"]["gate"]["top_k"]] == [2, 1]
    record = one.run_cell(100, 0)
    X, y = truth_of(sparse).draw(100, np.random.default_rng(np.random.SeedSequence(0, spawn_key=(100, 0)).spawn(1)[0]))
    assert record.truth_loglik == truth_of(sparse).loglik(X, y) != truth_of(dense).loglik(X, y)
    assert record.loglik == pytest.approx(truth_of(dense, as_params(record.parameters, dense)).loglik(X, y), rel=1e-12)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model.gate).__name__)
@pytest.mark.parametrize("extra", [0, 3])
def test_near_truth(model, extra, rng):
    if extra and not model.gate.exchangeable:
        pytest.skip("places are not copied")
    k, d, n = 3, 2, 10_000
    gate = model.gate.canonical(random_gate(model.gate, k, d, rng))
    truth = truth_of(model, MoEParams(gate, random_expert(model.expert, k, d, rng)))
    start = near_truth(truth, k + extra, n, rng)
    assert [f.shape[0] for f in start.expert] == [k + extra] * 3
    distance = ((start.expert.coef[:, None] - truth.params.expert.coef) ** 2).sum(axis=2)
    nearest = distance.argmin(axis=1)
    assert nearest[extra:].tolist() == list(range(k)) and distance.min(axis=1).max() < 0.1
    assert_close(model.gate.canonical(start.gate), start.gate)
    for name, atom, moved in zip(start.gate._fields, truth.params.gate, start.gate, strict=True):
        copies = atom if model.gate.fields[name].shared else atom[nearest]
        np.testing.assert_allclose(moved, copies, rtol=0.03, atol=0.03, err_msg=name)


def test_near_truth_has_the_published_spread(rng):
    truth, n = truth_of(), 1000
    starts = [near_truth(truth, 2, n, rng) for _ in range(4000)]
    gate = np.array([flatten(s.gate) - flatten(truth.params.gate) for s in starts]).std(axis=0) / n**-0.083
    lines = np.array([s.expert.coef[:, 0] - truth.params.expert.coef[:, 0] for s in starts]).std(axis=0) / n**-0.083
    logs = np.array([np.log(s.expert.variance / truth.params.expert.variance) for s in starts]).std() / n**-0.083
    np.testing.assert_allclose(gate, [0.005, 0.005, 0, 0], rtol=0.05)
    np.testing.assert_allclose([*lines, logs], 0.05, rtol=0.05)


def test_additional_experts_go_anywhere(rng):
    truth = truth_of()
    slopes = [near_truth(truth, 3, 100, rng).expert.coef[0, 0] for _ in range(200)]
    assert 60 < sum(slope > 0 for slope in slopes) < 140


def test_a_learned_temperature_stays_positive(rng):
    gate = ActivationDenseToSparseGate("sigmoid")
    params = gate.init_params(2, 1)._replace(temperature=np.array(1e-3))
    truth = truth_of(MixtureOfExperts(gate, GaussianExpert()), studies.T0._replace(gate=params))
    for _ in range(100):
        assert near_truth(truth, 2, 100, rng, gate_sd=5.0).gate.temperature > 0


def test_a_fit_that_raises_leaves_a_record():
    one = study(sizes=[61, 100], n_replications=2, fitter=Stumbling())
    with pytest.warns(UserWarning, match=r"errors in 2 of 4 cells, for instance at n=100, replication=0: failed"):
        result = one.run()
    failed = [record for record in result.records if record.failed]
    assert [record.n for record in failed] == [100, 100]
    assert failed[0].status == "failed: LinAlgError: stumbled"
    assert (failed[0].parameters, failed[0].losses, failed[0].converged) == (None, {}, False)
    assert np.isnan(failed[0].loglik) and np.isfinite(failed[0].truth_loglik) and failed[0].below_truth
    assert (result.share_failed, result.share_below_truth) == (0.5, 0.5)


def test_a_loss_that_raises_is_missing():
    one = study(sizes=[200], n_replications=9, losses={**studies.LOSSES, "odd": studies.stumbling_loss})
    with pytest.warns(UserWarning, match=r"errors in \d of 9 cells, .*converged; loss 'odd' failed: ZeroDivisionError"):
        records = one.run().records
    odd = [record.losses["odd"] for record in records]
    assert 0 < np.isnan(odd).sum() < 9 and np.nanmax(odd) == 1.0
    assert all(record.converged and np.isfinite(record.losses["variance"]) for record in records)
    assert all(record.status == "converged" for record, value in zip(records, odd, strict=True) if value == 1.0)


def test_losses_are_tried_on_the_truth():
    with pytest.raises(ValueError, match="losses: tried on the truth's own parameters: loss 'bad' failed: ZeroDivisio"):
        study(losses={"bad": studies.bad_loss})
    with pytest.raises(ValueError, match="loss 'text' failed: ValueError"):
        study(losses={"text": lambda params, truth: "much"})
    with pytest.raises(ValueError, match="a loss must return a number, an array or a dict of these, got None"):
        study(losses={"nothing": lambda params, truth: None})


def test_no_memory_is_not_the_fits_fault(monkeypatch):
    def starved(self, model, blocks, params):
        raise MemoryError

    monkeypatch.setattr(Stumbling, "solve", starved)
    with pytest.raises(MemoryError):
        study(fitter=Stumbling()).run_cell(60, 0)


@pytest.mark.parametrize("where", ["fit", "loss"])
def test_an_interrupt_of_compiled_code_ends_the_study(where, monkeypatch, tmp_path):
    def interrupted(*_):
        raise interrupt_of_compiled_code()

    fitter = Stumbling() if where == "fit" else EMNewton()
    one = study(fitter=fitter, sizes=[60], losses=studies.LOSSES)
    if where == "fit":
        monkeypatch.setattr(Stumbling, "solve", interrupted)
    else:
        monkeypatch.setitem(one._cells.losses, "variance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one.run(n_jobs=1, store=tmp_path / "records")
    assert StudyResult.from_store(tmp_path / "records").records == []


def test_any_seed_will_do():
    seed = np.random.SeedSequence().entropy
    assert study(random_state=seed).run_cell(60, 0).seed == [seed, 60, 0]


def test_a_start_may_have_lists():
    def start(*_):
        return MoEParams(*(type(part)(*(field.tolist() for field in part)) for part in studies.T0))

    assert study(start=start).run_cell(100, 0).converged


def test_losses_by_name(monkeypatch):
    monkeypatch.setitem(LOSSES, "spread", studies.variance_loss)
    values = [study(losses=losses).run_cell(60, 0).losses for losses in ("spread", ["spread"], {"mine": "spread"})]
    assert values[0] == values[1] == {"spread": values[2]["mine"]}
    assert study(losses=()).run_cell(60, 0).losses == {}


def test_cells_run_on_one_thread():
    with threadpool_limits(2):
        assert study(losses={"threads": studies.threads_loss}).run_cell(60, 0).losses == {"threads": 1}
        assert studies.threads_loss(None, None) == 2


def test_large_cells_first_small_ones_together():
    one = study(sizes=[40, 400, 4000], n_replications=30, fitter=EM(max_iter=3))
    batches = list(_computed(one._cells, [(n, r) for n in (4000, 400, 40) for r in range(30)], 1))
    sizes = [record.n for batch in batches for record in batch]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) == 90
    assert len(batches[0]) == 1 and len(batches) < 30


@pytest.mark.parametrize("missing", [(), ("rich",), ("rich", "tqdm")])
def test_progress(missing, monkeypatch, capsys):
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, f"{name}.console", None)
    study().run(progress=True)
    out, err = capsys.readouterr()
    assert "study" in err and "100" in err and "left" in err and not out


def test_plain_progress_knows_the_time_left(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with progress._plain(1000, done=400, name="study") as advance:
        now = 10.0
        advance(200)
        now = 11.0
        advance(1)
    assert capsys.readouterr().err == "study: 60 % done, about 20 s left\n"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"sizes": []}, ValueError, "sizes is empty"),
        ({"sizes": [100, 100]}, ValueError, "sizes must differ"),
        ({"sizes": [100.5]}, TypeError, "sizes must be an integer"),
        ({"sizes": [0]}, ValueError, "sizes must be an integer of at least"),
        ({"n_replications": 0}, ValueError, "n_replications"),
        ({"random_state": None}, TypeError, "random_state must be an integer"),
        ({"random_state": -1}, ValueError, "random_state"),
        ({"n_experts": 1}, ValueError, "needs at least its 2 experts"),
        ({"n_experts": 2.0}, TypeError, "n_experts must be an integer"),
        ({"fitter": EMNewton}, TypeError, r"got .*EMNewton.*Call the class: EMNewton\(\)"),
        ({"fitter": GaussianExpert()}, TypeError, "fitter must be an unfitted estimator"),
        ({"fitter": LinearRegression()}, TypeError, "fitter must be an unfitted estimator of smoe"),
        ({"model": MixtureOfExperts(TopKGate(3), GaussianExpert()), "fitter": EM()}, ValueError, "top_k"),
        ({"start": "data"}, ValueError, "start='data' needs an estimator"),
        ({"start": "near"}, ValueError, "start must be 'data', 'near_truth' or callable, got 'near'"),
        ({"start": lambda *_: studies.T0.gate}, ValueError, "MoEParams"),
        ({"start": lambda *_: studies.T0, "n_experts": 3}, ValueError, "gate.coef must have shape"),
        ({"losses": None}, TypeError, "losses must be a dict of callables, a list of names or a name, got None"),
        ({"losses": {"a": 1}}, TypeError, "losses: 'a' must be callable"),
        ({"losses": {1: "a"}}, TypeError, "name of a loss must be text"),
        ({"losses": "no such"}, ValueError, "losses: 'no such' is not known"),
        ({"model": "softmax"}, TypeError, "model must be a smoe.mixture.MixtureOfExperts"),
        ({"model": MODELS[0], "fitter": SoftmaxMoERegressor()}, ValueError, "model: an estimator has a model of its"),
        ({"model": MixtureOfExperts(TopKGate(1), GaussianExpert()), "fitter": Newton()}, TypeError, "use solver="),
    ],
)
def test_bad_arguments(changes, error, message):
    with pytest.raises(error, match=message):
        study(**changes)


def test_bad_truth_and_address():
    with pytest.raises(TypeError, match=r"truth must be a smoe.simulation.Truth, got MoEParams without model, params"):
        ConvergenceStudy(studies.T0, EMNewton(), [100], start="near_truth")
    with pytest.raises(ValueError, match="n must be an integer of at least 1"):
        study().run_cell(0, 0)
    with pytest.raises(ValueError, match="replication must be an integer of at least 0"):
        study().run_cell(100, -1)


def test_settings_tell_studies_apart():
    plain = study().settings
    assert study(sizes=[7], n_replications=1).settings == plain
    others = [
        study(random_state=1),
        study(n_experts=3),
        study(fitter=EMNewton(tol=1e-6)),
        study(fitter=SoftmaxMoERegressor(2, solver=EM(max_iter=7))),
        study(fitter=SoftmaxMoERegressor(2)),
        study(fitter=SoftmaxMoERegressor(2), start="data"),
        study(start=partial(near_truth, expert_sd=0.1)),
        study(start=partial(near_truth, expert_sd=0.2)),
        study(losses={}),
    ]
    assert all(one.settings != other.settings for i, one in enumerate([study(), *others]) for other in others[i:])
    quiet, loud = SoftmaxMoERegressor(2), SoftmaxMoERegressor(2, verbose=1, n_jobs=2, random_state=3)
    assert study(fitter=quiet).settings == study(fitter=loud).settings


def one_start(truth, n_experts, n, rng):
    return truth.params


def other_start(truth, n_experts, n, rng):
    return near_truth(truth, n_experts, n, rng)


def renamed(function, name):
    function.__name__, function.__qualname__ = name, name
    return function


class Scaled:
    """A loss that is an object."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, params, truth):
        return self.factor * float(params.gate.coef.max())


def test_what_shares_a_name_is_told_apart():
    one, other = (lambda p, t: 1.0), (lambda p, t: 2.0)
    pairs = [
        ({"losses": {"L": one}}, {"losses": {"L": other}}),
        ({"losses": {"L": "D1"}}, {"losses": {"L": "D2"}}),
        ({"losses": {"L": Scaled(1.0)}}, {"losses": {"L": Scaled(2.0)}}),
        ({"losses": {"L": one}}, {"losses": {"L": lambda p, t: {"value": 1.0, "more": 1.0}}}),
        ({"start": renamed(one_start, "start")}, {"start": renamed(other_start, "start")}),
        ({"start": lambda *a: near_truth(*a, 0.005)}, {"start": lambda *a: near_truth(*a, 0.006)}),
        (
            {"fitter": SoftmaxMoERegressor(2, solver=SupportSearch(random_state=0))},
            {"fitter": SoftmaxMoERegressor(2, solver=SupportSearch(random_state=1))},
        ),
    ]
    for left, right in pairs:
        assert study(**left).settings == study(**left).settings
        assert study(**left).settings != study(**right).settings, left
    searches = [SupportSearch(random_state=seed) for seed in (0, 1)]
    one, other = (ConvergenceStudy(truth_of(TopKGate(1)), s, [60], start="near_truth") for s in searches)
    assert one.settings != other.settings


def test_losses_are_what_they_give():
    one, renamed_one = (lambda p, t: float(p.gate.coef.max())), Scaled(1.0)
    assert study(losses={"L": one}).settings == study(losses={"L": renamed_one}).settings
    noisy = study(losses={"L": lambda p, t: np.random.default_rng().normal()})
    assert noisy.settings["losses"] == {"L": "random"}  # and such a study can be resumed


def test_settings_of_functions_are_the_same_in_every_process():
    """Without a name of its own a function is its code and what it holds, never an address."""

    def power(exponent, held):
        return lambda u: u**exponent + len(held)

    first, second = described(power(2, [])), described(power(3, []))
    assert first == described(power(2, [])) != second
    assert described(power(2, [object()])) == described(power(2, [object()]))
    loop = []
    loop.append(power(2, loop))
    assert "itself" in json.dumps(described(loop))
    assert described(np.exp) == described(np.exp) != described(np.tanh)
    assert described(np.random.RandomState(0)) == described(np.random.RandomState(0))
    assert described(np.random.RandomState(0)) != described(np.random.RandomState(1))
    assert described(Scaled(1.0)) == {"class": f"{__name__}.Scaled", "factor": 1.0}
