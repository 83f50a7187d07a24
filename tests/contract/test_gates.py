"""What every registered gate promises."""

import inspect
import pickle
from typing import NamedTuple

import numpy as np
import pytest
from sklearn.base import clone

import naive
from helpers import INFORMED, SMOOTH, assert_close, assert_derivative, frozen, random_gate
from smoe.features import design
from smoe.gates import GATES, Gate
from smoe.params import flatten, permute, tree_sum

SIZES = [(1, 1), (2, 1), (3, 2), (4, 3)]
every = pytest.mark.parametrize("name", GATES)
smooth = pytest.mark.parametrize("name", SMOOTH)
informed = pytest.mark.parametrize("name", INFORMED)
sizes = pytest.mark.parametrize("k, d", SIZES)


class Case(NamedTuple):
    gate: Gate
    X: np.ndarray
    Z: np.ndarray
    params: NamedTuple
    weight: np.ndarray
    resp: np.ndarray


def make(name, k, d, rng, m=40, pinned=True):
    gate, X = GATES[name](), rng.normal(size=(d, m))
    params = random_gate(gate, k, d, rng, pinned=pinned)
    return Case(
        gate, X, design(X), params, rng.uniform(0.5, 2.0, m), np.ascontiguousarray(rng.dirichlet(np.ones(k), m).T)
    )


def proba(gate, Z, params):
    return np.ascontiguousarray(np.transpose([naive.softmax(row) for row in gate.scores(Z, params).T.tolist()]))


def finite_scores(case):
    """The scores as a function of the parameters, with zeros where an expert is off the support."""

    def scores(params):
        found = case.gate.scores(case.Z, params)
        return np.where(np.isneginf(found), 0.0, found)

    return scores


def jacobian(case):
    """Derivative of the scores, (n_entries, n_experts, m); nobody asks for that by what is fixed."""
    fixed = type(case.params)(
        *(np.full(np.shape(a), case.gate.fields[n].fixed) for n, a in case.params._asdict().items())
    )
    return np.where(flatten(fixed)[:, None, None] > 0, 0.0, naive.gradient(finite_scores(case), case.params))


@every
@sizes
def test_scores_make_probabilities(name, k, d, rng):
    case = make(name, k, d, rng)
    scores = case.gate.scores(case.Z, case.params)
    assert scores.shape == (k, 40) and not np.any(np.isnan(scores)) and np.all(scores < np.inf)
    assert np.all(scores.max(axis=0) > -np.inf)
    p = proba(case.gate, case.Z, case.params)
    assert np.all(p >= 0)
    np.testing.assert_allclose(p.sum(axis=0), 1, rtol=1e-14)


@pytest.mark.parametrize("name", [n for n in GATES if GATES[n].__name__ in naive.SCORES])
@sizes
def test_scores_equal_their_twin(name, k, d, rng):
    case = make(name, k, d, rng)
    wanted = [naive.SCORES[type(case.gate).__name__](x, case.params) for x in case.X.T]
    np.testing.assert_allclose(case.gate.scores(case.Z, case.params), np.transpose(wanted), rtol=1e-12, atol=1e-13)


@every
@sizes
def test_init_params_is_flat(name, k, d, rng):
    gate, Z = GATES[name](), design(rng.normal(size=(d, 30)))
    params = gate.init_params(k, d)
    assert all(np.ndim(field) == 0 or len(field) in (1, k) for field in params)
    p = proba(gate, Z, params)
    np.testing.assert_allclose(p[p > 0], 1 / (p > 0).sum(axis=0)[0], rtol=1e-12)
    assert np.all(p > 0) or not gate.smooth
    wider = gate.init_params(k, d + 1)
    assert flatten(wider).size >= flatten(params).size


@every
@sizes
def test_pullback_is_the_derivative(name, k, d, rng):
    case = make(name, k, d, rng)
    R = np.where(np.isneginf(case.gate.scores(case.Z, case.params)), 0.0, rng.normal(size=(k, 40)))
    wanted = (jacobian(case) * R).sum(axis=(1, 2))
    assert_derivative(flatten(case.gate.pullback(case.Z, case.params, R)), wanted, 1e-8)


@every
def test_pullback_takes_leading_axes(name, rng):
    case = make(name, 3, 2, rng)
    R = rng.normal(size=(2, 4, 3, 40))
    many = case.gate.pullback(case.Z, case.params, R)
    for a, b in np.ndindex(2, 4):
        one = case.gate.pullback(case.Z, case.params, R[a, b])
        assert_close(type(many)(*(field[a, b] for field in many)), one, rtol=1e-12, atol=1e-11)


@informed
@sizes
def test_information_is_the_variance_of_the_scores(name, k, d, rng):
    case = make(name, k, d, rng)
    J, p = jacobian(case), proba(case.gate, case.Z, case.params)
    wanted = _variance(J, p, case.weight)
    assert_derivative(case.gate.information(case.Z, case.params, p, case.weight), wanted, 1e-8)


@informed
@sizes
def test_what_a_pass_asks_is_what_the_methods_return(name, k, d, rng):
    case = make(name, k, d, rng)
    p, R = proba(case.gate, case.Z, case.params), rng.normal(size=(k, 40))
    asked = case.gate.evaluated(case.Z, case.params)
    np.testing.assert_allclose(asked.scores, case.gate.scores(case.Z, case.params), rtol=1e-12, atol=1e-12)
    assert_close(asked.pullback(R), case.gate.pullback(case.Z, case.params, R), rtol=1e-12, atol=1e-12)
    for resp in (None, case.resp):
        wanted = case.gate.information(case.Z, case.params, p, case.weight, resp)
        np.testing.assert_allclose(asked.information(p, case.weight, resp), wanted, rtol=1e-12, atol=1e-12)


@informed
@sizes
def test_information_with_resp_is_a_block_of_the_observed_one(name, k, d, rng):
    case = make(name, k, d, rng)
    J, p, scores = jacobian(case), proba(case.gate, case.Z, case.params), finite_scores(case)
    R = case.weight * (case.resp - p)
    bend = naive.hessian(lambda params: (R * scores(params)).sum(), case.params)  # zero where scores are linear
    bend[~J.any(axis=(1, 2))] = bend[:, ~J.any(axis=(1, 2))] = 0.0
    wanted = _variance(J, p, case.weight) - _variance(J, case.resp, case.weight) - bend
    found = case.gate.information(case.Z, case.params, p, case.weight, case.resp)
    assert_derivative(found, wanted, 1e-6)


def _variance(J, p, weight):
    """Sum over rows of weight J'(diag p - pp')J, row by row."""
    total = 0.0
    for row, w in enumerate(weight):
        j, q = J[:, :, row], p[:, row]
        total = total + w * j @ (np.diag(q) - np.outer(q, q)) @ j.T
    return total


@informed
def test_statistics_add_up_over_blocks(name, rng):
    case = make(name, 3, 2, rng)
    p, cuts = proba(case.gate, case.Z, case.params), [slice(0, 1), slice(1, 25), slice(25, 40)]
    R, Zs = case.resp - p, [np.ascontiguousarray(case.Z[:, s]) for s in cuts]
    parts = [case.gate.pullback(Z, case.params, R[:, s]) for Z, s in zip(Zs, cuts, strict=True)]
    assert_close(tree_sum(parts), case.gate.pullback(case.Z, case.params, R), rtol=1e-11, atol=1e-11)
    parts = [case.gate.information(Z, case.params, p[:, s], case.weight[s]) for Z, s in zip(Zs, cuts, strict=True)]
    whole = case.gate.information(case.Z, case.params, p, case.weight)
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-11, atol=1e-11)


@every
@sizes
def test_canonical_keeps_probabilities(name, k, d, rng):
    case = make(name, k, d, rng, pinned=False)
    canonical = frozen(case.gate.canonical(case.params))
    np.testing.assert_allclose(
        proba(case.gate, case.Z, canonical), proba(case.gate, case.Z, case.params), rtol=1e-10, atol=1e-14
    )
    assert_close(case.gate.canonical(canonical), canonical, rtol=1e-13, atol=1e-14)


@every
@sizes
def test_canonical_is_one_for_all_of_a_class(name, k, d, rng):
    case, order = make(name, k, d, rng, pinned=False), rng.permutation(k)
    one = case.gate.canonical(permute(case.params, order))
    other = case.gate.canonical(permute(case.gate.canonical(case.params), order))
    assert_close(one, other, rtol=1e-10, atol=1e-12)


@every
@sizes
def test_canonical_params_differ_in_free_entries_only(name, k, d, rng):
    case, first = make(name, k, d, rng, pinned=False), GATES[name]().init_params(k, d)
    canonical = case.gate.canonical(case.params)
    pinned = ~flatten(case.gate.free(canonical)).astype(bool)
    if not case.gate.exchangeable:  # who is pinned depends on places
        first = permute(first, canonical.place.astype(int))
    held = {name: getattr(canonical, name) for name, field in case.gate.fields.items() if field.fixed}
    first = first._replace(**held)
    np.testing.assert_allclose(flatten(canonical)[pinned], flatten(first)[pinned], rtol=0, atol=1e-12)


@smooth
@sizes
def test_free_pins_exactly_what_the_density_does_not_need(name, k, d, rng):
    case = make(name, k, d, rng, m=200)
    J, p = jacobian(case), proba(case.gate, case.Z, case.params)
    change = (J - (p * J).sum(axis=1, keepdims=True)).reshape(len(J), -1)  # of the log probabilities
    free = flatten(case.gate.free(case.params)).astype(bool)
    assert free.size == flatten(case.params).size
    assert _rank(change) == _rank(change[free]) == free.sum()


def _rank(matrix):
    return int((np.linalg.svd(matrix, compute_uv=False) > 1e-7 * np.sqrt(matrix.shape[1])).sum()) if matrix.size else 0


@every
def test_relabelling(name, rng):
    case, order = make(name, 4, 2, rng), np.array([2, 0, 3, 1])
    moved = permute(case.params, order)
    assert_close(case.gate.scores(case.Z, moved), case.gate.scores(case.Z, case.params)[order], rtol=1e-13)
    R = rng.normal(size=(4, 40))
    there = case.gate.pullback(case.Z, moved, R[order])
    assert_close(there, permute(case.gate.pullback(case.Z, case.params, R), order), rtol=1e-12, atol=1e-12)


@every
@sizes
def test_unscale_keeps_probabilities(name, k, d, rng):
    case = make(name, k, d, rng)
    shift, scale = rng.normal(size=d) * case.gate.centred, rng.uniform(0.5, 3.0, d)
    users = frozen(case.gate.unscale(case.params, shift, scale))
    x = scale[:, None] * case.X + shift[:, None]
    found = proba(case.gate, design(x), users)
    np.testing.assert_allclose(found, proba(case.gate, case.Z, case.params), rtol=1e-9, atol=1e-13)
    back = case.gate.unscale(users, -shift / scale, 1 / scale)
    assert_close(back, case.params, rtol=1e-11, atol=1e-12)


@every
def test_a_gate_is_a_recipe(name):
    gate = GATES[name]()
    names = set(inspect.signature(type(gate).__init__).parameters) - {"self", "args", "kwargs"}
    assert isinstance(gate, Gate) and set(gate.get_params()) == names
    assert clone(gate).get_params() == gate.get_params()
    again = pickle.loads(pickle.dumps(gate))
    assert type(again) is type(gate) and again.get_params() == gate.get_params()
    assert vars(gate) == gate.get_params(deep=False)
