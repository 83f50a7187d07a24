"""What arrays of parameters are: layouts, shared entries, bounds and coordinates."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import approx_fprime

import naive
from helpers import assert_close, assert_derivative, quietly
from smoe import MoERegressor, SoftmaxMoERegressor
from smoe.datasets import make_moe
from smoe.fields import Field, averaged, check_part, entries, expand, n_features_of, restrict
from smoe.params import Chart, copies, flatten, fold, permute, unflatten
from test_extending import QuadraticGate


class Part(NamedTuple):
    coef: np.ndarray
    slope: np.ndarray
    scale: np.ndarray


FIELDS = {"coef": Field(("expert", "predictor", "feature")), "slope": Field(("feature",)), "scale": Field(())}


@pytest.fixture
def part(rng):
    return Part(rng.normal(size=(3, 2, 4)), rng.normal(size=(1, 4)), np.array(2.0))


def test_shared_arrays_come_last_in_flat_order(part):
    flat = flatten(part)
    np.testing.assert_array_equal(flat, [*part.coef.ravel(), *part.slope[0], 2.0])
    assert_close(unflatten(flat, part), part)


def test_relabelling_leaves_what_is_shared(part):
    moved = permute(part, [2, 0, 1])
    np.testing.assert_array_equal(moved.coef, part.coef[[2, 0, 1]])
    np.testing.assert_array_equal(moved.slope, part.slope)


def test_folding_adds_up_each_experts_copies(part):
    """The derivative by a shared entry is the sum of those by each expert's copy of it."""

    own = flatten(part)[copies(part)]
    assert own.shape == (3, 8 + 4 + 1)
    weights = np.arange(1.0, own.size + 1).reshape(own.shape)

    def of_flat(flat):
        return (np.sin(flat[copies(part)]) * weights).sum()

    by_copy = np.cos(own) * weights
    wanted = approx_fprime(flatten(part), of_flat, 1e-7)
    np.testing.assert_allclose(fold(by_copy.ravel(), part), wanted, atol=1e-4)
    matrix = np.arange(39.0 * 39).reshape(39, 39)
    once = fold(fold(matrix, part), part, axis=1)
    wanted = np.zeros((len(flatten(part)), 39))
    np.add.at(wanted, copies(part).ravel(), matrix)
    np.testing.assert_allclose(once.sum(), matrix.sum())
    np.testing.assert_allclose(fold(matrix, part), wanted)


def test_entries_say_what_they_are(part):
    found = entries("expert", part, FIELDS, ["a", "b", "variance", "d"])
    assert len(found) == flatten(part).size
    assert [found[0].name, found[0].feature, found[7].label] == ["expert 0: coef[0][a]", 0, "coef[1][d]"]
    assert [e.name for e in found[-2:]] == ["expert: slope[d]", "expert: scale"] and found[-1].expert is None


def test_features_are_put_in_and_left_out_along_every_axis_of_them(part):
    wide = expand(part, FIELDS, np.array([0, 2, 3, 5]), 6)
    assert wide.coef.shape == (3, 2, 6) and wide.slope.shape == (1, 6) and not wide.coef[..., 1].any()
    assert_close(restrict(wide, FIELDS, np.array([0, 2, 3, 5])), part)
    assert n_features_of(wide, FIELDS) == 6


def test_averages_are_weighted_by_load(part):
    found = averaged(part, FIELDS, [(0, 2), (1,)], np.array([1.0, 5.0, 3.0]))
    np.testing.assert_allclose(found.coef, [0.25 * part.coef[0] + 0.75 * part.coef[2], part.coef[1]])
    np.testing.assert_array_equal(found.slope, part.slope)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"coef": np.zeros((3, 2))}, r"p.coef must have shape \(3, 2, 4\), got \(3, 2\)"),
        ({"scale": np.nan}, "p.scale must be finite"),
        ({"scale": "two"}, "p.scale must be an array of numbers"),
        ({"scale": 0.0}, "p.scale must be positive"),
        ({"scale": 7.0}, "p.scale must be below 5"),
    ],
)
def test_users_parameters_are_checked(part, change, words):
    fields = {**FIELDS, "scale": Field((), lower=0.0, upper=5.0)}
    assert_close(check_part(part, part, fields, "p"), part)
    with pytest.raises(ValueError, match=words):
        check_part(part._replace(**change), part, fields, "p")


def test_a_bound_may_be_attained(part):
    fields = {**FIELDS, "scale": Field((), lower=0.0, attained=True)}
    assert check_part(part._replace(scale=0.0), part, fields, "p").scale == 0.0


class Five(NamedTuple):
    free: np.ndarray
    above: np.ndarray
    at_least: np.ndarray
    between: np.ndarray
    share: np.ndarray


def five_chart(params):
    lower = np.tile([-np.inf, 0.5, 1.0, -1.0, -1.0], 2)
    upper = np.tile([np.inf, np.inf, np.inf, 3.0, 3.0], 2)
    attained = np.tile([False, False, True, False, True], 2)
    return Chart(params, np.ones(10, dtype=bool), lower, np.tile([2.0, 1.0, 1.0, 1.0, 0.5], 2), upper, attained)


def five(rng):
    free, above, at_least, between, share = rng.uniform(0.1, 1.9, (5, 2))
    return Five(free, 0.5 + above, 1.0 + at_least, between, -1.0 + share)


def value(params):
    x = flatten(params)
    return float(np.sin(x).sum() + (x[:-1] * x[1:]).sum())


def test_coordinates_without_bounds_and_back(rng):
    params = five(rng)
    chart = five_chart(params)
    assert_close(chart.unpack(chart.pack(params)), params)
    wild = chart.unpack(5.0 * rng.normal(size=10))
    assert np.all((wild.share >= -1.0) & (wild.share <= 3.0))
    assert np.all(wild.above > 0.5) and np.all(wild.at_least >= 1.0) and np.all(np.abs(wild.between - 1.0) <= 2.0)


def test_the_chain_rule_of_all_kinds_of_bounds(rng):
    params = five(rng)
    chart, theta = five_chart(params), five_chart(params).pack(params)
    theta[[2, 4]] *= -1.0  # a root is the same on either side of zero, an arc too

    def at(t):
        return value(chart.unpack(t))

    step = 1e-4 * np.eye(10)
    wanted = np.array([(at(theta + h) - at(theta - h)) / 2e-4 for h in step])
    signs = chart.signs(theta)
    assert signs[2] == signs[4] == -1.0 and signs.sum() == 6.0
    score = unflatten(naive.gradient(value, params), params)
    assert_derivative(signs * chart.gradient(score, params), wanted, 1e-6)
    bend = np.array(
        [
            [(at(theta + a + b) - at(theta + a - b) - at(theta - a + b) + at(theta - a - b)) / 4e-8 for b in step]
            for a in step
        ]
    )
    found = chart.hessian(-naive.hessian(value, params), score, params)
    assert_derivative(signs[:, None] * found * signs, -bend, 1e-5)


def test_a_maximum_on_an_attained_bound_is_an_ordinary_one():
    """The function falls inwards from the bound: its curvature in the coordinate is negative, the gradient zero."""
    params = Five(*np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0], [-1.0, -1.0]]))
    chart = five_chart(params)
    score = Five(np.zeros(2), np.zeros(2), np.array([-3.0, 2.0]), np.zeros(2), np.array([-3.0, 2.0]))
    np.testing.assert_array_equal(chart.gradient(score, params), 0.0)
    hessian = chart.hessian(np.zeros((10, 10)), score, params)
    assert hessian[2, 2] == 6.0 and hessian[7, 7] == -4.0  # a maximum, and a place to leave
    assert hessian[4, 4] == pytest.approx(6.0) and hessian[9, 9] == pytest.approx(-4.0)  # 2 * 4 * 3 / 2**2


def test_a_column_may_be_called_like_a_parameter():
    moe = make_moe(300, n_features=2, n_experts=2, random_state=0)
    X = pd.DataFrame(moe.data, columns=["variance", "intercept"])
    model = quietly(SoftmaxMoERegressor(2, random_state=0).fit, X, moe.target)
    plain = quietly(SoftmaxMoERegressor(2, random_state=0).fit, moe.data, moe.target)
    np.testing.assert_array_equal(model.summary().table, plain.summary().table)
    frame = model.summary().to_frame()
    assert frame.iloc[list(frame.index).index("expert 0: variance")].notna().all()


def test_every_field_of_features_is_widened_where_a_column_is_constant():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.uniform(-1, 1, 400), np.ones(400)])
    y = np.where(np.abs(X[:, 0]) < 0.4, 3.0, X[:, 0]) + 0.2 * rng.normal(size=400)
    model = quietly(MoERegressor(2, gate=QuadraticGate(), random_state=0).fit, X, y)
    assert model.params_.gate.square.shape == (2, 2) and not model.params_.gate.square[:, 1].any()
    assert model.loglik(X, y) == pytest.approx(model.loglik_, abs=1e-8)
