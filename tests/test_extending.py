"""The gate and the family of the documentation keep the contracts, and fit."""

import inspect
import itertools
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from contract import test_experts as experts_battery
from contract import test_gates as gates_battery
from contract import test_mixture as mixture_battery
from helpers import BATTERY, INFORMED, PAIRS, SMOOTH, SMOOTH_PAIRS
from smoe import MoERegressor
from smoe.datasets import make_moe
from smoe.experts import EXPERTS, GaussianExpertParams
from smoe.features import Rows, design
from smoe.gates import GATES
from smoe.params import MoEParams
from smoe.simulation import Truth

DOCS = Path(__file__).parents[1] / "docs"
sys.path.append(str(DOCS / "extending"))
from geometric_family import Geometric  # noqa: E402
from quadratic_gate import QuadraticGate, QuadraticGateParams  # noqa: E402
from similar_slopes import SimilarSlopes  # noqa: E402
from student_t_expert import StudentTExpert  # noqa: E402

REGISTERED = (GATES, SMOOTH, INFORMED, BATTERY, PAIRS, SMOOTH_PAIRS)
# What is beyond the grids of these tests is not negligible.
NOT_FOR_T = (
    "test_sample_follows_the_density",
    "test_cdf_is_the_integral_of_the_density",
    "test_mean_and_std_are_those_of_the_density",
)


def battery(module, argument, value, without=()):
    """The module's tests of everything that is registered, with another value for the argument."""
    for name, test in vars(module).items():
        marks = {mark.args[0]: mark.args[1] for mark in getattr(test, "pytestmark", ())}
        if name in without or not any(marks.get(argument) is registered for registered in REGISTERED):
            continue
        others = {
            key: [chosen for chosen in values if not getattr(chosen, "marks", ())]  # what every run has
            for key, values in marks.items()
            if key != argument
        }
        for chosen in itertools.product(*others.values()):
            settings = _named([argument, *others], [value, *chosen])
            yield pytest.param(test, settings, id="-".join([module.__name__, name, *map(str, chosen)]))


def _named(keys, values):
    names = [key.split(", ") for key in keys]
    values = [value if len(name) > 1 else [value] for name, value in zip(names, values, strict=True)]
    return dict(zip(itertools.chain(*names), itertools.chain(*values), strict=True))


TOGETHER = [
    *battery(mixture_battery, "gate, expert", ("quadratic", "gaussian")),
    *battery(mixture_battery, "gate, expert", ("softmax", "student_t"), NOT_FOR_T),
]
CASES = [
    *battery(gates_battery, "name", "quadratic"),
    *battery(experts_battery, "name", "student_t", NOT_FOR_T),
    *(case for case in TOGETHER if "(3, 2)" not in case.id),  # naive second derivatives are slow
]


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(GATES, "quadratic", QuadraticGate)
    monkeypatch.setitem(EXPERTS, "student_t", StudentTExpert)


def test_the_batteries_are_not_empty():
    count = [sum(module.__name__ in case.id for case in CASES) for module in (gates_battery, experts_battery)]
    assert min(count) > 20 and sum(mixture_battery.__name__ in case.id for case in CASES) > 20


@pytest.mark.parametrize("test, settings", CASES)
def test_contract(test, settings, registered, request):
    fixtures = [name for name in inspect.signature(test).parameters if name not in settings]
    test(**settings, **{name: request.getfixturevalue(name) for name in fixtures})


def t_experts(k=3, d=2, m=60):
    """A family with parameters, a design, responses, and responsibilities."""
    rng = np.random.default_rng(7)
    params = GaussianExpertParams(rng.normal(size=(k, d)), rng.normal(size=k), rng.uniform(0.3, 2.0, k))
    Z = design(rng.normal(size=(d, m)))
    return StudentTExpert(df=4.0), params, Z, 3 * rng.normal(size=m), rng.dirichlet(np.ones(k), m).T


def test_student_t_is_that_of_scipy():
    expert, params, Z, y, _ = t_experts()
    law = stats.t(4.0, expert.mean(Rows(Z), params), np.sqrt(params.variance)[:, None])
    np.testing.assert_allclose(expert.log_prob(Rows(Z, y), params), law.logpdf(y), rtol=1e-12)
    np.testing.assert_allclose(expert.cdf(Rows(Z, y), params), law.cdf(y), rtol=1e-10)
    np.testing.assert_allclose(expert.cdf(Rows(Z, y), params, upper=True), law.sf(y), rtol=1e-10)
    np.testing.assert_allclose(expert.log_cdf(Rows(Z, y), params), law.logcdf(y), rtol=1e-9)
    np.testing.assert_allclose(expert.ppf(Rows(Z), 0.3, params), law.ppf(0.3), rtol=1e-10)
    np.testing.assert_allclose(expert.ppf(Rows(Z), 0.3, params, upper=True), law.isf(0.3), rtol=1e-10)
    np.testing.assert_allclose(expert.variance(Rows(Z), params), law.var() * np.ones(y.shape), rtol=1e-12)
    one = Z[:, [0] * 40_000]
    draws = expert.sample(Rows(one), np.ones(40_000, dtype=int), params, np.random.default_rng(0))
    located = stats.t(4.0, expert.mean(Rows(Z), params)[1, 0], np.sqrt(params.variance[1]))
    assert stats.kstest(draws, located.cdf).pvalue > 1e-3


def test_student_t_m_steps_climb_to_a_maximum():
    expert, params, Z, y, resp = t_experts()
    before = -np.inf
    for _ in range(300):
        now = (resp * expert.log_prob(Rows(Z, y), params)).sum()
        assert now >= before - 1e-12 * abs(now)
        before, params = now, expert.m_step(expert.suffstats(Rows(Z, y), params, resp), params)
    score = expert.score(expert.suffstats(Rows(Z, y), params, resp), params)
    assert max(np.abs(field).max() for field in score) < 1e-8


def test_student_t_experts_are_robust():
    rng = np.random.default_rng(3)
    experts = GaussianExpertParams(np.array([[3.0], [-2.0]]), np.array([0.0, 1.0]), np.array([0.1, 0.1]))
    moe = make_moe(400, params=MoEParams(gate_of([[4.0], [0.0]], [0.0, 0.0]), experts), random_state=0)
    y = moe.target + np.where(rng.random(400) < 0.05, rng.normal(0, 8, 400), 0.0)
    errors = {}
    for expert in (StudentTExpert(df=3.0), "gaussian"):
        model = MoERegressor(2, expert=expert, n_init=6, random_state=0).fit(moe.data, y)
        assert model.converged_ and math.isfinite(model.bic(moe.data, y))
        order = np.argsort(-model.expert_coef_[:, 0])
        errors[str(expert)] = np.abs(model.expert_coef_[order] - experts.coef).max()
    robust, gaussian = errors.values()
    assert robust < 0.2 < gaussian


def gate_of(coef, intercept):
    return GATES["softmax"]().init_params(2, 1)._replace(coef=np.array(coef), intercept=np.array(intercept))


def test_quadratic_gate_finds_an_island():
    gate = QuadraticGateParams(np.zeros((2, 1)), np.array([[-30.0], [0.0]]), np.array([5.0, 0.0]))
    experts = GaussianExpertParams(np.array([[2.0], [-1.0]]), np.array([3.0, 0.0]), np.array([0.1, 0.2]))
    truth = Truth(QuadraticGate(), MoEParams(gate, experts), stats.uniform(-1.0, 2.0))
    X, y = truth.draw(1500, np.random.default_rng(0))
    model = MoERegressor(2, gate=QuadraticGate(), n_init=6, random_state=0).fit(X, y)
    assert model.converged_ and model.loglik_ >= truth.loglik(X, y)
    assert model.loglik_ > MoERegressor(2, n_init=6, random_state=0).fit(X, y).loglik_ + 50
    island = np.abs(X[:, 0]) < 0.3
    k = int(np.argmax(model.gate_proba(X)[island].sum(axis=0)))
    assert np.all(model.predict_expert(X)[island] == k) and np.mean(model.predict_expert(X)[~island] == k) < 0.2
    assert "square" in str(model.summary())


@pytest.mark.parametrize(
    "page", ["index.md", "extending/gate.md", "extending/expert.md", "extending/family.md", "extending/penalty.md"]
)
def test_the_code_on_a_page_runs(page, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)
    for block in blocks:
        exec(block, {})
    assert blocks and capsys.readouterr().out


def test_a_family_of_forty_lines_fits():
    rng = np.random.default_rng(1)
    X = rng.uniform(-1, 1, (1500, 1))
    eta = np.where(rng.random(1500) < 1 / (1 + np.exp(-6 * X[:, 0])), 2 + X[:, 0], -1.0)
    y = rng.geometric(1 / (1 + np.exp(eta))) - 1.0
    model = MoERegressor(2, expert=Geometric(), n_init=6, random_state=0).fit(X, y)
    law = stats.geom(1 / (1 + model.expert_predict(X)), loc=-1)
    wanted = np.log((model.gate_proba(X) * law.pmf(y[:, None])).sum(axis=1)).sum()
    assert model.converged_ and model.loglik_ == pytest.approx(wanted, rel=1e-10)
    assert np.isfinite(np.concatenate([*map(np.ravel, model.standard_errors_.expert)])).all()
    with pytest.raises(ValueError, match="y: Geometric takes whole numbers of at least 0; 1 of 1500 rows"):
        model.fit(X, np.append(y[:-1], 0.5))


def test_a_penalty_on_different_slopes():
    moe = make_moe(300, n_experts=2, random_state=0)
    gaps = []
    for alpha in (0.0, 0.1, 10.0, 1e4):
        model = MoERegressor(2, penalty=SimilarSlopes(alpha), n_init=6, random_state=0).fit(moe.data, moe.target)
        gaps.append(float(np.abs(np.diff(model.expert_coef_[:, 0]))[0]))
        assert model.converged_
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] < 1e-2 * gaps[0]
